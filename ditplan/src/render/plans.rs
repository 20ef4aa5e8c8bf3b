//! A question and its plans in lines and sentences.

use std::collections::BTreeSet;

use comfy_table::Table;
use planner::search::{Candidate, Quality, Question};
use sim::plan::{Components, Compression, Encoders, Fidelity, Plan, Precision, RingLoop, Weights};
use traces::timeline::SpanClass;

use super::json::Fidelity as Word;
use super::text::{self, duration, gigabytes, heading, percent, seconds, wrapped};
use super::words;

/// A plan's name in lists: strategy and compressor; of a raw ring also that it runs in the fused loop.
pub(crate) fn label(plan: &Plan) -> String {
    let layout = label_of_layout(plan);
    match plan.execution.precision {
        Precision::Bf16 => layout,
        precision => format!("{layout} {precision}"),
    }
}

fn label_of_layout(plan: &Plan) -> String {
    match (&plan.compression, plan.ring_loop) {
        (Compression::Raw, RingLoop::Engine) => plan.strategy(),
        (Compression::Raw, RingLoop::Fused) => format!("{} loop=fused", plan.strategy()),
        _ => format!("{}/{}", plan.strategy(), compression(plan)),
    }
}

/// A plan's name in a table with a column of compressors, which says below who decodes the VAE.
pub(crate) fn layout(plan: &Plan) -> String {
    label(&Plan {
        compression: Compression::Raw,
        vae: 1,
        ring_loop: match plan.compression {
            Compression::Raw => plan.ring_loop,
            _ => RingLoop::Engine,
        },
        ..plan.clone()
    })
}

/// What messages are sent as, in a word or two.
fn compression(plan: &Plan) -> String {
    match &plan.compression {
        Compression::Raw => "-".to_owned(),
        Compression::Uniform(compressor) => compressor.to_string(),
        Compression::Mixed(_) => "per layer".to_owned(),
    }
}

/// Model and request in words: `FLUX.1-dev 1024x1024, 28 steps`.
pub(crate) fn asked(question: &Question) -> String {
    let Question { model, request, .. } = question;
    let mut ask = format!("{} {}", model.name, request.resolution);
    if request.frames > 1 {
        ask.push_str(&format!(" x {} frames", request.frames));
    }
    ask.push_str(&format!(", {}", text::counted(request.steps, "step")));
    if request.batch > 1 {
        ask.push_str(&format!(", batch {}", request.batch));
    }
    if model.uses_guidance() {
        ask.push_str(&format!(", guidance {}", request.guidance));
    }
    ask
}

/// The question in a line.
pub(crate) fn title(question: &Question) -> String {
    let machine = &question.machine;
    let ask = asked(question);
    let has = machine.gpus.len();
    let gpus = if question.gpus as usize == has {
        machine.summary().gpus
    } else {
        format!(
            "{} of {}",
            text::counted(question.gpus, "GPU"),
            machine.summary().gpus
        )
    };
    let place = format!(
        "{gpus} ({}: {}), {}, {}, attention by {}",
        machine.name,
        machine.interconnect(),
        question.engine,
        question.compilation,
        question.attention_kernel()
    );
    let place = match question.faults.is_empty() {
        true => place,
        false => format!("{place}; wrong with it: {}", question.faults),
    };
    heading(&ask) + &wrapped(&place, 0)
}

/// What the column of outputs shows: what a trace predicts, else what was published of one of the plans.
pub(crate) fn output_header<'a>(mut shown: impl Iterator<Item = &'a Candidate>) -> &'static str {
    let published = |one: &Candidate| {
        let Quality {
            fid,
            lpips,
            predicted,
            ..
        } = &one.quality;
        one.fidelity != Fidelity::Exact && predicted.is_none() && (fid.is_some() || lpips.is_some())
    };
    match shown.any(published) {
        true => "output FID/LPIPS",
        false => "output",
    }
}

/// One plan's figures, after its place where the table has one.
pub(crate) fn row(
    table: &mut Table,
    place: Option<String>,
    name: &str,
    found: &Candidate,
    single: &Candidate,
) {
    let speedup = single.latency.as_secs_f64() / found.latency.as_secs_f64();
    let figures = [
        name.to_owned(),
        compression(&found.plan),
        interval(found),
        format!("{speedup:.2}x"),
        duration(found.exposed),
        memory(found),
        output(found),
    ];
    table.add_row(place.into_iter().chain(figures));
}

/// `38.4 GB`, with the marks of how that fits, or `OOM`.
pub(crate) fn memory(found: &Candidate) -> String {
    let memory = gigabytes(found.memory.total);
    match found.memory.fits.is_fit() {
        true => format!("{memory} {}", marks(found).join(","))
            .trim_end()
            .to_owned(),
        false => format!("{memory} OOM"),
    }
}

/// What stands in the fullest GPU's memory at its peak, the largest part first.
pub(crate) fn memory_parts(found: &Candidate) -> String {
    let memory = &found.memory;
    let mut parts = [
        ("transformer", memory.weights),
        ("encoders", memory.encoders),
        ("activations", memory.activations),
        ("kept K and V", memory.kv_cache),
        ("bases of compressors", memory.bases),
        ("VAE", memory.vae),
        ("CUDA and NCCL", memory.runtime),
    ];
    parts.sort_by_key(|part| std::cmp::Reverse(part.1));
    let shown = parts.iter().filter(|(_, bytes)| bytes.as_f64() >= 5e7);
    let shown: Vec<String> = shown
        .map(|(name, bytes)| format!("{name} {}", gigabytes(*bytes)))
        .collect();
    format!(
        "{} a GPU at most, to {}: {}.",
        gigabytes(memory.total),
        words::phase(memory.phase),
        shown.join(", ")
    )
}

