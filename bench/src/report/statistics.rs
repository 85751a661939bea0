//! Computes the figures of a subject from its costs, one per round: quantiles, and ratios to
//! another subject.
//!
//! The speed of a machine changes during a measurement, so a ratio's spread is that of the ratios
//! within each round; the ratio itself is that of the medians.

/// The quantiles of a subject's costs.
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) p10: f64,
    pub(super) p90: f64,
}

/// The costs of a subject relative to those of another.
pub(super) struct Ratio {
    /// The ratio of the medians.
    pub(super) of_medians: f64,
    /// Quantiles of the ratios within each round.
    pub(super) p25: f64,
    pub(super) p75: f64,
}

impl Summary {
    pub(super) fn new(costs: &[f64]) -> Self {
        let sorted = sorted(costs);
        let at = |share| quantile(&sorted, share);
        Self { median: at(0.5), p10: at(0.1), p90: at(0.9) }
    }
}

impl Ratio {
    /// Computes the ratio; costs at the same index are of the same round.
    pub(super) fn new(costs: &[f64], base: &[f64]) -> Self {
        let rounds: Vec<f64> = costs.iter().zip(base).map(|(cost, base)| cost / base).collect();
        let rounds = sorted(&rounds);
        Self {
            of_medians: median(costs) / median(base),
            p25: quantile(&rounds, 0.25),
            p75: quantile(&rounds, 0.75),
        }
    }
}

/// Returns the median.
pub(super) fn median(costs: &[f64]) -> f64 {
    quantile(&sorted(costs), 0.5)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Returns a quantile of sorted values, interpolated linearly; NaN if there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Summary, quantile};

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn costs_are_summed_up_in_any_order() {
        let costs: Vec<f64> = (0..=100).map(|cost| f64::from(100 - cost)).collect();
        let summary = Summary::new(&costs);
        assert_eq!((summary.p10, summary.median, summary.p90), (10.0, 50.0, 90.0));
    }

    #[test]
    fn ratio_is_of_medians_and_its_spread_of_rounds() {
        let ratio = Ratio::new(&[2.0, 4.0, 9.0], &[1.0, 2.0, 3.0]);
        assert_eq!(ratio.of_medians, 2.0);
        assert_eq!((ratio.p25, ratio.p75), (2.0, 2.5));
    }
}
