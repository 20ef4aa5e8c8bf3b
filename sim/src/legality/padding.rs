//! What engines pad where a degree does not divide it.
//!
//! ```text
//! tokens:  n image tokens over d ranks are d ceil(n / d)
//! heads:   h heads of a tensor rank over u Ulysses ranks are u ceil(h / u)
//! ```
//! Only rings and Ulysses are padded: no engine pads pipelines, DistriFusion's patches or stacks that cut by rows.

use super::{Illegal, all_reasons};
use crate::model::{Architecture, Model, SequenceAxis, UlyssesRule};
use crate::plan::{Exchange, Plan};
use crate::workload::Workload;

/// What an engine pads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pads {
    /// Image tokens of sequence ranks.
    pub tokens: bool,
    /// Heads of Ulysses ranks.
    pub heads: bool,
}

/// What a plan pads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Image tokens beside those of the image.
    pub tokens: u64,
    /// Heads of a tensor rank beside those of the model.
    pub heads: u64,
}

/// Whether `model` can serve `workload` with `plan` on a machine of `gpus` GPUs where the engine pads so, and what it pads.
///
/// # Errors
/// The first reason why not.
pub fn check_padded(
    model: &Model,
    workload: &Workload,
    plan: &Plan,
    gpus: usize,
    pads: Pads,
) -> Result<Padding, Illegal> {
    let padding = Padding::of(model, workload, plan);
    let padded = |reason: &Illegal| match reason {
        Illegal::Tokens { .. } => pads.tokens && padding.tokens > 0,
        Illegal::UlyssesHeads { .. } => pads.heads && padding.heads > 0,
        _ => false,
    };
    let mut reasons = all_reasons(model, workload, plan, gpus).into_iter();
    match reasons.find(|reason| !padded(reason)) {
        Some(reason) => Err(reason),
        None => Ok(padding),
    }
}

impl Padding {
    /// What is missing to divide evenly; nothing of what cannot be padded.
    #[must_use]
    pub fn of(model: &Model, workload: &Workload, plan: &Plan) -> Self {
        let ring = matches!(plan.exchange, Exchange::Ring(_));
        let cuts_tokens = model.sequence_axis == SequenceAxis::Tokens
            && !matches!(model.architecture, Architecture::UNet(_));
        if !ring || !cuts_tokens || plan.pipeline.stages != 1 {
            return Self::default();
        }
        let missing = |count: u64, degree: u32| match u64::from(degree) {
            degree if 0 < degree && degree <= count => count.next_multiple_of(degree) - count,
            _ => 0,
        };
        let divided = plan.tensor > 0 && model.heads.is_multiple_of(u64::from(plan.tensor));
        let any_heads = divided && model.ulysses == UlyssesRule::HeadDivisors;
        Self {
            tokens: missing(workload.image_tokens(), plan.sequence()),
            heads: match any_heads {
                true => missing(model.heads / u64::from(plan.tensor), plan.ulysses),
                false => 0,
            },
        }
    }
}
