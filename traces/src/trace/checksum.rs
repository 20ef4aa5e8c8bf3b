//! SHA-256 of files, in bounded memory.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use topologies::Bytes;

use crate::bounded;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// That of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// That of a file; `read` hears how many bytes went by.
    ///
    /// # Errors
    /// What the system says when the file cannot be read.
    pub(super) fn of_file(path: &Path, mut read: impl FnMut(Bytes)) -> io::Result<Self> {
        let mut file = bounded::plain(path)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(Self(hash.finalize().into())),
                count => {
                    hash.update(&chunk[..count]);
                    read(Bytes::new(count as u64));
                }
            }
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a SHA-256 of 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * place..2 * place + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// A writer that hashes and counts what goes through it.
pub(super) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    /// The writer, what went through it, and its checksum.
    pub(super) fn finish(self) -> (W, Bytes, Checksum) {
        let checksum = Checksum(self.hash.finalize().into());
        (self.inner, Bytes::new(self.bytes), checksum)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_checksum_is_sha_256() {
        assert_eq!(Checksum::of(b"abc").to_string(), ABC);
        assert_eq!(Checksum::try_from(ABC.to_owned()), Ok(Checksum::of(b"abc")));
    }

    #[test]
    fn files_memory_and_writers_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * CHUNK / 2).map(|at| (at % 251) as u8).collect();
        let mut writer = Hashing::new(File::create(&path).unwrap());
        writer.write_all(&bytes).unwrap();
        let (_, count, checksum) = writer.finish();
        assert_eq!(count, Bytes::new(bytes.len() as u64));
        assert_eq!(checksum, Checksum::of(&bytes));
        let mut seen = Bytes::ZERO;
        let of_file = Checksum::of_file(&path, |part| seen += part).unwrap();
        assert_eq!((of_file, seen), (checksum, count));
    }

    #[test]
    fn what_is_no_checksum_is_named() {
        for text in ["", "ba78", &ABC.replace('b', "g"), &"é".repeat(32)] {
            let error = Checksum::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
    }
}
