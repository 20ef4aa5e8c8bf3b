//! One builder for each class of diffusers.

mod video;

use serde_json::Value;

use super::{FileError, Keys};
use crate::model::{
    Architecture, Conditioning, Cross, GuidanceEmbedding, Joint, Latent, Model, SizeEmbedding,
    TextStem, known,
};

/// A builder.
type Build = fn(&mut Keys<'_>) -> Result<Model, FileError>;

/// Classes and their builders.
pub(super) const FAMILIES: &[(&str, Build)] = &[
    (FLUX, flux),
    (SD3, sd3),
    (PIXART, pixart),
    (COGVIDEOX, video::cogvideox),
    (WAN, video::wan),
    (HUNYUAN_VIDEO, video::hunyuan_video),
];

const FLUX: &str = "FluxTransformer2DModel";
const SD3: &str = "SD3Transformer2DModel";
const PIXART: &str = "PixArtTransformer2DModel";
const COGVIDEOX: &str = "CogVideoXTransformer3DModel";
const WAN: &str = "WanTransformer3DModel";
const HUNYUAN_VIDEO: &str = "HunyuanVideoTransformer3DModel";

/// Limits of single figures: far above every published model.
const BLOCKS: u64 = 256;
const HEADS: u64 = 512;
const WIDTH: u64 = 32_768;
const CHANNELS: u64 = 4096;

/// Blocks of a model made here.
pub(super) fn blocks(model: &Model) -> u64 {
    match model.architecture {
        Architecture::Joint(joint) => (joint.double * 2 + joint.single) as u64,
        Architecture::Cross(cross) => cross.layers as u64,
        Architecture::Shared(shared) => shared.layers as u64,
        _ => 0,
    }
}

/// The built-in model of a class that is nearest: first in what `unlike` says (false before true), then in width, then
/// in blocks.
fn nearest<U: Ord>(class: &str, hidden: u64, wanted: u64, unlike: impl Fn(&Model) -> U) -> Model {
    let of_class = |model: &&Model| model.diffusers_class.as_deref() == Some(class);
    let far = |model: &&Model| {
        let (width, depth) = (
            model.hidden.abs_diff(hidden),
            blocks(model).abs_diff(wanted),
        );
        (unlike(model), width, depth)
    };
    let models = known().iter().filter(of_class);
    models
        .min_by_key(far)
        .expect("a class has a built-in model")
        .clone()
}

/// Heads, their width, and the product.
fn heads(keys: &mut Keys<'_>, heads: u64, width: u64) -> Result<(u64, u64, u64), FileError> {
    let heads = keys.count("num_attention_heads", HEADS, heads)?;
    let head_dim = keys.count("attention_head_dim", 1024, width)?;
    if heads * head_dim > WIDTH {
        let what = format!("{heads} heads of {head_dim} are wider than {WIDTH}");
        return Err(keys.fault(
            "num_attention_heads",
            what,
            "give the transformer's own config.json",
        ));
    }
    Ok((heads, head_dim, heads * head_dim))
}

fn joint_of(model: &Model) -> Joint {
    match model.architecture {
        Architecture::Joint(joint) => joint,
        _ => unreachable!("the family's models are joint"),
    }
}

fn cross_of(model: &Model) -> Cross {
    match model.architecture {
        Architecture::Cross(cross) => cross,
        _ => unreachable!("the family's models have cross-attention"),
    }
}

/// Channels of the latent among a transformer's input channels: those it predicts.
fn latent_channels(keys: &mut Keys<'_>, inputs: u64, cells: u64) -> Result<(u32, u64), FileError> {
    let outputs = keys
        .optional("out_channels", CHANNELS)?
        .filter(|count| *count > 0)
        .unwrap_or(inputs);
    if !inputs.is_multiple_of(cells) || !outputs.is_multiple_of(cells) || outputs > inputs {
        let what =
            format!("{inputs} channels in and {outputs} out do not fit patches of {cells} cells");
        return Err(keys.fault(
            "in_channels",
            what,
            "give the transformer's own config.json",
        ));
    }
    let extra = (inputs - outputs) / cells;
    if extra > 0 {
        keys.assume(format!(
            "{extra} of the input channels are conditioning given beside the latent"
        ));
    }
    Ok(((outputs / cells) as u32, extra))
}

/// FLUX.1 packs 2 x 2 latent cells before the transformer: its own patch is 1.
fn flux(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 24, 128)?;
    let double = keys.count("num_layers", BLOCKS, 19)?;
    let single = keys.optional("num_single_layers", BLOCKS)?.unwrap_or(38);
    let patch = keys.count("patch_size", 8, 1)?;
    let inputs = keys.count("in_channels", CHANNELS, 64)?;
    let guided = keys.flag("guidance_embeds")?.unwrap_or(false);
    let text = keys.count("joint_attention_dim", WIDTH, 4096)?;
    let pooled = keys.count("pooled_projection_dim", WIDTH, 768)?;
    if patch != 1 {
        return Err(keys.fault(
            "patch_size",
            format!("is {patch}"),
            "FLUX packs its patches outside: write 1",
        ));
    }
    let (channels, extra) = latent_channels(keys, inputs, 4)?;
    let base = nearest(FLUX, hidden, double * 2 + single, |known| {
        joint_of(known).guidance != guidance(guided)
    });
    let joint = Joint {
        double: double as usize,
        single: single as usize,
        feed_forward: hidden * 4,
        extra_channels: extra,
        text: TextStem::Linear(text),
        pooled_width: Some(pooled),
        guidance: guidance(guided),
        ..joint_of(&base)
    };
    let latent = Latent {
        channels,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Joint(joint), latent))
}

