//! A plan with what it was found to do, as JSON.

use planner::launch;
use planner::search::Candidate;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::memory;
use sim::plan::{self, Exchange};

use super::super::words;
use super::values::{Amount, ByClass, Word};

/// A plan with what it was found to do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Plan {
    /// A plan in one line, as `simulate --plan` reads it: cfg2+ulysses2+ring2/1bit warmup=1. `none` is one GPU.
    pub plan: String,
    /// The part of a plan line before the compressor: degrees of parallelism joined by +, for example ulysses2+ring2.
    pub strategy: String,
    /// How many ranks each dimension of parallelism has. All but patches and vae multiply to the ranks.
    pub degrees: Degrees,
    /// What messages are sent as; null for uncompressed.
    pub compressor: Option<String>,
    /// First steps, run synchronously and uncompressed.
    pub warmup: u32,
    /// The GPU of each rank, as an index into the machine.
    pub placement: Vec<usize>,
    /// Simulated latency of the request, seconds.
    pub latency_s: Amount,
    /// Lower end of its 90 % interval, seconds.
    pub latency_lo_s: Amount,
    /// Upper end of its 90 % interval, seconds.
    pub latency_hi_s: Amount,
    /// Latency of one GPU over latency_s; null where one GPU was not simulated (plan --robust).
    pub speedup: Option<Amount>,
    /// Probability that the plan predicted fastest is faster than this; 0 for that plan, and where no plans were
    /// compared. Below 0.9 the evidence cannot tell the two.
    pub behind: Amount,
    /// No schedule of this plan is faster, seconds.
    pub lower_bound_s: Amount,
    /// latency_s / lower_bound_s, less 1.
    pub gap: Amount,
    /// Why the search stopped, in words: what no plan that was not simulated can beat, or that there is none.
    pub stop_reason: String,
    /// Peak memory of the fullest GPU, bytes.
    pub peak_memory_bytes: u64,
    /// What stands there then.
    pub memory: Memory,
    /// Whether that fits into the GPU.
    pub fits: bool,
    /// Where a plan's weights live while requests run; fetching what moves is in the latency.
    pub residency: Residency,
    /// In which numbers products run and weights are stored.
    pub precision: Word<plan::Precision>,
    /// Time within the denoising loop that the GPU that waits longest waits for messages with nothing to compute,
    /// seconds.
    pub exposed_communication_s: Amount,
    /// Seconds on the critical path of the denoising loop, by kind of work; text encoder and VAE are outside of the
    /// loop.
    pub time_by_class_s: ByClass,
    /// A plan's output against the one-GPU output.
    pub quality: Quality,
    /// What it loses against the choice, in words; empty for the choice.
    pub why_slower: String,
    /// How a plan is run.
    pub launch: Launch,
}

/// How many ranks each dimension of parallelism has. All but patches and vae multiply to the ranks.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Degrees {
    /// Replicas that share the batch. 1 where not used.
    pub data: u32,
    /// Ranks over the two branches of guidance. 1 where not used.
    pub cfg: u32,
    /// Ranks that trade tokens for heads by all-to-alls. 1 where not used.
    pub ulysses: u32,
    /// Ranks of ring attention. 1 where not used.
    pub ring: u32,
    /// Ranks that gather K and V. 1 where not used.
    pub allgather_kv: u32,
    /// Ranks that gather stale K and V (DistriFusion). 1 where not used.
    pub distrifusion: u32,
    /// Rows of Attention2D. 1 where not used.
    pub attention2d_rows: u32,
    /// Columns of Attention2D. 1 where not used.
    pub attention2d_columns: u32,
    /// Stages of PipeFusion. 1 where not used.
    pub pipefusion: u32,
    /// Patches in PipeFusion's pipeline. 1 where not used.
    pub patches: u32,
    /// Ranks of tensor parallelism. 1 where not used.
    pub tensor: u32,
    /// Ranks that share the VAE. 1 where not used.
    pub vae: u32,
}

/// What stands in the memory of the fullest GPU at its peak, bytes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Memory {
    /// When that is.
    #[cfg_attr(test, schemars(extend("enum" = ["encode", "denoise", "decode"])))]
    pub phase: &'static str,
    /// Weights of the transformer.
    pub weights: u64,
    /// Weights of the encoders.
    pub encoders: u64,
    /// Activations and gathers of a block.
    pub activations: u64,
    /// K and V that stale strategies keep.
    pub kv_cache: u64,
    /// Bases of compressed messages.
    pub bases: u64,
    /// Weights and activations of the VAE.
    pub vae: u64,
    /// CUDA context and NCCL buffers.
    pub runtime: u64,
}

