//! Measurements, ready to answer: tables, rectangles, rates.

use std::collections::BTreeMap;

use topologies::{DType, Gpu};

use super::grid::{attention_tables, gemm_tables};
use super::{Measurements, MemoryRate, Unmeasurable, Way};
use crate::attention;
use crate::attention_kernel::AttentionKernel;
use crate::compressor::Compressor;
use crate::cost::Provenance;
use crate::gemm;
use crate::kinship::Kinship;
use crate::on_gpu::{Source, borrowed};
use crate::store::{Kind, Mask};
use crate::table::{Exclude, Shape, Table};
use crate::tables::{Answer, Tables};

/// The attention kernel that stands for the others where none is named.
const USUAL_ATTENTION: &str = "torch_sdpa_flash";
/// Half-width of a time measured at exactly this shape.
const NOISE: f64 = 0.05;
/// Half-width of times between and beyond measured sizes of one compressor.
const BETWEEN: f64 = 0.10;
const BEYOND: f64 = 0.25;
/// Half-width of memory-bound work at a measured rate.
const MEMORY: f64 = 0.15;

/// Measurements, ready to answer.
pub(crate) struct Own {
    gpu: Gpu,
    gemm: Vec<Table>,
    attention: Vec<Table>,
    /// By kernel, (batch, heads, queries, keys, head width).
    rectangles: BTreeMap<String, BTreeMap<[u64; 5], f64>>,
    /// Attention kernels, the one that stands for the others first.
    kernels: Vec<String>,
    /// Whether that one is asked about, whatever a plan runs.
    asked: bool,
    memory: Option<MemoryRate>,
    /// Elements and microseconds, ascending, and the shapes themselves.
    codecs: BTreeMap<(Compressor, Way), Vec<(f64, f64)>>,
}

impl Own {
    pub(super) fn new(measured: &Measurements, built_in: &Tables) -> Result<Self, Unmeasurable> {
        let mut kernels: Vec<String> = Vec::new();
        for point in &measured.attention {
            if !kernels.contains(&point.kernel) {
                kernels.push(point.kernel.clone());
            }
        }
        kernels.sort_by_key(|kernel| {
            let asked = measured.attention_kernel.as_ref() != Some(kernel);
            (asked, kernel != USUAL_ATTENTION, kernel.clone())
        });
        let mut rectangles: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for point in &measured.attention {
            let shape = [
                point.batch,
                point.heads,
                point.queries,
                point.keys,
                point.head_dim,
            ];
            let of_kernel = rectangles.entry(point.kernel.clone()).or_default();
            of_kernel.insert(shape.map(u64::from), point.us);
        }
        let mut codecs: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for point in &measured.codecs {
            let elements = f64::from(point.rows) * f64::from(point.channels);
            let of_one = codecs.entry((point.compressor, point.way)).or_default();
            of_one.push((elements, point.us));
        }
        for points in codecs.values_mut() {
            points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            points.dedup_by(|next, kept| next.0 == kept.0);
        }
        Ok(Self {
            gpu: measured.gpu.clone(),
            gemm: gemm_tables(measured, built_in)?,
            attention: attention_tables(measured, built_in)?,
            rectangles,
            asked: kernels
                .first()
                .is_some_and(|first| measured.attention_kernel.as_ref() == Some(first)),
            kernels,
            memory: measured.memory,
            codecs,
        })
    }

    /// How `gpu` is related to the measured one: itself, or a what-if of it; nothing to any other.
    fn kinship(&self, gpu: &Gpu) -> Option<Kinship> {
        let kinship = Kinship::of(&self.gpu, gpu);
        let what_if = gpu.name.strip_prefix(self.gpu.name.as_str());
        let what_if =
            what_if.is_some_and(|rest| rest.starts_with(" (") && kinship <= Kinship::Family);
        (kinship == Kinship::Own || what_if).then_some(kinship)
    }

