//! Files read with limits on what they take in memory and work, packed or not.
//!
//! ```text
//! path ─▶ plain (a regular file) ─▶ unpacked as it is read ─▶ Bounded: bytes, lines, length of a line or text
//! ```
//! Guarantees: a reader of [`stream`] holds one piece of the input, whatever that unpacks to; devices, pipes and sockets
//! are refused before they are opened, so that none is waited for. docs/limits.md lists the limits.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// What an input may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Lines of a table, its header among them; line ends in quotes end none.
    pub lines: u64,
    /// Bytes of a line of a table, or of a text of JSON.
    pub length: u64,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
}

impl Limits {
    const fn csv(bytes: u64, lines: u64, length: u64) -> Self {
        Self {
            bytes,
            lines,
            length,
            form: Form::Csv,
        }
    }

    const fn json(bytes: u64) -> Self {
        Self {
            bytes,
            lines: u64::MAX,
            length: 1 << 20,
            form: Form::Json,
        }
    }
}

/// A table that is read row by row: those of traces, recorded requests.
pub const TABLE: Limits = Limits::csv(256 << 20, 2_500_000, 1 << 20);
/// A table that is held as text: measured kernels, collectives, profiles.
pub const MEASURED: Limits = Limits::csv(64 << 20, 1_000_000, 64 << 10);
/// A table of published runs: each row is simulated, in some 10 ms.
pub const PUBLISHED: Limits = Limits::csv(16 << 20, 5_000, 64 << 10);
/// Our own timeline.
pub const TIMELINE: Limits = Limits::json(256 << 20);
/// A profiler's trace, of which little is kept.
pub const PROFILE: Limits = Limits::json(1 << 30);
/// Bytes of the largest JSON file that describes something: a manifest, a profile, a run.
pub const LARGEST_DESCRIPTION: u64 = 16 << 20;

fn too_large(what: String) -> io::Error {
    let remedy = "the most that is read: give the part that matters";
    io::Error::new(ErrorKind::FileTooLarge, format!("it has {what}, {remedy}"))
}

/// A file that can be read to its end: a regular one.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a directory, a device, a pipe or a socket, else those of the file system.
pub fn plain(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    let what = match kind.is_dir() {
        true => "it is a directory",
        false => "it is a device, a pipe or a socket",
    };
    let remedy = "give a regular file";
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        format!("{what}: {remedy}"),
    ))
}

/// The bytes of a file, as they are.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] for one of more than `most` bytes, else those of [`plain`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    plain(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_large(format!("more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The bytes within the limits, unpacked where they are gzip's.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] beyond the limits, else what is damaged.
pub fn unpack(bytes: &[u8], limits: Limits) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream(bytes, limits)?.read_to_end(&mut all)?;
    Ok(all)
}

/// A file as [`stream`] reads it.
///
/// # Errors
/// Those of [`plain`] and of the first read.
pub fn open(path: &Path, limits: Limits) -> io::Result<Bounded<'static>> {
    stream(plain(path)?, limits)
}

/// What an input says, unpacked where it is gzip's, to the limits and no further.
///
/// # Errors
/// Those of its first read; every later read ends with [`ErrorKind::FileTooLarge`] beyond the limits.
pub fn stream<'a>(input: impl Read + 'a, limits: Limits) -> io::Result<Bounded<'a>> {
    let mut input = BufReader::new(input);
    let inner: Box<dyn Read + 'a> = match input.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(input)),
        _ => Box::new(input),
    };
    Ok(Bounded {
        inner,
        limits,
        bytes: 0,
        lines: 0,
        length: 0,
        quoted: false,
        escaped: false,
        before: 0,
    })
}

/// A reader with limits.
pub struct Bounded<'a> {
    inner: Box<dyn Read + 'a>,
    limits: Limits,
    bytes: u64,
    lines: u64,
    /// Of the line or text under way.
    length: u64,
    quoted: bool,
    escaped: bool,
    /// The byte before.
    before: u8,
}

