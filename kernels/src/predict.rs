//! Predictions of measured rows, for validation: any row of the tables' schema, ours or not.
//!
//! Guarantees: with [`Exclude::This`] a row that stands in the built-in tables is left out of its own
//! prediction; a system, kernel or software that is not in the tables is named in the note.

use topologies::{DType, Gpu, SimDuration, gpu};

use crate::attention;
use crate::attention_kernel::AttentionKernel;
use crate::charts::{self, Case};
use crate::chip::Chip;
use crate::cost::{Miss, Provenance};
use crate::gemm;
use crate::memory_kernel::{self, MemoryRow};
use crate::store::Mask;
use crate::table::{Exclude, Shape, Table};
use crate::tables::{Answer, Tables};

/// A row of a GEMM file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmRow<'a> {
    /// The GPU, by any known name, for example `gb200`.
    pub system: &'a str,
    /// The software that ran the kernel.
    pub software: &'a str,
    /// Number format.
    pub dtype: DType,
    /// The kernel's name.
    pub kernel: &'a str,
    /// Rows.
    pub m: u64,
    /// Output width.
    pub n: u64,
    /// Input width.
    pub k: u64,
}

/// A row of an attention file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionRow<'a> {
    /// The GPU, by any known name.
    pub system: &'a str,
    /// The software that ran the kernel.
    pub software: &'a str,
    /// The kernel's name.
    pub kernel: &'a str,
    /// The mask.
    pub mask: Mask,
    /// Independent rows.
    pub batch: u64,
    /// Queries, and keys.
    pub seq_len: u64,
    /// Heads.
    pub heads: u64,
    /// Width of a head.
    pub head_dim: u64,
}

/// A row of a file of attention by kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelRow<'a> {
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The kernel.
    pub kernel: AttentionKernel,
    /// The mask.
    pub mask: Mask,
    /// Independent rows.
    pub batch: u64,
    /// Heads.
    pub heads: u64,
    /// Query tokens.
    pub queries: u64,
    /// Key tokens.
    pub keys: u64,
    /// Width of a head.
    pub head_dim: u64,
}

/// A predicted time.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The time.
    pub latency: SimDuration,
    /// Half-width of the 90 % interval, as a fraction of `latency`.
    pub half_width: f64,
    /// Where it came from.
    pub provenance: Provenance,
    /// How, in words: which table, which substitute.
    pub note: String,
}

/// What simpler models say about the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baselines {
    /// max(FLOPs / datasheet peak, bytes / datasheet bandwidth).
    pub roofline: SimDuration,
    /// Interpolation of the logarithm of the measured time between neighbours on the grid, the row
    /// left out; `None` beyond the grid or without a table.
    pub log_log: Option<SimDuration>,
}

impl From<Answer> for Prediction {
    fn from(answer: Answer) -> Self {
        let cost = answer.cost();
        Self {
            latency: cost.time,
            half_width: cost.half_width,
            provenance: cost.provenance,
            note: answer.note,
        }
    }
}

impl GemmRow<'_> {
    fn shape(&self) -> gemm::Shape {
        gemm::Shape {
            m: self.m,
            n: self.n,
            k: self.k,
        }
    }
}

impl AttentionRow<'_> {
    fn shape(&self) -> attention::Shape {
        attention::Shape {
            batch: self.batch,
            heads: self.heads,
            queries: self.seq_len,
            keys: self.seq_len,
            head_dim: self.head_dim,
        }
    }
}

impl KernelRow<'_> {
    fn shape(&self) -> attention::Shape {
        attention::Shape {
            batch: self.batch,
            heads: self.heads,
            queries: self.queries,
            keys: self.keys,
            head_dim: self.head_dim,
        }
    }

    /// Floating-point operations of both products; half of them under a causal mask.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.shape().flops(self.mask)
    }
}

fn unknown_system(system: &str) -> impl FnOnce(gpu::UnknownName) -> Miss {
    move |error| Miss::NoFigure {
        gpu: system.to_owned(),
        what: "datasheet".into(),
        remedy: error.to_string(),
    }
}

