//! A model from a file: our TOML (docs/models.md), or diffusers' `config.json` of a transformer.
//!
//! Guarantees: a mistake is a [`FileError`] that names file, line, key and remedy; figures are limited so that no count
//! overflows; what the file is called decides nothing; a file with the figures of a built-in model is that model, under
//! whatever name.

use serde::de::DeserializeOwned;
use thiserror::Error;
use topologies::suggest;

use super::{Architecture, Model, config, find, known, limits};

/// Bytes of the largest file that is read.
pub const LARGEST_FILE: usize = 1 << 20;

/// Where every key is described.
const MANUAL: &str =
    "docs/models.md describes every key, `ditplan models show NAME` prints a file to start from";

/// Why a file is no model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {fault}: {remedy}", place(file, *line, key))]
pub struct FileError {
    /// The file.
    pub file: String,
    /// The line at fault; 0 where that is not known.
    pub line: usize,
    /// The key at fault; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

/// `FILE, line 3, key a.b`, without what is not known.
fn place(file: &str, line: usize, key: &str) -> String {
    let mut place = file.to_owned();
    if line > 0 {
        place += &format!(", line {line}");
    }
    if !key.is_empty() {
        place += &format!(", key {key}");
    }
    place
}

/// A model from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct FromFile {
    /// The model.
    pub model: Model,
    /// Whether it is a built-in model.
    pub known: bool,
    /// What the file did not say.
    pub assumed: Vec<String>,
}

/// Reads a model's TOML or a transformer's `config.json`, told apart by their first character; `file` is named in errors.
///
/// ```
/// let text = sim::model::source_text("FLUX.1-dev")?.replace("FLUX.1-dev\"", "mine\"").replace("double = 19", "double = 8");
/// let found = sim::model::file::read(&text, "a.toml")?;
/// assert_eq!((found.model.name.as_str(), found.known), ("mine", false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FileError`], one sentence.
pub fn read(text: &str, file: &str) -> Result<FromFile, FileError> {
    if text.trim_start().starts_with('{') {
        return config::read(text, file);
    }
    let model = parse(text, file)?;
    if let Some(same) = known().iter().find(|known| same_figures(known, &model)) {
        let assumed = vec![format!(
            "its figures are those of {}, which stands for it",
            same.name
        )];
        return Ok(FromFile {
            model: same.clone(),
            known: true,
            assumed,
        });
    }
    if let Some(name) = model.names().find(|name| find(name).is_ok()) {
        let key = if name == model.name {
            "name"
        } else {
            "aliases"
        };
        let fault = format!("\"{name}\" is a built-in model with other figures");
        let remedy = "give yours names of its own".to_owned();
        return Err(at_key(text, file, key, fault, remedy));
    }
    Ok(FromFile {
        model,
        known: false,
        assumed: Vec::new(),
    })
}

/// Whether two models differ in nothing but what they are called and where that is from.
fn same_figures(a: &Model, b: &Model) -> bool {
    let mut renamed = b.clone();
    renamed.name.clone_from(&a.name);
    renamed.aliases.clone_from(&a.aliases);
    renamed.source.clone_from(&a.source);
    *a == renamed
}

/// The model that a TOML file describes.
pub(super) fn parse(text: &str, file: &str) -> Result<Model, FileError> {
    let model: Model = typed(text, file, MANUAL)?;
    check(&model).map_err(|(key, fault)| at_key(text, file, key, fault, MANUAL.to_owned()))?;
    Ok(model)
}

/// What a TOML file of at most [`LARGEST_FILE`] bytes describes; `manual` is the remedy where no better one is known.
///
/// # Errors
/// [`FileError`], with line and key.
pub fn typed<T: DeserializeOwned>(text: &str, file: &str, manual: &str) -> Result<T, FileError> {
    if text.len() > LARGEST_FILE {
        return Err(FileError {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            fault: format!("has {} bytes, more than {LARGEST_FILE}", text.len()),
            remedy: manual.to_owned(),
        });
    }
    let toml = toml::Deserializer::parse(text);
    let toml = toml.map_err(|error| broken(text, file, "", &error, manual))?;
    serde_path_to_error::deserialize(toml).map_err(|error| {
        let path = error.path().to_string();
        broken(text, file, &path, error.inner(), manual)
    })
}

