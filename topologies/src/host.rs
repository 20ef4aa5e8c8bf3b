//! Hosts: what one particular machine has been measured to do.
//!
//! Two hosts with equal GPUs and sockets differ by up to five times in all-to-all, so measured rates
//! belong to a host and never to a GPU model.
//!
//! Not modelled: how a rate depends on size (published runs between 2 and 300 MB show no dependence).

use std::fmt;
use std::str::FromStr;

use crate::units::{Bandwidth, SimDuration};

/// A pattern of communication among a group of ranks.
///
/// "size" below is the `size_bytes` of nccl-tests, *S*; *n* is the number of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CollectiveKind {
    /// Every rank ends with everyone's part; *S* is the gathered total, each rank sends S/n (n-1) times.
    AllGather,
    /// Every rank ends with its part of the sum; *S* is a rank's input.
    ReduceScatter,
    /// Every rank ends with the sum; *S* is a rank's buffer.
    AllReduce,
    /// Every rank sends a different S/n to each other; *S* is a rank's buffer.
    AllToAll,
    /// Every rank sends *S* to its successor and receives *S* from its predecessor: one hop of a ring.
    RingPass,
}

/// A word in a machine file that is none of the words known there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not one of {known}")]
pub struct UnknownWord {
    /// The known words, with commas.
    pub known: String,
}

/// Gives an enum its words: `Display`, `FromStr` and the list of all variants.
macro_rules! words {
    ($name:ident, [$(($variant:ident, $word:literal)),+ $(,)?]) => {
        impl $name {
            /// Every variant, in order.
            #[allow(dead_code, reason = "not every list of words is walked")]
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { known: [$($word),+].join(", ") }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(
    CollectiveKind,
    [
        (AllGather, "all-gather"),
        (ReduceScatter, "reduce-scatter"),
        (AllReduce, "all-reduce"),
        (AllToAll, "all-to-all"),
        (RingPass, "ring-pass"),
    ]
);

impl CollectiveKind {
    /// Bytes that cross the busiest rank's link, over `size_bytes`: the factor between
    /// `size / time` and nccl-tests' bus bandwidth.
    ///
    /// Source: NVIDIA/nccl-tests `doc/PERFORMANCE.md`.
    #[must_use]
    pub fn bus_factor(self, ranks: u32) -> f64 {
        let n = f64::from(ranks);
        match self {
            Self::AllGather | Self::ReduceScatter | Self::AllToAll => (n - 1.0) / n,
            Self::AllReduce => 2.0 * (n - 1.0) / n,
            Self::RingPass => 1.0,
        }
    }
}

/// Where the times of collectives that nobody timed on a host come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collectives {
    /// What hosts of this wiring usually do: measured tables on NVLink, rates of published PCIe hosts.
    #[default]
    Usual,
    /// The links of its file, shared max-min fairly.
    Links,
}

words!(Collectives, [(Usual, "usual"), (Links, "links")]);

/// A collective's rate on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectiveRate {
    /// The pattern.
    pub kind: CollectiveKind,
    /// Ranks in the group that communicates (not in the whole run).
    pub ranks: u32,
    /// Bus bandwidth as nccl-tests defines it; a single rank's one-way rate for a ring pass.
    pub bus_bandwidth: Bandwidth,
    /// Where it was measured.
    pub source: String,
}

/// Whether the model was compiled before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compilation {
    /// Operator by operator.
    Eager,
    /// `torch.compile`.
    Compiled,
}

words!(Compilation, [(Eager, "eager"), (Compiled, "compiled")]);

/// How a run did classifier-free guidance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guidance {
    /// One row per image in a forward pass.
    None,
    /// Both rows of an image in one forward pass.
    Batched,
    /// Two forward passes per step.
    Sequential,
    /// Three rows of an image in one forward pass.
    Triple,
}

words!(
    Guidance,
    [
        (None, "none"),
        (Batched, "batched"),
        (Sequential, "sequential"),
        (Triple, "triple")
    ]
);

