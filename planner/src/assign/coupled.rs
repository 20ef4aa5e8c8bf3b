//! The best assignment where an option's cost depends on the options around it.
//!
//! ```text
//!            ┌── costs of each option, given the assignment ◀──┐
//!            ▼                                                 │
//! start ─▶ solve ─▶ assignment ─▶ evaluate: latency ─▶ lower? ─┘
//!                                                      stable, seen before or higher: the best ends it
//! ```
//! Overlap hides time, so costs do not add up: an option that is free behind a long attention is not
//! free once that attention waits. Costs are therefore asked again at each assignment.
//!
//! Guarantees: the best is never worse than the start if that keeps the budget; every round's
//! assignment keeps the budget; the same closures give the same history.
//!
//! Not guaranteed: the optimum of the coupled problem. A round's certificate holds for its costs.

use super::{Certificate, Fault, Instance, Item, SLACK, solve};

/// An assignment and what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The option of each class.
    pub chosen: Vec<usize>,
    /// What it weighs.
    pub weight: f64,
    /// What `evaluate` said of it.
    pub latency: f64,
    /// How far it is from the optimum of its round's costs; none for the start.
    pub certificate: Option<Certificate>,
}

/// Why no further round was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last round's costs lead to the assignment they were asked for.
    Stable,
    /// The last assignment was evaluated in an earlier round.
    Repeated,
    /// The last assignment is slower than the one its costs were asked for.
    Worse,
    /// The limit on rounds was met.
    Rounds,
}

impl End {
    /// As one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Repeated => "repeated",
            Self::Worse => "worse",
            Self::Rounds => "rounds",
        }
    }
}

/// The rounds, and which of them is best.
#[derive(Clone, Debug, PartialEq)]
pub struct Coupled {
    /// The start, then a round for each new assignment.
    pub history: Vec<Round>,
    /// The fastest of those that keep the budget.
    pub best: usize,
    /// Why it ended.
    pub end: End,
}

impl Coupled {
    /// The fastest round that keeps the budget.
    #[must_use]
    pub fn best(&self) -> &Round {
        &self.history[self.best]
    }
}

/// Solves, evaluates and asks for costs again until that changes nothing or makes it worse, at most
/// `rounds` times, and once at least.
///
/// `weights` are those of each class's options, `start` the option of each class to begin with,
/// which need not keep the budget. `sensitivities` gives the cost of each option while all other
/// classes stay as given; costs may be negative, as only their differences within a class count.
/// `evaluate` gives the latency of an assignment.
///
/// # Errors
/// Weights or costs that are no instance; a budget that no assignment keeps.
///
/// # Panics
/// If `start` or the costs do not have the shape of the weights.
pub fn coupled(
    weights: &[Vec<f64>],
    budget: f64,
    start: &[usize],
    rounds: usize,
    mut sensitivities: impl FnMut(&[usize]) -> Vec<Vec<f64>>,
    mut evaluate: impl FnMut(&[usize]) -> f64,
) -> Result<Coupled, Fault> {
    assert_eq!(
        start.len(),
        weights.len(),
        "the start names one option of each class"
    );
    let weight = |chosen: &[usize]| weights.iter().zip(chosen).map(|(of, &j)| of[j]).sum();
    let mut history = vec![Round {
        chosen: start.to_vec(),
        weight: weight(start),
        latency: evaluate(start),
        certificate: None,
    }];
    let mut end = End::Rounds;
    for _ in 0..rounds.max(1) {
        let last = history.last().expect("the start at least");
        let costs = sensitivities(&last.chosen);
        let solution = solve(&instance(weights, &costs, budget)?)?;
        if solution.chosen == last.chosen {
            end = End::Stable;
            break;
        }
        if history.iter().any(|round| round.chosen == solution.chosen) {
            end = End::Repeated;
            break;
        }
        let worse_than = if keeps(last.weight, budget) {
            last.latency
        } else {
            f64::INFINITY
        };
        let latency = evaluate(&solution.chosen);
        history.push(Round {
            weight: solution.weight,
            chosen: solution.chosen,
            latency,
            certificate: Some(solution.certificate),
        });
        if latency > worse_than {
            end = End::Worse;
            break;
        }
    }
    let best = best(&history, budget);
    Ok(Coupled { history, best, end })
}

