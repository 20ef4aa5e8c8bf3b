//! From the text of a manifest to one whose keys agree with each other.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::manifest::{Manifest, Recorded, State, VERSION};
use super::{TokenOrder, TraceError};

/// Bytes of the largest file of a trace: sums over all files stay in 64 bits.
const LARGEST_SHARD: u64 = 1 << 44;

/// The first keys of every version.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u64,
}

/// JSON as a `T`; a mistake in it is told with its key.
pub(super) fn json<T: DeserializeOwned>(text: &[u8], file: &str) -> Result<T, TraceError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let key = error.path().to_string();
        TraceError::Key {
            file: file.to_owned(),
            key,
            what: error.into_inner().to_string(),
        }
    })?;
    reader.end().map_err(|error| TraceError::Key {
        file: file.to_owned(),
        key: ".".to_owned(),
        what: error.to_string(),
    })?;
    Ok(value)
}

/// Reads a manifest; `file` is its name in errors.
pub(super) fn manifest(text: &[u8], file: &str) -> Result<Manifest, TraceError> {
    let head: Head = json(text, file)?;
    if head.format != "ditplan-trace" || head.version != u64::from(VERSION) {
        return Err(TraceError::Version {
            file: file.to_owned(),
            format: head.format,
            version: head.version,
        });
    }
    let manifest: Manifest = json(text, file)?;
    check(&manifest, file)?;
    Ok(manifest)
}

/// Every rule holds; `file` is the manifest's name in errors.
pub(super) fn check(manifest: &Manifest, file: &str) -> Result<(), TraceError> {
    rules(manifest).map_err(|(key, what)| TraceError::Key {
        file: file.to_owned(),
        key: key.to_owned(),
        what,
    })
}

/// A broken rule: the key, and what is wrong with it.
type Broken = (&'static str, String);

/// Every rule that ties keys to each other; the first broken one is told.
fn rules(manifest: &Manifest) -> Result<(), Broken> {
    let Manifest { model, sampler, .. } = manifest;
    for (key, count) in [
        ("model.layers", model.layers),
        ("model.heads", model.heads),
        ("model.head_dim", model.head_dim),
        ("model.image_tokens", model.image_tokens),
        ("sampler.steps", sampler.steps),
    ] {
        if !(1..1 << 24).contains(&count) {
            return Err((key, format!("{count} is not between 1 and 16 million")));
        }
    }
    if u64::from(model.heads) * u64::from(model.head_dim) >= 1 << 24 {
        let what = "heads x head_dim is above 16 million".to_owned();
        return Err(("model.head_dim", what));
    }
    if model.text_tokens >= 1 << 24 {
        return Err(("model.text_tokens", "above 16 million".to_owned()));
    }
    let (names, layers) = (model.layer_names.len(), model.layers as usize);
    if names != layers {
        let what = format!("{names} names for {layers} layers");
        return Err(("model.layer_names", what));
    }
    if model.token_order == TokenOrder::ImageOnly && model.text_tokens > 0 {
        let what = "image-only, but there are text tokens in the sequence".to_owned();
        return Err(("model.token_order", what));
    }
    let (sigmas, steps) = (sampler.sigmas.len(), sampler.steps as usize);
    if sigmas != steps + 1 || !sampler.sigmas.iter().all(|sigma| sigma.is_finite()) {
        let what = format!("{sigmas} noise levels where {steps} steps need one more, all finite");
        return Err(("sampler.sigmas", what));
    }
    if let Some(response) = &sampler.response {
        response
            .check()
            .map_err(|what| ("sampler.response", what))?;
    }
    if manifest.samples.is_empty() {
        return Err(("samples", "there is none".to_owned()));
    }
    recorded(manifest)?;
    files(manifest)
}

/// What is recorded is part of what ran.
fn recorded(manifest: &Manifest) -> Result<(), Broken> {
    let Recorded {
        layers,
        steps,
        heads,
        tokens,
        samples,
    } = &manifest.recorded;
    let model = &manifest.model;
    ascending("recorded.layers", layers, model.layers)?;
    ascending("recorded.steps", steps, manifest.sampler.steps)?;
    if let Some(heads) = heads {
        ascending("recorded.heads", heads, model.heads)?;
    }
    if let Some(samples) = samples {
        ascending("recorded.samples", samples, manifest.samples.len() as u32)?;
    }
    if let Some((start, stop)) = *tokens
        && !(start < stop && stop <= model.sequence())
    {
        let what = format!("{start} to {stop} of {} tokens", model.sequence());
        return Err(("recorded.tokens", what));
    }
    Ok(())
}

/// Positions below `end`, each once, in order, at least one.
fn ascending(key: &'static str, positions: &[u32], end: u32) -> Result<(), Broken> {
    let in_order = positions.windows(2).all(|pair| pair[0] < pair[1]);
    match positions.last() {
        Some(&last) if in_order && last < end => Ok(()),
        _ => {
            let what = format!("not ascending numbers below {end}, at least one");
            Err((key, what))
        }
    }
}

/// Names are plain and stand once; shards are the recorded steps in order, all of them or the first.
fn files(manifest: &Manifest) -> Result<(), Broken> {
    let mut names = BTreeSet::new();
    for entry in &manifest.files {
        let name = entry.name.as_str();
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        if !plain || name == super::file::MANIFEST {
            let what = format!("\"{name}\" is not the plain name of a file of the trace");
            return Err(("files", what));
        }
        if entry.bytes.get() > LARGEST_SHARD {
            let what = format!("{name} has {}, more than any shard", entry.bytes);
            return Err(("files", what));
        }
        if !names.insert(name) {
            return Err(("files", format!("{name} stands twice")));
        }
    }
    let shards = manifest.files.iter().filter_map(|entry| entry.step);
    let shards: Vec<u32> = shards.collect();
    let steps = &manifest.recorded.steps;
    let wanted = match manifest.state {
        State::Complete => steps.as_slice(),
        State::Partial => &steps[..shards.len().min(steps.len())],
    };
    if shards != wanted {
        let what = format!("shards of steps {shards:?} where {wanted:?} were recorded");
        return Err(("files", what));
    }
    Ok(())
}
