//! How long encodes and decodes take over sizes, beside a large copy of the same run.
//!
//! Inputs rotate through more memory than the second-level cache holds; times are of events around one
//! call; the median of repeats stands with its 10th and 90th percentile.

use super::codec::{Codec, base_bytes};
use super::device::{Buffer, Gpu};
use super::error::CudaError;
use super::samples::{Kind, bytes_of};
use super::source::Variant;
use super::table::{Direction, Measured};
use crate::compressor::Compressor;
use crate::rank::nearest_rank;
use crate::wire::{BaseFormat, Half, Order, Shape};

/// Bytes of the copy that is the yardstick: far more than any cache.
const COPY_BYTES: usize = 1 << 30;
/// Sets of inputs together are at least this many times the second-level cache.
const CACHES: usize = 3;
/// Most sets of inputs.
const MOST_SETS: usize = 64;
/// Calls before the first that counts.
const WARM_UP: usize = 5;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// N and C.
    pub shapes: &'a [(usize, usize)],
    /// Compressors.
    pub compressors: &'a [Compressor],
    /// Formats of activation and base.
    pub variants: &'a [Variant],
    /// Calls that count.
    pub repeats: usize,
    /// Bytes of the copy; 1 GiB measures the memory.
    pub copy_bytes: usize,
    /// Lines measured before: they are left out.
    pub done: &'a [Measured],
}

/// Lines of one compressor, shape and variant.
const DIRECTIONS: [Direction; 2] = [Direction::Encode, Direction::Decode];

impl Sweep<'_> {
    /// Small enough for an emulated GPU: it tries the program, not a GPU.
    #[must_use]
    pub fn toy() -> Self {
        Self {
            shapes: &[(35, 320)],
            repeats: 3,
            copy_bytes: 1 << 16,
            ..Self::default()
        }
    }

    /// Lines of the whole table.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.shapes.len() * self.variants.len() * self.compressors.len() * DIRECTIONS.len()
    }
}

/// Shards of SD3, FLUX.1-dev (4 and 1 ranks), CogVideoX-2b and Wan-14B.
const SHAPES: [(usize, usize); 5] = [
    (1024, 1536),
    (1088, 3072),
    (4352, 3072),
    (5850, 1920),
    (8190, 5120),
];

const VARIANTS: [Variant; 4] = [
    Variant {
        activation: Half::F16,
        base: BaseFormat::F16,
    },
    Variant {
        activation: Half::Bf16,
        base: BaseFormat::Bf16,
    },
    Variant {
        activation: Half::Bf16,
        base: BaseFormat::Int8,
    },
    Variant {
        activation: Half::Bf16,
        base: BaseFormat::Int4,
    },
];

impl Default for Sweep<'_> {
    fn default() -> Self {
        Self {
            shapes: &SHAPES,
            compressors: &Compressor::PALETTE,
            variants: &VARIANTS,
            repeats: 100,
            copy_bytes: COPY_BYTES,
            done: &[],
        }
    }
}

/// Median, 10th and 90th percentile: the nearest ranks.
pub(super) fn percentiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [0.5, 0.1, 0.9].map(|share| nearest_rank(&times, share))
}

/// Bytes that a step must move: what stands in memory once read and once written, and the message.
/// An encode that reads x and the base twice counts both; see `kernels/cuda/README.md`.
pub(super) fn bytes_moved(
    compressor: Compressor,
    shape: Shape,
    variant: Variant,
    direction: Direction,
) -> u64 {
    let x = 2 * shape.elements() as u64;
    let base = base_bytes(variant, shape) as u64;
    let message = compressor.wire_bytes(shape) as u64;
    match (direction, compressor) {
        (Direction::Decode, _) => 2 * base + message,
        // The second pass reads the codes in the place of x.
        (Direction::Encode, Compressor::OneBit) => x + 3 * base + 2 * message,
        (Direction::Encode, Compressor::TwoBit) => 2 * x + 3 * base + message,
        (Direction::Encode, Compressor::TwoBitFitted) => 3 * x + 4 * base + message,
        (Direction::Encode, _) => x + 2 * base + message,
    }
}

