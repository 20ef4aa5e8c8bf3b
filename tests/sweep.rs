//! `sweep`: what-if over bandwidth, GPUs and resolution.

mod files;

use std::fs;

use serde_json::Value;

use super::{json, printed, refused, words};

/// The field of every row, in order.
fn column(report: &Value, field: &str) -> Vec<Value> {
    let rows = report["rows"].as_array().expect("rows");
    rows.iter().map(|row| row[field].clone()).collect()
}

#[test]
fn the_landmarks_of_bandwidth_are_where_they_were_published() {
    // CompactFusion: pipelines on slow Ethernet, compression on PCIe-like rates, nothing to gain beyond.
    let report = json(&words(
        "sweep --fastest --machine 4xL20@25GB/s --vary link.bandwidth=0.5GB/s,5GB/s,900GB/s --json",
    ));
    let plans: Vec<String> = column(&report, "plan")
        .iter()
        .map(|plan| plan.as_str().expect("a plan").to_owned())
        .collect();
    assert!(plans[0].starts_with("pipefusion4"), "{plans:?}");
    assert!(plans[1].contains('/'), "{plans:?}");
    assert!(!plans[2].contains('/'), "{plans:?}");
    let times: Vec<f64> = column(&report, "latency_s")
        .iter()
        .map(|time| time.as_f64().expect("a time"))
        .collect();
    assert!(times[0] > times[1] && times[1] > times[2], "{times:?}");
}

#[test]
fn more_bandwidth_never_slows_a_plan_even_where_rates_were_measured() {
    for (machine, field) in [
        ("4xl20-pcie", "pcie.bandwidth"),
        ("8xh100-sxm", "nvlink.bandwidth"),
    ] {
        let vary = format!("{field}=8GB/s..800GB/s:5:log");
        let report = json(&[
            "sweep",
            "--machine",
            machine,
            "--vary",
            &vary,
            "--plan",
            "ulysses4",
            "--json",
        ]);
        let times: Vec<f64> = column(&report, "latency_s")
            .iter()
            .map(|time| time.as_f64().expect("a time"))
            .collect();
        assert!(
            times.windows(2).all(|pair| pair[0] > pair[1]),
            "{machine}: {times:?}"
        );
    }
}

#[test]
fn a_sweep_finds_what_plan_finds() {
    let found = ["", "--fastest"].map(|how| {
        let plan = format!("plan --machine 4xl20-pcie --gpus 2 --json {how}");
        let sweep = format!("sweep --machine 4xl20-pcie --vary gpus=2,4 --json {how}");
        let (planned, swept) = (json(&words(&plan)), json(&words(&sweep)));
        let row = &swept["rows"][0];
        assert_eq!(row["plan"], planned["choice"]["plan"]);
        let (swept, planned) = (&row["latency_s"], &planned["choice"]["latency_s"]);
        let difference = swept.as_f64().expect("a time") - planned.as_f64().expect("a time");
        assert!(difference.abs() < 1e-6, "{swept} {planned}");
        row["plan"].clone()
    });
    assert_ne!(found[0], found[1], "the fastest is tied with another");
}

#[test]
fn points_without_a_plan_say_why() {
    let report = json(&words(
        "sweep --machine 4xl20-pcie --vary size=1024x1024,1000x1000 --json",
    ));
    assert!(report["rows"][0]["reason"].is_null());
    let reason = report["rows"][1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("1000"), "{reason}");
}

#[test]
fn pictures_are_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = ["sweep", "--machine", "4xL20@25GB/s"];
    for (name, more) in [
        (
            "curves.svg",
            words("--vary link.bandwidth=1GB/s,100GB/s --plan ring4 --plan ring4/1bit"),
        ),
        (
            "from-zero.svg",
            vec!["--vary", "link.latency=0us..10us:3", "--plan", "ring4"],
        ),
        (
            "phases.png",
            words("--vary gpus=2,4 --vary link.bandwidth=1GB/s,100GB/s"),
        ),
        ("tornado.svg", vec!["--tornado", "0.1"]),
        (
            "frontier.svg",
            words(
                "--vary gpus=1,2,4 --vary link.bandwidth=1GB/s,100GB/s --show frontier --price \
                L20=0.8/h",
            ),
        ),
        (
            "speed-up.png",
            words("--vary link.bandwidth=1GB/s,100GB/s --vary gpus=1,2,4 --show speed-up"),
        ),
    ] {
        let path = folder.path().join(name);
        let path = path.to_str().expect("a name");
        printed(&[&base[..], &more, &["--plot", path]].concat());
        assert!(
            fs::metadata(path).expect("a picture").len() > 2000,
            "{name}"
        );
    }
}

