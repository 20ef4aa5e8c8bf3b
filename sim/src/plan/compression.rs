//! What K and V messages are sent as: raw, one compressor everywhere, or one for each layer and phase.
//!
//! ```text
//! mixed(1bit=0-5,7;2bit=6|@10:2bit=0-7)      phases start at steps 0 and 10; layers not named go raw
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use kernels::Compressor;
use thiserror::Error;

/// What K and V messages are sent as after warm-up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Uncompressed.
    #[default]
    Raw,
    /// One compressor for every layer and step.
    Uniform(Compressor),
    /// A compressor for each layer and phase of the steps.
    Mixed(Assignment),
}

/// A compressor for each layer and phase of the steps; `None` sends raw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment {
    /// In the order of steps; at least one, the first starts at step 0.
    phases: Vec<Phase>,
}

/// Consecutive steps with the same compressors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phase {
    /// Its first step.
    pub start: u32,
    /// The compressor of each layer, in execution order.
    pub layers: Vec<Option<Compressor>>,
}

/// A compression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// An unknown compressor.
    #[error(transparent)]
    Compressor(#[from] kernels::UnknownCompressor),
    /// A part that is not `compressor=layers`.
    #[error(
        "\"{part}\" is not a part of a mixed compression: write for instance \
         mixed(1bit=0-5,7;2bit=6) or mixed(1bit=0-7|@10:2bit=0-7), layers and steps from 0"
    )]
    Part {
        /// What was written.
        part: String,
    },
    /// A layer with two compressors.
    #[error("layer {layer} has two compressors in one phase: give it one")]
    Twice {
        /// The layer.
        layer: usize,
    },
    /// Phases out of order.
    #[error("phases start at step 0 and then later and later, and have equally many layers")]
    Phases,
}

/// More layers than any model has: a list is a list, not memory.
const MOST_LAYERS: usize = 4096;

impl Assignment {
    /// An assignment of these phases; phases equal to the one before are joined to it.
    ///
    /// # Errors
    /// [`CompressionError::Phases`] when the first does not start at step 0, starts do not rise, or the
    /// phases have different numbers of layers.
    pub fn new(phases: Vec<Phase>) -> Result<Self, CompressionError> {
        let starts_well = phases.first().is_some_and(|phase| phase.start == 0);
        let rises = phases.windows(2).all(|pair| {
            pair[0].start < pair[1].start && pair[0].layers.len() == pair[1].layers.len()
        });
        if !(starts_well && rises) {
            return Err(CompressionError::Phases);
        }
        let mut joined: Vec<Phase> = Vec::new();
        for phase in phases {
            if joined.last().is_none_or(|last| last.layers != phase.layers) {
                joined.push(phase);
            }
        }
        Ok(Self { phases: joined })
    }

    /// Its phases, in the order of steps.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The phase that a step belongs to, as an index.
    #[must_use]
    pub fn phase_of(&self, step: u32) -> usize {
        self.phases.partition_point(|phase| phase.start <= step) - 1
    }

    /// How many layers it names.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.phases[0].layers.len()
    }
}

impl Compression {
    /// The compressor of a layer at a step after warm-up; layers an assignment does not name go raw.
    #[must_use]
    pub fn at(&self, step: u32, layer: usize) -> Option<Compressor> {
        match self {
            Self::Raw => None,
            Self::Uniform(compressor) => Some(*compressor),
            Self::Mixed(assignment) => {
                let phase = &assignment.phases[assignment.phase_of(step)];
                phase.layers.get(layer).copied().flatten()
            }
        }
    }

    /// The one compressor of a uniform compression.
    #[must_use]
    pub const fn uniform(&self) -> Option<Compressor> {
        match self {
            Self::Uniform(compressor) => Some(*compressor),
            Self::Raw | Self::Mixed(_) => None,
        }
    }

    /// Whether nothing is compressed.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        matches!(self, Self::Raw)
    }

    /// First steps of the phases, ascending; the first is 0.
    #[must_use]
    pub fn phase_starts(&self) -> Vec<u32> {
        match self {
            Self::Raw | Self::Uniform(_) => vec![0],
            Self::Mixed(assignment) => assignment.phases.iter().map(|phase| phase.start).collect(),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::Uniform(compressor) => compressor.fmt(f),
            Self::Mixed(assignment) => {
                let phases: Vec<String> = assignment.phases.iter().map(Phase::to_string).collect();
                write!(f, "mixed({})", phases.join("|"))
            }
        }
    }
}

