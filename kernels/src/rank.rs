//! Percentiles of measured values.

/// The value that lies nearest to a share of the way through ascending values: 0.5 is the median, 1 the largest.
///
/// ```
/// assert_eq!(kernels::nearest_rank(&[1.0, 2.0, 3.0, 4.0, 6.0], 0.9), 6.0);
/// ```
///
/// # Panics
/// Without values, and for a share above 1.
#[must_use]
pub fn nearest_rank(ascending: &[f64], share: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * share).round() as usize]
}
