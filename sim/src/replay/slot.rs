//! One slot: all steps of a layer's K or V of one sample, under every method.

use kernels::wire::{self, Half, Loopback, Matrix, Place, Shape};
use topologies::Bytes;
use traces::trace::{Phase, Tensor};

use super::{Method, PHASES, Replay, ReplayError, SlotId};

/// Squared norms of one step, summed over the ranks' shards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepError {
    /// Of the activation.
    pub activation: f64,
    /// Of what was to be sent: the activation less its prediction.
    pub residual: f64,
    /// Of reconstruction less activation.
    pub error: f64,
}

/// What one method did to a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The method.
    pub method: Method,
    /// Bytes of one rank's message after warm-up.
    pub bytes: Bytes,
    /// By step.
    pub steps: Vec<StepError>,
}

/// What every method did to a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Which.
    pub id: SlotId,
    /// By method.
    pub methods: Vec<Measured>,
    /// Inner products of the summed errors; row and column `method * phases + phase`, both triangles.
    pub gram: Vec<Vec<f64>>,
}

impl Slot {
    /// Mean over the steps of the activation's squared norm.
    #[must_use]
    pub fn energy(&self) -> f64 {
        let steps = &self.methods[0].steps;
        steps.iter().map(|step| step.activation).sum::<f64>() / steps.len() as f64
    }
}

/// A method at work on one shard.
enum Worker {
    Loopback(Box<Loopback>),
    Stale,
}

/// What a shard's work needs at every step, used again from step to step.
struct Buffers {
    bits: Vec<u16>,
    x: Vec<f32>,
    before: Vec<f32>,
    other: Vec<f32>,
}

impl Replay {
    /// Replays one slot.
    ///
    /// # Errors
    /// [`ReplayError::Activation`] for a NaN or an infinity, with its place; [`ReplayError::Trace`].
    pub fn slot(&self, id: SlotId) -> Result<Slot, ReplayError> {
        let methods = self.methods();
        let sums = methods.len() * PHASES;
        let mut gram = vec![vec![0.0; sums]; sums];
        let mut measured: Vec<Measured> = methods
            .iter()
            .map(|&method| Measured {
                method,
                bytes: self.message_bytes(method),
                steps: vec![StepError::default(); self.steps.len()],
            })
            .collect();
        for rank in 0..self.shards.len() {
            let errors = self.shard(id, rank, &mut measured)?;
            add_products(&mut gram, &errors);
        }
        mirror(&mut gram);
        Ok(Slot {
            id,
            methods: measured,
            gram,
        })
    }

    fn message_bytes(&self, method: Method) -> Bytes {
        let (rows, channels) = (self.shard_rows() as u64, self.channels as u64);
        match method {
            Method::Compressed(compressor) => compressor.message_bytes(rows, channels),
            Method::Stale => kernels::Compressor::raw_bytes(rows, channels),
        }
    }

    /// Runs all methods over one rank's shard; returns the summed errors of each method and phase.
    fn shard(
        &self,
        id: SlotId,
        rank: usize,
        measured: &mut [Measured],
    ) -> Result<Vec<Vec<f32>>, ReplayError> {
        let shape = Shape::new(self.shard_rows(), self.channels);
        let elements = shape.elements();
        let mut workers: Vec<Worker> = measured
            .iter()
            .map(|one| self.worker(one.method, shape))
            .collect();
        let mut sums = vec![vec![0.0_f32; elements]; measured.len() * PHASES];
        let mut buffers = Buffers {
            bits: vec![0; elements],
            x: vec![0.0; elements],
            before: vec![0.0; elements],
            other: vec![0.0; elements],
        };
        for step in 0..self.steps.len() {
            self.read(id, rank, step, &mut buffers)?;
            let x = Matrix::new(shape, self.half, &buffers.bits);
            x.widen(&mut buffers.x);
            let activation = energy(&buffers.x);
            let place = place(id, step);
            let phase = Phase::of(step as u32, self.steps.len() as u32) as usize;
            for (index, (worker, one)) in workers.iter_mut().zip(&mut *measured).enumerate() {
                let (residual, error) = self
                    .exchange(
                        worker,
                        x,
                        place,
                        step,
                        &mut buffers.other,
                        (&buffers.x, &buffers.before),
                    )
                    .map_err(|error| ReplayError::Activation {
                        sample: self.samples[id.sample],
                        error,
                    })?;
                let at = &mut one.steps[step];
                at.activation += activation;
                at.residual += residual;
                at.error += error;
                add_scaled(
                    &mut sums[index * PHASES + phase],
                    self.weights[step] as f32,
                    &buffers.other,
                );
            }
            std::mem::swap(&mut buffers.x, &mut buffers.before);
        }
        Ok(sums)
    }

