//! Which kernels an encode or a decode launches, how many blocks, how much scratch memory.
//!
//! The constants are those of `kernels/cuda/*.cu`; a test holds them to the sources.

use super::low_rank;
use super::source::{Source, Variant};
use crate::compressor::Compressor;
use crate::wire::Shape;

/// Channels of a tile: a warp of octets.
const TILE_CHANNELS: usize = 256;
/// Threads of a block of tiles: 8 warps.
const TILE_THREADS: usize = 256;
/// Rows of a block in `sign.cu`, and in its codes of `2bit`.
const SIGN_ROWS: usize = 32;
const CODE_ROWS: usize = 16;
/// Rows of a block in `integer.cu`.
const INTEGER_ROWS: usize = 16;
/// Rows of a block in `sparse.cu`.
const SPARSE_ROWS: usize = 2;
/// Bins of the histogram of `2bit-fitted`.
const BINS: usize = 1024;
/// Blocks a multiprocessor gets in the sums: more make partial sums and nothing else.
const SUM_BLOCKS_PER_MULTIPROCESSOR: usize = 8;
/// Channels of an octet, a thread's work in a row.
const OCTET: usize = 8;
/// Most threads of a block of `fp8.cu` and `sparse.cu`.
const MOST_ROW_THREADS: usize = 256;

/// One launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The file.
    pub source: Source,
    /// The entry point, without `ditplan_` and the variant.
    pub entry: &'static str,
    /// Whether it has variants by activation and base.
    pub varies: bool,
    /// Blocks in x and y.
    pub grid: [usize; 2],
    /// Threads of a block: whole warps.
    pub threads: usize,
    /// Dynamic shared memory of a block, bytes.
    pub shared_bytes: usize,
    /// The parameter `option`.
    pub option: usize,
    /// The parameter `stage`.
    pub stage: usize,
}

impl Launch {
    /// The entry point's whole name.
    #[must_use]
    pub fn name(&self, variant: Variant) -> String {
        if self.varies {
            format!("ditplan_{}_{}", self.entry, variant.suffix())
        } else {
            format!("ditplan_{}", self.entry)
        }
    }
}

/// A shape on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows and channels.
    pub shape: Shape,
    /// Multiprocessors of the GPU.
    pub multiprocessors: usize,
}

impl Geometry {
    fn rows(self) -> usize {
        self.shape.rows()
    }

    fn channels(self) -> usize {
        self.shape.channels()
    }

    fn channel_tiles(self) -> usize {
        self.channels().div_ceil(TILE_CHANNELS)
    }

    /// A launch over tiles of `rows` rows.
    pub(super) fn tiles(self, source: Source, entry: &'static str, rows: usize) -> Launch {
        Launch {
            source,
            entry,
            varies: true,
            grid: [self.channel_tiles(), self.rows().div_ceil(rows)],
            threads: TILE_THREADS,
            shared_bytes: 0,
            option: 0,
            stage: 0,
        }
    }

    /// Strips of rows that a block of the sums goes through.
    fn strips(self) -> usize {
        let strips = self.rows().div_ceil(SIGN_ROWS);
        let wanted = (SUM_BLOCKS_PER_MULTIPROCESSOR * self.multiprocessors).max(1);
        (self.channel_tiles() * strips / wanted).clamp(1, strips)
    }

    /// A launch whose blocks go through several strips.
    fn sums(self, entry: &'static str) -> Launch {
        let option = self.strips();
        Launch {
            option,
            ..self.tiles(Source::Sign, entry, SIGN_ROWS * option)
        }
    }

    /// A launch of a block for each `rows` rows, whose threads share a row's octets evenly.
    fn by_rows(self, source: Source, entry: &'static str, rows: usize) -> Launch {
        let octets = self.channels().div_ceil(OCTET);
        let rounds = octets.div_ceil(MOST_ROW_THREADS);
        Launch {
            grid: [self.rows().div_ceil(rows), 1],
            threads: octets.div_ceil(rounds).next_multiple_of(32),
            ..self.tiles(source, entry, rows)
        }
    }

