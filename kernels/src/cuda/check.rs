//! Every compressor, format of activation and base, and shape on the GPU against the CPU.

use std::fmt;

use super::case::Case;
use super::device::Gpu;
use super::error::CudaError;
use super::samples::Kind;
use super::source::Variant;
use super::tolerance::Agreement;
use crate::compressor::Compressor;
use crate::wire::{BaseFormat, Half, Order, Shape};

/// How much is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Tiny and odd shapes: seconds, also where the GPU is emulated.
    Quick,
    /// Also shapes of models.
    Full,
}

/// Every format, with ranks and blocks that small shapes exercise.
const COMPRESSORS: [Compressor; 12] = [
    Compressor::OneBit,
    Compressor::TwoBit,
    Compressor::TwoBitFitted,
    Compressor::Int8,
    Compressor::Int4,
    Compressor::Fp8,
    Compressor::Sparse(2),
    Compressor::Sparse(4),
    Compressor::Sparse(8),
    Compressor::Sparse(16),
    Compressor::LowRank(8),
    Compressor::LowRankInt4(8),
];

/// Not multiples of 2, 4, 8, 16, 64, 256, of a strip or of a block; and two whose octets are whole.
const SMALL: [(usize, usize); 9] = [
    (1, 1),
    (1, 130),
    (7, 1),
    (5, 7),
    (3, 65),
    (6, 40),
    (35, 320),
    (2, 2055),
    (69, 257),
];

/// Shards of SD3, FLUX.1-dev and CogVideoX-2b, and one with odd rows and channels.
const LARGE: [(usize, usize); 4] = [(333, 1536), (1088, 3072), (5850, 1920), (1001, 1537)];

/// The comparisons of one compressor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The compressor.
    pub compressor: Compressor,
    /// Comparisons made.
    pub cases: usize,
    /// Of those, messages equal byte for byte; the others are within the tolerance or in `wrong`.
    pub equal: usize,
    /// What is wrong, a sentence each.
    pub wrong: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = self.cases - self.equal - self.wrong.len();
        write!(
            f,
            "{:16} {:5} cases: {} equal, {near} within the tolerance, {} wrong",
            self.compressor.to_string(),
            self.cases,
            self.equal,
            self.wrong.len()
        )
    }
}

fn shapes(depth: Depth) -> impl Iterator<Item = Shape> {
    let large: &[_] = if depth == Depth::Full { &LARGE } else { &[] };
    SMALL
        .iter()
        .chain(large)
        .map(|&(rows, channels)| Shape::new(rows, channels))
}

/// The comparisons of a compressor in one variant.
fn cases(compressor: Compressor, variant: Variant, depth: Depth) -> Vec<Case> {
    let plain = variant.base == BaseFormat::F16 && variant.activation == Half::F16;
    let mut cases = Vec::new();
    for (n, shape) in shapes(depth).enumerate() {
        let large = n >= SMALL.len();
        let kinds = if large {
            &Kind::ALL[..1]
        } else {
            &Kind::ALL[..]
        };
        for &kind in kinds {
            // Aligned for the large and for whole octets, else also at an odd address.
            let offset = if shape.channels() % 8 == 0 { 0 } else { n % 4 };
            cases.push(Case {
                compressor,
                shape,
                variant,
                order: Order::First,
                kind,
                offset,
            });
        }
        if plain || n % 3 == 0 {
            cases.push(Case {
                compressor,
                shape,
                variant,
                order: Order::Zero,
                kind: Kind::Uneven,
                offset: 3,
            });
        }
    }
    cases
}

/// Compares every compressor whose name `wanted` takes, in every variant; `progress` hears of each done.
///
/// # Errors
/// What the GPU refuses; what it computes wrongly is in the result.
pub fn check(
    gpu: &Gpu,
    depth: Depth,
    wanted: impl Fn(Compressor) -> bool,
    mut progress: impl FnMut(&Checked),
) -> Result<Vec<Checked>, CudaError> {
    let mut all = Vec::new();
    for compressor in COMPRESSORS.into_iter().filter(|&it| wanted(it)) {
        let mut checked = Checked {
            compressor,
            cases: 0,
            equal: 0,
            wrong: Vec::new(),
        };
        for case in Variant::all().flat_map(|variant| cases(compressor, variant, depth)) {
            checked.cases += 1;
            match case.run(gpu)? {
                Ok(Agreement::Equal) => checked.equal += 1,
                Ok(Agreement::Near) => {}
                Err(wrong) => checked.wrong.push(sentence(&case, &wrong)),
            }
        }
        progress(&checked);
        all.push(checked);
    }
    Ok(all)
}

fn sentence(case: &Case, wrong: &str) -> String {
    format!(
        "{} {} x {}, {}, {:?}, {:?}, offset {}: {wrong}",
        case.compressor,
        case.shape.rows(),
        case.shape.channels(),
        case.variant.suffix(),
        case.order,
        case.kind,
        case.offset
    )
}
