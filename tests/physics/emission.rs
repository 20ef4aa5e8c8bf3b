//! Launch commands, read back: what an engine is told is the plan, degree by degree, and the request.
//!
//! Every mix of degrees on up to eight GPUs is offered to every engine for every model; of those that it takes, the
//! command's flags must give the plan back. Degrees are unequal in most, so that no two flags can be exchanged.

use std::collections::{BTreeMap, BTreeSet};

use planner::launch::{Engine, Job, Launch};
use sim::model::{self, Guidance, Model, Request, Resolution};
use sim::plan::{Exchange, Pipeline, Plan};
use topologies::DeviceId;
use topologies::host::Compilation;

/// What a command says of a plan; 1 where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    data: u32,
    cfg: u32,
    stages: u32,
    patches: u32,
    warmup: u32,
    ulysses: u32,
    exchange: u32,
    tensor: u32,
    /// Processes that are started; none where the engine counts GPUs by the degrees.
    processes: Option<u32>,
}

/// The numbers that follow a flag, as `--flag 4`, `flag=4` or `flag=4,`.
fn number(command: &str, flag: &str) -> Option<u32> {
    let mut found = command.match_indices(flag).filter_map(|(at, _)| {
        let before = command[..at].chars().next_back();
        let rest = command[at + flag.len()..].strip_prefix([' ', '='])?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let whole = before.is_none_or(|before| !before.is_alphanumeric() && before != '_');
        digits.parse().ok().filter(|_| whole)
    });
    let first = found.next();
    assert_eq!(found.next(), None, "{flag} stands twice in {command}");
    first
}

/// The degrees of a command, by an engine's names for them.
fn told(engine: Engine, command: &str) -> Told {
    let degree = |flag: &str| number(command, flag).unwrap_or(1);
    let has = |word: &str| command.split_whitespace().any(|found| found == word);
    let boxes = number(command, "--nnodes").unwrap_or(1);
    let per_box = number(command, "--nproc_per_node");
    let nothing = Told {
        data: 1,
        cfg: 1,
        stages: 1,
        patches: 1,
        warmup: 0,
        ulysses: 1,
        exchange: 1,
        tensor: 1,
        processes: per_box.map(|per_box| per_box * boxes),
    };
    match engine {
        Engine::Xdit => Told {
            data: degree("--data_parallel_degree"),
            cfg: 1 + u32::from(has("--use_cfg_parallel")),
            stages: degree("--pipefusion_parallel_degree"),
            patches: degree("--num_pipeline_patch"),
            warmup: number(command, "--warmup_steps").unwrap_or(0),
            ulysses: degree("--ulysses_degree"),
            exchange: degree("--ring_degree"),
            ..nothing
        },
        Engine::Sglang => Told {
            cfg: 1 + u32::from(command.contains("--enable-cfg-parallel true")),
            ulysses: degree("--ulysses-degree"),
            exchange: degree("--ring-degree") * degree("--kv-gather-degree"),
            tensor: degree("--tp-size"),
            processes: number(command, "--num-gpus"),
            ..nothing
        },
        Engine::Diffusers => Told {
            ulysses: degree("ulysses_degree"),
            exchange: degree("ring_degree"),
            ..nothing
        },
        Engine::VllmOmni => Told {
            cfg: degree("--cfg-parallel-size"),
            ulysses: degree("--usp"),
            exchange: degree("--ring") * degree("--allgather-degree"),
            tensor: degree("--tensor-parallel-size"),
            processes: number(command, "--num-gpus"),
            ..nothing
        },
        Engine::PipeFusion | Engine::Own(_) => nothing,
        Engine::CacheDit => Told {
            ulysses: degree("ulysses_size"),
            exchange: degree("ring_size"),
            tensor: degree("tp_size"),
            ..nothing
        },
    }
}

