//! What a figure of a model file may be: far above every published model, and low enough that no count of work leaves
//! 64 bits at the largest request.

use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error};

/// Parameters of the largest transformer, in round figures.
pub(super) const MOST_PARAMETERS: u64 = 300_000_000_000;

/// Readers of whole numbers, each within its range.
macro_rules! whole {
    ($($name:ident: $type:ty = $range:expr;)*) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            within(i64::deserialize(from)?, $range)
        }
    )*};
}

whole! {
    blocks: usize = 1..=256;
    any_blocks: usize = 0..=256;
    heads: u64 = 1..=512;
    head_dim: u64 = 1..=1024;
    width: u64 = 1..=32_768;
    inner: u64 = 1..=262_144;
    channels: u64 = 1..=4096;
    any_channels: u64 = 0..=4096;
    channels_32: u32 = 1..=4096;
    patch: u32 = 1..=8;
    cell: u32 = 1..=64;
    cell_64: u64 = 1..=64;
    few: u32 = 0..=64;
    experts: u64 = 1..=1024;
    rate: u64 = 1..=100;
    any_tokens: u64 = 0..=65_536;
    parameters: u64 = 0..=1_000_000_000_000;
    pixel_flops: u64 = 0..=1_000_000_000;
    element_bytes: u64 = 1..=8;
    frames: u64 = 1..=65_536;
    side: u64 = 1..=65_536;
    stages: u64 = 0..=256;
    count: u32 = 1..=65_536;
    any_count: u32 = 0..=65_536;
}

/// `value` as a count, if it is within `range`.
fn within<T: TryFrom<u64>, E: Error>(value: i64, range: RangeInclusive<u64>) -> Result<T, E> {
    let count = u64::try_from(value)
        .ok()
        .filter(|count| range.contains(count));
    count
        .and_then(|count| T::try_from(count).ok())
        .ok_or_else(|| {
            let (from, to) = range.into_inner();
            E::custom(format!("{value} is no whole number from {from} to {to}"))
        })
}

/// A width that may be absent.
pub(super) fn some_width<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    width(from).map(Some)
}

/// A list of widths, at least one and at most 64.
pub(super) fn widths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    let list = Vec::<i64>::deserialize(from)?;
    if !(1..=64).contains(&list.len()) {
        return Err(D::Error::custom(format!(
            "a list of 1 to 64 widths is meant, not of {}",
            list.len()
        )));
    }
    list.into_iter()
        .map(|value| within(value, 1..=65_536))
        .collect()
}

/// A number from 0 to a million.
pub(super) fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if (0.0..=1e6).contains(&value) {
        return Ok(value);
    }
    Err(D::Error::custom(format!(
        "{value} is no number from 0 to 1000000"
    )))
}

/// An amount that may be absent.
pub(super) fn some_amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    amount(from).map(Some)
}

/// A number from 0 to 1.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(D::Error::custom(format!(
        "{value} is no number from 0 to 1"
    )))
}

/// A factor from a tenth to ten.
pub(super) fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(from)?;
    if (0.1..=10.0).contains(&value) {
        return Ok(value);
    }
    Err(D::Error::custom(format!(
        "{value} is no factor from 0.1 to 10"
    )))
}

/// A line of text that a terminal can show.
pub(super) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let (empty, long) = (text.trim().is_empty(), text.chars().count() > 400);
    if empty || long || text.chars().any(char::is_control) {
        return Err(D::Error::custom(
            "a line of 1 to 400 printable characters is meant",
        ));
    }
    Ok(text)
}

/// A model's name: a short line.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = line(from)?;
    if text.chars().count() > 64 || text.trim() != text {
        return Err(D::Error::custom(
            "a name has at most 64 characters, and none is a space at its ends",
        ));
    }
    Ok(text)
}

/// Other names.
pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(from)?;
    let plain = |text: &String| {
        (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    if list.len() > 64 || !list.iter().all(plain) {
        return Err(D::Error::custom(
            "at most 64 names of 1 to 64 characters are meant",
        ));
    }
    Ok(list)
}

/// A word that stands in a command: nothing that a shell reads.
pub(super) fn word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = line(from)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if !text.chars().all(plain) || text.starts_with('-') {
        return Err(D::Error::custom(
            "stands in a command: only letters, digits, '.', '_', '/' and '-' are taken",
        ));
    }
    Ok(text)
}

/// A word that may be absent.
pub(super) fn some_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    word(from).map(Some)
}

/// A line that may be absent.
pub(super) fn some_line<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    line(from).map(Some)
}
