//! Matrix products and attention on any GPU: whose table, which residual, which peak.
//!
//! ```text
//! own table │ same chip │ sister ─▶ that table's base on this GPU's figures + its residual
//! attention: else where a chart is of the GPU or its chip ─▶ [`crate::charts`]
//! else a sustained rate          ─▶ the nearest table's base at that rate, no residual
//! else products: family │ generation │ foreign ─▶ base on the datasheet + half or none of the residual
//!      attention: the kernel's own base on the datasheet + what charts of relatives say
//! ```
//! Tables and charts are each of one attention kernel, and answer for that one.
//! Guarantees: an unmeasured GPU's answer has provenance Borrowed or Datasheet and says from whom;
//! a number format the GPU lacks is a [`Miss`].
//!
//! Not modelled: kernels that only the unmeasured GPU has.

use topologies::{DType, Gpu};

use crate::attention;
use crate::attention_kernel::AttentionKernel;
use crate::charts::Case;
use crate::chip::Chip;
use crate::constants;
use crate::cost::{Miss, Provenance};
use crate::gemm;
use crate::interval;
use crate::kinship::Kinship;
use crate::store::{Kind, Mask};
use crate::table::{Exclude, Found, Physics, Residual, Shape, Table};
use crate::tables::{Answer, Tables};

/// Half-width where a sustained rate stands in for a table: twice it where the rate is not one of
/// this number format, or the kernel's constants are of another architecture.
const SUSTAINED_HALF_WIDTH: f64 = 0.30;
/// Half-width added where the asked kernel is not the measured one.
const OTHER_KERNEL_HALF_WIDTH: f64 = 0.15;
/// No product that was not measured on a GPU uses more of its sheet's peak.
const MOST: f64 = 0.92;
/// The widest heads of any chart.
const WIDEST: u64 = 256;

/// A table that speaks for a GPU, and their relation.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub table: &'a Table,
    pub kinship: Kinship,
}

impl Tables {
    /// Time of a matrix product on `gpu`.
    pub(crate) fn gemm_on(
        &self,
        gpu: &Gpu,
        dtype: DType,
        kernel: Option<&str>,
        shape: gemm::Shape,
        exclude: Exclude,
    ) -> Result<Answer, Miss> {
        let wanted = |table: &Table| table.dtype == dtype;
        if let Some(own) = &self.own {
            let covered = covered(&self.gemm, gpu, Shape::Gemm(shape), wanted);
            if let Some(answer) = own.gemm(gpu, (dtype, kernel), shape, covered, exclude) {
                return Ok(answer);
            }
        }
        let source = nearest(&self.gemm, gpu, kernel, wanted).filter(|_| {
            // A GPU without the number format has no figure, whatever its relatives can do.
            Chip::of(gpu).peak(dtype).is_some()
        });
        let source = source.ok_or_else(|| Miss::NoFigure {
            gpu: gpu.name.clone(),
            what: format!("{dtype:?} matrix products"),
            remedy: "plan with bf16, or give the GPU's peak for this number format".into(),
        })?;
        let rate = gpu.sustained_gemm.map(|rate| {
            let chip = Chip::of(gpu);
            let scale = chip.peak(dtype).unwrap_or(chip.bf16) / chip.bf16;
            rate.as_f64() / 1e6 * scale
        });
        let answer = match (source.kinship.yields_to_sustained(), rate) {
            (true, Some(rate)) => sustained_gemm(gpu, source, rate, shape),
            _ => borrowed(gpu, source, Shape::Gemm(shape), exclude),
        };
        Ok(other_kernel(answer, source, kernel))
    }

    /// Time of attention on `gpu` by a kernel as tables call it; the usual one where the name is unknown.
    pub(crate) fn attention_on(
        &self,
        gpu: &Gpu,
        mask: Mask,
        kernel: &str,
        shape: attention::Shape,
        exclude: Exclude,
    ) -> Result<Answer, Miss> {
        if mask == Mask::Causal {
            return self.causal(gpu, Some(kernel), shape, exclude);
        }
        let named = AttentionKernel::named(kernel, gpu.architecture);
        let known = named.ok().filter(|kernel| kernel.runs_on(gpu));
        let taken = known.unwrap_or_else(|| AttentionKernel::usual(gpu));
        let mut answer = self.attention(gpu, taken, shape, exclude)?;
        if known.is_none() {
            let note = format!("{kernel} is not measured: {taken} instead");
            widen(&mut answer, OTHER_KERNEL_HALF_WIDTH, &note);
        }
        Ok(answer)
    }

