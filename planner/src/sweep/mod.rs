//! What-if: the same question at many values of some of its numbers.
//!
//! ```text
//! Question + axes ─▶ points 0..n ─▶ each planned (or one of some given plans) ─▶ rows, in order
//! ```
//! Guarantees: a row depends on its point alone, and rows come in the order of their points at any
//! number of threads; so a sweep that stopped goes on behind its last row.

pub mod axis;
mod compare;
pub mod field;
mod frontier;
mod tornado;

use std::ops::Range;

use rayon::prelude::*;
use sim::plan::Plan;

use crate::search::{self, Candidate, PlanningError, Question, Shared};
pub use axis::{Axis, AxisError};
pub use compare::{Comparison, Footing, Side, Turn, compare};
pub use field::{Field, Value};
pub use frontier::frontier;
pub use tornado::{Swing, tornado};

/// What is visited.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The question that the axes change.
    pub question: Question,
    /// The axes; the last varies fastest.
    pub axes: Vec<Axis>,
    /// Plans to compare at each point; none lets the planner choose.
    pub plans: Vec<Plan>,
}

/// One point of a sweep.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its values, one for each axis.
    pub values: Vec<Value>,
    /// What was found, or why nothing serves this point.
    pub found: Result<Found, String>,
}

/// A plan at a point.
#[derive(Clone, Debug)]
pub struct Found {
    /// The plan with its figures.
    pub candidate: Candidate,
    /// Latency of one GPU over this.
    pub speed_up: f64,
    /// US dollars for one image or video: the plan's GPUs, rented for as long as the request takes; none where a GPU has
    /// no price.
    pub cost_each_usd: Option<f64>,
    /// Plans considered and simulated; one and one where the plan was given.
    pub considered: usize,
    /// Plans simulated.
    pub simulated: usize,
}

impl Sweep {
    /// Points: the product of the axes' values and of the plans, if there are some.
    #[must_use]
    pub fn points(&self) -> usize {
        let axes = self.axes.iter().map(|axis| axis.values.len());
        axes.product::<usize>() * self.plans.len().max(1)
    }

    /// The values of a point, and which of the given plans.
    fn at(&self, point: usize) -> (Vec<Value>, Option<&Plan>) {
        let plans = self.plans.len().max(1);
        let mut rest = point / plans;
        let mut values: Vec<Value> = self
            .axes
            .iter()
            .rev()
            .map(|axis| {
                let value = axis.values[rest % axis.values.len()];
                rest /= axis.values.len();
                value
            })
            .collect();
        values.reverse();
        (values, self.plans.get(point % plans))
    }

    /// The rows of some points, in order; what they have in common is worked out once.
    #[must_use]
    pub fn rows(&self, points: Range<usize>, shared: &Shared) -> Vec<Row> {
        let row = |point: usize| {
            let (values, plan) = self.at(point);
            let found = self.found(&values, plan, shared);
            Row { values, found }
        };
        points.into_par_iter().map(row).collect()
    }

    fn found(
        &self,
        values: &[Value],
        plan: Option<&Plan>,
        shared: &Shared,
    ) -> Result<Found, String> {
        let mut question = self.question.clone();
        for (axis, value) in self.axes.iter().zip(values) {
            axis.field.set(&mut question, *value)?;
        }
        let found = match plan {
            None => search::winner(&question, shared),
            Some(plan) => search::judge(&question, plan, shared),
        };
        found.map_err(|error: PlanningError| error.to_string())
    }

    /// The points from `first` on, in order, a few at a time.
    pub fn chunks(&self, first: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        // A given plan takes about a millisecond, a search a hundred.
        let size = if self.plans.is_empty() { 32 } else { 256 };
        let points = self.points();
        let starts = (first..points).step_by(size);
        starts.map(move |start| start..points.min(start + size))
    }
}
