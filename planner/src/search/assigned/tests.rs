//! Options, thirds and the plans that they make.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;

#[test]
fn steps_after_warm_up_are_counted_in_thirds() {
    for (steps, warmup, counts) in [
        (9, 0, [3.0, 3.0, 3.0]),
        (9, 1, [2.0, 3.0, 3.0]),
        (9, 4, [0.0, 2.0, 3.0]),
        (9, 8, [0.0, 0.0, 1.0]),
        (9, 9, [0.0; 3]),
        (3, 0, [1.0; 3]),
    ] {
        assert_eq!(
            phase_steps(steps, warmup),
            counts,
            "{steps} steps, {warmup}"
        );
    }
    for (steps, warmup) in [(28, 1), (20, 4), (50, 7)] {
        let sum: f64 = phase_steps(steps, warmup).iter().sum();
        assert_eq!(sum, f64::from(steps - warmup));
    }
}

/// A layer has one option for each compressor, or one for each in every third.
#[test]
fn options_are_all_combinations() {
    for palette in [1, 2, 3, 5] {
        let layer = Granularity::Layer.options(palette);
        assert_eq!(layer.len(), palette);
        assert!(
            layer
                .iter()
                .enumerate()
                .all(|(at, option)| *option == [at; 3])
        );
        let phase = Granularity::LayerAndPhase.options(palette);
        let distinct: BTreeSet<[usize; 3]> = phase.iter().copied().collect();
        assert_eq!(
            (phase.len(), distinct.len()),
            (palette.pow(3), palette.pow(3))
        );
        assert!(phase.iter().flatten().all(|at| *at < palette));
    }
}

const RAW: Option<Compressor> = None;
const ONE: Option<Compressor> = Some(Compressor::OneBit);
const TWO: Option<Compressor> = Some(Compressor::TwoBit);

/// Two layers with these options, in nine steps.
fn classes(options: Vec<[Option<Compressor>; 3]>) -> Classes {
    let items = options.iter().map(|_| Item {
        cost: 1.0,
        weight: 1.0,
    });
    let items: Vec<Item> = items.collect();
    Classes {
        options,
        instance: Instance::new(vec![items.clone(), items], 10.0).expect("sound numbers"),
        rest_s: 0.0,
        starts: vec![0, 3, 6],
    }
}

/// Where all layers have one compressor in all steps, the plan says so: uniform, or raw without warm-up.
#[test]
fn an_assignment_of_equal_options_is_uniform() {
    let layout: Plan = "ring4/2bit warmup=1".parse().expect("a plan");
    let all = classes(vec![[RAW; 3], [ONE; 3], [ONE, ONE, TWO]]);
    let of = |chosen: &[usize]| all.plan(&layout, chosen);
    let raw = of(&[0, 0]);
    assert_eq!((raw.compression, raw.warmup), (Compression::Raw, 0));
    let uniform = of(&[1, 1]);
    let one = Compression::Uniform(Compressor::OneBit);
    assert_eq!((uniform.compression, uniform.warmup), (one, 1));
    for (chosen, layers) in [
        ([0, 1], [[RAW, ONE], [RAW, ONE], [RAW, ONE]]),
        ([1, 0], [[ONE, RAW], [ONE, RAW], [ONE, RAW]]),
        ([2, 2], [[ONE, ONE], [ONE, ONE], [TWO, TWO]]),
        ([1, 2], [[ONE, ONE], [ONE, ONE], [ONE, TWO]]),
    ] {
        let found = of(&chosen);
        assert!(
            matches!(found.compression, Compression::Mixed(_)),
            "{chosen:?}"
        );
        assert_eq!(found.warmup, 1, "{chosen:?}");
        for (step, layers) in [(1, layers[0]), (4, layers[1]), (8, layers[2])] {
            let sent = [0, 1].map(|layer| found.compression.at(step, layer));
            assert_eq!(sent, layers, "{chosen:?}, step {step}");
        }
    }
    // A stale layout has its warm-up raw too.
    let stale: Plan = "distrifusion4 warmup=3".parse().expect("a plan");
    assert_eq!(all.plan(&stale, &[0, 0]).warmup, 3);
    assert_eq!(all_raw(3).at(0, 2), None);
}

/// What an option costs is asked once for each third that it changes, and summed; the option that is there costs nothing.
#[test]
fn thirds_are_asked_one_by_one() {
    let palette = [RAW, ONE, TWO];
    let options = Granularity::LayerAndPhase.options(3).into_iter();
    let all = classes(options.map(|option| option.map(|at| palette[at])).collect());
    let weight = |option: &[Option<Compressor>; 3]| -> f64 {
        let digits = option.iter().zip([1.0, 10.0, 100.0]);
        let of = |one: &Option<Compressor>| palette.iter().position(|of| of == one);
        digits
            .map(|(one, digit)| of(one).expect("in the palette") as f64 * digit)
            .sum()
    };
    for now in [0, 13, 26] {
        let asked = RefCell::new(Vec::new());
        let changed = |option: usize| {
            asked.borrow_mut().push(option);
            Ok(weight(&all.options[option]) - weight(&all.options[now]))
        };
        let costs = all.summed(now, changed).expect("costs");
        for (option, cost) in all.options.iter().zip(&costs) {
            let expected = weight(option) - weight(&all.options[now]);
            assert!(
                (cost - expected).abs() < 1e-9,
                "{option:?} from {now}: {cost}"
            );
        }
        // Two other compressors in each of three thirds.
        let asked = asked.into_inner();
        let distinct: BTreeSet<&usize> = asked.iter().collect();
        assert_eq!((asked.len(), distinct.len()), (6, 6), "from {now}");
    }
    let alike = classes(palette.map(|of| [of; 3]).to_vec());
    let costs = alike
        .summed(1, |option| Ok(option as f64 + 5.0))
        .expect("costs");
    assert_eq!(costs, [5.0, 0.0, 7.0]);
}
