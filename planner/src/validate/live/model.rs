//! What a run of virtual ranks computes, as a workload: a known model cut down to its blocks.
//!
//! A run has as many blocks of each kind as `plan.json` says, between one linear that embeds 64 values a
//! token and one that gives them back. Its tiny models, which no request is for, have FLUX's and Wan's
//! blocks at the widths that `ditplan_capture.model_shapes` gives them.

use sim::model::{self, Architecture, Cross, Grid, Guidance, Joint, LastText, Model, Request};
use sim::workload::{Layers, Linear, Role, Split, TokenCounts, Tokens, Workload};

use super::super::reason::Reason;
use super::run::About;

/// Values of a latent token.
const LATENT: u64 = 64;
/// The inner width of the tiny models' feed-forward part.
const TINY_FEED_FORWARD: u64 = 128;

/// The workload of a run, or why this program has none for it.
pub(super) fn workload(about: &About) -> Result<Workload, Reason> {
    let model = cut_down(about)?;
    let request = Request {
        steps: about.steps,
        batch: about.batch,
        guidance: Guidance::None,
        text_tokens: about.text_tokens,
        ..model.default
    };
    let mut workload = model.workload(&request).map_err(Reason::Request)?;
    let tokens = TokenCounts {
        image: about.tokens,
        text: about.text_tokens.into(),
        audio: 0,
    };
    workload.tokens = tokens;
    workload.grid = Grid {
        frames: 1,
        height: 1,
        width: about.tokens,
    };
    set_tokens(&mut workload.layers, tokens);
    if !matches!(model.architecture, Architecture::ClassJoint(_)) {
        let linear = |role, n, k| vec![Linear::new(role, Tokens::Image, n, k, Split::Replicated)];
        workload.layers.head.linears = linear(Role::Embed, model.hidden, LATENT);
        workload.layers.tail.linears = linear(Role::Embed, LATENT, model.hidden);
    }
    Ok(workload)
}

fn set_tokens(layers: &mut Layers, tokens: TokenCounts) {
    let ends = [&mut layers.head, &mut layers.tail];
    for block in layers.kinds.iter_mut().chain(ends) {
        block.tokens = tokens;
    }
}

/// The model with as many blocks as ran.
fn cut_down(about: &About) -> Result<Model, Reason> {
    let count = |kinds: &[&str]| {
        let of_kind = about
            .kinds
            .iter()
            .filter(|kind| kinds.contains(&kind.as_str()));
        of_kind.count()
    };
    let known = known(about)?;
    let architecture = match known.architecture {
        Architecture::Joint(joint) => Architecture::Joint(Joint {
            double: count(&["double", "joint"]),
            single: count(&["single"]),
            dual_attention: 0,
            last_text: LastText::Kept,
            ..joint
        }),
        Architecture::Cross(cross) => Architecture::Cross(Cross {
            layers: count(&["cross"]),
            ..cross
        }),
        Architecture::ClassJoint(class) => Architecture::ClassJoint(model::ClassJoint {
            layers: count(&["digits"]),
            ..class
        }),
        _ => return Err(Reason::Blocks(about.model.clone())),
    };
    let cut = Model {
        architecture,
        ..known
    };
    let blocks = match cut.architecture {
        Architecture::Joint(joint) => joint.double + joint.single,
        Architecture::Cross(cross) => cross.layers,
        Architecture::ClassJoint(class) => class.layers,
        _ => 0,
    };
    if blocks == about.kinds.len() {
        return Ok(cut);
    }
    Err(Reason::Kinds {
        model: about.model.clone(),
        kinds: about.kinds.clone(),
    })
}

/// The model that ran, at its widths.
fn known(about: &About) -> Result<Model, Reason> {
    let (hidden, heads, head_dim) = (about.heads * about.head_dim, about.heads, about.head_dim);
    let tiny = |like: &str| {
        let like = model::find(like).expect("a built-in model");
        Model {
            hidden,
            heads,
            head_dim,
            ..like.clone()
        }
    };
    match about.model.as_str() {
        "toy" => Ok(Model {
            architecture: Architecture::Joint(match tiny("FLUX.1-dev").architecture {
                Architecture::Joint(joint) => Joint {
                    feed_forward: TINY_FEED_FORWARD,
                    ..joint
                },
                _ => unreachable!("FLUX.1-dev has joint blocks"),
            }),
            ..tiny("FLUX.1-dev")
        }),
        "toy-cross" => Ok(Model {
            architecture: Architecture::Cross(match tiny("Wan2.1-T2V-1.3B").architecture {
                Architecture::Cross(cross) => Cross {
                    feed_forward: TINY_FEED_FORWARD,
                    ..cross
                },
                _ => unreachable!("Wan has cross-attention blocks"),
            }),
            ..tiny("Wan2.1-T2V-1.3B")
        }),
        name => {
            let known = model::find(name).map_err(Reason::UnknownModel)?;
            let (has, ran) = ((known.heads, known.head_dim), (heads, head_dim));
            if has != ran {
                let model = name.to_owned();
                return Err(Reason::Heads { model, has, ran });
            }
            Ok(known.clone())
        }
    }
}
