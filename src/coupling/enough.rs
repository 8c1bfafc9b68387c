//! How long is enough? What shorter windows would have shown of what a window shows.

use serde::{Deserialize, Serialize};

use super::significance;

/// Of the dependencies, enough is a window that shows so many.
const SHARE: f64 = 0.95;
/// No more than so many times the window is said to be needed: farther, nothing is known.
const FARTHEST: f64 = 4.0;
/// A window's length is said to about a hundredth: 4 halved so often is less.
const HALVINGS: u32 = 9;

/// How much of a window is enough.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Enough {
    /// The share of the dependencies that another window of half the length would show.
    pub by_half: f64,
    /// The length of windows that would show 95 % of them, as a share of this one's; at most 4.
    pub needed: f64,
}

impl Enough {
    /// For dependencies with this evidence, in standard deviations, of which `threshold` is enough; none without any.
    ///
    /// Evidence grows with the square root of the time that it is gathered in, and one more window gives it a
    /// standard deviation more or less.
    pub fn new(evidence: &[f64], threshold: f64) -> Option<Self> {
        let shown = |share: f64| {
            let found = |z: &f64| significance::tail(threshold - z.abs() * share.sqrt());
            evidence.iter().map(found).sum::<f64>() / evidence.len() as f64
        };
        let (mut low, mut high) = (0.0, FARTHEST);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            *if shown(middle) < SHARE { &mut low } else { &mut high } = middle;
        }
        (!evidence.is_empty()).then(|| Enough { by_half: shown(0.5), needed: high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_evidence_needs_little_and_weak_more() {
        assert_eq!(Enough::new(&[], 5.0), None);
        // Needed: (5 + 1.645) / z, squared.
        for (z, by_half, needed) in [(5.0, 0.071, 1.766), (-10.0, 0.981, 0.442), (50.0, 1.0, 0.018)] {
            let enough = Enough::new(&[z; 8], 5.0).unwrap();
            assert!((enough.by_half - by_half).abs() < 2e-3, "{enough:?}");
            assert!((enough.needed - needed).abs() < 0.01, "{enough:?}");
        }
        // One of eleven is hopeless: more than 95 % cannot be had.
        let mut evidence = [20.0; 11];
        evidence[0] = 0.1;
        assert_eq!(Enough::new(&evidence, 5.0).unwrap().needed, FARTHEST);
    }
}
