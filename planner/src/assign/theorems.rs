//! What must hold for every instance, and the optimum of other methods: an integer program, and
//! every Pareto label without any bound.

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use proptest::prelude::*;
use sim::testing::Numbers;

use super::instances::{Kind, random};
use super::*;

/// Equal up to what both leave open.
fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// The optimum of microlp's branch and bound, in units of the largest cost and of the budget.
fn by_integer_program(instance: &Instance) -> f64 {
    let items = || instance.classes().iter().flatten();
    let unit = items()
        .map(|item| item.cost)
        .fold(f64::MIN_POSITIVE, f64::max);
    let budget = instance.budget().max(f64::MIN_POSITIVE);
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut load = Vec::new();
    for items in instance.classes() {
        let mut one = Vec::new();
        for item in items {
            let variable = problem.add_binary_var(item.cost / unit);
            load.push((variable, item.weight / budget));
            one.push((variable, 1.0));
        }
        problem.add_constraint(one.as_slice(), ComparisonOp::Eq, 1.0);
    }
    problem.add_constraint(load.as_slice(), ComparisonOp::Le, 1.0);
    let outcome = problem.solve().expect("a feasible instance");
    assert!(outcome.is_optimal());
    let solution = outcome.into_solution().expect("no limit was set");
    let chosen = |items: &Vec<Item>, first: usize| {
        (0..items.len()).find(|j| solution.var_value(load[first + j].0) > 0.5)
    };
    let mut first = 0;
    let mut places = Vec::new();
    for items in instance.classes() {
        places.push(chosen(items, first).expect("one option of each class"));
        first += items.len();
    }
    instance.total(&places).cost
}

/// The optimum by listing every partial assignment that no other beats.
fn by_labels(instance: &Instance) -> Option<f64> {
    let mut labels = vec![(0.0, 0.0)];
    for items in instance.classes() {
        let mut all = Vec::new();
        for &(weight, cost) in &labels {
            all.extend(
                items
                    .iter()
                    .map(|item| (weight + item.weight, cost + item.cost)),
            );
        }
        all.retain(|&(weight, _): &(f64, f64)| weight <= instance.budget() * (1.0 + SLACK));
        all.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        let mut cheapest = f64::INFINITY;
        all.retain(|&(_, cost)| {
            let beats = cost < cheapest;
            cheapest = cheapest.min(cost);
            beats
        });
        labels = all;
    }
    labels.last().map(|&(_, cost)| cost)
}

/// 200 instances of the kinds whose numbers span less than microlp's six decades.
#[test]
fn the_optimum_is_that_of_an_integer_program() {
    let kinds = [
        Kind::Uncorrelated,
        Kind::Weakly,
        Kind::Ties,
        Kind::Realistic,
        Kind::Giant,
    ];
    let mut numbers = Numbers::new(1);
    for case in 0..200 {
        let kind = kinds[case % kinds.len()];
        let (classes, options) = (1 + numbers.below(12), 1 + numbers.below(6));
        let share = numbers.below(100) as f64 / 100.0;
        let instance = random(kind, classes, options, share, case as u64);
        let found = solve(&instance).expect("a budget between least and most");
        let other = by_integer_program(&instance);
        assert!(
            close(found.cost, other, 1e-6),
            "{kind:?} {case}: {} {other}",
            found.cost
        );
    }
}

#[test]
fn the_optimum_is_that_of_every_label() {
    let mut numbers = Numbers::new(2);
    for case in 0..700 {
        let kind = Kind::ALL[case % Kind::ALL.len()];
        // Equal slopes leave every label standing.
        let most = if kind == Kind::Strongly { 5 } else { 10 };
        let (classes, options) = (1 + numbers.below(most), 1 + numbers.below(6));
        let share = numbers.below(101) as f64 / 100.0;
        let instance = random(kind, classes, options, share, case as u64);
        let found = solve(&instance).expect("a budget between least and most");
        let other = by_labels(&instance).expect("the same");
        assert!(
            close(found.cost, other, 1.01 * TOLERANCE),
            "{kind:?} {case}: {} {other}",
            found.cost
        );
        assert!(found.certificate.gap <= 1.01 * TOLERANCE);
    }
}

