//! The output error of an assignment of compressors: replay errors times measured sensitivities.
//!
//! ```text
//! D^2 = gain(N) sum over layers l, tensors k of w_k sum over phases p, q of a_p a_q G_lk[(p, c_p), (q, c_q)]
//! a_p = sqrt(s(l, c_p) phi_p)                      G: Gram matrix of the trace's replay (crate::replay)
//! ```
//! D is ||x - x0|| / ||x0|| of the final latent or image, geometric mean over prompts. For one compressor
//! in all phases of equal weight the inner sum is s E with E the coherent replay error. The form, and that squared
//! errors of layers add while those of steps do not, was found in closed loop (docs/quality.md).
//!
//! Guarantees: an assignment's energy is the sum of its layers' ([`QualityModel::energy`]), so that a
//! knapsack over layers is exact for this model; raw everywhere is 0; nothing outside what was replayed
//! and calibrated is predicted.
//!
//! Not modelled: what a base carries over where the compressor changes between phases.

mod schedule;

use std::collections::BTreeMap;

use kernels::Compressor;
use statrs::distribution::{ContinuousCDF, StudentsT};
use thiserror::Error;
use traces::trace::{ErrorKind, ErrorRow, Phase, PhaseWeight, QualityFile, Tensor};

use crate::replay::{Method, PHASES};

pub use schedule::{Entry, Schedule, ScheduleError, phase_starts};

/// Whether a rank's own K and V are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnShard {
    /// They are: rings attend to their own before they send.
    Exact,
    /// They are reconstructed as the others' are: gathers, and Ulysses' all-to-all.
    Lossy,
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QualityError {
    /// The trace was not replayed for this number of ranks.
    #[error(
        "the trace's errors.csv.gz has no errors for {ranks} ranks (it has {known}): run `ditplan replay TRACE --ranks {ranks} --save`"
    )]
    Ranks {
        /// Ranks asked for.
        ranks: u32,
        /// Ranks it was replayed for.
        known: String,
    },
    /// The trace was not replayed with this compressor.
    #[error(
        "the trace's errors.csv.gz has no errors of {method} in layer {layer}: run `ditplan replay TRACE --save` with it"
    )]
    NotReplayed {
        /// The method.
        method: String,
        /// The layer.
        layer: u32,
    },
    /// No sensitivity for a family.
    #[error(
        "the trace's quality.json has no sensitivity of layer {layer} to {family}: run `python -m ditplan_capture.calibrate_quality` with runs of that family"
    )]
    NotCalibrated {
        /// The layer.
        layer: u32,
        /// The family.
        family: Family,
    },
    /// The calibration has no confidence factor.
    #[error(
        "the trace's quality.json has no `confidence`: a budget needs mixed runs that did not fit (calibrate_quality with at least 3)"
    )]
    NoConfidence,
    /// A name in the tables that is no compressor.
    #[error("errors.csv.gz or quality.json: {0}")]
    Compressor(#[from] kernels::UnknownCompressor),
    /// Not a schedule of this trace.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

/// Inner products of a slot's errors; row and column `method * phases + phase`.
#[derive(Clone, Debug)]
struct Gram {
    values: Vec<Vec<f64>>,
}

/// The quality model of one trace.
#[derive(Clone, Debug)]
pub struct QualityModel {
    file: QualityFile,
    layers: u32,
    methods: Vec<Method>,
    grams: BTreeMap<(u32, u32, Tensor), Gram>,
}

/// A predicted output error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Relative deviation of the output, geometric mean over prompts.
    pub deviation: f64,
    /// How the number of ranks is known.
    pub gain: Gain,
}

/// How the change of the error with the number of ranks is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gain {
    /// Measured in closed loop at this number.
    Measured(f64),
    /// Between two measured numbers, by the logarithm of ranks.
    Interpolated(f64),
}

impl Gain {
    const fn factor(self) -> f64 {
        match self {
            Self::Measured(factor) | Self::Interpolated(factor) => factor,
        }
    }
}

/// Compressors that err alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// One bit, and sparse values.
    OneBit,
    /// Two bits, fixed or fitted levels.
    TwoBit,
    /// Rounded to int4, int8 or fp8.
    Int,
    /// Low rank, with or without quantised factors.
    LowRank,
    /// K and V of the step before.
    Stale,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [
        Self::OneBit,
        Self::TwoBit,
        Self::Int,
        Self::LowRank,
        Self::Stale,
    ];

    /// Its word in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OneBit => "1bit",
            Self::TwoBit => "2bit",
            Self::Int => "int",
            Self::LowRank => "low-rank",
            Self::Stale => "stale",
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

