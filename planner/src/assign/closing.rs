//! From the relaxation to the proved optimum: labels of the classes that matter, in two sides.
//!
//! ```text
//! classes by the least penalty of leaving their base:  left ─ right ─ left ─ ... ─ │ the rest: base
//! penalty(i, j) = cost(i, j) + m weight(i, j) - the base's own                     │ penalty >= gap
//!
//! left labels   ▁▂▃▅▇  every combination of its classes that its bound allows, weights rising
//! right labels  ▇▅▃▂▁  met from the other end: each left label's best partner in one pass
//! ```
//! A label is a choice for each class of its side. It goes if another of its side is neither heavier
//! nor dearer, or if the relaxation of all other classes, given what the label leaves of the budget,
//! is no better than the best assignment known. That bound also rounds to an assignment, so every
//! pass looks for better ones.
//!
//! Guarantees: whatever was dropped could not have improved the best by more than
//! [`TOLERANCE`](super::TOLERANCE): half of it for bounds, half for labels that beat another up to rounding. Two sides of
//! n labels stand for n^2 assignments, so that equal slopes, which no bound tells apart, close too:
//! either there are so many assignments that one meets the bound, or few enough to list.
//! (Pisinger's expanding core, European J. of Operational Research 83, 1995, with the two lists of
//! Horowitz and Sahni.)

use super::relaxation::Relaxation;
use super::{Proof, TOLERANCE};

/// Labels that [`super::solve`] looks at before it gives up.
pub(super) const LABELS: usize = 1 << 24;

/// No link: the label is the base.
const BASE: u32 = u32::MAX;

/// The best places found, and how far they can be from optimal.
pub(super) struct Found {
    pub choices: Vec<usize>,
    pub lower_bound: f64,
    pub proof: Proof,
    pub labels: usize,
}

/// A choice for each class of a side, as the difference from the base.
#[derive(Clone, Copy)]
pub(super) struct Label {
    pub weight: f64,
    pub cost: f64,
    /// No assignment with these choices costs less.
    pub bound: f64,
    /// The multiplier of that bound.
    pub multiplier: f64,
    /// The last link, or [`BASE`].
    pub trail: u32,
    /// The place that the class just entered has.
    place: u32,
}

/// A class that a label moved off the base.
struct Link {
    before: u32,
    class: u32,
    place: u32,
}

/// Who decides a class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Rest,
    Left,
    Right,
}

/// Labels of one side, weights rising and costs falling.
pub(super) struct Side {
    pub owner: Owner,
    pub labels: Vec<Label>,
    /// No assignment that improves the best costs less.
    pub floor: f64,
}

pub(super) struct Search<'a> {
    pub relaxed: &'a Relaxation,
    pub owners: Vec<Owner>,
    links: Vec<Link>,
    best: Vec<usize>,
    pub best_cost: f64,
    /// Labels looked at.
    count: usize,
    limit: usize,
}

/// The optimum, or the best within `limit` labels.
pub(super) fn close(relaxed: &Relaxation, limit: usize) -> Found {
    let best = relaxed.rounded();
    let mut search = Search {
        relaxed,
        owners: vec![Owner::Rest; relaxed.classes.len()],
        links: Vec::new(),
        best_cost: relaxed.cost_of(&best),
        best,
        count: 0,
        limit,
    };
    if relaxed.critical == relaxed.moves.len() {
        return search.found(Proof::Relaxation, relaxed.bound);
    }
    let mut sides = [Owner::Left, Owner::Right].map(|owner| Side {
        owner,
        labels: vec![Label {
            weight: 0.0,
            cost: 0.0,
            bound: relaxed.bound,
            multiplier: relaxed.multiplier,
            trail: BASE,
            place: 0,
        }],
        floor: relaxed.bound,
    });
    for (class, penalty) in search.order() {
        if penalty >= search.allowed() || sides.iter().any(|side| side.labels.is_empty()) {
            break;
        }
        let smaller = usize::from(sides[1].labels.len() < sides[0].labels.len());
        if !search.enter(&mut sides[smaller], class) {
            let floor = sides[0].floor.max(sides[1].floor);
            return search.found(Proof::LabelLimit, floor);
        }
        search.meet(&sides);
    }
    search.found(Proof::Exhausted, f64::INFINITY)
}

