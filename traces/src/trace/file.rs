//! A trace's files: written with their sizes and checksums.

use std::io::{self, Write};
use std::path::Path;

use super::checksum::Hashing;
use super::{FileEntry, Manifest, TraceError};
use crate::whole::Half;

/// The file that describes the others.
pub(super) const MANIFEST: &str = "manifest.json";

/// The error of a path that cannot be written.
pub(super) fn unwritable(path: &Path) -> impl Fn(io::Error) -> TraceError + use<> {
    let file = path.display().to_string();
    move |error| TraceError::Unwritable {
        file: file.clone(),
        kind: error.kind(),
        what: error.to_string(),
    }
}

/// The error of a path that cannot be read.
pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> TraceError + use<> {
    let file = path.display().to_string();
    move |error| TraceError::Unreadable {
        file: file.clone(),
        what: error.to_string(),
    }
}

/// Writes `directory/name`, whole or not at all; gives back its entry.
pub(super) fn write(
    directory: &Path,
    name: &str,
    step: Option<u32>,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), TraceError>,
) -> Result<FileEntry, TraceError> {
    let path = directory.join(name);
    let failed = unwritable(&path);
    let mut out = Hashing::new(Half::create(&path).map_err(&failed)?);
    fill(&mut out)?;
    let (half, bytes, sha256) = out.finish();
    half.finish().map_err(&failed)?;
    Ok(FileEntry {
        name: name.to_owned(),
        bytes,
        sha256,
        step,
    })
}

/// Writes the manifest of a directory.
pub(super) fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), TraceError> {
    let path = directory.join(MANIFEST);
    let text = serde_json::to_vec_pretty(manifest).expect("a manifest has string keys only");
    write(directory, MANIFEST, None, |out| {
        out.write_all(&text)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(unwritable(&path))
    })?;
    Ok(())
}
