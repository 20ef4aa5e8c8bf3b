//! What `sweep --json` prints.

#[cfg(test)]
use planner::sweep::Field;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::file::SweepQuestion;
#[cfg(test)]
use crate::render::json::{Amount, Fidelity, Word};

/// The answer at every point of a grid. (With --tornado: sweep-tornado.schema.json.)
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SweepAnswer {
    /// What was asked, before anything varies; FILE.csv.question.json of --out is the same.
    pub question: SweepQuestion,
    /// The fields that vary, in the order of --vary; the last changes fastest. Each is a property of every row.
    #[cfg_attr(test, schemars(with = "Vec<Word<Field>>"))]
    pub axes: Vec<String>,
    /// A row for each point (and given plan), in order.
    #[cfg_attr(test, schemars(with = "Vec<SweepRow>"))]
    pub rows: Value,
}

/// A point: its place on the axes, and what was found there. The program reads rows back from their file, in whose
/// columns this is their type.
#[cfg(test)]
#[derive(Serialize, JsonSchema)]
pub(crate) struct SweepRow {
    /// Axis: GPUs that may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u64>,
    /// Axis: width x height, pixels, for example 1024x1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Axis: frames of a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// Axis: denoising steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Axis: images or videos made together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Axis: text tokens.
    #[serde(rename = "text-tokens", skip_serializing_if = "Option::is_none")]
    pub text_tokens: Option<u64>,
    /// Axis: bandwidth of all links, one way, with its unit: 25 GB/s.
    #[serde(rename = "link.bandwidth", skip_serializing_if = "Option::is_none")]
    pub link_bandwidth: Option<String>,
    /// Axis: latency of all links, with its unit: 2 us.
    #[serde(rename = "link.latency", skip_serializing_if = "Option::is_none")]
    pub link_latency: Option<String>,
    /// Axis: bandwidth of PCIe links, one way, with its unit: 25 GB/s.
    #[serde(rename = "pcie.bandwidth", skip_serializing_if = "Option::is_none")]
    pub pcie_bandwidth: Option<String>,
    /// Axis: latency of PCIe links, with its unit: 2 us.
    #[serde(rename = "pcie.latency", skip_serializing_if = "Option::is_none")]
    pub pcie_latency: Option<String>,
    /// Axis: bandwidth of links between sockets, one way, with its unit: 25 GB/s.
    #[serde(rename = "socket.bandwidth", skip_serializing_if = "Option::is_none")]
    pub socket_bandwidth: Option<String>,
    /// Axis: latency of links between sockets, with its unit: 2 us.
    #[serde(rename = "socket.latency", skip_serializing_if = "Option::is_none")]
    pub socket_latency: Option<String>,
    /// Axis: bandwidth of NVLink, one way, with its unit: 25 GB/s.
    #[serde(rename = "nvlink.bandwidth", skip_serializing_if = "Option::is_none")]
    pub nvlink_bandwidth: Option<String>,
    /// Axis: latency of NVLink, with its unit: 2 us.
    #[serde(rename = "nvlink.latency", skip_serializing_if = "Option::is_none")]
    pub nvlink_latency: Option<String>,
    /// Axis: bandwidth of network links, one way, with its unit: 25 GB/s.
    #[serde(rename = "network.bandwidth", skip_serializing_if = "Option::is_none")]
    pub network_bandwidth: Option<String>,
    /// Axis: latency of network links, with its unit: 2 us.
    #[serde(rename = "network.latency", skip_serializing_if = "Option::is_none")]
    pub network_latency: Option<String>,
    /// Axis: factor on the GPUs' arithmetic.
    #[serde(rename = "gpu.compute", skip_serializing_if = "Option::is_none")]
    pub gpu_compute: Option<Amount>,
    /// Axis: factor on the GPUs' memory bandwidth.
    #[serde(
        rename = "gpu.memory-bandwidth",
        skip_serializing_if = "Option::is_none"
    )]
    pub gpu_memory_bandwidth: Option<Amount>,
    /// Axis: price of a GPU in US dollars, with its unit: 2.5/h.
    #[serde(rename = "gpu.price", skip_serializing_if = "Option::is_none")]
    pub gpu_price: Option<String>,
    /// Axis: quality budget, PSNR of at least this, dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr: Option<Amount>,
    /// The plan that was given, or the best at this point; null for a point without one.
    pub plan: Option<String>,
    /// Its strategy; null for a point without a plan.
    pub strategy: Option<String>,
    /// Its compressor; raw is none; null for a point without a plan.
    pub compressor: Option<String>,
    /// GPUs that it uses; null for a point without a plan.
    pub ranks: Option<u64>,
    /// Simulated latency, seconds, to the microsecond; null for a point without a plan.
    pub latency_s: Option<Amount>,
    /// Lower end of its 90 % interval, seconds; null for a point without a plan.
    pub latency_lo_s: Option<Amount>,
    /// Upper end of its 90 % interval, seconds; null for a point without a plan.
    pub latency_hi_s: Option<Amount>,
    /// No schedule of this plan is faster, seconds; null for a point without a plan.
    pub lower_bound_s: Option<Amount>,
    /// Latency of one GPU over latency_s; null for a point without a plan.
    pub speed_up: Option<Amount>,
    /// Time within the denoising loop that the GPU that waits longest waits for messages with nothing to compute,
    /// seconds; null for a point without a plan.
    pub exposed_s: Option<Amount>,
    /// Peak memory of the fullest GPU, GB (1e9 bytes); null for a point without a plan.
    pub peak_memory_gb: Option<Amount>,
    /// Whether that fits; null for a point without a plan.
    pub fits: Option<bool>,
    /// How far the output is from the one-GPU output; null for a point without a plan.
    pub output: Option<Fidelity>,
    /// Predicted relative L2 deviation of the output; null without a trace.
    pub deviation: Option<Amount>,
    /// Predicted PSNR against the one-GPU output, dB; null without a trace, and for an exact output.
    pub psnr_db: Option<Amount>,
    /// Published FID of such a plan; null where there is none.
    pub fid: Option<Amount>,
    /// What an image or video costs: ranks x price x latency_s / batch, US dollars; null without a price.
    pub cost_each_usd: Option<Amount>,
    /// Legal plans at this point; 1 where the plan was given; null for a point without a plan.
    pub considered: Option<u64>,
    /// Plans simulated at this point; null for a point without a plan.
    pub simulated: Option<u64>,
    /// Why there is no plan; null where there is one.
    pub reason: Option<String>,
}
