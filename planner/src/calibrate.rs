//! Calibration by rule: what a host's own runs say of its speed.
//!
//! | order | what | from |
//! |---|---|---|
//! | 1 | GPU time | the one-GPU run of the model, of this shape where there is one |
//! | 2 | launch factor | one launch-bound run of the host |
//! | 3 | GPU time again | with the new launch factor |
//! | 4 | rates of collectives, PCIe and Ethernet hosts only | one run of each kind |
//!
//! Each is the one number that makes the predicted time of its run the measured one. All are shared
//! by every plan, model and request on the host.

use kernels::CostModel;
use sim::execution::{Calibration, Execution, Software};
use sim::model::{self, Guidance, Request, Resolution};
use sim::plan::Plan;
use sim::platform::{Platform, Reach};
use sim::simulate::estimate;
use sim::workload::Workload;
use topologies::host::{Calibrates, Compilation, Covers, MeasuredRun};
use topologies::{CollectiveKind, Machine, SimDuration};

use crate::interval::{ComputeEvidence, Evidence, RateEvidence};
use crate::profile;

/// A calibration, what it rests on, and how it came about.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The factors.
    pub calibration: Calibration,
    /// What they rest on.
    pub evidence: Evidence,
    /// One sentence for each number.
    pub notes: Vec<String>,
}

/// `x` in `[low, high]` with `predict(x) = measured`, for a `predict` that only rises or only falls;
/// `None` where no `x` comes within 1 %.
#[must_use]
pub fn solve(
    low: f64,
    high: f64,
    measured: f64,
    predict: impl Fn(f64) -> Option<f64>,
) -> Option<f64> {
    let rises = predict(high)? > predict(low)?;
    let (mut low, mut high) = (low.ln(), high.ln());
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if (predict(middle.exp())? < measured) == rises {
            low = middle
        } else {
            high = middle
        }
    }
    let found = f64::midpoint(low, high).exp();
    ((predict(found)? / measured - 1.0).abs() < 0.01).then_some(found)
}

/// A run of the host, ready to be predicted.
struct Run<'a> {
    measured: &'a MeasuredRun,
    workload: Workload,
    plan: Plan,
}

impl<'a> Run<'a> {
    /// The run of a host, if this build knows its model and strategy.
    fn read(measured: &'a MeasuredRun) -> Option<Self> {
        let model = model::find(&measured.model).ok()?;
        let request = Request {
            resolution: Resolution {
                width: measured.width,
                height: measured.height,
            },
            frames: measured.frames,
            steps: measured.steps,
            batch: measured.batch,
            guidance: match measured.guidance {
                topologies::host::Guidance::None => Guidance::None,
                topologies::host::Guidance::Batched => Guidance::Batched,
                topologies::host::Guidance::Sequential => Guidance::Sequential,
            },
            text_tokens: measured.text_tokens.unwrap_or(model.default.text_tokens),
        };
        let workload = Workload::new(model, &request).ok()?;
        Some(Self {
            measured,
            workload,
            plan: measured.strategy.parse().ok()?,
        })
    }

    fn predict(
        &self,
        platform: &Platform,
        calibration: &Calibration,
        costs: &dyn CostModel,
    ) -> Option<f64> {
        let execution = Execution {
            compilation: self.measured.compiled,
            software: Software::Other,
            calibration: calibration.clone(),
        };
        let parts = estimate(&self.workload, &self.plan, platform, &execution, costs).ok()?;
        let outside = match self.measured.covers {
            Covers::All => SimDuration::ZERO,
            Covers::Steps => parts.fixed,
        };
        Some(parts.total.saturating_sub(outside).as_secs_f64())
    }

    fn seconds(&self) -> f64 {
        self.measured.latency.as_secs_f64()
    }

    fn name(&self) -> String {
        let run = self.measured;
        let size = format!("{}x{}", run.width, run.height);
        format!(
            "{} {size} {} {} on {} GPU, {}",
            run.model, run.strategy, run.compiled, run.gpus, run.latency
        )
    }
}

