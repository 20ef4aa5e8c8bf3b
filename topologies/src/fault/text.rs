//! Faults as they are written: read, and written again.

use std::fmt;
use std::str::FromStr;

use super::{Fault, FaultError, Faults, Percent};
use crate::ids::DeviceId;

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(gpu, left) => write!(f, "{gpu}={left}"),
            Self::Lost(gpu) => write!(f, "{gpu}=lost"),
            Self::GpuLinks(gpu, left) => write!(f, "{gpu}-link={left}"),
            Self::Link(name, left) => write!(f, "link:{name}={left}"),
            Self::LinkLost(name) => write!(f, "link:{name}=lost"),
            Self::Node(node, left) => write!(f, "node{node}={left}"),
            Self::NodeLost(node) => write!(f, "node{node}=lost"),
            Self::NodeLinks(node, left) => write!(f, "node{node}-link={left}"),
            Self::Throttle(left) => write!(f, "throttle={left}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(typed: &str) -> Result<Self, FaultError> {
        let text = typed.trim();
        let form = || FaultError::Form {
            text: text.to_owned(),
        };
        let (what, left) = text.rsplit_once('=').ok_or_else(form)?;
        let numbered = |name: &str, kind: &str| {
            let number = name.strip_prefix(kind)?;
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u32> = number.parse().ok().filter(|_| digits);
            number.map(|number| number as usize)
        };
        let gpu = |name: &str| numbered(name, "gpu").map(DeviceId::new).ok_or_else(form);
        if left == "lost" {
            return Ok(match (what.strip_prefix("link:"), numbered(what, "node")) {
                (Some(name), _) => Self::LinkLost(name.to_owned()),
                (None, Some(node)) => Self::NodeLost(node),
                (None, None) => Self::Lost(gpu(what)?),
            });
        }
        let number = left.strip_suffix('%').and_then(|left| left.parse().ok());
        let percent = || {
            number
                .and_then(Percent::new)
                .ok_or_else(|| FaultError::Percent {
                    text: text.to_owned(),
                    share: left.to_owned(),
                })
        };
        if what == "throttle" {
            return Ok(Self::Throttle(percent()?));
        }
        if let Some(name) = what.strip_prefix("link:") {
            return Ok(Self::Link(name.to_owned(), percent()?));
        }
        if let Some(node) = numbered(what.strip_suffix("-link").unwrap_or(what), "node") {
            return Ok(match what.ends_with("-link") {
                true => Self::NodeLinks(node, percent()?),
                false => Self::Node(node, percent()?),
            });
        }
        match what.strip_suffix("-link") {
            Some(name) => Ok(Self::GpuLinks(gpu(name)?, percent()?)),
            None => Ok(Self::Slow(gpu(what)?, percent()?)),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let all: Result<Vec<Fault>, FaultError> = text.split(',').map(str::parse).collect();
        let all = Self(all?);
        for (index, fault) in all.0.iter().enumerate() {
            if all.0[..index].iter().any(|other| other.concerns(fault)) {
                return Err(FaultError::Twice {
                    faults: all.to_string(),
                    fault: fault.to_string(),
                });
            }
        }
        Ok(all)
    }
}

impl Fault {
    /// Whether both say how much is left of the same thing.
    fn concerns(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Slow(a, _) | Self::Lost(a), Self::Slow(b, _) | Self::Lost(b))
            | (Self::GpuLinks(a, _), Self::GpuLinks(b, _)) => a == b,
            (Self::Link(a, _) | Self::LinkLost(a), Self::Link(b, _) | Self::LinkLost(b)) => a == b,
            (Self::Node(a, _) | Self::NodeLost(a), Self::Node(b, _) | Self::NodeLost(b))
            | (Self::NodeLinks(a, _), Self::NodeLinks(b, _)) => a == b,
            (Self::Throttle(_), Self::Throttle(_)) => true,
            _ => false,
        }
    }
}
