//! Weights that move, and products in other precisions, against arithmetic of their own.
//!
//! ```text
//! block with a fetch ahead  max(t, f) + i min(t, f),  i .65 beside copies from the host, .25 beside gathers
//! without                   t + f
//! f                         bytes of the block that are not there / (three quarters of the PCIe rate)
//! in turn                   encoders, transformer and VAE, there and back, at a sixth of that rate
//! ```

use sim::model;
use sim::plan::Precision;
use sim::simulate::{Detail, simulate};
use sim::workload::{Block, Role};
use topologies::host::Compilation;
use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};

use super::flux::{D, K};
use super::memory::{LOOP, kept};
use super::{Rig, done, plan, preset};

/// Bytes of FLUX.1's blocks: 36 d^2 weights in each of 19, 15 d^2 in each of 38.
const BLOCKS: f64 = (19 * 36 + 38 * 15) as f64 * (D * D * 2) as f64;
/// Bytes a second from pinned memory to an L20: three quarters of 32 GB/s.
const PINNED: f64 = 24e9;

fn rig(machine: &str, steps: u32, unit: u64) -> Rig {
    let mut rig = Rig::new(&preset(machine), "FLUX.1-dev", |request| {
        request.steps = steps
    });
    rig.costs.unit = unit;
    rig
}

/// A further step of FLUX.1, simulated and in closed form, seconds.
fn step(machine: &str, line: &str, unit: u64) -> [f64; 2] {
    let (before, after, plan) = (rig(machine, 5, unit), rig(machine, 6, unit), plan(line));
    let simulated = after.run(&plan).totals.denoise - before.run(&plan).totals.denoise;
    let closed = after.closed_form(&plan).total - before.closed_form(&plan).total;
    [simulated, closed].map(SimDuration::as_secs_f64)
}

fn assert_step(machine: &str, line: &str, unit: u64, expected: f64) {
    for found in step(machine, line, unit) {
        let away = (found / expected - 1.0).abs();
        assert!(
            away < 1e-7,
            "{line}, unit {unit}: {found} s, not {expected} s"
        );
    }
}

/// Where compute is longer than the copies, .65 of them comes back; where there is none, they are all there is.
#[test]
fn blocks_from_the_host_are_copied_beside_the_one_before() {
    let [own, _] = step("4xl20-pcie", "none", 1);
    for resident in [0, 19, 56] {
        let copies = BLOCKS / PINNED * (1.0 - f64::from(resident) / K as f64);
        let line = format!("none residency=layerwise({resident})");
        assert_step("4xl20-pcie", &line, 1, own + 0.65 * copies);
        assert_step("4xl20-pcie", &line, 0, copies);
        let line = format!("none residency=layerwise({resident},0)");
        assert_step("4xl20-pcie", &line, 1, own + copies);
    }
}

/// Two L20 behind one switch share the link above it; one has it alone, and so has each on a socket of its own.
#[test]
fn copies_share_the_links_above_them() {
    assert_step(
        "8xl20-pcie",
        "none residency=layerwise(0)",
        0,
        BLOCKS / PINNED,
    );
    let mut text = String::from(
        "name = \"switched\"\nsockets = [\"s\"]\n[host]\nname = \"h\"\nsource = \"a test\"\n[[pcie_switches]]\nname = \"plx\"\nattach = \"s\"\nbandwidth = \"32 GB/s\"\n",
    );
    text += "[[gpus]]\nmodel = \"L20\"\ncount = 2\nattach = \"plx\"\n";
    let machine = topologies::Machine::from_toml(&text, "switched.toml")
        .unwrap_or_else(|error| panic!("{error}"));
    let rig = Rig::new(&machine, "FLUX.1-dev", |request| request.steps = 2);
    for (copying, share) in [(1, 1.0), (2, 0.5)] {
        let gpus: Vec<DeviceId> = (0..copying).map(DeviceId::new).collect();
        let rate = rig
            .platform
            .host_rate(gpus[0], &gpus, sim::platform::HostMemory::Pinned);
        assert_eq!(rate.as_f64(), PINNED * share, "{copying} copies");
    }
}

