//! The relaxation: every class on its hull, one class may stand between two options.
//!
//! ```text
//! cost │\               start: the lightest option of each class
//!      │ \__            then the moves of all hulls by saving per weight, while they fit
//!      │    \___        base:     the last assignment that fits
//!      │     ·  \____   critical: the first move that does not; its slope is the multiplier m
//!      └─────┴──────── weight     bound = cost(base) - m (budget - weight(base))
//!          budget
//! ```
//! Guarantees: the bound is that of the linear relaxation and of Lagrange alike (Sinha and Zoltners,
//! Operations Research 27, 1979); the points of a [`Frontier`] are optimal for their own weight.

use super::hull::{Choice, Move, append_moves, choices};
use super::{Infeasible, Instance, SLACK};

/// An instance without options that cannot matter, and the optimum of its relaxation.
pub(super) struct Relaxation {
    /// Of each class, weights rising and costs falling.
    pub classes: Vec<Vec<Choice>>,
    /// Of all hulls, slopes falling; ties by class.
    pub moves: Vec<Move>,
    /// The first move that does not fit, the number of moves if all do.
    pub critical: usize,
    /// The place of each class's choice.
    pub base: Vec<usize>,
    pub cost: f64,
    /// What the base leaves of the budget.
    pub spare: f64,
    pub multiplier: f64,
    pub bound: f64,
}

impl Relaxation {
    /// The options behind places among the choices.
    pub fn options(&self, places: &[usize]) -> Vec<usize> {
        let of = |(choices, &place): (&Vec<Choice>, &usize)| choices[place].option;
        self.classes.iter().zip(places).map(of).collect()
    }

    /// The cost of places among the choices, added in the order of the classes.
    pub fn cost_of(&self, places: &[usize]) -> f64 {
        let of = |(choices, &place): (&Vec<Choice>, &usize)| choices[place].cost;
        self.classes.iter().zip(places).map(of).sum()
    }

    /// The base, and every later move that still fits.
    pub fn rounded(&self) -> Vec<usize> {
        let mut places = self.base.clone();
        let mut spare = self.spare;
        for one in self.moves.iter().skip(self.critical) {
            if places[one.class] == one.from && one.weight <= spare {
                spare -= one.weight;
                places[one.class] = one.to;
            }
        }
        places
    }
}

fn least_weight(instance: &Instance) -> f64 {
    let lightest = |items: &Vec<super::Item>| {
        let weights = items.iter().map(|item| item.weight);
        weights.fold(f64::INFINITY, f64::min)
    };
    instance.classes().iter().map(lightest).sum()
}

/// Choices of at most `spare` above the lightest, and the moves of all hulls by slope.
fn reduced(instance: &Instance, spare: f64) -> (Vec<Vec<Choice>>, Vec<Move>) {
    let mut moves = Vec::new();
    let mut classes = Vec::with_capacity(instance.classes().len());
    for (class, items) in instance.classes().iter().enumerate() {
        let weights = items.iter().map(|item| item.weight);
        let lightest = weights.fold(f64::INFINITY, f64::min);
        let kept = choices(items, lightest + spare);
        append_moves(class, &kept, &mut moves);
        classes.push(kept);
    }
    // A class's own moves keep their order: their slopes fall, and a stable sort keeps ties.
    moves.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    (classes, moves)
}

/// The optimum of the relaxation.
pub(super) fn relax(instance: &Instance) -> Result<Relaxation, Infeasible> {
    // Half the slack: sums in another order then still keep the whole.
    let cap = instance.budget() * (1.0 + SLACK / 2.0);
    let least_weight = least_weight(instance);
    if least_weight > cap {
        return Err(Infeasible {
            least_weight,
            budget: instance.budget(),
        });
    }
    let (classes, moves) = reduced(instance, cap - least_weight);
    let mut base = vec![0; classes.len()];
    let mut spare = cap - least_weight;
    let mut critical = 0;
    while let Some(one) = moves.get(critical)
        && one.weight <= spare
    {
        spare -= one.weight;
        base[one.class] = one.to;
        critical += 1;
    }
    let partial = moves.get(critical);
    let multiplier = partial.map_or(0.0, |one| one.slope);
    let part = partial.map_or(0.0, |one| one.saving * (spare / one.weight));
    let mut relaxed = Relaxation {
        classes,
        moves,
        critical,
        base,
        cost: 0.0,
        spare,
        multiplier,
        bound: 0.0,
    };
    relaxed.cost = relaxed.cost_of(&relaxed.base);
    relaxed.bound = (relaxed.cost - part).max(0.0);
    Ok(relaxed)
}

/// Cost against weight: the corners of the convex hull of all assignments.
#[derive(Clone, Debug, PartialEq)]
pub struct Frontier {
    /// From the lightest assignment to the cheapest; weights rise, costs fall.
    pub points: Vec<Point>,
    lightest: Vec<usize>,
    /// Point k + 1 is point k with this class at this option.
    changes: Vec<(usize, usize)>,
}

/// An assignment that is optimal for a budget of its own weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// What it costs.
    pub cost: f64,
    /// What it weighs.
    pub weight: f64,
    /// What the next point saves per weight; 0 at the last.
    pub multiplier: f64,
}

impl Frontier {
    /// The option of each class at a point.
    ///
    /// # Panics
    /// If there is no such point.
    #[must_use]
    pub fn chosen(&self, point: usize) -> Vec<usize> {
        assert!(
            point < self.points.len(),
            "the frontier has point {point} of {}",
            self.points.len()
        );
        let mut chosen = self.lightest.clone();
        for &(class, option) in &self.changes[..point] {
            chosen[class] = option;
        }
        chosen
    }
}

/// The whole frontier of the relaxation, whatever the budget; one point per move of a hull, so at
/// most one more than there are options.
#[must_use]
pub fn frontier(instance: &Instance) -> Frontier {
    let (classes, moves) = reduced(instance, f64::INFINITY);
    let first = |choices: &Vec<Choice>| choices[0];
    let mut point = Point {
        cost: classes.iter().map(|c| first(c).cost).sum(),
        weight: classes.iter().map(|c| first(c).weight).sum(),
        multiplier: moves.first().map_or(0.0, |one| one.slope),
    };
    let mut points = vec![point];
    let mut changes = Vec::with_capacity(moves.len());
    for (k, one) in moves.iter().enumerate() {
        point.cost = (point.cost - one.saving).max(0.0);
        point.weight += one.weight;
        point.multiplier = moves.get(k + 1).map_or(0.0, |next| next.slope);
        points.push(point);
        changes.push((one.class, classes[one.class][one.to].option));
    }
    Frontier {
        points,
        lightest: classes.iter().map(|c| first(c).option).collect(),
        changes,
    }
}
