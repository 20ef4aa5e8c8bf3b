//! `quality.json`: the calibration of the quality model, fitted from runs of the split `fit`.
//!
//! ```text
//! D^2 = sum over layers l, tensors k of s(l, family) * w_k * E(l, k, schedule, phase weights) * gain(ranks)
//! ```
//! `sim::quality` evaluates it; this is plain data, with the rules that every such file obeys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rows::not_negative;
use super::{QUALITY, Trace, TraceError, validate};

/// How much a layer's relative error energy moves the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// The layer.
    pub layer: u32,
    /// The family of the compressor, or a compressor that had one-layer runs of its own.
    pub family: String,
    /// Squared output deviation per relative error energy.
    pub s: f64,
}

/// Weights of K and V.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorWeight {
    /// Of K.
    pub k: f64,
    /// Of V.
    pub v: f64,
}

/// Weights of the thirds of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseWeight {
    /// Of the first third.
    pub early: f64,
    /// Of the second.
    pub mid: f64,
    /// Of the last.
    pub late: f64,
}

impl Default for PhaseWeight {
    /// All alike.
    fn default() -> Self {
        Self {
            early: 1.0,
            mid: 1.0,
            late: 1.0,
        }
    }
}

/// How far predictions were from runs that did not fit: ln(actual / predicted).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confidence {
    /// How many runs.
    pub runs: u32,
    /// Mean of ln r.
    pub mean_ln: f64,
    /// Standard deviation of ln r.
    pub sd_ln: f64,
    /// The set of prompts they used.
    pub prompts: String,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityFile {
    /// The version of the format: 1.
    pub version: u32,
    /// Ranks of the runs that fitted.
    pub ranks: u32,
    /// Steps of the runs that fitted.
    pub steps: u32,
    /// Samples of each run.
    pub samples: u32,
    /// One for each layer and family.
    pub sensitivities: Vec<Sensitivity>,
    /// Weights of K and V.
    pub tensor_weight: TensorWeight,
    /// Weights of the early, mid and late third of the steps; 1 where not measured.
    #[serde(default)]
    pub phase_weight: PhaseWeight,
    /// Factor on D^2 by number of ranks; 1 at `ranks`.
    pub gain: BTreeMap<u32, f64>,
    /// Factor on D^2 where a rank's own shard is reconstructed too, at `ranks` ranks, where measured.
    #[serde(default)]
    pub lossy_own_shard: Option<f64>,
    /// From runs that did not fit; nothing before there are any.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// Standard deviation of ln D over prompts, where measured.
    #[serde(default)]
    pub sigma_ln_prompt: Option<f64>,
    /// PSNR of an output whose deviation is 1, in dB: 20 log10(peak / root mean square of the outputs),
    /// mean over samples. An output of deviation D has 20 log10(D) less.
    #[serde(default)]
    pub psnr_at_unit_db: Option<f64>,
    /// Which runs, of which trace, fitted by what.
    pub source: String,
}

impl QualityFile {
    /// Reads the text of a file; `file` is its name in errors.
    ///
    /// # Errors
    /// [`TraceError::Key`] with the key of the first mistake.
    pub fn parse(text: &[u8], file: &str) -> Result<Self, TraceError> {
        let quality: Self = validate::json(text, file)?;
        quality.check().map_err(|(key, what)| TraceError::Key {
            file: file.to_owned(),
            key: key.to_owned(),
            what,
        })?;
        Ok(quality)
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("keys are strings or whole numbers") + "\n"
    }

    /// The sensitivity of a layer to a family.
    #[must_use]
    pub fn sensitivity(&self, layer: u32, family: &str) -> Option<f64> {
        let mut known = self.sensitivities.iter();
        let found = known.find(|known| known.layer == layer && known.family == family);
        found.map(|known| known.s)
    }

