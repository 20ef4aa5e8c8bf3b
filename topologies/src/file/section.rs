//! A table of a TOML file that remembers which keys were asked for.
//!
//! The keys a reader asks for *are* the known keys: [`Section::finish`] refuses every other one and
//! proposes the nearest of those.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::machine::MachineError;
use crate::suggest::nearest;
use crate::units::{Bandwidth, UnitError};

/// A parsed file.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(text: &'a str, file: &'a str) -> Result<Self, MachineError> {
        let table = DeTable::parse(text).map_err(|error| MachineError::Syntax {
            file: file.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().replace('\n', ", "),
        })?;
        if table.get_ref().is_empty() {
            return Err(MachineError::Empty {
                file: file.to_owned(),
            });
        }
        Ok(Self { file, text, table })
    }

    pub(super) fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: String::new(),
            start: 0,
            table: self.table.get_ref(),
            asked: RefCell::default(),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

/// One table of the file.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    path: String,
    start: usize,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The key with its section, as errors say it.
    fn full(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", _) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, _) => format!("{path}.{key}"),
        }
    }

    fn entry(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut entries = self.table.iter();
        entries.find_map(|(name, value)| (name.get_ref().as_ref() == key).then_some(value))
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.entry(key)
    }

    /// An error about `key`, at its line, or at the section's where the key is absent.
    pub(super) fn fault(
        &self,
        key: &str,
        fault: impl Display,
        remedy: impl Display,
    ) -> MachineError {
        let at = self
            .entry(key)
            .map_or(self.start, |value| value.span().start);
        MachineError::Key {
            file: self.document.file.to_owned(),
            line: line_of(self.document.text, at),
            key: self.full(key),
            fault: fault.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// File and line where the section starts.
    pub(super) fn place(&self) -> String {
        let line = line_of(self.document.text, self.start);
        format!("{}, line {line}", self.document.file)
    }

    pub(super) fn missing(&self, key: &'static str, remedy: impl Display) -> MachineError {
        self.fault(key, "is missing", remedy)
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Option<String>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                Err(self.fault(key, "is empty", "write something, or remove the key"))
            }
            DeValue::String(text) => Ok(Some(text.to_string())),
            _ => Err(self.fault(key, "is not text", "put it in quotes")),
        }
    }

    pub(super) fn required_text(&self, key: &'static str) -> Result<String, MachineError> {
        let text = self.text(key)?;
        text.ok_or_else(|| self.missing(key, format!("add {key} = \"...\"")))
    }

    pub(super) fn texts(&self, key: &'static str) -> Result<Vec<String>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let fault = || self.fault(key, "is not a list of names", "write [\"one\", \"two\"]");
        let items = value.get_ref().as_array().ok_or_else(fault)?;
        let texts = items.iter().map(|item| item.get_ref().as_str());
        texts
            .map(|text| text.map(str::to_owned).ok_or_else(fault))
            .collect()
    }

    /// One text, or a list of texts; empty where the key is absent.
    pub(super) fn text_or_texts(&self, key: &'static str) -> Result<Vec<String>, MachineError> {
        match self.entry(key).map(|value| value.get_ref().is_array()) {
            Some(true) => self.texts(key),
            _ => Ok(self.text(key)?.into_iter().collect()),
        }
    }

    /// A word of an enum.
    pub(super) fn word<T: FromStr<Err: Display>>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, MachineError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let word = text.parse().map(Some);
        word.map_err(|known| self.fault(key, format!("= \"{text}\" {known}"), "use one of these"))
    }

    /// A quantity with its unit.
    pub(super) fn quantity<T: FromStr<Err = UnitError>>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let parsed = match value.get_ref() {
            DeValue::String(text) => text.parse::<T>(),
            DeValue::Integer(number) => number.as_str().parse::<T>(),
            DeValue::Float(number) => number.as_str().parse::<T>(),
            _ => {
                return Err(self.fault(
                    key,
                    "is not a quantity",
                    "write a number and a unit in quotes",
                ));
            }
        };
        let remedy = "write number and unit in quotes";
        parsed
            .map(Some)
            .map_err(|error| self.fault(key, format!("cannot be read, {error}"), remedy))
    }

    /// A bandwidth above zero.
    pub(super) fn bandwidth(&self, key: &'static str) -> Result<Option<Bandwidth>, MachineError> {
        match self.quantity(key)? {
            Some(Bandwidth::ZERO) => {
                let remedy = "give a bandwidth above zero, or remove the section";
                Err(self.fault(key, "is zero, so nothing could ever arrive", remedy))
            }
            bandwidth => Ok(bandwidth),
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&self, key: &'static str) -> Result<Option<u32>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.get_ref().as_integer();
        let number =
            number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        match number {
            Some(count @ 1..) => Ok(Some(count)),
            _ => Err(self.fault(
                key,
                "is not a count",
                "write a whole number from 1, without quotes",
            )),
        }
    }

    pub(super) fn required_count(&self, key: &'static str) -> Result<u32, MachineError> {
        let count = self.count(key)?;
        count.ok_or_else(|| self.missing(key, format!("add {key} = 1 or another whole number")))
    }

    /// A number above 0 and at most `most`, without dimension.
    pub(super) fn ratio(&self, key: &'static str, most: f64) -> Result<Option<f64>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number: Option<f64> = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(ratio) if ratio > 0.0 && ratio <= most => Ok(Some(ratio)),
            _ => {
                let remedy = format!("write a number above 0 and at most {most}, without quotes");
                Err(self.fault(key, "is out of range", remedy))
            }
        }
    }

    fn child(
        &self,
        key: &str,
        number: Option<usize>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Option<Self> {
        let path = match number {
            Some(number) => format!("{}[{number}]", self.full(key)),
            None => self.full(key),
        };
        Some(Self {
            document: self.document,
            path,
            start: value.span().start,
            table: value.get_ref().as_table()?,
            asked: RefCell::default(),
        })
    }

    pub(super) fn table(&self, key: &'static str) -> Result<Option<Self>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let child = self.child(key, None, value);
        let remedy = format!("write [{}]", self.full(key));
        child
            .map(Some)
            .ok_or_else(|| self.fault(key, "is not a section", remedy))
    }

    pub(super) fn required_table(&self, key: &'static str) -> Result<Self, MachineError> {
        let table = self.table(key)?;
        table.ok_or_else(|| self.missing(key, format!("add a [{}] section", self.full(key))))
    }

    /// All sections `[[key]]`, in order; errors number them from 1.
    pub(super) fn tables(&self, key: &'static str) -> Result<Vec<Self>, MachineError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let fault = || {
            let remedy = format!("write [[{}]] once per entry", self.full(key));
            self.fault(key, "is not a list of sections", remedy)
        };
        let items = value
            .get_ref()
            .as_array()
            .ok_or_else(fault)?
            .iter()
            .enumerate();
        items
            .map(|(index, item)| self.child(key, Some(index + 1), item).ok_or_else(fault))
            .collect()
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn finish(&self) -> Result<(), MachineError> {
        let asked = self.asked.borrow();
        let mut names = self.table.keys().map(|name| name.get_ref().as_ref());
        let Some(unknown) = names.find(|name| !asked.contains(name)) else {
            return Ok(());
        };
        let remedy = match nearest(unknown, asked.iter().copied()) {
            Some(known) => format!("did you mean {known}? Keys here: {}", asked.join(", ")),
            None => "remove it".to_owned(),
        };
        Err(self.fault(unknown, "is not a known key", remedy))
    }
}
