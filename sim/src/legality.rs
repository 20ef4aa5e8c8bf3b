//! Which plans a model and a request allow, and why the others are not.
//!
//! ```text
//! heads:   tensor | heads,  ulysses | heads / tensor
//! tokens:  exchange x ulysses | image tokens (or token rows, where the stack cuts by height)
//! blocks:  stages <= blocks,  patches <= token rows / (exchange x ulysses)
//! ```
//! Engines pad some of what a degree does not divide ([`Pads`]): every rank then does the ceiling.
//!
//! Guarantees:
//! 1. [`all_reasons`] is empty exactly when [`check`] accepts.
//! 2. A plan whose degrees divide what they split never has a rank without work.
//! 3. [`check_padded`] of an engine that pads nothing is [`check`], and nothing is padded where everything divides.
//!
//! Text need not divide: where it does not, every rank has all of it. Not checked: memory (see
//! [`crate::memory`]), and whether a given software implements the combination.

mod padding;
mod reason;
#[cfg(test)]
mod tests;

pub use padding::{Padding, Pads, check_padded};
pub use reason::{Illegal, Method};

use std::collections::BTreeSet;

use crate::model::{Architecture, Guidance, Model, UlyssesRule};
use crate::plan::{Compression, Exchange, Pipeline, Plan, Weights};
use crate::workload::Workload;

/// Whether `model` can serve `workload` with `plan` on a machine of `gpus` GPUs.
///
/// # Errors
/// The first reason why not; [`all_reasons`] has the others.
pub fn check(model: &Model, workload: &Workload, plan: &Plan, gpus: usize) -> Result<(), Illegal> {
    match all_reasons(model, workload, plan, gpus).into_iter().next() {
        Some(reason) => Err(reason),
        None => Ok(()),
    }
}

/// Everything that makes `plan` illegal; empty if it is legal.
///
/// A degree of zero stands alone: nothing else can be said about such a plan.
#[must_use]
pub fn all_reasons(model: &Model, workload: &Workload, plan: &Plan, gpus: usize) -> Vec<Illegal> {
    let zeros = zero_degrees(plan);
    if !zeros.is_empty() {
        return zeros;
    }
    let mut reasons = Vec::new();
    reasons.extend(placement(plan, gpus));
    reasons.extend(request(workload, plan));
    match model.architecture {
        Architecture::UNet(_) => reasons.extend(unet(model, workload, plan)),
        _ => {
            reasons.extend(heads(model, plan));
            reasons.extend(tokens(model, workload, plan));
            reasons.extend(exchange(model, plan));
            reasons.extend(pipeline(workload, plan));
        }
    }
    reasons.extend(displaced(plan));
    reasons.extend(residency(workload, plan));
    reasons.extend(compressor(model, plan));
    reasons.extend(assignment(workload, plan));
    reasons
}

/// Weights that move are fetched once in a forward pass, by ranks that need them.
fn residency(workload: &Workload, plan: &Plan) -> Option<Illegal> {
    let residency = plan.execution.residency;
    let blocks = workload.layers.order.len();
    match residency.transformer {
        Weights::Resident => None,
        _ if plan.pipeline.stages > 1 => Some(Illegal::MovingWeights { residency }),
        Weights::Sharded => (plan.replicas() == 1).then_some(Illegal::NobodyShares),
        Weights::Layerwise { resident, .. } => {
            let all = resident as usize >= blocks;
            all.then_some(Illegal::AllResident { resident, blocks })
        }
    }
}

/// Degrees up to `most` that divide what a sequence split must divide; ascending, at least 1.
#[must_use]
pub fn sequence_degrees(workload: &Workload, most: u32) -> Vec<u32> {
    (1..=most)
        .filter(|&degree| workload.image_splits(u64::from(degree)))
        .collect()
}

/// Ulysses degrees that heads allow, whatever the tokens are.
fn head_degrees(model: &Model, tensor: u32) -> Vec<u32> {
    let most = match model.ulysses {
        UlyssesRule::HeadDivisors => u64::MAX,
        UlyssesRule::AtMost(most) => most,
    };
    divisors(model.heads / u64::from(tensor))
        .into_iter()
        .filter(|&degree| u64::from(degree) <= most)
        .collect()
}

fn divisors(count: u64) -> Vec<u32> {
    (1..=count)
        .filter(|&degree| count.is_multiple_of(degree))
        .filter_map(|degree| u32::try_from(degree).ok())
        .collect()
}

