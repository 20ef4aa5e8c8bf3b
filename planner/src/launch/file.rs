//! What the file of an engine says: `planner/engines/*.toml`, or a user's own (`docs/engines.md`).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex};

use kernels::AttentionKernel;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use sim::execution::Software;
use sim::legality::Pads;
use sim::model::Model;
use sim::model::file::{FileError, typed};
use sim::plan::{Plan, Precision, Residency, Weights};
use topologies::Gpu;

use super::feature::{Feature, Guard, LAYOUT};
use super::template::{Template, Value};
use super::words::words;
use super::{Case, Engine};

/// Where every key is described.
const MANUAL: &str = "docs/engines.md describes every key";

/// An engine at a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineFile {
    /// As it calls itself.
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    /// The version that the file is about.
    pub(super) version: String,
    /// Where that was read.
    pub(super) source: String,
    /// Under which word a model's `[engines.on]` says how it is run.
    pub(super) models: String,
    /// What becomes of a model without such an entry.
    pub(super) unlisted: Unlisted,
    /// Whose pipeline it runs.
    pub(super) pipeline: Pipelines,
    /// Attention kernels that it takes in place of the newest flash attention of a GPU.
    #[serde(default, deserialize_with = "kernels")]
    pub(super) attention: BTreeMap<String, String>,
    /// Which plans it pads.
    #[serde(default)]
    pub(super) pads: Padded,
    /// The most ranks that it decodes a VAE with.
    pub(super) decoders: u32,
    /// What plans may be made of.
    pub(super) runs: Vec<Feature>,
    /// What it leaves to CompactFusion.
    pub(super) compact_fusion: Option<Left>,
    /// What it does not run, in its own words.
    #[serde(default)]
    pub(super) exclude: Vec<Exclusion>,
    /// The shell command; absent where nothing is to be started any more.
    pub(super) command: Option<Template>,
    /// The Python script `run.py` that the command starts.
    pub(super) script: Option<Template>,
    /// Where it can keep weights; everything resident first, then from the fastest.
    pub(super) residency: Vec<Offered>,
    /// In which precisions it runs products beside 16 bits.
    #[serde(default)]
    pub(super) precision: Vec<Quantised>,
}

words! {
    /// What an engine does with a model without an entry.
    pub(super) enum Unlisted ("no way with models") {
        /// It does not run it.
        Refused = "refused",
        /// It runs it on one GPU.
        OneGpu = "one-gpu",
    }
}

words! {
    /// Whose pipeline an engine runs: what predictions tell apart.
    pub(super) enum Pipelines ("no pipeline") {
        /// SGLang Diffusion's, with kernels of its own.
        Sglang = "sglang",
        /// The code of the PipeFusion paper.
        PipeFusionLegacy = "pipefusion-legacy",
        /// Everything else.
        Other = "other",
    }
}

/// Which plans an engine pads where a degree leaves a rest; plans that are in no list are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Padded {
    /// Their image tokens.
    #[serde(default)]
    tokens: Vec<PlanGuard>,
    /// Their heads.
    #[serde(default)]
    heads: Vec<PlanGuard>,
}

/// A guard about plans alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
struct PlanGuard(Guard);

impl TryFrom<String> for PlanGuard {
    type Error = String;

    fn try_from(words: String) -> Result<Self, String> {
        let guard: Guard = words.parse()?;
        let other = guard.beside_plans().map(Feature::word);
        other.map_or(Ok(Self(guard)), |other| {
            let plans = LAYOUT.iter().map(|one| one.word());
            let plans = plans.collect::<Vec<_>>().join(", ");
            Err(format!(
                "\"{other}\" is not a matter of plans alone, as {plans} are"
            ))
        })
    }
}

/// What an engine does not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exclusion {
    /// Jobs of which this holds.
    pub when: Guard,
    /// What follows its name in a sentence.
    pub because: String,
}

/// What an engine leaves to CompactFusion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Left {
    /// Plans with any of these.
    pub runs: Vec<Feature>,
    /// The shell command.
    pub command: Template,
}