/// An error of the TOML reader or of serde, in our words.
fn broken(text: &str, file: &str, path: &str, error: &toml::de::Error, manual: &str) -> FileError {
    let line = error.span().map_or(0, |span| line_of(text, span.start));
    let message = error.message().trim().replace('\n', ", ");
    let parent = if path == "." { "" } else { path };
    // The path of an unknown key ends with it.
    let inside = |name: &str| match parent {
        "" => name.to_owned(),
        parent if parent.rsplit('.').next() == Some(name) => parent.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    let (key, fault, remedy) = match complaint(&message) {
        Complaint::Missing(name) => (inside(name), "is missing".to_owned(), manual.to_owned()),
        Complaint::Key(name, known) => (
            inside(name),
            "is no key here".to_owned(),
            meant(name, &known),
        ),
        Complaint::Value(name, known) => (
            parent.to_owned(),
            format!("\"{name}\" is none of its values"),
            meant(name, &known),
        ),
        Complaint::Other => (parent.to_owned(), message, manual.to_owned()),
    };
    FileError {
        file: file.to_owned(),
        line,
        key,
        fault,
        remedy,
    }
}

/// What serde or the TOML reader complains about.
enum Complaint<'a> {
    /// A key is missing.
    Missing(&'a str),
    /// A key is unknown; those that are known.
    Key(&'a str, Vec<&'a str>),
    /// A word is none of an enum's; those that are.
    Value(&'a str, Vec<&'a str>),
    /// In its own words.
    Other,
}

/// Reads serde's sentences (`unknown field `a`, expected one of `b`, `c``) and the one of the TOML reader for the keys
/// of an enum's variant (`unexpected keys in table: a, available keys: b, c`).
fn complaint(message: &str) -> Complaint<'_> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if let Some(keys) = message.strip_prefix("unexpected keys in table: ") {
        let (unknown, known) = keys.split_once("available keys: ").unwrap_or((keys, ""));
        let first = unknown.split(',').next().unwrap_or_default();
        return Complaint::Key(first, known.split(", ").collect());
    }
    match (message.split(' ').nth(1), quoted.next()) {
        (Some("field"), Some(name)) if message.starts_with("missing") => Complaint::Missing(name),
        (Some("field"), Some(name)) if message.starts_with("unknown") => {
            Complaint::Key(name, quoted.collect())
        }
        (Some("variant"), Some(name)) if message.starts_with("unknown") => {
            Complaint::Value(name, quoted.collect())
        }
        _ => Complaint::Other,
    }
}

/// The nearest of the known words, and all of them.
fn meant(written: &str, known: &[&str]) -> String {
    let nearest = suggest::nearest(written, known.iter().copied()).unwrap_or("none");
    format!("did you mean \"{nearest}\"? Known: {}", known.join(", "))
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// An error about a key that a person wrote.
fn at_key(text: &str, file: &str, key: &str, fault: String, remedy: String) -> FileError {
    let line = span_of(text, key).map_or(0, |at| line_of(text, at));
    FileError {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        fault,
        remedy,
    }
}

/// Where the value of a dotted key starts: of the innermost of its tables that is there.
fn span_of(text: &str, key: &str) -> Option<usize> {
    let root = toml::de::DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for part in key.split('.') {
        let Some(value) = table.get(part) else { break };
        at = Some(value.span().start);
        match value.get_ref() {
            toml::de::DeValue::Table(inside) => table = inside,
            _ => break,
        }
    }
    at
}

/// What ties figures to each other: the key at fault and what is wrong with it.
fn check(model: &Model) -> Result<(), (&'static str, String)> {
    let width = model.heads * model.head_dim;
    if !matches!(model.architecture, Architecture::UNet(_)) && width != model.hidden {
        let (heads, head_dim, hidden) = (model.heads, model.head_dim, model.hidden);
        return Err((
            "hidden",
            format!("{heads} heads of {head_dim} are {width} wide, not {hidden}"),
        ));
    }
    model.architecture.check(model)?;
    let work = model
        .workload(&model.default)
        .map_err(|error| ("default", error.to_string()))?;
    let parameters = work.parameters();
    if parameters > limits::MOST_PARAMETERS {
        let fault = format!("makes {parameters} parameters, more than can be simulated");
        return Err(("family", fault));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
