//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use topologies::Bytes;

use super::checksum::{Checksum, Hashing};
use super::{FileEntry, Manifest, TraceError};

/// The file that describes the others.
pub(super) const MANIFEST: &str = "manifest.json";

/// The error of a path that cannot be written.
pub(super) fn unwritable(path: &Path) -> impl Fn(io::Error) -> TraceError + use<> {
    let file = path.display().to_string();
    move |error| TraceError::Unwritable {
        file: file.clone(),
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

/// Writes `directory/name` beside its name, flushes it to the disk and renames it; gives back its entry.
pub(super) fn write(
    directory: &Path,
    name: &str,
    step: Option<u32>,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), TraceError>,
) -> Result<FileEntry, TraceError> {
    let path = directory.join(name);
    let beside = directory.join(format!("{name}.tmp"));
    let failed = unwritable(&path);
    let file = File::create(&beside).map_err(&failed)?;
    let mut out = Hashing::new(BufWriter::with_capacity(1 << 20, file));
    let filled = fill(&mut out).and_then(|()| finish(out).map_err(&failed));
    let (bytes, sha256) = filled.inspect_err(|_| {
        // Nobody is told when even that fails: the first error says more.
        let _ = fs::remove_file(&beside);
    })?;
    fs::rename(&beside, &path).map_err(&failed)?;
    let directory = File::open(directory).and_then(|directory| directory.sync_all());
    directory.map_err(&failed)?;
    Ok(FileEntry {
        name: name.to_owned(),
        bytes,
        sha256,
        step,
    })
}

/// Everything is on the disk.
fn finish(out: Hashing<BufWriter<File>>) -> io::Result<(Bytes, Checksum)> {
    let (buffer, bytes, sha256) = out.finish();
    let file = buffer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((bytes, sha256))
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