fn zero_degrees(plan: &Plan) -> Vec<Illegal> {
    let (rows, columns) = match plan.exchange {
        Exchange::Attention2d { rows, columns } => (rows, columns),
        other => (other.degree(), 1),
    };
    [
        ("data", plan.data),
        ("cfg", plan.cfg),
        ("pipeline", plan.pipeline.stages),
        ("patch", plan.pipeline.patches),
        ("exchange", rows),
        ("exchange column", columns),
        ("ulysses", plan.ulysses),
        ("tensor", plan.tensor),
        ("vae", plan.vae),
    ]
    .into_iter()
    .filter(|&(_, degree)| degree == 0)
    .map(|(what, _)| Illegal::ZeroDegree { what })
    .collect()
}

/// One GPU of the machine for each rank.
fn placement(plan: &Plan, gpus: usize) -> Vec<Illegal> {
    let (ranks, placed) = (plan.ranks(), plan.placement.len());
    let mut reasons = Vec::new();
    if ranks as usize > gpus {
        reasons.push(Illegal::TooFewGpus { ranks, gpus });
    }
    if placed != ranks as usize {
        reasons.push(Illegal::PlacementLength { ranks, placed });
    }
    let mut seen = BTreeSet::new();
    for &gpu in &plan.placement {
        if !seen.insert(gpu) {
            reasons.push(Illegal::GpuTwice { gpu });
        }
        if gpu.index() >= gpus && ranks as usize <= gpus {
            reasons.push(Illegal::NoSuchGpu { gpu, gpus });
        }
    }
    reasons
}

/// What images, guidance branches, steps and ranks allow.
fn request(workload: &Workload, plan: &Plan) -> Vec<Illegal> {
    let request = &workload.request;
    let mut reasons = Vec::new();
    if plan.cfg > 2 {
        reasons.push(Illegal::CfgDegree { cfg: plan.cfg });
    } else if plan.cfg == 2 && request.guidance == Guidance::Triple {
        reasons.push(Illegal::ThreeBranches);
    } else if plan.cfg == 2 && request.guidance == Guidance::None {
        reasons.push(Illegal::NoGuidance {
            model: workload.model.name.clone(),
        });
    }
    if !request.batch.is_multiple_of(plan.data) {
        reasons.push(Illegal::Batch {
            data: plan.data,
            batch: request.batch,
        });
    }
    if plan.warmup > request.steps {
        reasons.push(Illegal::Warmup {
            warmup: plan.warmup,
            steps: request.steps,
        });
    }
    if plan.vae > plan.ranks() {
        reasons.push(Illegal::VaeDegree {
            vae: plan.vae,
            ranks: plan.ranks(),
        });
    }
    reasons
}

/// A U-Net runs cfg, data and displaced patches only, patches down to its coarsest level.
fn unet(model: &Model, workload: &Workload, plan: &Plan) -> Vec<Illegal> {
    let exchanged = plan.exchange.degree() > 1 && !matches!(plan.exchange, Exchange::Displaced(_));
    let mut reasons: Vec<Illegal> = [
        (Method::Ulysses, plan.ulysses > 1),
        (Method::Tensor, plan.tensor > 1),
        (Method::Pipeline, plan.pipeline != Pipeline::NONE),
        (Method::Exchange(plan.exchange), exchanged),
    ]
    .into_iter()
    .filter(|&(_, used)| used)
    .map(|(method, _)| Illegal::UNet {
        model: model.name.clone(),
        method,
    })
    .collect();
    if let (Exchange::Displaced(patches), Architecture::UNet(unet)) =
        (plan.exchange, &model.architecture)
    {
        let coarsest = unet.stages.iter().map(|stage| stage.scale).max();
        let rows = workload.grid.height / coarsest.unwrap_or(1);
        if !rows.is_multiple_of(u64::from(patches)) {
            reasons.push(Illegal::Tokens {
                degree: patches,
                count: rows,
                what: "latent rows of the coarsest level",
                legal: divisors(rows),
            });
        }
    }
    reasons
}

/// Heads split evenly over tensor and Ulysses ranks.
fn heads(model: &Model, plan: &Plan) -> Option<Illegal> {
    let tensor = u64::from(plan.tensor);
    if !model.heads.is_multiple_of(tensor) {
        return Some(Illegal::TensorHeads {
            tensor: plan.tensor,
            heads: model.heads,
            model: model.name.clone(),
            legal: divisors(model.heads),
        });
    }
    let legal = head_degrees(model, plan.tensor);
    (!legal.contains(&plan.ulysses)).then(|| Illegal::UlyssesHeads {
        ulysses: plan.ulysses,
        heads: model.heads / tensor,
        tensor: plan.tensor,
        model: model.name.clone(),
        legal,
    })
}