#[test]
fn mistakes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other.csv");
    fs::write(&other, "a,b\n1,2\n").expect("a file");
    let other = other.to_str().expect("a name");
    for (arguments, part) in [
        (vec!["--vary", "gpus=2", "--vary", "gpus=4"], "twice"),
        (vec!["--vary", "gpus=2", "--out", other], "--resume"),
        (
            vec!["--vary", "gpus=2", "--out", other, "--resume"],
            "another sweep",
        ),
        (vec!["--tornado", "2"], "between 0 and 1"),
        (
            vec!["--vary", "gpus=1,2", "--plot", "picture.gif"],
            ".svg or .png",
        ),
        (
            vec!["--vary", "gpus=1,2", "--plan", "ring64"],
            "needs 64 GPUs",
        ),
        (vec!["--vary", "gpu.price=2.5"], "write 2.5/h"),
        (
            vec!["--vary", "gpus=1,2", "--price", "A100-80-SXM=2/h"],
            "give the price of L20",
        ),
        (vec!["--vary", "gpus=1,2", "--price", "L20=2"], "L20"),
        (
            vec![
                "--vary", "gpus=1,2", "--show", "frontier", "--plot", "no.svg",
            ],
            "--price L20=DOLLARS/h",
        ),
        (
            words("--vary steps=1,2 --plan none --show speed-up"),
            "--vary gpus=1,2,4,8",
        ),
    ] {
        let sentence = refused(&[&["sweep", "--machine", "4xL20@25GB/s"][..], &arguments].concat());
        assert!(sentence.contains(part), "{arguments:?}: {sentence}");
    }
}

#[test]
fn an_image_costs_its_gpus_for_its_time() {
    let base = words("sweep --machine 4xL20@25GB/s --plan ring4 --plan none --batch 2");
    let vary = ["--vary", "gpu.price=1/h,2.5/h", "--json"];
    let report = json(&[&base[..], &vary].concat());
    let number = |row: &Value, field: &str| row[field].as_f64().expect("a number");
    for (index, row) in report["rows"].as_array().expect("rows").iter().enumerate() {
        let price = [1.0, 2.5][index / 2];
        let cost = number(row, "ranks") * price * number(row, "latency_s") / 3600.0 / 2.0;
        assert!(
            (number(row, "cost_each_usd") / cost - 1.0).abs() < 1e-5,
            "{row}"
        );
    }
    let own = json(
        &[
            &base[..],
            &["--vary", "steps=28", "--price", "L20=2.5/h", "--json"],
        ]
        .concat(),
    );
    assert_eq!(
        own["rows"][0]["cost_each_usd"],
        report["rows"][2]["cost_each_usd"]
    );
    assert_eq!(own["question"]["price_source"], "--price");
}

#[test]
fn a_frontier_has_what_nothing_beats() {
    let question = words("sweep --machine 4xL20@5GB/s --vary gpus=1,2,4 --show frontier");
    let plans = words("--plan none --plan ring2 --plan ring4 --plan ring4/1bit --plan ulysses4");
    let page = printed(&[&question[..], &plans].concat());
    // One GPU is the cheapest; ring4/1bit the fastest; of the exact plans on four GPUs the slower is not there.
    assert!(
        page.contains("none") && page.contains("ring4/1bit"),
        "{page}"
    );
    assert_ne!(
        page.contains(" ring4 "),
        page.contains(" ulysses4 "),
        "{page}"
    );
}

#[test]
fn shared_figures_change_no_row() {
    // Calibrated hosts, where most is shared: each row is what its question alone finds.
    for (machine, field, plan) in [
        ("4xl20-pcie", "pcie.bandwidth", "ring4/1bit"),
        ("8xh100-sxm", "gpu.compute", "ulysses8"),
    ] {
        let values = if field == "gpu.compute" {
            "1,2"
        } else {
            "8GB/s,64GB/s"
        };
        let vary = format!("{field}={values}");
        let question = ["sweep", "--machine", machine, "--plan", plan, "--json"];
        let all = json(&[&question[..], &["--vary", "steps=10,28", "--vary", &vary]].concat());
        for row in all["rows"].as_array().expect("rows") {
            let (steps, value) = (row["steps"].to_string(), row[field].to_string());
            let vary = format!("{field}={}", value.trim_matches('"'));
            let alone = json(&[&question[..], &["--steps", &steps, "--vary", &vary]].concat());
            for figure in ["latency_s", "latency_lo_s", "speed_up", "peak_memory_gb"] {
                assert_eq!(
                    row[figure], alone["rows"][0][figure],
                    "{machine} {steps} {value} {figure}"
                );
            }
        }
    }
}

#[test]
fn titles_do_not_name_what_varies() {
    let vary = words("--vary size=1024x1024,2048x2048 --vary link.bandwidth=1GB/s,100GB/s");
    let page = printed(
        &[
            &["sweep", "--machine", "4xL20@25GB/s", "--plan", "ring4"][..],
            &vary,
        ]
        .concat(),
    );
    let title = page.lines().next().expect("a title");
    assert!(
        !title.contains("1024") && !title.contains("GB/s"),
        "{title}"
    );
    assert!(title.contains("28 steps on 4 x L20"), "{title}");
}

#[test]
fn tables_fit_and_no_cell_is_folded_to_letters() {
    let rates = "link.bandwidth=1GB/s,30GB/s";
    for vary in [
        vec!["--vary", "gpus=2,4,8,16", "--vary", rates],
        words("--vary gpu.memory-bandwidth=0.000001,0.5 --plan ring4"),
        vec!["--vary", "gpu.price=1000000000/h", "--plan", "ring4"],
    ] {
        let page = printed(&[&["sweep", "--machine", "16xL20@25GB/s"][..], &vary].concat());
        for line in page.lines() {
            assert!(line.len() <= 100 && line.trim().len() != 1, "{page}");
        }
    }
}
