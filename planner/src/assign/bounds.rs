//! Bounds of labels: the relaxation of all classes that their side does not own, given what each
//! label leaves of the budget.
//!
//! ```text
//!           labels of a side, weights rising
//!  ◀── the other classes make   │   the other classes take
//!      their next moves         │   their last moves back ──▶
//!                   what the base leaves
//! ```
//! Both directions are one pass over labels and moves, because what is left changes one way. The
//! last move is made in part for the bound, and not at all (or taken back whole) for an assignment.

use std::ops::Range;

use super::closing::{Label, Owner, Search, Side};
use super::hull::Move;

/// The assignment nearest to a label's bound.
struct Rounded {
    cost: f64,
    /// Its place in the side.
    label: usize,
    moves: Moves,
}

/// Moves that lead to it from the base, on classes that the label's side does not own.
enum Moves {
    /// These are made.
    Made(Range<usize>),
    /// These are taken back.
    Undone(Range<usize>),
}

/// Moves of the other classes, one after another, and what they add up to.
#[derive(Default)]
struct Walk {
    weight: f64,
    saving: f64,
    next: usize,
}

impl Walk {
    /// Goes on while whole moves stay within `weight`; returns the one that does not.
    fn within<'a>(
        &mut self,
        weight: f64,
        move_at: impl Fn(usize) -> Option<&'a Move>,
        other: impl Fn(&Move) -> bool,
    ) -> Option<&'a Move> {
        while let Some(one) = move_at(self.next) {
            if other(one) {
                if self.weight + one.weight > weight {
                    return Some(one);
                }
                self.weight += one.weight;
                self.saving += one.saving;
            }
            self.next += 1;
        }
        None
    }

    /// What the part of a move that fills `weight` saves.
    fn part(&self, weight: f64, one: &Move) -> f64 {
        one.saving * ((weight - self.weight) / one.weight)
    }
}

impl Search<'_> {
    /// Bounds every label, rounds it to an assignment, and drops those that cannot be better than
    /// the best.
    pub(super) fn cut(&mut self, side: &mut Side) {
        let spare = self.relaxed.spare;
        let light = side.labels.partition_point(|label| label.weight <= spare);
        let (lighter, heavier) = side.labels.split_at_mut(light);
        let filled = self.fill(side.owner, lighter);
        let relieved = self.relieve(side.owner, heavier, light);
        for rounded in [filled, relieved].into_iter().flatten() {
            if rounded.cost < self.best_cost {
                let mut places = self.relaxed.base.clone();
                self.round(side.owner, rounded.moves, &mut places);
                self.walk(side.labels[rounded.label].trail, &mut places);
                self.improve(places);
            }
        }
        let cutoff = self.cutoff();
        side.labels.retain(|label| label.bound < cutoff);
        let bounds = side.labels.iter().map(|label| label.bound);
        side.floor = bounds.fold(f64::INFINITY, f64::min);
    }

    /// Bounds of the labels that leave some of the budget: the others make their next moves.
    /// Returns the cheapest rounding.
    fn fill(&self, owner: Owner, labels: &mut [Label]) -> Option<Rounded> {
        let relaxed = self.relaxed;
        let forward = |k: usize| relaxed.moves.get(relaxed.critical + k);
        let mut walk = Walk::default();
        let mut best: Option<Rounded> = None;
        for (index, label) in labels.iter_mut().enumerate().rev() {
            let spare = relaxed.spare - label.weight;
            let partial = walk.within(spare, forward, |m| self.owners[m.class] != owner);
            let cost = relaxed.cost + label.cost - walk.saving;
            label.bound = cost - partial.map_or(0.0, |one| walk.part(spare, one));
            label.multiplier = partial.map_or(0.0, |one| one.slope);
            if best.as_ref().is_none_or(|best| cost < best.cost) {
                let moves = Moves::Made(relaxed.critical..relaxed.critical + walk.next);
                best = Some(Rounded {
                    cost,
                    label: index,
                    moves,
                });
            }
        }
        best
    }

    /// Bounds of the labels that exceed the budget, the first of them at place `first`: the others
    /// take their last moves back; infinite if that is not enough. Returns the cheapest rounding.
    fn relieve(&self, owner: Owner, labels: &mut [Label], first: usize) -> Option<Rounded> {
        let relaxed = self.relaxed;
        let back = |k: usize| Some(&relaxed.moves[relaxed.critical.checked_sub(k + 1)?]);
        let mut walk = Walk::default();
        let mut best: Option<Rounded> = None;
        for (index, label) in labels.iter_mut().enumerate() {
            let excess = label.weight - relaxed.spare;
            let partial = walk.within(excess, back, |m| self.owners[m.class] != owner);
            let cost = relaxed.cost + label.cost + walk.saving;
            let Some(one) = partial else {
                // All moves are taken back. Exactly enough is met by a budget less by nothing; the
                // steepest slope is a multiplier for it.
                label.bound = if walk.weight < excess {
                    f64::INFINITY
                } else {
                    cost
                };
                label.multiplier = relaxed.moves[0].slope;
                continue;
            };
            label.bound = cost + walk.part(excess, one);
            label.multiplier = one.slope;
            let cost = cost + one.saving;
            if best.as_ref().is_none_or(|best| cost < best.cost) {
                let undone = relaxed.critical - walk.next - 1..relaxed.critical;
                best = Some(Rounded {
                    cost,
                    label: first + index,
                    moves: Moves::Undone(undone),
                });
            }
        }
        best
    }

    /// Makes or takes back moves of classes that `owner` does not own.
    fn round(&self, owner: Owner, moves: Moves, places: &mut [usize]) {
        let free = |class: usize| self.owners[class] != owner;
        match moves {
            Moves::Made(range) => {
                for one in self.relaxed.moves[range].iter().filter(|m| free(m.class)) {
                    places[one.class] = one.to;
                }
            }
            Moves::Undone(range) => {
                let last_first = self.relaxed.moves[range].iter().rev();
                for one in last_first.filter(|m| free(m.class)) {
                    places[one.class] = one.from;
                }
            }
        }
    }
}
