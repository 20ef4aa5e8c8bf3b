//! What an operation of a profiler's table is: `data/operations.csv`, first line that fits.
//!
//! | class | what | operands |
//! |---|---|---|
//! | product | `plain` m x k, k x n; `transposed` m x k, n x k; `after-one` the summand first | |
//! | attention | the kernel | `rows-first` batch, rows, heads, width; `heads-first` batch, heads, rows, width |
//! | pointwise, function, in-place, reduction | | which operands are read and written |
//! | refused | why | |
//!
//! Operands: `once` each; `and-result` each, and a result as large as the largest; `and-first` each, and the first
//! written; `first`, `first-two` alone; `twice` each; `five-times` the first (read once, written at four times the
//! size); `pointers` each once, as a fused kernel names its results too, a largest one that stands alone twice.
//! A `*` in a name stands for any characters.

use std::sync::OnceLock;

use kernels::{AttentionKernel, MemoryKind};
use topologies::{Architecture, DType, Gpu};

use super::cells::Argument;
use crate::validate::reason::Reason;

/// The classes whose sums are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Matrix products.
    Product,
    /// Attention.
    Attention,
    /// All else that is predicted: limited by memory.
    Elementwise,
}

impl Class {
    /// What reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "matrix products",
            Self::Attention => "attention",
            Self::Elementwise => "elementwise",
        }
    }
}

/// What to ask of the kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Question {
    Product {
        dtype: DType,
        shape: [u64; 3],
    },
    Attention {
        kernel: AttentionKernel,
        /// Batch, heads, queries, keys, width.
        shape: [u64; 5],
    },
    Memory {
        kind: MemoryKind,
        bytes: u64,
    },
}

impl Question {
    pub(super) const fn class(self) -> Class {
        match self {
            Self::Product { .. } => Class::Product,
            Self::Attention { .. } => Class::Attention,
            Self::Memory { .. } => Class::Elementwise,
        }
    }
}

struct Line {
    op: &'static str,
    class: &'static str,
    what: &'static str,
    operands: &'static str,
}

