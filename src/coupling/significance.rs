//! When evidence is enough, and how sure it then is.

use statrs::distribution::{ContinuousCDF, Normal};

/// A tail that falls off as a normal one does is trusted this far: the spread is estimated, from few
/// pairs in a small park. Parks without any dependency say how far (`tests/false_discoveries`).
const MARGIN: f64 = 0.3;

/// The same where bins are shorter than a second: what a VM does then comes in bursts, and tails are heavier.
const FINE_MARGIN: f64 = 0.15;

/// Bins shorter than this are fine, ms.
const FINE_MS: u64 = 1000;

/// Evidence of dependent pairs spreads about so widely: a standard deviation of 8 (the recordings, 2 to 10 minutes).
const SPREAD: f64 = 8.0;

/// What counts in a park of so many pairs, each compared in so many ways.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Significance {
    pairs: f64,
    threshold: f64,
    discount: f64,
    margin: f64,
}

impl Significance {
    /// For all pairs of `vms` VMs, each compared in the plain way and in `others` more, by bins of `finest_ms` or
    /// more; at most the share `fdr` of what is significant may be false.
    pub fn new(vms: usize, others: usize, finest_ms: u64, fdr: f64) -> Self {
        let margin = if finest_ms < FINE_MS { FINE_MARGIN } else { MARGIN };
        let pairs = (vms as f64 * (vms as f64 - 1.0) / 2.0).max(1.0);
        // Both signs; half of what may be false for the plain comparison, half for all others.
        let alpha = fdr * margin / pairs / 4.0;
        let threshold = quantile(alpha);
        Significance {
            pairs,
            threshold,
            discount: threshold / quantile(alpha / others.max(1) as f64),
            margin,
        }
    }

    /// The z from which on a pair is significant.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// What one standard deviation in another than the plain comparison is worth: there are more of them.
    pub fn discount(&self) -> f64 {
        self.discount
    }

    /// The z that about `expected` of all independent pairs exceed, on either side, in one of `ways`.
    pub fn exceeded_by(&self, expected: f64, ways: usize) -> f64 {
        quantile(expected / self.pairs / 2.0 / ways.max(1) as f64)
    }

    /// The false discovery rate at which a pair with this evidence would just be reported: bounded by the chance that
    /// any one of all pairs shows as much (Bonferroni).
    pub fn q(&self, z: f64) -> f64 {
        (tail(z.abs()) * 4.0 * self.pairs / self.margin).min(1.0)
    }

    /// The local false discovery rate if `dependent` of all pairs depend: of two groups, the independent standard normal,
    /// the dependent normal with a standard deviation of 8 (Efron 2004).
    pub fn local_rate(&self, z: f64, dependent: f64) -> f64 {
        let odds = dependent.max(1.0) / (self.pairs - dependent).max(1.0);
        let log_odds = z * z / 2.0 * (1.0 - 1.0 / SPREAD / SPREAD) - SPREAD.ln() + odds.ln();
        1.0 / (1.0 + log_odds.exp())
    }
}

/// The chance that a standard normal variable exceeds `z`.
pub fn tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// What a standard normal variable exceeds with this chance.
fn quantile(chance: f64) -> f64 {
    -Normal::standard().inverse_cdf(chance.clamp(1e-300, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_pairs_and_more_ways_ask_for_more() {
        let [small, large] = [35, 100_000].map(|vms| Significance::new(vms, 20, 1000, 0.01));
        assert!((small.threshold() - 4.71).abs() < 0.01, "{}", small.threshold());
        assert!((large.threshold() - 7.29).abs() < 0.01, "{}", large.threshold());
        assert!(Significance::new(35, 20, 100, 0.01).threshold() > small.threshold());
        assert!(small.discount() < 0.95 && small.discount() > 0.8);
        assert!((small.q(small.threshold()) - 0.01).abs() < 1e-6);
        assert!(small.exceeded_by(1e9, 1) == 0.0 && small.exceeded_by(1.0, 1) > 2.9);
    }

    #[test]
    fn what_is_just_significant_is_likely() {
        let park = Significance::new(35, 20, 1000, 0.01);
        assert!(park.local_rate(park.threshold(), 40.0) < 0.01);
        assert!(park.local_rate(0.0, 40.0) > 0.9);
        assert_eq!(park.local_rate(60.0, 40.0), 0.0);
    }
}
