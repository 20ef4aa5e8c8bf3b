//! Models from diffusers' `config.json` of a transformer.
//!
//! ```text
//! config.json ─▶ class ─▶ the built-in model of its family that is most alike ─▶ its widths replaced
//! ```
//! | class | family |
//! |---|---|
//! | `FluxTransformer2DModel` | FLUX.1 |
//! | `SD3Transformer2DModel` | SD3, SD3.5 |
//! | `PixArtTransformer2DModel` | PixArt |
//! | `CogVideoXTransformer3DModel` | CogVideoX |
//! | `WanTransformer3DModel` | Wan |
//! | `HunyuanVideoTransformer3DModel` | HunyuanVideo |
//!
//! Keys and defaults are those of the classes' constructors in huggingface/diffusers@58eb52c.
//!
//! Guarantees: what the file does not hold (text encoders, VAE, the usual request) is taken from the model most
//! alike and said; a configuration with the shapes of a built-in model is that model; sizes are limited so that no
//! count overflows, and a damaged file is a [`FileError`].
//!
//! Not read: position embeddings, norms, activations, quantisation.

mod families;

use serde_json::{Map, Value};

use super::file::{FileError, FromFile, LARGEST_FILE};
use super::limits::MOST_PARAMETERS;
use super::{Engines, Model, known};

/// The keys of a file.
struct Keys<'a> {
    file: &'a str,
    map: &'a Map<String, Value>,
    assumed: Vec<String>,
}

impl Keys<'_> {
    fn fault(&self, key: &str, fault: impl Into<String>, remedy: impl Into<String>) -> FileError {
        FileError {
            file: self.file.to_owned(),
            line: 0,
            key: key.to_owned(),
            fault: fault.into(),
            remedy: remedy.into(),
        }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A whole number from 0 to `most`, where the key is there.
    fn optional(&self, key: &str, most: u64) -> Result<Option<u64>, FileError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_u64().filter(|count| *count <= most) {
            Some(count) => Ok(Some(count)),
            None => {
                let what = format!("{} is no whole number from 0 to {most}", shown(value));
                Err(self.fault(key, what, "give the transformer's own config.json"))
            }
        }
    }

    /// A whole number from 1 to `most`; the class's default where the key is absent.
    fn count(&mut self, key: &str, most: u64, default: u64) -> Result<u64, FileError> {
        match self.optional(key, most)? {
            Some(0) => Err(self.fault(key, "is 0", "give the transformer's own config.json")),
            Some(count) => Ok(count),
            None => {
                self.assumed
                    .push(format!("{key} is the class's default, {default}"));
                Ok(default)
            }
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, FileError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let flag = value.as_bool();
        flag.map(Some).ok_or_else(|| {
            self.fault(
                key,
                format!("{} is not true or false", shown(value)),
                "write true or false",
            )
        })
    }

    fn assume(&mut self, sentence: impl Into<String>) {
        self.assumed.push(sentence.into());
    }
}

/// The start of a value, for errors.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        format!("{start}...")
    } else {
        start
    }
}

/// Reads a transformer's configuration; `file` is named in errors and names the model.
///
/// ```
/// let text = r#"{"_class_name": "FluxTransformer2DModel", "num_layers": 8, "num_single_layers": 16,
///     "num_attention_heads": 24, "attention_head_dim": 128, "in_channels": 64, "guidance_embeds": true}"#;
/// let found = sim::model::config::read(text, "mine/transformer/config.json")?;
/// assert_eq!((found.model.name.as_str(), found.model.hidden, found.known), ("mine", 3072, false));
/// # Ok::<(), sim::model::file::FileError>(())
/// ```
///
/// # Errors
/// [`FileError`], one sentence.
pub fn read(text: &str, file: &str) -> Result<FromFile, FileError> {
    let whole = |fault: String, remedy: &str| FileError {
        file: file.to_owned(),
        line: 0,
        key: String::new(),
        fault,
        remedy: remedy.to_owned(),
    };
    if text.len() > LARGEST_FILE {
        return Err(whole(
            format!("has {} bytes, more than {LARGEST_FILE}", text.len()),
            "give a config.json",
        ));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| {
        whole(
            format!("the JSON is broken, {error}"),
            "download the file again",
        )
    })?;
    let map = value.as_object().ok_or_else(|| {
        whole(
            format!("{} is no object", shown(&value)),
            "give the transformer's own config.json",
        )
    })?;
    let mut keys = Keys {
        file,
        map,
        assumed: Vec::new(),
    };
    let class = map.get("_class_name").and_then(Value::as_str);
    let class = class.unwrap_or_default();
    let family = families::FAMILIES.iter().find(|(name, _)| *name == class);
    let (_, build) = family.ok_or_else(|| {
        let known: Vec<&str> = families::FAMILIES.iter().map(|(name, _)| *name).collect();
        let what = if class.is_empty() {
            "names no class".to_owned()
        } else {
            format!(
                "is of class \"{}\", which is not read here",
                shown(&Value::from(class))
            )
        };
        keys.fault(
            "_class_name",
            what,
            format!(
                "give the transformer's config.json; known: {}",
                known.join(", ")
            ),
        )
    })?;
    let model = build(&mut keys)?;
    limits(&keys, &model)?;
    if let Some(same) = known().iter().find(|known| alike(known, &model)) {
        let assumed = vec![format!(
            "its shapes are those of {}, which stands for it",
            same.name
        )];
        return Ok(FromFile {
            model: same.clone(),
            known: true,
            assumed,
        });
    }
    let base = &model.name;
    keys.assume(format!(
        "text encoders, VAE, default size and steps, phase and launch times are those of {base}, the model most alike"
    ));
    let name = name_of(&keys, file);
    let source = format!("{file} ({class}); assumed: {}", keys.assumed.join("; "));
    let model = Model {
        name,
        aliases: Vec::new(),
        source,
        engines: Engines::default(),
        ..model
    };
    Ok(FromFile {
        model,
        known: false,
        assumed: keys.assumed,
    })
}

/// Whether two models have the same transformer and latent.
fn alike(a: &Model, b: &Model) -> bool {
    (a.hidden, a.heads, a.head_dim, &a.architecture, a.latent)
        == (b.hidden, b.heads, b.head_dim, &b.architecture, b.latent)
        && a.reference_frames == b.reference_frames
}

/// Refuses a model so large that counts of its work could overflow.
fn limits(keys: &Keys<'_>, model: &Model) -> Result<(), FileError> {
    let parameters = families::blocks(model)
        .saturating_mul(24)
        .saturating_mul(model.hidden)
        .saturating_mul(model.hidden);
    if parameters > MOST_PARAMETERS {
        let what = format!(
            "{} blocks of width {} are more than can be simulated",
            families::blocks(model),
            model.hidden
        );
        return Err(keys.fault("", what, "give the transformer's own config.json"));
    }
    Ok(())
}

/// The model's name: `_name_or_path`, else the folder that holds the file (or its `transformer` folder).
fn name_of(keys: &Keys<'_>, file: &str) -> String {
    let told = keys
        .get("_name_or_path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let parts = |path: &str| {
        let mut parts = path.split(['/', '\\']).map(str::trim);
        let useful =
            |part: &&str| !matches!(*part, "" | "." | ".." | "transformer" | "config.json");
        parts.rfind(useful).map(str::to_owned)
    };
    let name = parts(told)
        .or_else(|| parts(file))
        .unwrap_or_else(|| "my-model".to_owned());
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let taken = super::find(&name).is_ok();
    if taken {
        format!("{name} (config.json)")
    } else {
        name
    }
}

#[cfg(test)]
mod tests;