/// A gather of a block's weights hides but for a quarter, and is all there is where nothing else takes time.
#[test]
fn sharded_weights_are_gathered_a_block_ahead() {
    let machine = preset("8xh100-sxm");
    let rig = Rig::new(&machine, "FLUX.1-dev", |_| {});
    let group: Vec<DeviceId> = (0..4).map(DeviceId::new).collect();
    let gather = |block: &Block| {
        let bytes = Bytes::new(2 * block.parameters());
        let kind = CollectiveKind::AllGather;
        let factors = &rig.execution.calibration.rates;
        let message = rig.platform.message(kind, &group, bytes, factors);
        message.expect("a rate").time.as_secs_f64()
    };
    let gathers: f64 = rig.workload.all_blocks().map(gather).sum();
    let [own, _] = step("8xh100-sxm", "cfg1+ulysses4", 1);
    let line = "ulysses4 residency=fsdp";
    assert_step("8xh100-sxm", line, 1, own + 0.25 * gathers);
}

/// Encoders, transformer and VAE cross the link twice in a request, at a sixth of the pinned rate; encoders alone once each way.
#[test]
fn components_in_turn_are_moved_once_a_request() {
    let flux = model::find("FLUX.1-dev").expect("a known model");
    let encoders: u64 = flux
        .encoders
        .iter()
        .map(|encoder| 2 * encoder.parameters)
        .sum();
    let vae = flux.vae.weight_bytes().get();
    let rig = rig("4xl20-pcie", 3, 1);
    let transformer: u64 = rig
        .workload
        .all_blocks()
        .map(|block| 2 * block.parameters())
        .sum();
    let latency = |line: &str| rig.run(&plan(line)).totals.latency.as_secs_f64();
    let own = latency("none");
    for (line, moved) in [
        ("none residency=in-turn", encoders + transformer + vae),
        ("none residency=encoders-in-turn", encoders),
        (
            "none residency=in-turn+encoders-elsewhere",
            transformer + vae,
        ),
    ] {
        let expected = 2.0 * moved as f64 / (PINNED / 6.0);
        let found = latency(line) - own;
        assert!(
            (found / expected - 1.0).abs() < 1e-9,
            "{line}: {found} s, not {expected}"
        );
    }
}

/// More blocks on the GPU never take longer, nor less memory; all of them are as resident ones but for nothing.
#[test]
fn more_resident_blocks_are_never_slower() {
    let rig = rig("4xl20-pcie", 3, 1);
    let mut last = f64::INFINITY;
    for resident in 0..u32::try_from(K).expect("few") {
        let line = format!("ring2 residency=layerwise({resident})");
        let found = rig.run(&plan(&line)).totals.latency.as_secs_f64();
        assert!(
            found <= last,
            "{line}: {found} s, {last} s with one block less"
        );
        last = found;
    }
    assert!(rig.run(&plan("ring2")).totals.latency.as_secs_f64() <= last);
}

/// A run with fetches folds as others do.
#[test]
fn fetches_fold() {
    for (machine, line) in [
        ("4xl20-pcie", "none residency=layerwise(20)"),
        ("4xl20-pcie", "ring4 residency=layerwise(20)"),
        ("8xh100-sxm", "ulysses8 residency=fsdp"),
        ("8xh100-sxm", "distrifusion4 residency=fsdp"),
        (
            "8xh100-sxm",
            "ulysses2+ring2/1bit loop=fused residency=layerwise(3,0)",
        ),
    ] {
        for unit in [0, 1] {
            let rig = rig(machine, 12, unit);
            let run = |detail| {
                let (workload, platform) = (&rig.workload, &rig.platform);
                let (execution, plan) = (&rig.execution, plan(line));
                simulate(workload, &plan, platform, execution, &rig.costs, detail)
                    .expect("it can run")
                    .totals
            };
            let (full, folded) = (run(Detail::Full), run(Detail::Folded));
            assert_eq!(full.latency, folded.latency, "{line}, unit {unit}");
            assert_eq!(full.exposed, folded.exposed, "{line}, unit {unit}");
            let closed = rig.closed_form(&plan(line)).total;
            assert!(
                closed <= full.latency,
                "{line}: {closed} > {}",
                full.latency
            );
        }
    }
}

