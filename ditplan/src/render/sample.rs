//! An answer to print in tests: the published runs of FLUX.1-dev on four L20 (CompactFusion), with
//! intervals, bounds and memory that are made up.

use sim::memory::{Fit, Memory, Phase};
use sim::model;
use topologies::{Bytes, Machine, SimDuration};
use traces::timeline::SpanClass;

use std::collections::BTreeMap;

use planner::interval::{Class, RestsOn, Uncertainty};
use planner::launch::{Job, Launch};
use planner::search::{
    Answer, Candidate, Finding, Provenance, Quality, QualitySource, Question, Rejected,
    SearchedSpace, StopReason, Unfit, Which,
};

/// The default question.
fn question() -> Question {
    let model = model::find("FLUX.1-dev").expect("a built-in model");
    let machine = Machine::preset("4xl20-pcie").expect("a preset");
    Question::new(model, machine).expect("readable runs")
}

/// A plan with its published latency, exposed communication, FID and LPIPS.
fn candidate(
    line: &str,
    (latency, exposed): (f64, f64),
    quality: Option<(f64, f64)>,
    more: &[(SpanClass, f64)],
) -> Candidate {
    let asked = question();
    let plan: sim::plan::Plan = line.parse().expect("a plan");
    let job = Job {
        plan: &plan,
        model: asked.model,
        request: &asked.request,
        compilation: asked.compilation,
        gpus_per_box: 4,
    };
    let launch = Launch::of(asked.engine, &job);
    let seconds = SimDuration::from_secs_f64;
    Candidate {
        fidelity: plan.fidelity(),
        latency: seconds(latency),
        lo: seconds(latency * 0.945),
        hi: seconds(latency * 1.059),
        lower_bound: seconds(latency * 0.93),
        gap: 0.07 / 0.93,
        stop_reason: StopReason::Exhausted,
        memory: Memory {
            rank: 0,
            phase: Phase::Denoise,
            weights: Bytes::new(23_800_000_000),
            encoders: Bytes::new(9_770_000_000),
            activations: Bytes::ZERO,
            kv_cache: Bytes::ZERO,
            bases: Bytes::ZERO,
            vae: Bytes::ZERO,
            runtime: Bytes::new(630_000_000),
            total: Bytes::new(34_200_000_000),
            fits: Fit::Fits(Bytes::new(13_800_000_000)),
        },
        phases: (SimDuration::ZERO, SimDuration::ZERO),
        exposed: seconds(exposed),
        by_class: vec![
            (SpanClass::Linear, seconds(4.4)),
            (SpanClass::Attention, seconds(1.1)),
        ],
        quality: Quality {
            fid: quality.map(|(fid, _)| fid),
            lpips: quality.map(|(_, lpips)| lpips),
            predicted: None,
            source: QualitySource::NoneForLayout,
        },
        why_slower: more
            .iter()
            .map(|(class, extra)| (*class, seconds(*extra)))
            .collect(),
        launch,
        uncertainty: Uncertainty {
            shared: BTreeMap::new(),
            own: 0.0,
            classes: Class::of(&plan, RestsOn::Datasheets),
        },
        plan,
        behind: 0.0,
    }
}

/// Three plans and one GPU.
pub(crate) fn answer() -> Answer {
    let plans = vec![
        candidate(
            "ring4/1bit warmup=1 loop=fused",
            (7.46, 0.42),
            Some((7.08, 0.260)),
            &[],
        ),
        candidate(
            "ulysses4",
            (9.13, 2.2),
            None,
            &[(SpanClass::Communication, 1.78)],
        ),
        candidate(
            "ring4",
            (10.89, 4.07),
            None,
            &[(SpanClass::Communication, 3.65)],
        ),
    ];
    Answer {
        question: question(),
        choice: plans[0].clone(),
        plans,
        spent: None,
        layers: 57,
        space: SearchedSpace {
            gpus: 4,
            orders: 1,
            patches_per_stage: vec![1, 2, 4],
            pipeline_warmups: vec![0, 1, 4],
            warmup: 1,
            decoders: 4,
            compressors: vec![kernels::Compressor::OneBit],
            per_layer: false,
            precisions: vec![sim::plan::Precision::Bf16],
        },
        legal: 50,
        considered: 40,
        simulated: 3,
        pruned: 37,
        tied_by_bound: 0,
        illegal: vec![Rejected {
            which: Which::Line("cfg2+ulysses2".to_owned()),
            why: Unfit::MemoryToo,
        }],
        single: candidate("none", (23.16, 0.0), None, &[]),
        provenance: vec![Provenance::Kernels {
            gpu: "L20".to_owned(),
            from: None,
        }],
        findings: vec![Finding::OneGpuIsFastest],
    }
}
