//! The constants of the physical bases, as data: one line a table.
//!
//! ```text
//! examples/fit_table ─▶ tables/gemm_constants.csv, tables/attention_constants.csv ─▶ Constants
//! ratios of causal tables ─▶ tables/wide_heads.csv
//! ```
//! A line gives its source and, where fitted, the errors of the base alone and of the table with the row left out.
//! Heads of a width without a line take those of the nearest width under the same mask.
//!
//! Guarantee: a table without a line has no constants; nothing stands in silently.

use std::sync::OnceLock;

use topologies::{DType, Gpu, gpu};

use crate::attention;
use crate::gemm::{self, Besides};
use crate::kinship::Kinship;
use crate::store::{Kind, Mask};
use crate::table::Physics;

/// What is known of a table beside its times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Constants {
    pub physics: Physics,
    /// Half-width of the interval beyond the measured shapes: the p90 of larger sizes held out.
    pub beyond: f64,
}

impl Constants {
    /// Those of a GPU that no line is about, with a relative's physics.
    pub(crate) fn borrowed(physics: Physics, kind: Kind) -> Self {
        let beyond = usual_beyond(kind);
        Self { physics, beyond }
    }
}

/// What most tables miss beyond their shapes.
pub(crate) fn usual_beyond(kind: Kind) -> f64 {
    match kind {
        Kind::Attention {
            mask: Mask::Full, ..
        } => 0.10,
        Kind::Gemm | Kind::Attention { .. } => 0.18,
    }
}

/// A line of a file: the table that it is about, and its constants.
struct Line {
    system: &'static str,
    dtype: DType,
    kind: Kind,
    constants: Constants,
}

/// What number formats are called in the files.
pub(crate) fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bf16 => "bf16",
        DType::Fp8 => "fp8",
        DType::Nvfp4 => "nvfp4",
    }
}

/// The constants of a table.
pub(crate) fn of(system: &str, dtype: DType, kind: Kind) -> Option<Constants> {
    let unlike = |line: &&Line| match (line.kind, kind) {
        (Kind::Gemm, Kind::Gemm) => Some(0),
        (
            Kind::Attention { mask, head_dim },
            Kind::Attention {
                mask: asked,
                head_dim: width,
            },
        ) if mask == asked => Some(head_dim.abs_diff(width)),
        _ => None,
    };
    lines()
        .iter()
        .filter(|line| line.system == system && line.dtype == dtype)
        .filter_map(|line| Some((unlike(&line)?, line)))
        .min_by_key(|(unlike, _)| *unlike)
        .map(|(_, line)| line.constants)
}

fn lines() -> &'static [Line] {
    static LINES: OnceLock<Vec<Line>> = OnceLock::new();
    LINES.get_or_init(|| {
        let gemm = include_str!("../tables/gemm_constants.csv");
        let attention = include_str!("../tables/attention_constants.csv");
        let products = gemm.lines().skip(1).map(gemm_line);
        products
            .chain(attention.lines().skip(1).map(attention_line))
            .collect()
    })
}

/// A number of a file that the tests read; 0 where the cell is empty.
fn number(cell: &str) -> f64 {
    let value = (!cell.is_empty()).then(|| cell.parse());
    value.map_or(0.0, |value| {
        value.expect("a test reads the constants that ship")
    })
}

fn gemm_line(line: &'static str) -> Line {
    let cells: Vec<&str> = line.split(',').collect();
    let [t0, tk, e0, c, b, f, e1, ts, row, pass, beyond] =
        std::array::from_fn(|at| number(cells[at + 2]));
    let (dtype, besides) = match cells[1] {
        "bf16" => (DType::Bf16, Besides::Split(ts)),
        "fp8" => (DType::Fp8, Besides::Quantise { row, pass }),
        _ => (DType::Nvfp4, Besides::Quantise { row, pass }),
    };
    let physics = Physics::Gemm(gemm::Base {
        t0,
        tk,
        e0,
        c,
        b,
        f,
        e1,
        besides,
    });
    Line {
        system: cells[0],
        dtype,
        kind: Kind::Gemm,
        constants: Constants { physics, beyond },
    }
}

fn attention_line(line: &'static str) -> Line {
    let cells: Vec<&str> = line.split(',').collect();
    let [head_dim, block, t0, eff, tau, be, w, ks, beyond] =
        std::array::from_fn(|at| number(cells[at + 2]));
    let mask = match cells[1] {
        "causal" => Mask::Causal,
        _ => Mask::Full,
    };
    let physics = Physics::Attention(attention::Base {
        block,
        t0,
        eff,
        tau,
        be,
        w,
        ks,
    });
    let head_dim = head_dim as u32;
    Line {
        system: cells[0],
        dtype: DType::Bf16,
        kind: Kind::Attention { mask, head_dim },
        constants: Constants { physics, beyond },
    }
}

/// How much longer heads of 128 take than of 64 on `gpu`, by decades of work: its own line, else that of its closest
/// relative.
pub(crate) fn wide_heads(gpu: &Gpu) -> [f64; 5] {
    let lines = include_str!("../tables/wide_heads.csv").lines().skip(1);
    let known = lines.map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let of = gpu::find(cells[0]).expect("a test reads the constants that ship");
        let decades: [f64; 5] = std::array::from_fn(|at| number(cells[at + 1]));
        (Kinship::of(of, gpu), decades)
    });
    let closest = known.min_by_key(|(kinship, _)| *kinship);
    closest.expect("the file has lines").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_says_where_it_is_from() {
        for file in [
            include_str!("../tables/gemm_constants.csv"),
            include_str!("../tables/attention_constants.csv"),
        ] {
            let columns = file.lines().next().unwrap().split(',').count();
            for line in file.lines() {
                assert_eq!(line.split(',').count(), columns, "{line}");
                assert!(!line.ends_with(','), "{line} has a source");
            }
        }
        for line in lines() {
            assert!(gpu::find(line.system).is_ok(), "{}", line.system);
            assert!((0.05..0.9).contains(&line.constants.beyond));
        }
    }

    #[test]
    fn other_widths_take_the_nearest_and_other_masks_none() {
        let of = |mask, head_dim| of("a100_sxm", DType::Bf16, Kind::Attention { mask, head_dim });
        assert_eq!(of(Mask::Causal, 64), of(Mask::Causal, 128));
        assert!(of(Mask::Causal, 64).is_some());
        assert_eq!(of(Mask::Full, 64), None);
    }

    #[test]
    fn a_relative_without_wide_heads_takes_those_of_its_chip_line() {
        let of = |name: &str| wide_heads(gpu::find(name).unwrap());
        assert_eq!(of("GB200"), of("B200"));
        assert_eq!(of("H20"), of("H100-SXM"));
        assert_ne!(of("GB300"), of("H100-SXM"));
    }
}
