//! `runs.csv.gz`: closed-loop runs under an assignment of compressors, and how far their output went.
//!
//! ```text
//! deviation of a sample ||x - x0|| / ||x0||, x0 the uncompressed run with the same seed
//! deviation of the run = geometric mean over its samples
//! ```

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rows::{Row, json_cell, not_negative};

/// What a written geometric mean may differ by, relatively.
const MEAN: f64 = 1e-3;

/// Which side of the committed split a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// It calibrates.
    Fit,
    /// It is only predicted.
    Test,
    /// Another number of steps or ranks; only predicted.
    Transfer,
}

/// Why a run was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Purpose {
    /// One layer is compressed.
    Single,
    /// All layers alike.
    Uniform,
    /// A random assignment.
    Mixed,
    /// An assignment that changes from phase to phase.
    Phase,
    /// K and V compressed differently.
    Kv,
    /// A word of its own.
    Other(String),
}

impl Purpose {
    /// Its word in the table.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Single => "single",
            Self::Uniform => "uniform",
            Self::Mixed => "mixed",
            Self::Phase => "phase",
            Self::Kv => "kv",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for Purpose {
    fn from(word: String) -> Self {
        match word.as_str() {
            "single" => Self::Single,
            "uniform" => Self::Uniform,
            "mixed" => Self::Mixed,
            "phase" => Self::Phase,
            "kv" => Self::Kv,
            _ => Self::Other(word),
        }
    }
}

impl FromStr for Purpose {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(word.to_owned().into())
    }
}

impl From<Purpose> for String {
    fn from(purpose: Purpose) -> Self {
        purpose.word().to_owned()
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How ranks got each other's K and V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStrategy {
    /// A ring: a rank's own shard is exact, the others' are reconstructed.
    Ring,
    /// A gather: every shard is reconstructed, the own one too.
    Gather,
    /// The others' shards are those of the step before.
    Stale,
}

/// One closed-loop run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLoop {
    /// Its name.
    pub id: String,
    /// Whether it calibrates.
    pub split: Split,
    /// Why it was made.
    pub purpose: Purpose,
    /// The set of prompts: `A`, `B`, ...
    pub prompts: String,
    /// Ranks that shared the sequence.
    pub ranks: u32,
    /// Denoising steps.
    pub steps: u32,
    /// How ranks got each other's K and V.
    pub strategy: RunStrategy,
    /// First steps, run uncompressed.
    pub warmup: u32,
    /// Which compressor each layer, tensor and phase had, as the capture package writes it.
    #[serde(with = "json_cell")]
    pub assignment: serde_json::Value,
    /// Geometric mean of `deviations`.
    pub deviation: f64,
    /// One for each sample.
    #[serde(with = "json_cell")]
    pub deviations: Vec<f64>,
}

impl ClosedLoop {
    /// The geometric mean of the samples' deviations; 0 if one of them is.
    #[must_use]
    pub fn geometric_mean(&self) -> f64 {
        let logs = self.deviations.iter().map(|deviation| deviation.ln());
        (logs.sum::<f64>() / self.deviations.len() as f64).exp()
    }
}

impl Row for ClosedLoop {
    const FILE: &'static str = super::RUNS;

    fn check(&self) -> Result<(), String> {
        if self.id.is_empty() || self.prompts.is_empty() {
            return Err("id and prompts are not empty".to_owned());
        }
        if self.ranks == 0 || self.steps == 0 || self.warmup > self.steps {
            return Err("ranks and steps are at least 1, warmup at most steps".to_owned());
        }
        if self.deviations.is_empty() {
            return Err("deviations is empty".to_owned());
        }
        not_negative("deviation", self.deviation)?;
        for &deviation in &self.deviations {
            not_negative("a deviation of deviations", deviation)?;
        }
        let mean = self.geometric_mean();
        if mean > 0.0 && (self.deviation / mean - 1.0).abs() > MEAN {
            let found = self.deviation;
            return Err(format!(
                "deviation is {found}, the geometric mean of deviations is {mean}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{pack, read};
    use super::*;

    /// (0.01 * 0.04)^(1/2) = 0.02.
    fn run() -> ClosedLoop {
        ClosedLoop {
            id: "mixed-07".to_owned(),
            split: Split::Test,
            purpose: Purpose::Mixed,
            prompts: "B".to_owned(),
            ranks: 4,
            steps: 28,
            strategy: RunStrategy::Ring,
            warmup: 1,
            assignment: serde_json::json!({ "layers": [{ "k": "1bit", "v": "int4" }] }),
            deviation: 0.02,
            deviations: vec![0.01, 0.04],
        }
    }

    #[test]
    fn runs_come_back_with_their_assignment() {
        let mut other = run();
        other.purpose = Purpose::Other("ablation".to_owned());
        let rows = vec![run(), other];
        assert_eq!(read::<ClosedLoop>(&pack(&rows), "r.csv.gz").unwrap(), rows);
        assert!((run().geometric_mean() - 0.02).abs() < 1e-15);
    }

    #[test]
    fn a_faulty_run_is_told() {
        type Change = fn(&mut ClosedLoop);
        let changes: [(Change, &str); 4] = [
            (
                |run| run.deviation = 0.025,
                "the geometric mean of deviations is 0.02",
            ),
            (|run| run.deviations.clear(), "deviations is empty"),
            (|run| run.warmup = 29, "warmup at most steps"),
            (
                |run| run.deviations[1] = f64::NAN,
                "a deviation of deviations is NaN",
            ),
        ];
        for (change, what) in changes {
            let mut run = run();
            change(&mut run);
            let error = run.check().unwrap_err();
            assert!(error.contains(what), "{what} in {error}");
        }
    }

    #[test]
    fn a_cell_that_is_not_json_is_told_with_its_line() {
        let text = "id,split,purpose,prompts,ranks,steps,strategy,warmup,assignment,deviation,deviations\n\
                    a,fit,single,A,4,28,ring,1,{},0.1,0.1 0.2\n";
        let error = read::<ClosedLoop>(text.as_bytes(), "r.csv")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("r.csv, line 2: "), "{error}");
        assert!(error.contains("not the JSON of this column"), "{error}");
    }
}
