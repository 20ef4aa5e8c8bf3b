//! The strategy cell of a published row, read as plans.
//!
//! ```text
//! cell = none | hybrid-best | sp N | distrifusion N (cfg2 x patchM) | token (+ token)*
//! token = (ulysses|ring|cfg|pipefusion|pp|tp|allgather-kv|dp) N
//! ```
//! `hybrid-best` and `sp` do not print how ranks are split: the fastest split stands for them.
//!
//! Guarantees: degrees multiply to the GPUs of the row, else the row is not mapped.

use sim::plan::{Exchange, Pipeline, Plan};
use topologies::DeviceId;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// GPUs.
    pub gpus: u32,
    /// Rows of one forward pass, sequential branches counted.
    pub rows: u32,
    /// The warm-up cell.
    pub warmup: &'a str,
    /// Warm-up steps of a pipeline where the row says nothing.
    pub pipeline_warmup: u32,
    /// Ulysses degrees that the model allows.
    pub ulysses: &'a [u64],
    /// Most pipeline stages of the model.
    pub stages: u32,
}

/// Words of a cell that change what a GPU computes, which no plan says.
const NOT_LOWERED: [(&str, &str); 9] = [
    ("cache", "a cache method skips steps"),
    ("fp8", "quantised"),
    ("int8", "quantised"),
    ("offload", "weights are offloaded"),
    ("layerwise", "weights are offloaded"),
    ("sage", "another attention kernel"),
    (
        "skyreels",
        "a tool's own strategy: the split is not printed",
    ),
    ("dsp", "DSP is not lowered"),
    ("asyncdiff", "AsyncDiff is not lowered"),
];

/// Words of a cell that leave the plan's messages and order as they are.
const IGNORED: [&str; 10] = [
    "fsdp",
    "hsdp",
    "fa3",
    "uaa",
    "te-p",
    "async-qkv",
    "guard",
    "te",
    "p",
    "xdit",
];

/// Reads a strategy cell.
///
/// # Errors
/// Why no plan says what the cell says.
pub fn read(cell: &str, context: &Context<'_>) -> Result<Strategy, String> {
    let text = cell.trim().to_lowercase();
    if let Some((_, why)) = NOT_LOWERED.iter().find(|(word, _)| text.contains(word)) {
        return Err((*why).to_owned());
    }
    let one_gpu = ["none", "single device", "original", "baseline"];
    if one_gpu.iter().any(|word| text.starts_with(word)) {
        return match context.gpus {
            1 => Ok(printed(Plan::single(DeviceId::new(0)))),
            gpus => Err(format!(
                "\"{cell}\" on {gpus} GPUs: the split is not stated"
            )),
        };
    }
    if text.starts_with("hybrid-best") {
        return best(hybrids(context), "hybrid-best");
    }
    if let Some(degree) = unprinted_sequence(&text, context.gpus) {
        return best(sequence_splits(degree, context), "sp");
    }
    if let Some(rest) = text.strip_prefix("distrifusion") {
        return distrifusion(rest, context).map(printed);
    }
    tokens(&text, context).map(printed)
}

fn printed(plan: Plan) -> Strategy {
    Strategy {
        family: family(&plan),
        split: Split::Printed,
        plans: vec![plan],
    }
}

fn best(plans: Vec<Plan>, family: &str) -> Result<Strategy, String> {
    if plans.is_empty() {
        return Err(format!("no legal layout for {family}"));
    }
    Ok(Strategy {
        plans,
        split: Split::Best,
        family: family.to_owned(),
    })
}

/// Dimensions in use, as strata are named.
fn family(plan: &Plan) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &'static str, degree: u32| {
        if degree > 1 {
            parts.push(name);
        }
    };
    let displaced = matches!(plan.exchange, Exchange::Displaced(n) if n > 1);
    part("dp", plan.data);
    part("cfg", if displaced { 1 } else { plan.cfg });
    part("pipefusion", plan.pipeline.stages);
    part("ulysses", plan.ulysses);
    match plan.exchange {
        Exchange::Ring(n) => part("ring", n),
        Exchange::Gather(n) => part("allgather-kv", n),
        Exchange::Displaced(n) => part("distrifusion", n),
        Exchange::Attention2d { .. } => part("attention2d", 2),
    }
    part("tp", plan.tensor);
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join("+")
    }
}

