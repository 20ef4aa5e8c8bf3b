//! Lowering: a workload and a plan become times of blocks and messages, and those become tasks.
//!
//! ```text
//! Setup ── times ──▶ Pass (what one forward pass does on one rank, by block)
//!                      ├── closed form ──▶ Parts: the lower bound, and the terms of a step
//!                      └── tasks ────────▶ TaskGraph: every rank, step, block and message
//! ```
//! Every strategy goes this one way: a dimension of parallelism changes a rank's share of a block
//! (`times`), the messages of a block, or the order of blocks (`pipeline`).
//!
//! Ranks do the same work in the same time. Where something is wrong with a GPU or a link, ranks fall into
//! classes (`classes`), each with its own times; a group waits for its slowest rank, and the closed form is
//! that of the slowest class.
//!
//! Guarantees:
//! 1. The closed form never exceeds the simulated time of the tasks.
//! 2. Warm-up steps are synchronous and uncompressed, whatever the strategy.
//!
//! Not modelled: the sampler's own arithmetic, the last gather of the latent, uneven shards (every
//! rank is as slow as the largest shard).

mod classes;
mod closed_form;
mod emitter;
mod pass;
mod pipeline;
mod products;
mod sequence;
mod stages;
mod times;
mod weights;

use kernels::{Compressor, CostModel, Miss};
use thiserror::Error;
use topologies::{DeviceId, SimDuration};

use crate::execution::Execution;
use crate::graph::TaskGraph;
use crate::model::Model;
use crate::phases::Phases;
use crate::plan::{Coordinates, Plan};
use crate::platform::Platform;
use crate::workload::Workload;

pub use closed_form::Parts;
pub use pass::{BlockTimes, Mode, Pass};
pub use times::elementwise_passes;
pub(crate) use weights::Moves;

/// Why a plan cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LowerError {
    /// An operation or a message has no cost.
    #[error(transparent)]
    Miss(#[from] Miss),
    /// The plan names a GPU that the platform does not have.
    #[error(
        "the plan uses {device}, but the machine has {gpus} GPUs: lower a degree or choose another machine"
    )]
    Device {
        /// The GPU.
        device: DeviceId,
        /// How many there are.
        gpus: usize,
    },
}

/// What is lowered, and with which costs.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The model.
    pub model: &'a Model,
    /// What one forward pass does.
    pub workload: &'a Workload,
    /// How ranks share it.
    pub plan: &'a Plan,
    /// Where.
    pub platform: &'a Platform,
    /// By what.
    pub execution: &'a Execution,
    /// What operations cost.
    pub costs: &'a dyn CostModel,
    /// The rank whose times are asked for.
    rank: u32,
}

impl<'a> Setup<'a> {
    /// What is lowered, and with which costs.
    ///
    /// # Errors
    /// [`LowerError::Device`] when the plan names a GPU that the platform lacks.
    pub fn new(
        workload: &'a Workload,
        plan: &'a Plan,
        platform: &'a Platform,
        execution: &'a Execution,
        costs: &'a dyn CostModel,
    ) -> Result<Self, LowerError> {
        let gpus = platform.gpus.len();
        if let Some(&device) = plan.placement.iter().find(|device| device.index() >= gpus) {
            return Err(LowerError::Device { device, gpus });
        }
        Ok(Self {
            model: &workload.model,
            workload,
            plan,
            platform,
            execution,
            costs,
            rank: 0,
        })
    }

    /// The same, for the times of `rank`.
    pub(crate) const fn of(self, rank: u32) -> Self {
        Self { rank, ..self }
    }

    /// The phases around the loop; the slowest rank's, for all others wait for it.
    pub(crate) fn phases(&self) -> Phases {
        let placement = &self.plan.placement;
        let speed_factors = placement
            .iter()
            .map(|&gpu| self.platform.speed_factor(gpu).compute);
        let slowest = speed_factors.fold(1.0, f64::min);
        let gpu = self.platform.gpu(placement[0]);
        let phases = Phases::new(
            self.model,
            &self.workload.request,
            &gpu.scaled(slowest, slowest),
        );
        phases.with_moves(self.moves())
    }

    /// The terms of a step in closed form; their total is a lower bound on the simulated time.
    ///
    /// # Errors
    /// [`LowerError::Miss`] when something has no cost.
    pub fn parts(&self) -> Result<Parts, LowerError> {
        closed_form::parts(self)
    }

    /// Time of one steady forward pass of each layer, had it each of `options`: the closed form of its
    /// block. None where plans have no messages to compress (pipelines).
    ///
    /// # Errors
    /// [`LowerError::Miss`] when something has no cost.
    pub fn layer_times(
        &self,
        options: &[Option<Compressor>],
    ) -> Result<Vec<Vec<SimDuration>>, LowerError> {
        closed_form::layer_times(self, options)
    }

    /// The tasks of these steps, in this order: of every rank, or with `fold` of one where all do the same at
    /// the same time.
    ///
    /// # Errors
    /// [`LowerError::Miss`] when something has no cost.
    pub fn tasks(&self, steps: &[u32], fold: bool) -> Result<TaskGraph, LowerError> {
        if self.plan.pipeline.stages > 1 {
            // No pipeline is compressed: its steps are the first ones of the run.
            let count = u32::try_from(steps.len()).expect("a run has few steps");
            pipeline::tasks(self, count)
        } else {
            sequence::tasks(self, steps, fold)
        }
    }

    /// The phases that steady steps fall in: the first step and the number of steps of each.
    pub(crate) fn steady_phases(&self) -> Vec<(u32, u32)> {
        closed_form::steady_phases(self)
    }

    /// Rows of one rank's forward pass.
    pub(crate) fn rows(&self) -> u64 {
        let shared = u64::from(self.plan.data) * self.cfg_rows();
        self.workload.rows.div_ceil(shared)
    }

    /// By how much the guidance degree cuts the rows of a forward pass (not its number of passes).
    fn cfg_rows(&self) -> u64 {
        let branches = self.workload.request.guidance.rows_per_image();
        u64::from(self.plan.cfg).min(branches)
    }

    /// Forward passes of one rank per step: sequential guidance on two ranks runs one each.
    pub(crate) fn forwards(&self) -> u32 {
        let passes = self
            .workload
            .forwards_per_step
            .div_ceil(u64::from(self.plan.cfg));
        u32::try_from(passes).expect("a step has few forward passes")
    }

    /// Synchronous first steps of `steps`. DistriFusion's first asynchronous step still waits.
    pub(crate) fn warmup(&self) -> u32 {
        let displaced = matches!(self.plan.exchange, crate::plan::Exchange::Displaced(n) if n > 1);
        self.plan.warmup + u32::from(displaced)
    }

    /// The groups of ranks that differ in one dimension only, as GPUs, one for each `0..degree`.
    pub(crate) fn group_of(
        &self,
        rank: u32,
        degree: u32,
        set: impl Fn(&mut Coordinates, u32),
    ) -> Vec<DeviceId> {
        let member = |position| {
            let mut at = self.plan.coordinates(rank);
            set(&mut at, position);
            self.plan.placement[self.plan.rank(at) as usize]
        };
        (0..degree).map(member).collect()
    }
}