/// Where a plan's weights live while requests run; fetching what moves is in the latency.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Residency {
    /// As a plan's line says it: resident, or words joined by +.
    pub line: String,
    /// Whether encoders, transformer and VAE are on the GPU together, or each in its phase only.
    #[cfg_attr(test, schemars(extend("enum" = ["together", "in-turn"])))]
    pub components: &'static str,
    /// Whether every GPU holds the encoders, a part of them, or holds them for encoding only, or another machine does.
    #[cfg_attr(test, schemars(extend("enum" = ["whole", "split", "in-turn", "elsewhere"])))]
    pub encoders: &'static str,
    /// Whether each GPU holds the transformer's weights that it works with, a part of them, or some blocks.
    #[cfg_attr(test, schemars(extend("enum" = ["resident", "sharded", "layerwise"])))]
    pub transformer: &'static str,
    /// Blocks of the transformer on the GPU, where the others come from host memory; null otherwise.
    pub resident_blocks: Option<u32>,
}

/// A plan's output against the one-GPU output.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Quality {
    /// How far the output is from the one-GPU output. exact: up to the order of sums; stale: computed from K and V of
    /// the previous step; lossy: from compressed K and V.
    pub fidelity: Fidelity,
    /// Published Frechet inception distance against the uncompressed output; null where none is published.
    pub fid: Option<Amount>,
    /// Published LPIPS against the uncompressed output; null where none is published.
    pub lpips: Option<Amount>,
    /// Predicted relative L2 deviation of the output from the uncompressed one, geometric mean over prompts
    /// (docs/quality.md); null without a trace.
    pub rel_l2: Option<Amount>,
    /// What 19 of 20 runs keep of rel_l2; null without a trace.
    pub rel_l2_upper: Option<Amount>,
    /// PSNR of rel_l2, dB; null without a trace and for an exact output.
    pub psnr_db: Option<f64>,
    /// PSNR of rel_l2_upper, dB; null likewise.
    pub psnr_lo_db: Option<f64>,
    /// Where the figures are from, or why there are none.
    pub source: String,
}

/// How a plan is run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Launch {
    /// Who executes the plan, as the file of the engine calls it.
    pub engine: String,
    /// The command or script that runs the plan; null where the engine cannot.
    pub command: Option<String>,
    /// Why the engine cannot run it; null where it can.
    pub reason: Option<String>,
}

/// How far the output is from the one-GPU output. exact: up to the order of sums; stale: computed from K and V of the
/// previous step; lossy: from compressed K and V.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) enum Fidelity {
    Exact,
    Stale,
    Lossy,
}

impl Plan {
    /// A candidate; `single` is the one-GPU latency in seconds, not a number where one GPU was not simulated.
    pub(crate) fn new(candidate: &Candidate, single: f64) -> Self {
        let latency = candidate.latency.as_secs_f64();
        let speedup = single / latency;
        let plan = &candidate.plan;
        Self {
            plan: plan.to_string(),
            strategy: plan.strategy(),
            degrees: plan.into(),
            compressor: (!plan.compression.is_raw()).then(|| plan.compression.to_string()),
            warmup: plan.warmup,
            placement: plan.placement.iter().map(|gpu| gpu.index()).collect(),
            latency_s: latency.into(),
            latency_lo_s: candidate.lo.into(),
            latency_hi_s: candidate.hi.into(),
            speedup: (!speedup.is_nan()).then_some(speedup.into()),
            behind: candidate.behind.into(),
            lower_bound_s: candidate.lower_bound.into(),
            gap: candidate.gap.into(),
            stop_reason: words::stop_reason(candidate.stop_reason),
            peak_memory_bytes: candidate.memory.total.get(),
            memory: (&candidate.memory).into(),
            fits: candidate.memory.fits.is_fit(),
            residency: plan.execution.residency.into(),
            precision: Word(plan.execution.precision),
            exposed_communication_s: candidate.exposed.into(),
            time_by_class_s: candidate.by_class.iter().copied().collect(),
            quality: candidate.into(),
            why_slower: words::why_slower(&candidate.why_slower),
            launch: (&candidate.launch).into(),
        }
    }
}

