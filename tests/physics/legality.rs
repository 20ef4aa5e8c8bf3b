//! Which plans are legal, beside a predicate of a few lines over figures that are stated here.
//!
//! ```text
//! heads over tensor over Ulysses, tokens (or token rows) over the sequence ranks, images over data: without a rest
//! guidance: two branches at most, where there are two; stages: at most the blocks; patches: at most the rows of a rank
//! a pipeline goes with rings, DistriFusion with guidance and data, in powers of two; linear attention with rings
//! a compressor needs K and V that are sent in the step they are used in
//! ```

use kernels::Compressor;
use sim::legality::{all_reasons, check};
use sim::model::{self, Guidance, Request};
use sim::plan::{Compression, Exchange, Pipeline, Plan};
use sim::workload::Workload;
use topologies::DeviceId;

/// A model as its published configuration has it.
struct Known {
    name: &'static str,
    heads: u32,
    blocks: u32,
    /// What a split of the sequence must divide: tokens of an image, or token rows of a frame.
    splits: u32,
    /// Token rows of a frame.
    rows: u32,
    most_ulysses: u32,
    guided: bool,
    linear: bool,
}

const fn known(
    name: &'static str,
    heads: u32,
    blocks: u32,
    splits: u32,
    rows: u32,
    guided: bool,
) -> Known {
    Known {
        name,
        heads,
        blocks,
        splits,
        rows,
        most_ulysses: u32::MAX,
        guided,
        linear: false,
    }
}

const MODELS: [Known; 7] = [
    known("FLUX.1-dev", 24, 57, 4096, 64, false),
    known("SD3.5-large", 38, 38, 4096, 64, true),
    known("Z-Image-Turbo", 30, 34, 4096, 64, false),
    known("dit-digits", 4, 8, 256, 16, false),
    // Cut by height: 480 pixels are 30 rows.
    known("CogVideoX-2b", 30, 30, 30, 30, true),
    // 21 latent frames of 30 x 52.
    known("Wan2.1-T2V-1.3B", 12, 30, 21 * 30 * 52, 30, true),
    Known {
        most_ulysses: 2,
        linear: true,
        ..known("SANA-1600M", 70, 20, 1024, 32, true)
    },
];

const STEPS: u32 = 6;
const IMAGES: u32 = 2;

impl Known {
    /// Whether a plan is legal for two images in six steps on `gpus` GPUs.
    fn allows(&self, plan: &Plan, gpus: u32) -> bool {
        let exchange = plan.exchange.degree();
        let ring = matches!(plan.exchange, Exchange::Ring(_));
        let displaced = matches!(plan.exchange, Exchange::Displaced(_)) && exchange > 1;
        let staged = plan.pipeline.stages > 1;
        let sequence = exchange * plan.ulysses;
        let divided = self.heads.is_multiple_of(plan.tensor)
            && (self.heads / plan.tensor).is_multiple_of(plan.ulysses)
            && plan.ulysses <= self.most_ulysses
            && self.splits.is_multiple_of(sequence)
            && IMAGES.is_multiple_of(plan.data);
        let stages = if staged {
            plan.pipeline.stages <= self.blocks && plan.pipeline.patches <= self.rows / sequence
        } else {
            plan.pipeline.patches == 1
        };
        let alone = plan.ulysses == 1 && plan.tensor == 1 && !staged;
        let composed = (ring || exchange == 1 || !staged || displaced)
            && (!displaced || alone && exchange.is_power_of_two())
            && (ring || exchange == 1 || !self.linear);
        let kv_sent = match plan.exchange {
            Exchange::Ring(n) | Exchange::Gather(n) => n > 1,
            // With one row, queries and outputs travel.
            Exchange::Attention2d { rows, .. } => rows > 1,
            Exchange::Displaced(_) => false,
        } || plan.ulysses > 1 && !displaced;
        let compressed = plan.compression.is_raw() || kv_sent && !staged && !self.linear;
        let guidance = plan.cfg == 1 || plan.cfg == 2 && self.guided;
        let ranks = plan.data * plan.cfg * plan.pipeline.stages * sequence * plan.tensor;
        let room = ranks <= gpus && plan.warmup <= STEPS && plan.vae <= ranks;
        divided && stages && composed && compressed && guidance && room
    }
}