/// What a plan's command must say.
fn meant(plan: &Plan, processes: Option<u32>) -> Told {
    let staged = plan.pipeline.stages > 1;
    Told {
        data: plan.data,
        cfg: plan.cfg,
        stages: plan.pipeline.stages,
        patches: plan.pipeline.patches,
        warmup: if staged { plan.warmup } else { 0 },
        ulysses: plan.ulysses,
        exchange: plan.exchange.degree(),
        tensor: plan.tensor,
        processes: processes.map(|_| plan.ranks()),
    }
}

/// Every mix of degrees on up to eight GPUs.
fn plans() -> Vec<Plan> {
    let exchanges = (2..=8).flat_map(|n| [Exchange::Ring(n), Exchange::Gather(n)]);
    let exchanges: Vec<Exchange> = [Exchange::NONE].into_iter().chain(exchanges).collect();
    let mut all = Vec::new();
    for (data, cfg, stages) in (1..=4).flat_map(|data| {
        (1..=2).flat_map(move |cfg| (1..=8).map(move |stages| (data, cfg, stages)))
    }) {
        for (ulysses, tensor) in (1..=8).flat_map(|u| (1..=8).map(move |t| (u, t))) {
            for &exchange in &exchanges {
                let patches = if stages == 1 { 1 } else { 3 * stages };
                let mut plan = Plan {
                    data,
                    cfg,
                    pipeline: Pipeline { stages, patches },
                    exchange,
                    ulysses,
                    tensor,
                    ..Plan::single(DeviceId::new(0))
                };
                if plan.ranks() > 8 {
                    continue;
                }
                plan.warmup = 2 * u32::from(plan.warms_up());
                let ranks = 0..plan.ranks() as usize;
                all.push(plan.placed(ranks.map(DeviceId::new).collect()));
            }
        }
    }
    all
}

/// A request in which no two numbers are equal.
fn request(model: &Model) -> Request {
    Request {
        resolution: Resolution {
            width: 1280,
            height: 704,
        },
        frames: if model.default.frames > 1 { 17 } else { 1 },
        steps: 23,
        batch: 2,
        ..model.default
    }
}

fn command(engine: Engine, plan: &Plan, model: &Model, request: &Request) -> Option<String> {
    let job = Job {
        plan,
        model,
        request,
        compilation: Compilation::Eager,
        gpus_per_box: 8,
    };
    let command = Launch::of(engine, &job).command.ok()?;
    Some(command.replace("\\\n  ", " "))
}

const ENGINES: [Engine; 5] = [
    Engine::Xdit,
    Engine::Sglang,
    Engine::Diffusers,
    Engine::CacheDit,
    Engine::VllmOmni,
];

#[test]
fn every_command_says_the_degrees_of_its_plan() {
    let plans = plans();
    let mut unequal: BTreeMap<Engine, BTreeSet<(u32, u32)>> = BTreeMap::new();
    for engine in ENGINES {
        for model in model::known() {
            let request = request(model);
            for plan in &plans {
                let Some(command) = command(engine, plan, model, &request) else {
                    continue;
                };
                let told = told(engine, &command);
                let expected = meant(plan, told.processes);
                assert_eq!(told, expected, "{engine:?}, {plan}: {command}");
                if plan.ulysses > 1 && plan.exchange.degree() > 1 {
                    let degrees = (plan.ulysses, plan.exchange.degree());
                    unequal.entry(engine).or_default().insert(degrees);
                }
            }
        }
    }
    for engine in ENGINES {
        let pairs = &unequal[&engine];
        for pair in [(2, 4), (4, 2), (2, 3), (3, 2)] {
            assert!(pairs.contains(&pair), "{engine:?} takes {pairs:?}");
        }
    }
}

