//! Time of attention: a physical base, and what it misses interpolated from measurements.
//!
//! ```text
//! T    = T0 + ks q/1024 + (Tc^3 + Tm^3)^(1/3)
//! CTAs = b h ceil(q/Bq),  x = CTAs/SM,  waves = 1 if x < 1 else w ceil(x) + (1-w) x
//! one  = 4 Bq L d / (peak/SM * eff) + tau,  L = keys rounded up to 64 (causal: (that + Bq)/2)
//! Tc   = waves * one (causal: at least one CTA over all keys),  Tm = 4 b h (q + keys) d / (BW be)
//! ```
//! Times in microseconds. With as many keys as queries the constants are those fitted on the
//! measured tables (`tables/attention_constants.csv`). **Rectangular** attention (a hop of a ring, gathered keys, cross-attention)
//! evaluates the base at the rectangle and takes the residual of the square with the same work,
//! side sqrt(queries * keys): the base knows blocks and traffic, the residual how well the kernel
//! runs at that amount of work.
//!
//! Not modelled: varying lengths in a batch, masks other than causal, grouped heads.

use crate::chip::Chip;
use crate::field::{Law, Metric, Point, Term};
use crate::store::Mask;

/// The shape of an attention: `batch * heads` times `queries x keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub batch: u64,
    pub heads: u64,
    pub queries: u64,
    pub keys: u64,
    pub head_dim: u64,
}

impl Shape {
    /// Coordinates in the grid of the square with the same work.
    pub(crate) fn point(self) -> [Point; 3] {
        let pairs = ((self.batch * self.heads) as f64).log2();
        [
            [pairs, (self.batch as f64).log2()],
            [self.side().log2(), 0.0],
            [0.0, 0.0],
        ]
    }

    /// Side of the square with the same work; exact where it is one already.
    pub(crate) fn side(self) -> f64 {
        if self.queries == self.keys {
            self.queries as f64
        } else {
            (self.queries as f64 * self.keys as f64).sqrt()
        }
    }

    /// Floating-point operations of both products.
    pub(crate) fn flops(self, mask: Mask) -> f64 {
        let full = 4.0
            * (self.batch * self.heads * self.head_dim) as f64
            * self.queries as f64
            * self.keys as f64;
        match mask {
            Mask::Full => full,
            Mask::Causal => full / 2.0,
        }
    }

    /// Bytes of queries, keys, values and the output.
    pub(crate) fn bytes(self) -> f64 {
        4.0 * (self.batch * self.heads * self.head_dim) as f64 * (self.queries + self.keys) as f64
    }
}

/// The constants of the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Base {
    /// Queries of one CTA.
    pub block: f64,
    /// Fixed time, microseconds.
    pub t0: f64,
    /// Share of the tensor peak.
    pub eff: f64,
    /// Fixed time of a CTA, microseconds.
    pub tau: f64,
    /// Share of the memory bandwidth.
    pub be: f64,
    /// How much of a broken wave counts as a whole one.
    pub w: f64,
    /// Microseconds per 1024 queries.
    pub ks: f64,
}

impl Base {
    /// Microseconds of `shape` on `chip`, whose tensor peak is `peak` (FLOP per microsecond).
    pub(crate) fn us(&self, chip: &Chip, peak: f64, mask: Mask, shape: Shape) -> f64 {
        let queries = shape.queries as f64;
        let keys = (shape.keys as f64 / 64.0).ceil() * 64.0;
        let ctas = (shape.batch * shape.heads) as f64 * (queries / self.block).ceil();
        let x = ctas / chip.sm;
        let waves = if x < 1.0 {
            1.0
        } else {
            self.w * x.ceil() + (1.0 - self.w) * x
        };
        let rate = peak / chip.sm * self.eff;
        let over =
            |length: f64| 4.0 * self.block * length * shape.head_dim as f64 / rate + self.tau;
        let compute = match mask {
            Mask::Full => waves * over(keys),
            Mask::Causal => (waves * over((keys + self.block) / 2.0)).max(over(keys)),
        };
        let memory = shape.bytes() / (chip.bandwidth * self.be);
        self.t0 + self.ks * queries / 1024.0 + (compute.powi(3) + memory.powi(3)).cbrt()
    }
}