fn exchanges() -> Vec<Exchange> {
    let alone = (2..=8).flat_map(|n| {
        [
            Exchange::Ring(n),
            Exchange::Gather(n),
            Exchange::Displaced(n),
        ]
    });
    let grids = (1..=4)
        .flat_map(|rows| (1..=4).map(move |columns| Exchange::Attention2d { rows, columns }));
    let grids = grids.filter(|grid| grid.degree() > 1);
    [Exchange::NONE]
        .into_iter()
        .chain(alone)
        .chain(grids)
        .collect()
}

/// Degrees, some of which divide nothing, with what else a plan says.
fn plans() -> Vec<Plan> {
    let mut all = Vec::new();
    for (data, cfg) in [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)] {
        for (stages, patches) in [
            (1, 1),
            (1, 2),
            (2, 2),
            (2, 15),
            (2, 16),
            (2, 33),
            (9, 9),
            (31, 31),
        ] {
            for (ulysses, tensor) in [
                (1, 1),
                (2, 1),
                (3, 1),
                (4, 1),
                (5, 1),
                (1, 2),
                (1, 5),
                (2, 2),
                (19, 2),
            ] {
                for exchange in exchanges() {
                    for compression in [Compression::Raw, Compression::Uniform(Compressor::OneBit)]
                    {
                        let mut plan = Plan {
                            data,
                            cfg,
                            pipeline: Pipeline { stages, patches },
                            ulysses,
                            tensor,
                            exchange,
                            compression,
                            ..Plan::single(DeviceId::new(0))
                        };
                        plan.warmup = u32::from(plan.warms_up());
                        if plan.ranks() > 80 {
                            continue;
                        }
                        let ranks = 0..plan.ranks() as usize;
                        all.push(plan.placed(ranks.map(DeviceId::new).collect()));
                    }
                }
            }
        }
    }
    all
}

fn workload(known: &Known) -> Workload {
    let model = model::find(known.name).expect("a known model");
    let request = Request {
        steps: STEPS,
        batch: IMAGES,
        ..model.default
    };
    assert_eq!(
        request.guidance != Guidance::None,
        known.guided,
        "{}",
        known.name
    );
    Workload::new(model, &request).expect("a possible request")
}

#[test]
fn a_plan_is_legal_exactly_where_everything_divides() {
    let plans = plans();
    for known in &MODELS {
        let (workload, model) = (workload(known), model::find(known.name).expect("known"));
        let mut legal = 0;
        for plan in &plans {
            for gpus in [8, 64] {
                let reasons = all_reasons(model, &workload, plan, gpus as usize);
                let allowed = known.allows(plan, gpus);
                assert_eq!(
                    reasons.is_empty(),
                    allowed,
                    "{} {plan}: {reasons:?}",
                    known.name
                );
                assert_eq!(
                    check(model, &workload, plan, gpus as usize).is_ok(),
                    allowed
                );
                legal += usize::from(allowed);
            }
        }
        assert!(legal > 50, "{}: {legal}", known.name);
    }
}

/// What is beside the degrees: warm-up, ranks of the decoder, GPUs of the placement.
#[test]
fn warm_up_decoder_and_placement_have_their_limits() {
    let known = &MODELS[0];
    let (workload, model) = (workload(known), model::find(known.name).expect("known"));
    let ring: Plan = "ring4/1bit warmup=1".parse().expect("a plan");
    for warmup in [0, 1, STEPS, STEPS + 1] {
        for vae in [1, 4, 5] {
            let plan = Plan {
                warmup,
                vae,
                ..ring.clone()
            };
            let legal = check(model, &workload, &plan, 4).is_ok();
            assert_eq!(
                legal,
                known.allows(&plan, 4),
                "warm-up {warmup}, decoder {vae}"
            );
        }
    }
    for (gpus, placement, legal) in [
        (4, [0, 1, 2, 3], true),
        (5, [4, 1, 2, 3], true),
        (4, [4, 1, 2, 3], false),
        (4, [0, 1, 2, 2], false),
        (3, [0, 1, 2, 3], false),
    ] {
        let plan = ring.clone().placed(placement.map(DeviceId::new).to_vec());
        assert_eq!(
            check(model, &workload, &plan, gpus).is_ok(),
            legal,
            "{placement:?} of {gpus}"
        );
    }
}