/// The nearest built-in model with other widths, blocks and latents.
fn resized(
    base: Model,
    (heads, head_dim, hidden): (u64, u64, u64),
    architecture: Architecture,
    latent: Latent,
) -> Model {
    Model {
        hidden,
        heads,
        head_dim,
        architecture,
        latent,
        ..base
    }
}

const fn guidance(embedded: bool) -> GuidanceEmbedding {
    if embedded {
        GuidanceEmbedding::Embedded
    } else {
        GuidanceEmbedding::Absent
    }
}

fn sd3(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 18, 64)?;
    let double = keys.count("num_layers", BLOCKS, 18)?;
    let patch = keys.count("patch_size", 8, 2)?;
    let inputs = keys.count("in_channels", CHANNELS, 16)?;
    let text = keys.count("joint_attention_dim", WIDTH, 4096)?;
    let pooled = keys.count("pooled_projection_dim", WIDTH, 2048)?;
    let dual = match keys.get("dual_attention_layers") {
        None => 0,
        Some(Value::Array(layers)) => {
            let leading = (0_u64..)
                .zip(layers)
                .all(|(at, layer)| layer.as_u64() == Some(at));
            if !leading || layers.len() as u64 > double {
                let what = "are not the first layers";
                return Err(keys.fault(
                    "dual_attention_layers",
                    what,
                    "only leading ones can be simulated",
                ));
            }
            layers.len()
        }
        Some(_) => {
            return Err(keys.fault("dual_attention_layers", "are no list", "write [0, 1, ...]"));
        }
    };
    let (channels, extra) = latent_channels(keys, inputs, 1)?;
    let base = nearest(SD3, hidden, double * 2, |known| {
        (joint_of(known).dual_attention > 0) != (dual > 0)
    });
    let joint = Joint {
        double: double as usize,
        dual_attention: dual,
        feed_forward: hidden * 4,
        extra_channels: extra,
        text: TextStem::Linear(text),
        pooled_width: Some(pooled),
        ..joint_of(&base)
    };
    let latent = Latent {
        channels,
        patch: patch as u32,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Joint(joint), latent))
}

/// Size embedding as the class decides it: given, else on where the sample is 128 wide.
fn pixart(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 16, 72)?;
    let layers = keys.count("num_layers", BLOCKS, 28)?;
    let patch = keys.count("patch_size", 8, 2)?;
    let channels = keys.count("in_channels", CHANNELS, 4)?;
    let outputs = keys.count("out_channels", CHANNELS, 8)?;
    let text_width = keys.count("caption_channels", WIDTH, 4096)?;
    let sample = keys.optional("sample_size", CHANNELS)?.unwrap_or(128);
    let sized = keys
        .flag("use_additional_conditions")?
        .unwrap_or(sample == 128);
    let size = match sized {
        true => SizeEmbedding::Embedded,
        false => SizeEmbedding::Absent,
    };
    let conditioning = |text_width| Conditioning::Caption {
        text_width,
        size,
        reference: None,
    };
    let base = nearest(PIXART, hidden, layers, |known| {
        match cross_of(known).conditioning {
            Conditioning::Caption { text_width, .. } => {
                cross_of(known).conditioning != conditioning(text_width)
            }
            _ => true,
        }
    });
    let cross = Cross {
        layers: layers as usize,
        feed_forward: hidden * 4,
        out_channels: outputs,
        conditioning: conditioning(text_width),
        ..cross_of(&base)
    };
    let latent = Latent {
        channels: channels as u32,
        patch: patch as u32,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Cross(cross), latent))
}
