//! A quality budget, and the quality model of a trace that it is judged by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sim::plan::{Compression, Exchange, Fidelity, Plan};
use sim::quality::{OwnShard, Prediction, QualityError, QualityModel, Schedule};
use thiserror::Error;

/// How sure a budget is kept: in 19 of 20 new runs.
pub const CONFIDENCE: f64 = 0.95;

/// How far the output may be from the one-GPU output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Peak signal-to-noise ratio of at least this, in dB.
    Psnr(f64),
    /// Relative L2 deviation of at most this.
    RelativeL2(f64),
    /// Frechet inception distance of at most this: published figures.
    Fid(f64),
    /// Learned perceptual image patch similarity of at most this: published figures.
    Lpips(f64),
}

/// A budget that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{text}\" is not a budget: write psnr>=30, rel-l2<=0.05, fid<=7 or lpips<=0.2, with a number that is not negative"
)]
pub struct BudgetError {
    /// What was written.
    pub text: String,
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        let wrong = || BudgetError {
            text: text.to_owned(),
        };
        let plain: String = text.to_lowercase().split_whitespace().collect();
        let sign = if plain.contains(">=") { ">=" } else { "<=" };
        let (name, number) = plain.split_once(sign).ok_or_else(wrong)?;
        let number: f64 = number.trim_end_matches("db").parse().map_err(|_| wrong())?;
        if !number.is_finite() || number < 0.0 {
            return Err(wrong());
        }
        match (name, sign) {
            ("psnr", ">=") => Ok(Self::Psnr(number)),
            ("rel-l2", "<=") => Ok(Self::RelativeL2(number)),
            ("fid", "<=") => Ok(Self::Fid(number)),
            ("lpips", "<=") => Ok(Self::Lpips(number)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Psnr(db) => write!(f, "psnr>={db}"),
            Self::RelativeL2(most) => write!(f, "rel-l2<={most}"),
            Self::Fid(most) => write!(f, "fid<={most}"),
            Self::Lpips(most) => write!(f, "lpips<={most}"),
        }
    }
}

/// The quality model of a recorded trace.
#[derive(Clone, Debug)]
pub struct TraceQuality {
    /// The trace's directory.
    pub name: String,
    /// Its model, replayed and calibrated.
    pub model: Arc<QualityModel>,
    /// Steps of its sampler.
    pub steps: u32,
}

/// A predicted output error with its upper bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Relative deviation of the output, geometric mean over prompts.
    pub deviation: f64,
    /// What 19 of 20 runs keep.
    pub upper: f64,
    /// PSNR of the deviation in dB, where the trace says what a deviation of 1 is.
    pub psnr_db: Option<f64>,
    /// PSNR of the upper bound.
    pub psnr_lo_db: Option<f64>,
}

impl TraceQuality {
    /// PSNR of a deviation.
    #[must_use]
    pub fn psnr(&self, deviation: f64) -> Option<f64> {
        let unit = self.model.calibration().psnr_at_unit_db?;
        Some(unit - 20.0 * deviation.log10())
    }

    /// The largest deviation that keeps a budget; none for budgets that are published figures.
    #[must_use]
    pub fn limit(&self, budget: Budget) -> Option<f64> {
        match budget {
            Budget::RelativeL2(most) => Some(most),
            Budget::Psnr(db) => {
                let unit = self.model.calibration().psnr_at_unit_db?;
                Some(10.0_f64.powf((unit - db) / 20.0))
            }
            Budget::Fid(_) | Budget::Lpips(_) => None,
        }
    }

    /// The output error of a plan.
    ///
    /// # Errors
    /// A [`QualityError`] for what was not replayed or calibrated.
    pub fn predict(&self, plan: &Plan) -> Result<Predicted, QualityError> {
        let deviation = match plan.fidelity() {
            Fidelity::Exact => 0.0,
            Fidelity::Stale | Fidelity::Lossy => {
                let schedule = Schedule::of_plan(plan, self.model.layers(), self.steps)?;
                let Prediction { deviation, .. } =
                    self.model
                        .predict(&schedule, shards(plan), own_shard(plan))?;
                deviation
            }
        };
        let upper = match plan.fidelity() {
            Fidelity::Exact => 0.0,
            Fidelity::Stale | Fidelity::Lossy => deviation * self.model.factor(CONFIDENCE)?,
        };
        let finite = |psnr: Option<f64>| psnr.filter(|db| db.is_finite());
        Ok(Predicted {
            deviation,
            upper,
            psnr_db: finite(self.psnr(deviation)),
            psnr_lo_db: finite(self.psnr(upper)),
        })
    }
}

/// Ranks among which K and V are cut.
#[must_use]
pub fn shards(plan: &Plan) -> u32 {
    match plan.exchange {
        // A rank of a pipeline reads what is not its patch from the step before.
        _ if plan.pipeline.stages > 1 => plan.pipeline.patches,
        _ => plan.sequence(),
    }
}

/// Whether a rank reads its own shard exactly: rings and displaced gathers do.
#[must_use]
pub fn own_shard(plan: &Plan) -> OwnShard {
    match (&plan.compression, plan.exchange) {
        (Compression::Raw, _) => OwnShard::Exact,
        (_, Exchange::Ring(n)) if n > 1 && plan.ulysses == 1 => OwnShard::Exact,
        _ => OwnShard::Lossy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_read_back_what_they_write() {
        for line in ["psnr>=30", "rel-l2<=0.05", "fid<=7.1", "lpips<=0.2"] {
            assert_eq!(line.parse::<Budget>().unwrap().to_string(), line);
        }
        assert_eq!("PSNR >= 30 dB".parse(), Ok(Budget::Psnr(30.0)));
    }

    #[test]
    fn a_budget_the_wrong_way_round_is_refused() {
        for wrong in [
            "psnr<=30",
            "rel-l2>=0.1",
            "fid",
            "ssim>=0.9",
            "psnr>=nan",
            "rel-l2<=-1",
        ] {
            let error = wrong.parse::<Budget>().unwrap_err();
            assert!(error.to_string().contains("psnr>=30"), "{wrong}");
        }
    }
}