/// `plan` with one GPU for each rank, in order.
fn placed(plan: Plan) -> Plan {
    let devices = (0..plan.ranks() as usize).map(DeviceId::new).collect();
    plan.placed(devices)
}

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

fn sequence_splits(degree: u32, context: &Context<'_>) -> Vec<Plan> {
    if degree != context.gpus {
        return Vec::new();
    }
    let legal = [1, 2, 3, 4, 6, 8].into_iter().filter(|ulysses| {
        degree.is_multiple_of(*ulysses) && context.ulysses.contains(&u64::from(*ulysses))
    });
    let plan = |ulysses: u32| Plan {
        ulysses,
        exchange: Exchange::Ring(degree / ulysses),
        ..Plan::single(DeviceId::new(0))
    };
    legal.map(plan).map(placed).collect()
}

fn hybrids(context: &Context<'_>) -> Vec<Plan> {
    let mut plans = Vec::new();
    let guidance: &[u32] = if context.rows >= 2 { &[1, 2] } else { &[1] };
    for &cfg in guidance {
        for stages in [1, 2, 4, 8, 16]
            .into_iter()
            .filter(|stages| *stages <= context.stages)
        {
            for ulysses in [1, 2, 4, 8] {
                let shared = cfg * stages * ulysses;
                let legal = context.ulysses.contains(&u64::from(ulysses));
                if !legal || !context.gpus.is_multiple_of(shared) {
                    continue;
                }
                plans.push(placed(Plan {
                    cfg,
                    pipeline: Pipeline {
                        stages,
                        patches: stages,
                    },
                    ulysses,
                    exchange: Exchange::Ring(context.gpus / shared),
                    ..Plan::single(DeviceId::new(0))
                }));
            }
        }
    }
    plans
}

/// `8`, `8(cfg2xpatch4)`: the degree holds the guidance degree.
fn distrifusion(rest: &str, context: &Context<'_>) -> Result<Plan, String> {
    let (degree, bracket) = leading_count(rest).unwrap_or((context.gpus, rest));
    if degree != context.gpus {
        return Err(format!("distrifusion{degree} on {} GPUs", context.gpus));
    }
    let guided = bracket.contains("cfg2") || bracket.contains("cfg 2") || context.rows == 2;
    let cfg = if guided && degree > 1 && degree % 2 == 0 {
        2
    } else {
        1
    };
    Ok(placed(Plan {
        cfg,
        exchange: Exchange::Displaced(degree / cfg),
        warmup: last_count(context.warmup).unwrap_or(4),
        ..Plan::single(DeviceId::new(0))
    }))
}