    /// The table that answers for a shape, if one covers it or nothing built in does.
    fn source<'a>(
        &self,
        gpu: &Gpu,
        candidates: impl Iterator<Item = &'a Table>,
        shape: Shape,
        covered_elsewhere: bool,
    ) -> Option<(&'a Table, Kinship)> {
        let kinship = self.kinship(gpu)?;
        let mut candidates = candidates.filter(|table| table.covers(shape) || !covered_elsewhere);
        Some((candidates.next()?, kinship))
    }

    pub(crate) fn gemm(
        &self,
        gpu: &Gpu,
        (dtype, kernel): (DType, Option<&str>),
        shape: gemm::Shape,
        covered_elsewhere: bool,
        exclude: Exclude,
    ) -> Option<Answer> {
        let of_format = |table: &&Table| table.dtype == dtype;
        let named = |table: &&Table| kernel.is_none_or(|name| name == table.kernel);
        let candidates = self.gemm.iter().filter(of_format);
        let first = candidates.clone().filter(named).chain(candidates);
        let shape = Shape::Gemm(shape);
        let (table, kinship) = self.source(gpu, first, shape, covered_elsewhere)?;
        Some(noted(borrowed(
            gpu,
            Source { table, kinship },
            shape,
            exclude,
        )))
    }

    pub(crate) fn attention(
        &self,
        gpu: &Gpu,
        kernel: AttentionKernel,
        shape: attention::Shape,
        covered_elsewhere: bool,
        exclude: Exclude,
    ) -> Option<Answer> {
        let means =
            |name: &&String| AttentionKernel::named(name, gpu.architecture).ok() == Some(kernel);
        let named = self.kernels.iter().find(means).filter(|_| !self.asked);
        let kernel = named.or(self.kernels.first())?;
        let sides = [
            shape.batch,
            shape.heads,
            shape.queries,
            shape.keys,
            shape.head_dim,
        ];
        let exact = self.rectangles.get(kernel).and_then(|all| all.get(&sides));
        if let (Some(us), Exclude::Nothing, Some(Kinship::Own)) =
            (exact, exclude, self.kinship(gpu))
        {
            return Some(Answer {
                us: *us,
                provenance: Provenance::Measured,
                half_width: NOISE,
                note: "measured, of the profile".into(),
            });
        }
        let kind = Kind::Attention {
            mask: Mask::Full,
            head_dim: u32::try_from(shape.head_dim).ok()?,
        };
        let of_width = |table: &&Table| table.kind == kind && table.kernel == *kernel;
        let candidates = self.attention.iter().filter(of_width);
        let shape = Shape::Attention(shape);
        let (table, kinship) = self.source(gpu, candidates, shape, covered_elsewhere)?;
        Some(noted(borrowed(
            gpu,
            Source { table, kinship },
            shape,
            exclude,
        )))
    }

    pub(crate) fn moved(&self, gpu: &Gpu, bytes: u64, kernels: u64) -> Option<Answer> {
        self.kinship(gpu)?;
        let law = self.memory?;
        let faster = gpu.memory_bandwidth.as_f64() / self.gpu.memory_bandwidth.as_f64();
        Some(Answer {
            us: (bytes as f64 / (law.bytes_per_us * faster)).max(law.floor_us * kernels as f64),
            provenance: Provenance::Interpolated,
            half_width: MEMORY,
            note: "bytes over the measured rate of the profile".into(),
        })
    }

    pub(crate) fn codec(
        &self,
        gpu: &Gpu,
        (compressor, way): (Compressor, Way),
        rows: u64,
        channels: u64,
    ) -> Option<Answer> {
        let own = self.kinship(gpu)? == Kinship::Own;
        let points = self.codecs.get(&(compressor, way)).filter(|_| own)?;
        let elements = (rows * channels) as f64;
        let (us, provenance, half_width) = between(points, elements)?;
        Some(Answer {
            us,
            provenance,
            half_width,
            note: "measured sizes of the profile".into(),
        })
    }
}

/// Time at `x` from points (x, time) in ascending order: log-linear between, in proportion above, held
/// below, where a kernel's fixed time rules.
fn between(points: &[(f64, f64)], x: f64) -> Option<(f64, Provenance, f64)> {
    let (first, last) = (points.first()?, points.last()?);
    if let Some(exact) = points.iter().find(|point| point.0 == x) {
        return Some((exact.1, Provenance::Measured, NOISE));
    }
    if x < first.0 {
        return Some((first.1, Provenance::Extrapolated, BEYOND));
    }
    if x > last.0 {
        return Some((last.1 * x / last.0, Provenance::Extrapolated, BEYOND));
    }
    let pair = points.windows(2).find(|pair| x < pair[1].0)?;
    let ((low, before), (high, after)) = (pair[0], pair[1]);
    let share = (x / low).ln() / (high / low).ln();
    let us = (before.ln() + share * (after / before).ln()).exp();
    Some((us, Provenance::Interpolated, BETWEEN))
}

fn noted(answer: Answer) -> Answer {
    Answer {
        note: format!("{}, of the profile", answer.note),
        ..answer
    }
}
