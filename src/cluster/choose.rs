//! How many clusters, when nobody says: see [`Clusters::Auto`].

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::search::sample;
use super::{Clusters, Params, Points, fit};
use crate::simd::Simd;

/// Points that are looked at: some 50 searches of 4,096 points take some 10 s.
const POINTS: usize = 4096;

/// Numbers tried at a time.
const TRIED: usize = 32;

/// Numbers of which each is tried.
const ALL: usize = 64;

/// The number with the highest median of the simplified silhouettes.
pub(super) fn clusters(points: &Points, seed: u64, simd: Simd) -> usize {
    if points.len() > POINTS {
        let drawn = sample(points.len(), POINTS, &mut ChaCha8Rng::seed_from_u64(seed));
        return clusters(&points.select(&drawn), seed, simd);
    }
    let distinct = points.distinct();
    let (mut low, mut high) = (2, distinct.saturating_sub(1));
    if high <= low {
        return high.max(distinct.min(1));
    }
    let starts = (1000 / points.len()).clamp(1, 5);
    let params = Params { clusters: Clusters::Auto, starts, seed };
    loop {
        let tried = if high - low < ALL { (low..=high).collect() } else { steps(low, high) };
        let medians: Vec<f64> =
            tried.iter().map(|&k| median(fit(points, k, &params, simd).silhouette)).collect();
        let best = (1..tried.len()).fold(0, |best, i| if medians[i] > medians[best] { i } else { best });
        if tried.len() > high - low {
            return tried[best];
        }
        (low, high) = (tried[best.saturating_sub(1)], tried[(best + 1).min(tried.len() - 1)]);
    }
}

/// About 32 numbers in geometric steps, both ends included.
fn steps(low: usize, high: usize) -> Vec<usize> {
    let ratio = (high as f64 / low as f64).powf(1.0 / (TRIED - 1) as f64);
    let step = |i| (low as f64 * ratio.powi(i)).round() as usize;
    let mut steps: Vec<usize> = (0..TRIED as i32).map(|i| step(i).clamp(low, high)).collect();
    steps.dedup();
    steps
}

/// The lower of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_the_range() {
        let steps = steps(2, 1199);
        assert_eq!((steps[0], steps[steps.len() - 1]), (2, 1199));
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1] && pair[1] * 2 < pair[0] * 3 + 3));
    }

    #[test]
    fn tiny_sets_have_a_number() {
        for (line, k) in
            [(vec![], 0), (vec![1.0], 1), (vec![1.0, 1.0], 1), (vec![1.0, 2.0], 1), (vec![1., 2., 9.], 2)]
        {
            let points = Points::from_rows(&line.iter().map(|&x| [x]).collect::<Vec<_>>());
            assert_eq!(clusters(&points, 0, Simd::Portable), k, "{line:?}");
        }
    }
}
