//! Why engines have no command for a plan.

use planner::launch::{CompactRefusal, Engine, Feature, Launch, Refusal};
use sim::model::Split;

/// The command that runs a plan, or why there is none.
pub(crate) fn command(launch: &Launch) -> Result<&str, String> {
    match &launch.command {
        Ok(command) => Ok(command),
        Err(refusal) => Err(self::refusal(launch.engine, refusal)),
    }
}

fn refusal(engine: Engine, refusal: &Refusal) -> String {
    let name = engine;
    let limit = match refusal {
        Refusal::NoWeights { model } => {
            return format!("no published weights are known for {model}");
        }
        Refusal::Absent { reason } => return reason.clone(),
        Refusal::NotStarted { model, reason } => return format!("{model}: {reason}"),
        Refusal::UnevenBoxes {
            ranks,
            gpus_per_box,
        } => {
            return format!(
                "{ranks} ranks do not fill boxes of {gpus_per_box} GPUs evenly, and torchrun starts equally many in each"
            );
        }
        Refusal::NotListed { model } => {
            return format!("{name} has no pipeline of its own for {model}");
        }
        Refusal::NotSplit { split, model } => {
            return format!("{name} {} {model}", not_split(*split));
        }
        Refusal::VaeAlone { model } => {
            return format!("{name} decodes the VAE of {model} on every rank");
        }
        Refusal::Excluded { because } => {
            let joined = if because.starts_with('\'') { "" } else { " " };
            return format!("{name}{joined}{because}");
        }
        Refusal::CompactFusion(refusal) => return compact(refusal),
        Refusal::Residency { residency } => {
            return format!("{name} has no setting for residency={residency} here");
        }
        Refusal::Precision { precision } => {
            return format!("{name} has no setting for precision={precision} here");
        }
        Refusal::NoCommand => "is a state of the code that xDiT replaced, and has no command here",
        Refusal::Lacks { feature } => lacks(*feature),
        Refusal::ScatteredRanks => {
            "is started with ranks that follow one another on the same GPUs of each box, not in this order"
        }
        Refusal::UnequalBoxes => "is started here on boxes of equally many GPUs",
    };
    format!("{name} {limit}")
}

/// What an engine does not do with a model.
const fn not_split(split: Split) -> &'static str {
    match split {
        Split::Tensor => "has no tensor-parallel layers for",
        Split::Guidance => "does not split the guidance of",
        Split::Stages => "has no PipeFusion for",
        Split::Sequence => "does not split the sequence of",
        Split::Weights => "does not shard the weights of",
    }
}

/// What an engine has not, for any model.
const fn lacks(feature: Feature) -> &'static str {
    match feature {
        Feature::Data => "does not split the batch",
        Feature::Guidance => "does not split guidance",
        Feature::Ulysses => "has no Ulysses",
        Feature::Ring => "has no ring",
        Feature::Gather => "gathers no K and V",
        Feature::Attention2d => "has no Attention2D",
        Feature::Displaced => "runs synchronous plans only",
        Feature::Stages => "has no PipeFusion",
        Feature::Tensor => "has no tensor parallelism",
        Feature::Vae => "decodes the VAE on every rank",
        Feature::Compressed => "sends K and V uncompressed",
        Feature::FusedLoop => "runs rings in its own loop, not in CompactFusion's fused one",
        other => other.word(),
    }
}

fn compact(refusal: &CompactRefusal) -> String {
    match refusal {
        CompactRefusal::OneCompressor => {
            "CompactFusion has one compressor for all layers: export the assignment with --emit assignment and run it with \
             ditplan_capture's hook"
                .to_owned()
        }
        CompactRefusal::Ulysses => {
            "no engine compresses Ulysses messages yet: CompactFusion compresses Ring and all-gather".to_owned()
        }
        CompactRefusal::FusedLoop => {
            "CompactFusion compresses in its own ring loop only: write loop=fused".to_owned()
        }
        CompactRefusal::NoSettings { compressor: None } => {
            "CompactFusion has no ready settings for this exchange".to_owned()
        }
        CompactRefusal::NoSettings {
            compressor: Some(compressor),
        } => format!("CompactFusion has no ready settings for {compressor} on this exchange"),
        CompactRefusal::Alone { strategy } => {
            format!("CompactFusion runs such an exchange alone, not as part of {strategy}")
        }
        CompactRefusal::Warmup { has, asked } => format!(
            "CompactFusion's settings have a warm-up of {has} step, not {asked}: edit warmup_steps in its \
             examples/configs.py"
        ),
        CompactRefusal::Model { model, ready } => format!(
            "CompactFusion takes its settings from the command line for {}, not {model}",
            ready.join(" and ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use kernels::Compressor;

    use super::*;
    use crate::render::words::tests::assert_distinct;

    const SPLITS: [Split; 5] = [
        Split::Sequence,
        Split::Guidance,
        Split::Stages,
        Split::Tensor,
        Split::Weights,
    ];

    /// All but CompactFusion's.
    fn refusals() -> Vec<Refusal> {
        let model = || "a model".to_owned();
        let mut all = vec![
            Refusal::NoWeights { model: model() },
            Refusal::Absent {
                reason: "nobody runs it".to_owned(),
            },
            Refusal::NotStarted {
                model: model(),
                reason: "it has no example".to_owned(),
            },
            Refusal::UnevenBoxes {
                ranks: 12,
                gpus_per_box: 8,
            },
            Refusal::Residency {
                residency: "fsdp".parse().expect("a residency"),
            },
            Refusal::Precision {
                precision: "fp8".parse().expect("a precision"),
            },
            Refusal::NoCommand,
            Refusal::ScatteredRanks,
            Refusal::UnequalBoxes,
            Refusal::NotListed { model: model() },
            Refusal::VaeAlone { model: model() },
            Refusal::Excluded {
                because: "'s runner has no flag for it".to_owned(),
            },
            Refusal::Excluded {
                because: "gathers K and V alone".to_owned(),
            },
        ];
        all.extend(
            Feature::ALL
                .iter()
                .map(|&feature| Refusal::Lacks { feature }),
        );
        all.extend(SPLITS.map(|split| Refusal::NotSplit {
            split,
            model: model(),
        }));
        all
    }

    #[test]
    fn every_refusal_has_words_of_its_own() {
        for one in Engine::BUILT_IN {
            assert_distinct(refusals().iter().map(|refusal| self::refusal(one, refusal)));
        }
        let compact = [
            CompactRefusal::OneCompressor,
            CompactRefusal::Ulysses,
            CompactRefusal::FusedLoop,
            CompactRefusal::NoSettings { compressor: None },
            CompactRefusal::NoSettings {
                compressor: Some(Compressor::OneBit),
            },
            CompactRefusal::Alone {
                strategy: "ulysses2+ring2".to_owned(),
            },
            CompactRefusal::Warmup { has: 1, asked: 2 },
            CompactRefusal::Model {
                model: "a model".to_owned(),
                ready: vec!["another".to_owned()],
            },
        ];
        let compact = compact.map(Refusal::CompactFusion);
        assert_distinct(
            compact
                .iter()
                .map(|refusal| self::refusal(Engine::Xdit, refusal)),
        );
    }

    #[test]
    fn an_engine_is_named_in_what_it_does_not_do() {
        assert_distinct(Engine::BUILT_IN.map(|one| one.to_string()));
        for one in Engine::BUILT_IN {
            let said = refusal(
                one,
                &Refusal::Lacks {
                    feature: Feature::Stages,
                },
            );
            assert_eq!(said, format!("{one} has no PipeFusion"));
        }
    }
}