    fn worker(&self, method: Method, shape: Shape) -> Worker {
        match method {
            Method::Stale => Worker::Stale,
            Method::Compressed(compressor) => {
                let protocol = self.setting.protocol;
                Worker::Loopback(Box::new(Loopback::new(
                    compressor, protocol, shape, self.half,
                )))
            }
        }
    }

    /// One step of one method: squared norms of residual and error; `error` holds the error vector.
    fn exchange(
        &self,
        worker: &mut Worker,
        matrix: Matrix<'_>,
        place: Place,
        step: usize,
        error: &mut [f32],
        (x, before): (&[f32], &[f32]),
    ) -> Result<(f64, f64), wire::WireError> {
        let warm = (step as u32) < self.setting.protocol.warmup.max(1);
        let residual = match worker {
            Worker::Loopback(loopback) => {
                loopback.sender().prediction(error);
                let residual = distance(x, error);
                let exchanged = loopback.exchange(matrix, place)?;
                exchanged.reconstruction.widen(error);
                residual
            }
            // The first step has none before it.
            Worker::Stale if warm => {
                error.copy_from_slice(x);
                distance(x, before)
            }
            Worker::Stale => {
                error.copy_from_slice(before);
                distance(x, before)
            }
        };
        for (error, x) in error.iter_mut().zip(x) {
            *error -= x;
        }
        Ok((residual, energy(error)))
    }

    /// Reads one rank's rows of one step as bit patterns.
    fn read(
        &self,
        id: SlotId,
        rank: usize,
        step: usize,
        buffers: &mut Buffers,
    ) -> Result<(), ReplayError> {
        let view = self.steps[step].tensor(id.layer, id.tensor)?;
        let mut filled = 0;
        for tokens in &self.shards[rank] {
            let rows = view.rows(id.sample, tokens.clone());
            let out = &mut buffers.bits[filled..filled + rows.elements()];
            filled += rows.elements();
            match self.half {
                Half::F16 => copy_bits(out, &rows.to_vec::<half::f16>(), |value| value.to_bits()),
                Half::Bf16 => copy_bits(out, &rows.to_vec::<half::bf16>(), |value| value.to_bits()),
            }
        }
        Ok(())
    }
}

fn copy_bits<T: Copy>(out: &mut [u16], values: &[T], bits: impl Fn(T) -> u16) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = bits(*value);
    }
}

fn place(id: SlotId, step: usize) -> Place {
    Place {
        layer: id.layer,
        step: step as u32,
        tensor: match id.tensor {
            Tensor::K => wire::Tensor::Key,
            Tensor::V => wire::Tensor::Value,
        },
    }
}

/// Lanes of a sum: enough for the compiler to use wide registers; the order is fixed.
const LANES: usize = 16;
/// Elements summed in fp32 before they join the fp64 sum.
const BLOCK: usize = 1024;

/// The sum of products of two vectors: fp32 within blocks of 1,024 elements, fp64 over them.
fn product(a: &[f32], b: &[f32]) -> f64 {
    let block = |(a, b): (&[f32], &[f32])| {
        let mut lanes = [0.0_f32; LANES];
        let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest: f32 = a_lanes
            .remainder()
            .iter()
            .zip(b_lanes.remainder())
            .map(|(a, b)| a * b)
            .sum();
        for (a, b) in a_lanes.zip(b_lanes) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        f64::from(lanes.iter().sum::<f32>() + rest)
    };
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(block).sum()
}

fn energy(x: &[f32]) -> f64 {
    product(x, x)
}

/// The squared distance of two vectors.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let block = |(a, b): (&[f32], &[f32])| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        f64::from(squares.sum::<f32>())
    };
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(block).sum()
}

fn add_scaled(sum: &mut [f32], weight: f32, error: &[f32]) {
    for (sum, error) in sum.iter_mut().zip(error) {
        *sum += weight * error;
    }
}

/// Copies the upper triangle to the lower.
fn mirror(gram: &mut [Vec<f64>]) {
    for row in 1..gram.len() {
        let (above, below) = gram.split_at_mut(row);
        for (column, upper) in above.iter().enumerate() {
            below[0][column] = upper[row];
        }
    }
}

/// Adds the inner products of all pairs to the upper triangle.
fn add_products(gram: &mut [Vec<f64>], sums: &[Vec<f32>]) {
    for (row, a) in sums.iter().enumerate() {
        for (column, b) in sums.iter().enumerate().skip(row) {
            gram[row][column] += product(a, b);
        }
    }
}