impl Tables {
    /// Every measured GEMM row of these tables with its time in microseconds.
    pub fn gemm_rows(&self) -> impl Iterator<Item = (GemmRow<'_>, f64)> {
        self.gemm.iter().flat_map(|table| {
            table.measured().filter_map(|(shape, us)| {
                let Shape::Gemm(gemm::Shape { m, n, k }) = shape else {
                    return None;
                };
                let row = GemmRow {
                    system: &table.system,
                    software: &table.software,
                    dtype: table.dtype,
                    kernel: &table.kernel,
                    m,
                    n,
                    k,
                };
                Some((row, us))
            })
        })
    }

    /// Every measured attention row of these tables with its time in microseconds.
    pub fn attention_rows(&self) -> impl Iterator<Item = (AttentionRow<'_>, f64)> {
        self.attention.iter().flat_map(|table| {
            table.measured().filter_map(|(shape, us)| {
                let Shape::Attention(shape) = shape else {
                    return None;
                };
                let row = AttentionRow {
                    system: &table.system,
                    software: &table.software,
                    kernel: &table.kernel,
                    mask: table.mask(),
                    batch: shape.batch,
                    seq_len: shape.queries,
                    heads: shape.heads,
                    head_dim: shape.head_dim,
                };
                Some((row, us))
            })
        })
    }

    /// Predicts a GEMM row.
    ///
    /// # Errors
    /// A [`Miss`] for an unknown system or a number format it lacks.
    pub fn predict_gemm(&self, row: &GemmRow, exclude: Exclude) -> Result<Prediction, Miss> {
        let gpu = gpu::find(row.system).map_err(unknown_system(row.system))?;
        let answer = self.gemm_on(gpu, row.dtype, Some(row.kernel), row.shape(), exclude)?;
        let own = self.own_gemm(row);
        Ok(other_software(answer, own, row.software).into())
    }

    /// Predicts an attention row.
    ///
    /// # Errors
    /// A [`Miss`] for an unknown system or a width of head that nothing covers.
    pub fn predict_attention(
        &self,
        row: &AttentionRow,
        exclude: Exclude,
    ) -> Result<Prediction, Miss> {
        let gpu = gpu::find(row.system).map_err(unknown_system(row.system))?;
        let answer = self.attention_on(gpu, row.mask, row.kernel, row.shape(), exclude)?;
        let own = self.own_attention(row);
        Ok(other_software(answer, own, row.software).into())
    }

    /// Predicts a matrix product by the GPU's usual kernel.
    ///
    /// # Errors
    /// A [`Miss`] for a number format that the GPU lacks.
    pub fn predict_product(
        &self,
        gpu: &Gpu,
        dtype: DType,
        [m, n, k]: [u64; 3],
        exclude: Exclude,
    ) -> Result<Prediction, Miss> {
        let shape = gemm::Shape { m, n, k };
        let answer = self.gemm_on(gpu, dtype, None, shape, exclude)?;
        Ok(answer.into())
    }

    /// Predicts a memory-bound kernel.
    #[must_use]
    pub fn predict_memory(row: &MemoryRow) -> Prediction {
        memory_kernel::predict(row)
    }

    /// The shortest time that the datasheet allows a product.
    #[must_use]
    pub fn product_roofline(gpu: &Gpu, dtype: DType, [m, n, k]: [u64; 3]) -> Option<SimDuration> {
        let (chip, shape) = (Chip::of(gpu), gemm::Shape { m, n, k });
        let compute = shape.flops() / chip.peak(dtype)?;
        let memory = shape.bytes(dtype) / chip.bandwidth;
        Some(SimDuration::from_us_f64(compute.max(memory)))
    }

    /// Every row of the charts that ship, with its time in microseconds.
    pub fn kernel_rows(&self) -> impl Iterator<Item = (KernelRow<'static>, f64)> {
        self.charts().rows().map(|row| {
            let shape = row.case.shape;
            let asked = KernelRow {
                gpu: row.case.gpu,
                kernel: row.case.kernel,
                mask: row.case.mask,
                batch: shape.batch,
                heads: shape.heads,
                queries: shape.queries,
                keys: shape.keys,
                head_dim: shape.head_dim,
            };
            (asked, row.us)
        })
    }