/// The family whose sensitivity a method has.
#[must_use]
pub const fn family(method: Method) -> Family {
    match method {
        Method::Stale => Family::Stale,
        Method::Compressed(Compressor::OneBit | Compressor::Sparse(_)) => Family::OneBit,
        Method::Compressed(Compressor::TwoBit | Compressor::TwoBitFitted) => Family::TwoBit,
        Method::Compressed(Compressor::Int8 | Compressor::Int4 | Compressor::Fp8) => Family::Int,
        Method::Compressed(Compressor::LowRank(_) | Compressor::LowRankInt4(_)) => Family::LowRank,
    }
}

/// A method by its name in the tables.
fn method(name: &str) -> Result<Method, QualityError> {
    match name {
        "stale" => Ok(Method::Stale),
        _ => Ok(Method::Compressed(name.parse()?)),
    }
}

impl QualityModel {
    /// A model from the calibration and the replay errors of a trace of `layers` layers.
    ///
    /// # Errors
    /// [`QualityError::Compressor`] for a name that is no compressor.
    pub fn new(file: QualityFile, errors: &[ErrorRow], layers: u32) -> Result<Self, QualityError> {
        for one in &file.sensitivities {
            if Family::ALL.iter().all(|family| family.word() != one.family) {
                method(&one.family)?;
            }
        }
        let mut methods = Vec::new();
        for row in errors {
            let found = method(&row.compressor)?;
            if !methods.contains(&found) {
                methods.push(found);
            }
        }
        let sums = methods.len() * PHASES;
        let mut grams = BTreeMap::new();
        let index = |phase: Option<Phase>, name: &str| -> Result<usize, QualityError> {
            let found = method(name)?;
            let position = methods.iter().position(|known| *known == found);
            let position = position.expect("every method of the table was listed");
            Ok(position * PHASES + phase.expect("gram rows name phases") as usize)
        };
        for row in errors.iter().filter(|row| row.kind == ErrorKind::Gram) {
            let other = row.compressor2.as_deref().expect("gram rows name two");
            let (a, b) = (
                index(row.phase, &row.compressor)?,
                index(row.phase2, other)?,
            );
            let gram = grams
                .entry((row.ranks, row.layer, row.tensor))
                .or_insert_with(|| Gram {
                    values: vec![vec![f64::NAN; sums]; sums],
                });
            gram.values[a][b] = row.value;
            gram.values[b][a] = row.value;
        }
        Ok(Self {
            file,
            layers,
            methods,
            grams,
        })
    }

    /// Layers of the model.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// The calibration.
    #[must_use]
    pub fn calibration(&self) -> &QualityFile {
        &self.file
    }

    /// The compressors that the trace was replayed with and whose family is calibrated.
    #[must_use]
    pub fn compressors(&self) -> Vec<Compressor> {
        let known = |&&of: &&Method| self.sensitivity(0, of).is_some();
        let compressors = self.methods.iter().filter(known).filter_map(|of| match of {
            Method::Compressed(compressor) => Some(*compressor),
            Method::Stale => None,
        });
        compressors.collect()
    }

    /// Numbers of ranks that the trace was replayed for.
    #[must_use]
    pub fn ranks(&self) -> Vec<u32> {
        let mut ranks: Vec<u32> = self.grams.keys().map(|key| key.0).collect();
        ranks.dedup();
        ranks
    }

    /// By how much D^2 differs at `ranks` ranks from what their replay says.
    ///
    /// # Errors
    /// [`QualityError::Ranks`] outside the measured numbers.
    pub fn gain(&self, ranks: u32) -> Result<Gain, QualityError> {
        if let Some(&factor) = self.file.gain.get(&ranks) {
            return Ok(Gain::Measured(factor));
        }
        let below = self.file.gain.range(..ranks).next_back();
        let above = self.file.gain.range(ranks..).next();
        let (Some((&n, &low)), Some((&m, &high))) = (below, above) else {
            let known: Vec<String> = self.file.gain.keys().map(u32::to_string).collect();
            let known = known.join(", ");
            return Err(QualityError::Ranks { ranks, known });
        };
        let log = |ranks: u32| f64::from(ranks).ln();
        let share = (log(ranks) - log(n)) / (log(m) - log(n));
        Ok(Gain::Interpolated(
            (low.ln() * (1.0 - share) + high.ln() * share).exp(),
        ))
    }

