//! Replayed slots together: the rows of `errors.csv.gz`, and a summary for people.

use std::collections::BTreeMap;

use kernels::Compressor;
use topologies::Bytes;
use traces::trace::{ErrorKind, ErrorRow, Phase, Tensor};

use super::{Method, PHASES, Replay, Setting, Slot, StepError};

/// A replayed trace: every slot, in the order of [`Replay::slots`].
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// What was replayed.
    pub setting: Setting,
    /// Squared weight of each step in the output: the sampler's step size, squared.
    squared_weights: Vec<f64>,
    /// Bytes of one uncompressed message.
    pub raw: Bytes,
    /// The slots.
    pub slots: Vec<Slot>,
}

/// One method over all layers and samples, of K or of V.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The method.
    pub method: Method,
    /// K or V.
    pub tensor: Tensor,
    /// Raw over compressed bytes of a message after warm-up.
    pub ratio: f64,
    /// The share of the residual's energy that a message carries.
    pub contraction: f64,
    /// Root mean square over steps, layers and samples of relative error ||e_t|| / ||x_t||.
    pub error: f64,
    /// Root of the mean coherent energy: errors summed over steps, then squared.
    pub coherent: f64,
    /// Coherent over incoherent energy: how much errors keep their direction.
    pub persistence: f64,
}

impl Replay {
    /// The slots together.
    ///
    /// # Panics
    /// If there is none, or they are not those of this replay.
    #[must_use]
    pub fn collect(&self, slots: Vec<Slot>) -> Replayed {
        assert!(
            slots.iter().map(|slot| slot.id).eq(self.slots()),
            "a replay is collected from all of its slots, in order"
        );
        Replayed {
            setting: self.setting.clone(),
            squared_weights: self.weights.iter().map(|weight| weight * weight).collect(),
            raw: Compressor::raw_bytes(self.shard_rows() as u64, self.channels as u64),
            slots,
        }
    }
}

/// One method at one step of a layer's K or V: energies summed over samples and shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The method.
    pub method: Method,
    /// The layer.
    pub layer: u32,
    /// K or V.
    pub tensor: Tensor,
    /// The step.
    pub step: u32,
    /// Bytes of one rank's message.
    pub bytes: Bytes,
    /// Squared norms.
    pub energy: StepError,
}

impl Step {
    /// ||x - prediction|| / ||x||.
    #[must_use]
    pub fn relative_residual(&self) -> f64 {
        (self.energy.residual / self.energy.activation).sqrt()
    }

    /// ||e|| / ||x||.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        (self.energy.error / self.energy.activation).sqrt()
    }
}

