//! The values of a field that a sweep visits: `gpus=2,4,8`, `network.bandwidth=1GB/s..100GB/s:9:log`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::field::{Field, FieldError, Value};

/// Most values of an axis.
const MOST: usize = 100_000;

/// A field and the values it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The field.
    pub field: Field,
    /// Its values, in the order they were given.
    pub values: Vec<Value>,
}

/// Why an axis cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AxisError {
    /// Field or value.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Neither a list nor a range.
    #[error(
        "\"{text}\" {fault}: write FIELD=A,B,C or FIELD=FROM..TO:COUNT or FIELD=FROM..TO:COUNT:log"
    )]
    Form {
        /// What was typed.
        text: String,
        /// What is wrong.
        fault: String,
    },
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        let form = |fault: &str| AxisError::Form {
            text: text.to_owned(),
            fault: fault.to_owned(),
        };
        let (name, values) = text.split_once('=').ok_or_else(|| form("has no ="))?;
        let field: Field = name.trim().parse()?;
        let values: Vec<Value> = match values.split_once("..") {
            None => {
                let values = values.split(',').map(|value| field.value(value));
                let values: Vec<Value> = values.collect::<Result<_, _>>()?;
                if (1..values.len()).any(|at| values[..at].contains(&values[at])) {
                    return Err(form("has a value twice"));
                }
                values
            }
            Some((from, rest)) => {
                let mut parts = rest.split(':');
                let to = parts.next().unwrap_or_default();
                let count = parts.next().ok_or_else(|| form("does not say how many"))?;
                let count = count
                    .parse()
                    .ok()
                    .filter(|count| (2..=MOST).contains(count))
                    .ok_or_else(|| form("needs a count from 2 to 100000"))?;
                let log = match parts.next() {
                    None => false,
                    Some("log") => true,
                    Some(_) => return Err(form("may end in :log only")),
                };
                let (from, to) = (field.value(from)?, field.value(to)?);
                if log && (from.number() == 0.0 || to.number() == 0.0) {
                    return Err(form("has no ratio to 0: begin above it, or leave out :log"));
                }
                range(field, from, to, count, log)?
            }
        };
        Ok(Self { field, values })
    }
}

/// `count` values from one to another; counts that round to the same number stand once.
fn range(
    field: Field,
    from: Value,
    to: Value,
    count: usize,
    log: bool,
) -> Result<Vec<Value>, AxisError> {
    let mut values: Vec<Value> = (0..count)
        .map(|index| match index {
            0 => Ok(from),
            last if last + 1 == count => Ok(to),
            _ => field.between(from, to, index as f64 / (count - 1) as f64, log),
        })
        .collect::<Result<_, _>>()?;
    values.dedup();
    Ok(values)
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.field)?;
        for (index, value) in self.values.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(text: &str) -> Axis {
        text.parse().unwrap()
    }

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(axis("gpus=2,4,8").values.len(), 3);
        assert_eq!(axis("gpus=2..16:8").to_string(), "gpus=2,4,6,8,10,12,14,16");
        assert_eq!(axis("steps=1..3:100").values.len(), 3);
        let rates = axis("link.bandwidth=1GB/s..100GB/s:3:log");
        assert_eq!(rates.to_string(), "link.bandwidth=1 GB/s,10 GB/s,100 GB/s");
        assert_eq!(axis("size=1024x1024,2048x2048").values.len(), 2);
        assert_eq!(axis(&rates.to_string()), rates);
        let prices = axis("gpu.price=0.5/h..4/h:8");
        assert_eq!(
            prices.to_string(),
            "gpu.price=0.5/h,1/h,1.5/h,2/h,2.5/h,3/h,3.5/h,4/h"
        );
        assert_eq!(axis(&prices.to_string()), prices);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("gpus", "has no ="),
            ("gpu=2", "unknown field \"gpu\""),
            ("gpus=0", "above 0"),
            ("gpus=2..8", "how many"),
            ("gpus=2..8:1", "from 2 to 100000"),
            ("gpus=2..8:3:exp", ":log only"),
            ("link.bandwidth=5", "5"),
            ("size=512x512..1024x1024:3", "list them"),
            ("gpu.compute=-1", "1e-9 to 1e9"),
            ("gpu.price=1e300/h", "write 2.5/h"),
            ("gpus=1,1,2", "a value twice"),
            ("link.bandwidth=0GB/s..10GB/s:3:log", "begin above it"),
            ("link.bandwidth=1..10:3", "bandwidth: \"1\" has no unit"),
            ("gpu.price=2.5", "write 2.5/h"),
            ("gpu.price=0/h", "write 2.5/h"),
        ] {
            let message = text.parse::<Axis>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
