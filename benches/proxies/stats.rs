//! Medians, and an interval that assumes nothing of the distribution.

/// The median; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => f64::midpoint(*a, *b),
        _ => f64::NAN,
    }
}

/// The tightest symmetric pair of order statistics that covers the median with at least 95 %; None below six values,
/// where even the extremes cover less.
pub(crate) fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let n = sorted.len();
    // With k values left out at either end, the median is missed with probability 2 * P(Binomial(n, 1/2) <= k).
    let mut left_out = None;
    let (mut term, mut tail) = (0.5_f64.powi(n as i32), 0.0);
    for k in 0..n / 2 {
        tail += term;
        if 2.0 * tail > 0.05 {
            break;
        }
        left_out = Some(k);
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    left_out.map(|k| (sorted[k], sorted[n - 1 - k]))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