/// What the runs of `machine`'s host say about `workload`, compiled or not; where they say nothing, what
/// a profile of its GPU does.
#[must_use]
pub fn calibrate(
    machine: &Machine,
    platform: &Platform,
    workload: &Workload,
    compilation: Compilation,
    costs: &dyn CostModel,
    profile: Option<&profile::Host>,
) -> Calibrated {
    let host = &machine.host;
    let runs: Vec<Run<'_>> = host.runs.iter().filter_map(Run::read).collect();
    let mut state = State::new(platform, costs);
    if let Some(profile) = profile {
        state.start_from(profile);
    }
    if let Some(launch) = host.launch_factor {
        state.known_launch(launch);
    }
    let single = one_gpu_run(&runs, workload, compilation);
    state.gpu_time(single);
    if host.launch_factor.is_none() {
        state.launch(&runs);
        state.gpu_time(single);
    }
    if !platform.is_nvlink() {
        state.rates(&runs);
    }
    state.done
}

/// The best one-GPU run for `workload` and what it is worth.
fn one_gpu_run<'a>(
    runs: &'a [Run<'a>],
    workload: &Workload,
    compilation: Compilation,
) -> Option<(&'a Run<'a>, ComputeEvidence)> {
    let of_model = runs.iter().filter(|run| {
        run.measured.calibrates == Calibrates::OneGpu && run.workload.model == workload.model
    });
    let graded = of_model.map(|run| {
        let grade = match (
            run.measured.compiled == compilation,
            run.workload.tokens == workload.tokens,
        ) {
            (true, true) => ComputeEvidence::SameShape,
            (true, false) => ComputeEvidence::OtherShape,
            (false, _) => ComputeEvidence::OtherCompilation,
        };
        let away = (run.workload.image_tokens() as f64 / workload.image_tokens() as f64)
            .ln()
            .abs();
        (run, grade, away)
    });
    graded
        .min_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)))
        .map(|(run, grade, _)| (run, grade))
}

struct State<'a> {
    platform: &'a Platform,
    costs: &'a dyn CostModel,
    /// Where the launch factor is from until a run gives it.
    launch_source: &'static str,
    done: Calibrated,
}

impl<'a> State<'a> {
    fn new(platform: &'a Platform, costs: &'a dyn CostModel) -> Self {
        let rates = if platform.is_nvlink() {
            RateEvidence::Table
        } else {
            RateEvidence::Assumed
        };
        let evidence = Evidence {
            compute: ComputeEvidence::None,
            launch_calibrated: false,
            calibrated: Vec::new(),
            other_rates: rates,
        };
        let calibration = Calibration::assumed(platform.is_nvlink());
        Self {
            platform,
            costs,
            launch_source: "assumed",
            done: Calibrated {
                calibration,
                evidence,
                notes: Vec::new(),
            },
        }
    }

    /// What a profile says before the host's own runs do.
    fn start_from(&mut self, profile: &profile::Host) {
        let done = &mut self.done;
        done.calibration.passes.clone_from(&profile.passes);
        if profile.blocks_measured {
            done.calibration.compute = 1.0;
            done.evidence.compute = ComputeEvidence::OtherHost;
        }
        if let Some(launch) = profile.launch {
            done.calibration.launch = launch;
            self.launch_source = "from blocks of the profile";
        }
    }

    /// The factor that makes `run` come out, set by `set`.
    fn fit(
        &self,
        run: &Run<'_>,
        low: f64,
        high: f64,
        set: impl Fn(&mut Calibration, f64),
    ) -> Option<f64> {
        solve(low, high, run.seconds(), |x| {
            let mut trial = self.done.calibration.clone();
            set(&mut trial, x);
            run.predict(self.platform, &trial, self.costs)
        })
    }

    fn known_launch(&mut self, factor: f64) {
        self.done.calibration.launch = factor;
        self.done.evidence.launch_calibrated = true;
        self.done.notes.push(format!(
            "launch factor {factor:.2}: given by the machine file"
        ));
    }

