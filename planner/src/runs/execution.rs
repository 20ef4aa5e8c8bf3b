//! Where weights live and in which numbers products run, as a row's cells say.
//!
//! | cell | says |
//! |---|---|
//! | `offload`, else words of the strategy | the residency |
//! | `precision`; the strategy repeats it | the precision |
//!
//! Guarantee: a word that no plan says is a reason.

use sim::plan::{Components, Encoders, Execution, Precision, Residency, Weights};

use super::reason::{Lever, NoRun};
use super::row::Row;
use super::source::Facts;

/// Words of the strategy cell that say where weights live, the longest first.
const MOVED: [(&str, &str); 10] = [
    ("+ text encoder offload", "encoders-in-turn"),
    ("+ layerwise offload", "layerwise(0)"),
    ("+layerwise offload", "layerwise(0)"),
    ("+ model offload", "in-turn"),
    ("+model offload", "in-turn"),
    ("+ cpu offload", "in-turn"),
    ("+fsdp", "fsdp"),
    ("+hsdp", "fsdp"),
    (" fsdp", "fsdp"),
    (" hsdp", "fsdp"),
];

/// Words of the strategy cell that repeat the precision.
const QUANTISED: [&str; 13] = [
    "svdq-nvfp4",
    "svdq-int4",
    "fp8dqrow",
    "fp8dq",
    "fp8wo",
    "int8dq",
    "int8wo",
    "nvfp4",
    "w4a4",
    "w8a8",
    "fp8",
    "int8",
    "quantised",
];

/// How a row was executed, and its strategy cell without the words that say so.
///
/// # Errors
/// [`NoRun::Lever`] for what no plan says.
pub(super) fn of_row(row: &Row, facts: &Facts) -> Result<(Execution, String), NoRun> {
    let mut strategy = row.strategy.to_lowercase();
    let mut residency = offload(&row.levers.offload)?;
    for (words, said) in MOVED {
        if strategy.contains(words) {
            strategy = strategy.replace(words, "");
            let said: Residency = said.parse().expect("a residency");
            residency = over(residency, said);
        }
    }
    let mut precision = precision(&row.levers.precision)?;
    if let (Precision::Fp8, Some(other)) = (precision, &facts.fp8) {
        precision = other.parse().expect("a test reads the built-in sources");
    }
    if precision != Precision::Bf16 {
        for word in QUANTISED {
            strategy = strategy.replace(word, "");
        }
        let eager_integers = precision == Precision::Int8 && !row.compile.starts_with("yes");
        if eager_integers {
            // torchao's eager integer products do not use tensor cores: 20 times slower on H100.
            return Err(NoRun::Lever(
                Lever::Precision,
                format!("{precision}, eager"),
            ));
        }
    }
    let execution = Execution {
        residency,
        precision,
    };
    Ok((
        execution,
        strategy.replace("(reloaded)", "").trim().to_owned(),
    ))
}

/// What one says over the other, where it says something.
fn over(base: Residency, said: Residency) -> Residency {
    let plain = Residency::RESIDENT;
    Residency {
        components: match said.components {
            Components::Together => base.components,
            said => said,
        },
        encoders: if said.encoders == plain.encoders {
            base.encoders
        } else {
            said.encoders
        },
        transformer: match (base.transformer, said.transformer) {
            // How many blocks stay is said by the cell alone.
            (Weights::Layerwise { .. }, Weights::Layerwise { .. }) => base.transformer,
            (base, Weights::Resident) => base,
            (_, said) => said,
        },
    }
}

