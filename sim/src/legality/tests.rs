//! One thing wrong at a time, over plans that are legal.

use super::*;
use crate::model::{Request, Resolution, find};

fn workload(name: &str) -> (&'static Model, Workload) {
    let model = find(name).unwrap();
    (model, model.workload(&model.default).unwrap())
}

fn reason(name: &str, line: &str) -> Option<Illegal> {
    let (model, work) = workload(name);
    let plan: Plan = line.parse().unwrap();
    check(model, &work, &plan, 16).err()
}

#[test]
fn published_layouts_are_legal() {
    for (name, lines) in [
        (
            "FLUX.1-dev",
            &[
                "ulysses8",
                "ring8",
                "ulysses2+ring4/1bit",
                "pipefusion8",
                "allgather-kv4/2bit",
            ][..],
        ),
        (
            "FLUX.2-dev",
            &["ulysses4+tp2", "ring4+tp2", "ulysses2+ring2+tp2", "tp8"],
        ),
        (
            "SD3-medium",
            &[
                "cfg2+ulysses4",
                "cfg2+ulysses2+pipefusion2",
                "cfg2+pipefusion4",
            ],
        ),
        (
            "PixArt-alpha",
            &["cfg2+distrifusion4", "tp8", "pipefusion8(m16)"],
        ),
        (
            "HunyuanDiT-v1.2",
            &["cfg2+pipefusion4", "cfg2+ulysses2+ring2"],
        ),
        (
            "CogVideoX-5b",
            &["cfg2+ulysses3", "ulysses3+ring2", "cfg2+ring3"],
        ),
        ("Wan2.1-T2V-1.3B", &["ulysses4", "ring8"]),
        ("SANA-1600M", &["ulysses2", "ring4", "cfg2+ring2"]),
        ("SDXL", &["cfg2", "cfg2+distrifusion8", "distrifusion16"]),
        ("Wan2.2-T2V-A14B", &["cfg2+ulysses2+attention2d2x2+vae-p8"]),
    ] {
        for line in lines {
            assert_eq!(reason(name, line), None, "{name} {line}");
        }
    }
}

#[test]
fn each_reason_says_what_to_do() {
    for (name, line, text) in [
        (
            "Z-Image-Turbo",
            "ulysses8",
            "ulysses 8 does not divide the 30 heads of Z-Image-Turbo: use 1, 2, 3, 5, 6",
        ),
        (
            "FLUX.2-dev",
            "tp5",
            "tensor degree 5 does not divide the 48 heads of FLUX.2-dev: use 1, 2, 3, 4",
        ),
        (
            "SD3.5-large",
            "ulysses2+tp2",
            "ulysses 2 does not divide the 19 heads of SD3.5-large on each of 2 tensor ranks: use 1, 19",
        ),
        ("SANA-1600M", "ulysses5", "use 1, 2"),
        ("SANA-1600M", "allgather-kv2", "linear attention"),
        (
            "FLUX.1-dev",
            "cfg2",
            "without classifier-free guidance: use cfg 1",
        ),
        ("SD3-medium", "cfg4", "use 1 or 2"),
        (
            "FLUX.1-dev",
            "dp2",
            "data degree 2 does not divide a batch of 1",
        ),
        (
            "FLUX.1-dev",
            "ring3",
            "a sequence degree of 3 does not divide 4096 image tokens: use 1, 2, 4, 8",
        ),
        (
            "CogVideoX-5b",
            "ulysses8",
            "does not divide 30 token rows of a frame: use 1, 2, 3, 5, 6",
        ),
        (
            "FLUX.1-dev",
            "distrifusion4+ulysses2 warmup=4",
            "leave out ulysses",
        ),
        (
            "SD3-medium",
            "distrifusion4+tp2 warmup=4",
            "leave out tensor parallelism",
        ),
        ("CogVideoX-5b", "distrifusion6 warmup=4", "power of two"),
        ("FLUX.1-dev", "pipefusion2(m65)", "use at most 64"),
        ("FLUX.1-dev", "pipefusion2(m33)+ring2", "use at most 32"),
        (
            "FLUX.1-dev",
            "pipefusion2+allgather-kv2",
            "not with allgather-kv",
        ),
        (
            "SDXL",
            "ulysses2",
            "SDXL is a U-Net and ulysses splits a transformer",
        ),
        ("SDXL", "ring2", "SDXL is a U-Net and ring splits"),
        ("SDXL", "tp2", "tensor parallelism"),
        (
            "FLUX.1-dev",
            "tp2/1bit",
            "tp2 sends no K and V messages that 1bit could compress",
        ),
        ("SD3-medium", "cfg2/2bit", "sends no K and V"),
        ("FLUX.1-dev", "pipefusion2+ring2/1bit", "sends no K and V"),
        ("FLUX.1-dev", "distrifusion2/1bit", "sends no K and V"),
        ("FLUX.1-dev", "ring2+vae-p4", "use at most 2"),
        (
            "FLUX.1-dev",
            "ring2/1bit warmup=29",
            "29 warm-up steps do not fit in 28 steps",
        ),
        ("FLUX.1-dev", "attention2d1x1", "splits nothing"),
        (
            "FLUX.1-dev",
            "ring32",
            "the degrees multiply to 32 ranks and the machine has 16 GPUs",
        ),
    ] {
        let reason = reason(name, line).unwrap_or_else(|| panic!("{name} {line} passed"));
        assert!(reason.to_string().contains(text), "{name} {line}: {reason}");
    }
}

#[test]
fn stages_are_at_most_the_blocks() {
    let (model, work) = workload("SD3-medium");
    let plan: Plan = "pipefusion25".parse().unwrap();
    let expected = Illegal::Stages {
        stages: 25,
        blocks: 24,
    };
    assert_eq!(all_reasons(model, &work, &plan, 25), [expected]);
}

