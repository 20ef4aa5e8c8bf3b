//! `plan --explain`: what was searched, and what the choice's interval is made of.

use planner::interval::{SPREAD, Term};
use planner::search::{Answer, Filter};
use sim::launch::Launched;
use sim::platform::Reach;

use crate::render::text::{bulleted, counted, section};

/// Sections behind the answer.
pub(super) fn report(answer: &Answer) -> String {
    let mut page = String::new();
    section(&mut page, "What was searched", &bulleted(&space(answer)));
    let title = format!("What the interval of {} is made of", answer.choice.plan);
    section(&mut page, &title, &bulleted(&interval(answer)));
    page
}

fn space(answer: &Answer) -> Vec<String> {
    let of = &answer.space;
    let numbers = |all: &[u32]| {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    let compressors: Vec<String> = of.compressors.iter().map(ToString::to_string).collect();
    let mut said = vec![
        format!(
            "every legal product, on 1 to {}, of degrees of guidance, batch, tensor, pipeline and Ulysses with an exchange: \
             ring, gather, DistriFusion, two-dimensional",
            counted(of.gpus, "GPU")
        ),
        format!(
            "ranks take the GPUs in {}: islands one after another, where it differs round them, and slow GPUs last",
            counted(u32::try_from(of.orders).unwrap_or(u32::MAX), "order")
        ),
        format!(
            "pipelines with {} patches for each stage and {} warm-up steps; other stale or compressed plans with {}",
            numbers(&of.patches_per_stage),
            numbers(&of.pipeline_warmups),
            of.warmup
        ),
        format!("the VAE on up to {}", counted(of.decoders, "rank")),
        format!(
            "uncompressed, and all layers alike by {}; a ring that can be compressed also uncompressed in CompactFusion's loop",
            compressors.join(", ")
        ),
    ];
    let precisions: Vec<&str> = of.precisions.iter().map(|one| one.word()).collect();
    said.push(format!(
        "products in {}; where weights do not fit, every residency that the engine offers and that fits",
        precisions.join(", ")
    ));
    if of.per_layer {
        said.push("the compressors of each layer that the budget allows, by layout".to_owned());
    }
    if answer.question.filter != Filter::default() {
        let only =
            "of these only what the question lets pass (--strategy, --exact, --max-fid, --budget)";
        said.push(only.to_owned());
    }
    said.push(
        "not in it: other patches, warm-up steps and orders of GPUs; step caches; other precisions than these (--precision)"
            .to_owned(),
    );
    said
}

/// The terms of the 90 % interval, the widest first, in percent of the latency.
fn interval(answer: &Answer) -> Vec<String> {
    let uncertainty = &answer.choice.uncertainty;
    let percent = |sigma: f64| (SPREAD * sigma).exp_m1();
    let mut terms: Vec<(f64, String)> = uncertainty
        .shared
        .iter()
        .map(|(term, sigma)| (*sigma, name(*term)))
        .collect();
    terms.push((
        uncertainty.own,
        "how this plan is executed, and what no other plan shares".to_owned(),
    ));
    terms.retain(|(sigma, _)| percent(*sigma) >= 0.0005);
    terms.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut said: Vec<String> = terms
        .into_iter()
        .map(|(sigma, name)| format!("{name}: x/÷ {:.3}", 1.0 + percent(sigma)))
        .collect();
    said.push(format!(
        "together x/÷ {:.3}; the interval that is printed, x/÷ {:.3}, is {:.2} of that, in logarithms: nine of ten published runs of \
         its classes ({}) were so far off",
        1.0 + percent(uncertainty.sigma()),
        uncertainty.factor(),
        uncertainty.scale(),
        uncertainty.classes.map(|class| class.to_string()).join("; ")
    ));
    said
}

fn name(term: Term) -> String {
    match term {
        Term::GpuTime => "GPU time over the kernel costs".to_owned(),
        Term::Phases => "text encoders, VAE and the pipeline's overhead".to_owned(),
        Term::Launch => "launch time".to_owned(),
        Term::Weights => "fetching weights that are not resident".to_owned(),
        Term::Precision => "quantised products over 16-bit ones".to_owned(),
        Term::Codec => "encoding and decoding of messages".to_owned(),
        Term::Messages(of) => format!("launching {}", launched(of)),
        Term::Rate(kind, reach) => {
            let place = match reach {
                Reach::Host => "within a box",
                Reach::Network => "between boxes",
            };
            format!("the rate of {kind} {place}")
        }
        Term::Between => "that messages go between boxes".to_owned(),
        Term::Compiled => "that the model is compiled".to_owned(),
        Term::Short => "that the request is short".to_owned(),
    }
}

const fn launched(of: Launched) -> &'static str {
    match of {
        Launched::Ulysses => "the all-to-alls",
        Launched::Ring => "the ring",
        Launched::FusedRing => "CompactFusion's ring",
        Launched::Gather => "the gathers",
        Launched::AsyncGather => "the gathers beside compute",
        Launched::AllReduce => "the all-reduces",
        Launched::Weights => "the gathers of weights",
    }
}