/// A gather is a ring to diffusers, which passes none; cache-dit passes its ring and gathers none.
#[test]
fn the_kind_of_exchange_is_told() {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let script = |engine, line: &str| {
        let plan = line.parse().expect("a plan");
        command(engine, &plan, model, &model.default)
    };
    for inner in ["", "ulysses2+"] {
        let (ring, gather) = (format!("{inner}ring4"), format!("{inner}allgather-kv4"));
        let passed = script(Engine::CacheDit, &ring).expect("a command");
        assert!(passed.contains("ring_rotate_method=\"p2p\""), "{passed}");
        assert_eq!(script(Engine::CacheDit, &gather), None);
        assert_eq!(script(Engine::Diffusers, &ring), None);
        assert!(script(Engine::Diffusers, &gather).is_some());
    }
}

#[test]
fn every_command_says_the_request() {
    for engine in ENGINES {
        let mut taken = 0;
        for model in model::known() {
            let request = request(model);
            let one = Plan::single(DeviceId::new(0));
            let Some(command) = command(engine, &one, model, &request) else {
                continue;
            };
            taken += 1;
            let dashed = engine == Engine::Sglang;
            let flag = |name: &str| {
                let name = if dashed {
                    name.replace('_', "-")
                } else {
                    name.to_owned()
                };
                let typed = format!("--{name}");
                number(&command, &typed).or_else(|| number(&command, &name))
            };
            let frames = (request.frames > 1).then_some(request.frames);
            if engine == Engine::VllmOmni {
                assert_eq!(command.matches("1280x704").count(), 1, "{command}");
            } else {
                assert_eq!(flag("width"), Some(1280), "{command}");
                assert_eq!(flag("height"), Some(704), "{command}");
            }
            assert_eq!(flag("num_frames"), frames, "{command}");
            let json = command.replace("\"num_inference_steps\":", "num_inference_steps=");
            let steps =
                flag("num_inference_steps").or_else(|| number(&json, "num_inference_steps"));
            assert_eq!(steps, Some(23), "{command}");
            let off = model.default.guidance != Guidance::None;
            let silent = Request {
                guidance: Guidance::None,
                ..request
            };
            let unguided = self::command(engine, &one, model, &silent).expect("as before");
            let says = |command: &str| {
                command.contains("guidance_scale") || command.contains("guidance-scale")
            };
            assert_eq!(
                (says(&command), says(&unguided)),
                (false, off),
                "{unguided}"
            );
        }
        assert!(taken > 5, "{engine:?} takes {taken} models");
    }
}

/// Ranks on other GPUs than the first ones, in order, are said by their numbers; boxes by how many there are.
#[test]
fn placements_and_boxes_are_told() {
    let model = model::find("Qwen-Image").expect("a known model");
    let plan: Plan = "ulysses4+ring2".parse().expect("a plan");
    let order = [7, 1, 3, 5, 0, 2, 4, 6];
    let permuted = plan.clone().placed(order.map(DeviceId::new).to_vec());
    for engine in ENGINES {
        let line = if engine == Engine::Diffusers {
            "ulysses2+allgather-kv4"
        } else {
            "ulysses2+ring4"
        };
        let plan: Plan = line.parse().expect("a plan");
        let plan = plan.placed(permuted.placement.clone());
        let command = command(engine, &plan, model, &model.default).expect("a command");
        let said = command.contains("CUDA_VISIBLE_DEVICES=7,1,3,5,0,2,4,6");
        assert!(said, "{engine:?}: {command}");
    }
    let job = Job {
        plan: &plan,
        model,
        request: &model.default,
        compilation: Compilation::Eager,
        gpus_per_box: 4,
    };
    let command = Launch::of(Engine::Xdit, &job).command.expect("a command");
    let command = command.replace("\\\n  ", " ");
    assert_eq!(number(&command, "--nnodes"), Some(2), "{command}");
    assert_eq!(number(&command, "--nproc_per_node"), Some(4), "{command}");
    let told = told(Engine::Xdit, &command);
    assert_eq!(
        (told.ulysses, told.exchange, told.processes),
        (4, 2, Some(8)),
        "{command}"
    );
}
