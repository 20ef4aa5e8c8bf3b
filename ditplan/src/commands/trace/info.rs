//! `trace info`: the manifest for people.

use anyhow::Result;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
#[cfg(test)]
use serde_json::Value;
use topologies::Bytes;
use traces::trace::{
    Capture, Label, Manifest, ModelInfo, Recorded, Sampler, State, TokenOrder, Trace, TraceError,
};

use super::arguments::InfoArguments;
use super::numbers::listed;
use crate::render::json::pretty;
use crate::render::text;

/// What was recorded, where and how.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct InfoAnswer<'a> {
    /// The trace's directory.
    pub directory: String,
    /// Its manifest.json.
    #[cfg_attr(test, schemars(with = "Value", extend("$ref" = "trace-manifest.schema.json")))]
    pub manifest: &'a Manifest,
    /// Steps that can be read.
    pub readable_steps: Vec<u32>,
    /// What is damaged; null where nothing is.
    pub defect: Option<String>,
    /// Samples, tokens, heads and head width of every tensor.
    pub tensor_shape: [usize; 4],
    /// Size of all shards, bytes.
    pub shard_bytes: u64,
}

/// What `trace info` prints; a damaged trace is shown as far as it can be read.
pub(super) fn answer(typed: &InfoArguments) -> Result<String> {
    let (trace, defect) = match Trace::open(&typed.directory) {
        Ok(trace) => (trace, None),
        Err(defect) => (Trace::open_partial(&typed.directory)?, Some(defect)),
    };
    if typed.format.json {
        let manifest = trace.manifest();
        return Ok(pretty(&InfoAnswer {
            directory: trace.directory().display().to_string(),
            manifest,
            readable_steps: trace.steps(),
            defect: defect.map(|defect| defect.to_string()),
            tensor_shape: manifest.shape().dimensions(),
            shard_bytes: manifest.shard_bytes().get(),
        }));
    }
    Ok(page(&trace, defect.as_ref()))
}

/// A trace for people.
pub(super) fn page(trace: &Trace, defect: Option<&TraceError>) -> String {
    let manifest = trace.manifest();
    let Manifest { model, device, .. } = manifest;
    let title = format!("{} ({})", model.name, model.architecture);
    let mut page = text::heading(&title);
    let driver = device.driver.as_ref();
    let driver = driver.map_or_else(String::new, |driver| format!(", driver {driver}"));
    let license = manifest.license.as_ref();
    let license = license.map_or_else(String::new, |license| format!(", {license}"));
    for (name, text) in [
        ("state", state(trace, defect)),
        ("model", shapes(model)),
        ("sampler", sampler(&manifest.sampler)),
        ("samples", samples(manifest)),
        ("recorded", recorded(manifest)),
        (
            "tensors",
            format!("{}, {} each", manifest.dtype, manifest.shape()),
        ),
        (
            "device",
            format!("{}{driver}", named(&device.kind, &device.name)),
        ),
        ("libraries", pairs(&manifest.libraries)),
        ("environment", pairs(&manifest.environment)),
        ("capture", capture(&manifest.capture)),
        ("files", files(manifest)),
        ("created", format!("{}{license}", manifest.created)),
    ] {
        page.push_str(&text::wrapped(&format!("  {name:<12}{text}"), 14));
    }
    page
}

/// Whether it is whole, and what can be read.
fn state(trace: &Trace, defect: Option<&TraceError>) -> String {
    let (done, steps) = (trace.steps().len(), trace.manifest().recorded.steps.len());
    let word = match trace.manifest().state {
        State::Complete => "complete",
        State::Partial => "partial",
    };
    match defect {
        None => format!("{word}, {steps} steps"),
        Some(defect) => format!("{word}, {done} of {steps} steps can be read: {defect}"),
    }
}

fn shapes(model: &ModelInfo) -> String {
    let order = match model.token_order {
        TokenOrder::TextFirst => format!("{} text, then ", model.text_tokens),
        TokenOrder::ImageFirst | TokenOrder::ImageOnly => String::new(),
    };
    let behind = match model.token_order {
        TokenOrder::ImageFirst => format!(", then {} text", model.text_tokens),
        TokenOrder::TextFirst | TokenOrder::ImageOnly => String::new(),
    };
    format!(
        "{} layers, {} heads x {}, {order}{} image tokens{behind}",
        model.layers, model.heads, model.head_dim, model.image_tokens
    )
}

fn sampler(sampler: &Sampler) -> String {
    let ends = [sampler.sigmas.first(), sampler.sigmas.last()];
    let [first, last] = ends.map(|sigma| sigma.copied().unwrap_or_default());
    format!(
        "{}, {} steps, sigma {first} to {last}",
        sampler.name, sampler.steps
    )
}

fn samples(manifest: &Manifest) -> String {
    const SHOWN: usize = 16;
    let count = manifest.samples.len();
    let labels = manifest.samples.iter().filter_map(|one| one.label.as_ref());
    let labels: Vec<String> = labels.map(Label::to_string).take(SHOWN).collect();
    let more = if count > SHOWN { ", ..." } else { "" };
    match labels.is_empty() {
        true => count.to_string(),
        false => format!("{count}: {}{more}", labels.join(", ")),
    }
}

fn recorded(manifest: &Manifest) -> String {
    let Recorded {
        layers,
        steps,
        heads,
        tokens,
        samples,
    } = &manifest.recorded;
    let mut parts = vec![
        format!("layers {}", listed(layers)),
        format!("steps {}", listed(steps)),
    ];
    parts.push(match heads {
        Some(heads) => format!("heads {}", listed(heads)),
        None => "all heads".to_owned(),
    });
    parts.push(match tokens {
        Some((start, stop)) => format!("tokens {start}..{stop}"),
        None => "all tokens".to_owned(),
    });
    parts.push(match samples {
        Some(samples) => format!("samples {}", listed(samples)),
        None => "all samples".to_owned(),
    });
    parts.join("; ")
}

fn pairs(pairs: &std::collections::BTreeMap<String, String>) -> String {
    if pairs.is_empty() {
        return "none stated".to_owned();
    }
    let pairs = pairs.iter().map(|(name, value)| format!("{name} {value}"));
    pairs.collect::<Vec<String>>().join(", ")
}

fn named(kind: &traces::trace::DeviceKind, name: &str) -> String {
    let kind = match kind {
        traces::trace::DeviceKind::Cpu => "CPU",
        traces::trace::DeviceKind::Cuda => "GPU",
    };
    format!("{kind}: {name}")
}

fn capture(capture: &Capture) -> String {
    let mut parts = Vec::new();
    if let Some(wall) = capture.wall_s {
        parts.push(format!("{wall:.1} s"));
    }
    if let Some(plain) = capture.plain_wall_s {
        parts.push(format!("{plain:.1} s without recording"));
    }
    if let Some(overhead) = capture.overhead_pct {
        parts.push(format!("{overhead:.1} % overhead"));
    }
    if let Some(bytes) = capture.peak_buffer_bytes {
        parts.push(format!("buffers of at most {}", Bytes::new(bytes)));
    }
    match parts.is_empty() {
        true => "cost not stated".to_owned(),
        false => parts.join(", "),
    }
}

fn files(manifest: &Manifest) -> String {
    let shards = manifest.files.iter().filter(|entry| entry.step.is_some());
    let mut parts = vec![format!(
        "{} shards, {}",
        shards.count(),
        manifest.shard_bytes()
    )];
    let others = manifest.files.iter().filter(|entry| entry.step.is_none());
    parts.extend(others.map(|entry| format!("{}, {}", entry.name, entry.bytes)));
    parts.join("; ")
}
