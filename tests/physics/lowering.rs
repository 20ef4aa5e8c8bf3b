//! What each strategy makes of FLUX.1 at 1024 x 1024: work, tasks and messages of every rank in one step.
//!
//! ```text
//! A = S d e, S = L + T = 4096 + 512 tokens, d = 3072, e = 2 bytes; K = 57 blocks; N ranks
//! strategy            messages of one block, each nccl-tests' size              sent by one rank a step
//! ulysses             4 all-to-alls of A/N (three before attention, one after)  4 K (N-1)/N^2 A
//! ring                N-1 hops of 2A/N                                          2 K (N-1)/N A
//! all-gather-kv       a gather of 2A                                            2 K (N-1)/N A
//! attention2d R x C   of C ranks: gather Q, A/R, exchange O, A/R; of R: K, V, 2A/C   K 2(R-1 + C-1) A/N
//! tensor              all-reduces: double 2 A_image + 2 A_text, single A        2 (N-1)/N 76 A
//! cfg, data           none                                                      0
//! ```

use std::collections::BTreeMap;

use kernels::{AttentionKernel, Op};
use sim::graph::{Exchange, TaskId};
use sim::platform::Reach;
use topologies::CollectiveKind::{AllGather, AllReduce, AllToAll, RingPass};
use topologies::SimDuration;

use super::flux::{A, D, DOUBLE, IMAGE, K, MERGE_PASSES, S, SINGLE, TEXT, on_tokens, shard, whole};
use super::{Done, Messages, Rig, done, messages, plan, preset, wire};

/// A strategy, what its ranks do in a raw step, their messages, and what they send.
struct Form {
    line: String,
    done: Done,
    messages: Messages,
    sent: u64,
}

impl Form {
    fn new(line: String, done: Done, sent: u64) -> Self {
        let messages = Messages::new();
        Self {
            line,
            done,
            messages,
            sent,
        }
    }

    /// The same with `count` messages more of `ranks` ranks.
    fn with(mut self, kind: topologies::CollectiveKind, ranks: u64, count: u64, size: u64) -> Self {
        if ranks > 1 {
            let sum = self
                .messages
                .entry((Some(kind), ranks as usize))
                .or_default();
            sum.0 += count;
            sum.1 += count * size;
        }
        self
    }

    fn usp(u: u64, r: u64) -> Self {
        let own = A / (u * r);
        let hops = K * (r - 1);
        let merged = hops * MERGE_PASSES * 2 * own;
        let done = Done {
            elementwise: shard(u * r).elementwise + merged,
            attentions: K * r,
            ..shard(u * r)
        };
        let sent = 4 * K * (u - 1) * own / u + 2 * hops * own;
        let line = match (u, r) {
            (u, 1) => format!("ulysses{u}"),
            (1, r) => format!("ring{r}"),
            _ => format!("ulysses{u}+ring{r}"),
        };
        Self::new(line, done, sent)
            .with(AllToAll, u, K, 3 * own)
            .with(AllToAll, u, K, own)
            .with(RingPass, r, hops, 2 * own)
    }

    fn gather(n: u64) -> Self {
        let sent = 2 * K * (n - 1) * A / n;
        Self::new(format!("allgather-kv{n}"), shard(n), sent).with(AllGather, n, K, 2 * A)
    }

    fn grid(rows: u64, columns: u64) -> Self {
        let n = rows * columns;
        let line = format!("attention2d{rows}x{columns}");
        let sent = K * 2 * (rows - 1 + columns - 1) * A / n;
        Self::new(line, shard(n), sent)
            .with(AllGather, columns, K, A / rows)
            .with(AllToAll, columns, K, A / rows)
            .with(AllGather, rows, K, 2 * A / columns)
    }

