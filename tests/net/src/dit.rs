//! A short run of a small diffusion transformer under a plan, lowered as `ditplan simulate` lowers any other.
//!
//! The model is FLUX's with three blocks at another width. What operations cost is made up (a rank sleeps for it):
//! only messages are measured here. Compression is real, within the time made up for it.

use anyhow::{Result, anyhow};
use kernels::{AttentionKernel, Compressor, Cost, CostModel, Miss, Op, Provenance};
use sim::execution::{Calibration, Execution, Software};
use sim::graph::TaskGraph;
use sim::lower::Setup;
use sim::model::{self, Architecture, Guidance, Joint, Model, Request, Resolution};
use sim::plan::Plan;
use sim::platform::Platform;
use topologies::host::Compilation;
use topologies::{Gpu, SimDuration};

use crate::program::Codec;

/// Heads of the model.
const HEADS: u64 = 8;
/// Text tokens: with the image's 1,024, a number that 2, 4 and 8 ranks share evenly.
const TEXT: u32 = 128;
/// Pixels of a side of the image.
const SIDE: u32 = 512;

/// What is run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dit {
    /// The plan's line.
    pub plan: String,
    /// Width of a token; a multiple of 64.
    pub hidden: u64,
    /// Denoising steps.
    pub steps: u32,
    /// How fast operations are, over the pace of [`Pace`].
    pub pace: f64,
}

/// Costs made up so that computing takes about as long as messages: 400 GFLOP/s for matrix products, 50 for attention,
/// 10 GB/s of memory, 100 million elements a second to compress.
struct Pace(f64);

impl CostModel for Pace {
    fn cost(&self, op: &Op, _gpu: &Gpu) -> Result<Cost, Miss> {
        let seconds = match *op {
            Op::Gemm { m, n, k, .. } => 2.0 * (m * n * k) as f64 / 400e9,
            Op::Attention {
                batch,
                heads,
                queries,
                keys,
                head_dim,
                ..
            } => 4.0 * (batch * heads * queries * keys * head_dim) as f64 / 50e9,
            Op::MemoryBound { bytes, .. } => bytes as f64 / 10e9,
            Op::Encode { rows, channels, .. } | Op::Decode { rows, channels, .. } => {
                (rows * channels) as f64 / 100e6
            }
        };
        Ok(Cost {
            time: SimDuration::from_secs_f64(seconds / self.0),
            provenance: Provenance::Datasheet,
            half_width: 0.0,
        })
    }
}

fn model(hidden: u64) -> Result<Model> {
    let flux = model::find("FLUX.1-dev")?;
    let Architecture::Joint(joint) = flux.architecture else {
        return Err(anyhow!("FLUX.1-dev has joint blocks"));
    };
    let joint = Joint {
        double: 1,
        single: 2,
        feed_forward: 4 * hidden,
        ..joint
    };
    Ok(Model {
        hidden,
        heads: HEADS,
        head_dim: hidden / HEADS,
        architecture: Architecture::Joint(joint),
        ..flux.clone()
    })
}

/// The tasks of a run, and what its messages are compressed with.
///
/// # Errors
/// When the plan cannot be read or lowered.
pub(crate) fn tasks(dit: &Dit, platform: &Platform) -> Result<(TaskGraph, Option<Codec>)> {
    let model = model(dit.hidden)?;
    let request = Request {
        steps: dit.steps,
        guidance: Guidance::None,
        text_tokens: TEXT,
        resolution: Resolution {
            width: SIDE,
            height: SIDE,
        },
        ..model.default
    };
    let workload = model.workload(&request)?;
    let plan: Plan = dit.plan.parse().map_err(|error| anyhow!("{error}"))?;
    let execution = Execution {
        compilation: Compilation::Eager,
        software: Software::VirtualRanks,
        attention: AttentionKernel::FlashAttention2,
        calibration: Calibration {
            compute: 1.0,
            launch: 0.0,
            ..Calibration::assumed(false)
        },
    };
    let pace = Pace(dit.pace);
    let setup = Setup::new(&workload, &plan, platform, &execution, &pace)?;
    let steps: Vec<u32> = (0..dit.steps).collect();
    let compressor = plan.compression.at(plan.warmup, 0);
    let tokens = workload.image_tokens() + workload.text_tokens();
    let codec = compressor.map(|compressor: Compressor| Codec {
        compressor: compressor.to_string(),
        rows: (tokens / u64::from(plan.sequence())) as usize,
        channels: dit.hidden as usize,
    });
    Ok((setup.tasks(&steps, false)?, codec))
}