    /// What one layer adds to D^2 when its K and V go as `k` and `v` say, phase by phase.
    ///
    /// # Errors
    /// A [`QualityError`] for what was not replayed or calibrated.
    pub fn energy(
        &self,
        layer: u32,
        ranks: u32,
        own: OwnShard,
        [k, v]: [Entry; 2],
    ) -> Result<f64, QualityError> {
        let weights = &self.file.tensor_weight;
        let mut sum = 0.0;
        for (tensor, entry, weight) in [(Tensor::K, k, weights.k), (Tensor::V, v, weights.v)] {
            sum += weight * self.slot_energy((ranks, layer, tensor), entry)?;
        }
        Ok(sum.max(0.0) * self.everywhere(ranks, own) * self.gain(ranks)?.factor())
    }

    /// By how much D^2 grows where the own shard is lossy too. The own shard weighs w times each other
    /// one's: 1 + w / (N - 1); w from the calibration's gathers, else 1, as if near tokens mattered no
    /// more than far ones.
    fn everywhere(&self, ranks: u32, own: OwnShard) -> f64 {
        let others = |ranks: u32| f64::from(ranks.max(2) - 1);
        match own {
            OwnShard::Exact => 1.0,
            OwnShard::Lossy => {
                let measured = self.file.lossy_own_shard;
                let weight =
                    measured.map_or(1.0, |factor| (factor - 1.0) * others(self.file.ranks));
                1.0 + weight / others(ranks)
            }
        }
    }

    fn slot_energy(&self, slot: (u32, u32, Tensor), entry: Entry) -> Result<f64, QualityError> {
        let (ranks, layer, _) = slot;
        let gram = self.grams.get(&slot).ok_or_else(|| {
            let known: Vec<String> = self.ranks().iter().map(u32::to_string).collect();
            let known = known.join(", ");
            QualityError::Ranks { ranks, known }
        })?;
        let mut parts = Vec::new();
        for (phase, of) in entry.into_iter().enumerate() {
            if let Some(of) = of {
                parts.push((
                    self.position(of, layer)? * PHASES + phase,
                    self.amplitude(layer, of, phase)?,
                ));
            }
        }
        let mut sum = 0.0;
        for &(row, a) in &parts {
            for &(column, b) in &parts {
                sum += a * b * gram.values[row][column];
            }
        }
        Ok(sum)
    }

    fn position(&self, of: Method, layer: u32) -> Result<usize, QualityError> {
        let position = self.methods.iter().position(|known| *known == of);
        position.ok_or_else(|| QualityError::NotReplayed {
            method: of.to_string(),
            layer,
        })
    }

    /// That of the compressor itself where it had one-layer runs, else of its family.
    fn sensitivity(&self, layer: u32, of: Method) -> Option<f64> {
        let own = self.file.sensitivity(layer, &of.to_string());
        own.or_else(|| self.file.sensitivity(layer, family(of).word()))
    }

    /// sqrt(s phi): what a unit of relative error in a phase adds to D.
    fn amplitude(&self, layer: u32, of: Method, phase: usize) -> Result<f64, QualityError> {
        let family = family(of);
        let s = self
            .sensitivity(layer, of)
            .ok_or(QualityError::NotCalibrated { layer, family })?;
        let PhaseWeight { early, mid, late } = self.file.phase_weight;
        Ok((s.max(0.0) * [early, mid, late][phase]).sqrt())
    }

    /// The output error of a schedule.
    ///
    /// # Errors
    /// A [`QualityError`] for what was not replayed or calibrated.
    pub fn predict(
        &self,
        schedule: &Schedule,
        ranks: u32,
        own: OwnShard,
    ) -> Result<Prediction, QualityError> {
        let mut energy = 0.0;
        for (layer, entries) in schedule.layers.iter().enumerate() {
            let layer = u32::try_from(layer).expect("a model has few layers");
            energy += self.energy(layer, ranks, own, *entries)?;
        }
        Ok(Prediction {
            deviation: energy.sqrt(),
            gain: self.gain(ranks)?,
        })
    }

    /// The factor on a predicted D that a new run keeps with `confidence` (0.95: 19 of 20), from the
    /// mixed runs that did not fit: exp(mean + t sd sqrt(1 + 1/n)), t Student's one-sided quantile.
    ///
    /// # Errors
    /// [`QualityError::NoConfidence`].
    pub fn factor(&self, confidence: f64) -> Result<f64, QualityError> {
        let held = self.file.confidence.as_ref().filter(|held| held.runs > 1);
        let held = held.ok_or(QualityError::NoConfidence)?;
        let n = f64::from(held.runs);
        let student =
            StudentsT::new(0.0, 1.0, n - 1.0).expect("two runs at least give a degree of freedom");
        let spread = held.sd_ln * (1.0 + 1.0 / n).sqrt();
        Ok((held.mean_ln + student.inverse_cdf(confidence) * spread).exp())
    }
}

#[cfg(test)]
mod tests;
