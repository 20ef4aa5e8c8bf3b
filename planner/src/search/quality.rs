//! Output quality of stale and compressed plans: published, and predicted from a trace.

use kernels::Compressor;
use sim::model::{Request, Resolution};
use sim::plan::{Exchange, Fidelity, Pipeline, Plan};

use super::evaluator::Evaluator;
use super::{Budget, Quality};

/// FID and LPIPS against the uncompressed output of FLUX.1-dev, 1024x1024, 28 steps, 4 GPUs, warm-up
/// 1: CompactFusion (NeurIPS 2025), table 1 and author responses.
const FLUX_SOURCE: &str = "CompactFusion, FLUX.1-dev 1024x1024, 28 steps, 4 GPUs";

/// The published pipeline: as many patches as stages, xDiT's default.
const FLUX_PIPELINE: Pipeline = Pipeline {
    stages: 4,
    patches: 4,
};

impl Evaluator<'_> {
    /// What is known of the output of `plan`.
    pub(super) fn quality(&self, plan: &Plan) -> Quality {
        let published = published(self.question.model.name, &self.question.request, plan);
        let Some(trace) = &self.question.quality else {
            return published;
        };
        match trace.predict(plan) {
            Ok(predicted) => Quality {
                predicted: Some(predicted),
                source: match plan.fidelity() {
                    Fidelity::Exact => published.source,
                    Fidelity::Stale | Fidelity::Lossy => format!("predicted from {}", trace.name),
                },
                ..published
            },
            Err(error) => Quality {
                source: format!("{}; {error}", published.source),
                ..published
            },
        }
    }

    /// The largest deviation that keeps a budget; none where no trace can tell.
    pub(super) fn limit(&self, budget: Budget) -> Option<f64> {
        self.question.quality.as_ref()?.limit(budget)
    }
}

/// The published quality of `plan` for a request, if there is one.
pub(super) fn published(model: &str, request: &Request, plan: &Plan) -> Quality {
    if plan.fidelity() == Fidelity::Exact {
        let source = "exact up to the order of floating-point sums".to_owned();
        return Quality {
            fid: None,
            lpips: None,
            predicted: None,
            source,
        };
    }
    let none = |why: &str| Quality {
        fid: None,
        lpips: None,
        predicted: None,
        source: why.to_owned(),
    };
    if model != "FLUX.1-dev" {
        return none("no published figure for this model");
    }
    let Resolution { width, height } = request.resolution;
    if (width, height, request.steps, plan.warmup) != (1024, 1024, 28, 1) {
        return none("published for 1024x1024 in 28 steps with one of warm-up, not for this run");
    }
    let pure = |degree: u32| plan.ranks() == degree;
    let figures = match (plan.exchange, plan.compression.uniform()) {
        // A rank attends to its own exact K and V, so fewer ranks are no worse than the published four.
        (Exchange::Ring(n), Some(Compressor::OneBit)) if n <= 4 && pure(n) => (7.08, 0.260),
        (Exchange::Ring(n), Some(Compressor::TwoBit)) if n <= 4 && pure(n) => (3.26, 0.114),
        (Exchange::Ring(n), Some(Compressor::LowRankInt4(32))) if n <= 4 && pure(n) => {
            (8.68, 0.275)
        }
        (Exchange::Displaced(4), None) if plan.compression.is_raw() && pure(4) => (9.91, 0.310),
        _ if plan.compression.is_raw() && plan.pipeline == FLUX_PIPELINE && pure(4) => {
            (6.72, 0.250)
        }
        _ => return none("no published figure for this layout"),
    };
    Quality {
        fid: Some(figures.0),
        lpips: Some(figures.1),
        predicted: None,
        source: FLUX_SOURCE.to_owned(),
    }
}
