//! One option for each class under a budget, at the least cost: the multiple-choice knapsack, solved
//! to a proof.
//!
//! ```text
//! min  sum_i cost(i, j_i)     subject to  sum_i weight(i, j_i) <= budget,   one option j_i per class i
//!
//! classes, options                   relaxation                       closing
//! ┌────────────────────┐   hull of   ┌───────────────────────────┐    ┌──────────────────────────┐
//! │ beaten and too     │──each class▶│ greedy over moves by      │───▶│ labels of the classes    │──▶ Solution
//! │ heavy ones dropped │             │ saving per weight: bound, │    │ near the multiplier, cut │    + Certificate
//! └────────────────────┘             │ multiplier, one fraction  │    │ by the same bound        │
//!                                    └───────────────────────────┘    └──────────────────────────┘
//! ```
//! For the planner a class is a layer (or a layer and a phase of the steps), an option a compressor,
//! the cost its time and the weight the energy of its error; any two units will do.
//!
//! Guarantees:
//! 1. Unless [`Proof::LabelLimit`] says otherwise, no assignment is cheaper by more than 1e-9 of the
//!    cost. Weights are never rounded to a grid: that costs per cents with a thousand classes.
//! 2. [`Certificate::linear_bound`] needs no trust in the search: with the multiplier m it is
//!    `sum_i min_j (cost + m weight) - m budget`, which anyone can add up.
//! 3. The same instance gives the same answer, to the bit. Of equal options the first is taken.
//!
//! Measured: every random kind of 57 classes x 12 options is proved, as are all but two of 1,596
//! classes. [`instances::Kind::Ties`], sums on a grid coarser than the gap, and
//! [`instances::Kind::Wide`], a few classes that outweigh a thousand others, can meet the limit after
//! a second with a gap of 1e-4 and 2e-2.
//!
//! Not modelled: costs that depend on the choice of another class (see [`coupled`]), a second
//! budget. Sums are of 64-bit floats, and a weight may exceed the budget by 1e-12 of it, so that
//! `0.1 + 0.2` keeps a budget of `0.3`.

mod bounds;
mod closing;
mod coupled;

mod hull;
pub mod instances;
mod relaxation;

#[cfg(test)]
mod theorems;

use std::ops::RangeInclusive;

use thiserror::Error;

pub use coupled::{Coupled, End, Round, coupled};
pub use relaxation::{Frontier, Point, frontier};

/// A weight keeps the budget up to this part of it.
const SLACK: f64 = 1e-12;

/// An optimum is proved to this part of its cost.
pub const TOLERANCE: f64 = 1e-9;

/// Numbers that are not zero lie in here, so that no slope and no product of two is infinite.
const RANGE: RangeInclusive<f64> = 1e-80..=1e80;

/// An option of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// What is to be small, in the unit of all costs; 0 or from 1e-80 to 1e80.
    pub cost: f64,
    /// What the budget limits, in the unit of the budget; 0 or from 1e-80 to 1e80.
    pub weight: f64,
}

/// Classes of options and a budget; every number is 0 or from 1e-80 to 1e80, no class is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    classes: Vec<Vec<Item>>,
    budget: f64,
}

/// Why no instance or no assignment exists.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Fault {
    /// A class without options.
    #[error("class {class} has no option; give it at least the uncompressed one")]
    Empty {
        /// Which class.
        class: usize,
    },
    /// A cost or weight that is negative, not a number or out of range.
    #[error("class {class}, option {option}: cost {} and weight {} must each be 0 or between 1e-80 and 1e80", .item.cost, .item.weight)]
    Item {
        /// Which class.
        class: usize,
        /// Which of its options.
        option: usize,
        /// The option.
        item: Item,
    },
    /// A budget that is negative, not a number or out of range.
    #[error("the budget {0} must each be 0 or between 1e-80 and 1e80")]
    Budget(f64),
    /// Even the lightest options exceed the budget.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
}

/// Even the lightest options exceed the budget.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error(
    "no assignment keeps a budget of {budget}: the lightest options weigh {least_weight} together"
)]
pub struct Infeasible {
    /// The least budget that can be kept.
    pub least_weight: f64,
    /// The budget.
    pub budget: f64,
}

