//! Where the numbers of an answer come from.

use std::collections::BTreeSet;

use kernels::{Compressor, CostModel as _, KernelRow, Mask, Op};
use sim::plan::{Plan, Precision, Residency};
use topologies::{DType, DeviceId, Faults};

use super::evaluator::Evaluator;
use crate::calibrate::Note;
use crate::profile::Statement;

/// Where a number of an answer comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Provenance {
    /// The machine.
    Machine {
        /// Its name.
        name: String,
        /// Its host.
        host: String,
        /// Where its figures are from.
        source: String,
    },
    /// What is wrong with the machine, for the whole run.
    Faults(Faults),
    /// A model that is not built in.
    Model {
        /// Its name.
        name: String,
        /// Where its shapes are from.
        source: String,
    },
    /// A number of the calibration.
    Calibration(Note),
    /// The costs of kernels.
    Kernels {
        /// On which GPU.
        gpu: String,
        /// Where they are from; none where the GPU has no cost for a matrix product of the model.
        from: Option<kernels::Provenance>,
    },
    /// The cost of attention, in words of the cost model: by which kernel, from what.
    Attention(String),
    /// What encoding and decoding rest on, where nobody published or measured them on this GPU.
    Codec {
        /// The GPU.
        gpu: String,
        /// In words of the cost model.
        how: String,
    },
    /// What fetching weights that are not resident rests on: rates of copies and gathers that nobody timed on this machine.
    Weights,
    /// A precision whose products nobody measured: scaled from those in 16 bits.
    Scaled(Precision),
    /// A number that a profile replaced.
    Profile(Statement),
}

impl Evaluator<'_> {
    /// Where the numbers of an answer with these plans are from.
    pub(super) fn provenance<'p>(
        &self,
        plans: impl Iterator<Item = &'p Plan> + Clone,
    ) -> Vec<Provenance> {
        let question = self.question;
        let (machine, model) = (&question.machine, question.model);
        let mut all = vec![Provenance::Machine {
            name: machine.name.clone(),
            host: machine.host.name.clone(),
            source: machine.source.clone(),
        }];
        if !question.faults.is_empty() {
            all.push(Provenance::Faults(question.faults.clone()));
        }
        if !sim::model::known().contains(model) {
            all.push(Provenance::Model {
                name: model.name.clone(),
                source: model.source.clone(),
            });
        }
        let notes = self.calibrated.notes.iter().cloned();
        all.extend(notes.map(Provenance::Calibration));
        all.push(Provenance::Kernels {
            gpu: self.platform.gpu(DeviceId::new(0)).name.clone(),
            from: self.kernel_costs(),
        });
        all.extend(self.attention_costs().map(Provenance::Attention));
        if plans.clone().any(|plan| !plan.compression.is_raw()) {
            all.extend(self.codec_doubt());
        }
        let mut executions = plans.clone().map(|plan| plan.execution);
        if executions.any(|one| one.residency != Residency::RESIDENT) {
            all.push(Provenance::Weights);
        }
        let precisions = plans.map(|plan| plan.execution.precision);
        let scaled: BTreeSet<Precision> =
            precisions.filter(|one| one.products().is_none()).collect();
        all.extend(scaled.into_iter().map(Provenance::Scaled));
        if let Some(profile) = &question.profile {
            let launch_used = !self.calibrated.evidence.launch_calibrated;
            let said = profile.says(model, question.compilation, launch_used);
            all.extend(said.into_iter().map(Provenance::Profile));
        }
        all
    }

    /// What the times of compressors rest on, as far as they were not published for this GPU.
    fn codec_doubt(&self) -> Option<Provenance> {
        let gpu = self.platform.gpu(DeviceId::new(0));
        let how = self.question.costs().codec_doubt(gpu, Compressor::OneBit)?;
        Some(Provenance::Codec {
            gpu: gpu.name.clone(),
            how,
        })
    }

    /// Where the cost of the model's first attention is from, as if it were not charted itself.
    fn attention_costs(&self) -> Option<String> {
        let mut blocks = self.workload.layers.kinds.iter();
        let call = blocks.find_map(|block| block.attention.first())?;
        let tokens = self.workload.image_tokens();
        let row = KernelRow {
            gpu: self.platform.gpu(DeviceId::new(0)),
            kernel: self.execution.attention,
            mask: Mask::Full,
            batch: self.workload.rows,
            heads: call.heads,
            queries: tokens,
            keys: tokens,
            head_dim: call.head_dim,
        };
        let found = self.question.costs().predict_kernel(&row);
        found
            .ok()
            .map(|found| format!("{}: {}", self.execution.attention, found.note))
    }

    /// Where the cost of a matrix product of the model's is from.
    fn kernel_costs(&self) -> Option<kernels::Provenance> {
        let width = self.workload.hidden;
        let op = Op::Gemm {
            m: self.workload.rows * self.workload.image_tokens(),
            n: width,
            k: width,
            dtype: DType::Bf16,
        };
        let gpu = self.platform.gpu(DeviceId::new(0));
        let cost = self.question.costs().cost(&op, gpu);
        cost.ok().map(|cost| cost.provenance)
    }
}
