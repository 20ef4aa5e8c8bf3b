//! Plans that may not be chosen, and why none is left.

use std::fmt;

use sim::legality::Illegal;
use sim::quality::QualityError;
use thiserror::Error;
use topologies::{Bytes, Faults};

use crate::assign;

/// Plans that may not be chosen, one for all that share the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub which: Which,
    /// Why.
    pub why: Unfit,
}

/// Which plans may not be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of a line: a plan's, or a strategy's.
    Line(String),
    /// As many more, with the reason of those before.
    More(usize),
}

/// Why a plan may not be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// It is not legal.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The trace says nothing about it.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// Its fullest GPU has no room for it.
    #[error("out of memory: needs {needs} of {has}")]
    Memory {
        /// What the GPU would hold.
        needs: Bytes,
        /// What it has.
        has: Bytes,
    },
    /// As [`Memory`](Self::Memory), for plans that are counted only.
    #[error("out of memory")]
    MemoryToo,
}

/// Why no plan is left, and what would help.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NoPlan {
    /// The strategy that was asked for is not legal.
    #[error("{line}: {why}")]
    Wanted {
        /// Its line.
        line: String,
        /// Why not.
        why: Illegal,
    },
    /// No plan is legal and fits.
    #[error("{}: {}{}; take more GPUs, a larger one, or a looser filter", .first.which, .first.why, too(*.more))]
    Rejected {
        /// The first that does not fit, or the last that is not legal.
        first: Box<Rejected>,
        /// How many more do not fit.
        more: usize,
    },
    /// The filter lets none pass.
    #[error(
        "no legal plan passes the filter (strategy, exactness, FID, budget, engine): loosen one of them"
    )]
    Filtered,
    /// None is left with a fault.
    #[error("with {faults}: {why}; or leave this fault out")]
    Faulty {
        /// The fault.
        faults: Faults,
        /// Why not.
        why: Box<NoPlan>,
    },
    /// The quality model's energies cannot be assigned by.
    #[error("the quality model gives no sound energies: {0}")]
    Energies(assign::Fault),
    /// The costs from the simulation cannot be assigned by.
    #[error("simulated costs make no sound instance: {0}")]
    Costs(assign::Fault),
}

/// How many more plans share the reason.
fn too(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => ", and 1 more plan does not fit".to_owned(),
        more => format!(", and {more} more plans do not fit"),
    }
}

impl Rejected {
    pub(super) fn new(line: String, why: impl Into<Unfit>) -> Self {
        Self {
            which: Which::Line(line),
            why: why.into(),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.write_str(line),
            Self::More(count) => write!(f, "{count} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_words_of_its_own() {
        let unfit = [
            Unfit::Illegal(Illegal::EmptyGrid),
            Unfit::Quality(QualityError::NoConfidence),
            Unfit::Memory {
                needs: Bytes::new(2),
                has: Bytes::new(1),
            },
            Unfit::MemoryToo,
        ];
        let fault = || assign::Fault::Empty { class: 1 };
        let no_plan = [
            NoPlan::Wanted {
                line: "ring3".to_owned(),
                why: Illegal::EmptyGrid,
            },
            NoPlan::Rejected {
                first: Box::new(Rejected {
                    which: Which::Line("ring4".to_owned()),
                    why: Unfit::Memory {
                        needs: Bytes::new(2_000_000_000),
                        has: Bytes::new(1_000_000_000),
                    },
                }),
                more: 3,
            },
            NoPlan::Filtered,
            NoPlan::Faulty {
                faults: Faults::default(),
                why: Box::new(NoPlan::Filtered),
            },
            NoPlan::Energies(fault()),
            NoPlan::Costs(fault()),
        ];
        let said = unfit.iter().map(ToString::to_string);
        let said: Vec<String> = said
            .chain(no_plan.iter().map(ToString::to_string))
            .collect();
        assert!(said.iter().all(|words| !words.is_empty()));
        assert_eq!(BTreeSet::from_iter(&said).len(), 10, "{said:?}");
        assert_eq!(
            said[5],
            "ring4: out of memory: needs 2 GB of 1 GB, and 3 more plans do not fit; take more GPUs, a larger one, or a looser filter"
        );
    }
}