fn lines() -> &'static [Line] {
    static LINES: OnceLock<Vec<Line>> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines = include_str!("../../../data/operations.csv").lines().skip(1);
        let line = |line: &'static str| {
            let cells: Vec<&str> = line.split(',').collect();
            Line {
                op: cells[0],
                class: cells[1],
                what: cells[2],
                operands: cells[3],
            }
        };
        lines.map(line).collect()
    })
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().expect("a split has parts");
    for part in middle {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// What an operation asks, or why nothing known answers.
pub(super) fn question(op: &str, gpu: &Gpu, arguments: &[Argument]) -> Result<Question, Reason> {
    let line = lines().iter().find(|line| fits(line.op, op));
    let line = line.ok_or_else(|| Reason::Operation(op.to_owned()))?;
    let unlike = || Reason::Operands(op.to_owned());
    match line.class {
        "product" => product(line, arguments)?.ok_or_else(unlike),
        "attention" => attention(line, gpu.architecture, arguments).ok_or_else(unlike),
        "refused" => Err(Reason::NotModelled(line.what)),
        class => {
            let kind = MemoryKind::named(class).expect("a test reads the operations that ship");
            let bytes = bytes(line.operands, arguments);
            Ok(Question::Memory { kind, bytes })
        }
    }
}

fn tensors(arguments: &[Argument]) -> impl Iterator<Item = (&[u64], &str)> {
    arguments.iter().filter_map(|argument| match argument {
        Argument::Tensor(sides, name) => Some((sides.as_slice(), name.as_str())),
        Argument::Scalar => None,
    })
}

/// A product of two matrices; of a linear layer and a general product, leading sides of the first are rows. `Ok(None)` for
/// operands that are none, or whose sides do not belong together.
fn product(line: &Line, arguments: &[Argument]) -> Result<Option<Question>, Reason> {
    let what = line.what;
    let summand = tensors(arguments).next().filter(|_| what == "after-one");
    let mut operands = tensors(arguments).skip(usize::from(what == "after-one"));
    let (Some((a, name)), Some((b, _))) = (operands.next(), operands.next()) else {
        return Ok(None);
    };
    let ([rows @ .., k], &[first, second]) = (a, b) else {
        return Ok(None);
    };
    let leads = what == "transposed" || line.op == "aten::matmul";
    if rows.len() != 1 && !leads {
        return Ok(None);
    }
    let (depth, n) = match what {
        "transposed" => (second, first),
        _ => (first, second),
    };
    let dtype = match name {
        "c10::BFloat16" | "c10::Half" => DType::Bf16,
        _ if name.starts_with("c10::Float8") => DType::Fp8,
        _ => return Err(Reason::KernelFormat(name.to_owned())),
    };
    let m: Option<u64> = rows.iter().try_fold(1, |m: u64, side| m.checked_mul(*side));
    let shape = m.filter(|m| *m > 0 && n > 0 && *k > 0 && depth == *k);
    // A summand is a matrix like the product, or a row or a column of one.
    let adds = |m: u64| {
        summand.is_none_or(|(sides, _)| {
            let like = sides
                .iter()
                .rev()
                .zip([n, m])
                .all(|(side, whole)| [1, whole].contains(side));
            sides.len() <= 2 && like
        })
    };
    let shape = shape.filter(|m| adds(*m));
    Ok(shape.map(|m| Question::Product {
        dtype,
        shape: [m, n, *k],
    }))
}

fn attention(line: &Line, on: Architecture, arguments: &[Argument]) -> Option<Question> {
    let kernel = AttentionKernel::named(line.what, on).ok()?;
    let mut operands = tensors(arguments);
    let (query, key) = (operands.next()?.0, operands.next()?.0);
    let (&[batch, a, b, width], &[key_batch, c, d, key_width]) = (query, key) else {
        return None;
    };
    let ((heads, queries), (key_heads, keys)) = match line.operands {
        "heads-first" => ((a, b), (c, d)),
        _ => ((b, a), (d, c)),
    };
    let shape = [batch, heads, queries, keys, width];
    let whole = shape.iter().all(|side| *side > 0);
    // Several heads of queries may share one of keys; values are as many as keys.
    let values = operands.next().filter(|(sides, _)| sides.len() == 4);
    let alike = key_batch == batch
        && key_width == width
        && key_heads > 0
        && heads.is_multiple_of(key_heads)
        && values.is_none_or(|(sides, _)| sides[..3] == key[..3]);
    (whole && alike).then_some(Question::Attention { kernel, shape })
}

/// Bytes of one value.
fn width(name: &str) -> f64 {
    match name {
        "double" | "long" | "long int" => 8.0,
        "float" | "int" => 4.0,
        "bool" | "signed char" | "unsigned char" => 1.0,
        _ if name.starts_with("c10::Float8") => 1.0,
        _ => 2.0,
    }
}

/// Bytes that a memory-bound kernel reads and writes.
fn bytes(operands: &str, arguments: &[Argument]) -> u64 {
    let of = |(sides, name): (&[u64], &str)| {
        sides.iter().map(|side| *side as f64).product::<f64>() * width(name)
    };
    let sizes: Vec<f64> = tensors(arguments).map(of).collect();
    let total: f64 = sizes.iter().sum();
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    let first = sizes.first().copied().unwrap_or(0.0);
    let sum = match operands {
        "and-result" => total + largest,
        "and-first" => total + first,
        "first" => first,
        "first-two" => sizes.iter().take(2).sum(),
        "twice" => 2.0 * total,
        "five-times" => 5.0 * first,
        "pointers" if 2.0 * largest > total => total + largest,
        _ => total,
    };
    sum.max(4.0) as u64
}

#[cfg(test)]
mod tests {
    use topologies::gpu;

    use super::*;
    use crate::validate::operations::cells::arguments;

    fn ask(op: &str, dims: &str) -> Result<Question, Reason> {
        let types = "('c10::BFloat16', 'c10::BFloat16', 'c10::BFloat16', 'c10::BFloat16')";
        let gpu = gpu::find("MI300X").unwrap();
        question(op, gpu, &arguments(dims, types).unwrap())
    }

    #[test]
    fn products_are_read_as_each_operation_names_them() {
        let wanted = Ok(Question::Product {
            dtype: DType::Bf16,
            shape: [768, 12_288, 3072],
        });
        assert_eq!(ask("aten::mm", "((768, 3072), (3072, 12288))"), wanted);
        assert_eq!(
            ask("aten::addmm", "((12288,), (768, 3072), (3072, 12288))"),
            wanted
        );
        assert_eq!(
            ask("aten::linear", "((2, 384, 3072), (12288, 3072))"),
            wanted
        );
        // The depths differ; more sides than a matrix; a summand of another width.
        for (op, dims) in [
            ("aten::mm", "((768, 3072), (77, 12288))"),
            ("aten::mm", "((2, 768, 3072), (3072, 12288))"),
            ("aten::addmm", "((77,), (768, 3072), (3072, 12288))"),
        ] {
            assert_eq!(ask(op, dims), Err(Reason::Operands(op.into())), "{dims}");
        }
    }

    #[test]
    fn attention_is_read_by_the_order_of_its_sides() {
        let wanted = Ok(Question::Attention {
            kernel: AttentionKernel::FlashAttention2,
            shape: [2, 24, 4096, 77, 64],
        });
        let rows = "((2, 4096, 24, 64), (2, 77, 24, 64), (2, 77, 24, 64))";
        assert_eq!(ask("aten::_flash_attention_forward", rows), wanted);
        let heads = "((2, 24, 4096, 64), (2, 24, 77, 64), (2, 24, 77, 64))";
        assert_eq!(
            ask("aten::_scaled_dot_product_flash_attention", heads),
            wanted
        );
    }

    /// Batch, heads and width of keys are those of queries; values are as many as keys.
    #[test]
    fn attention_of_operands_that_do_not_belong_together_is_refused() {
        let op = "aten::_flash_attention_forward";
        let of = |key: &str, value: &str| ask(op, &format!("((2, 4096, 24, 64), {key}, {value})"));
        assert!(of("(2, 77, 8, 64)", "(2, 77, 8, 64)").is_ok());
        for (key, value) in [
            ("(3, 77, 24, 64)", "(3, 77, 24, 64)"),
            ("(2, 77, 24, 128)", "(2, 77, 24, 128)"),
            ("(2, 77, 7, 64)", "(2, 77, 7, 64)"),
            ("(2, 77, 24, 64)", "(2, 78, 24, 64)"),
        ] {
            assert_eq!(of(key, value), Err(Reason::Operands(op.into())), "{key}");
        }
    }

    #[test]
    fn bytes_count_what_is_read_and_written() {
        let bytes = |op: &str, dims: &str| match ask(op, dims) {
            Ok(Question::Memory { kind, bytes }) => (kind, bytes),
            other => panic!("{other:?}"),
        };
        // 1000 values of 2 B in, 1000 in, 1000 out.
        assert_eq!(
            bytes("aten::add", "((10, 100), (10, 100), ())"),
            (MemoryKind::Pointwise, 6000)
        );
        assert_eq!(
            bytes("aten::add_", "((10, 100), (100,), ())"),
            (MemoryKind::InPlace, 4200)
        );
        assert_eq!(
            bytes("aten::copy_", "((10, 100), (10, 100), ())"),
            (MemoryKind::Pointwise, 4000)
        );
        // Two operands and a result of both.
        assert_eq!(
            bytes("triton_poi_fused_cat_1", "((10, 40), (10, 60), (10, 100))").1,
            4000
        );
        // In place: the large one is read and written.
        let gelu = bytes(
            "triton_poi_fused_addmm_gelu_view_19",
            "((10, 100), (100,), ())",
        );
        assert_eq!(gelu, (MemoryKind::Function, 4200));
    }

    #[test]
    fn unknown_and_unmodelled_operations_say_why() {
        assert_eq!(
            ask("aten::wobble", "()"),
            Err(Reason::Operation("aten::wobble".into()))
        );
        assert_eq!(
            ask("aten::bmm", "()"),
            Err(Reason::NotModelled("batched products"))
        );
    }

    #[test]
    fn every_line_is_read() {
        let gpu = gpu::find("H100-SXM").unwrap();
        for line in lines() {
            match question(line.op, gpu, &[]) {
                Ok(Question::Memory { bytes, .. }) => assert_eq!(bytes, 4),
                Ok(other) => panic!("{}: {other:?}", line.op),
                Err(Reason::Operands(_) | Reason::NotModelled(_)) => {}
                Err(other) => panic!("{}: {other:?}", line.op),
            }
        }
        assert!(fits("a*b*c", "a-b-c") && !fits("a*b*c", "a-b-d") && !fits("a", "ab"));
    }
}