    fn gpu_time(&mut self, run: Option<(&Run<'_>, ComputeEvidence)>) {
        self.done.notes.retain(|note| !note.starts_with("GPU time"));
        let fitted = run.and_then(|(run, grade)| {
            let factor = self.fit(run, 0.2, 6.0, |trial, x| trial.compute = x)?;
            Some((factor, grade, run.name()))
        });
        let note = match fitted {
            Some((factor, grade, name)) => {
                self.done.calibration.compute = factor;
                self.done.evidence.compute = grade;
                format!(
                    "GPU time x {factor:.2} of the kernel costs: from {name} ({})",
                    run_source(run)
                )
            }
            None => format!(
                "GPU time x {:.2} of the kernel costs: {}, this host has no one-GPU run of the model",
                self.done.calibration.compute,
                match self.done.evidence.compute {
                    ComputeEvidence::OtherHost => "from blocks of the model in the profile",
                    _ => "assumed",
                }
            ),
        };
        self.done.notes.push(note);
    }

    fn launch(&mut self, runs: &[Run<'_>]) {
        let run = runs
            .iter()
            .find(|run| run.measured.calibrates == Calibrates::Launch);
        let fitted = run.and_then(|run| {
            let mut own = State::new(self.platform, self.costs);
            own.done.calibration.passes = self.done.calibration.passes.clone();
            own.gpu_time(one_gpu_run(runs, &run.workload, run.measured.compiled));
            let factor = own.fit(run, 0.15, 2.5, |trial, x| trial.launch = x)?;
            Some((factor, run.name()))
        });
        let note = match fitted {
            Some((factor, name)) => {
                self.done.calibration.launch = factor;
                self.done.evidence.launch_calibrated = true;
                format!("launch factor {factor:.2}: from {name}")
            }
            None => format!(
                "launch factor {:.2}: {}, this host has no launch-bound run",
                self.done.calibration.launch, self.launch_source
            ),
        };
        self.done.notes.push(note);
    }

    fn rates(&mut self, runs: &[Run<'_>]) {
        for (calibrates, kind) in [
            (Calibrates::AllToAll, CollectiveKind::AllToAll),
            (Calibrates::RingPass, CollectiveKind::RingPass),
            (Calibrates::AllReduce, CollectiveKind::AllReduce),
            (Calibrates::AllGather, CollectiveKind::AllGather),
        ] {
            let Some(run) = runs
                .iter()
                .find(|run| run.measured.calibrates == calibrates)
            else {
                continue;
            };
            let mut own = State::new(self.platform, self.costs);
            own.done.calibration = self.done.calibration.clone();
            own.gpu_time(one_gpu_run(runs, &run.workload, run.measured.compiled));
            for reach in [Reach::Host, Reach::Network] {
                let fitted = own.fit(run, 0.02, 20.0, |trial, x| {
                    trial.rates.insert((kind, reach), x);
                });
                if let Some(factor) = fitted {
                    self.done.calibration.rates.insert((kind, reach), factor);
                    self.done.evidence.calibrated.push((kind, reach));
                    let note = format!(
                        "{kind} x {factor:.2} of the usual rate: from {}",
                        run.name()
                    );
                    self.done.notes.push(note);
                    break;
                }
            }
        }
    }
}

fn run_source(run: Option<(&Run<'_>, ComputeEvidence)>) -> &'static str {
    match run.map(|(_, grade)| grade) {
        Some(ComputeEvidence::SameShape) => "this request",
        Some(ComputeEvidence::OtherShape) => "another shape of this model",
        Some(ComputeEvidence::OtherCompilation) => "this model, compiled otherwise",
        Some(ComputeEvidence::OtherHost) => "another host",
        Some(ComputeEvidence::None) | None => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solve_finds_the_factor_of_a_rising_or_falling_prediction() {
        // 3 x = 12 and 12 / x = 3 have x = 4.
        assert!((solve(0.1, 10.0, 12.0, |x| Some(3.0 * x)).unwrap() - 4.0).abs() < 1e-9);
        assert!((solve(0.1, 10.0, 3.0, |x| Some(12.0 / x)).unwrap() - 4.0).abs() < 1e-9);
        assert_eq!(solve(0.1, 10.0, 1000.0, Some), None);
    }

    #[test]
    fn a_run_of_the_steps_alone_is_predicted_without_encoder_and_decoder() {
        let machine = Machine::preset("8xl20-pcie").unwrap();
        let platform = Platform::of_machine(&machine).unwrap();
        let calibration = Calibration::assumed(platform.is_nvlink());
        let tables = kernels::Tables::built_in();
        let mut both = [0, 0];
        for measured in &machine.host.runs {
            let seconds = |covers| {
                let measured = MeasuredRun {
                    covers,
                    ..measured.clone()
                };
                Run::read(&measured)?.predict(&platform, &calibration, tables)
            };
            let (Some(all), Some(steps)) = (seconds(Covers::All), seconds(Covers::Steps)) else {
                continue;
            };
            assert!(all > steps + 0.1, "{}: {all} {steps}", measured.model);
            both[usize::from(measured.covers == Covers::Steps)] += 1;
        }
        assert!(both.iter().all(|runs| *runs > 0), "{both:?}");
    }
}
