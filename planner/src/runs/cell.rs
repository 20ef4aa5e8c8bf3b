//! The strategy and compressor cells of a published row, translated into the plan language.
//!
//! ```text
//! cell = none | hybrid-best | sp N | distrifusion N (cfg2xpatchM) | token (+ token)*
//! token = (ulysses|ring|cfg|pipefusion|pp|tp|allgather-kv|dp|vae|vae-p) N | num_patch=M | warmupN
//! ```
//! `hybrid-best` and `sp` do not print how ranks are split: every legal split stands for them, and the fastest is taken.
//! A ring whose K and V are gathered (`ring4 (all-gather rotate)`) is an all-gather.
//!
//! Guarantees: degrees multiply to the GPUs of the row, and every word is known, else the row is not mapped.

use kernels::Compressor;
use sim::plan::{Exchange, Plan};

use super::reason::CellError;
use super::row::first_count;

/// A strategy cell as plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// The plans; more than one where the cell does not print the split.
    pub plans: Vec<Plan>,
    /// Whether the cell prints the split.
    pub split: Split,
    /// Dimensions in use, for instance `cfg+ulysses`.
    pub family: String,
}

/// Whether a cell prints how ranks are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// It does.
    Printed,
    /// The fastest of a set.
    Best,
}

/// What else of the row decides the plan.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// GPUs.
    pub gpus: u32,
    /// Rows of one forward pass, sequential branches counted.
    pub rows: u32,
    /// The warm-up cell.
    pub warmup: &'a str,
    /// Warm-up steps of a pipeline where the row says nothing.
    pub pipeline_warmup: u32,
    /// Whether a plan is legal for the row.
    pub legal: &'a dyn Fn(&Plan) -> bool,
}

impl Context<'_> {
    fn degree(&self, name: &'static str, degree: u32) -> CellError {
        let gpus = self.gpus;
        CellError::Degree { name, degree, gpus }
    }
}

/// Words of a cell that change what a GPU computes or moves, which no plan says yet.
const LEVERS: [(&str, &str); 19] = [
    ("cudagraph", "launches are captured"),
    ("cache", "a cache skips steps"),
    ("int4", "quantised"),
    ("int8", "quantised"),
    ("fp8", "quantised"),
    ("fp6", "quantised"),
    ("fp5", "quantised"),
    ("fp4", "quantised"),
    ("w4a4", "quantised"),
    ("w8a8", "quantised"),
    ("svdq", "quantised"),
    ("nunchaku", "quantised"),
    ("gguf", "quantised"),
    ("quant", "quantised"),
    ("spars", "sparse"),
    ("sage", "another attention kernel"),
    (
        "skyreels",
        "a tool's own strategy: the split is not printed",
    ),
    ("dsp", "DSP is not lowered"),
    ("asyncdiff", "AsyncDiff is not lowered"),
];

/// Words of a cell that leave the plan's messages and order as they are.
const IGNORED: [&str; 24] = [
    "fa2",
    "fa3",
    "uaa",
    "async",
    "te-p",
    "async-qkv",
    "guard",
    "te",
    "p",
    "xdit",
    "bf16",
    "fp16",
    "fused",
    "qkv",
    "none",
    "single",
    "device",
    "original",
    "baseline",
    "num",
    "patch",
    "parallel",
    "wan",
    "official",
];

/// Reads a strategy cell.
///
/// # Errors
/// Why no plan says what the cell says.
pub fn read(cell: &str, context: &Context<'_>) -> Result<Strategy, CellError> {
    let text = cell.trim().to_lowercase();
    if let Some((_, why)) = LEVERS.iter().find(|(word, _)| text.contains(word)) {
        return Err(CellError::NotSimulated(why));
    }
    if text.starts_with("hybrid-best") {
        return best(hybrids(context), "hybrid-best", context);
    }
    if let Some(degree) = unprinted_sequence(&text, context.gpus) {
        if degree != context.gpus {
            return Err(context.degree("sp", degree));
        }
        return best(sequence_splits(degree), "sp", context);
    }
    let line = match text.strip_prefix("distrifusion") {
        Some(rest) => distrifusion(rest, context)?,
        None => tokens(&text, context)?,
    };
    let plan: Plan = line.parse().map_err(|error| CellError::NoPlan {
        cell: cell.to_owned(),
        error,
    })?;
    // On a split VAE all ranks of the plan work.
    if plan.ranks() != context.gpus {
        return Err(CellError::Ranks {
            cell: cell.to_owned(),
            gpus: context.gpus,
        });
    }
    Ok(Strategy {
        family: family(&plan),
        split: Split::Printed,
        plans: vec![plan],
    })
}

