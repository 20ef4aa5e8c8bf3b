//! What was measured, part by part: how many points, how steady, how far from the built-in predictions.

use kernels::{AttentionKernel, CostModel, Op, Tables, Way};
use topologies::Gpu;

use super::points::{Part, Point, What};
use super::{Device, Profile};
use crate::validate::statistics::{Score, median};

/// One part of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct PartSummary {
    /// Which.
    pub part: Part,
    /// Measured points.
    pub points: usize,
    /// Median over points of (p90 - p10) / median, percent; null without spreads.
    pub spread_pct: Option<f64>,
    /// Built-in predictions over these measurements, where there are predictions of such points.
    pub built_in: Option<Score>,
}

/// A profile in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The directory.
    pub profile: String,
    /// The device's own name.
    pub gpu: String,
    /// Whether it is a processor's.
    pub processor: bool,
    /// Whether its shapes are tiny.
    pub toy: bool,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Parts with points.
    pub parts: Vec<PartSummary>,
    /// Parts that are not complete.
    pub partial: Vec<String>,
}

impl Profile {
    /// This profile in numbers. A processor has no built-in predictions.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let measured = Part::ALL
            .into_iter()
            .filter(|part| !self.points(*part).is_empty());
        let partial = self
            .about
            .parts
            .iter()
            .filter(|(_, state)| *state != "complete");
        Summary {
            profile: self.path.clone(),
            gpu: self.about.gpu.clone(),
            processor: self.about.device == Device::Cpu,
            toy: self.about.is_toy(),
            notes: self.about.notes.clone(),
            parts: measured.map(|part| self.part_summary(part)).collect(),
            partial: partial.map(|(part, _)| part.clone()).collect(),
        }
    }

    fn part_summary(&self, part: Part) -> PartSummary {
        let points = self.points(part);
        let spread = |point: &Point| {
            point
                .spread
                .map(|(low, high)| 100.0 * (high - low) / point.us)
        };
        let spreads: Vec<f64> = points.iter().filter_map(spread).collect();
        let predicted = |point: &Point| {
            let cost = Tables::built_in().cost(&operation(&point.what, &self.gpu)?, &self.gpu);
            Some((point.us, cost.ok()?.time.as_us_f64()))
        };
        let pairs: Vec<(f64, f64)> = match self.about.device {
            Device::Cuda => points.iter().filter_map(predicted).collect(),
            Device::Cpu => Vec::new(),
        };
        PartSummary {
            part,
            points: points.len(),
            spread_pct: (!spreads.is_empty()).then(|| median(spreads)),
            built_in: (!pairs.is_empty()).then(|| Score::of_pairs(points.len(), pairs.into_iter())),
        }
    }
}

/// The operation that a point measures, where it is one that the cost model knows.
fn operation(what: &What, gpu: &Gpu) -> Option<Op> {
    Some(match what {
        What::Gemm(point) => {
            let [m, n, k] = point.shape.map(u64::from);
            let dtype = point.dtype;
            Op::Gemm { m, n, k, dtype }
        }
        What::Attention(point) => Op::Attention {
            kernel: AttentionKernel::named(&point.kernel, gpu.architecture)
                .unwrap_or_else(|_| AttentionKernel::usual(gpu)),
            batch: point.batch.into(),
            heads: point.heads.into(),
            queries: point.queries.into(),
            keys: point.keys.into(),
            head_dim: point.head_dim.into(),
        },
        What::Memory { bytes, .. } => Op::MemoryBound {
            bytes: *bytes,
            kernels: 1,
        },
        What::Codec { point, kernel, .. } if kernel == "ditplan" => {
            let (compressor, rows, channels) =
                (point.compressor, point.rows.into(), point.channels.into());
            match point.way {
                Way::Encode => Op::Encode {
                    compressor,
                    rows,
                    channels,
                },
                Way::Decode => Op::Decode {
                    compressor,
                    rows,
                    channels,
                },
            }
        }
        _ => return None,
    })
}
