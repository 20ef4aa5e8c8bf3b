//! How long the best assignment takes: `cargo bench -p planner --bench assign`.
//!
//! * `solved`: read, relaxed and proved to 1e-9, ten instances in turn; time is that of one.
//! * `whole_frontier`: the whole frontier of the relaxation.
//! * `integer_program`: the yardstick, the same optimum from microlp's branch and bound, 57 classes
//!   only.

use std::sync::atomic::{AtomicUsize, Ordering};

use divan::{Bencher, black_box};
use microlp::{ComparisonOp, OptimizationDirection, Problem};
use planner::assign::instances::{Kind, random};
use planner::assign::{Instance, frontier, solve};

fn main() {
    divan::main();
}

/// Kind, classes, options: the layers of FLUX.1-dev, and layers by 28 steps.
const CASES: [(Kind, usize, usize); 10] = [
    (Kind::Realistic, 57, 12),
    (Kind::Uncorrelated, 57, 12),
    (Kind::Weakly, 57, 12),
    (Kind::Strongly, 57, 12),
    (Kind::Realistic, 1596, 8),
    (Kind::Realistic, 1596, 12),
    (Kind::Uncorrelated, 1596, 12),
    (Kind::Weakly, 1596, 8),
    (Kind::Weakly, 1596, 12),
    (Kind::Strongly, 1596, 12),
];

/// Ten of a kind in turn, half of the way from the least weight to that of the cheapest.
struct Ten {
    instances: Vec<Instance>,
    turn: AtomicUsize,
}

impl Ten {
    fn new((kind, classes, options): (Kind, usize, usize)) -> Self {
        let one = |seed| random(kind, classes, options, 0.5, seed);
        Self {
            instances: (0..10).map(one).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &Instance {
        &self.instances[self.turn.fetch_add(1, Ordering::Relaxed) % 10]
    }
}

#[divan::bench(args = CASES)]
fn solved(bencher: Bencher, case: (Kind, usize, usize)) {
    let ten = Ten::new(case);
    bencher.bench(|| solve(black_box(ten.next())));
}

#[divan::bench(args = [CASES[0], CASES[5]])]
fn whole_frontier(bencher: Bencher, case: (Kind, usize, usize)) {
    let ten = Ten::new(case);
    bencher.bench(|| frontier(black_box(ten.next())));
}

#[divan::bench(args = &CASES[..2], sample_count = 10, sample_size = 1)]
fn integer_program(bencher: Bencher, case: (Kind, usize, usize)) {
    let ten = Ten::new(case);
    bencher.bench(|| {
        let instance = ten.next();
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let mut load = Vec::new();
        for items in instance.classes() {
            let first = load.len();
            for item in items {
                let variable = problem.add_binary_var(item.cost);
                load.push((variable, item.weight / instance.budget()));
            }
            let one: Vec<_> = load[first..].iter().map(|&(v, _)| (v, 1.0)).collect();
            problem.add_constraint(one.as_slice(), ComparisonOp::Eq, 1.0);
        }
        problem.add_constraint(load.as_slice(), ComparisonOp::Le, 1.0);
        problem.solve().map(|outcome| outcome.is_optimal())
    });
}