impl From<&plan::Plan> for Degrees {
    fn from(plan: &plan::Plan) -> Self {
        let mut degrees = Self {
            data: plan.data,
            cfg: plan.cfg,
            ulysses: plan.ulysses,
            ring: 1,
            allgather_kv: 1,
            distrifusion: 1,
            attention2d_rows: 1,
            attention2d_columns: 1,
            pipefusion: plan.pipeline.stages,
            patches: plan.pipeline.patches,
            tensor: plan.tensor,
            vae: plan.vae,
        };
        match plan.exchange {
            Exchange::Ring(n) => degrees.ring = n,
            Exchange::Gather(n) => degrees.allgather_kv = n,
            Exchange::Displaced(n) => degrees.distrifusion = n,
            Exchange::Attention2d { rows, columns } => {
                degrees.attention2d_rows = rows;
                degrees.attention2d_columns = columns;
            }
        }
        degrees
    }
}

impl From<&memory::Memory> for Memory {
    fn from(of: &memory::Memory) -> Self {
        Self {
            phase: words::phase(of.phase),
            weights: of.weights.get(),
            encoders: of.encoders.get(),
            activations: of.activations.get(),
            kv_cache: of.kv_cache.get(),
            bases: of.bases.get(),
            vae: of.vae.get(),
            runtime: of.runtime.get(),
        }
    }
}

impl From<plan::Residency> for Residency {
    fn from(residency: plan::Residency) -> Self {
        Self {
            line: residency.to_string(),
            components: match residency.components {
                plan::Components::Together => "together",
                plan::Components::InTurn => "in-turn",
            },
            encoders: match residency.encoders {
                plan::Encoders::Whole => "whole",
                plan::Encoders::Split => "split",
                plan::Encoders::InTurn => "in-turn",
                plan::Encoders::Elsewhere => "elsewhere",
            },
            transformer: match residency.transformer {
                plan::Weights::Resident => "resident",
                plan::Weights::Sharded => "sharded",
                plan::Weights::Layerwise { .. } => "layerwise",
            },
            resident_blocks: match residency.transformer {
                plan::Weights::Layerwise { resident, .. } => Some(resident),
                plan::Weights::Resident | plan::Weights::Sharded => None,
            },
        }
    }
}

impl From<&Candidate> for Quality {
    fn from(candidate: &Candidate) -> Self {
        let quality = &candidate.quality;
        let predicted = quality.predicted;
        Self {
            fidelity: candidate.fidelity.into(),
            fid: quality.fid.map(Amount::from),
            lpips: quality.lpips.map(Amount::from),
            rel_l2: predicted.map(|predicted| predicted.deviation.into()),
            rel_l2_upper: predicted.map(|predicted| predicted.upper.into()),
            psnr_db: predicted.and_then(|predicted| predicted.psnr_db),
            psnr_lo_db: predicted.and_then(|predicted| predicted.psnr_lo_db),
            source: words::quality(&quality.source),
        }
    }
}

impl From<&launch::Launch> for Launch {
    fn from(launch: &launch::Launch) -> Self {
        Self {
            engine: launch.engine.to_string(),
            command: words::command(launch).ok().map(str::to_owned),
            reason: words::command(launch).err(),
        }
    }
}

impl From<plan::Fidelity> for Fidelity {
    fn from(fidelity: plan::Fidelity) -> Self {
        match fidelity {
            plan::Fidelity::Exact => Self::Exact,
            plan::Fidelity::Stale => Self::Stale,
            plan::Fidelity::Lossy => Self::Lossy,
        }
    }
}

impl Fidelity {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Stale => "stale",
            Self::Lossy => "lossy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_degrees_multiply_to_the_ranks() {
        for line in [
            "cfg2+ulysses2+ring2",
            "attention2d2x4",
            "dp2+tp2+pipefusion4(m8)",
            "distrifusion4",
        ] {
            let plan: plan::Plan = line.parse().unwrap();
            let json = serde_json::to_value(Degrees::from(&plan)).unwrap();
            let degrees = json.as_object().unwrap().iter();
            let product: u64 = degrees
                .filter(|(name, _)| !matches!(name.as_str(), "patches" | "vae"))
                .map(|(_, degree)| degree.as_u64().unwrap())
                .product();
            assert_eq!(product, u64::from(plan.ranks()), "{line}");
        }
    }
}
