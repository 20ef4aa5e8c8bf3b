//! What a sweep can vary: a number of the question, by name.

use std::fmt;
use std::str::FromStr;

use sim::model::Resolution;
use thiserror::Error;
use topologies::topology::TopologyError;
use topologies::{Bandwidth, LinkKind, Machine, SimDuration};

use crate::search::{Budget, Question};

/// A number of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// GPUs that may be used.
    Gpus,
    /// Width x height in pixels.
    Size,
    /// Frames of a video.
    Frames,
    /// Denoising steps.
    Steps,
    /// Images or videos made together.
    Batch,
    /// Text tokens.
    TextTokens,
    /// Bandwidth of links, one way; all kinds of links or one.
    Bandwidth(Option<LinkKind>),
    /// Latency of links; all kinds of links or one.
    Latency(Option<LinkKind>),
    /// Factor on the GPUs' arithmetic.
    Compute,
    /// Factor on the GPUs' memory bandwidth.
    Memory,
    /// What a GPU costs an hour: changes what an image or video costs, and no plan.
    Price,
    /// Output quality that must be kept: PSNR in dB.
    Psnr,
}

/// Names and fields.
const NAMES: &[(&str, Field)] = &[
    ("gpus", Field::Gpus),
    ("size", Field::Size),
    ("frames", Field::Frames),
    ("steps", Field::Steps),
    ("batch", Field::Batch),
    ("text-tokens", Field::TextTokens),
    ("link.bandwidth", Field::Bandwidth(None)),
    ("pcie.bandwidth", Field::Bandwidth(Some(LinkKind::Pcie))),
    ("socket.bandwidth", Field::Bandwidth(Some(LinkKind::Socket))),
    ("nvlink.bandwidth", Field::Bandwidth(Some(LinkKind::Nvlink))),
    (
        "network.bandwidth",
        Field::Bandwidth(Some(LinkKind::Network)),
    ),
    ("link.latency", Field::Latency(None)),
    ("pcie.latency", Field::Latency(Some(LinkKind::Pcie))),
    ("socket.latency", Field::Latency(Some(LinkKind::Socket))),
    ("nvlink.latency", Field::Latency(Some(LinkKind::Nvlink))),
    ("network.latency", Field::Latency(Some(LinkKind::Network))),
    ("gpu.compute", Field::Compute),
    ("gpu.memory-bandwidth", Field::Memory),
    ("gpu.price", Field::Price),
    ("psnr", Field::Psnr),
];

/// Why a field or a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// No field has this name.
    #[error("unknown field \"{name}\": the fields are {known}")]
    Unknown {
        /// What was typed.
        name: String,
        /// All names.
        known: String,
    },
    /// The value is none of this field's.
    #[error("{field}: {fault}")]
    Value {
        /// The field.
        field: Field,
        /// What was typed, what is wrong with it, and what to do.
        fault: String,
    },
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES
            .iter()
            .find(|(_, field)| field == self)
            .expect("every field that can be parsed has a name");
        f.write_str(name)
    }
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, field)| *field)
            .ok_or_else(|| FieldError::Unknown {
                name: text.to_owned(),
                known: NAMES
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// A value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Count(u32),
    /// A number without unit, or in dB.
    Number(f64),
    /// Width and height.
    Size(Resolution),
    /// A rate.
    Rate(Bandwidth),
    /// A time.
    Time(SimDuration),
    /// US dollars an hour.
    Price(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Size(size) => write!(f, "{}x{}", size.width, size.height),
            Self::Rate(rate) => write!(f, "{rate}"),
            Self::Time(time) => write!(f, "{time}"),
            Self::Price(price) => write!(f, "{price}/h"),
        }
    }
}

impl Value {
    /// The number that axes show: counts, megapixels, GB/s, microseconds, dollars an hour.
    #[must_use]
    pub fn number(self) -> f64 {
        match self {
            Self::Count(count) => f64::from(count),
            Self::Number(number) | Self::Price(number) => number,
            Self::Size(size) => f64::from(size.width) * f64::from(size.height) / 1e6,
            Self::Rate(rate) => rate.get() as f64 / 1e9,
            Self::Time(time) => time.as_us_f64(),
        }
    }
}

