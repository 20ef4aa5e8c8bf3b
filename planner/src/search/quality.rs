//! Output quality of stale and compressed plans: published, and predicted from a trace.

use kernels::{AttentionKernel, Compressor};
use sim::model::{Request, Resolution};
use sim::plan::{Exchange, Fidelity, Pipeline, Plan};
use sim::quality::QualityError;

use super::evaluator::Evaluator;
use super::{Budget, Predicted};

/// FID and LPIPS against the uncompressed output of FLUX.1-dev, 1024x1024, 28 steps, 4 GPUs, warm-up
/// 1: CompactFusion (NeurIPS 2025), table 1 and author responses.
const FLUX_SOURCE: &str = "CompactFusion, FLUX.1-dev 1024x1024, 28 steps, 4 GPUs";

/// The published pipeline: as many patches as stages, xDiT's default.
const FLUX_PIPELINE: Pipeline = Pipeline {
    stages: 4,
    patches: 4,
};

/// Quality of a plan's output against the one-GPU output: published figures, and what a trace predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Frechet inception distance.
    pub fid: Option<f64>,
    /// Learned perceptual image patch similarity.
    pub lpips: Option<f64>,
    /// Predicted from a recorded trace of the model.
    pub predicted: Option<Predicted>,
    /// Where the figures are from; or why there are none.
    pub source: QualitySource,
}

/// Where figures of quality are from, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QualitySource {
    /// The output is the one-GPU output up to the order of floating-point sums.
    Exact,
    /// They are published.
    Published {
        /// Where.
        source: &'static str,
    },
    /// None are published for the model.
    NoneForModel,
    /// Those of the model are for 1024x1024 in 28 steps with one of warm-up.
    NoneForRequest,
    /// Those of the model and request are for other layouts.
    NoneForLayout,
    /// The attention kernel has an error of its own, that nothing here predicts.
    LossyAttention(AttentionKernel),
    /// They are predicted from a trace.
    Trace {
        /// Its name.
        name: String,
    },
    /// There is a trace, but it says nothing about the plan.
    Unpredicted {
        /// What is published.
        published: Box<QualitySource>,
        /// Why not.
        error: QualityError,
    },
}

impl Evaluator<'_> {
    /// What is known of the output of `plan`.
    pub(super) fn quality(&self, plan: &Plan) -> Quality {
        let kernel = self.execution.attention;
        if kernel.is_lossy() {
            return none(QualitySource::LossyAttention(kernel));
        }
        let published = published(&self.question.model.name, &self.question.request, plan);
        let Some(trace) = &self.question.quality else {
            return published;
        };
        match trace.predict(plan) {
            Ok(predicted) => Quality {
                predicted: Some(predicted),
                source: match plan.fidelity() {
                    Fidelity::Exact => published.source,
                    Fidelity::Stale | Fidelity::Lossy => QualitySource::Trace {
                        name: trace.name.clone(),
                    },
                },
                ..published
            },
            Err(error) => Quality {
                source: QualitySource::Unpredicted {
                    published: Box::new(published.source),
                    error,
                },
                ..published
            },
        }
    }

    /// The largest deviation that keeps a budget; none where no trace can tell.
    pub(super) fn limit(&self, budget: Budget) -> Option<f64> {
        self.question.quality.as_ref()?.limit(budget)
    }
}

/// No figures, and why.
fn none(source: QualitySource) -> Quality {
    Quality {
        fid: None,
        lpips: None,
        predicted: None,
        source,
    }
}

/// The published quality of `plan` for a request, if there is one.
pub(super) fn published(model: &str, request: &Request, plan: &Plan) -> Quality {
    if plan.fidelity() == Fidelity::Exact {
        return none(QualitySource::Exact);
    }
    if model != "FLUX.1-dev" {
        return none(QualitySource::NoneForModel);
    }
    let Resolution { width, height } = request.resolution;
    if (width, height, request.steps, plan.warmup) != (1024, 1024, 28, 1) {
        return none(QualitySource::NoneForRequest);
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
        _ => return none(QualitySource::NoneForLayout),
    };
    Quality {
        fid: Some(figures.0),
        lpips: Some(figures.1),
        predicted: None,
        source: QualitySource::Published {
            source: FLUX_SOURCE,
        },
    }
}