    fn tensor(n: u64) -> Self {
        let done = Done {
            linear: on_tokens(K, S) / n + whole().linear - on_tokens(K, S),
            attention: whole().attention / n,
            // Norms and residual sums stay whole: half of the passes.
            elementwise: whole().elementwise / 2 + whole().elementwise / 2 / n,
            ..whole()
        };
        let (image, text) = (IMAGE * D * 2, TEXT * D * 2);
        Self::new(format!("tp{n}"), done, 2 * (n - 1) * 76 * A / n)
            .with(AllReduce, n, 2 * DOUBLE, image)
            .with(AllReduce, n, 2 * DOUBLE, text)
            .with(AllReduce, n, SINGLE, A)
    }
}

/// Every split of a block on `n` GPUs, degrees unequal where they can be.
fn forms(n: u64) -> Vec<Form> {
    let mut all = vec![
        Form::usp(n, 1),
        Form::usp(1, n),
        Form::gather(n),
        Form::tensor(n),
    ];
    // One row gathers queries alone, one column keys and values.
    all.extend([Form::grid(1, n), Form::grid(n, 1)]);
    for inner in [2, n / 2] {
        all.push(Form::usp(inner, n / inner));
        all.push(Form::grid(inner, n / inner));
    }
    all
}

#[test]
fn every_rank_does_its_share_and_sends_what_the_strategy_says() {
    for (machine, n) in [("8xl40-pcie", 8), ("8xh100-sxm", 8), ("4xl20-pcie", 4)] {
        let rig = Rig::flux(machine);
        for form in forms(n) {
            let run = rig.run(&plan(&form.line));
            for gpu in 0..n as usize {
                let context = format!("{} on gpu{gpu} of {machine}", form.line);
                let found = Done {
                    waited: 0,
                    ..done(&run.graph, 1, gpu)
                };
                assert_eq!(found, form.done, "{context}");
                let sent = messages(&run.graph, 1, gpu);
                assert_eq!(sent, form.messages, "{context}");
                assert_eq!(wire(&sent), form.sent, "{context}");
            }
        }
    }
}

#[test]
fn one_gpu_does_everything_and_sends_nothing() {
    let rig = Rig::flux("4xl20-pcie");
    let run = rig.run(&plan("none"));
    for step in 0..3 {
        assert_eq!(done(&run.graph, step, 0), whole());
        assert_eq!(messages(&run.graph, step, 0), Messages::new());
    }
    assert_eq!(
        run.graph.tasks().iter().map(|task| task.step).max(),
        Some(2)
    );
}

/// With rows of R ranks down and C across, a rank attends with S/R queries to S/C keys.
#[test]
fn a_grid_gathers_queries_along_rows_and_keys_along_columns() {
    for (rows, columns) in [(2, 4), (4, 2)] {
        let rig = Rig::flux("8xh100-sxm");
        rig.run(&plan(&format!("attention2d{rows}x{columns}")));
        let asked = rig.costs.asked.lock().expect("no test panicked here");
        let attends = |queries, keys| {
            asked.contains(&Op::Attention {
                kernel: AttentionKernel::FlashAttention3,
                batch: 1,
                heads: 24,
                queries,
                keys,
                head_dim: 128,
            })
        };
        assert!(attends(S / rows, S / columns), "{rows} x {columns}");
        assert!(!attends(S / columns, S / rows), "{rows} x {columns}");
    }
}

/// Guidance and data parallelism split rows, and nothing travels inside the transformer.
#[test]
fn rows_are_shared_without_messages() {
    let rig = Rig::new(&preset("8xh100-sxm"), "PixArt-alpha", |request| {
        (request.steps, request.batch) = (2, 4);
    });
    let alone = done(&rig.run(&plan("none")).graph, 1, 0);
    assert!(alone.linear > 0 && alone.attention > 0 && alone.elementwise > 0);
    for (line, ranks) in [
        ("cfg2", 2),
        ("dp2", 2),
        ("dp4", 4),
        ("dp4+cfg2", 8),
        ("dp2+cfg2", 4),
    ] {
        let run = rig.run(&plan(line));
        for gpu in 0..ranks as usize {
            let own = done(&run.graph, 1, gpu);
            let (linear, attention) = (ranks * own.linear, ranks * own.attention);
            assert_eq!(
                (linear, attention),
                (alone.linear, alone.attention),
                "{line}"
            );
            assert_eq!(ranks * own.elementwise, alone.elementwise, "{line}");
            assert_eq!(messages(&run.graph, 1, gpu), Messages::new(), "{line}");
        }
    }
}