    /// Time of non-causal attention by `kernel` on `gpu`.
    pub(crate) fn attention(
        &self,
        gpu: &Gpu,
        kernel: AttentionKernel,
        shape: attention::Shape,
        exclude: Exclude,
    ) -> Result<Answer, Miss> {
        if let Some(own) = &self.own {
            let of_width = |table: &Table| {
                u32::try_from(shape.head_dim)
                    .is_ok_and(|head_dim| is_attention(table, Mask::Full, head_dim))
            };
            let covered = covered(&self.attention, gpu, Shape::Attention(shape), of_width);
            if let Some(answer) = own.attention(gpu, kernel, shape, covered, exclude) {
                return Ok(answer);
            }
        }
        if !kernel.runs_on(gpu) {
            return Err(Miss::NoFigure {
                gpu: gpu.name.clone(),
                what: format!("attention by {kernel}"),
                remedy: format!("it is not built for it, {} is", AttentionKernel::usual(gpu)),
            });
        }
        if shape.head_dim > WIDEST {
            return Err(no_attention(gpu, shape.head_dim));
        }
        let charts = self.charts();
        let case = Case {
            gpu,
            kernel,
            mask: Mask::Full,
            shape,
        };
        let itself = exclude == Exclude::Nothing;
        if itself && charts.hold(&case) {
            return Ok(charts.answer(&case, itself));
        }
        let charted = charts.know(gpu, kernel);
        let widest = if charted { 96 } else { 128 };
        if shape.head_dim <= widest
            && let Some(answer) = self.tabled(gpu, kernel, shape, exclude)
        {
            return Ok(answer);
        }
        let closest = nearest(&self.attention, gpu, None, |_| true);
        let yields = closest.is_none_or(|source| source.kinship.yields_to_sustained());
        if !charts.know_gpu(gpu)
            && yields
            && let Some(cost) = sustained_time_per_score(gpu, shape.head_dim)
        {
            let usual = Case {
                kernel: AttentionKernel::usual(gpu),
                ..case
            };
            let slower = case.base_us() / usual.base_us();
            return self.sustained_attention(gpu, cost * slower, shape);
        }
        Ok(charts.answer(&case, itself))
    }

    /// Non-causal attention from tables of this kernel, of the GPU or a sister, with heads of 64, 72, 80.
    fn tabled(
        &self,
        gpu: &Gpu,
        kernel: AttentionKernel,
        shape: attention::Shape,
        exclude: Exclude,
    ) -> Option<Answer> {
        let (width, wide) = match shape.head_dim {
            ..=64 => (64, false),
            65..=72 => (72, false),
            73..=96 => (80, false),
            _ => (64, true),
        };
        let wanted = |table: &Table| {
            is_attention(table, Mask::Full, width) && table.attention == Some(kernel)
        };
        let source = nearest(&self.attention, gpu, None, wanted)
            .filter(|source| source.kinship <= Kinship::Sister)?;
        let padded = attention::Shape {
            head_dim: width.into(),
            ..shape
        };
        let mut answer = borrowed(gpu, source, Shape::Attention(padded), exclude);
        if wide {
            let work = (shape.batch * shape.heads) as f64 * shape.side().powi(2);
            answer.us *=
                attention::wide_head_factor(constants::wide_heads(&source.table.gpu), work);
            widen(&mut answer, 0.12, "width 128 from 64 by the causal ratio");
        } else if u64::from(width) != shape.head_dim {
            let note = format!("width {} runs padded as {width}", shape.head_dim);
            widen(&mut answer, 0.10, &note);
        }
        Some(answer)
    }

    /// Causal attention: asked only by validation.
    fn causal(
        &self,
        gpu: &Gpu,
        kernel: Option<&str>,
        shape: attention::Shape,
        exclude: Exclude,
    ) -> Result<Answer, Miss> {
        let exact = |table: &Table| {
            matches!(table.kind, Kind::Attention { mask: Mask::Causal, head_dim }
                if u64::from(head_dim) == shape.head_dim)
        };
        let source = nearest(&self.attention, gpu, kernel, exact)
            .or_else(|| {
                nearest(&self.attention, gpu, kernel, |t| {
                    is_attention(t, Mask::Causal, 128)
                })
            })
            .ok_or_else(|| no_attention(gpu, shape.head_dim))?;
        let mut answer = borrowed(gpu, source, Shape::Attention(shape), exclude);
        if !exact(source.table) {
            widen(&mut answer, 0.30, "scaled from width 128");
        }
        Ok(other_kernel(answer, source, kernel))
    }