fn keeps(weight: f64, budget: f64) -> bool {
    weight <= budget * (1.0 + SLACK)
}

/// The fastest round that keeps the budget; the first of equals.
fn best(history: &[Round], budget: f64) -> usize {
    let kept = history
        .iter()
        .enumerate()
        .filter(|(_, round)| keeps(round.weight, budget));
    let fastest = kept.min_by(|a, b| a.1.latency.total_cmp(&b.1.latency));
    fastest.expect("a solved round keeps the budget").0
}

/// Each class's costs from its least: only differences count, and none is negative.
fn instance(weights: &[Vec<f64>], costs: &[Vec<f64>], budget: f64) -> Result<Instance, Fault> {
    assert_eq!(
        costs.len(),
        weights.len(),
        "costs have a class for each of the weights"
    );
    let mut classes = Vec::with_capacity(weights.len());
    for (costs, weights) in costs.iter().zip(weights) {
        assert_eq!(
            costs.len(),
            weights.len(),
            "costs have an option for each of the weights"
        );
        let least = costs.iter().copied().fold(0.0, f64::min);
        let item = |(&cost, &weight): (&f64, &f64)| Item {
            cost: cost - least,
            weight,
        };
        classes.push(costs.iter().zip(weights).map(item).collect());
    }
    Instance::new(classes, budget)
}

#[cfg(test)]
mod tests {
    use sim::testing::Numbers;

    use super::*;

    /// Layers whose messages hide behind the computation of the layer before:
    ///
    /// ```text
    /// latency = message_0 + sum_i max(compute_i, message_(i+1)) + compute_last
    /// ```
    struct Overlapped {
        compute: Vec<f64>,
        messages: Vec<Vec<f64>>,
        weights: Vec<Vec<f64>>,
    }

    impl Overlapped {
        fn random(layers: usize, options: usize, seed: u64) -> Self {
            let mut numbers = Numbers::new(seed);
            let mut row = |at_most: usize| -> Vec<f64> {
                (0..options)
                    .map(|_| numbers.below(at_most) as f64)
                    .collect()
            };
            let messages = (0..layers).map(|_| row(100)).collect();
            let weights = (0..layers).map(|_| row(20)).collect();
            let compute = (0..layers).map(|_| row(150)[0]).collect();
            Self {
                compute,
                messages,
                weights,
            }
        }

        fn message(&self, layer: usize, chosen: &[usize]) -> f64 {
            self.messages.get(layer).map_or(0.0, |of| of[chosen[layer]])
        }

        fn latency(&self, chosen: &[usize]) -> f64 {
            let hidden = |(i, &compute): (usize, &f64)| compute.max(self.message(i + 1, chosen));
            self.message(0, chosen) + self.compute.iter().enumerate().map(hidden).sum::<f64>()
        }

        /// The latency with one option changed.
        fn sensitivities(&self, chosen: &[usize]) -> Vec<Vec<f64>> {
            let mut costs = self.messages.clone();
            for (layer, of) in costs.iter_mut().enumerate() {
                for (option, cost) in of.iter_mut().enumerate() {
                    let mut other = chosen.to_vec();
                    other[layer] = option;
                    *cost = self.latency(&other);
                }
            }
            costs
        }

        fn every(&self) -> Vec<Vec<usize>> {
            let mut all = vec![Vec::new()];
            for of in &self.messages {
                let longer = |chosen: &Vec<usize>| {
                    let chosen = chosen.clone();
                    (0..of.len()).map(move |j| [chosen.clone(), vec![j]].concat())
                };
                all = all.iter().flat_map(longer).collect();
            }
            all
        }

