//! Reading a measured table, plain or gzipped, so that a mistake in it is found where it stands.
//!
//! Guarantees: every error names the file, the line and the column where it has one, and what to do.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use csv::StringRecord;
use thiserror::Error;
use traces::bounded::{self, Limits, MEASURED};

/// Why a table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputError {
    /// The file cannot be opened or read.
    #[error("{file} cannot be read ({what}): check the path and its permissions")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        what: String,
    },
    /// The file starts as gzip but does not unpack.
    #[error(
        "{file} is a damaged gzip file ({what}): copy it again, `gzip -t` must accept it, or give the plain CSV"
    )]
    Gzip {
        /// The file.
        file: String,
        /// What the decoder says.
        what: String,
    },
    /// There is more in it than is read.
    #[error("{file}: {what}")]
    TooLarge {
        /// The file.
        file: String,
        /// What there is too much of, and what to do.
        what: String,
    },
    /// The text is not CSV.
    #[error(
        "{file}, line {line}: {what}: write UTF-8 CSV with as many fields in every line as in the header"
    )]
    Malformed {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// There is no row below the header, or nothing at all.
    #[error("{file} has no rows: give a CSV with a header line and at least one row below it")]
    Empty {
        /// The file.
        file: String,
    },
    /// Two columns have one name.
    #[error("{file}, line 1: column \"{column}\" is there twice: remove one, or rename it")]
    RepeatedColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// The header lacks a column.
    #[error("{file}, line 1: column \"{column}\" is missing: add it (the header is {found})")]
    MissingColumn {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What the header has.
        found: String,
    },
    /// A cell is not the number that it must be.
    #[error(
        "{file}, line {line}, column \"{column}\": \"{value}\" is not {wanted}: correct the cell or delete the row"
    )]
    NotANumber {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What was written.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// A table as text: its header and its rows, each with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The file's name, for errors and reports.
    pub file: String,
    header: Vec<String>,
    records: Vec<StringRecord>,
    /// The line that each record starts on, from 1.
    lines: Vec<u64>,
}

/// A column of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column(usize);

/// One row of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    table: &'a Table,
    fields: &'a StringRecord,
    line: u64,
}

impl Table {
    /// Reads a file, unpacking it if its first bytes are gzip's.
    ///
    /// # Errors
    /// An [`InputError`] for anything that is not a table with at least one row, or beyond the limits.
    pub fn read(path: &Path, limits: Limits) -> Result<Self, InputError> {
        let file = path.display().to_string();
        let bytes = bounded::read(path, limits.bytes);
        let bytes = bytes.map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => too_large(&file, &error),
            _ => InputError::Unreadable {
                file: file.clone(),
                what: error.to_string(),
            },
        })?;
        Self::within(&bytes, &file, limits)
    }

    /// Reads a table from the bytes of a file called `file`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, InputError> {
        Self::within(bytes, file, MEASURED)
    }

    fn within(bytes: &[u8], file: &str, limits: Limits) -> Result<Self, InputError> {
        let text = bounded::unpack(bytes, limits).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => too_large(file, &error),
            _ => InputError::Gzip {
                file: file.to_owned(),
                what: error.to_string(),
            },
        })?;
        Self::parse(&text, file)
    }

    fn parse(text: &[u8], file: &str) -> Result<Self, InputError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let malformed = |error: csv::Error| InputError::Malformed {
            file: file.to_owned(),
            line: error.position().map_or(1, csv::Position::line),
            what: plain_reason(&error),
        };
        let mut reader = csv::Reader::from_reader(text);
        let header = reader.headers().map_err(malformed)?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let mut names = BTreeSet::new();
        let mut named = header.iter().filter(|name| !name.is_empty());
        if let Some(column) = named.find(|name| !names.insert(name.as_str())) {
            return Err(InputError::RepeatedColumn {
                file: file.to_owned(),
                column: column.clone(),
            });
        }
        let records: Vec<StringRecord> = reader
            .records()
            .collect::<Result<_, _>>()
            .map_err(malformed)?;
        if records.is_empty() {
            return Err(InputError::Empty {
                file: file.to_owned(),
            });
        }
        let lines = records.iter().map(|record| line_of(text, record)).collect();
        Ok(Self {
            file: file.to_owned(),
            header,
            records,
            lines,
        })
    }

    /// The column called `name`.
    ///
    /// # Errors
    /// [`InputError::MissingColumn`].
    pub fn column(&self, name: &str) -> Result<Column, InputError> {
        self.optional(name)
            .ok_or_else(|| InputError::MissingColumn {
                file: self.file.clone(),
                column: name.to_owned(),
                found: self.header.join(","),
            })
    }

    /// The column called `name`, if the table has it.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<Column> {
        self.header
            .iter()
            .position(|known| known == name)
            .map(Column)
    }

    /// The rows, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let lines = self.lines.iter();
        let records = self.records.iter().zip(lines);
        records.map(|(fields, &line)| Record {
            table: self,
            fields,
            line,
        })
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Never: a table has at least one row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl<'a> Record<'a> {
    /// The line that the row starts on, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// A cell, without the blanks around it.
    #[must_use]
    pub fn text(&self, column: Column) -> &'a str {
        self.fields.get(column.0).unwrap_or("").trim()
    }

    /// A positive number below 10^12.
    ///
    /// # Errors
    /// [`InputError::NotANumber`].
    pub fn positive(&self, column: Column) -> Result<f64, InputError> {
        let number = self.text(column).parse::<f64>().ok();
        number
            .filter(|value| value.is_finite() && *value > 0.0 && *value < 1e12)
            .ok_or_else(|| self.not(column, "a number above 0 and below 10^12"))
    }

    /// A whole number from 1 to 2^32 - 1: a size of an operation.
    ///
    /// # Errors
    /// [`InputError::NotANumber`].
    pub fn count(&self, column: Column) -> Result<u64, InputError> {
        let number = self.text(column).parse::<f64>().ok();
        number
            .filter(|value| (1.0..4e9).contains(value) && value.fract() == 0.0)
            .map(|value| value as u64)
            .ok_or_else(|| self.not(column, "a whole number from 1 to 4*10^9"))
    }

    /// The error that says that `column` is not `wanted`.
    #[must_use]
    pub fn not(&self, column: Column, wanted: &'static str) -> InputError {
        InputError::NotANumber {
            file: self.table.file.clone(),
            line: self.line(),
            column: self.table.header[column.0].clone(),
            value: self.text(column).to_owned(),
            wanted,
        }
    }
}