/// A residency that an engine offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offered {
    /// Which. Of `layerwise(0)` any number of blocks may stay where the command has `{resident}`.
    #[serde(rename = "words", deserialize_with = "parsed")]
    pub residency: Residency,
    /// Flags, or lines of a script.
    pub command: Template,
    /// What it cannot run beside.
    #[serde(default)]
    not_with: Vec<Guard>,
}

/// A precision that an engine offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantised {
    /// Which.
    #[serde(rename = "word", deserialize_with = "parsed")]
    pub precision: Precision,
    /// Flags, or lines of a script.
    pub command: Template,
    /// What it cannot run beside.
    #[serde(default)]
    not_with: Vec<Guard>,
}

/// A word of the plan language.
fn parsed<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error> {
    let words = String::deserialize(from)?;
    let unknown = |_| D::Error::custom(format!("\"{words}\" is nothing that a plan says"));
    words.parse().map_err(unknown)
}

/// A short line that a terminal can show.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let shown = text.trim() == text && !text.chars().any(char::is_control);
    if !shown || !(1..=40).contains(&text.chars().count()) {
        return Err(D::Error::custom(
            "a name of 1 to 40 printable characters is meant",
        ));
    }
    Ok(text)
}

/// Names of attention kernels by the newest flash attention.
fn kernels<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(from)?;
    for word in map.iter().flat_map(|(newest, kernel)| [newest, kernel]) {
        if !AttentionKernel::ALL.iter().any(|one| one.name() == word) {
            let known = || AttentionKernel::ALL.iter().map(|one| one.name());
            return Err(D::Error::custom(super::words::unknown(
                word,
                "no attention kernel",
                known,
            )));
        }
    }
    Ok(map)
}

static BUILT_IN: LazyLock<[EngineFile; 6]> = LazyLock::new(|| {
    [
        include_str!("../../engines/xdit.toml"),
        include_str!("../../engines/sglang.toml"),
        include_str!("../../engines/diffusers.toml"),
        include_str!("../../engines/cache-dit.toml"),
        include_str!("../../engines/vllm-omni.toml"),
        include_str!("../../engines/pipefusion.toml"),
    ]
    .map(|text| toml::from_str(text).expect("a test reads the built-in engines"))
});

/// Files of users that were read, each once.
static OWN: Mutex<Vec<&'static EngineFile>> = Mutex::new(Vec::new());

impl Engine {
    /// The engine that a user's own TOML file describes; `file` is named in errors.
    ///
    /// What is read stays in memory to the end of the program, the same text once.
    ///
    /// # Errors
    /// [`FileError`], one sentence with file, line, key and remedy.
    pub fn read(text: &str, file: &str) -> Result<Self, FileError> {
        let read: EngineFile = typed(text, file, MANUAL)?;
        let mistake = |key: &str, fault: &str, remedy: &str| FileError {
            file: file.to_owned(),
            line: 0,
            key: key.to_owned(),
            fault: fault.to_owned(),
            remedy: remedy.to_owned(),
        };
        if read.residency.first().map(|one| one.residency) != Some(Residency::RESIDENT) {
            let fault = "does not begin with words = \"resident\"";
            return Err(mistake(
                "residency",
                fault,
                "say first what keeps everything on the GPU",
            ));
        }
        if read.decoders == 0 {
            return Err(mistake(
                "decoders",
                "is 0",
                "say 1 where every rank decodes for itself",
            ));
        }
        if read.script.is_some() && read.command.is_none() {
            return Err(mistake(
                "command",
                "is missing",
                "say how run.py, the script, is started",
            ));
        }
        let mut own = OWN
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(same) = own.iter().find(|one| ***one == read) {
            return Ok(Self::Own(same));
        }
        let kept: &'static EngineFile = Box::leak(Box::new(read));
        own.push(kept);
        Ok(Self::Own(kept))
    }