    /// The launches of an encode.
    ///
    /// # Panics
    /// For low rank above 64.
    #[must_use]
    pub fn encode(self, compressor: Compressor) -> Vec<Launch> {
        let sign = |entry, rows| self.tiles(Source::Sign, entry, rows);
        let integer = |entry| self.tiles(Source::Integer, entry, INTEGER_ROWS);
        match compressor {
            Compressor::OneBit => {
                vec![self.sums("1bit_encode_1"), sign("1bit_encode_2", SIGN_ROWS)]
            }
            Compressor::TwoBit => {
                vec![self.sums("2bit_encode_1"), sign("2bit_encode_2", CODE_ROWS)]
            }
            Compressor::TwoBitFitted => vec![
                self.sums("2bit_encode_1"),
                self.sums("2bit_fitted_encode_2"),
                sign("2bit_fitted_encode_3", CODE_ROWS),
            ],
            Compressor::Int8 => vec![integer("int8_encode_1")],
            Compressor::Int4 => vec![integer("int4_encode_1")],
            Compressor::Fp8 => vec![self.by_rows(Source::Fp8, "fp8_encode_1", 1)],
            Compressor::Sparse(m) => {
                let block = usize::from(m);
                let launch = self.by_rows(Source::Sparse, "sparse_encode_1", SPARSE_ROWS);
                vec![Launch {
                    shared_bytes: SPARSE_ROWS * self.channels().div_ceil(block),
                    option: block,
                    ..launch
                }]
            }
            Compressor::LowRank(r) | Compressor::LowRankInt4(r) => {
                low_rank::encode(self, r, compressor)
            }
        }
    }

    /// The launches of a decode.
    #[must_use]
    pub fn decode(self, compressor: Compressor) -> Vec<Launch> {
        let sign = |entry| vec![self.tiles(Source::Sign, entry, SIGN_ROWS)];
        let integer = |entry| vec![self.tiles(Source::Integer, entry, INTEGER_ROWS)];
        match compressor {
            Compressor::OneBit => sign("1bit_decode_1"),
            Compressor::TwoBit => sign("2bit_decode_1"),
            Compressor::TwoBitFitted => sign("2bit_fitted_decode_1"),
            Compressor::Int8 => integer("int8_decode_1"),
            Compressor::Int4 => integer("int4_decode_1"),
            Compressor::Fp8 => vec![self.by_rows(Source::Fp8, "fp8_decode_1", 1)],
            Compressor::Sparse(m) => vec![Launch {
                option: usize::from(m),
                ..self.by_rows(Source::Sparse, "sparse_decode_1", SPARSE_ROWS)
            }],
            Compressor::LowRank(r) | Compressor::LowRankInt4(r) => {
                vec![low_rank::decode(self, r, compressor)]
            }
        }
    }

    /// The launch of a raw step: the base becomes the activation.
    #[must_use]
    pub fn raw(self) -> Launch {
        self.tiles(Source::Integer, "raw_encode_1", INTEGER_ROWS)
    }

    /// Scratch memory of an encode or a decode, bytes; zeroed before its first use.
    #[must_use]
    pub fn work_bytes(self, compressor: Compressor) -> usize {
        match compressor {
            Compressor::OneBit | Compressor::TwoBit | Compressor::TwoBitFitted => self.sign_work(),
            Compressor::LowRank(r) | Compressor::LowRankInt4(r) => {
                low_rank::work_bytes(self.shape, r)
            }
            Compressor::Int8 | Compressor::Int4 | Compressor::Fp8 | Compressor::Sparse(_) => 16,
        }
    }

    /// `Work` of `sign.cu`.
    fn sign_work(self) -> usize {
        let tiles = self.channel_tiles();
        let row_tiles = self.rows().div_ceil(SIGN_ROWS * self.strips());
        let counters = (tiles + 1).div_ceil(4) * 16;
        let tile_sums = tiles.div_ceil(2) * 16;
        let row_parts = self.rows().div_ceil(4) * 16 * tiles;
        let channel_parts = row_tiles * tiles * TILE_CHANNELS * 4;
        counters + tile_sums + 2 * BINS * 8 + row_parts + channel_parts
    }
}