/// Linear work of one step of FLUX.1 on one GPU beyond that in 16 bits.
fn beyond(precision: &str, compilation: Compilation) -> i128 {
    let mut rig = rig("4xl20-pcie", 1, 1);
    rig.execution.compilation = compilation;
    let linear = |line: &str| i128::from(done(&rig.run(&plan(line)).graph, 0, 0).linear);
    linear(&format!("none precision={precision}")) - linear("none")
}

/// Sums over FLUX.1's quantised products: m k, n k, m (n + k), m n k.
fn products() -> (i128, i128, i128, i128) {
    let rig = rig("4xl20-pcie", 1, 1);
    let mut sums = (0, 0, 0, 0);
    for block in rig.workload.blocks() {
        for linear in &block.linears {
            let quantised = matches!(
                linear.role,
                Role::Qkv
                    | Role::AttentionOut
                    | Role::FeedForwardIn
                    | Role::FeedForwardOut
                    | Role::FusedOut
            );
            if quantised {
                let m = i128::from(block.tokens.of(linear.on));
                let (n, k) = (i128::from(linear.n), i128::from(linear.k));
                let used = i128::from(linear.used);
                sums.0 += used * m * k;
                sums.1 += used * n * k;
                sums.2 += used * m * (n + k);
                sums.3 += used * m * n * k;
            }
        }
    }
    sums
}

/// With costs that are the same in every number format, what is left is what quantising takes.
#[test]
fn quantising_takes_its_passes() {
    use Compilation::{Compiled, Eager};
    let (activations, weights, branch, flops) = products();
    for (precision, compilation, expected) in [
        ("fp8", Eager, 24 * activations),
        ("nvfp4", Eager, 24 * activations),
        // At most half of the 2 m n k in 16 bits.
        ("fp8", Compiled, -flops),
        ("fp8-weights", Eager, 20 * weights),
        ("int8-weights", Compiled, 3 * weights),
        ("nf4-weights", Eager, 3 * weights),
        ("svdq-nvfp4", Eager, 2 * 32 * branch),
    ] {
        assert_eq!(
            beyond(precision, compilation),
            expected,
            "{precision} {compilation}"
        );
    }
}

/// Matrices that are quantised shrink; modulation, embedders and the output layer do not.
#[test]
fn quantised_weights_shrink() {
    let flux = rig("4xl20-pcie", 1, 1).workload;
    let (_, weights, _, _) = products();
    let weights = u64::try_from(weights).expect("positive");
    let whole = kept(&flux, "none", LOOP).weights.get();
    let left = whole - 2 * weights;
    for (precision, bits) in [
        ("fp8", 8.0),
        ("int8", 8.0),
        ("nvfp4", 4.496),
        ("fp8-weights", 8.0),
    ] {
        let line = format!("none precision={precision}");
        let found = kept(&flux, &line, LOOP).weights.get() as f64;
        let expected = left as f64 + weights as f64 * bits / 8.0;
        assert!(
            (found / expected - 1.0).abs() < 1e-6,
            "{line}: {found}, not {expected}"
        );
    }
}

/// Every precision has a word of its own, and a line that says it reads back.
#[test]
fn precisions_read_back() {
    for precision in Precision::ALL {
        assert_eq!(precision.word().parse(), Ok(precision));
        let line = format!("ulysses4 precision={precision}");
        let read = plan(&line);
        assert_eq!(read.execution.precision, precision);
    }
}
