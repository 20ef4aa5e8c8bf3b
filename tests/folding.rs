//! A folded run is the full run: repeating the last steady step, and one rank for all that are alike, change no figure.

use std::collections::BTreeMap;

use kernels::Tables;
use planner::calibrate::calibrate;
use sim::execution::{Execution, Software};
use sim::model;
use sim::plan::Plan;
use sim::platform::Platform;
use sim::simulate::{Detail, simulate};
use sim::workload::Workload;
use topologies::host::Compilation;
use topologies::{Machine, SimDuration};
use traces::timeline::SpanClass;

/// What a run says: latency, waiting for messages, busy times and critical path by class.
type Said = (
    SimDuration,
    SimDuration,
    BTreeMap<SpanClass, SimDuration>,
    Vec<(SpanClass, SimDuration)>,
);

/// What runs of `line` on `machine` say, folded and in full.
fn said(model: &str, machine: &str, line: &str) -> [Said; 2] {
    let machine = Machine::preset(machine).unwrap();
    let model = model::find(model).unwrap();
    let mut request = model.default;
    request.batch = if line.starts_with("dp2") { 2 } else { 1 };
    let workload = Workload::new(model, &request).unwrap();
    let platform = Platform::of_machine(&machine).unwrap();
    let (tables, compilation) = (Tables::built_in(), Compilation::Eager);
    let calibrated = calibrate(&machine, &platform, &workload, compilation, tables, None);
    let execution = Execution {
        compilation,
        software: Software::Other,
        calibration: calibrated.calibration,
    };
    let plan: Plan = line.parse().unwrap();
    [Detail::Folded, Detail::Full].map(|detail| {
        let run = simulate(&workload, &plan, &platform, &execution, tables, detail).unwrap();
        // The critical path has no gap: its classes add up to the steps, folded or not.
        let classes: u64 = run.totals.critical.iter().map(|(_, time)| time.get()).sum();
        assert_eq!(
            classes,
            run.totals.denoise.get(),
            "{line} on {} ({detail:?})",
            machine.name
        );
        (
            run.totals.latency,
            run.totals.exposed,
            run.totals.by_class,
            run.totals.critical,
        )
    })
}

#[test]
fn a_folded_run_takes_as_long_as_the_full_run() {
    for machine in ["4xl20-pcie", "8xh100-sxm", "4x-emulated-ethernet"] {
        for line in [
            "none",
            "ring4",
            "ring4/2bit warmup=1",
            "ring4/mixed(1bit=0-56|@10:2bit=0-30;raw=31-56|@12:2bit=0-56) warmup=1",
            "ulysses2+ring2",
            "ulysses4",
            "attention2d2x2",
            "allgather-kv4/1bit warmup=1",
            "distrifusion4 warmup=1",
            "pipefusion4 warmup=1",
            "pipefusion4(m8) warmup=1",
            "pipefusion2+ulysses2 warmup=1",
            "tp4",
            "dp2+ring2",
            "vae-p4",
            "ring4+vae-p4",
        ] {
            let [folded, full] = said("FLUX.1-dev", machine, line);
            assert_eq!(folded, full, "{line} on {machine}");
        }
        for line in [
            "cfg2+ulysses2",
            "cfg2+ring2/1bit warmup=1",
            "cfg2+pipefusion2 warmup=1",
        ] {
            let [folded, full] = said("SD3-medium", machine, line);
            assert_eq!(folded, full, "{line} on {machine}");
        }
    }
}