/// What a measured run may be used for when a planner calibrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Calibrates {
    /// The speed of one GPU on this request.
    OneGpu,
    /// The launch speed of the host's CPU: a run so small that launches limit it.
    Launch,
    /// All-gather rate.
    AllGather,
    /// All-reduce rate.
    AllReduce,
    /// All-to-all rate.
    AllToAll,
    /// Ring-pass rate.
    RingPass,
}

words!(
    Calibrates,
    [
        (OneGpu, "one-gpu"),
        (Launch, "launch"),
        (AllGather, "all-gather"),
        (AllReduce, "all-reduce"),
        (AllToAll, "all-to-all"),
        (RingPass, "ring-pass"),
    ]
);

/// What a measured latency holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Covers {
    /// Everything: text encoding, denoising, decoding.
    #[default]
    All,
    /// The denoising steps alone.
    Steps,
}

words!(Covers, [(All, "all"), (Steps, "steps")]);

/// An end-to-end run that was measured on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredRun {
    /// Where it is written: file and line.
    pub place: String,
    /// What alone it may calibrate; none: whatever it says.
    pub calibrates: Option<Calibrates>,
    /// Model, as in the published tables.
    pub model: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames; 1 for an image.
    pub frames: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Images or videos made at once, guidance rows not counted.
    pub batch: u32,
    /// How guidance was done.
    pub guidance: Guidance,
    /// Text tokens, where the run had others than the model's usual number.
    pub text_tokens: Option<u32>,
    /// GPUs used.
    pub gpus: u32,
    /// Strategy, as in the published tables: `none`, `ring4`, `cfg2+pipefusion4`.
    pub strategy: String,
    /// Eager or compiled.
    pub compiled: Compilation,
    /// Who computed attention; none for whoever the engine takes.
    pub attention: Option<String>,
    /// Software that ran it.
    pub software: String,
    /// End-to-end latency.
    pub latency: SimDuration,
    /// What that holds.
    pub covers: Covers,
    /// Where it was published.
    pub source: String,
}

/// A host as published tables name it: what its rows have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedHost {
    /// Who published.
    pub owner: String,
    /// The GPU cell.
    pub gpu: String,
    /// The interconnect cell, up to the first `+`.
    pub interconnect: String,
}

impl fmt::Display for PublishedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.owner, self.gpu, self.interconnect)
    }
}

/// One particular machine in one project's hands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Name, for example `xdit-8xl40`.
    pub name: String,
    /// Software that its figures were measured with.
    pub software: Option<String>,
    /// Who measured, and where it is published.
    pub source: String,
    /// Time its CPU takes to launch, over that of xDiT's A100 host: 0.5 is twice as fast.
    pub launch_factor: Option<f64>,
    /// The system of the built-in NCCL tables that applies, for example `h100_sxm`.
    pub nccl_system: Option<String>,
    /// Where the times of other collectives come from.
    pub collectives: Collectives,
    /// Measured collective rates.
    pub rates: Vec<CollectiveRate>,
    /// Measured end-to-end runs.
    pub runs: Vec<MeasuredRun>,
    /// Hosts of the built-in published runs that this one is.
    pub published: Vec<PublishedHost>,
}

impl Host {
    /// The measured rate of a collective among `ranks` ranks, where there is one.
    #[must_use]
    pub fn rate(&self, kind: CollectiveKind, ranks: u32) -> Option<&CollectiveRate> {
        let fits = |rate: &&CollectiveRate| rate.kind == kind && rate.ranks == ranks;
        self.rates.iter().find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for kind in CollectiveKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        for what in Calibrates::ALL {
            assert_eq!(what.to_string().parse(), Ok(*what));
        }
        let error = "alltoall".parse::<CollectiveKind>().unwrap_err();
        assert_eq!(
            error.known,
            "all-gather, reduce-scatter, all-reduce, all-to-all, ring-pass"
        );
    }

    #[test]
    fn an_all_reduce_moves_what_a_reduce_scatter_and_an_all_gather_move() {
        for ranks in [2, 4, 8, 72] {
            let parts = CollectiveKind::AllGather.bus_factor(ranks)
                + CollectiveKind::ReduceScatter.bus_factor(ranks);
            assert_eq!(CollectiveKind::AllReduce.bus_factor(ranks), parts);
        }
    }
}
