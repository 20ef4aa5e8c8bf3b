use std::collections::BTreeMap;

use traces::trace::{Confidence, Sensitivity, TensorWeight};

use super::*;

/// One layer, two methods: errors of 1-bit keep their direction, those of int4 do not.
///
/// G of 1-bit is 1 in every place (P_p all equal), of int4 the identity; across them 0.
fn model() -> QualityModel {
    let mut errors = Vec::new();
    let names = ["1bit", "int4"];
    for tensor in Tensor::ALL {
        for (a, first) in names.iter().enumerate() {
            for (b, second) in names.iter().enumerate() {
                for p in Phase::ALL {
                    for q in Phase::ALL {
                        let value = match (a, b) {
                            (0, 0) => 1.0,
                            (1, 1) if p == q => 1.0,
                            _ => 0.0,
                        };
                        errors.push(ErrorRow {
                            kind: ErrorKind::Gram,
                            ranks: 4,
                            layer: 0,
                            tensor,
                            phase: Some(p),
                            compressor: (*first).to_owned(),
                            phase2: Some(q),
                            compressor2: Some((*second).to_owned()),
                            value,
                        });
                    }
                }
            }
        }
    }
    let s = |family: &str, s| Sensitivity {
        layer: 0,
        family: family.to_owned(),
        s,
    };
    let file = QualityFile {
        version: 1,
        ranks: 4,
        steps: 28,
        samples: 16,
        sensitivities: vec![s("1bit", 1.0), s("int", 8.0)],
        tensor_weight: TensorWeight { k: 3.0, v: 1.0 },
        phase_weight: PhaseWeight::default(),
        lossy_own_shard: None,
        gain: BTreeMap::from([(2, 0.5), (4, 1.0), (8, 2.0)]),
        confidence: Some(Confidence {
            runs: 16,
            mean_ln: 0.0,
            sd_ln: 0.1,
            prompts: "C".to_owned(),
        }),
        sigma_ln_prompt: None,
        psnr_at_unit_db: None,
        source: "a test".to_owned(),
    };
    QualityModel::new(file, &errors, 1).unwrap()
}

const ONE: Option<Method> = Some(Method::Compressed(Compressor::OneBit));
const INT: Option<Method> = Some(Method::Compressed(Compressor::Int4));

fn energy(k: Entry, v: Entry) -> f64 {
    model().energy(0, 4, OwnShard::Exact, [k, v]).unwrap()
}

#[test]
fn persistent_errors_add_before_they_are_squared() {
    // 1-bit in all phases: s = 1, (1 + 1 + 1)^2 = 9; int4: s = 8, three fresh phases, 24.
    assert_eq!(energy([None; 3], [ONE; 3]), 9.0);
    assert!((energy([None; 3], [INT; 3]) - 24.0).abs() < 1e-9);
    // K weighs three times V; raw adds nothing.
    assert_eq!(energy([ONE; 3], [None; 3]), 27.0);
    assert_eq!(energy([None; 3], [None; 3]), 0.0);
    // Two phases of 1-bit: (1 + 1)^2 = 4. One of each method: 1 + 8, no product between them.
    assert_eq!(energy([None; 3], [ONE, ONE, None]), 4.0);
    assert!((energy([None; 3], [ONE, INT, None]) - 9.0).abs() < 1e-9);
}

#[test]
fn ranks_scale_the_energy_by_their_gain() {
    let model = model();
    assert_eq!(model.gain(8), Ok(Gain::Measured(2.0)));
    // Half-way between 2 and 4 by logarithm: 2^1.5 is no number of ranks, 3 is at log2(1.5) = .585.
    let Ok(Gain::Interpolated(factor)) = model.gain(3) else {
        panic!("3 lies between 2 and 4")
    };
    assert!((factor - 0.5 * 2.0_f64.powf(1.5_f64.log2())).abs() < 1e-12);
    assert!(matches!(
        model.gain(16),
        Err(QualityError::Ranks { ranks: 16, .. })
    ));
}

#[test]
fn an_own_shard_that_is_lossy_adds_its_part() {
    let model = model();
    let lossy = model
        .energy(0, 4, OwnShard::Lossy, [[None; 3], [ONE; 3]])
        .unwrap();
    assert_eq!(lossy, 9.0 * 4.0 / 3.0);
}

#[test]
fn a_confidence_factor_is_students() {
    // t(.95, 15) = 1.7531; exp(1.7531 x 0.1 x sqrt(1 + 1/16)) = 1.198.
    assert!((model().factor(0.95).unwrap() - 1.198).abs() < 1e-3);
}

#[test]
fn what_was_not_measured_is_not_predicted() {
    let model = model();
    let two = Schedule::uniform(Some(Method::Compressed(Compressor::TwoBit)), 1);
    let error = model.predict(&two, 4, OwnShard::Exact).unwrap_err();
    assert!(error.to_string().contains("ditplan replay"), "{error}");
    let one = Schedule::uniform(ONE, 1);
    assert!(matches!(
        model.predict(&one, 2, OwnShard::Exact),
        Err(QualityError::Ranks { ranks: 2, .. })
    ));
}

#[test]
fn plans_become_schedules_by_thirds() {
    let plan: crate::plan::Plan = "ring4/mixed(1bit=0|@10:int4=0) warmup=1".parse().unwrap();
    let schedule = Schedule::of_plan(&plan, 1, 28).unwrap();
    assert_eq!(schedule.layers, vec![[[ONE, INT, INT]; 2]]);
    let within: crate::plan::Plan = "ring4/mixed(1bit=0|@11:int4=0)".parse().unwrap();
    let error = Schedule::of_plan(&within, 1, 28).unwrap_err();
    assert!(error.to_string().contains("steps 0, 10, 19"), "{error}");
}

#[test]
fn recorded_assignments_are_read() {
    let json = serde_json::json!({"k": ["1bit", ["raw", "1bit", "int4"]]});
    let schedule = Schedule::of_json(&json).unwrap();
    assert_eq!(schedule.layers[1][1], [None, ONE, INT]);
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({"k": [["1bit"]]}),
        serde_json::json!({"k": ["3bit"]}),
    ] {
        assert!(Schedule::of_json(&wrong).is_err());
    }
}

#[test]
fn a_phase_weighs_by_the_square_root_of_its_weight() {
    let mut model = model();
    model.file.phase_weight = PhaseWeight {
        early: 4.0,
        mid: 1.0,
        late: 1.0,
    };
    let own = OwnShard::Exact;
    // (2 + 1 + 1)^2 of 1-bit in V; the early third alone is 2^2.
    assert_eq!(model.energy(0, 4, own, [[None; 3], [ONE; 3]]), Ok(16.0));
    assert_eq!(
        model.energy(0, 4, own, [[None; 3], [ONE, None, None]]),
        Ok(4.0)
    );
}

#[test]
fn a_measured_own_shard_scales_with_the_others() {
    let mut model = model();
    model.file.lossy_own_shard = Some(4.0);
    let lossy = |ranks| model.everywhere(ranks, OwnShard::Lossy);
    // w = (4 - 1) x 3 = 9: 1 + 9 / 3 at 4 ranks, 1 + 9 / 7 at 8.
    assert_eq!(lossy(4), 4.0);
    assert!((lossy(8) - (1.0 + 9.0 / 7.0)).abs() < 1e-12);
}