/// The cell of weights that are not resident.
fn offload(cell: &str) -> Result<Residency, NoRun> {
    let mut residency = Residency::RESIDENT;
    let cell = cell.to_lowercase();
    let parts = cell.split(['+', ',']).map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let layerwise = |resident| Weights::Layerwise { resident, ahead: 1 };
        match part {
            "resident" => {}
            "fsdp (weights sharded)" | "fsdp" | "hsdp" => residency.transformer = Weights::Sharded,
            "layerwise" | "layerwise dit" => residency.transformer = layerwise(0),
            "text encoder" | "text encoder cpu" => residency.encoders = Encoders::InTurn,
            "model" | "cpu" => residency.components = Components::InTurn,
            _ => {
                let words: Vec<&str> = part.trim_start_matches("dlo ").split(' ').collect();
                let resident = match words[..] {
                    [count, "resident"] => count.parse().ok(),
                    _ => None,
                };
                let resident =
                    resident.ok_or_else(|| NoRun::Lever(Lever::Offload, cell.clone()))?;
                residency.transformer = layerwise(resident);
            }
        }
    }
    Ok(residency)
}

/// The cell of precisions, as torchao, the engines and their checkpoints call them.
fn precision(cell: &str) -> Result<Precision, NoRun> {
    Ok(match cell {
        "" | "bf16" | "fp16" => Precision::Bf16,
        "fp8" | "fp8 (ModelOpt)" | "float8 per tensor" | "fp8dq" => Precision::Fp8,
        "fp8dqrow" => Precision::Fp8Row,
        "fp8wo" => Precision::Fp8Weights,
        "int8dq" | "int8 w8a8" => Precision::Int8,
        "int8wo" => Precision::Int8Weights,
        "nvfp4" | "nvfp4 (ModelOpt)" => Precision::Nvfp4,
        "svdq int4 r32" => Precision::SvdqInt4,
        "svdq nvfp4 r32" => Precision::SvdqNvfp4,
        _ => return Err(NoRun::Lever(Lever::Precision, cell.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::row::Levers;

    fn read(strategy: &str, offload: &str, precision: &str) -> Result<(String, String), NoRun> {
        let row = Row {
            strategy: strategy.to_owned(),
            levers: Levers {
                offload: offload.to_owned(),
                precision: precision.to_owned(),
                ..Levers::default()
            },
            ..Row::default()
        };
        let (execution, strategy) = of_row(&row, &Facts::default())?;
        let Execution {
            residency,
            precision,
        } = execution;
        Ok((strategy, format!("{residency} {precision}")))
    }

    #[test]
    fn cells_say_where_weights_live_and_what_products_run_in() {
        for (strategy, offload, precision, left, said) in [
            ("ulysses8+fsdp", "", "", "ulysses8", "fsdp bf16"),
            ("none +model offload", "", "", "none", "in-turn bf16"),
            (
                "none + layerwise offload",
                "layerwise",
                "bf16",
                "none",
                "layerwise(0) bf16",
            ),
            (
                "tp2 + layerwise offload",
                "layerwise, 20 resident",
                "bf16",
                "tp2",
                "layerwise(20) bf16",
            ),
            (
                "none + layerwise offload",
                "text encoder cpu + layerwise DiT",
                "bf16",
                "none",
                "layerwise(0)+encoders-in-turn bf16",
            ),
            ("ulysses2+fsdp fp8", "", "fp8", "ulysses2", "fsdp fp8"),
            (
                "none nvfp4 quantised",
                "",
                "nvfp4 (ModelOpt)",
                "none",
                "resident nvfp4",
            ),
            (
                "none svdq-int4 quantised (reloaded)",
                "",
                "svdq int4 r32",
                "none",
                "resident svdq-int4",
            ),
        ] {
            let found = read(strategy, offload, precision).unwrap();
            assert_eq!(found, (left.to_owned(), said.to_owned()), "{strategy}");
        }
        for (strategy, offload, precision) in [
            ("none", "on disk", ""),
            ("none", "many resident", ""),
            ("none", "", "fp6"),
            ("none int8dq", "", "int8dq"),
        ] {
            assert!(
                read(strategy, offload, precision).is_err(),
                "{strategy} {offload} {precision}"
            );
        }
    }
}
