//! Compressors of K and V messages: their names, exact wire sizes and contraction.
//!
//! | written | bytes of an N x C message |
//! |---|---|
//! | `1bit` | N ceil(C/8) + 2N + 2C |
//! | `2bit` | N ceil(C/4) + 2N + 2C |
//! | `2bit-fitted` | those of `2bit` + 4 |
//! | `int8` | N C + 2N ceil(C/64) |
//! | `int4` | N ceil(C/2) + 2N ceil(C/64) |
//! | `fp8` | N C + 2N |
//! | `lowrank(r)` | 2r (N + C) |
//! | `lowrank-int4(r)` | ceil(r (N + C) / 2) + 8r |
//! | `sparse(1:M)` | 2 a block and 4 bits of position, blocks = N ceil(C/M) |
//!
//! A factor's rank r is at most min(N, C). The raw message has 2 N C bytes. The sizes of `1bit`,
//! `2bit`, low rank and sparse are those of CompactFusion (arXiv 2507.17511); the other four are
//! ours. [`crate::wire`] encodes and decodes them; docs/wire-formats.md has the bytes.
//!
//! Not modelled here: the error on real activations (replay measures it), entropy coding.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use topologies::Bytes;

/// A compressor of K and V messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compressor {
    /// Sign, with a scale per token and channel.
    OneBit,
    /// Sign and one magnitude bit, with a scale per token and channel.
    TwoBit,
    /// As [`Self::TwoBit`], with the two magnitudes fitted to each message (Lloyd-Max).
    TwoBitFitted,
    /// 8-bit integers, with a scale for every 64 channels of a row.
    Int8,
    /// 4-bit integers, with a scale for every 64 channels of a row.
    Int4,
    /// 8-bit floats (e4m3), with a scale a row.
    Fp8,
    /// Rank-`r` factors by subspace iteration, fp16.
    LowRank(u16),
    /// Rank-`r` factors by subspace iteration, INT4.
    LowRankInt4(u16),
    /// The largest of every `M` values, with its position.
    Sparse(u16),
}

/// A compressor name that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown compressor \"{name}\": use 1bit, 2bit, 2bit-fitted, int8, int4, fp8, lowrank(r), lowrank-int4(r) with r from 1, or sparse(1:M) with M of 2, 4, 8 or 16"
)]
pub struct UnknownCompressor {
    /// What was written.
    pub name: String,
}

/// Channels that share a scale in `int8` and `int4`.
pub(crate) const GROUP: usize = 64;

impl Compressor {
    /// One or two of every family, at the ranks and blocks of large models: what benchmarks time.
    pub const PALETTE: [Self; 11] = [
        Self::OneBit,
        Self::TwoBit,
        Self::TwoBitFitted,
        Self::Int8,
        Self::Int4,
        Self::Fp8,
        Self::LowRank(8),
        Self::LowRank(32),
        Self::LowRankInt4(32),
        Self::Sparse(4),
        Self::Sparse(8),
    ];

    /// Bytes of a compressed `rows x channels` message.
    #[must_use]
    pub fn message_bytes(self, rows: u64, channels: u64) -> Bytes {
        let scales = 2 * (rows + channels);
        let group_scales = 2 * rows * channels.div_ceil(GROUP as u64);
        let rank = |r: u16| u64::from(r).min(rows).min(channels);
        Bytes::new(match self {
            Self::OneBit => rows * channels.div_ceil(8) + scales,
            Self::TwoBit => rows * channels.div_ceil(4) + scales,
            Self::TwoBitFitted => rows * channels.div_ceil(4) + scales + 4,
            Self::Int8 => rows * channels + group_scales,
            Self::Int4 => rows * channels.div_ceil(2) + group_scales,
            Self::Fp8 => rows * channels + 2 * rows,
            Self::LowRank(r) => 2 * rank(r) * (rows + channels),
            Self::LowRankInt4(r) => (rank(r) * (rows + channels)).div_ceil(2) + 8 * rank(r),
            Self::Sparse(m) => {
                let blocks = rows * channels.div_ceil(u64::from(m));
                2 * blocks + blocks.div_ceil(2)
            }
        })
    }

    /// Bytes of the uncompressed fp16 or bf16 message.
    #[must_use]
    pub fn raw_bytes(rows: u64, channels: u64) -> Bytes {
        Bytes::new(2 * rows * channels)
    }

    /// Raw over compressed bytes of a whole run of `steps` steps whose first `warm_up` go raw.
    #[must_use]
    pub fn run_ratio(self, rows: u64, channels: u64, steps: u32, warm_up: u32) -> f64 {
        let raw = Self::raw_bytes(rows, channels).as_f64();
        let message = self.message_bytes(rows, channels).as_f64();
        let sent = f64::from(warm_up) * raw + f64::from(steps - warm_up) * message;
        f64::from(steps) * raw / sent
    }

    /// The published contraction on activations: E|C(x) - x|^2 <= (1 - contraction) |x|^2.
    ///
    /// `None` where none is published for this setting (low rank: INT4 factors of rank 32).
    #[must_use]
    pub fn published_contraction(self) -> Option<f64> {
        match self {
            Self::OneBit => Some(0.58),
            Self::TwoBit => Some(0.80),
            Self::LowRankInt4(32) => Some(0.26),
            Self::TwoBitFitted
            | Self::Int8
            | Self::Int4
            | Self::Fp8
            | Self::LowRank(_)
            | Self::LowRankInt4(_)
            | Self::Sparse(_) => None,
        }
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneBit => write!(f, "1bit"),
            Self::TwoBit => write!(f, "2bit"),
            Self::TwoBitFitted => write!(f, "2bit-fitted"),
            Self::Int8 => write!(f, "int8"),
            Self::Int4 => write!(f, "int4"),
            Self::Fp8 => write!(f, "fp8"),
            Self::LowRank(r) => write!(f, "lowrank({r})"),
            Self::LowRankInt4(r) => write!(f, "lowrank-int4({r})"),
            Self::Sparse(m) => write!(f, "sparse(1:{m})"),
        }
    }
}

