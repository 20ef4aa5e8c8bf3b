//! The figures of an answer, worked out again from what it says elsewhere.
//!
//! ```text
//! dollars for an image = dollars an hour of the plan's GPUs x hours of the request / images of it
//! speed-up = latency of one GPU / latency          gap = latency / lower bound - 1
//! behind   = probability that the fastest plan is faster
//! gain     = raw - compressed = by the loop + by compression
//! ```

use planner::interval::faster;
use planner::launch::Engine;
use planner::search::{
    self, Budget, Candidate, Filter, Finding, Gain, Lever, NoPlan, Pays, PlanningError, Question,
    Shared, StopReason, Unfit, Which, judge, own_shard, shards, usual, winner,
};
use sim::model::{self, Guidance};
use sim::plan::{Fidelity, Plan, RingLoop};
use sim::quality::OwnShard;
use topologies::hypothetical;

use super::{plan, preset, question};

fn near(found: f64, expected: f64, context: &str) {
    let away = (found / expected - 1.0).abs();
    assert!(away < 1e-9, "{context}: {found}, not {expected}");
}

/// FLUX.1 on L20s, which have a price, some images at a time.
fn priced(batch: u32) -> Question {
    question(preset("4xl20-pcie"), |question| {
        question.request.batch = batch;
        for gpu in &mut question.machine.gpus {
            gpu.price_per_hour = Some(0.9);
        }
    })
}

#[test]
fn an_image_costs_its_part_of_the_gpus_hours() {
    for batch in [1, 2, 4] {
        let asked = priced(batch);
        let one = judge(&asked, &plan("none"), &Shared::default()).expect("it can run");
        near(one.speed_up, 1.0, "one GPU");
        for line in ["none", "ulysses2", "ring4"] {
            let shared = Shared::default();
            let found = judge(&asked, &plan(line), &shared).expect("it can run");
            let latency = found.candidate.latency.as_secs_f64();
            let gpus = f64::from(found.candidate.plan.ranks());
            let each = 0.9 * gpus * latency / 3600.0 / f64::from(batch);
            let context = format!("{line}, {batch} images");
            near(found.cost_each_usd.expect("a price"), each, &context);
            let one = one.candidate.latency.as_secs_f64();
            near(found.speed_up, one / latency, &context);
            assert_eq!((found.considered, found.simulated), (1, 1));
        }
    }
    let mut asked = priced(1);
    asked.machine.gpus[1].price_per_hour = None;
    let cost = |line: &str| {
        let found = judge(&asked, &plan(line), &Shared::default()).expect("it can run");
        found.cost_each_usd
    };
    assert!(cost("none").is_some() && cost("ring2").is_none());
}

/// The winner alone is the choice among all, and counts what may be chosen.
#[test]
fn the_winner_is_the_choice() {
    for machine in ["4xl20-pcie", "4xh20-nvlink"] {
        let asked = question(preset(machine), |question| question.request.steps = 4);
        let answer = search::plan(&asked).expect("a plan");
        let alone = winner(&asked, &Shared::default()).expect("a plan");
        assert_eq!(alone.candidate.plan, answer.choice.plan, "{machine}");
        assert_eq!(alone.candidate.latency, answer.choice.latency);
        assert_eq!(alone.considered, answer.considered, "{machine}");
        assert!(
            (1..=answer.simulated).contains(&alone.simulated),
            "{machine}"
        );
        let single = answer.single.latency.as_secs_f64();
        near(
            alone.speed_up,
            single / answer.choice.latency.as_secs_f64(),
            machine,
        );
    }
}

