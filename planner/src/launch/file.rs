//! What the file of an engine says: `planner/engines/*.toml`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use sim::model::{Model, XditStart};
use sim::plan::{Plan, Precision, Residency, Weights};

use super::{Engine, Job, Refusal};

/// An engine at a version.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineFile {
    /// As it calls itself.
    pub name: String,
    /// The version that the file is about.
    pub version: String,
    /// Where that was read.
    pub source: String,
    /// Where it can keep weights; everything resident first, then from the fastest.
    pub residency: Vec<Offered>,
    /// In which precisions it runs products.
    #[serde(default)]
    pub precision: Vec<Quantised>,
}

/// A precision that an engine offers beside 16 bits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantised {
    /// Which.
    #[serde(rename = "word", deserialize_with = "precision")]
    pub precision: Precision,
    /// Flags, or lines of a script; the head of one stands before `---`.
    pub command: String,
    /// What it cannot run beside.
    #[serde(default)]
    pub not_with: Vec<Beside>,
}

/// A residency that an engine offers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offered {
    /// Which. Of `layerwise(0)` any number of blocks may stay where the command has `{resident}`.
    #[serde(rename = "words", deserialize_with = "residency")]
    pub residency: Residency,
    /// Flags, or lines of a script; `{resident}`, `{ahead}` and `{replicas}` stand for the plan's.
    pub command: String,
    /// What it cannot run beside.
    #[serde(default)]
    pub not_with: Vec<Beside>,
}

/// What a residency or a precision may not run beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Beside {
    /// Tensor parallelism.
    Tensor,
    /// A script of the engine's examples instead of its runner.
    Example,
}

fn residency<'de, D: Deserializer<'de>>(from: D) -> Result<Residency, D::Error> {
    let words = String::deserialize(from)?;
    words
        .parse()
        .map_err(|_| D::Error::custom(format!("\"{words}\" is no residency")))
}

fn precision<'de, D: Deserializer<'de>>(from: D) -> Result<Precision, D::Error> {
    let word = String::deserialize(from)?;
    word.parse()
        .map_err(|_| D::Error::custom(format!("\"{word}\" is no precision")))
}

static FILES: LazyLock<[EngineFile; 5]> = LazyLock::new(|| {
    [
        include_str!("../../engines/xdit.toml"),
        include_str!("../../engines/sglang.toml"),
        include_str!("../../engines/diffusers.toml"),
        include_str!("../../engines/cache-dit.toml"),
        include_str!("../../engines/pipefusion.toml"),
    ]
    .map(|text| toml::from_str(text).expect("a test reads the built-in engines"))
});

impl Engine {
    /// What its file says.
    pub(super) fn file(self) -> &'static EngineFile {
        &FILES[self as usize]
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
        let of_example = is_example(self, model);
        let offered = self.file().residency.iter();
        let offered = offered.filter(|one| one.runs(plan, of_example));
        offered.map(|one| (one.residency, one.any_stay())).collect()
    }
}

/// Whether nothing of a plan is what something `not_with` cannot run beside.
fn runs(not_with: &[Beside], plan: &Plan, of_example: bool) -> bool {
    not_with.iter().all(|beside| match beside {
        Beside::Tensor => plan.tensor == 1,
        Beside::Example => !of_example,
    })
}

impl Offered {
    fn any_stay(&self) -> bool {
        self.command.contains("{resident}")
    }

    fn runs(&self, plan: &Plan, of_example: bool) -> bool {
        runs(&self.not_with, plan, of_example)
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

    /// Its command for a plan.
    fn of(&self, plan: &Plan) -> String {
        let (resident, ahead) = match plan.execution.residency.transformer {
            Weights::Layerwise { resident, ahead } => (resident, ahead),
            Weights::Resident | Weights::Sharded => (0, 0),
        };
        self.command
            .replace("{resident}", &resident.to_string())
            .replace("{ahead}", &ahead.to_string())
            .replace("{replicas}", &plan.replicas().to_string())
    }
}

/// Whether it runs the model by a script of its examples.
fn is_example(engine: Engine, model: &Model) -> bool {
    engine == Engine::Xdit && matches!(model.engines.xdit.start, XditStart::Example(_))
}

/// How an engine keeps the weights of a plan: flags, or lines of a script; or that it cannot.
pub(super) fn kept(engine: Engine, job: &Job<'_>) -> Result<String, Refusal> {
    let (plan, residency) = (job.plan, job.plan.execution.residency);
    let of_example = is_example(engine, job.model);
    let mut offered = engine.file().residency.iter();
    let found = offered.find(|one| one.is(residency) && one.runs(plan, of_example));
    let found = found.ok_or(Refusal::Residency { residency })?;
    Ok(found.of(plan))
}

/// How an engine runs the products of a plan in its precision: flags, or lines of a script; or that it does not.
pub(super) fn computed(engine: Engine, job: &Job<'_>) -> Result<&'static str, Refusal> {
    let precision = job.plan.execution.precision;
    if precision == Precision::Bf16 {
        return Ok("");
    }
    let of_example = is_example(engine, job.model);
    let mut offered = engine.file().precision.iter();
    let found =
        offered.find(|one| one.precision == precision && runs(&one.not_with, job.plan, of_example));
    let found = found.ok_or(Refusal::Precision { precision })?;
    Ok(&found.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINES: [Engine; 5] = [
        Engine::Xdit,
        Engine::Sglang,
        Engine::Diffusers,
        Engine::CacheDit,
        Engine::PipeFusion,
    ];

    #[test]
    fn every_engine_has_a_file_of_its_own_and_keeps_weights_resident_first() {
        for engine in ENGINES {
            let file = engine.file();
            assert_eq!(file.name, engine.to_string());
            assert!(!file.version.is_empty() && !file.source.is_empty());
            assert_eq!(file.residency[0].residency, Residency::RESIDENT, "{engine}");
        }
    }

    #[test]
    fn what_is_offered_has_a_command() {
        for engine in ENGINES {
            let model = sim::model::find("FLUX.1-dev").unwrap();
            let command = |plan: &Plan| {
                let job = Job {
                    plan,
                    model,
                    request: &model.default,
                    compilation: topologies::host::Compilation::Eager,
                    gpus_per_box: 8,
                };
                kept(engine, &job)
            };
            for line in ["none", "ulysses4", "tp2", "cfg2+ring2"] {
                let plan: Plan = line.parse().unwrap();
                for (residency, any) in engine.residencies(model, &plan) {
                    let one = plan.clone().with_residency(residency);
                    let command_of_one = command(&one).expect("it is offered");
                    assert!(!command_of_one.contains('{'), "{command_of_one}");
                    let Weights::Layerwise { ahead, .. } = residency.transformer else {
                        continue;
                    };
                    let transformer = Weights::Layerwise { resident: 7, ahead };
                    let some = plan.clone().with_residency(Residency {
                        transformer,
                        ..residency
                    });
                    assert_eq!(command(&some).is_ok(), any, "{engine} {some}");
                }
            }
        }
    }
}