/// Sequential guidance is two passes a step on one rank, one on each of two.
#[test]
fn sequential_guidance_is_a_pass_for_each_branch() {
    let rig = Rig::new(&preset("8xh100-sxm"), "Qwen-Image", |request| {
        request.steps = 2
    });
    let work = |line| done(&rig.run(&plan(line)).graph, 1, 0);
    let (both, one) = (work("none"), work("cfg2"));
    assert_eq!(both.attentions, 2 * 60);
    assert_eq!(
        (2 * one.linear, 2 * one.attention),
        (both.linear, both.attention)
    );
}

/// Bytes of a compressed N x C message (CompactFusion, arXiv 2507.17511).
fn compressed(name: &str, n: u64, c: u64) -> u64 {
    match name {
        "1bit" => n * c / 8 + 2 * n + 2 * c,
        "2bit" => n * c / 4 + 2 * n + 2 * c,
        "lowrank-int4(32)" => 32 * (n + c) / 2 + 8 * 32,
        "sparse(1:8)" => n * c / 8 * 2 + n * c / 8 / 2,
        other => panic!("no size of {other} is stated here"),
    }
}

/// K and V of a shard are encoded once a block. A ring decodes what each hop brings, a gather all shards, a grid
/// those of its column, Ulysses as much as its shard.
#[test]
fn compressed_messages_are_encoded_once_and_decoded_where_they_arrive() {
    let n = 4;
    let own = S / n;
    let rig = Rig::flux("4xl20-pcie");
    for name in ["1bit", "2bit", "lowrank-int4(32)", "sparse(1:8)"] {
        let kv = 2 * compressed(name, own, D);
        let raw = own * D * 2;
        for (layout, key, per_block, parts) in [
            ("ring4", (RingPass, 4), 3 * kv, 3),
            ("allgather-kv4", (AllGather, 4), 4 * kv, 4),
            ("ulysses4", (AllToAll, 4), 2 * raw + kv, 1),
            ("ulysses2+ring2", (RingPass, 2), kv, 1),
            // Q of a row of two and K and V of a column of two.
            ("attention2d2x2", (AllGather, 2), 2 * raw + 2 * kv, 2),
        ] {
            let run = rig.run(&plan(&format!("{layout}/{name} warmup=1")));
            let raw_run = rig.run(&plan(layout));
            let context = format!("{layout}/{name}");
            let (warm, steady) = (done(&run.graph, 0, 1), done(&run.graph, 1, 1));
            assert_eq!((warm.encoded, warm.decoded), (0, 0), "{context}");
            assert_eq!(messages(&run.graph, 0, 1), messages(&raw_run.graph, 0, 1));
            assert_eq!(steady.encoded, K * 2 * own * D, "{context}");
            assert_eq!(steady.decoded, K * parts * 2 * own * D, "{context}");
            let sent = messages(&run.graph, 1, 1);
            let (_, bytes) = sent[&(Some(key.0), key.1)];
            assert_eq!(bytes, K * per_block, "{context}");
        }
    }
}

/// 50 us a hop on PCIe and 10 us on NVLink (docs/calibration.md section 4), whatever the hop carries.
#[test]
fn every_hop_of_a_ring_is_waited_for() {
    for (machine, sync) in [("4xl20-pcie", 50_000_000), ("8xh100-sxm", 10_000_000)] {
        let mut rig = Rig::flux(machine);
        // Where work takes no time, nothing hides behind it and nothing slows it.
        rig.costs.unit = 0;
        for (line, ring) in [
            ("ring2", 2),
            ("ring4", 4),
            ("ulysses2+ring2", 2),
            ("ulysses4", 1),
        ] {
            let waited = done(&rig.run(&plan(line)).graph, 1, 0).waited;
            assert_eq!(waited, K * (ring - 1) * sync, "{line} on {machine}");
        }
    }
}