/// The sizes that are planned with: layers, and layers by steps.
#[test]
fn the_sizes_of_a_model_are_proved() {
    for kind in [
        Kind::Uncorrelated,
        Kind::Weakly,
        Kind::Strongly,
        Kind::Realistic,
    ] {
        for (classes, options) in [(57, 12), (1596, 8)] {
            let instance = random(kind, classes, options, 0.3, 5);
            let found = solve(&instance).expect("a budget between least and most");
            assert_ne!(
                found.certificate.proof,
                Proof::LabelLimit,
                "{kind:?} {classes}"
            );
            assert!(
                found.certificate.gap <= 1.01 * TOLERANCE,
                "{kind:?} {classes}"
            );
            let linear = found.cost - found.certificate.linear_bound;
            assert!(linear <= 0.01 * found.cost, "{kind:?} {classes}");
        }
    }
}

fn item(cost: f64, weight: f64) -> Item {
    Item { cost, weight }
}

#[test]
fn edges() {
    let none = solve(&Instance::new(vec![], 0.0).unwrap()).unwrap();
    assert_eq!(
        (none.chosen.len(), none.cost, none.certificate.gap),
        (0, 0.0, 0.0)
    );

    let single = Instance::new(vec![vec![item(2.0, 3.0)]], 3.0).unwrap();
    assert_eq!(solve(&single).unwrap().chosen, [0]);

    // Zero budget: what weighs nothing; of equal options the first.
    let class = vec![item(1.0, 1.0), item(5.0, 0.0), item(5.0, 0.0)];
    let zero = Instance::new(vec![class.clone(); 3], 0.0).unwrap();
    assert_eq!(solve(&zero).unwrap().chosen, [1, 1, 1]);

    // More than everything weighs: the cheapest everywhere, at no price for budget.
    let all = solve(&zero.with_budget(100.0).unwrap()).unwrap();
    assert_eq!(
        (all.chosen, all.certificate.multiplier),
        (vec![0, 0, 0], 0.0)
    );
    assert_eq!(all.certificate.proof, Proof::Relaxation);

    // 0.1 + 0.2 is above 0.3 in binary, but keeps the budget.
    let classes = vec![
        vec![item(1.0, 0.0), item(0.0, 0.1)],
        vec![item(1.0, 0.0), item(0.0, 0.2)],
    ];
    assert_eq!(
        solve(&Instance::new(classes, 0.3).unwrap()).unwrap().cost,
        0.0
    );

    let heavy = Instance::new(vec![vec![item(1.0, 2.0), item(0.0, 3.0)]; 2], 3.0).unwrap();
    let error = solve(&heavy).unwrap_err();
    assert_eq!((error.least_weight, error.budget), (4.0, 3.0));
}

#[test]
fn unsound_numbers_are_refused_by_place() {
    let fault = |classes, budget| Instance::new(classes, budget).unwrap_err().to_string();
    assert!(fault(vec![vec![item(1.0, 1.0)]], f64::NAN).contains("budget NaN"));
    assert!(fault(vec![vec![item(1.0, 1.0)]], f64::INFINITY).contains("budget inf"));
    assert!(fault(vec![vec![]], 1.0).contains("class 0 has no option"));
    let negative = vec![vec![item(1.0, 1.0)], vec![item(1.0, 1.0), item(1.0, -1.0)]];
    assert!(fault(negative, 1.0).contains("class 1, option 1"));
}

#[test]
fn a_label_limit_states_the_gap_that_is_left() {
    let instance = random(Kind::Weakly, 57, 12, 0.3, 3);
    let best = solve(&instance).unwrap();
    for limit in [0, 10, 100, 1000] {
        let found = solve_within(&instance, limit).unwrap();
        assert!(found.certificate.lower_bound <= best.cost && best.cost <= found.cost);
        let gap = (found.cost - found.certificate.lower_bound) / found.cost;
        assert_eq!(found.certificate.gap, gap);
        assert!(found.certificate.labels <= limit);
    }
    assert_eq!(
        solve_within(&instance, 0).unwrap().certificate.proof,
        Proof::LabelLimit
    );
}

fn kinds() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|k| Kind::ALL[k])
}

fn instances() -> impl Strategy<Value = Instance> {
    (kinds(), 1..20_usize, 1..8_usize, 0.0..1.2, any::<u64>()).prop_map(
        |(kind, classes, options, share, seed)| random(kind, classes, options, share, seed),
    )
}

