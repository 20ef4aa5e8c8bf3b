//! Writing a trace, step by step.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, unwritable};
use super::{FileEntry, Manifest, State, Tensor, TraceError, shard};

/// A trace under way: marked partial until [`finish`](Self::finish).
#[derive(Debug)]
pub struct TraceWriter {
    directory: PathBuf,
    manifest: Manifest,
    /// Entries that come behind the shards in the manifest.
    others: Vec<FileEntry>,
    shards: Vec<FileEntry>,
}

impl TraceWriter {
    /// Starts a trace in a directory that is empty or not there. `state` and `files` of the manifest are
    /// the writer's: what is given there is ignored.
    ///
    /// # Errors
    /// [`TraceError::Exists`], [`TraceError::Unwritable`], or what is wrong with the manifest.
    pub fn create(directory: impl AsRef<Path>, mut manifest: Manifest) -> Result<Self, TraceError> {
        let directory = directory.as_ref().to_owned();
        let failed = unwritable(&directory);
        fs::create_dir_all(&directory).map_err(&failed)?;
        let mut entries = fs::read_dir(&directory).map_err(&failed)?;
        if entries.next().is_some() {
            return Err(TraceError::Exists {
                directory: directory.display().to_string(),
            });
        }
        manifest.state = State::Partial;
        manifest.files = Vec::new();
        let described = directory.join(file::MANIFEST);
        super::validate::check(&manifest, &described.display().to_string())?;
        let writer = Self {
            directory,
            manifest,
            others: Vec::new(),
            shards: Vec::new(),
        };
        writer.describe(State::Partial)?;
        Ok(writer)
    }

    /// The trace as it will be; `files` is empty until it is finished.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the next recorded step. `fill` puts a tensor's little-endian bytes behind what the buffer
    /// holds (nothing); it is called for each recorded layer, K before V.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`], or what `fill` gives back; the step is then not part of the trace.
    ///
    /// # Panics
    /// If all recorded steps are written, or a tensor has not the size of the manifest's shape.
    pub fn step(
        &mut self,
        mut fill: impl FnMut(u32, Tensor, &mut Vec<u8>) -> Result<(), TraceError>,
    ) -> Result<(), TraceError> {
        let (manifest, position) = (&self.manifest, self.shards.len());
        let step = manifest.recorded.steps.get(position).copied();
        let step = step.expect("no more steps are written than are recorded");
        let size = manifest.shape().elements() * manifest.dtype.size();
        let name = manifest.shard_name(position);
        let path = self.directory.join(&name);
        let failed = unwritable(&path);
        let entry = file::write(&self.directory, &name, Some(step), |mut out| {
            shard::write_header(manifest, step, &mut out).map_err(&failed)?;
            let mut tensor_bytes = Vec::with_capacity(size);
            for &layer in &manifest.recorded.layers {
                for tensor in Tensor::ALL {
                    tensor_bytes.clear();
                    fill(layer, tensor, &mut tensor_bytes)?;
                    assert_eq!(
                        tensor_bytes.len(),
                        size,
                        "a tensor has the manifest's shape"
                    );
                    out.write_all(&tensor_bytes).map_err(&failed)?;
                }
            }
            Ok(())
        })?;
        self.shards.push(entry);
        self.describe(State::Partial)
    }

    /// Writes a file that is no shard.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), TraceError> {
        let failed = unwritable(&self.directory.join(name));
        let entry = file::write(&self.directory, name, None, |out| {
            out.write_all(bytes).map_err(failed)
        })?;
        self.others.retain(|known| known.name != name);
        self.others.push(entry);
        Ok(())
    }

    /// Marks the trace complete.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    ///
    /// # Panics
    /// If a recorded step was not written.
    pub fn finish(self) -> Result<(), TraceError> {
        assert_eq!(
            self.shards.len(),
            self.manifest.recorded.steps.len(),
            "every recorded step was written"
        );
        self.describe(State::Complete)
    }

    /// Renews the manifest on the disk.
    fn describe(&self, state: State) -> Result<(), TraceError> {
        let files = self.shards.iter().chain(&self.others);
        let manifest = Manifest {
            state,
            files: files.cloned().collect(),
            ..self.manifest.clone()
        };
        file::write_manifest(&self.directory, &manifest)
    }
}
