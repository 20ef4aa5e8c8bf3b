//! The launches of `low_rank.cu`: residual, subspace iteration from the fixed signs, factors, decode.

use super::geometry::{Geometry, Launch};
use super::source::Source;
use crate::compressor::Compressor;
use crate::wire::Shape;

/// Threads of a block.
const THREADS: usize = 256;
/// Most columns of a factor.
const MOST_RANK: usize = 64;
/// Rows that a block of A^T Y adds up, and one of a Gram matrix.
const SLICE: usize = 256;
const GRAM_SLICE: usize = 64;
/// Channels of a block of A^T Y.
const TILE: usize = 32;
/// Rows of a block of the residual, of A Q, of a decode.
const RESIDUAL_ROWS: usize = 8;
const DECODE_ROWS: usize = 32;
/// Rows of a block that divides by a Cholesky factor: a warp, whose fp64 rows fit shared memory.
const SOLVE_THREADS: usize = 32;
/// Rounds of the iteration, as the CPU's from the fixed start.
const ROUNDS: usize = 2;
/// Passes of a QR: the second makes up for what the first one's Gram matrix lost.
const QR_PASSES: usize = 2;

/// Which tall matrix a QR works on: the parameter `stage`.
#[derive(Clone, Copy)]
enum Tall {
    /// Q, C x r.
    Channels = 0,
    /// Y, N x r.
    Rows = 1,
}

struct Iteration {
    geometry: Geometry,
    option: usize,
    rank: usize,
    launches: Vec<Launch>,
}

fn rank_of(shape: Shape, r: u16) -> usize {
    assert!(
        usize::from(r) <= MOST_RANK,
        "low rank on the GPU goes to {MOST_RANK}, not {r}"
    );
    usize::from(r).min(shape.rows()).min(shape.channels())
}

impl Iteration {
    /// A launch that knows neither activation nor base.
    fn plain(
        &mut self,
        entry: &'static str,
        grid: [usize; 2],
        threads: usize,
        shared: usize,
        stage: usize,
    ) {
        self.launches.push(Launch {
            entry,
            varies: false,
            grid,
            threads,
            shared_bytes: shared,
            option: self.option,
            stage,
            ..self.geometry.tiles(Source::LowRank, entry, 1)
        });
    }

    /// A launch of a thread for each of `count`.
    fn each(&mut self, entry: &'static str, count: usize) {
        self.plain(entry, [count.div_ceil(THREADS), 1], THREADS, 0, 0);
    }

    fn times(&mut self) {
        let blocks = self.geometry.shape.rows().div_ceil(RESIDUAL_ROWS);
        self.plain("lowrank_times", [blocks, 1], THREADS, 0, 0);
    }

    fn transposed_times(&mut self) {
        let shape = self.geometry.shape;
        let grid = [
            shape.channels().div_ceil(TILE),
            shape.rows().div_ceil(SLICE),
        ];
        self.plain("lowrank_transposed", grid, THREADS, 0, 0);
        self.each("lowrank_add", shape.channels() * self.rank);
    }

    fn orthonormal(&mut self, tall: Tall) {
        let shape = self.geometry.shape;
        let length = match tall {
            Tall::Channels => shape.channels(),
            Tall::Rows => shape.rows(),
        };
        let (rank, stage) = (self.rank, tall as usize);
        for _ in 0..QR_PASSES {
            self.plain(
                "lowrank_gram",
                [length.div_ceil(GRAM_SLICE), 1],
                THREADS,
                0,
                stage,
            );
            self.plain(
                "lowrank_cholesky",
                [1, 1],
                THREADS,
                8 * (rank * rank + rank),
                stage,
            );
            let shared = 8 * (rank * rank + rank * SOLVE_THREADS);
            let blocks = length.div_ceil(SOLVE_THREADS);
            self.plain("lowrank_solve", [blocks, 1], SOLVE_THREADS, shared, stage);
        }
    }

    fn factors(&mut self, compressor: Compressor) {
        let shape = self.geometry.shape;
        let values = self.rank * (shape.rows() + shape.channels());
        if matches!(compressor, Compressor::LowRankInt4(_)) {
            self.plain("lowrank_int4_ranges", [2 * self.rank, 1], THREADS, 0, 0);
            self.each("lowrank_int4_write", values.div_ceil(2));
        } else {
            self.each("lowrank_write", values);
        }
    }
}

/// The launches of an encode.
pub(super) fn encode(geometry: Geometry, r: u16, compressor: Compressor) -> Vec<Launch> {
    let shape = geometry.shape;
    let mut run = Iteration {
        geometry,
        option: usize::from(r),
        rank: rank_of(shape, r),
        launches: Vec::new(),
    };
    run.each("lowrank_forget", 1);
    run.launches.push(Launch {
        option: usize::from(r),
        ..geometry.tiles(Source::LowRank, "lowrank_residual", RESIDUAL_ROWS)
    });
    run.each("lowrank_start", shape.channels() * run.rank);
    for _ in 0..ROUNDS {
        run.times();
        run.transposed_times();
        run.orthonormal(Tall::Channels);
    }
    run.times();
    run.orthonormal(Tall::Rows);
    run.transposed_times();
    run.factors(compressor);
    run.launches.push(decode(geometry, r, compressor));
    run.launches
}

/// The launch of a decode.
pub(super) fn decode(geometry: Geometry, r: u16, compressor: Compressor) -> Launch {
    let entry = match compressor {
        Compressor::LowRankInt4(_) => "lowrank_int4_decode_1",
        _ => "lowrank_decode_1",
    };
    Launch {
        option: usize::from(r),
        ..geometry.tiles(Source::LowRank, entry, DECODE_ROWS)
    }
}

/// `Buffers` of `low_rank.cu`, bytes.
pub(super) fn work_bytes(shape: Shape, r: u16) -> usize {
    let (rows, channels) = (shape.rows(), shape.channels());
    let rank = rank_of(shape, r);
    let floats = |count: usize| 4 * count.next_multiple_of(4);
    let grams = 8 * rows.max(channels).div_ceil(GRAM_SLICE) * rank * rank;
    let parts = 4 * rows.div_ceil(SLICE) * channels * rank;
    16 + 8 * MOST_RANK * MOST_RANK
        + grams
        + floats(rows * channels)
        + floats(channels * rank)
        + floats(rows * rank)
        + parts
}
