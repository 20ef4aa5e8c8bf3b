//! The same plan, simulated on N ranks that share one GPU.

use std::collections::BTreeMap;

use kernels::{AttentionKernel, CostModel, Tables};
use sim::execution::{Calibration, Execution, Software};
use sim::one_gpu::{Copies, CopyRate, OneGpu};
use sim::outcome;
use sim::plan::Plan;
use sim::platform::Platform;
use sim::simulate::{Detail, Simulation, simulate};
use sim::workload::BlockKind;
use topologies::host::Compilation;
use topologies::{Bandwidth, Gpu, SimDuration, SimTime};
use traces::timeline::{SpanClass, Stream, Timeline};

use super::super::reason::Reason;
use super::model;
use super::run::{About, LiveError, Run};
use crate::profile::{Device, Part, Profile, rates};

/// What a timeline comes to, microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// From the first start to the last end.
    pub makespan: f64,
    /// Time in which a copy runs and no compute does.
    pub exposed: f64,
    /// Sums of the spans of each class.
    pub classes: BTreeMap<SpanClass, f64>,
}

impl Times {
    /// Of a timeline, as `ditplan_capture.virtual_run` counts them.
    #[must_use]
    pub fn of(timeline: &Timeline) -> Self {
        let mut classes = BTreeMap::new();
        for span in timeline.spans() {
            *classes.entry(span.class).or_insert(0.0) += span.duration().as_us_f64();
        }
        let covered = |wanted: &dyn Fn(Stream) -> bool| {
            let spans = timeline.spans().iter().filter(|span| wanted(span.stream));
            let mut intervals: Vec<_> = spans.map(|span| (span.start, span.end)).collect();
            covered(&mut intervals).as_us_f64()
        };
        Self {
            makespan: timeline.end().since(SimTime::ZERO).as_us_f64(),
            exposed: covered(&|_| true) - covered(&|stream| stream == Stream::Compute),
            classes,
        }
    }
}

fn covered(intervals: &mut [(SimTime, SimTime)]) -> SimDuration {
    intervals.sort_unstable();
    let (mut total, mut until) = (SimDuration::ZERO, SimTime::ZERO);
    for &(start, end) in &*intervals {
        if end > until {
            total += end.since(start.max(until));
            until = end;
        }
    }
    total
}

/// What a run is predicted with.
pub(super) struct Bench<'a> {
    pub profile: Option<&'a Profile>,
    pub gpu: &'a Gpu,
}

impl Bench<'_> {
    /// The simulated times of a run, or why there are none.
    pub(super) fn times(&self, run: &Run) -> Result<Result<Times, Reason>, LiveError> {
        let about = &run.about;
        let tables = self.tables(about)?;
        let costs: &dyn CostModel = tables.as_ref().unwrap_or_else(|| Tables::built_in());
        Ok(self.simulated(about, costs))
    }

    fn simulated(&self, about: &About, costs: &dyn CostModel) -> Result<Times, Reason> {
        let found = self.simulation(about, costs)?;
        let names = ["down", "up", "both"].map(str::to_owned);
        let provenance = "simulated".to_owned();
        let timeline = outcome::timeline(&found.graph, &found.outcome, &names, provenance);
        Ok(Times::of(&timeline))
    }

    fn simulation(&self, about: &About, costs: &dyn CostModel) -> Result<Simulation, Reason> {
        let workload = model::workload(about)?;
        let plan: Plan = about.plan.parse().map_err(Reason::Plan)?;
        if plan.ranks() != about.ranks {
            return Err(Reason::Ranks {
                plan: about.plan.clone(),
                has: plan.ranks(),
                ran: about.ranks,
            });
        }
        let platform = Platform::on_one_gpu(self.gpu, about.ranks, self.exchange(about));
        let execution = Execution {
            compilation: Compilation::Eager,
            software: Software::VirtualRanks,
            attention: AttentionKernel::usual(self.gpu),
            calibration: self.calibration(about),
        };
        let detail = Detail::Full;
        let found = simulate(&workload, &plan, &platform, &execution, costs, detail);
        found.map_err(Reason::Simulation)
    }

    /// Bytes that a simulated run sends to the host.
    #[cfg(test)]
    pub(super) fn bytes_down(&self, about: &About) -> Result<u64, Reason> {
        let found = self.simulation(about, Tables::built_in())?;
        let down = topologies::LinkId::new(0);
        let bytes = outcome::bytes_per_link(&found.graph, 3);
        Ok(bytes[down.index()].get())
    }

    /// The profile's tables with the attention kernel that ran; none without a profile.
    fn tables(&self, about: &About) -> Result<Option<Tables>, LiveError> {
        let Some(profile) = self.profile else {
            return Ok(None);
        };
        let kernel = match about.machine.device {
            Device::Cpu => "torch_sdpa_cpu".to_owned(),
            Device::Cuda => format!("torch_sdpa_{}", about.attention),
        };
        Ok(Some(profile.tables_with_attention(&kernel)?))
    }

    /// Bytes of an element over the two of 16-bit formats.
    fn width(about: &About) -> f64 {
        if about.dtype == "float32" { 2.0 } else { 1.0 }
    }

    /// Nothing but kernels: no factor of a host, and launching only where it was not captured in a graph.
    fn calibration(&self, about: &About) -> Calibration {
        let known = sim::model::find(&about.model).or_else(|_| sim::model::find("FLUX.1-dev"));
        let known = known.expect("a built-in model");
        let eager = Compilation::Eager;
        let host = self.profile.map(|profile| profile.host(known, eager));
        let host = host.unwrap_or_default();
        let published =
            sim::lower::elementwise_passes(known, eager, Software::VirtualRanks, self.gpu);
        let usual = Calibration::assumed(false);
        let launched = about.mode == "eager" && about.machine.device == Device::Cuda;
        let width = Self::width(about);
        let passes = BlockKind::ALL.into_iter().map(|kind| {
            let of_one = host.passes.get(&kind).copied().unwrap_or(published);
            (kind, width * of_one)
        });
        Calibration {
            compute: 1.0,
            launch: if launched {
                host.launch.unwrap_or(usual.launch)
            } else {
                0.0
            },
            passes: passes.collect(),
            ..usual
        }
    }

    /// The measured copies; without them the datasheet's PCIe rate each way.
    fn exchange(&self, about: &About) -> OneGpu {
        let copies = self
            .profile
            .map(|profile| profile.points(Part::Copies))
            .unwrap_or_default();
        let width = Self::width(about);
        let rate = |bytes_per_us: f64| Bandwidth::new((bytes_per_us * 1e6 / width) as u64);
        let datasheet = CopyRate {
            latency: SimDuration::ZERO,
            rate: self.gpu.pcie,
        };
        let way = |direction: &str| {
            rates::copy(copies, direction).map_or(datasheet, |copy| CopyRate {
                latency: SimDuration::from_us_f64(copy.latency_us),
                rate: rate(copy.bytes_per_us),
            })
        };
        let (down, up) = (way("d2h"), way("h2d"));
        let both = rates::copy(copies, "both").map(|copy| rate(2.0 * copy.bytes_per_us));
        let beside = self
            .profile
            .and_then(|profile| rates::interference(profile.points(Part::Interference)));
        OneGpu {
            together: both.unwrap_or(down.rate + up.rate),
            down,
            up,
            interference: beside.unwrap_or(0.0),
            copies: match about.machine.device {
                Device::Cuda => Copies::Streams,
                Device::Cpu => Copies::InTurn,
            },
        }
    }
}