impl Field {
    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The unit of [`Value::number`].
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Size => "megapixels",
            Self::Bandwidth(_) => "GB/s",
            Self::Latency(_) => "us",
            Self::Psnr => "dB",
            Self::Price => "dollars/h",
            Self::Compute | Self::Memory => "times",
            Self::Gpus | Self::Frames | Self::Steps | Self::Batch | Self::TextTokens => "",
        }
    }

    /// A value as it is typed.
    ///
    /// # Errors
    /// [`FieldError::Value`].
    pub fn value(self, text: &str) -> Result<Value, FieldError> {
        let text = text.trim();
        let fault = |fault: String| FieldError::Value { field: self, fault };
        let is_not = |what: &str| fault(format!("\"{text}\" is not {what}"));
        match self {
            Self::Gpus | Self::Frames | Self::Steps | Self::Batch | Self::TextTokens => text
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .map(Value::Count)
                .ok_or_else(|| is_not("a count: give a whole number above 0")),
            Self::Size => text
                .parse()
                .map(Value::Size)
                .map_err(|error| fault(format!("{error}"))),
            Self::Bandwidth(_) => text
                .parse()
                .map(Value::Rate)
                .map_err(|error: topologies::UnitError| fault(error.to_string())),
            Self::Latency(_) => text
                .parse()
                .map(Value::Time)
                .map_err(|error: topologies::UnitError| fault(error.to_string())),
            Self::Compute | Self::Memory | Self::Psnr => moderate(text)
                .map(Value::Number)
                .ok_or_else(|| is_not("a number from 1e-9 to 1e9")),
            Self::Price => text
                .strip_suffix("/h")
                .and_then(moderate)
                .map(Value::Price)
                .ok_or_else(|| is_not("dollars an hour: write 2.5/h")),
        }
    }

    /// The value between two others, at a share from 0 to 1 of the way, in ratios where `log`.
    ///
    /// # Errors
    /// [`FieldError::Value`] for sizes, which have no order.
    pub fn between(
        self,
        from: Value,
        to: Value,
        share: f64,
        log: bool,
    ) -> Result<Value, FieldError> {
        let mix = |a: f64, b: f64| {
            if log {
                (a.ln() + share * (b.ln() - a.ln())).exp()
            } else {
                a + share * (b - a)
            }
        };
        Ok(match (from, to) {
            (Value::Count(a), Value::Count(b)) => {
                Value::Count(mix(f64::from(a), f64::from(b)).round() as u32)
            }
            (Value::Number(a), Value::Number(b)) => Value::Number(round(mix(a, b))),
            (Value::Price(a), Value::Price(b)) => Value::Price(round(mix(a, b))),
            (Value::Rate(a), Value::Rate(b)) => Value::Rate(Bandwidth::new(round(mix(
                a.get() as f64,
                b.get() as f64,
            )) as u64)),
            (Value::Time(a), Value::Time(b)) => Value::Time(SimDuration::from_us_f64(round(mix(
                a.as_us_f64(),
                b.as_us_f64(),
            )))),
            _ => {
                return Err(FieldError::Value {
                    field: self,
                    fault: format!(
                        "{from}..{to} is a range of sizes: list them, as in 1024x1024,2048x2048"
                    ),
                });
            }
        })
    }

    /// Whether one who asks may choose it; what is not chosen is given, or another request.
    #[must_use]
    pub const fn is_choice(self) -> bool {
        matches!(self, Self::Gpus | Self::Batch | Self::Psnr)
    }

    /// The question with this field at `value`.
    ///
    /// # Errors
    /// A sentence about what the machine or the model cannot do.
    pub fn set(self, question: &mut Question, value: Value) -> Result<(), String> {
        match (self, value) {
            (Self::Gpus, Value::Count(gpus)) => {
                let has = question.machine.gpus.len();
                if gpus as usize > has {
                    return Err(format!(
                        "{} has {has} GPUs, not {gpus}",
                        question.machine.name
                    ));
                }
                question.gpus = gpus;
            }
            (Self::Size, Value::Size(size)) => question.request.resolution = size,
            (Self::Frames, Value::Count(frames)) => question.request.frames = frames,
            (Self::Steps, Value::Count(steps)) => question.request.steps = steps,
            (Self::Batch, Value::Count(batch)) => question.request.batch = batch,
            (Self::TextTokens, Value::Count(tokens)) => question.request.text_tokens = tokens,
            (Self::Bandwidth(kind), Value::Rate(rate)) => {
                self.links(question, kind, |machine| machine.with_bandwidth(kind, rate))?;
            }
            (Self::Latency(kind), Value::Time(time)) => {
                let fits = |of: LinkKind| kind.is_none_or(|kind| of == kind);
                let change =
                    |machine: Machine| machine.with_links(fits, |link| link.latency = time);
                self.links(question, kind, change)?;
            }
            (Self::Compute, Value::Number(factor)) => scale(question, factor, 1.0),
            (Self::Memory, Value::Number(factor)) => scale(question, 1.0, factor),
            (Self::Price, Value::Price(price)) => {
                for gpu in &mut question.machine.gpus {
                    gpu.price_per_hour = Some(price);
                }
            }
            (Self::Psnr, Value::Number(db)) => question.filter.budget = Some(Budget::Psnr(db)),
            _ => return Err(format!("{self} cannot be {value}")),
        }
        Ok(())
    }

    fn links(
        self,
        question: &mut Question,
        kind: Option<LinkKind>,
        change: impl Fn(Machine) -> Result<Machine, TopologyError>,
    ) -> Result<(), String> {
        let fits = |of: LinkKind| kind.is_none_or(|kind| of == kind);
        if !question.machine.links.iter().any(|link| fits(link.kind)) {
            return Err(format!(
                "{}: {} has no such links",
                self, question.machine.name
            ));
        }
        let machine = change(question.machine.clone());
        question.machine = machine.map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// A number above zero that is neither tiny nor huge.
fn moderate(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    (1e-9..=1e9).contains(&number).then_some(number)
}

/// Three significant digits, so that ranges have values one can type.
fn round(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 2.0);
    let rounded = (value / unit).round() * unit;
    // Away with what the multiplication left behind the digits.
    format!("{rounded:.12}").parse().unwrap_or(rounded)
}

fn scale(question: &mut Question, compute: f64, memory: f64) {
    for gpu in &mut question.machine.gpus {
        *gpu = gpu.scaled(compute, memory);
    }
}
