//! Classes of video models.

use serde_json::Value;

use super::super::{FileError, Keys};
use super::{
    BLOCKS, CHANNELS, COGVIDEOX, HUNYUAN_VIDEO, WAN, WIDTH, cross_of, guidance, heads, joint_of,
    latent_channels, nearest, resized,
};
use crate::model::{
    Architecture, Conditioning, Cross, Joint, Latent, Model, PatchEmbedder, Reference, Shared,
    SizeEmbedding, TextStem,
};

pub(super) fn cogvideox(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 30, 64)?;
    let layers = keys.count("num_layers", BLOCKS, 30)?;
    let patch = keys.count("patch_size", 8, 2)?;
    let in_time = keys.optional("patch_size_t", 8)?.filter(|patch| *patch > 0);
    let inputs = keys.count("in_channels", CHANNELS, 16)?;
    let text_width = keys.count("text_embed_dim", WIDTH, 4096)?;
    let time_width = keys.count("time_embed_dim", WIDTH, 512)?;
    let (channels, extra) = latent_channels(keys, inputs, 1)?;
    if extra > 0 {
        keys.assume("what they cost in the patch embedder is left out");
    }
    let base = nearest(COGVIDEOX, hidden, layers, |known| {
        (known.latent.temporal_patch > 1) != in_time.is_some()
    });
    let shared = Shared {
        layers: layers as usize,
        feed_forward: hidden * 4,
        text_width,
        time_width,
        patch: match in_time {
            Some(_) => PatchEmbedder::Linear,
            None => PatchEmbedder::Convolution,
        },
    };
    let latent = Latent {
        channels,
        patch: patch as u32,
        temporal_patch: in_time.unwrap_or(1) as u32,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Shared(shared), latent))
}

/// Image to video: more input channels, and tokens of an image encoder where `image_dim` is given.
pub(super) fn wan(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 40, 128)?;
    let layers = keys.count("num_layers", BLOCKS, 40)?;
    let feed_forward = keys.count("ffn_dim", WIDTH * 8, 13_824)?;
    let inputs = keys.count("in_channels", CHANNELS, 16)?;
    let text_width = keys.count("text_dim", WIDTH, 4096)?;
    let width = keys
        .optional("image_dim", WIDTH)?
        .filter(|width| *width > 0);
    let patch = match keys.get("patch_size") {
        None => [1, 2, 2],
        Some(value) => {
            let sides = value
                .as_array()
                .map(|sides| sides.iter().filter_map(Value::as_u64).collect::<Vec<_>>());
            match sides.as_deref() {
                Some(&[time, height, across])
                    if height == across && (1..=8).contains(&time) && (1..=8).contains(&height) =>
                {
                    [time, height, across]
                }
                _ => {
                    return Err(keys.fault(
                        "patch_size",
                        "is not [time, side, side]",
                        "write for instance [1, 2, 2]",
                    ));
                }
            }
        }
    };
    let (channels, extra) = latent_channels(keys, inputs, 1)?;
    let base = nearest(WAN, hidden, layers, |known| {
        let (cross, latent) = (cross_of(known), known.latent.channels);
        let has_reference = reference_of(&cross).is_some();
        // The pixels of a latent cell go with its channels; what the image passes decides the encoders.
        let given = (cross.extra_channels > 0) != (extra > 0);
        (
            latent != channels,
            has_reference != width.is_some(),
            given,
            known.experts.count(),
        )
    });
    if base.experts.count() > 1 {
        keys.assume("two transformers of this shape work by turns, as in Wan2.2-A14B");
    }
    let reference = width.map(|width| Reference { tokens: 257, width });
    let cross = Cross {
        layers: layers as usize,
        feed_forward,
        extra_channels: extra,
        out_channels: u64::from(channels),
        conditioning: Conditioning::Caption {
            text_width,
            size: SizeEmbedding::Absent,
            reference,
        },
        ..cross_of(&base)
    };
    let latent = Latent {
        channels,
        patch: patch[1] as u32,
        temporal_patch: patch[0] as u32,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Cross(cross), latent))
}

/// The reference image's tokens, where the model takes them.
const fn reference_of(cross: &Cross) -> Option<Reference> {
    match cross.conditioning {
        Conditioning::Caption { reference, .. } => reference,
        _ => None,
    }
}

pub(super) fn hunyuan_video(keys: &mut Keys<'_>) -> Result<Model, FileError> {
    let (heads, head_dim, hidden) = heads(keys, 24, 128)?;
    let double = keys.count("num_layers", BLOCKS, 20)?;
    let single = keys.optional("num_single_layers", BLOCKS)?.unwrap_or(40);
    let refiners = keys.optional("num_refiner_layers", BLOCKS)?.unwrap_or(2);
    let patch = keys.count("patch_size", 8, 2)?;
    let in_time = keys.count("patch_size_t", 8, 1)?;
    let inputs = keys.count("in_channels", CHANNELS, 16)?;
    let text = keys.count("text_embed_dim", WIDTH, 4096)?;
    let pooled = keys.count("pooled_projection_dim", WIDTH, 768)?;
    let guided = keys.flag("guidance_embeds")?.unwrap_or(true);
    let ratio = keys.get("mlp_ratio").map_or(Some(4.0), Value::as_f64);
    let Some(ratio) = ratio.filter(|ratio| *ratio > 0.0 && *ratio <= 32.0) else {
        return Err(keys.fault(
            "mlp_ratio",
            "is no number above 0 and at most 32",
            "write for instance 4.0",
        ));
    };
    let (channels, extra) = latent_channels(keys, inputs, 1)?;
    let base = nearest(HUNYUAN_VIDEO, hidden, double * 2 + single, |_| ());
    let joint = Joint {
        double: double as usize,
        single: single as usize,
        feed_forward: (hidden as f64 * ratio) as u64,
        extra_channels: extra,
        text: TextStem::Refiner {
            from: text,
            blocks: refiners,
            second: None,
        },
        pooled_width: Some(pooled),
        guidance: guidance(guided),
        ..joint_of(&base)
    };
    let latent = Latent {
        channels,
        patch: patch as u32,
        temporal_patch: in_time as u32,
        ..base.latent
    };
    let widths = (heads, head_dim, hidden);
    Ok(resized(base, widths, Architecture::Joint(joint), latent))
}
