//! Which number of an answer a profile replaced.

use std::collections::BTreeMap;

use kernels::MemoryRate;
use sim::workload::BlockKind;
use topologies::Bandwidth;

/// What a profile says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Which profile it is.
    Profile {
        /// In one line.
        title: String,
    },
    /// Matrix products were measured; beyond their shapes the built-in table stays.
    Products {
        /// How many.
        count: usize,
        /// The GPU whose table they replace.
        gpu: String,
    },
    /// Attention was measured.
    Attention {
        /// How many calls.
        count: usize,
        /// Their widths of heads, ascending.
        head_dims: Vec<u32>,
        /// The GPU whose tables they replace.
        gpu: String,
    },
    /// Memory-bound work was measured.
    Memory {
        /// Its rate.
        rate: MemoryRate,
        /// The rate it replaces.
        datasheet: Bandwidth,
        /// Passes over a block's activation that blocks were measured for; empty: all as the published fit has them.
        passes: BTreeMap<BlockKind, f64>,
        /// Whether those blocks are of this very model.
        own_blocks: bool,
        /// The passes of the published fit.
        published: u64,
    },
    /// Encodes and decodes were measured.
    Codecs {
        /// How many.
        count: usize,
    },
    /// The launch factor is that of its blocks that launching bounds.
    Launch {
        /// Over the reference host's.
        factor: f64,
    },
    /// It has a launch factor, but the machine's host has one of its own.
    LaunchUnused,
    /// It has copy rates, which plans of many GPUs do not use.
    CopiesUnused,
}
