//! What `validate --json` prints.

mod live;
mod operations;
mod published;
mod tier;

use planner::validate::Report;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use self::live::Live;
use self::operations::Operations;
use self::published::{OneGpu, Published};
use self::tier::Tier;

/// How far predictions are from measurements.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ValidateAnswer {
    /// What was scored; a tier is left out where nothing was given for it (without any file: all but live).
    pub tiers: Tiers,
}

/// What was scored.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Tiers {
    /// Matrix products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gemm: Option<Tier>,
    /// Attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<Tier>,
    /// Attention by kernel: each row left out of its own prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_kernels: Option<Tier>,
    /// Attention by kernel: all of a kernel on a GPU left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_kernels_left_out: Option<Tier>,
    /// NCCL collectives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collectives: Option<Tier>,
    /// Kernels of whole runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Operations>,
    /// Published end-to-end runs; n counts multi-GPU latency rows, mapped those that can be predicted, errors are over
    /// `scored`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Published one-GPU runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_gpu: Option<OneGpu>,
    /// Plans that virtual ranks executed on one GPU; errors are of the makespan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

impl From<&Report> for ValidateAnswer {
    fn from(report: &Report) -> Self {
        let tiers = &report.tiers;
        let left_out = &tiers.attention_kernels_left_out;
        Self {
            tiers: Tiers {
                gemm: tiers.gemm.as_ref().map(Tier::from),
                attention: tiers.attention.as_ref().map(Tier::from),
                attention_kernels: tiers.attention_kernels.as_ref().map(Tier::from),
                attention_kernels_left_out: left_out.as_ref().map(Tier::from),
                collectives: tiers.collectives.as_ref().map(Tier::from),
                operations: tiers.operations.as_ref().map(Operations::from),
                published: tiers.published.as_ref().map(Published::from),
                one_gpu: tiers.one_gpu.as_ref().map(OneGpu::from),
                live: tiers.live.as_ref().map(Live::from),
            },
        }
    }
}