/// Image tokens (or token rows) split evenly over the sequence ranks.
fn tokens(model: &Model, workload: &Workload, plan: &Plan) -> Option<Illegal> {
    use crate::model::SequenceAxis;
    let degree = plan.sequence();
    if workload.image_splits(u64::from(degree)) {
        return None;
    }
    let (what, count) = match model.sequence_axis {
        SequenceAxis::Tokens => ("image tokens", workload.image_tokens()),
        SequenceAxis::Rows => ("token rows of a frame", workload.grid.height),
    };
    Some(Illegal::Tokens {
        degree,
        count,
        what,
        legal: sequence_degrees(workload, degree.max(8)),
    })
}

/// What the kind of attention and the shape of the grid allow.
fn exchange(model: &Model, plan: &Plan) -> Option<Illegal> {
    if let Exchange::Attention2d {
        rows: 1,
        columns: 1,
    } = plan.exchange
    {
        return Some(Illegal::EmptyGrid);
    }
    let ring = matches!(plan.exchange, Exchange::Ring(_));
    let linear = matches!(model.architecture, Architecture::LinearAttention(_));
    (linear && !ring && plan.exchange.degree() > 1).then_some(Illegal::LinearAttention {
        model: model.name.clone(),
        exchange: plan.exchange,
    })
}

/// Blocks and token rows suffice for the stages and patches.
fn pipeline(workload: &Workload, plan: &Plan) -> Vec<Illegal> {
    let Pipeline { stages, patches } = plan.pipeline;
    if stages == 1 {
        let stray = (patches > 1).then_some(Illegal::PatchesWithoutStages { patches });
        return stray.into_iter().collect();
    }
    let mut reasons = Vec::new();
    let blocks = workload.blocks().len();
    if stages as usize > blocks {
        reasons.push(Illegal::Stages { stages, blocks });
    }
    let rows = workload.grid.height / u64::from(plan.sequence());
    if u64::from(patches) > rows {
        reasons.push(Illegal::Patches { patches, rows });
    }
    let composes = matches!(plan.exchange, Exchange::Ring(_)) || plan.exchange.degree() == 1;
    if !composes && !matches!(plan.exchange, Exchange::Displaced(_)) {
        reasons.push(Illegal::PipelineExchange {
            exchange: plan.exchange,
        });
    }
    reasons
}

/// DistriFusion as published: a power of two patches, and nothing else but cfg and data.
fn displaced(plan: &Plan) -> Vec<Illegal> {
    let Exchange::Displaced(patches) = plan.exchange else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    if !patches.is_power_of_two() {
        reasons.push(Illegal::DisplacedPatches { patches });
    }
    for (method, used) in [
        (Method::Ulysses, plan.ulysses > 1),
        (Method::Tensor, plan.tensor > 1),
        (Method::Pipeline, plan.pipeline.stages > 1),
    ] {
        if used && patches > 1 {
            reasons.push(Illegal::DisplacedWith { method });
        }
    }
    reasons
}

/// An assignment names every layer.
fn assignment(workload: &Workload, plan: &Plan) -> Option<Illegal> {
    let Compression::Mixed(assignment) = &plan.compression else {
        return None;
    };
    let (named, layers) = (assignment.layers(), workload.layers.order.len());
    (named != layers).then_some(Illegal::Layers { named, layers })
}

/// A compressor needs messages of keys and values, sent for this step.
fn compressor(model: &Model, plan: &Plan) -> Option<Illegal> {
    if plan.compression.is_raw() {
        return None;
    }
    let messages = match plan.exchange {
        Exchange::Displaced(n) if n > 1 => false,
        Exchange::Ring(n) | Exchange::Gather(n) => n > 1 || plan.ulysses > 1,
        Exchange::Attention2d { rows, .. } => rows > 1 || plan.ulysses > 1,
        Exchange::Displaced(_) => plan.ulysses > 1,
    };
    let keys = !matches!(
        model.architecture,
        Architecture::LinearAttention(_) | Architecture::UNet(_)
    );
    (!messages || !keys || plan.pipeline.stages > 1).then(|| Illegal::NothingToCompress {
        compression: plan.compression.clone(),
        strategy: plan.strategy(),
    })
}