        fn weight(&self, chosen: &[usize]) -> f64 {
            self.weights.iter().zip(chosen).map(|(of, &j)| of[j]).sum()
        }

        fn coupled(&self, budget: f64, start: &[usize]) -> Result<Coupled, Fault> {
            coupled(
                &self.weights,
                budget,
                start,
                10,
                |chosen| self.sensitivities(chosen),
                |chosen| self.latency(chosen),
            )
        }
    }

    /// Here the latency is a constant and a sum over layers of max(compute of the layer before,
    /// message), so simulated sensitivities are exact: the best of all 3^5 assignments is found in
    /// one round, where the messages' own times would pay for what is hidden.
    #[test]
    fn simulated_sensitivities_find_the_optimum_that_message_times_miss() {
        let mut missed = 0;
        for seed in 0..40 {
            let toy = Overlapped::random(5, 3, seed);
            let start = [0; 5];
            let budget = toy.weight(&start);
            let found = toy.coupled(budget, &start).expect("the start keeps it");
            let kept = toy.every().into_iter().filter(|c| toy.weight(c) <= budget);
            let latencies = kept.map(|chosen| toy.latency(&chosen));
            let least = latencies.fold(f64::INFINITY, f64::min);
            assert_eq!(found.best().latency, least, "seed {seed}");
            assert!(found.history.len() <= 2, "seed {seed}: {found:?}");
            let own = instance(&toy.weights, &toy.messages, budget).expect("sound numbers");
            let blind = solve(&own).expect("the start keeps it");
            missed += usize::from(toy.latency(&blind.chosen) > least);
        }
        assert!(missed >= 5, "{missed} of 40");
    }

    #[test]
    fn a_start_beyond_the_budget_is_left_behind() {
        let toy = Overlapped::random(5, 3, 1);
        let heaviest = toy
            .every()
            .into_iter()
            .max_by(|a, b| toy.weight(a).total_cmp(&toy.weight(b)));
        let heaviest = heaviest.expect("243 assignments");
        let budget = 0.5 * toy.weight(&heaviest);
        let found = toy.coupled(budget, &heaviest).expect("half is enough");
        assert!(found.best > 0 && found.best().weight <= budget);
    }

    /// Two classes, two options, the latency of each of the four assignments; the budget holds all.
    fn two_by_two(latencies: [[f64; 2]; 2]) -> Coupled {
        let latency = |c: &[usize]| latencies[c[0]][c[1]];
        let costs = |c: &[usize]| {
            vec![
                [0, 1].map(|j| latency(&[j, c[1]])).to_vec(),
                [0, 1].map(|j| latency(&[c[0], j])).to_vec(),
            ]
        };
        coupled(&vec![vec![0.0, 1.0]; 2], 2.0, &[0, 0], 10, costs, latency).expect("within budget")
    }

    /// Each change alone gains 6, so both change, and that loses 4: the start stays the best.
    #[test]
    fn a_worse_round_ends_it_and_the_best_is_kept() {
        let found = two_by_two([[16.0, 10.0], [10.0, 20.0]]);
        assert_eq!(
            (found.end, found.best, found.history.len()),
            (End::Worse, 0, 2)
        );
    }

    /// Both change and gain; from there each alone would gain by going back, and both did before.
    #[test]
    fn an_assignment_seen_before_ends_it() {
        let found = two_by_two([[16.0, 10.0], [10.0, 11.0]]);
        assert_eq!(
            (found.end, found.best, found.history.len()),
            (End::Repeated, 1, 2)
        );
    }

    #[test]
    fn nothing_to_gain_is_stable() {
        let found = two_by_two([[1.0, 2.0], [2.0, 3.0]]);
        assert_eq!(
            (found.end, found.best, found.history.len()),
            (End::Stable, 0, 1)
        );
    }
}