/// Where messages take a known time, every rank does the same at the same time: the tasks take what the closed form
/// says, term by term, to the rounding of a block. Where launches take time too.
#[test]
fn tasks_take_what_the_closed_form_says() {
    for launch in [0.0, 1.0] {
        for machine in ["4xl20-pcie", "8xh100-sxm"] {
            let mut rig = Rig::flux(machine);
            rig.execution.calibration.launch = launch;
            let lines = ["1bit", "2bit"].map(|name| {
                [
                    "ring4",
                    "allgather-kv4",
                    "ulysses4",
                    "ulysses2+ring2",
                    "attention2d2x2",
                ]
                .map(|layout| format!("{layout}/{name} warmup=1"))
            });
            let raw = forms(4).into_iter().map(|form| form.line);
            for line in lines.into_iter().flatten().chain(raw) {
                let plan = plan(&line);
                let latency = rig.run(&plan).totals.latency.as_secs_f64();
                let closed = rig.closed_form(&plan).total.as_secs_f64();
                let away = (latency / closed - 1.0).abs();
                assert!(
                    away < 1e-7,
                    "{line} on {machine}: {latency} s, {closed} s in closed form"
                );
            }
        }
    }
}

/// What a step exposes is what its messages take, where nothing hides them; the rest of its GPU time is work.
#[test]
fn exposed_time_is_the_messages_time() {
    for machine in ["4xl20-pcie", "8xh100-sxm"] {
        let rig = Rig::flux(machine);
        for form in forms(4)
            .into_iter()
            .filter(|form| !form.line.contains("ring"))
        {
            let plan = plan(&form.line);
            let (run, parts) = (rig.run(&plan), rig.closed_form(&plan));
            let own = |id: &TaskId| {
                run.graph.task(*id).step == 1 && run.graph.task(*id).device.index() == 0
            };
            let mut sent = BTreeMap::new();
            for id in run.graph.ids().filter(own) {
                if let Some((Exchange::Collective { kind, .. }, _)) = run.graph.exchange(id) {
                    let time = run.graph.task(id).work.time().expect("a known time");
                    *sent.entry((*kind, Reach::Host)).or_default() += time;
                }
            }
            assert_eq!(parts.exposed, sent, "{} on {machine}", form.line);
            let work = done(&run.graph, 1, 0);
            let work = SimDuration::new(work.linear + work.attention + work.elementwise);
            let messages: SimDuration = sent.values().copied().sum();
            assert_eq!(parts.gpu, work + messages, "{} on {machine}", form.line);
            let steps = parts.gpu * 3;
            assert_eq!(
                parts.total,
                parts.fixed + steps,
                "{} on {machine}",
                form.line
            );
        }
    }
}

/// TensorRT-LLM's VisualGen on GB200: the Wan decoder at 720p takes 2.72, 1.72, 1.04, .83 and .85 s on 1 to 16.
#[test]
fn a_shared_decoder_saturates_as_published() {
    let rig = Rig::new(&preset("8xh100-sxm"), "Wan2.1-T2V-1.3B", |request| {
        request.steps = 1
    });
    let decode = |ranks: u32| {
        let mut plan = plan("ulysses2+ring4");
        plan.vae = ranks;
        let run = rig.run(&plan);
        (run.totals.latency - run.totals.denoise - run.totals.phases.encode).as_secs_f64()
    };
    let one = decode(1);
    for (ranks, published) in [(2, 1.72), (4, 1.04), (8, 0.83)] {
        let found = decode(ranks) / one * 2.72;
        assert!(
            (found / published - 1.0).abs() < 0.06,
            "{ranks} ranks: {found} s"
        );
    }
    assert!(
        rig.run(&plan("ulysses2")).totals.phases.shared_decode(16)
            >= rig.run(&plan("ulysses2")).totals.phases.shared_decode(8)
    );
}