impl Instance {
    /// Checks every number.
    ///
    /// # Errors
    /// An empty class; a number that is negative, not a number or out of range.
    pub fn new(classes: Vec<Vec<Item>>, budget: f64) -> Result<Self, Fault> {
        let sound = |x: f64| x == 0.0 || RANGE.contains(&x);
        if !sound(budget) {
            return Err(Fault::Budget(budget));
        }
        for (class, items) in classes.iter().enumerate() {
            if items.is_empty() {
                return Err(Fault::Empty { class });
            }
            let wrong = |item: &Item| !sound(item.cost) || !sound(item.weight);
            if let Some(option) = items.iter().position(wrong) {
                let item = items[option];
                return Err(Fault::Item {
                    class,
                    option,
                    item,
                });
            }
        }
        Ok(Self { classes, budget })
    }

    /// The options of every class.
    #[must_use]
    pub fn classes(&self) -> &[Vec<Item>] {
        &self.classes
    }

    /// The most that the chosen options may weigh.
    #[must_use]
    pub fn budget(&self) -> f64 {
        self.budget
    }

    /// The same classes under another budget.
    ///
    /// # Errors
    /// A budget that is negative, not a number or out of range.
    pub fn with_budget(&self, budget: f64) -> Result<Self, Fault> {
        Self::new(self.classes.clone(), budget)
    }

    /// Cost and weight of an assignment, added in the order of the classes.
    ///
    /// # Panics
    /// If `chosen` does not name one option of each class.
    #[must_use]
    pub fn total(&self, chosen: &[usize]) -> Item {
        assert_eq!(
            chosen.len(),
            self.classes.len(),
            "an assignment names one option of each class"
        );
        let mut total = Item {
            cost: 0.0,
            weight: 0.0,
        };
        for (items, &option) in self.classes.iter().zip(chosen) {
            total.cost += items[option].cost;
            total.weight += items[option].weight;
        }
        total
    }
}

/// The best assignment and what proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The option of each class.
    pub chosen: Vec<usize>,
    /// What they cost together.
    pub cost: f64,
    /// What they weigh together.
    pub weight: f64,
    /// How far from optimal this can be, and why.
    pub certificate: Certificate,
}

/// How far from optimal an assignment can be, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certificate {
    /// What a unit of budget saves at the margin, in cost per weight: the Lagrange multiplier.
    pub multiplier: f64,
    /// The optimum if one class could mix two options: the Lagrangian bound of the multiplier.
    pub linear_bound: f64,
    /// No assignment costs less.
    pub lower_bound: f64,
    /// (cost - lower bound) / cost; 0 if the cost is 0.
    pub gap: f64,
    /// Why the search ended.
    pub proof: Proof,
    /// Partial assignments that were looked at after the relaxation.
    pub labels: usize,
}

/// Why the search for a better assignment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The relaxation mixes no options: it is the optimum.
    Relaxation,
    /// No partial assignment was left that could be better by more than [`TOLERANCE`].
    Exhausted,
    /// The limit on labels was met; the gap is what could not be excluded.
    LabelLimit,
}

/// The cheapest assignment that keeps the budget, proved to [`TOLERANCE`].
///
/// ```
/// use planner::assign::{Instance, Item, solve};
/// let item = |cost, weight| Item { cost, weight };
/// let layer = || vec![item(9.0, 0.0), item(4.0, 1.0), item(1.0, 4.0)];
/// let best = solve(&Instance::new(vec![layer(), layer()], 5.0)?)?;
/// assert_eq!((best.cost, best.weight), (5.0, 5.0));
/// # Ok::<(), planner::assign::Fault>(())
/// ```
///
/// # Errors
/// If even the lightest options exceed the budget.
pub fn solve(instance: &Instance) -> Result<Solution, Infeasible> {
    solve_within(instance, closing::LABELS)
}

/// As [`solve`], but looks at `labels` partial assignments at most (40 bytes each at most).
///
/// # Errors
/// If even the lightest options exceed the budget.
pub fn solve_within(instance: &Instance, labels: usize) -> Result<Solution, Infeasible> {
    let relaxed = relaxation::relax(instance)?;
    let found = closing::close(&relaxed, labels);
    let chosen = relaxed.options(&found.choices);
    let Item { cost, weight } = instance.total(&chosen);
    assert!(
        weight <= instance.budget * (1.0 + SLACK),
        "the search keeps the budget: {weight} of {}",
        instance.budget
    );
    let lower_bound = match found.proof {
        Proof::Relaxation => cost,
        Proof::Exhausted | Proof::LabelLimit => found.lower_bound.min(cost),
    };
    let gap = if cost > 0.0 {
        (cost - lower_bound) / cost
    } else {
        0.0
    };
    Ok(Solution {
        chosen,
        cost,
        weight,
        certificate: Certificate {
            multiplier: relaxed.multiplier,
            linear_bound: relaxed.bound,
            lower_bound,
            gap,
            proof: found.proof,
            labels: found.labels,
        },
    })
}
