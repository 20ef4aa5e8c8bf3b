//! `models`, `machines`, `gpus`.

use crate::{json, printed};

#[test]
fn models_are_listed_with_their_shapes() {
    let page = printed(&["models"]);
    assert!(
        page.contains("FLUX.1-dev") && page.contains("Wan2.1-T2V-14B"),
        "{page}"
    );
    let models = json(&["models", "--json"]);
    let models = models.as_array().unwrap();
    let flux = models
        .iter()
        .find(|model| model["name"] == "FLUX.1-dev")
        .unwrap();
    assert_eq!(flux["heads"], 24);
    assert_eq!(flux["image_tokens"], 4096);
    assert!(models.iter().all(|model| model["source"].is_string()));
}

#[test]
fn machines_name_the_host_they_were_measured_on() {
    let machines = json(&["machines", "--json"]);
    let machines = machines.as_array().unwrap();
    assert_eq!(machines[0]["name"], "4xl20-pcie");
    assert_eq!(machines[0]["host"], "compactfusion-4xl20");
    assert!(printed(&["machines"]).contains("gb200-nvl72"));
}

#[test]
fn gpus_carry_their_sources() {
    let gpus = json(&["gpus", "--json"]);
    let gpus = gpus.as_array().unwrap();
    assert!(
        gpus.iter()
            .all(|gpu| !gpu["source"].as_str().unwrap().is_empty())
    );
    let l20 = gpus.iter().find(|gpu| gpu["name"] == "L20").unwrap();
    assert_eq!(l20["memory_bytes"], 48_000_000_000_u64);
    assert!(printed(&["gpus"]).contains("119.5 TFLOP/s"));
}

#[test]
fn no_page_is_wider_than_a_hundred_columns() {
    for command in ["models", "machines", "gpus"] {
        let page = printed(&[command]);
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{command}: {widest}");
    }
}
