//! What a step takes, term by term, from the work of [`super::flux`], the messages' own times and the constants of
//! docs/calibration.md.
//!
//! ```text
//! block  = sqrt(G^2 + C^2),  G work and exposed messages, C launch time (no block: embedders, output layer)
//! ring   = work + (r-1) (max(c, t) - c + i min(c, t) + sync),  c a chunk of attention, t a hop
//! gather = work + t;  compressed: and an encode, its decodes, 8 % of the encode for the slowest rank
//! displaced step = max(work + i sum of min(block, t), sum of t)
//! ```

use sim::graph::{Exchange, TaskGraph};
use topologies::SimDuration;
use topologies::host::Compilation;

use super::flux::{
    A, D, DOUBLE, IMAGE, K, MERGE_PASSES, PASSES, S, SINGLE, TEXT, head, modulation, on_tokens,
    shard, tail,
};
use super::{Done, Rig, plan, preset};

/// Seconds of a time in picoseconds.
fn s(ps: f64) -> f64 {
    ps * 1e-12
}

/// Seconds that messages of the first GPU take in the second step, and how many they are.
fn taken(graph: &TaskGraph) -> (f64, u64) {
    let mut sum = (0.0, 0);
    for id in graph.ids() {
        let task = graph.task(id);
        let collective = matches!(graph.exchange(id), Some((Exchange::Collective { .. }, _)));
        if collective && task.step == 1 && task.device.index() == 0 {
            sum.0 += task.work.time().expect("a known time").as_secs_f64();
            sum.1 += 1;
        }
    }
    sum
}

/// A steady step of FLUX.1, simulated and in closed form: what a further one takes.
fn step(machine: &str, line: &str, change: impl Fn(&mut Rig)) -> [f64; 2] {
    let rig = |steps| {
        let mut rig = Rig::new(&preset(machine), "FLUX.1-dev", |request| {
            request.steps = steps
        });
        change(&mut rig);
        rig
    };
    let (before, after, plan) = (rig(5), rig(6), plan(line));
    let simulated = after.run(&plan).totals.denoise - before.run(&plan).totals.denoise;
    let closed = after.closed_form(&plan).total - before.closed_form(&plan).total;
    [simulated, closed].map(SimDuration::as_secs_f64)
}

fn agree(found: [f64; 2], expected: f64, context: &str) {
    for (found, how) in found.into_iter().zip(["simulated", "in closed form"]) {
        let away = (found / expected - 1.0).abs();
        assert!(away < 1e-7, "{context}: {found} s {how}, not {expected} s");
    }
}

/// Seconds of a rank's own work.
fn work(done: &Done) -> f64 {
    s((done.linear + done.attention + done.elementwise) as f64)
}

/// A hop hides behind a chunk of attention: on PCIe a quarter of it comes back, on NVLink all of it.
#[test]
fn a_ring_takes_its_work_its_waiting_and_what_overlap_costs() {
    for (machine, interference, sync) in [("4xl20-pcie", 0.25, 50e-6), ("8xh100-sxm", 1.0, 10e-6)] {
        for ring in [2, 4] {
            let line = format!("ring{ring}");
            let hops = (K * (ring - 1)) as f64;
            for unit in [0, 1] {
                let mut rig = Rig::flux(machine);
                rig.costs.unit = unit;
                let (time, count) = taken(&rig.run(&plan(&line)).graph);
                assert_eq!(count, K * (ring - 1));
                let merges = s((K * (ring - 1) * MERGE_PASSES * 2 * A / ring) as f64);
                let own = unit as f64 * (work(&shard(ring)) + merges);
                let hop = time / hops;
                let chunk = unit as f64 * s((4 * (S / ring) * (S / ring) * D) as f64);
                let beside = (hop - chunk).max(0.0) + interference * hop.min(chunk) + sync;
                let found = step(machine, &line, |rig| rig.costs.unit = unit);
                agree(
                    found,
                    own + hops * beside,
                    &format!("{line} on {machine}, unit {unit}"),
                );
            }
        }
    }
}