impl FromStr for Compressor {
    type Err = UnknownCompressor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let unknown = || UnknownCompressor {
            name: name.to_owned(),
        };
        let argument = |family: &str| -> Option<u16> {
            let rest = name.strip_prefix(family)?;
            let bare = rest
                .strip_prefix('(')
                .and_then(|inner| inner.strip_suffix(')'))
                .unwrap_or(rest);
            let number = if family == "sparse" {
                bare.strip_prefix("1:")?
            } else {
                bare
            };
            number.parse().ok().filter(|value| *value > 0)
        };
        match name {
            "1bit" => Ok(Self::OneBit),
            "2bit" => Ok(Self::TwoBit),
            "2bit-fitted" => Ok(Self::TwoBitFitted),
            "int8" => Ok(Self::Int8),
            "int4" => Ok(Self::Int4),
            "fp8" => Ok(Self::Fp8),
            _ => argument("lowrank-int4")
                .map(Self::LowRankInt4)
                .or_else(|| argument("lowrank").map(Self::LowRank))
                .or_else(|| {
                    argument("sparse")
                        .filter(|m| matches!(m, 2 | 4 | 8 | 16))
                        .map(Self::Sparse)
                })
                .ok_or_else(unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FLUX.1-dev 1024x1024 on 4 GPUs, and CogVideoX-2b 49x480x720 on 6 (CFG batch 2):
    /// (compressor, bytes, ratio over 28 steps with 1 raw; bytes, ratio over 50 with 2 raw).
    const VECTORS: [(&str, u64, f64, u64, f64); 5] = [
        ("1bit", 426_112, 10.29, 1_419_540, 9.93),
        ("2bit", 843_904, 6.35, 2_823_540, 6.22),
        ("lowrank(8)", 66_560, 22.1, 124_320, 22.1),
        ("lowrank-int4(32)", 66_816, 22.05, 124_576, 22.1),
        ("sparse(1:8)", 1_044_480, 5.4, 3_510_000, 5.3),
    ];

    #[test]
    fn message_sizes_match_the_published_shapes() {
        assert_eq!(Compressor::raw_bytes(1088, 3072).get(), 6_684_672);
        assert_eq!(Compressor::raw_bytes(5850, 1920).get(), 22_464_000);
        for (name, flux, flux_run, cog, cog_run) in VECTORS {
            let compressor: Compressor = name.parse().unwrap();
            assert_eq!(compressor.message_bytes(1088, 3072).get(), flux, "{name}");
            assert_eq!(compressor.message_bytes(5850, 1920).get(), cog, "{name}");
            let run = compressor.run_ratio(1088, 3072, 28, 1);
            assert!((run - flux_run).abs() < 0.051, "{name}: {run}");
            let run = compressor.run_ratio(5850, 1920, 50, 2);
            assert!((run - cog_run).abs() < 0.051, "{name}: {run}");
        }
    }

    #[test]
    fn sizes_of_our_own_formats() {
        // N = 1088, C = 3072 = 48 groups of 64; N C = 3,342,336; 2 x 48 N = 104,448; 2N = 2,176.
        let own = [
            ("2bit-fitted", 843_908),
            ("int8", 3_446_784),
            ("int4", 1_775_616),
            ("fp8", 3_344_512),
        ];
        for (name, bytes) in own {
            let compressor: Compressor = name.parse().unwrap();
            assert_eq!(compressor.message_bytes(1088, 3072).get(), bytes, "{name}");
        }
        // A last group may be short: 3 rows of 65 channels have 2 groups each.
        assert_eq!(Compressor::Int8.message_bytes(3, 65).get(), 195 + 12);
        assert_eq!(Compressor::Int4.message_bytes(3, 65).get(), 99 + 12);
        // A rank above min(N, C) would only add zero columns: it is capped.
        assert_eq!(Compressor::LowRank(32).message_bytes(3, 65).get(), 6 * 68);
    }

    #[test]
    fn a_raw_warm_up_step_caps_any_compressor() {
        // 28 steps, 1 raw: at most 28.
        assert!(Compressor::LowRankInt4(1).run_ratio(1088, 3072, 28, 1) < 28.0);
    }

    #[test]
    fn names_read_back_and_short_forms_are_read() {
        for (name, ..) in VECTORS {
            assert_eq!(name.parse::<Compressor>().unwrap().to_string(), name);
        }
        for compressor in Compressor::PALETTE {
            assert_eq!(compressor.to_string().parse(), Ok(compressor));
        }
        assert_eq!("lowrank8".parse(), Ok(Compressor::LowRank(8)));
        assert_eq!("lowrank-int4(32)".parse(), Ok(Compressor::LowRankInt4(32)));
    }

    #[test]
    fn a_wrong_name_says_what_to_write() {
        for wrong in ["3bit", "lowrank", "lowrank(0)", "sparse(1:3)", "sparse(8)"] {
            let error = wrong.parse::<Compressor>().unwrap_err();
            assert!(error.to_string().contains("use 1bit, 2bit"), "{wrong}");
        }
    }

    #[test]
    fn more_channels_never_shrink_a_message() {
        for compressor in Compressor::PALETTE {
            let sizes: Vec<_> = (1..200)
                .map(|c| compressor.message_bytes(7, c).get())
                .collect();
            assert!(sizes.is_sorted(), "{compressor}");
        }
    }
}
