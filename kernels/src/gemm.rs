//! Time of a matrix product: a physical base, and what it misses interpolated from measurements.
//!
//! ```text
//! T  = T0 + tk k/1024 + (Tc^4 + Tm^4)^(1/4) [+ Tq: fp8, nvfp4]
//! Tc = min over tiles tm, tn in {64, 128, 256} and, in bf16, k split in s = 1, 2, .. 32 parts:
//!      waves * 2 tm tn (k/s + 64 e1) / (peak/SM * e) [+ ts where s > 1]
//!      waves = ceil(s ceil(m/tm) ceil(n/tn) / SM),  e = e0 / (1 + c (64/tm + 64/tn - 1/2))
//! Tm = bytes / (BW b (1 + (f-1) / (1 + (bytes / 0.6 L2)^4))),  bytes = (m+n) k w + 2 m n
//! Tq = (Tr^4 + ((2 + w) m k / the same bandwidth)^4)^(1/4),  Tr = m/SM (row + pass ceil(k/2048))
//! ```
//! A product of few tiles and a long k would leave most multiprocessors idle: cuBLAS splits k among
//! them and adds the parts up, which costs about one more launch (ts). The measured fp8 and nvfp4 kernels
//! do not split, but each of their times includes quantising the activations: a block of threads for each
//! row, which takes 2048 values of it at a time. Times in microseconds, w bytes a value. The constants are
//! in `tables/gemm_constants.csv`, with the errors of the base alone, which is what moves to other GPUs and
//! other sizes.
//!
//! Not modelled: power limits and kernel switches (in the residual), fused epilogues.

use topologies::DType;

use crate::chip::Chip;
use crate::field::{Law, Metric, Point, Term};

/// A matrix product's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub m: u64,
    pub n: u64,
    pub k: u64,
}

impl Shape {
    /// Coordinates in the grid.
    pub(crate) fn point(self) -> [Point; 3] {
        [self.m, self.n, self.k].map(|size| [(size as f64).log2(), 0.0])
    }

    /// Floating-point operations.
    pub(crate) fn flops(self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// Bytes read and written once.
    pub(crate) fn bytes(self, dtype: DType) -> f64 {
        let (m, n, k) = (self.m as f64, self.n as f64, self.k as f64);
        (m + n) * k * width(dtype) + 2.0 * m * n
    }
}

/// Bytes of a value; 16 of nvfp4 share a scale of one byte.
fn width(dtype: DType) -> f64 {
    match dtype {
        DType::Bf16 => 2.0,
        DType::Fp8 => 1.0,
        DType::Nvfp4 => 0.5 + 1.0 / 16.0,
    }
}

/// The constants of the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Base {
    /// Fixed time, microseconds.
    pub t0: f64,
    /// Microseconds per 1024 of k.
    pub tk: f64,
    /// Share of the tensor peak.
    pub e0: f64,
    /// What small tiles lose.
    pub c: f64,
    /// Share of the memory bandwidth.
    pub b: f64,
    /// Bandwidth of level 2 over that of memory.
    pub f: f64,
    /// Prologue and epilogue of a tile, in 64 of k.
    pub e1: f64,
    /// What the kernels of this number format do besides.
    pub besides: Besides,
}

/// What kernels of one number format do and those of the other do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Besides {
    /// bf16: may split k; adding the parts up takes this long (ts), microseconds.
    Split(f64),
    /// fp8, nvfp4: quantises the activations.
    Quantise {
        /// Microseconds of a row on one multiprocessor.
        row: f64,
        /// Microseconds of 2048 values of it.
        pass: f64,
    },
}

impl Base {
    /// Microseconds of `shape` on `chip`, whose tensor peak is `peak` (FLOP per microsecond).
    pub(crate) fn us(&self, chip: &Chip, peak: f64, dtype: DType, shape: Shape) -> f64 {
        let (m, k) = (shape.m as f64, shape.k as f64);
        let bytes = shape.bytes(dtype);
        let cached = (self.f - 1.0) / (1.0 + (bytes / (0.6 * chip.l2)).powi(4));
        let bandwidth = chip.bandwidth * self.b * (1.0 + cached);
        let quantise = match self.besides {
            Besides::Split(_) => 0.0,
            Besides::Quantise { row, pass } => {
                let rows = m / chip.sm * (row + pass * (k / 2048.0).ceil());
                longer(rows, (2.0 + width(dtype)) * m * k / bandwidth)
            }
        };
        let product = longer(self.compute(chip, peak, shape), bytes / bandwidth);
        self.t0 + self.tk * k / 1024.0 + product + quantise
    }

    /// Microseconds of arithmetic with the best tile and split.
    fn compute(&self, chip: &Chip, peak: f64, shape: Shape) -> f64 {
        const TILES: [f64; 3] = [64.0, 128.0, 256.0];
        let (m, n) = (shape.m as f64, shape.n as f64);
        let per_sm = peak / chip.sm * self.e0;
        let mut best = f64::INFINITY;
        for tm in TILES {
            for tn in TILES {
                let tiles = (m / tm).ceil() * (n / tn).ceil();
                let loss = 1.0 + self.c * (64.0 / tm + 64.0 / tn - 0.5);
                let per_k = 2.0 * tm * tn * loss / per_sm;
                best = best.min(self.waves(chip, tiles, per_k, shape.k));
            }
        }
        best
    }