/// GB/s of a large copy, bytes read and written.
fn copy_rate(gpu: &Gpu, bytes: usize, repeats: usize) -> Result<f64, CudaError> {
    let (from, mut to) = (gpu.zeros(bytes)?, gpu.zeros(bytes)?);
    let mut times = Vec::new();
    for n in 0..WARM_UP + repeats {
        let time = gpu.time_us(|| gpu.copy(&from, &mut to))?;
        if n >= WARM_UP {
            times.push(time);
        }
    }
    Ok(2.0 * bytes as f64 / percentiles(times)[0] / 1e3)
}

/// One tensor and what moves it.
struct Set<'g> {
    codec: Codec<'g>,
    x: Buffer,
    message: Buffer,
}

fn sets<'g>(
    gpu: &'g Gpu,
    compressor: Compressor,
    shape: Shape,
    variant: Variant,
) -> Result<Vec<Set<'g>>, CudaError> {
    let size = 2 * shape.elements() + base_bytes(variant, shape);
    let count = (CACHES * gpu.l2_bytes).div_ceil(size).clamp(2, MOST_SETS);
    let activation = |step| Kind::Uneven.activation(variant.activation, shape, step);
    let steps = [0, 1].map(|step| bytes_of(&activation(step)));
    (0..count)
        .map(|_| {
            let mut codec = Codec::new(gpu, compressor, shape, variant, Order::First)?;
            codec.start(&gpu.upload(&steps[0])?)?;
            let message = gpu.zeros(codec.message_bytes())?;
            let x = gpu.upload(&steps[1])?;
            Ok(Set { codec, x, message })
        })
        .collect()
}

/// Measures everything asked; `progress` hears of each line.
///
/// # Errors
/// What the GPU refuses.
pub fn sweep(
    gpu: &Gpu,
    asked: Sweep<'_>,
    mut progress: impl FnMut(&Measured),
) -> Result<Vec<Measured>, CudaError> {
    let copy_gb_per_s = copy_rate(gpu, asked.copy_bytes, asked.repeats.min(20))?;
    let mut lines = Vec::new();
    for &(rows, channels) in asked.shapes {
        let shape = Shape::new(rows, channels);
        for &variant in asked.variants {
            for &compressor in asked.compressors {
                let unmeasured = |direction| Measured {
                    compressor: compressor.to_string(),
                    direction,
                    kernel: "ditplan".to_owned(),
                    dtype: dtype(variant.activation).to_owned(),
                    base: variant.base.to_string(),
                    rows,
                    channels,
                    bytes_moved: bytes_moved(compressor, shape, variant, direction),
                    latency_us: 0.0,
                    repeats: asked.repeats,
                    p10_us: 0.0,
                    p90_us: 0.0,
                    copy_gb_per_s,
                };
                let wanted: Vec<Measured> = DIRECTIONS
                    .map(unmeasured)
                    .into_iter()
                    .filter(|line| !asked.done.iter().any(|done| done.key() == line.key()))
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let mut sets = sets(gpu, compressor, shape, variant)?;
                // Every set has a message before the first decode.
                for set in &mut sets {
                    set.codec.encode(&set.x, &set.message, 0, None)?;
                }
                for mut line in wanted {
                    let times = times(gpu, &mut sets, line.direction, asked.repeats)?;
                    [line.latency_us, line.p10_us, line.p90_us] = percentiles(times);
                    progress(&line);
                    lines.push(line);
                }
            }
        }
    }
    Ok(lines)
}

fn dtype(half: Half) -> &'static str {
    match half {
        Half::F16 => "fp16",
        Half::Bf16 => "bf16",
    }
}

/// Times of one direction, the sets in turn.
fn times(
    gpu: &Gpu,
    sets: &mut [Set<'_>],
    direction: Direction,
    repeats: usize,
) -> Result<Vec<f64>, CudaError> {
    let mut times = Vec::with_capacity(repeats);
    for n in 0..WARM_UP + repeats {
        let count = sets.len();
        let Set { codec, x, message } = &mut sets[n % count];
        let time = gpu.time_us(|| match direction {
            Direction::Encode => codec.encode(x, message, 0, None),
            Direction::Decode => codec.decode(message, 0, None),
        })?;
        if n >= WARM_UP {
            times.push(time);
        }
    }
    Ok(times)
}
