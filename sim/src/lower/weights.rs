//! Weights that are not on the GPU when a block needs them: what fetching them takes beside it.
//!
//! ```text
//! one ahead     fetch b+1 ▓▓▓▓▓▓▓▓▓▓▓▓▓▓      block: max(t, f) + i min(t, f)
//!               block b   ░░░░░░░░░             t: compute, messages, launch; f: fetch; i: what they cost each other
//! when needed   fetch ▓▓▓▓▓ block ░░░░░       block: t + f
//! ```
//! Blocks that stay are spread over the depth: each block copies the same part of its weights.
//!
//! Not modelled: links that a gather of weights shares with other messages; host memory that several copies share.

use topologies::{Bytes, CollectiveKind, SimDuration};

use super::{LowerError, Setup};
use crate::launch;
use crate::plan::{Components, Coordinates, Encoders, Weights};
use crate::platform::{HostMemory, Reach};
use crate::workload::{Block, ELEMENT_BYTES};

/// What a copy from host memory and the block beside it cost each other: hooks wait for copies on the CPU that launches the
/// block. From diffusers' benchmark of group offloading with streams: FLUX.1 .547 -> 1.893 s, LTX-Video 1.64 -> 2.75 s a
/// forward pass, two equations for this and the rate of the link.
const COPY_INTERFERENCE: f64 = 0.65;

/// The same of a gather by NCCL, as of other gathers beside compute.
const GATHER_INTERFERENCE: f64 = 0.25;

/// Fetching a block's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fetch {
    /// Its time alone.
    pub time: SimDuration,
    /// Whether it runs beside the block before.
    pub ahead: bool,
    interference: f64,
}

impl Fetch {
    /// By how much it and `block`, the time of the block beside it, lengthen each other.
    pub(super) fn slows(&self, block: SimDuration) -> SimDuration {
        if !self.ahead {
            return SimDuration::ZERO;
        }
        block.min(self.time).scaled(self.interference)
    }

    /// A block of time `block` with its fetch.
    pub(super) fn with(&self, block: SimDuration) -> SimDuration {
        if self.ahead {
            block.max(self.time) + self.slows(block)
        } else {
            block + self.time
        }
    }
}

/// Moving components to the GPU, and back, once a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Before the loop: encoders and transformer.
    pub before: SimDuration,
    /// After it: the VAE.
    pub after: SimDuration,
}

impl Setup<'_> {
    /// Fetching `block` in a forward pass, where its weights are not all there.
    pub(super) fn fetch(&self, block: &Block) -> Result<Option<Fetch>, LowerError> {
        let bytes = Bytes::new(self.held(block, u64::from(self.plan.tensor)));
        let fetch = match self.plan.execution.residency.transformer {
            Weights::Sharded if self.plan.replicas() > 1 => Fetch {
                time: self.gathered(bytes)?,
                ahead: true,
                interference: GATHER_INTERFERENCE,
            },
            Weights::Layerwise { resident, ahead } if launch::launches(block) => {
                let blocks = self.workload.layers.order.len() as f64;
                let copied = 1.0 - (f64::from(resident) / blocks).min(1.0);
                Fetch {
                    time: self.copied(bytes.scaled(copied), HostMemory::Pinned),
                    ahead: ahead > 0,
                    interference: COPY_INTERFERENCE,
                }
            }
            _ => return Ok(None),
        };
        Ok((fetch.time > SimDuration::ZERO).then_some(fetch))
    }

    /// Bytes of a block's weights on one rank.
    fn held(&self, block: &Block, tensor: u64) -> u64 {
        block.weight_bytes_per_rank(tensor, self.plan.execution.precision, ELEMENT_BYTES)
    }

    /// A gather of `bytes` among the ranks that would hold the same weights.
    fn gathered(&self, bytes: Bytes) -> Result<SimDuration, LowerError> {
        let plan = self.plan;
        let member = |position: u32, at: &mut Coordinates| {
            let (rest, ulysses) = (position / plan.ulysses, position % plan.ulysses);
            let outer_degree = plan.exchange.degree();
            let (rest, outer) = (rest / outer_degree, rest % outer_degree);
            (at.ulysses, at.outer) = (ulysses, outer);
            (at.data, at.cfg) = (rest / plan.cfg, rest % plan.cfg);
        };
        let group = self.members(plan.replicas(), |at, position| member(position, at));
        let several = self.platform.reach(&group.own) == Reach::Network;
        if self.platform.is_nvlink() || several || self.platform.one_gpu.is_some() {
            return Ok(self.message(CollectiveKind::AllGather, &group, bytes)?.time);
        }
        // The usual rates of gathers on PCIe are of K and V, tens of megabytes; weights fill a ring.
        let parts = u64::from(plan.replicas());
        let part = Bytes::new(bytes.get().div_ceil(parts));
        let hop = self.message(CollectiveKind::RingPass, &group, part)?;
        Ok(hop.time * (parts - 1))
    }

    /// A copy of `bytes` from host memory to the rank's GPU, as all ranks do at once.
    fn copied(&self, bytes: Bytes, memory: HostMemory) -> SimDuration {
        let placement = &self.plan.placement;
        let rate = self
            .platform
            .host_rate(placement[self.rank as usize], placement, memory);
        bytes / rate
    }

    /// What moving components takes in one request.
    pub(crate) fn moves(&self) -> Moves {
        let residency = self.plan.execution.residency;
        let whole = residency.components == Components::InTurn;
        let encoders = whole || residency.encoders == Encoders::InTurn;
        let parameters = self.model.encoders.iter().map(|encoder| encoder.parameters);
        let (memory, ways) = self.execution.software.moves();
        let move_of = |moved: bool, bytes: Bytes| match moved {
            true => self.copied(bytes, memory) * ways,
            false => SimDuration::ZERO,
        };
        let held = |bytes: u64| Bytes::new(bytes * ELEMENT_BYTES);
        let of_encoders = match residency.encoders {
            Encoders::Elsewhere => 0,
            Encoders::Split => parameters
                .sum::<u64>()
                .div_ceil(u64::from(self.plan.ranks())),
            Encoders::Whole | Encoders::InTurn => parameters.sum(),
        };
        let transformer = match residency.transformer {
            Weights::Resident => {
                let (tensor, stages) = (self.plan.tensor, self.plan.pipeline.stages);
                let held = |block| self.held(block, u64::from(tensor));
                let all: u64 = self.workload.all_blocks().map(held).sum();
                all / u64::from(stages) * self.model.experts.count()
            }
            Weights::Sharded | Weights::Layerwise { .. } => 0,
        };
        Moves {
            before: move_of(encoders, held(of_encoders)) + move_of(whole, Bytes::new(transformer)),
            after: move_of(whole, self.model.vae.weight_bytes()),
        }
    }
}
