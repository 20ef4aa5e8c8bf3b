//! Files read with a limit on what they take in memory, packed or not.
//!
//! Guarantee: never more than the limit is held, whatever a gzipped file unpacks to. docs/limits.md lists the limits.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// Bytes of the largest table (CSV), unpacked.
pub const LARGEST_TABLE: u64 = 256 << 20;
/// Bytes of the largest JSON file that describes something: a manifest, a profile, a run.
pub const LARGEST_DESCRIPTION: u64 = 16 << 20;
/// Bytes of the largest timeline or profiler trace, unpacked.
pub const LARGEST_TIMELINE: u64 = 1 << 30;

/// Everything of a stream that has at most `most` bytes.
fn all(stream: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let what = format!("it has more than {most} bytes, the most that is read");
        return Err(io::Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The bytes of a file.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] for one of more than `most` bytes, else those of the file system.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    all(File::open(path)?, most)
}

/// The bytes, unpacked where they are gzip's.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] where more than `most` bytes come out, else what is damaged.
pub fn unpack(bytes: &[u8], most: u64) -> io::Result<Cow<'_, [u8]>> {
    match bytes {
        [0x1f, 0x8b, ..] => all(MultiGzDecoder::new(bytes), most).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[0; 5000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(unpack(&packed, 5000).unwrap().len(), 5000);
        let error = unpack(&packed, 4999).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(error.to_string().contains("4999 bytes"), "{error}");
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        assert_eq!(
            read(file.path(), 4).unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        // A device without end is a large file.
        let endless = read(Path::new("/dev/zero"), 1 << 16);
        assert_eq!(endless.unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