    /// The word under which models' files say how it runs them; of a built-in one also its name on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        &self.file().models
    }

    /// What its file says.
    pub(super) fn file(self) -> &'static EngineFile {
        let built_in = match self {
            Self::Own(file) => return file,
            Self::Xdit => 0,
            Self::Sglang => 1,
            Self::Diffusers => 2,
            Self::CacheDit => 3,
            Self::VllmOmni => 4,
            Self::PipeFusion => 5,
        };
        &BUILT_IN[built_in]
    }

    /// Whose pipeline it runs.
    #[must_use]
    pub fn software(self) -> Software {
        match self.file().pipeline {
            Pipelines::Sglang => Software::Sglang,
            Pipelines::PipeFusionLegacy => Software::PipeFusionLegacy,
            Pipelines::Other => Software::Other,
        }
    }

    /// The attention kernel that it takes on `gpu` unless told: the newest flash attention, or what its file says in
    /// that one's place.
    #[must_use]
    pub fn attention(self, gpu: &Gpu) -> AttentionKernel {
        let newest = AttentionKernel::usual(gpu);
        let instead = self.file().attention.get(newest.name());
        let mut all = AttentionKernel::ALL.into_iter();
        instead
            .and_then(|word| all.find(|one| one.name() == word))
            .unwrap_or(newest)
    }

    /// What it pads of a plan.
    #[must_use]
    pub fn pads(self, plan: &Plan) -> Pads {
        let of = |guards: &[PlanGuard]| guards.iter().any(|guard| guard.0.holds_of(plan));
        let pads = &self.file().pads;
        Pads {
            tokens: of(&pads.tokens),
            heads: of(&pads.heads),
        }
    }

    /// How many of `ranks` ranks can decode the VAE of a model together.
    #[must_use]
    pub fn decoders(self, model: &Model, ranks: u32) -> u32 {
        let file = self.file();
        let entry = model.engines.on.get(&file.models);
        match entry.is_none_or(|entry| entry.parallel_vae) {
            true => ranks.min(file.decoders),
            false => 1,
        }
    }

    /// In which precisions it runs products, 16 bits first.
    #[must_use]
    pub fn precisions(self) -> Vec<Precision> {
        let offered = self.file().precision.iter().map(|one| one.precision);
        std::iter::once(Precision::Bf16).chain(offered).collect()
    }

    /// Where it can keep the weights of a plan, from the fastest. Of `layerwise` as many blocks may stay as fit where
    /// the second is true, else none.
    #[must_use]
    pub fn residencies(self, model: &Model, plan: &Plan) -> Vec<(Residency, bool)> {
        let job = super::Job::usual(model, plan);
        let case = Case::of(self, &job);
        let offered = case.file.residency.iter();
        let offered = offered.filter(|one| case.runs(&one.not_with));
        offered.map(|one| (one.residency, one.any_stay())).collect()
    }
}

impl Offered {
    fn any_stay(&self) -> bool {
        self.command.says(Value::Resident)
    }

    /// Whether it is `wanted`, but for how many blocks stay where the command says that.
    fn is(&self, wanted: Residency) -> bool {
        let any = |residency: Residency| match residency.transformer {
            Weights::Layerwise { .. } if self.any_stay() => Residency {
                transformer: Weights::Layerwise {
                    resident: 0,
                    ahead: 1,
                },
                ..residency
            },
            _ => residency,
        };
        any(self.residency) == any(wanted)
    }
}

impl Case<'_> {
    /// Whether nothing holds that something cannot run beside.
    fn runs(&self, not_with: &[Guard]) -> bool {
        !not_with.iter().any(|guard| guard.holds(self))
    }

    /// How the engine keeps the weights of the plan.
    pub(super) fn residency(&self) -> Result<&Offered, super::Refusal> {
        let residency = self.job.plan.execution.residency;
        let mut offered = self.file.residency.iter();
        let found = offered.find(|one| one.is(residency) && self.runs(&one.not_with));
        found.ok_or(super::Refusal::Residency { residency })
    }

    /// How the engine runs the products of the plan; nothing where they run in 16 bits.
    pub(super) fn precision(&self) -> Result<Option<&Quantised>, super::Refusal> {
        let precision = self.job.plan.execution.precision;
        if precision == Precision::Bf16 {
            return Ok(None);
        }
        let mut offered = self.file.precision.iter();
        let found = offered.find(|one| one.precision == precision && self.runs(&one.not_with));
        found
            .map(Some)
            .ok_or(super::Refusal::Precision { precision })
    }
}

#[cfg(test)]
mod tests;