    /// Predicts a row of attention by kernel, itself left out where it is charted.
    ///
    /// # Errors
    /// A [`Miss`] for a kernel that is not built for the GPU, or heads wider than any chart's.
    pub fn predict_kernel(&self, row: &KernelRow) -> Result<Prediction, Miss> {
        let (gpu, kernel, shape) = (row.gpu, row.kernel, row.shape());
        let full = self.attention(gpu, kernel, shape, Exclude::This)?;
        if row.mask == Mask::Full {
            return Ok(full.into());
        }
        let case = Case {
            gpu,
            kernel,
            mask: row.mask,
            shape,
        };
        Ok(self.charts().answer(&case, false).into())
    }

    /// The shortest time that the datasheet allows a row of attention by kernel.
    #[must_use]
    pub fn kernel_roofline(row: &KernelRow) -> SimDuration {
        let (chip, shape) = (Chip::of(row.gpu), row.shape());
        let peak = charts::peak(row.kernel, row.gpu);
        SimDuration::from_us_f64((row.flops() / peak).max(shape.bytes() / chip.bandwidth))
    }

    /// What simpler models say about a GEMM row.
    ///
    /// # Errors
    /// A [`Miss`] for an unknown system or a number format it lacks.
    pub fn gemm_baselines(&self, row: &GemmRow) -> Result<Baselines, Miss> {
        let gpu = gpu::find(row.system).map_err(unknown_system(row.system))?;
        let chip = Chip::of(gpu);
        let peak = chip.peak(row.dtype).ok_or_else(|| Miss::NoFigure {
            gpu: gpu.name.clone(),
            what: format!("{:?} peak", row.dtype),
            remedy: "leave this row out".into(),
        })?;
        let shape = row.shape();
        let roofline = (shape.flops() / peak).max(shape.bytes(row.dtype) / chip.bandwidth);
        let log_log = self
            .own_gemm(row)
            .and_then(|table| table.log_log_us(Shape::Gemm(shape)));
        Ok(baselines(roofline, log_log))
    }

    /// What simpler models say about an attention row.
    ///
    /// # Errors
    /// A [`Miss`] for an unknown system.
    pub fn attention_baselines(&self, row: &AttentionRow) -> Result<Baselines, Miss> {
        let gpu = gpu::find(row.system).map_err(unknown_system(row.system))?;
        let chip = Chip::of(gpu);
        let shape = row.shape();
        let roofline = (shape.flops(row.mask) / chip.bf16).max(shape.bytes() / chip.bandwidth);
        let log_log = self
            .own_attention(row)
            .and_then(|table| table.log_log_us(Shape::Attention(shape)));
        Ok(baselines(roofline, log_log))
    }

    fn own_gemm(&self, row: &GemmRow) -> Option<&Table> {
        self.gemm
            .iter()
            .find(|t| t.system == row.system && t.dtype == row.dtype && t.kernel == row.kernel)
    }

    fn own_attention(&self, row: &AttentionRow) -> Option<&Table> {
        self.attention.iter().find(|t| {
            let head_dim = u32::try_from(row.head_dim).unwrap_or(u32::MAX);
            let mask = row.mask;
            t.system == row.system
                && t.kernel == row.kernel
                && t.kind == crate::store::Kind::Attention { mask, head_dim }
        })
    }
}

fn baselines(roofline: f64, log_log: Option<f64>) -> Baselines {
    Baselines {
        roofline: SimDuration::from_us_f64(roofline),
        log_log: log_log.map(SimDuration::from_us_f64),
    }
}

/// Says so where the measured table is of another version of the software.
fn other_software(mut answer: Answer, own: Option<&Table>, software: &str) -> Answer {
    if let Some(table) = own
        && table.software != software
    {
        answer.note = format!("{}; measured with {}", answer.note, table.software);
        answer.half_width = answer.half_width.max(0.10);
        answer.provenance = answer.provenance.max(Provenance::Interpolated);
    }
    answer
}

#[cfg(test)]
mod sanity;
#[cfg(test)]
mod tests;
