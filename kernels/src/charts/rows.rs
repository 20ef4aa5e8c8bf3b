//! The charts that ship: `tables/attention_kernels.csv` (its sources and licences stand in each row).

use super::{Case, Row, charted_gpu};
use crate::attention::Shape;
use crate::attention_kernel::AttentionKernel;
use crate::store::Mask;

/// Every row: gpu, kernel, causal, batch, heads, kv_heads, seq_q, seq_kv, head_dim, time_ms, licence, source.
///
/// # Panics
/// Never in a released build: the tests read it.
pub(super) fn built_in() -> Vec<Row<'static>> {
    let text = include_str!("../../tables/attention_kernels.csv");
    text.lines().skip(1).map(row).collect()
}

fn row(line: &'static str) -> Row<'static> {
    let cells: Vec<&str> = line.split(',').collect();
    let count = |at: usize| cells[at].parse().expect("a test reads the built-in charts");
    let gpu = charted_gpu(cells[0]);
    let kernel = AttentionKernel::named(cells[1], gpu.architecture);
    let ms: f64 = cells[9].parse().expect("a test reads the built-in charts");
    Row {
        case: Case {
            gpu,
            kernel: kernel.expect("a test reads the built-in charts"),
            mask: match cells[2] {
                "True" => Mask::Causal,
                _ => Mask::Full,
            },
            shape: Shape {
                batch: count(3),
                heads: count(4),
                queries: count(6),
                keys: count(7),
                head_dim: count(8),
            },
        },
        us: 1000.0 * ms,
    }
}
