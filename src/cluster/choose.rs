//! How many clusters, when nobody says: see [`Clusters::Auto`].

use std::collections::BTreeMap;

use super::{Clusters, Hands, Params, Points, fit};

/// Up to this many numbers are all tried.
const ALL: usize = 64;

/// The number `k` with the least inertia + `k * noise`.
///
/// The sum falls while a further centre explains more than noise, then rises. So it is looked for on a coarse grid (each number some
/// half larger than the last), then between the neighbours of the best, until no number is left between them.
pub(super) fn clusters(points: &Points, noise: f64, seed: u64, hands: Hands) -> usize {
    let params = Params { clusters: Clusters::Auto { noise }, starts: None, seed };
    let mut known = BTreeMap::new();
    let mut cost = |k: usize| {
        *known.entry(k).or_insert_with(|| fit(points, k, &params, hands).inertia + k as f64 * noise)
    };
    let (mut low, mut high) = (points.distinct().min(1), points.distinct());
    loop {
        let tried = if high - low < ALL { (low..=high).collect() } else { steps(low, high) };
        let costs: Vec<f64> = tried.iter().map(|&k| cost(k)).collect();
        let best = (1..tried.len()).fold(0, |best, i| if costs[i] < costs[best] { i } else { best });
        if tried.len() > high - low {
            return tried[best];
        }
        (low, high) = (tried[best.saturating_sub(1)], tried[(best + 1).min(tried.len() - 1)]);
    }
}

/// At most 16 numbers in geometric steps, both ends included.
fn steps(low: usize, high: usize) -> Vec<usize> {
    const STEPS: i32 = 16;
    let ratio = (high as f64 / low as f64).powf(1.0 / f64::from(STEPS - 1));
    let step = |i| (low as f64 * ratio.powi(i)).round() as usize;
    let mut steps: Vec<usize> = (0..STEPS).map(|i| step(i).clamp(low, high)).collect();
    steps.dedup();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Simd;

    #[test]
    fn steps_cover_the_range() {
        let steps = steps(1, 1200);
        assert_eq!((steps[0], steps[steps.len() - 1]), (1, 1200));
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
    }

    fn check(line: &[f64], noise: f64, k: usize) {
        let points = Points::from_rows(&line.iter().map(|&x| [x]).collect::<Vec<_>>());
        assert_eq!(clusters(&points, noise, 0, Simd::Portable.into()), k, "{line:?}, noise {noise}");
    }

    #[test]
    fn a_centre_must_explain_more_than_noise() {
        check(&[], 1.0, 0);
        check(&[1.0], 1.0, 1);
        check(&[1.0, 1.0], 1.0, 1);
        // Apart, two points cost 2 * noise; together noise and half of their distance squared.
        check(&[1.0, 2.0], 0.6, 1);
        check(&[1.0, 2.0], 0.4, 2);
        check(&[1.0, 1.1, 5.0, 5.1, 9.0, 9.1], 0.1, 3);
    }

    #[test]
    fn many_numbers_are_not_all_tried() {
        let line: Vec<f64> = (0..300).map(|i| f64::from(i / 3) * 10.0 + f64::from(i % 3) * 0.01).collect();
        check(&line, 0.1, 100);
    }
}