#[test]
fn a_u_net_is_cut_by_rows_of_its_coarsest_level() {
    let (model, work) = workload("SDXL");
    let plan: Plan = "distrifusion64 warmup=4".parse().unwrap();
    let reason = check(model, &work, &plan, 64).unwrap_err().to_string();
    let expected = "does not divide 32 latent rows of the coarsest level: use 1, 2, 4, 8, 16, 32";
    assert!(reason.ends_with(expected), "{reason}");
}

#[test]
fn a_placement_is_one_gpu_of_the_machine_per_rank() {
    use topologies::DeviceId;
    let (model, work) = workload("FLUX.1-dev");
    let on = |gpus: &[usize]| {
        let mut plan: Plan = "ring2".parse().unwrap();
        plan.placement = gpus.iter().copied().map(DeviceId::new).collect();
        all_reasons(model, &work, &plan, 4)
    };
    let gpu = DeviceId::new;
    assert!(on(&[3, 1]).is_empty());
    assert_eq!(on(&[1, 1]), [Illegal::GpuTwice { gpu: gpu(1) }]);
    assert_eq!(
        on(&[0, 4]),
        [Illegal::NoSuchGpu {
            gpu: gpu(4),
            gpus: 4
        }]
    );
    assert_eq!(
        on(&[0]),
        [Illegal::PlacementLength {
            ranks: 2,
            placed: 1
        }]
    );
}

#[test]
fn a_zero_degree_stands_alone() {
    let (model, work) = workload("FLUX.1-dev");
    let mut plan: Plan = "ring2".parse().unwrap();
    plan.ulysses = 0;
    plan.exchange = Exchange::Attention2d {
        rows: 2,
        columns: 0,
    };
    let what = |what| Illegal::ZeroDegree { what };
    assert_eq!(
        all_reasons(model, &work, &plan, 4),
        [what("exchange column"), what("ulysses")]
    );
}

#[test]
fn every_reason_is_listed() {
    let (model, work) = workload("FLUX.1-dev");
    let plan: Plan = "cfg2+ulysses5+tp2".parse().unwrap();
    // 20 ranks on 16 GPUs; no guidance; 5 divides neither 12 heads nor 4096 tokens.
    assert_eq!(all_reasons(model, &work, &plan, 16).len(), 4);
}

#[test]
fn ulysses_degrees_are_those_of_the_published_table() {
    // Heads alone: the table of published legal degrees up to 8.
    for (name, tensor, degrees) in [
        ("FLUX.1-dev", 1, &[1, 2, 4, 8][..]),
        ("FLUX.2-dev", 4, &[1, 2, 4]),
        ("SD3.5-large", 1, &[1, 2]),
        ("CogVideoX-5b", 1, &[1, 2, 3, 6]),
        ("Wan2.1-T2V-14B", 1, &[1, 2, 4, 5, 8]),
        ("SANA-1600M", 1, &[1, 2]),
    ] {
        let (model, work) = workload(name);
        let legal = |degree: &u32| {
            let plan: Plan = format!("ulysses{degree}+tp{tensor}").parse().unwrap();
            check(model, &work, &plan, 1024).is_ok()
        };
        let legal: Vec<u32> = (1..=8).filter(legal).collect();
        assert_eq!(legal, degrees, "{name}");
    }
}

#[test]
fn a_batch_can_be_split() {
    let model = find("SD3-medium").unwrap();
    let request = Request {
        batch: 6,
        resolution: Resolution::square(512),
        ..model.default
    };
    let work = model.workload(&request).unwrap();
    let legal = |line: &str| check(model, &work, &line.parse().unwrap(), 16).is_ok();
    assert!(legal("dp3+cfg2") && legal("dp6") && !legal("dp4"));
}

/// Of 2016 pixels, 126 x 126 tokens: eight ranks share 15,880, four pad nothing. 30 heads over four ranks are eight each.
#[test]
fn tokens_and_heads_are_padded_where_the_engine_does() {
    let padded = |name: &str, side: u32, line: &str, pads: Pads| {
        let model = find(name).unwrap();
        let request = Request {
            resolution: Resolution::square(side),
            ..model.default
        };
        let work = model.workload(&request).unwrap();
        check_padded(model, &work, &line.parse().unwrap(), 16, pads).ok()
    };
    let [nothing, tokens, heads] = [(false, false), (true, false), (false, true)]
        .map(|(tokens, heads)| Pads { tokens, heads });
    let found = |tokens, heads| Some(Padding { tokens, heads });
    for line in ["ulysses8", "ring8", "ulysses2+ring4"] {
        assert_eq!(padded("FLUX.1-dev", 2016, line, nothing), None);
        assert_eq!(padded("FLUX.1-dev", 2016, line, heads), None);
        assert_eq!(padded("FLUX.1-dev", 2016, line, tokens), found(4, 0));
        assert_eq!(padded("FLUX.1-dev", 2048, line, nothing), found(0, 0));
    }
    for line in [
        "distrifusion8 warmup=1",
        "allgather-kv8",
        "ulysses8+pipefusion2",
    ] {
        assert_eq!(padded("FLUX.1-dev", 2016, line, tokens), None, "{line}");
    }
    assert_eq!(padded("Z-Image", 1024, "ulysses4", tokens), None);
    assert_eq!(padded("Z-Image", 1024, "ulysses4", heads), found(0, 2));
    assert_eq!(
        padded("Z-Image", 1024, "ulysses4+tp4", heads),
        None,
        "tensor ranks are not padded"
    );
    assert_eq!(
        padded("CogVideoX-5b", 480, "ulysses4", tokens),
        None,
        "it is cut by rows"
    );
}
