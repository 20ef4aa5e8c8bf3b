//! The frontier of several figures of which less is better.

use std::cmp::Ordering;

/// Whether each point is on the frontier: no other is at least as good in all figures and better in one. Of equal
/// points the first is. A figure that is NaN is not known, and counts as worse than all that are.
///
/// Time: n log n, and n times the size of the frontier.
#[must_use]
pub fn frontier<const N: usize>(points: &[[f64; N]]) -> Vec<bool> {
    let known = |figure: f64| {
        if figure.is_nan() {
            f64::INFINITY
        } else {
            figure
        }
    };
    let points: Vec<[f64; N]> = points.iter().map(|point| point.map(known)).collect();
    let ascending = |a: &usize, b: &usize| {
        let figures = points[*a].iter().zip(&points[*b]);
        let mut orders = figures.map(|(a, b)| a.total_cmp(b));
        let first = orders.find(|order| order.is_ne());
        first.unwrap_or(Ordering::Equal).then(a.cmp(b))
    };
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(ascending);
    // Whatever is at least as good as a point stands before it in this order.
    let mut kept: Vec<usize> = Vec::new();
    let mut on = vec![false; points.len()];
    for index in order {
        let no_worse = |other: &usize| (0..N).all(|it| points[*other][it] <= points[index][it]);
        if !kept.iter().any(no_worse) {
            kept.push(index);
            on[index] = true;
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_figures_lose_against_known_ones_only() {
        let unknown = f64::NAN;
        let points = [[1.0, unknown], [2.0, 3.0], [3.0, unknown], [3.0, 3.0]];
        assert_eq!(frontier(&points), [true, true, false, false]);
    }

    proptest! {
        /// On the frontier is exactly what nothing dominates, of equals the first.
        #[test]
        fn it_is_what_nothing_dominates(points in prop::collection::vec(prop::array::uniform3(0_u8..6), 0..40)) {
            let points: Vec<[f64; 3]> = points.iter().map(|point| point.map(f64::from)).collect();
            for (index, on) in frontier(&points).into_iter().enumerate() {
                let point = points[index];
                let dominated = points.iter().enumerate().any(|(other, it)| {
                    it.iter().zip(point).all(|(a, b)| *a <= b) && (*it != point || other < index)
                });
                prop_assert_eq!(on, !dominated);
            }
        }
    }
}