impl Replayed {
    /// Every method at every step of every layer's K and V.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut all = Vec::new();
        for ((layer, tensor), slots) in self.groups() {
            for (index, method) in self.methods().into_iter().enumerate() {
                for step in 0..self.squared_weights.len() {
                    let mut energy = StepError::default();
                    for slot in &slots {
                        let one = slot.methods[index].steps[step];
                        energy.activation += one.activation;
                        energy.residual += one.residual;
                        energy.error += one.error;
                    }
                    let warm = step < self.setting.protocol.warmup as usize;
                    let bytes = if warm {
                        self.raw
                    } else {
                        slots[0].methods[index].bytes
                    };
                    let step = step as u32;
                    all.push(Step {
                        method,
                        layer,
                        tensor,
                        step,
                        bytes,
                        energy,
                    });
                }
            }
        }
        all
    }

    /// The methods, in the order of the slots' results.
    #[must_use]
    pub fn methods(&self) -> Vec<Method> {
        self.slots[0].methods.iter().map(|one| one.method).collect()
    }

    /// Slots by layer and tensor: the samples of each together.
    fn groups(&self) -> BTreeMap<(u32, Tensor), Vec<&Slot>> {
        let mut groups: BTreeMap<_, Vec<&Slot>> = BTreeMap::new();
        for slot in &self.slots {
            groups
                .entry((slot.id.layer, slot.id.tensor))
                .or_default()
                .push(slot);
        }
        groups
    }

    /// Error energy weighted by the squared step sizes, relative to the slot's energy.
    fn incoherent(&self, slot: &Slot, method: usize) -> f64 {
        let steps = slot.methods[method].steps.iter().zip(&self.squared_weights);
        steps.map(|(step, weight)| weight * step.error).sum::<f64>() / slot.energy()
    }

    /// The share of the residual's energy that messages carry, over the steps after warm-up.
    fn contraction(&self, slots: &[&Slot], method: usize) -> f64 {
        let warmup = self.setting.protocol.warmup as usize;
        let after = slots
            .iter()
            .flat_map(|slot| slot.methods[method].steps.iter().skip(warmup));
        let (lost, sent) = after.fold((0.0, 0.0), |(lost, sent), step| {
            (lost + step.error, sent + step.residual)
        });
        if sent > 0.0 { 1.0 - lost / sent } else { 1.0 }
    }

    /// The rows of `errors.csv.gz`: averages over samples of what is relative to a sample's energy.
    #[must_use]
    pub fn rows(&self) -> Vec<ErrorRow> {
        let mut rows = Vec::new();
        for ((layer, tensor), slots) in self.groups() {
            self.group_rows(&mut rows, (layer, tensor), &slots);
        }
        rows
    }

    fn group_rows(
        &self,
        rows: &mut Vec<ErrorRow>,
        (layer, tensor): (u32, Tensor),
        slots: &[&Slot],
    ) {
        let names: Vec<String> = self.methods().iter().map(Method::to_string).collect();
        let mean = |of: &dyn Fn(&Slot) -> f64| {
            slots.iter().map(|slot| of(slot)).sum::<f64>() / slots.len() as f64
        };
        let blank = |kind, method: usize, value| ErrorRow {
            kind,
            ranks: self.setting.ranks,
            layer,
            tensor,
            phase: None,
            compressor: names[method].clone(),
            phase2: None,
            compressor2: None,
            value,
        };
        let sums = names.len() * PHASES;
        for row in 0..sums {
            for column in row..sums {
                let value = mean(&|slot| slot.gram[row][column] / slot.energy());
                rows.push(ErrorRow {
                    phase: Some(Phase::ALL[row % PHASES]),
                    phase2: Some(Phase::ALL[column % PHASES]),
                    compressor2: Some(names[column / PHASES].clone()),
                    ..blank(ErrorKind::Gram, row / PHASES, value)
                });
            }
        }
        for method in 0..names.len() {
            let coherent = mean(&|slot| coherent(slot, method));
            let incoherent = mean(&|slot| self.incoherent(slot, method));
            let bytes = slots[0].methods[method].bytes.as_f64();
            rows.push(blank(ErrorKind::Coherent, method, coherent));
            rows.push(blank(ErrorKind::Incoherent, method, incoherent));
            let contraction = self.contraction(slots, method);
            rows.push(blank(ErrorKind::Contraction, method, contraction));
            rows.push(blank(ErrorKind::Bytes, method, bytes));
        }
    }

    /// Each method over the layers that `chosen` names, K and V apart.
    #[must_use]
    pub fn summaries(&self, chosen: impl Fn(u32) -> bool) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for (index, method) in self.methods().into_iter().enumerate() {
            for tensor in Tensor::ALL {
                let of = |slot: &&Slot| slot.id.tensor == tensor && chosen(slot.id.layer);
                let slots: Vec<&Slot> = self.slots.iter().filter(of).collect();
                if !slots.is_empty() {
                    summaries.push(self.summary(method, index, tensor, &slots));
                }
            }
        }
        summaries
    }

    fn summary(&self, method: Method, index: usize, tensor: Tensor, slots: &[&Slot]) -> Summary {
        let warmup = self.setting.protocol.warmup as usize;
        let after = slots
            .iter()
            .flat_map(|slot| slot.methods[index].steps.iter().skip(warmup));
        let relative: Vec<f64> = after.map(|step| step.error / step.activation).collect();
        let count = slots.len() as f64;
        let coherent = slots.iter().map(|slot| coherent(slot, index)).sum::<f64>() / count;
        let incoherent = slots
            .iter()
            .map(|slot| self.incoherent(slot, index))
            .sum::<f64>()
            / count;
        Summary {
            method,
            tensor,
            ratio: self.raw.as_f64() / slots[0].methods[index].bytes.as_f64(),
            contraction: self.contraction(slots, index),
            error: (relative.iter().sum::<f64>() / relative.len().max(1) as f64).sqrt(),
            coherent: coherent.sqrt(),
            persistence: if incoherent > 0.0 {
                coherent / incoherent
            } else {
                0.0
            },
        }
    }
}

/// The energy of a slot's errors, summed over all steps first, relative to the slot's energy.
fn coherent(slot: &Slot, method: usize) -> f64 {
    let phases = method * PHASES..(method + 1) * PHASES;
    let rows = &slot.gram[phases.clone()];
    let sum: f64 = rows
        .iter()
        .map(|row| row[phases.clone()].iter().sum::<f64>())
        .sum();
    // Rounding may leave a little less than nothing of an error that is nothing.
    sum.max(0.0) / slot.energy()
}