/// A gather, and a compressed one: encodes, decodes, and the wait for the rank that encodes longest.
#[test]
fn a_compressed_gather_pays_its_codec_and_the_slowest_encoder() {
    let machine = "4xl20-pcie";
    let values = 2 * (S / 4) * D * K;
    for (line, encoded, decoded) in [
        ("allgather-kv4", 0, 0),
        ("allgather-kv4/1bit warmup=1", values, 4 * values),
        ("ulysses4/2bit warmup=1", values, values),
    ] {
        let (time, _) = taken(&Rig::flux(machine).run(&plan(line)).graph);
        let codec = s(encoded as f64 * 1.08 + decoded as f64);
        let found = step(machine, line, |_| {});
        agree(found, work(&shard(4)) + codec + time, line);
    }
    // A ring's ranks wait hop by hop; of merges see the constant's own test.
    let [simulated, closed] = step(machine, "ring4/1bit warmup=1", |_| {});
    assert!((simulated / closed - 1.0).abs() < 1e-7);
}

/// Gathers of the next step's K and V hide behind this step's work and slow it by a quarter of the shorter.
#[test]
fn a_displaced_step_takes_its_work_or_its_gathers() {
    for machine in ["4xl20-pcie", "8xh100-sxm"] {
        let line = "distrifusion4 warmup=1";
        for unit in [0, 1] {
            let mut rig = Rig::flux(machine);
            rig.costs.unit = unit;
            let (gathers, count) = taken(&rig.run(&plan(line)).graph);
            assert_eq!(count, K);
            let own = unit as f64 * (work(&shard(4)) + 0.25 * gathers);
            let found = step(machine, line, |rig| rig.costs.unit = unit);
            agree(
                found,
                own.max(gathers),
                &format!("{line} on {machine}, unit {unit}"),
            );
        }
    }
}

/// Milliseconds of launching FLUX.1's steady pass on a host of factor one (docs/calibration.md section 3).
#[test]
fn launching_takes_the_blocks_and_what_each_message_adds() {
    let block = 1.23;
    let all = |extra: f64| K as f64 * (block + extra);
    // The slowest stage of four is the first: 15 blocks, .3 for what it does beside, .5 a patch.
    let staged = |share: f64| 4.0 * (15.3 * block * share + 0.5);
    for (line, eager, compiled) in [
        ("none", all(0.0), 0.19),
        ("ulysses4", all(0.45), 0.19),
        ("ring2", all(0.4 + 0.25), 0.19),
        ("ring4", all(0.4 + 0.75), 0.19),
        ("ulysses2+ring2", all(0.45 + 0.4 + 0.25), 0.19),
        ("allgather-kv4", all(0.2), 0.19),
        ("distrifusion4 warmup=1", all(0.1), 0.19),
        ("attention2d2x2", all(0.6), 0.19),
        ("tp4", all(0.0) + 0.07 * (4 * DOUBLE + SINGLE) as f64, 0.19),
        (
            "pipefusion4 warmup=1",
            staged(1.0),
            staged(0.5) / staged(1.0),
        ),
    ] {
        for (compilation, share) in [(Compilation::Eager, 1.0), (Compilation::Compiled, compiled)] {
            for factor in [1.0, 0.5] {
                let mut rig = Rig::flux("4xl20-pcie");
                rig.execution.compilation = compilation;
                rig.execution.calibration.launch = factor;
                let found = rig.closed_form(&plan(line)).launch.as_secs_f64();
                let expected = eager * share * factor / 1000.0;
                let away = (found / expected - 1.0).abs();
                assert!(
                    away < 1e-7,
                    "{line}, {compilation}: {found} s, not {expected} s"
                );
            }
        }
    }
}

/// Milliseconds a block of each kind of model, and guidance alone, which launches half.
#[test]
fn models_launch_by_their_kind() {
    for (model, line, blocks, ms) in [
        ("FLUX.2-dev", "none", 56, 1.23),
        ("PixArt-alpha", "none", 28, 1.08),
        ("PixArt-alpha", "cfg2", 28, 1.08 / 2.0),
        ("PixArt-alpha", "cfg2+ulysses2", 28, 1.08 + 0.45),
        ("HunyuanDiT-v1.2", "none", 40, 2.16),
        ("SD3-medium", "none", 24, 0.52),
        ("SD3.5-large", "cfg2", 38, 0.52 / 2.0),
        ("Wan2.1-T2V-1.3B", "none", 30, 1.6),
        ("CogVideoX-2b", "none", 30, 2.2),
        ("Latte-1", "none", 56, 1.08),
    ] {
        let mut rig = Rig::new(&preset("8xh100-sxm"), model, |request| request.steps = 2);
        rig.execution.calibration.launch = 1.0;
        let found = rig.closed_form(&plan(line)).launch.as_us_f64() / 1000.0;
        let expected = f64::from(blocks) * ms;
        assert!(
            (found / expected - 1.0).abs() < 1e-7,
            "{model} {line}: {found} ms, not {expected}"
        );
    }
}