/// A cell that is a line of the plan language with a compressor or a setting: `ring4/1bit warmup=1`; `None` for other cells.
///
/// # Errors
/// Why the line is no plan of so many GPUs.
pub fn line(cell: &str, gpus: u32) -> Option<Result<Strategy, CellError>> {
    let cell = cell.trim();
    // `ulysses/sp4` and `num_patch=4` are words of published tables.
    let is_line = cell.contains('/') && !cell.starts_with("ulysses/")
        || cell.contains(" warmup=")
        || cell.contains(" loop=");
    is_line.then(|| {
        let plan: Plan = cell.parse().map_err(|error| CellError::NoPlan {
            cell: cell.to_owned(),
            error,
        })?;
        if plan.ranks() != gpus {
            return Err(CellError::Ranks {
                cell: cell.to_owned(),
                gpus,
            });
        }
        let compressor = cell.split_once('/').map(|(_, rest)| rest);
        let compressor = compressor.and_then(|rest| rest.split(' ').next());
        let family = family(&plan);
        Ok(Strategy {
            family: compressor.map_or(family.clone(), |word| format!("{family}/{word}")),
            split: Split::Printed,
            plans: vec![plan],
        })
    })
}

/// The legal ones of some lines, each once.
fn best(
    lines: Vec<String>,
    family: &'static str,
    context: &Context<'_>,
) -> Result<Strategy, CellError> {
    let plans = lines
        .iter()
        .map(|line| line.parse().expect("built of known parts"));
    let mut plans: Vec<Plan> = plans.filter(|plan| (context.legal)(plan)).collect();
    plans.dedup();
    if plans.is_empty() {
        return Err(CellError::NoLayout(family));
    }
    Ok(Strategy {
        plans,
        split: Split::Best,
        family: family.to_owned(),
    })
}

/// Dimensions in use, as strata are named.
fn family(plan: &Plan) -> String {
    let plain = Plan {
        vae: 1,
        ..plan.clone()
    };
    let name = |part: &str| {
        let end = part
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(part.len());
        part[..end].to_owned()
    };
    // A DistriFusion degree holds the guidance degree.
    let displaced = matches!(plan.exchange, Exchange::Displaced(n) if n > 1);
    let strategy = plain.strategy();
    let mut names: Vec<String> = strategy.split('+').map(name).collect();
    names.retain(|name| !(displaced && name == "cfg"));
    names.join("+")
}