/// Every layer is named, raw ones too, so that the number of layers reads back.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start > 0 {
            write!(f, "@{}:", self.start)?;
        }
        let mut layers: BTreeMap<Option<Compressor>, Vec<usize>> = BTreeMap::new();
        for (layer, compressor) in self.layers.iter().enumerate() {
            layers.entry(*compressor).or_default().push(layer);
        }
        let part = |(compressor, layers): (&Option<Compressor>, &Vec<usize>)| {
            let name = compressor.map_or_else(|| "raw".to_owned(), |known| known.to_string());
            format!("{name}={}", ranges(layers))
        };
        let parts: Vec<String> = layers.iter().map(part).collect();
        f.write_str(&parts.join(";"))
    }
}

/// `0-5,7` for ascending numbers.
fn ranges(numbers: &[usize]) -> String {
    let mut text = Vec::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        text.push(match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => unreachable!("chunks have elements"),
        });
    }
    text.join(",")
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "raw" {
            return Ok(Self::Raw);
        }
        let Some(mixed) = text
            .strip_prefix("mixed(")
            .and_then(|rest| rest.strip_suffix(')'))
        else {
            return Ok(Self::Uniform(text.parse()?));
        };
        let mut phases = mixed
            .split('|')
            .map(read_phase)
            .collect::<Result<Vec<_>, _>>()?;
        let layers = phases
            .iter()
            .map(|phase| phase.layers.len())
            .max()
            .unwrap_or(0);
        for phase in &mut phases {
            phase.layers.resize(layers, None);
        }
        Ok(Self::Mixed(Assignment::new(phases)?))
    }
}

fn read_phase(text: &str) -> Result<Phase, CompressionError> {
    let wrong = |part: &str| CompressionError::Part {
        part: part.to_owned(),
    };
    let (start, parts) = match text.strip_prefix('@') {
        None => (0, text),
        Some(rest) => {
            let (start, parts) = rest.split_once(':').ok_or_else(|| wrong(text))?;
            (start.parse().map_err(|_| wrong(text))?, parts)
        }
    };
    let mut layers: BTreeMap<usize, Option<Compressor>> = BTreeMap::new();
    for part in parts.split(';') {
        let (name, list) = part.split_once('=').ok_or_else(|| wrong(part))?;
        let compressor = if name == "raw" {
            None
        } else {
            Some(name.parse()?)
        };
        for range in list.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |digits: &str| {
                let number = digits.parse().ok();
                number
                    .filter(|&number: &usize| number < MOST_LAYERS)
                    .ok_or_else(|| wrong(part))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong(part));
            }
            for layer in first..=last {
                if layers.insert(layer, compressor).is_some() {
                    return Err(CompressionError::Twice { layer });
                }
            }
        }
    }
    let count = layers.last_key_value().map_or(0, |(last, _)| last + 1);
    let layers = (0..count)
        .map(|layer| layers.get(&layer).copied().flatten())
        .collect();
    Ok(Phase { start, layers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_reads_back_what_it_writes() {
        for line in [
            "raw",
            "1bit",
            "lowrank-int4(32)",
            "mixed(1bit=0-5,7;2bit=6)",
            "mixed(raw=1;1bit=0,2-3|@10:2bit=0-3|@20:raw=0-3)",
        ] {
            assert_eq!(line.parse::<Compression>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn a_layer_has_the_compressor_of_its_phase() {
        let mixed: Compression = "mixed(1bit=0;2bit=1|@10:2bit=0-1)".parse().unwrap();
        assert_eq!(mixed.at(9, 0), Some(Compressor::OneBit));
        assert_eq!(mixed.at(10, 0), Some(Compressor::TwoBit));
        assert_eq!(mixed.at(10, 2), None, "a layer it does not name");
        assert_eq!(mixed.phase_starts(), [0, 10]);
    }

    #[test]
    fn equal_phases_are_one() {
        let mixed: Compression = "mixed(1bit=0-1|@10:1bit=0-1)".parse().unwrap();
        assert_eq!(mixed.to_string(), "mixed(1bit=0-1)");
    }

    #[test]
    fn a_wrong_mixture_says_what_is_wrong() {
        for (line, said) in [
            ("mixed(3bit=0)", "3bit"),
            ("mixed(1bit)", "mixed(1bit=0-5,7;2bit=6)"),
            ("mixed(1bit=0-9999999)", "is not a part"),
            ("mixed(1bit=7-3)", "is not a part"),
            ("mixed(1bit=0;2bit=0)", "two compressors"),
            ("mixed(@5:1bit=0)", "start at step 0"),
            ("mixed(1bit=0|@0:2bit=0)", "later and later"),
        ] {
            let error = line.parse::<Compression>().unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