/// What a comparison shows, from the plans that it compares.
#[test]
fn figures_of_plans_follow_from_their_latencies() {
    for (machine, fastest) in [
        ("4xl20-pcie", true),
        ("4xl20-pcie", false),
        ("8xh100-sxm", false),
    ] {
        let asked = question(preset(machine), |question| question.fastest = fastest);
        let answer = search::plan(&asked).expect("a plan");
        let (first, plans) = (&answer.plans[0], &answer.plans);
        assert_eq!(answer.considered, plans.len() + answer.pruned, "{machine}");
        assert_eq!(answer.simulated, plans.len(), "{machine}");
        assert!(answer.tied_by_bound <= answer.pruned && answer.legal >= answer.considered);
        for one in plans {
            let (latency, bound) = (one.latency.as_secs_f64(), one.lower_bound.as_secs_f64());
            assert!((one.gap - (latency / bound - 1.0).max(0.0)).abs() < 1e-12);
            let behind = faster(
                (first.latency, &first.uncertainty),
                (one.latency, &one.uncertainty),
            );
            let behind = if one.plan == first.plan { 0.0 } else { behind };
            assert_eq!(one.behind, behind, "{}", one.plan);
            assert_eq!(one.is_tied(), behind < 0.9, "{}", one.plan);
            assert!(one.why_slower.len() <= 2);
            assert_eq!(one.stop_reason, answer.choice.stop_reason);
            let kinds: u64 = one.by_class.iter().map(|(_, time)| time.get()).sum();
            assert!(kinds <= one.latency.get() + 1000, "{}", one.plan);
        }
        assert!(answer.choice.why_slower.is_empty());
        if let StopReason::Proved { next_bound } = answer.choice.stop_reason {
            assert!(answer.pruned > 0 && next_bound > first.latency, "{machine}");
        }
        let of = |wanted: fn(&Candidate) -> bool| plans.iter().find(|one| wanted(one));
        let exact = of(|one| one.fidelity == Fidelity::Exact).map(|one| &one.plan);
        assert_eq!(answer.fastest_exact().map(|one| &one.plan), exact);
        let launchable = of(|one| one.launch.command.is_ok()).map(|one| &one.plan);
        assert_eq!(answer.fastest_launchable().map(|one| &one.plan), launchable);
        let tied = plans.iter().filter(|one| one.behind < 0.9).count();
        assert_eq!(answer.tied().count(), tied);
        let raw = of(|one| one.plan.compression.is_raw());
        let lossy = of(|one| one.plan.fidelity() == Fidelity::Lossy);
        let stale = of(|one| one.plan.fidelity() == Fidelity::Stale);
        let exact = of(|one| one.plan.fidelity() == Fidelity::Exact);
        let mut levers = 0;
        for finding in &answer.findings {
            match finding {
                Finding::Lever {
                    lever,
                    pays,
                    probability,
                    with,
                    without,
                } => {
                    levers += 1;
                    let (one, other) = match lever {
                        Lever::Compression => (lossy.expect("one"), raw.expect("one")),
                        Lever::Staleness => (stale.expect("one"), exact.expect("one")),
                    };
                    assert_eq!((&with.plan, &without.plan), (&one.plan, &other.plan));
                    let of = |one: &Candidate| (one.latency, one.uncertainty.clone());
                    let ((a, u), (b, v)) = (of(one), of(other));
                    assert_eq!(*probability, faster((a, &u), (b, &v)));
                    let expected = match *probability {
                        likely if likely >= 0.9 => Pays::Yes,
                        likely if likely <= 0.1 => Pays::No,
                        _ => Pays::Tie,
                    };
                    assert_eq!(*pays, expected, "{lever:?}");
                    let gain = b.as_secs_f64() / a.as_secs_f64();
                    near(with.gain_over(without), gain, "gain");
                }
                Finding::CriticalPath { class, share } => {
                    let path = &answer.choice.by_class;
                    let all: f64 = path.iter().map(|(_, time)| time.as_secs_f64()).sum();
                    assert_eq!(*class, path[0].0);
                    near(*share, path[0].1.as_secs_f64() / all, "share");
                }
                Finding::OneGpuIsFastest => assert!(first.latency >= answer.single.latency),
                _ => {}
            }
        }
        let compared = [raw.and(lossy), exact.and(stale)];
        assert_eq!(levers, compared.into_iter().flatten().count(), "{machine}");
        let lines = plans.iter().map(|one| &one.plan);
        let compressed = lines.clone().find(|plan| !plan.compression.is_raw());
        // A loop that saves more than half of a hundredth of a second is told of.
        let told = Gain::among(plans).is_some_and(|gain| gain.by_loop().as_secs_f64() > 0.005);
        let said = |finding: &Finding| matches!(finding, Finding::Gain(_));
        assert_eq!(answer.findings.iter().any(said), told, "{machine}");
        match (Gain::among(plans), compressed) {
            (Some(gain), Some(compressed)) => {
                assert_eq!(gain.with.plan, *compressed);
                let own =
                    |plan: &&Plan| plan.compression.is_raw() && plan.ring_loop == RingLoop::Engine;
                assert_eq!(Some(&gain.raw.plan), lines.clone().find(own));
                let seconds = |of: &search::Timed| of.latency.as_secs_f64();
                let sum = gain.by_loop().as_secs_f64() + gain.by_compression_s();
                let whole = seconds(&gain.raw) - seconds(&gain.with);
                assert!((sum - whole).abs() < 1e-9, "{sum} {whole}");
                assert!(gain.same_loop.latency <= gain.raw.latency);
            }
            (gain, _) => assert!(gain.is_none()),
        }
    }
}