    /// Attention at a sustained rate, with the fixed time of the nearest table's kernel.
    fn sustained_attention(
        &self,
        gpu: &Gpu,
        us_per_score: f64,
        shape: attention::Shape,
    ) -> Result<Answer, Miss> {
        let wanted = |table: &Table| is_attention(table, Mask::Full, 64);
        let source = nearest(&self.attention, gpu, None, wanted)
            .ok_or_else(|| no_attention(gpu, shape.head_dim))?;
        let Physics::Attention(base) = source.table.physics else {
            unreachable!("an attention table has an attention base");
        };
        let scores = (shape.batch * shape.heads * shape.queries * shape.keys) as f64;
        Ok(Answer {
            us: base.t0 + scores * us_per_score,
            provenance: Provenance::Datasheet,
            half_width: sustained_half_width(source),
            note: format!("sustained rate of {} ({})", gpu.name, gpu.sustained_source),
        })
    }
}

/// Whether a table of the GPU itself covers `shape`.
fn covered(tables: &[Table], gpu: &Gpu, shape: Shape, wanted: impl Fn(&Table) -> bool) -> bool {
    let own = |table: &&Table| wanted(table) && Kinship::of(&table.gpu, gpu) == Kinship::Own;
    tables.iter().filter(own).any(|table| table.covers(shape))
}

fn is_attention(table: &Table, mask: Mask, head_dim: u32) -> bool {
    table.kind == Kind::Attention { mask, head_dim }
}

fn no_attention(gpu: &Gpu, head_dim: u64) -> Miss {
    Miss::NoFigure {
        gpu: gpu.name.clone(),
        what: format!("attention with heads of width {head_dim}"),
        remedy: format!("widths up to {WIDEST} are covered"),
    }
}

/// The closest relative's table: the same kernel first, then the same architecture, then the nearest bandwidth.
pub(crate) fn nearest<'a>(
    tables: &'a [Table],
    gpu: &Gpu,
    kernel: Option<&str>,
    wanted: impl Fn(&Table) -> bool,
) -> Option<Source<'a>> {
    let bandwidth = |chip: &Chip| chip.bandwidth.ln();
    let own = bandwidth(&Chip::of(gpu));
    tables
        .iter()
        .filter(|table| wanted(table))
        .map(|table| {
            let kinship = Kinship::of(&table.gpu, gpu);
            Source { table, kinship }
        })
        .min_by(|a, b| {
            let other_kernel = |source: &Source| kernel.is_some_and(|k| k != source.table.kernel);
            let other = |source: &Source| source.table.gpu.architecture != gpu.architecture;
            let gap = |source: &Source| (bandwidth(&source.table.chip) - own).abs();
            a.kinship
                .cmp(&b.kinship)
                .then(other_kernel(a).cmp(&other_kernel(b)))
                .then(other(a).cmp(&other(b)))
                .then(gap(a).total_cmp(&gap(b)))
        })
}

/// Time from a source's base on this GPU and its share of the residual.
pub(crate) fn borrowed(gpu: &Gpu, source: Source, shape: Shape, exclude: Exclude) -> Answer {
    let Source { table, kinship } = source;
    let chip = kinship.chip(&table.chip, &Chip::of(gpu), table.dtype);
    let mut peak = chip
        .peak(table.dtype)
        .expect("the caller checked the number format");
    if let Shape::Attention(shape) = shape
        && kinship > Kinship::SameChip
    {
        peak = attention::exponent_limited_peak(&table.chip, &chip, shape.head_dim);
    }
    let residual = match kinship {
        Kinship::Own => table.residual(shape, exclude),
        _ => lent(table, kinship, shape, exclude),
    };
    let base = table.base_at(&chip, peak, shape);
    let us = base * (kinship.residual_share() * residual.value).exp();
    let us = match shape {
        Shape::Gemm(shape) if kinship > Kinship::SameChip => {
            us.max(shape.flops() / (MOST * chip_peak(gpu, table.dtype)))
        }
        _ => us,
    };
    let own = interval::half_width(table, &residual, shape);
    let (provenance, half_width, note) = match (kinship, residual.found) {
        (Kinship::Own, Found::Exact) => (Provenance::Measured, own, "measured".to_owned()),
        (Kinship::Own, Found::Between(_)) => {
            let note = "between measured shapes".to_owned();
            (Provenance::Interpolated, own, note)
        }
        (Kinship::Own, Found::Beyond) => {
            let note = "beyond the measured shapes".to_owned();
            (Provenance::Extrapolated, own, note)
        }
        _ => {
            let transfer = match shape {
                Shape::Gemm(_) => kinship.gemm_half_width(table.dtype),
                Shape::Attention(_) => attention_transfer(kinship, &table.chip, &Chip::of(gpu)),
            };
            let note = format!("{kinship:?} of {}, moved by the datasheets", table.system);
            let half_width = own.hypot(transfer).min(0.9);
            (Provenance::Borrowed, half_width, note)
        }
    };
    Answer {
        us: us.max(if kinship <= Kinship::Sister {
            table.fastest_us()
        } else {
            0.5 * table.fastest_us()
        }),
        provenance,
        half_width,
        note,
    }
}