/// A block takes the root of the squares of its work and its launch time; embedders and the output layer their work.
#[test]
fn a_block_takes_the_root_of_the_squares() {
    let attention = 4 * S * S * D;
    let [double, single] = [modulation(1, 0), modulation(0, 1)]
        .map(|modulation| s((on_tokens(1, S) + modulation + attention + PASSES * A) as f64));
    let ends = s((head(IMAGE, TEXT) + tail(IMAGE)) as f64);
    // Launching as long as work: a thousand times what it takes anywhere.
    for factor in [1.0, 1000.0, 3000.0] {
        let launch = 1.23e-3 * factor;
        let blocks = DOUBLE as f64 * double.hypot(launch) + SINGLE as f64 * single.hypot(launch);
        let found = step("4xl20-pcie", "none", |rig| {
            rig.execution.calibration.launch = factor;
        });
        agree(found, ends + blocks, &format!("launch factor {factor}"));
    }
}

/// Passes over a block's activation: 66 in SGLang, 53 compiled; eager 185, and 90 where level 2 is large beside the memory, half
/// of that where it holds 35 us of traffic; times what the model's file says. A100's 40 MB hold 40e6 / 2.039e12 = 19.6 us:
/// 90 + 95 / (1 + .56^4) = 176.5; L40's 96 MB 111 us: 90 + 95 / (1 + 3.17^4) = 90.9.
#[test]
fn elementwise_passes_are_those_of_the_table() {
    use sim::execution::Software::{Other, PipeFusionLegacy, Sglang};
    use sim::lower::elementwise_passes;
    use topologies::gpu::find;
    for model in sim::model::known() {
        for (compilation, software, gpu, usual) in [
            (Compilation::Eager, Other, "A100-80-SXM", 176.5),
            (Compilation::Eager, PipeFusionLegacy, "L40", 90.9),
            (Compilation::Eager, Sglang, "L40", 66.0),
            (Compilation::Compiled, Other, "A100-80-SXM", 53.0),
            (Compilation::Compiled, Sglang, "L40", 53.0),
        ] {
            let found = elementwise_passes(model, compilation, software, find(gpu).unwrap());
            let expected: f64 = usual * model.elementwise.passes;
            assert!((found - expected).abs() <= 0.6, "{}: {found}", model.name);
            assert_eq!(found.fract(), 0.0);
        }
    }
}

/// With more bandwidth level 2 holds less, and more passes count; the same passes are done no later for it.
#[test]
fn more_bandwidth_never_slows_the_passes() {
    let flux = sim::model::find("FLUX.1-dev").unwrap();
    for gpu in topologies::gpu::known() {
        let time = |memory: f64| {
            let faster = gpu.scaled(1.0, memory);
            let eager = Compilation::Eager;
            let other = sim::execution::Software::Other;
            let passes = sim::lower::elementwise_passes(flux, eager, other, &faster);
            passes / faster.memory_bandwidth.as_f64()
        };
        let times: Vec<f64> = (0..60).map(|step| time(1.06_f64.powi(step))).collect();
        assert!(times.is_sorted_by(|a, b| a > b), "{}: {times:?}", gpu.name);
    }
}

/// Who waits for the slowest encoder: a ring's ranks hop by hop, exposed with their messages; those of a gather and of
/// all-to-alls before the message, 8 % of the encode.
#[test]
fn waiting_for_the_slowest_encoder_is_exposed_in_rings_alone() {
    let rig = Rig::flux("4xl20-pcie");
    for (line, beside) in [
        ("ring4/1bit warmup=1", 0.0),
        ("ulysses2+ring2/1bit warmup=1", 0.0),
        ("allgather-kv4/1bit warmup=1", 0.08),
        ("ulysses4/2bit warmup=1", 0.08),
        ("ring4", 0.0),
        ("allgather-kv4", 0.0),
    ] {
        let plan = plan(line);
        let done = super::done(&rig.run(&plan).graph, 1, 0);
        let parts = rig.closed_form(&plan);
        let exposed: SimDuration = parts.exposed.values().copied().sum();
        let codec = done.encoded as f64 * (1.0 + beside) + done.decoded as f64;
        let expected = work(&done) + s(codec) + exposed.as_secs_f64();
        let found = parts.gpu.as_secs_f64();
        let away = (found / expected - 1.0).abs();
        assert!(away < 1e-9, "{line}: {found} s, not {expected} s");
    }
}
