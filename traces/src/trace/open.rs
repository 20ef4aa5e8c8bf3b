//! Opening a trace, complete or up to its last complete step.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use topologies::Bytes;

use super::checksum::Checksum;
use super::file::{self, MANIFEST, unreadable, unwritable};
use super::mapping::Mapping;
use super::shard::Layout;
use super::view::StepView;
use super::{FileEntry, Manifest, State, TraceError, validate};
use crate::bounded::{self, LARGEST_DESCRIPTION};

/// A recorded run: a manifest, and shards that are mapped when asked for.
#[derive(Clone, Debug)]
pub struct Trace {
    directory: PathBuf,
    manifest: Manifest,
    /// The shards that can be read: all, or those before the first defect.
    shards: Vec<FileEntry>,
}

impl Trace {
    /// Opens a complete trace: checks the manifest, the size of every file and the header of every shard.
    ///
    /// # Errors
    /// A [`TraceError`] that names the first file with a defect.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, TraceError> {
        let mut trace = Self::described(directory.as_ref())?;
        let steps = trace.manifest.recorded.steps.len();
        if trace.manifest.state == State::Partial {
            return Err(TraceError::Partial {
                directory: trace.directory.display().to_string(),
                done: trace.listed().count(),
                steps,
            });
        }
        for entry in &trace.manifest.files {
            trace.check_size(entry)?;
        }
        trace.shards = trace.listed().cloned().collect();
        for entry in &trace.shards {
            trace.map(entry)?;
        }
        Ok(trace)
    }

    /// Opens a trace that may be partial, truncated or short of files: reads the steps before the first
    /// one that is not whole.
    ///
    /// # Errors
    /// A [`TraceError`] if the manifest cannot be used, or not one step can.
    pub fn open_partial(directory: impl AsRef<Path>) -> Result<Self, TraceError> {
        let mut trace = Self::described(directory.as_ref())?;
        let mut whole = Vec::new();
        let mut defect = "none is listed".to_owned();
        for entry in trace.listed() {
            match trace.check_size(entry).and_then(|()| trace.map(entry)) {
                Ok(_) => whole.push(entry.clone()),
                Err(error) => {
                    defect = error.to_string();
                    break;
                }
            }
        }
        trace.shards = whole;
        if trace.shards.is_empty() {
            return Err(TraceError::NoSteps {
                directory: trace.directory.display().to_string(),
                what: defect,
            });
        }
        Ok(trace)
    }

    /// The manifest is read, and nothing else.
    fn described(directory: &Path) -> Result<Self, TraceError> {
        let path = directory.join(MANIFEST);
        let text =
            bounded::read(&path, LARGEST_DESCRIPTION).map_err(|error| match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => TraceError::NotATrace {
                    directory: directory.display().to_string(),
                    what: error.to_string(),
                },
                _ => unreadable(&path)(error),
            })?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest: validate::manifest(&text, &path.display().to_string())?,
            shards: Vec::new(),
        })
    }

    /// The shards of the manifest.
    fn listed(&self) -> impl Iterator<Item = &FileEntry> {
        let files = self.manifest.files.iter();
        files.filter(|entry| entry.step.is_some())
    }

    /// A file has the size that the manifest says.
    fn check_size(&self, entry: &FileEntry) -> Result<(), TraceError> {
        let path = self.path(&entry.name);
        let file = path.display().to_string();
        let found = fs::metadata(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => TraceError::Missing { file: file.clone() },
            _ => unreadable(&path)(error),
        })?;
        let (bytes, expected) = (Bytes::new(found.len()), entry.bytes);
        match bytes.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(TraceError::Truncated {
                file,
                bytes,
                expected,
            }),
            std::cmp::Ordering::Greater => Err(TraceError::Altered {
                file,
                what: format!("{bytes} where the manifest says {expected}"),
            }),
        }
    }

    /// Maps a shard and reads its header.
    fn map(&self, entry: &FileEntry) -> Result<StepView, TraceError> {
        let path = self.path(&entry.name);
        let step = entry.step.expect("only shards are mapped");
        let mapping = Mapping::open(&path).map_err(unreadable(&path))?;
        let layout = Layout::read(&mapping, &self.manifest, step, &path)?;
        Ok(StepView {
            path,
            step,
            samples: self.manifest.recorded_samples(),
            shape: self.manifest.shape(),
            dtype: self.manifest.dtype,
            mapping,
            layout,
        })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a file of the trace.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the trace says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The steps that can be read, ascending.
    #[must_use]
    pub fn steps(&self) -> Vec<u32> {
        self.shards.iter().filter_map(|entry| entry.step).collect()
    }

    /// Maps a step; it stays mapped until the view is dropped.
    ///
    /// # Errors
    /// [`TraceError::NotRecorded`], or what became wrong with the shard since the trace was opened.
    pub fn step(&self, step: u32) -> Result<StepView, TraceError> {
        let entry = self.shards.iter().find(|entry| entry.step == Some(step));
        let entry = entry.ok_or_else(|| TraceError::NotRecorded {
            file: self.directory.display().to_string(),
            what: format!("step {step}"),
            known: format!("{:?}", self.steps()),
        })?;
        self.check_size(entry)?;
        self.map(entry)
    }

    /// Recomputes the checksum of every file that [`open`](Self::open) or
    /// [`open_partial`](Self::open_partial) accepted; `read` hears how many bytes went by.
    ///
    /// # Errors
    /// [`TraceError::Altered`] for the first file with another checksum.
    pub fn verify(&self, mut read: impl FnMut(Bytes)) -> Result<(), TraceError> {
        for entry in self.files() {
            let path = self.path(&entry.name);
            let sum = Checksum::of_file(&path, &mut read).map_err(unreadable(&path))?;
            if sum != entry.sha256 {
                return Err(TraceError::Altered {
                    file: path.display().to_string(),
                    what: format!("its SHA-256 is {sum}, the manifest says {}", entry.sha256),
                });
            }
        }
        Ok(())
    }

    /// The files that can be read: shards of readable steps, and the others that are whole.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let others = self.manifest.files.iter();
        let others = others.filter(|entry| entry.step.is_none() && self.check_size(entry).is_ok());
        self.shards.iter().chain(others)
    }

    /// Writes a file into the trace, in place of one of the same name, and renews the manifest.
    ///
    /// The old entry leaves the manifest first: whenever the process dies, the manifest lists no file of
    /// another size or checksum than the one that is there.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    ///
    /// # Panics
    /// If the name is that of the manifest or of a shard.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), TraceError> {
        assert!(
            name != MANIFEST && self.listed().all(|shard| shard.name != name),
            "shards and the manifest are written by the writer"
        );
        let failed = unwritable(&self.path(name));
        if self.manifest.file(name).is_some() {
            self.manifest.files.retain(|known| known.name != name);
            file::write_manifest(&self.directory, &self.manifest)?;
        }
        let entry = file::write(&self.directory, name, None, |out| {
            out.write_all(bytes).map_err(failed)
        })?;
        self.manifest.files.push(entry);
        file::write_manifest(&self.directory, &self.manifest)
    }
}