/// How much longer non-causal attention takes with heads of 128 than of 64, where `work` is
/// batch * heads * queries * keys.
///
/// The ratio of the causal tables of the same GPU and kernel family at equal work (causal work is
/// half of its rectangle; `tables/wide_heads.csv`), by decades from 10^7.5 to 10^11.5 of the causal rectangle, log-linear
/// between them and held outside. Two causal kernels of one GPU differ by 7 to 8 % in it.
pub(crate) fn wide_head_factor(decades: [f64; 5], work: f64) -> f64 {
    let place = ((2.0 * work).log10() - 7.5).clamp(0.0, 4.0);
    let low = (place.floor() as usize).min(3);
    decades[low] + (decades[low + 1] - decades[low]) * (place - low as f64)
}

/// The tensor peak (FLOP per microsecond) that explains attention on `to` with a base fitted on
/// `from`: the exponent unit limits it too.
///
/// Time per score is e0 + e1 pad32(d), on B200 .128 + .0025 d picoseconds: e0 goes with the
/// exponent rate, e1 with the tensor peak. Without both exponent rates the tensor peak decides.
pub(crate) fn exponent_limited_peak(from: &Chip, to: &Chip, head_dim: u64) -> f64 {
    let (Some(before), Some(after)) = (from.exponent, to.exponent) else {
        return to.bf16;
    };
    let tensor = 0.0025 * (head_dim as f64 / 32.0).ceil() * 32.0;
    let slower = (0.128 * before / after + tensor * from.bf16 / to.bf16) / (0.128 + tensor);
    from.bf16 / slower
}

const PAIRS: [Metric; 2] = [
    Metric {
        weight: 1.0,
        wide: 1.0,
        length: 1.53,
        jump: 0.19,
    },
    Metric {
        weight: 0.25,
        wide: 0.25,
        length: 37.0,
        jump: 0.0,
    },
];
const LENGTH: [Metric; 1] = [Metric {
    weight: 0.55,
    wide: 0.55,
    length: 3.97,
    jump: 0.0,
}];

/// The kriging constants of attention: axes (batch * heads with batch, length, nothing).
pub(crate) static LAW: Law = Law {
    metrics: [&PAIRS, &LENGTH, &[]],
    slow_factor: 3.7,
    terms: &[
        Term {
            weight: 0.37,
            slow: [false, false, false],
        },
        Term {
            weight: 0.42,
            slow: [false, true, false],
        },
        Term {
            weight: 0.15,
            slow: [true, false, false],
        },
    ],
    nugget: 0.003,
    floor: 0.005,
    neighbours: 40,
};

#[cfg(test)]
mod tests {
    use topologies::DType;

    use super::*;
    use crate::constants;
    use crate::store::Kind;
    use crate::table::Physics;

    const H100: Chip = Chip::datasheet(132.0, 989.0, Some(1978.0), 3350.0, 50.0);

    fn us(queries: u64, keys: u64) -> f64 {
        let shape = Shape {
            batch: 1,
            heads: 24,
            queries,
            keys,
            head_dim: 64,
        };
        let (mask, head_dim) = (Mask::Full, 64);
        let known = constants::of("h100_sxm", DType::Bf16, Kind::Attention { mask, head_dim });
        let Physics::Attention(base) = known.unwrap().physics else {
            unreachable!("asked for attention");
        };
        base.us(&H100, H100.bf16, Mask::Full, shape)
    }

    #[test]
    fn a_ring_of_four_hops_does_the_work_of_one_attention() {
        // 4 hops of (S/4 x S/4) are a quarter of S x S: T(S, S) is near 16 T(S/4, S/4).
        let ratio = us(32_768, 32_768) / (16.0 * us(8192, 8192));
        assert!((0.9..1.02).contains(&ratio), "{ratio}");
    }

    #[test]
    fn twice_the_keys_is_at_most_twice_the_time() {
        let ratio = us(8192, 16_384) / us(8192, 8192);
        assert!((1.8..2.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn attention_counts_four_products_of_the_sides() {
        let shape = Shape {
            batch: 2,
            heads: 3,
            queries: 10,
            keys: 20,
            head_dim: 64,
        };
        // 2 products of 2 q k d FLOPs for each of 6 heads.
        assert_eq!(shape.flops(Mask::Full), 6.0 * 4.0 * 10.0 * 20.0 * 64.0);
        // Queries and outputs 10 rows, keys and values 20 rows, 2 bytes each.
        assert_eq!(shape.bytes(), 6.0 * 64.0 * 2.0 * (2.0 * 10.0 + 2.0 * 20.0));
    }
}