    /// Microseconds of `tiles` with the best split of k; a tile takes `per_k` for each of its k.
    fn waves(&self, chip: &Chip, tiles: f64, per_k: f64, k: u64) -> f64 {
        let edges = 64.0 * self.e1;
        let whole = (tiles / chip.sm).ceil() * per_k * (k as f64 + edges);
        // No number of parts does the arithmetic faster than all multiprocessors together.
        let least = tiles / chip.sm * per_k * k as f64;
        let ts = match self.besides {
            Besides::Split(ts) if ts + least < whole => ts,
            _ => return whole,
        };
        [2_u64, 4, 8, 16, 32]
            .into_iter()
            .fold(whole, |best, parts| {
                let waves = (tiles * parts as f64 / chip.sm).ceil();
                let part = (k.div_ceil(64 * parts) * 64) as f64;
                best.min(ts + waves * per_k * (part + edges))
            })
    }
}

/// A little more than the longer of two times that overlap.
fn longer(a: f64, b: f64) -> f64 {
    (a.powi(4) + b.powi(4)).sqrt().sqrt()
}

const M: [Metric; 1] = [Metric {
    weight: 1.87,
    wide: 1.87,
    length: 0.71,
    jump: 0.52,
}];
const N: [Metric; 1] = [Metric {
    weight: 1.59,
    wide: 1.59,
    length: 0.33,
    jump: 0.10,
}];
const K: [Metric; 1] = [Metric {
    weight: 0.24,
    wide: 1.2,
    length: 6.7,
    jump: 0.02,
}];

/// The kriging constants of matrix products (all tables share them).
pub(crate) static LAW: Law = Law {
    metrics: [&M, &N, &K],
    slow_factor: 5.1,
    terms: &[
        Term {
            weight: 0.26,
            slow: [false, false, false],
        },
        Term {
            weight: 1.41,
            slow: [false, false, true],
        },
        Term {
            weight: 0.05,
            slow: [false, true, false],
        },
        Term {
            weight: 0.25,
            slow: [true, false, false],
        },
    ],
    nugget: 0.037,
    floor: 0.01,
    neighbours: 48,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants;
    use crate::store::Kind;
    use crate::table::Physics;

    const H100: Chip = Chip::datasheet(132.0, 989.0, Some(1978.0), 3350.0, 50.0);

    fn h100(dtype: DType) -> Base {
        match constants::of("h100_sxm", dtype, Kind::Gemm)
            .unwrap()
            .physics
        {
            Physics::Gemm(base) => base,
            Physics::Attention(_) => unreachable!("asked for products"),
        }
    }

    fn us(m: u64, n: u64, k: u64) -> f64 {
        h100(DType::Bf16).us(&H100, H100.bf16, DType::Bf16, Shape { m, n, k })
    }

    #[test]
    fn one_tile_more_than_a_wave_costs_a_wave() {
        // 11 x 12 tiles of 128 x 256 are one wave of 132. One row more needs a second, or 23 x 48
        // tiles of 64 x 64: nine waves of an eighth.
        assert!(us(11 * 128 + 1, 12 * 256, 8192) > 1.08 * us(11 * 128, 12 * 256, 8192));
    }

    #[test]
    fn a_large_product_runs_near_the_sustained_share_of_the_peak() {
        // e0 = .88, so 2 m n k / T approaches .88 * 989 from below.
        let (m, n, k) = (16_384, 16_384, 8192);
        let rate = Shape { m, n, k }.flops() / us(m, n, k) / 1e6;
        assert!((0.75 * 989.0..0.88 * 989.0).contains(&rate), "{rate}");
    }

    #[test]
    fn few_tiles_split_a_long_k() {
        // One tile of 64 x 64 on one multiprocessor would take k = 65,536 at 1/132 of the rate; in 32
        // parts it takes little more than the 17 MB that must be read.
        let alone = 2.0 * 64.0 * 64.0 * 65_536.0 / (0.87 * 989e6 / 132.0);
        assert!(us(64, 64, 65_536) < 0.5 * alone);
        // Where the tiles fill the multiprocessors, splitting gains nothing.
        let unsplit = Base {
            besides: Besides::Split(f64::INFINITY),
            ..h100(DType::Bf16)
        };
        let full = Shape {
            m: 8192,
            n: 8192,
            k: 8192,
        };
        let whole = unsplit.us(&H100, H100.bf16, DType::Bf16, full);
        assert!((us(8192, 8192, 8192) - whole).abs() < 0.01 * whole);
    }

    #[test]
    fn quantising_takes_as_long_for_one_value_of_a_row_as_for_2048() {
        let base = h100(DType::Fp8);
        let fp8 = |k| {
            let shape = Shape {
                m: 32_768,
                n: 64,
                k,
            };
            base.us(&H100, H100.fp8.unwrap(), DType::Fp8, shape)
        };
        assert!(fp8(1024) < 1.1 * fp8(32));
        assert!(fp8(4096) > 1.5 * fp8(2048));
    }

    #[test]
    fn the_base_never_falls_as_k_grows() {
        let times: Vec<f64> = (1..64).map(|k| us(4096, 4096, 128 * k)).collect();
        assert!(times.is_sorted());
    }
}
