//! Small files that people write: machines, logs, configurations.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use topologies::import::{self, LARGEST_FILE};
use traces::bounded;

/// The bytes of a file, if it is no larger than any machine's.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    bounded::read(path, LARGEST_FILE as u64)
}

/// A file's text and its name for errors.
pub(crate) fn text(path: &Path) -> Result<(String, String)> {
    let file = path.display().to_string();
    let bytes = bytes(path).with_context(|| format!("{file} cannot be read"))?;
    Ok((import::text(&bytes, &file)?.to_owned(), file))
}