    /// The first rule that is broken: its key, and what is wrong.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.version != 1 {
            let what = format!("{}, this program reads version 1", self.version);
            return Err(("version", what));
        }
        for (key, count) in [
            ("ranks", self.ranks),
            ("steps", self.steps),
            ("samples", self.samples),
        ] {
            if count == 0 {
                return Err((key, "0, not at least 1".to_owned()));
            }
        }
        let mut known = BTreeSet::new();
        for one in &self.sensitivities {
            not_negative("s", one.s).map_err(|what| ("sensitivities", what))?;
            if !known.insert((one.layer, &one.family)) {
                let what = format!("layer {}, {} stands twice", one.layer, one.family);
                return Err(("sensitivities", what));
            }
        }
        if known.is_empty() {
            return Err(("sensitivities", "there is none".to_owned()));
        }
        let TensorWeight { k, v } = self.tensor_weight;
        let groups = [
            ("tensor_weight", vec![k, v]),
            (
                "phase_weight",
                vec![
                    self.phase_weight.early,
                    self.phase_weight.mid,
                    self.phase_weight.late,
                ],
            ),
            ("gain", self.gain.values().copied().collect()),
        ];
        for (key, factors) in groups {
            let wrong = factors.iter().find(|f| !(f.is_finite() && **f > 0.0));
            if let Some(factor) = wrong {
                return Err((key, format!("{factor} is not a positive number")));
            }
        }
        let own = self.gain.get(&self.ranks);
        if own.is_some_and(|gain| (gain - 1.0).abs() > 1e-9) {
            return Err(("gain", "it is 1 at the ranks that fitted".to_owned()));
        }
        self.check_spread()
    }

    /// Spreads are standard deviations.
    fn check_spread(&self) -> Result<(), (&'static str, String)> {
        if let Some(spread) = self.sigma_ln_prompt {
            not_negative("it", spread).map_err(|what| ("sigma_ln_prompt", what))?;
        }
        if let Some(factor) = self.lossy_own_shard {
            not_negative("it", factor).map_err(|what| ("lossy_own_shard", what))?;
        }
        if let Some(db) = self.psnr_at_unit_db {
            not_negative("it", db).map_err(|what| ("psnr_at_unit_db", what))?;
        }
        if let Some(confidence) = &self.confidence {
            not_negative("sd_ln", confidence.sd_ln).map_err(|what| ("confidence.sd_ln", what))?;
            if confidence.runs < 2 || !confidence.mean_ln.is_finite() {
                let what = "it takes 2 runs and a finite mean_ln".to_owned();
                return Err(("confidence", what));
            }
        }
        Ok(())
    }
}

impl Trace {
    /// Reads the calibration; nothing if the trace does not have one.
    ///
    /// # Errors
    /// [`TraceError::Key`] or [`TraceError::Unreadable`].
    pub fn quality(&self) -> Result<Option<QualityFile>, TraceError> {
        let bytes = self.bytes(QUALITY)?;
        let file = self.path(QUALITY).display().to_string();
        bytes
            .map(|bytes| QualityFile::parse(&bytes, &file))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"{
        "version": 1, "ranks": 4, "steps": 28, "samples": 16,
        "sensitivities": [
            {"layer": 0, "family": "1bit", "s": 0.5}, {"layer": 0, "family": "low-rank", "s": 0.25}
        ],
        "tensor_weight": {"k": 1.4, "v": 0.6},
        "phase_weight": {"early": 2.5, "mid": 0.3, "late": 0.3},
        "gain": {"2": 0.71, "4": 1, "8": 1.95},
        "confidence": {"runs": 48, "mean_ln": 0.02, "sd_ln": 0.11, "prompts": "B"},
        "sigma_ln_prompt": 0.46, "source": "a test"
    }"#;

    fn parse(text: &str) -> Result<QualityFile, TraceError> {
        QualityFile::parse(text.as_bytes(), "quality.json")
    }

    #[test]
    fn a_calibration_comes_back() {
        let read = parse(RIGHT).unwrap();
        assert_eq!(parse(&read.text()).unwrap(), read);
        assert_eq!(read.gain[&8], 1.95);
        assert_eq!(read.sensitivity(0, "low-rank"), Some(0.25));
        assert_eq!(read.sensitivity(1, "low-rank"), None);
    }

    #[test]
    fn a_faulty_calibration_is_told_with_its_key() {
        for (from, to, words) in [
            (
                "\"version\": 1",
                "\"version\": 2",
                ["\"version\"", "reads version 1"],
            ),
            (
                "\"layer\": 0, \"family\": \"low-rank\"",
                "\"layer\": 0, \"family\": \"1bit\"",
                ["\"sensitivities\"", "twice"],
            ),
            ("0.71", "-0.71", ["\"gain\"", "not a positive number"]),
            ("\"4\": 1", "\"4\": 1.2", ["\"gain\"", "1 at the ranks"]),
            (
                "\"sd_ln\": 0.11",
                "\"sd_ln\": -1",
                ["\"confidence.sd_ln\"", "at least 0"],
            ),
            (
                "\"k\": 1.4",
                "\"q\": 1.4",
                ["\"tensor_weight.q\"", "unknown field"],
            ),
        ] {
            let error = parse(&RIGHT.replacen(from, to, 1)).unwrap_err().to_string();
            for word in words.iter().chain(&["quality.json, key "]) {
                assert!(error.contains(word), "{word} in {error}");
            }
        }
    }
}