impl Search<'_> {
    fn found(self, proof: Proof, floor: f64) -> Found {
        let excluded = self.best_cost * (1.0 - TOLERANCE);
        Found {
            lower_bound: floor.min(excluded).max(self.relaxed.bound),
            choices: self.best,
            proof,
            labels: self.count,
        }
    }

    /// A bound of this is as good as the best.
    pub(super) fn cutoff(&self) -> f64 {
        self.best_cost * (1.0 - TOLERANCE / 2.0)
    }

    /// A penalty of this is too much.
    fn allowed(&self) -> f64 {
        self.cutoff() - self.relaxed.bound
    }

    /// A choice as the difference from its class's base.
    fn difference(&self, class: usize, place: usize) -> Difference {
        let choices = &self.relaxed.classes[class];
        let (one, base) = (choices[place], choices[self.relaxed.base[class]]);
        Difference {
            weight: one.weight - base.weight,
            cost: one.cost - base.cost,
            place: u32::try_from(place).expect("a class has fewer than 2^32 options"),
        }
    }

    /// What a choice costs over its class's base when weight is paid with the multiplier.
    fn penalty(&self, class: usize, place: usize) -> f64 {
        self.difference(class, place)
            .priced(self.relaxed.multiplier)
    }

    /// Classes by the least penalty of leaving their base, those that may leave it at all. Where
    /// penalties are equal, classes that grow lighter take turns with those that grow heavier: only
    /// together do they come close to the budget.
    fn order(&self) -> Vec<(usize, f64)> {
        let allowed = self.allowed();
        let grain = self.best_cost * TOLERANCE / (self.owners.len() + 1) as f64;
        let mut turns: [Vec<(usize, f64)>; 2] = [Vec::new(), Vec::new()];
        for (class, choices) in self.relaxed.classes.iter().enumerate() {
            let base = self.relaxed.base[class];
            let others = (0..choices.len()).filter(|&place| place != base);
            let penalties = others.map(|place| (self.penalty(class, place), place));
            if let Some((least, place)) = penalties.min_by(|a, b| a.0.total_cmp(&b.0))
                && least < allowed
            {
                turns[usize::from(place > base)].push((class, (least / grain).floor() * grain));
            }
        }
        let mut order = Vec::new();
        for one in &mut turns {
            one.sort_by(|a, b| a.1.total_cmp(&b.1));
            let mut turn = 0;
            for (k, &(class, penalty)) in one.iter().enumerate() {
                turn = if k > 0 && one[k - 1].1 == penalty {
                    turn + 1
                } else {
                    0
                };
                order.push((class, penalty, turn));
            }
        }
        order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2)));
        order
            .into_iter()
            .map(|(class, penalty, _)| (class, penalty))
            .collect()
    }

    /// Gives a class to a side; false if that exceeds the limit.
    fn enter(&mut self, side: &mut Side, class: usize) -> bool {
        let allowed = self.allowed();
        let places = 0..self.relaxed.classes[class].len();
        let kept: Vec<Difference> = places
            .filter(|&place| self.penalty(class, place) < allowed)
            .map(|place| self.difference(class, place))
            .collect();
        let more = side.labels.len() * kept.len();
        if self.count + more > self.limit {
            return false;
        }
        self.count += more;
        let mut labels = extended(&side.labels, &kept, self.cutoff());
        self.owners[class] = side.owner;
        self.drop_beaten(&mut labels);
        self.link(&mut labels, class);
        side.labels = labels;
        self.cut(side);
        true
    }

    /// Keeps the labels that no other beats, weights rising.
    fn drop_beaten(&self, labels: &mut Vec<Label>) {
        // Stable, because it merges the sorted runs that the choices left.
        labels.sort_by(|a, b| {
            a.weight
                .total_cmp(&b.weight)
                .then(a.cost.total_cmp(&b.cost))
        });
        // Each entering drops at most this much of the optimum, all together half the tolerance:
        // equal sums that were added in another order are one label.
        let rounding = self.best_cost * TOLERANCE / 2.0 / (self.owners.len() + 1) as f64;
        let mut cheapest = f64::INFINITY;
        labels.retain(|label| {
            let beats = label.cost < cheapest - rounding;
            if beats {
                cheapest = label.cost;
            }
            beats
        });
    }

    /// Remembers what the labels chose for the class that entered.
    fn link(&mut self, labels: &mut [Label], class: usize) {
        for label in labels {
            if label.place as usize == self.relaxed.base[class] {
                continue;
            }
            self.links.push(Link {
                before: label.trail,
                class: u32::try_from(class).expect("an instance has fewer than 2^32 classes"),
                place: label.place,
            });
            label.trail = u32::try_from(self.links.len() - 1).expect("the limit is below 2^32");
        }
    }

    /// The cheapest pair of a left and a right label that keeps the budget.
    fn meet(&mut self, sides: &[Side; 2]) {
        let [left, right] = sides;
        let mut partners = right.labels.iter().rev().peekable();
        let (mut cheapest, mut pair) = (self.best_cost - self.relaxed.cost, None);
        for one in &left.labels {
            while partners
                .next_if(|other| one.weight + other.weight > self.relaxed.spare)
                .is_some()
            {}
            // The heaviest that fits is the cheapest that fits.
            let Some(other) = partners.peek() else { break };
            if one.cost + other.cost < cheapest {
                cheapest = one.cost + other.cost;
                pair = Some([one.trail, other.trail]);
            }
        }
        if let Some(trails) = pair {
            let mut places = self.relaxed.base.clone();
            for trail in trails {
                self.walk(trail, &mut places);
            }
            self.improve(places);
        }
    }

    /// Puts the classes that a label moved at their places.
    pub(super) fn walk(&self, mut trail: u32, places: &mut [usize]) {
        while let Some(link) = self.links.get(trail as usize) {
            places[link.class as usize] = link.place as usize;
            trail = link.before;
        }
    }

    pub(super) fn improve(&mut self, places: Vec<usize>) {
        let cost = self.relaxed.cost_of(&places);
        if cost < self.best_cost {
            (self.best, self.best_cost) = (places, cost);
        }
    }
}

/// A choice as the difference from its class's base.
#[derive(Clone, Copy)]
struct Difference {
    weight: f64,
    cost: f64,
    place: u32,
}

impl Difference {
    /// The cost when weight is paid with a multiplier.
    fn priced(self, multiplier: f64) -> f64 {
        self.cost + multiplier * self.weight
    }
}

/// Every label with every choice of a class, one run of rising weights per choice, but those whose
/// bound is no better than `cutoff`: in a label's bound the class has its cheapest choice at the
/// label's multiplier, so another choice adds what it is dearer.
fn extended(labels: &[Label], kept: &[Difference], cutoff: f64) -> Vec<Label> {
    let without = |label: &Label| {
        let priced = kept.iter().map(|one| one.priced(label.multiplier));
        label.bound - priced.fold(f64::INFINITY, f64::min)
    };
    let without: Vec<f64> = labels.iter().map(without).collect();
    let mut all = Vec::with_capacity(2 * labels.len());
    for one in kept {
        for (label, without) in labels.iter().zip(&without) {
            if without + one.priced(label.multiplier) < cutoff {
                all.push(Label {
                    weight: label.weight + one.weight,
                    cost: label.cost + one.cost,
                    place: one.place,
                    ..*label
                });
            }
        }
    }
    all
}