/// The number after the last comma: `1 (PipeFusion), 4 (DistriFusion)`.
fn last_count(text: &str) -> Option<u32> {
    super::row::first_count(text.rsplit(',').next()?)
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

fn tokens(text: &str, context: &Context<'_>) -> Result<Plan, String> {
    let mut plan = Plan::single(DeviceId::new(0));
    let (mut patches, mut warmup, mut degrees) = (None, None, 0);
    for token in without_brackets(text).split(['+', ' ', '\t', ',', '_']) {
        let (word, number) = split_token(token);
        if token.is_empty() || IGNORED.contains(&token) || word.starts_with("vae") {
            continue;
        }
        match (word, number) {
            ("patch=", Some(count)) => patches = Some(count),
            ("num", None) => {}
            ("warmup", Some(count)) => warmup = Some(count),
            ("patch" | "parallel", None) => {}
            (word, number) => {
                let whole = degrees == 0 && number.is_none();
                let degree = number.or(whole.then_some(context.gpus));
                set(&mut plan, word, degree.filter(|degree| *degree > 0))
                    .ok_or_else(|| format!("\"{token}\" is not a strategy with a degree"))?;
                degrees += 1;
            }
        }
    }
    if text.starts_with("patch parallel") && degrees == 0 {
        plan.exchange = Exchange::Gather(context.gpus);
        degrees = 1;
    }
    if degrees == 0 {
        return Err("no degrees".to_owned());
    }
    let product = [
        plan.data,
        plan.cfg,
        plan.pipeline.stages,
        plan.exchange.degree(),
        plan.ulysses,
        plan.tensor,
    ]
    .iter()
    .try_fold(1_u32, |product, degree| product.checked_mul(*degree));
    if product != Some(context.gpus) {
        return Err(format!(
            "the degrees of \"{text}\" do not multiply to {} GPUs",
            context.gpus
        ));
    }
    let stages = plan.pipeline.stages;
    if stages > 1 {
        plan.pipeline.patches = patches.unwrap_or(stages).clamp(1, 1024);
        let stated = warmup.or_else(|| super::row::first_count(context.warmup));
        plan.warmup = stated.unwrap_or(context.pipeline_warmup);
    }
    Ok(placed(plan))
}

/// `ulysses4` as its word and its number.
fn split_token(token: &str) -> (&str, Option<u32>) {
    let word = token.trim_end_matches(|c: char| c.is_ascii_digit());
    (word, token[word.len()..].parse().ok())
}

/// Sets one degree; `None` for an unknown word, a missing degree, or a second exchange.
fn set(plan: &mut Plan, word: &str, degree: Option<u32>) -> Option<()> {
    let degree = degree?;
    let exchange = match word {
        "ring" => Exchange::Ring(degree),
        "allgather-kv" => Exchange::Gather(degree),
        _ => {
            match word {
                "ulysses" => plan.ulysses = degree,
                "cfg" => plan.cfg = degree,
                "tp" => plan.tensor = degree,
                "dp" => plan.data = degree,
                "pipefusion" | "pp" => {
                    plan.pipeline = Pipeline {
                        stages: degree,
                        patches: degree,
                    }
                }
                _ => return None,
            }
            return Some(());
        }
    };
    if plan.exchange.degree() > 1 && exchange.degree() > 1 {
        return None;
    }
    if exchange.degree() > 1 {
        plan.exchange = exchange;
    }
    Some(())
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
            ulysses: &[1, 2, 3, 4, 6, 8, 12, 24],
            stages: 16,
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
            ("ulysses8+fsdp", 8, 1, "ulysses8"),
            ("ulysses2 UAA+TE-P", 2, 1, "ulysses2"),
            ("cfg2+ulysses2 +vae4", 4, 2, "cfg2+ulysses2"),
            ("ulysses4+vae-p4", 4, 1, "ulysses4"),
            ("xdit ulysses4", 4, 1, "ulysses4"),
            ("ring4 (all-gather rotate)", 4, 1, "ring4"),
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

    #[test]
    fn a_pipeline_has_as_many_patches_as_stages_unless_it_says_so() {
        for (cell, patches) in [("pipefusion4", 4), ("pipefusion4 num_patch=16", 16)] {
            let plan = &read(cell, &context(4, 1)).unwrap().plans[0];
            assert_eq!(plan.pipeline, Pipeline { stages: 4, patches });
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
            ("ulysses2 + layerwise offload", 2, "offloaded"),
            ("dsp8", 8, "DSP"),
            ("asyncdiff N2 S1", 2, "AsyncDiff"),
            ("ulysses2", 4, "multiply"),
            ("warp9", 9, "not a strategy"),
            ("", 2, "no degrees"),
            ("none", 2, "not stated"),
            ("ulysses4294967295+ring4294967295", 2, "multiply"),
            ("ring2+allgather-kv2", 4, "not a strategy"),
        ] {
            let error = read(cell, &context(gpus, 1)).unwrap_err();
            assert!(error.contains(why), "{cell}: {error}");
        }
    }
}