proptest! {
    #[test]
    fn a_solution_keeps_its_budget_and_its_bounds(instance in instances()) {
        let found = solve(&instance).unwrap();
        let Item { cost, weight } = instance.total(&found.chosen);
        prop_assert_eq!((cost, weight), (found.cost, found.weight));
        prop_assert!(weight <= instance.budget() * (1.0 + SLACK));
        let Certificate { multiplier, linear_bound, lower_bound, gap, .. } = found.certificate;
        prop_assert!(linear_bound <= lower_bound && lower_bound <= cost);
        prop_assert!((0.0..=1.01 * TOLERANCE).contains(&gap));
        // Lagrange: the sum of each class's least cost + multiplier * weight, less the budget's.
        // Options that no assignment within the budget can hold do not count.
        let least: f64 = instance.classes().iter().map(|items| {
            items.iter().map(|i| i.weight).fold(f64::INFINITY, f64::min)
        }).sum();
        let mut bound = -multiplier * instance.budget();
        for items in instance.classes() {
            let own = items.iter().map(|i| i.weight).fold(f64::INFINITY, f64::min);
            let fits = items.iter().filter(|i| i.weight <= own + instance.budget() * (1.0 + SLACK) - least);
            bound += fits.map(|i| i.cost + multiplier * i.weight).fold(f64::INFINITY, f64::min);
        }
        let scale = cost.max(multiplier * instance.budget());
        prop_assert!((bound.max(0.0) - linear_bound).abs() <= 1e-9 * scale, "{bound} {linear_bound}");
    }

    #[test]
    fn the_cost_never_rises_with_the_budget(instance in instances(), more in 1.0..3.0) {
        let less = solve(&instance).unwrap().cost;
        let looser = instance.with_budget(instance.budget() * more).unwrap();
        prop_assert!(solve(&looser).unwrap().cost <= less * (1.0 + 1.01 * TOLERANCE));
    }

    #[test]
    fn the_order_of_classes_and_options_changes_nothing(instance in instances(), turn in 0..20_usize) {
        let mut classes = instance.classes().to_vec();
        let by = turn % classes.len();
        classes.rotate_left(by);
        for items in &mut classes {
            items.reverse();
        }
        let turned = Instance::new(classes, instance.budget()).unwrap();
        let (one, other) = (solve(&instance).unwrap(), solve(&turned).unwrap());
        prop_assert!(close(one.cost, other.cost, 1.01 * TOLERANCE), "{} {}", one.cost, other.cost);
    }

    /// A power of two is exact in binary, so to the bit; other factors up to the tolerance.
    #[test]
    fn scaled_numbers_scale_the_answer(instance in instances(), factor in 0.01..100.0) {
        let scaled = |cost: f64, weight: f64| {
            let classes = instance.classes().iter().map(|items| {
                items.iter().map(|i| item(i.cost * cost, i.weight * weight)).collect()
            });
            solve(&Instance::new(classes.collect(), instance.budget() * weight).unwrap()).unwrap()
        };
        let one = solve(&instance).unwrap();
        let doubled = scaled(2.0, 4.0);
        prop_assert_eq!(&doubled.chosen, &one.chosen);
        prop_assert_eq!((doubled.cost, doubled.weight), (2.0 * one.cost, 4.0 * one.weight));
        let other = scaled(factor, 1.0);
        prop_assert!(close(other.cost, factor * one.cost, 1.01 * TOLERANCE));
    }

    /// A corner of the hull is optimal for its own weight, and convexity makes the slopes fall.
    #[test]
    fn points_of_the_frontier_are_optimal(instance in instances(), at in 0.0..1.0) {
        let frontier = frontier(&instance);
        for pair in frontier.points.windows(2) {
            prop_assert!(pair[0].weight <= pair[1].weight && pair[0].cost >= pair[1].cost);
            prop_assert!(pair[0].multiplier >= pair[1].multiplier);
        }
        let index = ((frontier.points.len() - 1) as f64 * at) as usize;
        let total = instance.total(&frontier.chosen(index));
        let scale = frontier.points[0].cost;
        prop_assert!((total.cost - frontier.points[index].cost).abs() <= 1e-12 * scale);
        let found = solve(&instance.with_budget(total.weight).unwrap()).unwrap();
        prop_assert!(close(found.cost, total.cost, 1.01 * TOLERANCE), "{} {}", found.cost, total.cost);
    }
}
