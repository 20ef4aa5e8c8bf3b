//! A file in memory without reading it: the one place of the default build with `unsafe`.
//!
//! Not modelled: a file that another program shortens while it is mapped. The system then ends the
//! process (SIGBUS); writers of traces rename finished files into place and never shorten one.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use crate::bounded;

/// The bytes of a file, mapped read-only until dropped.
#[derive(Debug)]
pub(super) struct Mapping(Mmap);

impl Mapping {
    /// Maps a file.
    ///
    /// # Errors
    /// What the system says when it cannot be opened or mapped.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = bounded::plain(path)?;
        // SAFETY: the mapping is private and read-only, and the borrow of its bytes ends with it. What
        // remains is another process that writes to the file: bytes would change under a shared slice.
        // Shards are written beside their names and renamed, so no writer of traces does that; bytes are
        // only ever read as integers and floats, for which every bit pattern is a value.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(map))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