/// Which sentence says that no plan serves.
#[test]
fn why_no_plan_serves_is_the_first_thing_in_the_way() {
    let of_model = |large: bool, machine: &str, filter: Filter| {
        let machine = hypothetical::machine(machine).expect("a machine");
        let asked = question(machine, |question| {
            question.filter = filter.clone();
            // It moves no weights.
            question.engine = Engine::PipeFusion;
            if large {
                question.model = model::find("FLUX.2-dev").expect("a known model");
                question.request = question.model.default;
            }
        });
        match search::plan(&asked) {
            Err(PlanningError::NoPlan { reason }) => reason,
            other => panic!("{:?}", other.map(|answer| answer.choice.plan)),
        }
    };
    let why = |machine, filter| of_model(false, machine, filter);
    let of = |strategy: &str| Filter {
        strategy: Some(strategy.to_owned()),
        ..Filter::default()
    };
    let roomy = "4xL20@pcie4";
    let illegal = why(roomy, of("distrifusion3"));
    assert!(
        matches!(illegal, NoPlan::Wanted { ref line, .. } if line == "distrifusion3"),
        "{illegal:?}"
    );
    let exact = Filter {
        exact_only: true,
        ..of("distrifusion4")
    };
    assert_eq!(why(roomy, exact), NoPlan::Filtered);
    let good = Filter {
        max_fid: Some(0.0),
        ..of("distrifusion4")
    };
    assert_eq!(why(roomy, good), NoPlan::Filtered);
    // 2 GPUs of 16 GB: nothing of FLUX.2 fits. The first is told with its bytes, the others are counted.
    let full = of_model(true, "2xT4@pcie4", Filter::default());
    let NoPlan::Rejected { first, more } = full else {
        panic!("{full:?}");
    };
    let first_is_told = matches!(&first.which, Which::Line(_));
    assert!(first_is_told && more > 1, "{first:?}");
    assert!(matches!(first.why, Unfit::Memory { .. }), "{first:?}");
    let alone = why("1xT4@pcie4", Filter::default());
    let NoPlan::Rejected {
        first: only,
        more: 0,
    } = alone
    else {
        panic!("{alone:?}");
    };
    let Unfit::Memory { needs, has } = only.why else {
        panic!("{only:?}");
    };
    assert!(
        needs > has && has.get() == 16_000_000_000,
        "{needs} of {has}"
    );
}

/// What K and V of a plan are cut into, and whether a rank reads its own part as it was.
#[test]
fn a_plan_cuts_keys_and_values_in_shards() {
    for (line, cut, own) in [
        ("none", 1, OwnShard::Exact),
        ("ring4", 4, OwnShard::Exact),
        ("ring4/1bit", 4, OwnShard::Exact),
        ("ulysses2+ring4/1bit", 8, OwnShard::Lossy),
        ("ulysses4/1bit", 4, OwnShard::Lossy),
        ("allgather-kv4/1bit", 4, OwnShard::Lossy),
        ("attention2d2x4", 8, OwnShard::Exact),
        ("pipefusion2(m8)", 8, OwnShard::Exact),
        ("pipefusion2(m8)+ulysses2", 8, OwnShard::Exact),
        ("distrifusion4", 4, OwnShard::Exact),
    ] {
        assert_eq!(shards(&plan(line)), cut, "{line}");
        assert_eq!(own_shard(&plan(line)), own, "{line}");
    }
}

#[test]
fn a_budget_is_a_name_a_sign_and_a_number_that_is_not_negative() {
    for (text, budget) in [
        ("psnr>=0", Some(Budget::Psnr(0.0))),
        ("psnr>=30db", Some(Budget::Psnr(30.0))),
        ("psnr<=30", None),
        ("rel-l2<=0", Some(Budget::RelativeL2(0.0))),
        ("rel-l2>=0.1", None),
        ("rel-l2<=-0.1", None),
        ("rel-l2<=inf", None),
        ("FID <= 7", Some(Budget::Fid(7.0))),
        ("fid>=7", None),
        ("lpips<=0.2", Some(Budget::Lpips(0.2))),
        ("lpips>=0.2", None),
    ] {
        assert_eq!(text.parse().ok(), budget, "{text}");
    }
}