/// The tensor peak of the GPU's own sheet, FLOP per microsecond.
fn chip_peak(gpu: &Gpu, dtype: DType) -> f64 {
    let peak = Chip::of(gpu).peak(dtype);
    peak.expect("the caller checked the number format")
}

/// What a table lends to another GPU: where the shape is measured, half of that and half of what its neighbours say,
/// for the noise of the one row stays behind. Between sisters (H100, H200, B200, GB200, GB300, each from the next) that
/// takes p90 from 12.8 to 17.1 % down to 12.2 to 16.4 %. A row that is left out was measured on the other GPU.
fn lent(table: &Table, kinship: Kinship, shape: Shape, exclude: Exclude) -> Residual {
    let exclude = match exclude {
        Exclude::This => Exclude::Nothing,
        exclude => exclude,
    };
    let mut residual = table.residual(shape, exclude);
    if kinship > Kinship::SameChip && residual.found == Found::Exact {
        let around = table.residual(shape, Exclude::This);
        residual.value = f64::midpoint(residual.value, around.value);
    }
    residual
}

/// Attention between sisters is only as close as their exponent units.
fn attention_transfer(kinship: Kinship, from: &Chip, to: &Chip) -> f64 {
    let other_exponents = from.exponent.is_some() && from.exponent != to.exponent;
    if kinship == Kinship::Sister && other_exponents {
        Kinship::Generation.attention_half_width()
    } else {
        kinship.attention_half_width()
    }
}

fn sustained_half_width(source: Source) -> f64 {
    let doubtful = source.kinship == Kinship::Foreign || source.table.dtype != DType::Bf16;
    SUSTAINED_HALF_WIDTH * if doubtful { 2.0 } else { 1.0 }
}

/// A matrix product at a sustained rate: fixed time and memory of the nearest table's base. Such rates
/// were inferred from whole forward passes, so what tiles and waves lose is in them already, and
/// published runs show no further loss down to 500 tokens a rank.
fn sustained_gemm(gpu: &Gpu, source: Source, rate: f64, shape: gemm::Shape) -> Answer {
    let table = source.table;
    let Physics::Gemm(base) = table.physics else {
        unreachable!("a GEMM table has a GEMM base");
    };
    let chip = Chip::of(gpu);
    let memory = shape.bytes(table.dtype) / (chip.bandwidth * base.b);
    let compute = shape.flops() / rate;
    Answer {
        us: base.t0 + (compute.powi(4) + memory.powi(4)).sqrt().sqrt(),
        provenance: Provenance::Datasheet,
        half_width: sustained_half_width(source),
        note: format!("sustained rate of {} ({})", gpu.name, gpu.sustained_source),
    }
}

/// Microseconds for one query-key pair of one head at the sustained rate, all heads of a width.
///
/// Between listed widths the time is linear in the width; below them it is that of the narrowest.
fn sustained_time_per_score(gpu: &Gpu, head_dim: u64) -> Option<f64> {
    let width = head_dim as f64;
    let time = |(listed, rate): &(u32, topologies::FlopRate)| {
        let listed = f64::from(*listed);
        (listed, 4.0 * listed / (rate.as_f64() / 1e6))
    };
    let listed: Vec<(f64, f64)> = gpu.sustained_attention_by_head.iter().map(time).collect();
    let Some(first) = listed.first() else {
        let rate = gpu.sustained_attention?.as_f64() / 1e6;
        return Some(4.0 * width / rate);
    };
    if width <= first.0 {
        return Some(first.1);
    }
    for pair in listed.windows(2) {
        let [(low, before), (high, after)] = [pair[0], pair[1]];
        if width <= high {
            return Some(before + (after - before) * (width - low) / (high - low));
        }
    }
    let last = listed.last().expect("the list is not empty");
    Some(last.1 * width / last.0)
}

fn widen(answer: &mut Answer, half_width: f64, note: &str) {
    answer.half_width = answer.half_width.hypot(half_width).min(0.9);
    answer.provenance = answer.provenance.max(Provenance::Interpolated);
    answer.note = format!("{}; {note}", answer.note);
}

/// Says so where the asked kernel is not the one measured.
fn other_kernel(mut answer: Answer, source: Source, kernel: Option<&str>) -> Answer {
    if let Some(asked) = kernel
        && asked != source.table.kernel
    {
        let note = format!("{asked} is not measured: {} instead", source.table.kernel);
        widen(&mut answer, OTHER_KERNEL_HALF_WIDTH, &note);
    }
    answer
}
