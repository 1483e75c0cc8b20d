//! Medians, and how far they can be trusted.

use serde::{Deserialize, Serialize};

/// How often a sample is drawn again for an interval.
const RESAMPLES: usize = 1000;

/// A median with its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    pub fn of(values: &[f64]) -> Self {
        // The same draws in each run: what differs between runs is what was measured.
        let mut random = fastrand::Rng::with_seed(1);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let mut drawn: Vec<f64> = (0..values.len())
                    .map(|_| values[random.usize(..values.len())])
                    .collect();
                median(&mut drawn)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Self {
            median: median(&mut values.to_vec()),
            low: medians[RESAMPLES / 40],
            high: medians[RESAMPLES - 1 - RESAMPLES / 40],
        }
    }
}

/// Sorts the values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values {
        [] => f64::NAN,
        _ => (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_interval_is_around_the_median() {
        let values: Vec<f64> = (0..101).map(f64::from).collect();
        let estimate = Estimate::of(&values);
        assert_eq!(estimate.median, 50.0);
        assert!((30.0..50.0).contains(&estimate.low), "{estimate:?}");
        assert!((50.0..70.0).contains(&estimate.high), "{estimate:?}");
    }
}