/// How a plan's weights are kept, as marks in tables; none where all are on every GPU.
fn marks(found: &Candidate) -> Vec<&'static str> {
    let residency = found.plan.execution.residency;
    let components = (residency.components == Components::InTurn).then_some("t");
    let transformer = match residency.transformer {
        Weights::Resident => None,
        Weights::Sharded => Some("s"),
        Weights::Layerwise { .. } => Some("l"),
    };
    let encoders = match residency.encoders {
        Encoders::Whole => None,
        Encoders::Split => Some("p"),
        Encoders::InTurn => Some("e"),
        Encoders::Elsewhere => Some("x"),
    };
    let marks = [components, transformer, encoders];
    marks.into_iter().flatten().collect()
}

/// What the marks of a table's plans mean.
pub(crate) fn residencies<'a>(shown: impl Iterator<Item = &'a Candidate>) -> String {
    let marks: BTreeSet<&str> = shown.flat_map(marks).collect();
    let meaning = [
        (
            "e",
            "encoders on the GPU for encoding only; moving them is in the latency",
        ),
        (
            "l",
            "blocks that do not fit come from host memory in every step, beside the one before; in the latency",
        ),
        ("p", "encoders split over the ranks"),
        (
            "s",
            "weights sharded over the ranks (FSDP), a block gathered before its use; in the latency",
        ),
        (
            "t",
            "encoders, transformer and VAE moved to the GPU in turn; in the latency",
        ),
        ("x", "encoders on another machine"),
    ];
    let said = meaning.into_iter().filter(|(mark, _)| marks.contains(mark));
    said.map(|(mark, text)| wrapped(&format!("    {mark}  {text}"), 7))
        .collect()
}

/// `7.46 (7.05-7.90)`.
pub(crate) fn interval(found: &Candidate) -> String {
    format!(
        "{} ({}-{})",
        seconds(found.latency),
        seconds(found.lo),
        seconds(found.hi)
    )
}

/// `lossy 7.08/0.260`: how far from the one-GPU output, with the published FID and LPIPS.
fn output(found: &Candidate) -> String {
    let word = Word::from(found.fidelity).word();
    let Quality {
        fid,
        lpips,
        predicted,
        ..
    } = found.quality;
    if let Some(predicted) = predicted.filter(|_| found.fidelity != Fidelity::Exact) {
        let shown = predicted
            .psnr_db
            .map_or_else(|| share(predicted.deviation), |db| format!("{db:.1} dB"));
        return format!("{word} {shown}");
    }
    match (fid, lpips) {
        _ if found.fidelity == Fidelity::Exact => word.to_owned(),
        (None, None) => word.to_owned(),
        (Some(fid), None) => format!("{word} {fid:.2}"),
        (None, Some(lpips)) => format!("{word} -/{lpips:.3}"),
        (Some(fid), Some(lpips)) => format!("{word} {fid:.2}/{lpips:.3}"),
    }
}

/// A relative deviation in percent.
pub(crate) fn share(deviation: f64) -> String {
    format!("{:.2} %", 100.0 * deviation)
}

/// How far the simulated schedule is from the least time of its plan.
pub(crate) fn bound(candidate: &Candidate) -> String {
    let least = format!(
        "No schedule of this plan is faster than {} s",
        seconds(candidate.lower_bound)
    );
    // Less than the printed digits show.
    if candidate.gap < 5e-4 {
        return least + ", and the simulated one takes no longer.";
    }
    format!(
        "{least}: the simulated one takes {} more.",
        percent(candidate.gap)
    )
}

/// Where the time goes on the critical path of the steps, largest first, and outside the steps.
pub(crate) fn breakdown(found: &Candidate) -> String {
    let mut parts = found.by_class.clone();
    parts.retain(|(_, time)| time.get() > 0);
    parts.sort_by_key(|(class, time)| (std::cmp::Reverse(*time), *class));
    let words = parts.iter().map(|(class, time)| match class {
        SpanClass::Communication => format!("messages {}", duration(*time)),
        class => format!("{class} {}", duration(*time)),
    });
    let mut words: Vec<String> = words.collect();
    let steps: topologies::SimDuration = parts.iter().map(|(_, time)| *time).sum();
    let around = found.latency.saturating_sub(steps);
    if around.get() > 0 {
        words.push(format!("text encoders and VAE {}", duration(around)));
    }
    words.join(", ") + "."
}

/// What is known of the output.
pub(crate) fn quality(found: &Candidate) -> String {
    let word = Word::from(found.fidelity).word();
    let Quality {
        fid,
        lpips,
        predicted,
        source,
    } = &found.quality;
    let mut said = vec![word.to_owned()];
    if let Some(predicted) = predicted.filter(|_| found.fidelity != Fidelity::Exact) {
        said.push(format!(
            "deviation {} (19 of 20 runs at most {})",
            share(predicted.deviation),
            share(predicted.upper)
        ));
        said.extend(predicted.psnr_db.map(|db| format!("PSNR {db:.1} dB")));
    }
    said.extend(fid.map(|fid| format!("FID {fid:.2}")));
    said.extend(lpips.map(|lpips| format!("LPIPS {lpips:.3}")));
    let source = words::quality(source);
    format!("{} ({source}).", said.join(", "))
}

/// The launch command, or why there is none.
pub(crate) fn launch(found: &Candidate) -> String {
    let engine = found.launch.engine;
    match words::command(&found.launch) {
        // Not indented: it is to be copied, and a script within it may not be.
        Ok(command) => heading(&format!("Launch ({engine})")) + command + "\n",
        Err(reason) => {
            let text = format!("  {engine} cannot run {}: {reason}.", label(&found.plan));
            heading("Launch") + &wrapped(&text, 2)
        }
    }
}