impl Bounded<'_> {
    fn count_csv(&mut self, byte: u8) {
        if byte == b'\n' && !self.quoted {
            self.length = 0;
            return;
        }
        // Quotes count where a field starts, and twice in one that they enclose.
        let opens = matches!(self.before, 0 | b',' | b'\n' | b'"');
        self.quoted ^= byte == b'"' && (self.quoted || opens);
        self.lines += u64::from(self.length == 0);
        self.length += 1;
    }

    fn count_json(&mut self, byte: u8) {
        self.length += u64::from(self.quoted);
        self.escaped = self.quoted && self.before == b'\\' && !self.escaped;
        if byte == b'"' && !self.escaped {
            self.quoted = !self.quoted;
            self.length = 0;
        }
    }

    fn check(&self) -> io::Result<()> {
        let Limits {
            bytes,
            lines,
            length,
            form,
        } = self.limits;
        if self.lines > lines {
            return Err(too_large(format!("more than {lines} lines")));
        }
        if self.length > length {
            let what = match form {
                Form::Csv => format!("more than {length} bytes in line {}", self.lines),
                Form::Json => format!("a text of more than {length} bytes"),
            };
            return Err(too_large(what));
        }
        match self.bytes > bytes {
            true => Err(too_large(format!("more than {bytes} bytes"))),
            false => Ok(()),
        }
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        for &byte in &buffer[..count] {
            match self.limits.form {
                Form::Csv => self.count_csv(byte),
                Form::Json => self.count_json(byte),
            }
            self.before = byte;
            if self.length > self.limits.length {
                break;
            }
        }
        self.check()?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const SMALL: Limits = Limits::csv(5000, 100, 50);

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refused(bytes: &[u8], limits: Limits) -> String {
        let plain = unpack(bytes, limits).unwrap_err();
        let error = unpack(&packed(bytes), limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), plain.to_string());
        error.to_string()
    }

    #[test]
    fn tables_have_limits_packed_or_not() {
        let fits = format!("{}\n", "x".repeat(49)).repeat(100);
        assert_eq!(unpack(fits.as_bytes(), SMALL).unwrap(), fits.as_bytes());
        assert_eq!(unpack(&packed(fits.as_bytes()), SMALL).unwrap().len(), 5000);
        let inches = "a,5\" wide,\"said \"\"b\"\"\"\n".repeat(50);
        assert!(unpack(inches.as_bytes(), SMALL).is_ok());
        for (text, part) in [
            (format!("{fits}y"), "more than 100 lines"),
            (
                format!("a\n{}", "x".repeat(51)),
                "more than 50 bytes in line 2",
            ),
            (
                format!("a\n\"{}\"", "x\n".repeat(25)),
                "more than 50 bytes in line 2",
            ),
            ("\n".repeat(5001), "more than 5000 bytes"),
        ] {
            let sentence = refused(text.as_bytes(), SMALL);
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn texts_of_json_have_a_limit() {
        let limits = Limits {
            length: 10,
            ..Limits::json(1000)
        };
        let fits = r#"{"123456789":["\"\\\"",1111111111111111111]}"#;
        assert_eq!(unpack(fits.as_bytes(), limits).unwrap(), fits.as_bytes());
        for text in [r#"{"12345678901"}"#, r#"["\"\"\"\"\"\""]"#] {
            let sentence = refused(text.as_bytes(), limits);
            assert!(
                sentence.contains("a text of more than 10 bytes"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn what_unpacks_to_much_is_not_held() {
        let bomb = packed(&vec![b'\n'; 64 << 20]);
        let mut read = 0;
        let limits = Limits::csv(1 << 20, u64::MAX, 50);
        let mut stream = stream(&bomb[..], limits).unwrap();
        let mut piece = [0; 4096];
        let error = loop {
            match stream.read(&mut piece) {
                Ok(count) => read += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(read <= 1 << 20, "{read}");
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
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        let mut paths = vec![folder.path()];
        if made.is_ok_and(|status| status.success()) {
            paths.extend([pipe.as_path(), Path::new("/dev/zero")]);
        }
        for path in paths {
            let error = read(path, 1 << 16).unwrap_err();
            assert!(error.to_string().contains("regular file"), "{error}");
        }
    }
}