/// A U-Net runs guidance, data and DistriFusion alone: a power of two patches of the 32 rows of SDXL's coarsest level.
#[test]
fn a_u_net_is_cut_in_patches_alone() {
    let model = model::find("SDXL").expect("a known model");
    let request = Request {
        steps: STEPS,
        batch: IMAGES,
        ..model.default
    };
    let workload = Workload::new(model, &request).expect("a possible request");
    let mut legal = 0;
    for plan in plans() {
        let displaced = matches!(plan.exchange, Exchange::Displaced(_));
        let patches = plan.exchange.degree();
        let divides = patches == 1 || displaced && patches.is_power_of_two() && patches <= 32;
        let alone = plan.ulysses * plan.tensor == 1 && plan.pipeline == Pipeline::NONE;
        let guided = plan.cfg <= 2 && IMAGES.is_multiple_of(plan.data);
        let room = plan.ranks() <= 16 && plan.warmup <= STEPS;
        let allowed = divides && alone && guided && room && plan.compression.is_raw();
        let reasons = all_reasons(model, &workload, &plan, 16);
        assert_eq!(reasons.is_empty(), allowed, "{plan}: {reasons:?}");
        legal += usize::from(allowed);
    }
    assert!(legal > 10, "{legal}");
}

/// n tokens over d ranks are d ceil(n / d), heads alike: of rings and Ulysses, of models that cut tokens, without stages.
#[test]
fn padding_is_what_is_missing_to_divide() {
    use sim::legality::{Padding, Pads, check_padded};
    for known in &MODELS {
        let (workload, model) = (workload(known), model::find(known.name).expect("known"));
        let rows = known.splits == known.rows;
        for plan in plans().iter().filter(|plan| plan.compression.is_raw()) {
            let ring = matches!(plan.exchange, Exchange::Ring(_));
            let cut = ring && !rows && plan.pipeline.stages == 1;
            let missing = |count: u32, degree: u32| {
                let fits = cut && degree <= count;
                if fits {
                    count.div_ceil(degree) * degree - count
                } else {
                    0
                }
            };
            let ranks = plan.exchange.degree() * plan.ulysses;
            let whole = known.heads.is_multiple_of(plan.tensor) && known.most_ulysses > 2;
            let heads = if whole {
                missing(known.heads / plan.tensor, plan.ulysses)
            } else {
                0
            };
            let expected = Padding {
                tokens: u64::from(missing(known.splits, ranks)),
                heads: u64::from(heads),
            };
            let found = Padding::of(model, &workload, plan);
            assert_eq!(found, expected, "{} {plan}", known.name);
            for (tokens, heads) in [(false, false), (true, false), (false, true), (true, true)] {
                let pads = Pads { tokens, heads };
                let padded = check_padded(model, &workload, plan, 64, pads);
                // Of a plan that is padded where it does not divide, the rest must be legal.
                let mut relaxed = Known { ..*known };
                if expected.tokens > 0 && tokens {
                    relaxed.splits = ranks;
                }
                if expected.heads > 0 && heads {
                    relaxed.heads = plan.tensor * plan.ulysses;
                }
                let legal = relaxed.allows(plan, 64);
                assert_eq!(padded.is_ok(), legal, "{} {plan} {pads:?}", known.name);
                assert_eq!(padded.unwrap_or(expected), expected);
            }
        }
    }
}
