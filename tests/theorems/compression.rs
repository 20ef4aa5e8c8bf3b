//! What compression is credited with: nothing where it compresses nothing, and what its codec leaves of what it saves.

use kernels::{Compressor, CostModel, Op, Tables};
use planner::search::{self, Gain, Question, Shared};
use sim::model;
use topologies::{Machine, SimDuration, hypothetical};

use super::{Bench, links_only, plan, preset};

/// A plan in which nothing is compressed, each layer named raw or every step of warm-up, is the raw plan on the same ring
/// loop.
#[test]
fn what_compresses_nothing_takes_what_raw_takes() {
    let steps = 6;
    for machine in [
        preset("4xl20-pcie"),
        preset("8xh100-sxm"),
        links_only("4xl20-pcie"),
    ] {
        let bench = Bench::new(machine, steps);
        for layout in ["ring4", "allgather-kv4", "ulysses4", "ulysses2+ring2"] {
            for suffix in ["", " loop=fused"] {
                let raw = bench.latency(&plan(&format!("{layout}{suffix}")));
                for nothing in [
                    "mixed(raw=0-56) warmup=1",
                    "1bit warmup=6",
                    "lowrank-int4(32) warmup=6",
                ] {
                    let line = format!("{layout}/{nothing}{suffix}");
                    let name = &bench.machine.name;
                    assert_eq!(bench.latency(&plan(&line)), raw, "{line} on {name}");
                }
            }
        }
    }
}

/// What compressing a gather gains falls as bandwidth grows, and changes sign near the bandwidth at which the bytes that it
/// saves take as long as encoding and decoding. Of two ranks each sends its K and V once, encodes them, and decodes all;
/// links carry less than their rate, so the sign changes somewhat above it.
#[test]
fn what_a_compressor_gains_ends_where_its_codec_takes_what_it_saves() {
    let (compressor, rows, channels) = (Compressor::OneBit, 4608 / 2, 3072);
    let raw = Compressor::raw_bytes(rows, channels);
    let saved = 2.0 * (raw - compressor.message_bytes(rows, channels)).as_f64();
    for gpu in ["L20", "H100-SXM", "A100-80-SXM", "RTX4090", "H200-SXM"] {
        let of = |op| {
            let machine = links_of(gpu, 1.0);
            let cost = Tables::built_in().cost(&op, &machine.gpus[0]);
            cost.expect("it has a cost").time.as_secs_f64()
        };
        let codec =
            2.0 * of(Op::Encode {
                compressor,
                rows,
                channels,
            }) + 4.0
                * of(Op::Decode {
                    compressor,
                    rows,
                    channels,
                });
        let gain = |gigabytes: f64| {
            let mut bench = Bench::new(links_of(gpu, gigabytes), 2);
            // Longer messages would hide more of a launch gap.
            bench.execution.calibration.launch = 0.0;
            let [raw, compressed] = ["allgather-kv2", "allgather-kv2/1bit warmup=0"]
                .map(|line| bench.latency(&plan(line)).as_secs_f64());
            raw - compressed
        };
        let gains = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 1e5].map(gain);
        assert!(gains.is_sorted_by(|a, b| a >= b), "{gpu}: {gains:?}");
        let (mut low, mut high) = (1.0_f64, 1e5_f64);
        for _ in 0..20 {
            let middle = (low * high).sqrt();
            if gain(middle) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let threshold = saved / codec / 1e9;
        let ratio = low / threshold;
        assert!(
            (0.8..1.6).contains(&ratio),
            "{gpu}: {low} GB/s, not {threshold}"
        );
    }
}

/// Two GPUs of which only the rate of their links is known.
fn links_of(gpu: &str, gigabytes: f64) -> Machine {
    hypothetical::machine(&format!("2x{gpu}@{gigabytes:.3}GB/s")).expect("a machine")
}

/// raw - compressed = (raw - raw in the same loop) + (raw in the same loop - compressed), of a ring on PCIe both more than
/// nothing; a gather has no loop.
#[test]
fn a_gain_is_that_of_the_loop_and_that_of_compression() {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let question = Question::new(model, preset("4xl20-pcie")).expect("readable runs");
    let gain = |compressed: &str| {
        let plans = [compressed, "ring4", "ring4 loop=fused"].map(plan);
        let mut found = search::candidates(&question, &plans, &Shared::default()).expect("legal");
        found.sort_by_key(|one| one.latency);
        Gain::among(&found).expect("a compressed plan and raw ones")
    };
    let ring = gain("ring4/1bit warmup=1 loop=fused");
    let by_loop = ring.by_loop().as_secs_f64();
    let saved = ring.raw.latency.as_secs_f64() - ring.with.latency.as_secs_f64();
    assert!((by_loop + ring.by_compression_s() - saved).abs() < 1e-9);
    assert!(by_loop > 0.0 && ring.by_compression_s() > by_loop);
    assert_eq!(
        gain("allgather-kv4/1bit warmup=1").by_loop(),
        SimDuration::ZERO
    );
}
