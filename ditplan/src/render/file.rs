//! A text as a file, or printed.

use std::path::Path;

use anyhow::{Context, Result};
use traces::whole;

use super::text::{bulleted, heading};

/// Writes a text to a file, and says so with what is to be said; or gives it back with that in comments.
pub(crate) fn written(
    text: &str,
    out: Option<&Path>,
    title: &str,
    said: &[String],
) -> Result<String> {
    let Some(path) = out else {
        let comment = |line: &String| match text.starts_with('<') {
            // XML forbids two dashes in a comment.
            true => format!("<!-- {title}: {} -->\n", line.replace("--", "- -")),
            false => format!("# {title}: {line}\n"),
        };
        let comments: String = said.iter().map(comment).collect();
        return Ok(format!("{}\n{comments}", text.trim_end()));
    };
    whole::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    let said = match said.is_empty() {
        true => String::new(),
        false => heading(title) + &bulleted(said),
    };
    Ok(format!("{}\n{said}", path.display()))
}