/// The line of a record's first byte. The reader's own count stops before the second half of a CRLF
/// and before blank lines.
fn line_of(text: &[u8], record: &StringRecord) -> u64 {
    let Some(position) = record.position() else {
        return 1;
    };
    let rest = text.get(position.byte() as usize..).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + skipped.filter(|byte| **byte == b'\n').count() as u64
}

fn too_large(file: &str, error: &io::Error) -> InputError {
    InputError::TooLarge {
        file: file.to_owned(),
        what: error.to_string(),
    }
}

fn plain_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("{len} fields where the header has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use traces::bounded::PUBLISHED;

    const VALID: &str = "system,m,latency_us\na100_sxm,64,4.5\n";

    fn table(text: &str) -> Result<Table, InputError> {
        Table::from_bytes(text.as_bytes(), "t.csv")
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_read_alike() {
        let plain = table(VALID).unwrap();
        assert_eq!(Table::from_bytes(&packed(VALID), "t.csv").unwrap(), plain);
        let row = plain.records().next().unwrap();
        assert_eq!(row.line(), 2);
        assert_eq!(row.count(plain.column("m").unwrap()), Ok(64));
        assert_eq!(row.positive(plain.column("latency_us").unwrap()), Ok(4.5));
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        for text in ["a\n1\n2\n", "a\r\n1\r\n2\r\n", "a\n1\n\n2\n"] {
            let table = table(text).unwrap();
            let last = table.records().last().unwrap();
            assert_eq!(
                last.line(),
                if text.contains("\n\n") { 4 } else { 3 },
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = table(VALID).unwrap().column("n").unwrap_err().to_string();
        assert_eq!(
            error,
            "t.csv, line 1: column \"n\" is missing: add it (the header is system,m,latency_us)"
        );
    }

    #[test]
    fn a_column_that_is_there_twice_is_named() {
        let error = table(&VALID.replacen(",m,", ",system,", 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.csv, line 1: column \"system\" is there twice: remove one, or rename it"
        );
    }

    #[test]
    fn an_empty_file_says_so() {
        for text in ["", "system,m,latency_us\n"] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.starts_with("t.csv has no rows"), "{error}");
        }
    }

    #[test]
    fn a_word_where_a_number_belongs_is_named_with_its_place() {
        let wrong = table(&VALID.replace("4.5", "fast")).unwrap();
        let row = wrong.records().next().unwrap();
        let error = row
            .positive(wrong.column("latency_us").unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.csv, line 2, column \"latency_us\": \"fast\" is not a number above 0 and below 10^12: correct the cell or delete the row"
        );
    }

    #[test]
    fn a_damaged_gzip_file_is_not_an_empty_one() {
        let mut bytes = packed(VALID);
        bytes.truncate(20);
        let error = Table::from_bytes(&bytes, "t.csv.gz").unwrap_err();
        assert!(matches!(error, InputError::Gzip { .. }), "{error}");
    }

    #[test]
    fn more_rows_than_are_read_is_no_damage() {
        let rows = |count| VALID.to_owned() + &"a100_sxm,64,4.5\n".repeat(count);
        let read = |count| Table::within(&packed(&rows(count)), "t.csv.gz", PUBLISHED);
        assert_eq!(read(4_998).unwrap().len(), 4_999);
        let error = read(4_999).unwrap_err().to_string();
        assert!(
            error.starts_with("t.csv.gz: it has more than 5000 lines"),
            "{error}"
        );
    }

    #[test]
    fn a_short_line_is_named() {
        let error = table(&VALID.replace(",4.5", "")).unwrap_err().to_string();
        assert!(
            error.starts_with("t.csv, line 2: 2 fields where the header has 3"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_unreadable() {
        let error = Table::read(Path::new("nowhere.csv"), MEASURED).unwrap_err();
        assert!(matches!(error, InputError::Unreadable { .. }));
    }
}