/// The usual faults: each GPU slow, each link of a GPU and between switches, each GPU lost, all throttled; of one GPU,
/// what it can have alone.
#[test]
fn the_usual_faults_are_one_of_each_kind() {
    let cases = |name: &str| -> Vec<usize> {
        let machine = hypothetical::machine(name).expect("a machine");
        let kinds = usual(&machine);
        kinds.iter().map(|kind| kind.cases.len()).collect()
    };
    assert_eq!(cases("1xL20@pcie4"), [1, 1]);
    assert_eq!(cases("3xL20@25GB/s"), [3, 3, 3, 1]);
    let boxes = preset("16xl40-ethernet");
    let kinds = usual(&boxes);
    let of: Vec<usize> = kinds.iter().map(|kind| kind.cases.len()).collect();
    assert_eq!((of[0], of[2], of[3]), (16, 16, 1));
    let links: Vec<String> = kinds[1].cases.iter().map(ToString::to_string).collect();
    let distinct: std::collections::BTreeSet<&String> = links.iter().collect();
    // Shared links are called as the machine's file declares them.
    let declared = topologies::fault::link_names(&boxes);
    for link in links.iter().filter_map(|link| link.strip_prefix("link:")) {
        let (name, _) = link.rsplit_once('=').expect("a share");
        assert!(
            declared.iter().any(|one| one == name),
            "{name}: {declared:?}"
        );
    }
    assert!(
        links.iter().any(|link| link.starts_with("link:")),
        "{links:?}"
    );
    assert!(
        links.len() > 16 && distinct.len() == links.len(),
        "{links:?}"
    );
}

/// Published figures belong to one model, size, number of steps and warm-up, and to lossy or stale plans.
#[test]
fn published_quality_belongs_to_its_request() {
    use planner::search::QualitySource as Source;
    let flux = model::find("FLUX.1-dev").expect("a known model");
    let of = |line: &str, change: &dyn Fn(&mut Question)| {
        let mut asked = question(preset("4xl20-pcie"), |_| {});
        asked.request = flux.default;
        change(&mut asked);
        let found = search::candidate(&asked, &plan(line)).expect("it can run");
        let quality = found.quality;
        assert_eq!(
            quality.fid.is_some(),
            matches!(quality.source, Source::Published { .. })
        );
        assert_eq!(quality.fid.is_some(), quality.lpips.is_some());
        quality.source
    };
    let known = "ring4/1bit loop=fused warmup=1";
    let published = |source| matches!(source, Source::Published { .. });
    assert!(published(of(known, &|_| {})));
    assert!(published(of(
        "ring4+vae-p4/1bit loop=fused warmup=1",
        &|_| {}
    )));
    assert_eq!(of("ring4", &|_| {}), Source::Exact);
    assert_eq!(
        of(known, &|asked| asked.request.steps = 27),
        Source::NoneForRequest
    );
    assert_eq!(
        of("ring4/1bit loop=fused warmup=2", &|_| {}),
        Source::NoneForRequest
    );
    assert_eq!(
        of("ulysses2+ring2/1bit loop=fused warmup=1", &|_| {}),
        Source::NoneForLayout
    );
    let sd3 = of(known, &|asked| {
        asked.model = model::find("SD3-medium").expect("a known model");
        asked.request = asked.model.default;
        asked.request.guidance = Guidance::None;
    });
    assert_eq!(sd3, Source::NoneForModel);
}

/// Whose costs an answer rests on: the GPU's table of matrix products, and the kernel that computes attention.
#[test]
fn an_answer_says_whose_costs_it_rests_on() {
    use planner::search::{Provenance, provenance};
    for machine in ["4xl20-pcie", "8xh100-sxm"] {
        let asked = question(preset(machine), |_| {});
        let said = provenance(&asked, std::iter::empty()).expect("a question");
        let kernel = asked.attention_kernel().to_string();
        let attention = said.iter().any(|one| {
            matches!(one, Provenance::Attention(text) if text.starts_with(&format!("{kernel}: ")))
        });
        let gpu = &asked.machine.gpus[0].name;
        let products = said
            .iter()
            .any(|one| matches!(one, Provenance::Kernels { gpu: of, from: Some(_) } if of == gpu));
        let named = said.iter().any(
            |one| matches!(one, Provenance::Machine { name, .. } if *name == asked.machine.name),
        );
        assert!(attention && products && named, "{said:?}");
        let wrong = said.iter().any(|one| {
            matches!(
                one,
                Provenance::Faults(_) | Provenance::Model { .. } | Provenance::Profile(_)
            )
        });
        assert!(
            !wrong,
            "nothing is wrong, the model is built in, nothing was profiled: {said:?}"
        );
    }
}