/// The whole number that a text starts with.
fn leading_count(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The degree of `sp8`, `cp 4`, `ulysses/sp4`, `sp (split not printed)`, `sequence parallel`.
fn unprinted_sequence(text: &str, gpus: u32) -> Option<u32> {
    let names = ["ulysses/sp", "sequence parallel", "usp", "sp", "cp"];
    let rest = names.iter().find_map(|name| text.strip_prefix(name))?;
    match leading_count(rest) {
        Some((degree, rest)) if !rest.starts_with(char::is_alphanumeric) => Some(degree),
        Some(_) => None,
        None if rest.trim().is_empty() || rest.trim_start().starts_with('(') => Some(gpus),
        None => None,
    }
}

fn divisors(n: u32) -> impl Iterator<Item = u32> {
    (1..=n).filter(move |degree| n.is_multiple_of(*degree))
}

fn sequence_splits(degree: u32) -> Vec<String> {
    let line = |ulysses: u32| format!("ulysses{ulysses}+ring{}", degree / ulysses);
    divisors(degree).map(line).collect()
}

/// Every mix of guidance, pipeline (as many patches as stages), Ulysses and ring, of powers of two.
fn hybrids(context: &Context<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for cfg in [1, 2].into_iter().filter(|cfg| *cfg <= context.rows) {
        for stages in [1, 2, 4, 8, 16] {
            for ulysses in [1, 2, 4, 8] {
                let shared = cfg * stages * ulysses;
                if context.gpus.is_multiple_of(shared) {
                    let ring = context.gpus / shared;
                    lines.push(format!(
                        "cfg{cfg}+ulysses{ulysses}+ring{ring}+pipefusion{stages} warmup=0"
                    ));
                }
            }
        }
    }
    lines
}

/// `8`, `8(cfg2xpatch4)`: the degree holds the guidance degree.
fn distrifusion(rest: &str, context: &Context<'_>) -> Result<String, CellError> {
    let (degree, bracket) = leading_count(rest).unwrap_or((context.gpus, rest));
    if degree != context.gpus {
        return Err(context.degree("distrifusion", degree));
    }
    let guided = bracket.contains("cfg2") || bracket.contains("cfg 2") || context.rows == 2;
    let cfg = if guided && degree % 2 == 0 { 2 } else { 1 };
    // The number after the last comma: `1 (PipeFusion), 4 (DistriFusion)`.
    let stated = context.warmup.rsplit(',').next().and_then(first_count);
    let warmup = stated.map_or(4, |(count, _)| count);
    Ok(format!(
        "cfg{cfg}+distrifusion{} warmup={warmup}",
        degree / cfg
    ))
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// `ulysses4` as its word and its number.
fn split_token(token: &str) -> (&str, Option<u32>) {
    let word = token.trim_end_matches(|c: char| c.is_ascii_digit());
    (word, token[word.len()..].parse().ok())
}

fn tokens(text: &str, context: &Context<'_>) -> Result<String, CellError> {
    let (mut parts, mut stages) = (Vec::new(), 1);
    let (mut patches, mut warmup) = (None, None);
    if text.starts_with("patch parallel") {
        parts.push(format!("allgather-kv{}", context.gpus));
    }
    for token in without_brackets(text).split(['+', ' ', '\t', ',', '_']) {
        if token.is_empty() || IGNORED.contains(&token) {
            continue;
        }
        let (word, number) = split_token(token);
        match (word, number) {
            ("patch=", Some(count)) => patches = Some(count),
            ("warmup", Some(count)) => warmup = Some(count),
            (word, number) => {
                // A word alone is of all GPUs.
                let is_word = word.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
                let whole = parts.is_empty() && number.is_none() && is_word;
                let degree = number.or(whole.then_some(context.gpus));
                let unknown = || CellError::Token(token.to_owned());
                let degree = degree.filter(|degree| *degree > 0).ok_or_else(unknown)?;
                let word = match word {
                    "pp" => "pipefusion",
                    "vae" => "vae-p",
                    "ring" if text.contains("all-gather rotate") => "allgather-kv",
                    known => known,
                };
                if word == "pipefusion" {
                    stages = degree;
                } else {
                    parts.push(format!("{word}{degree}"));
                }
            }
        }
    }
    if stages > 1 {
        parts.push(format!(
            "pipefusion{stages}(m{})",
            patches.unwrap_or(stages)
        ));
    }
    if parts.is_empty() {
        return match context.gpus {
            1 if !text.is_empty() => Ok("none".to_owned()),
            gpus => Err(CellError::NoSplit {
                cell: text.to_owned(),
                gpus,
            }),
        };
    }
    let stated = warmup.or_else(|| first_count(context.warmup).map(|(count, _)| count));
    let warmup = stated.unwrap_or(context.pipeline_warmup);
    let setting = if stages > 1 {
        format!(" warmup={warmup}")
    } else {
        String::new()
    };
    Ok(parts.join("+") + &setting)
}

/// Rank of CompactFusion's low-rank messages where a row says nothing (its code's default).
const LOW_RANK: u16 = 32;

/// The compressor of a cell; none where messages are raw.
///
/// # Errors
/// Why the cell is no compressor.
pub fn compressor(cell: &str) -> Result<Option<Compressor>, CellError> {
    let cell = cell.to_lowercase();
    let first = cell.split([' ', ',']).next().unwrap_or_default();
    Ok(match first {
        "" | "none" | "raw" => None,
        "1bit" => Some(Compressor::OneBit),
        "2bit" => Some(Compressor::TwoBit),
        "lowrank" if cell.contains("int4") => Some(Compressor::LowRankInt4(LOW_RANK)),
        "lowrank" => Some(Compressor::LowRank(LOW_RANK)),
        _ => Some(cell.parse().map_err(|_| CellError::Compressor(cell))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(gpus: u32, rows: u32) -> Context<'static> {
        Context {
            gpus,
            rows,
            warmup: "",
            pipeline_warmup: 0,
            legal: &|plan| 24_u32.is_multiple_of(plan.ulysses),
        }
    }

    fn one(cell: &str, gpus: u32, rows: u32) -> String {
        let strategy = read(cell, &context(gpus, rows)).unwrap();
        assert_eq!(strategy.plans.len(), 1, "{cell}");
        strategy.plans[0].to_string()
    }

    #[test]
    fn cells_of_published_tables_are_plans() {
        for (cell, gpus, rows, plan) in [
            ("none (sglang)", 1, 1, "none"),
            ("ulysses2+ring2+cfg2", 8, 2, "cfg2+ulysses2+ring2"),
            ("ulysses1+ring8", 8, 1, "ring8"),
            ("ulysses2 UAA+TE-P", 2, 1, "ulysses2"),
            ("cfg2+ulysses2 +vae4", 4, 2, "cfg2+ulysses2+vae-p4"),
            ("ulysses4+vae-p4", 4, 1, "ulysses4+vae-p4"),
            ("xdit ulysses4", 4, 1, "ulysses4"),
            ("ring4 (p2p rotate)", 4, 1, "ring4"),
            ("ring4 (all-gather rotate)", 4, 1, "allgather-kv4"),
            ("tp4 (after)", 4, 1, "tp4"),
            ("allgather-kv4", 4, 1, "allgather-kv4"),
            (
                "distrifusion8(cfg2xpatch4)",
                8,
                2,
                "cfg2+distrifusion4 warmup=4",
            ),
            ("distrifusion2", 2, 2, "cfg2"),
            ("distrifusion4", 4, 1, "distrifusion4 warmup=4"),
            ("ring", 4, 1, "ring4"),
            ("patch parallel", 4, 1, "allgather-kv4"),
            ("dp2+ulysses2", 4, 2, "dp2+ulysses2"),
        ] {
            assert_eq!(one(cell, gpus, rows), plan, "{cell}");
        }
    }

    /// A line of the plan language stays what was typed.
    #[test]
    fn a_line_with_a_compressor_is_that_plan() {
        for cell in [
            "ring4/1bit warmup=2 loop=fused",
            "ulysses2+ring2/lowrank-int4(8) warmup=1",
        ] {
            let read = line(cell, 4).expect("a line").expect("a plan");
            assert_eq!(read.plans[0].to_string(), cell);
        }
        assert_eq!(
            line("ring4/1bit warmup=1", 4).unwrap().unwrap().family,
            "ring/1bit"
        );
        for cell in ["ring4", "ulysses/sp4", "pipefusion4 num_patch=16", "none"] {
            assert_eq!(line(cell, 4), None, "{cell}");
        }
        for (cell, why) in [
            ("ring4/3bit", "ring4/3bit"),
            ("ring8/1bit", "\"ring8/1bit\" do not multiply to 4"),
        ] {
            let error = line(cell, 4).expect("a line").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        // In a published table too, what was typed is told.
        let error = read("ring4/1bit", &context(4, 1)).unwrap_err().to_string();
        assert!(
            error.contains("ring4/1bit") && !error.contains("1bit4"),
            "{error}"
        );
    }

    #[test]
    fn a_pipeline_has_as_many_patches_as_stages_unless_it_says_so() {
        for (cell, patches) in [("pipefusion4", 4), ("pipefusion4 num_patch=16", 16)] {
            let plan = &read(cell, &context(4, 1)).unwrap().plans[0];
            assert_eq!((plan.pipeline.stages, plan.pipeline.patches), (4, patches));
        }
        let plan = &read("pipefusion8 warmup1", &context(8, 1)).unwrap().plans[0];
        assert_eq!(plan.warmup, 1);
    }

    #[test]
    fn an_unprinted_split_is_every_legal_one() {
        // Of 8: ulysses 1, 2, 4, 8; 24 heads allow all of them.
        for cell in ["sp8", "ulysses/sp8", "sp (split not printed)", "cp8"] {
            assert_eq!(read(cell, &context(8, 1)).unwrap().plans.len(), 4, "{cell}");
        }
        // Of 4 without guidance: stages 1: u 1, 2, 4; stages 2: u 1, 2; stages 4: u 1.
        assert_eq!(read("hybrid-best", &context(4, 1)).unwrap().plans.len(), 6);
    }

    #[test]
    fn what_no_plan_says_is_refused_with_the_reason() {
        for (cell, gpus, why) in [
            ("ulysses2 FA3 +cache", 2, "cache"),
            ("cp2 +fbcache0.12+fp8dq", 2, "cache"),
            ("ulysses2 fp8-a2a", 2, "quantised"),
            ("dsp8", 8, "DSP"),
            ("asyncdiff N2 S1", 2, "AsyncDiff"),
            ("ulysses2", 4, "multiply"),
            ("warp9", 9, "not a part of a plan"),
            ("", 2, "not stated"),
            ("none nvfp4 w4a4", 1, "quantised"),
            ("none +warp", 1, "not a part"),
            ("none sparse attention", 1, "sparse"),
            ("none", 2, "not stated"),
            ("ulysses60000+ring60000", 2, "ranks"),
            ("ring2+allgather-kv2", 4, "give one of them"),
        ] {
            let error = read(cell, &context(gpus, 1)).unwrap_err().to_string();
            assert!(error.contains(why), "{cell}: {error}");
        }
    }

    #[test]
    fn compressor_cells_are_compressors() {
        for (cell, expected) in [
            ("none (stale)", None),
            ("1bit residual, no error feedback", Some(Compressor::OneBit)),
            ("2bit", Some(Compressor::TwoBit)),
            ("lowrank", Some(Compressor::LowRank(32))),
            ("lowrank (rank 32 int4)", Some(Compressor::LowRankInt4(32))),
            ("lowrank(8)", Some(Compressor::LowRank(8))),
        ] {
            assert_eq!(compressor(cell), Ok(expected), "{cell}");
        }
        for cell in ["1bit/2bit", "compact (unstated)", "sparse"] {
            assert!(compressor(cell).is_err(), "{cell}");
        }
    }
}
