//! The tables beside the shards: gzipped CSV, a type for each.

use std::io::{ErrorKind, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::file::unreadable;
use super::{Trace, TraceError, TraceWriter};
use crate::bounded::{self, TABLE};

/// A row of a table.
pub trait Row: Serialize + DeserializeOwned {
    /// The table's name in the directory.
    const FILE: &'static str;

    /// What is wrong with the row's figures, in words.
    ///
    /// # Errors
    /// The first rule that it breaks.
    fn check(&self) -> Result<(), String>;
}

/// A figure that is finite and not negative.
pub(super) fn not_negative(name: &str, value: f64) -> Result<(), String> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(format!("{name} is {value}, not a number of at least 0")),
    }
}

/// Reads a table, gzipped or plain; `file` is its name in errors.
///
/// # Errors
/// [`TraceError::Table`] with the line of the first faulty row.
pub fn read<R: Row>(bytes: &[u8], file: &str) -> Result<Vec<R>, TraceError> {
    let wrong = |line: u64, what: String| TraceError::Table {
        file: file.to_owned(),
        line,
        what,
    };
    let altered = |error: &dyn std::fmt::Display| TraceError::Altered {
        file: file.to_owned(),
        what: format!("it does not unpack: {error}"),
    };
    let text = bounded::stream(bytes, TABLE).map_err(|error| altered(&error))?;
    let mut reader = csv::Reader::from_reader(text);
    let mut rows = Vec::new();
    for row in reader.deserialize() {
        let row: R = row.map_err(|error| match error.kind() {
            csv::ErrorKind::Io(error) => altered(error),
            _ => {
                let line = error.position().map_or(1, csv::Position::line);
                wrong(line, plain(&error))
            }
        })?;
        // Fields of these tables hold no line breaks: rows and lines go together.
        let line = rows.len() as u64 + 2;
        row.check().map_err(|what| wrong(line, what))?;
        rows.push(row);
    }
    Ok(rows)
}

/// What is wrong, without the place: the caller says it.
fn plain(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} fields where the header has {expected_len}"),
        _ => error.to_string(),
    }
}

/// A table as gzipped CSV; equal rows give equal bytes.
///
/// # Panics
/// If a row breaks its own rules: rows are made by us.
pub(super) fn pack<R: Row>(rows: &[R]) -> Vec<u8> {
    let packed = GzEncoder::new(Vec::new(), Compression::best());
    let mut writer = csv::Writer::from_writer(packed);
    for row in rows {
        if let Err(what) = row.check() {
            panic!("a row of {} that is written is right: {what}", R::FILE);
        }
        writer.serialize(row).expect("rows are flat records");
    }
    let mut packed = writer
        .into_inner()
        .map_err(|_| "flush")
        .expect("memory takes what is written");
    packed.flush().expect("memory takes what is written");
    packed.finish().expect("memory takes what is written")
}

impl Trace {
    /// Reads a table; nothing if the trace does not have it.
    ///
    /// # Errors
    /// [`TraceError::Table`], [`TraceError::Altered`] or [`TraceError::Unreadable`].
    pub fn rows<R: Row>(&self) -> Result<Option<Vec<R>>, TraceError> {
        let bytes = self.bytes(R::FILE)?;
        let file = self.path(R::FILE).display().to_string();
        bytes.map(|bytes| read(&bytes, &file)).transpose()
    }

    /// A whole file of the trace; nothing if the trace does not have it.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, TraceError> {
        let path = self.path(name);
        match bounded::read(&path, TABLE.bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path)(error)),
        }
    }

    /// Writes a table into the trace, in place of an earlier one.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    pub fn put_rows<R: Row>(&mut self, rows: &[R]) -> Result<(), TraceError> {
        self.put(R::FILE, &pack(rows))
    }
}

impl TraceWriter {
    /// Writes a table.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    pub fn put_rows<R: Row>(&mut self, rows: &[R]) -> Result<(), TraceError> {
        self.put(R::FILE, &pack(rows))
    }
}

/// A field that holds JSON: lists and objects in a table.
pub(super) mod json_cell {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(serde::ser::Error::custom)?;
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        serde_json::from_str(&text).map_err(|error| {
            D::Error::custom(format!(
                "\"{text}\" is not the JSON of this column: {error}"
            ))
        })
    }
}
