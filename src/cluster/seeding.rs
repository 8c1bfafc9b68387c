//! Where the search starts: points that are far from each other, drawn by chance.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::nearest::{Columns, Rows, halves};
use super::partition::fold;
use crate::simd::Simd;

/// Candidates drawn at a time: a tile's height.
const DRAWN: usize = 6;

/// How many of them are taken, so that the products of a tile are used that often. The inertia before the
/// search is up to 1.5 % higher than with one, after it no different, and the time two fifths.
const TAKEN: usize = 3;

/// At most `k` different rows, by greedy k-means++ (Arthur and Vassilvitskii, 2007): candidates are drawn
/// with probabilities proportional to the squared distance from the nearest row chosen so far, and of
/// these, one after the other, the ones that leave the least sum of squared distances are chosen.
/// Fewer than `k` only if all rows are (nearly) equal to chosen ones; at least one.
pub(super) fn seeds(rows: &Rows, k: usize, rng: &mut ChaCha8Rng, simd: Simd) -> Vec<u32> {
    let mut columns = Columns::new(rows.dims(), simd);
    columns.pack((0..rows.len() as u32).map(|x| (x, 1.0, rows.row(x))));
    let mut nearest = vec![f32::MAX; rows.len()];
    let (mut chosen, mut sums, mut found) = (Vec::new(), vec![0.0; rows.len()], Vec::new());
    while chosen.len() < k {
        let total = prefix_sums(&nearest, &mut sums);
        if total <= 0.0 {
            break;
        }
        let drawn: [u32; DRAWN] = std::array::from_fn(|_| {
            let below = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
            sums.partition_point(|&sum| sum <= below).min(rows.len() - 1) as u32
        });
        let stride = halves(rows, &drawn, &columns, &mut found);
        for _ in 0..TAKEN.min(k - chosen.len()) {
            let open = (0..DRAWN).filter(|&i| nearest[drawn[i] as usize] > 0.0);
            let left = open.map(|i| (potential(&nearest, &found[i * stride..]), i));
            let Some((_, i)) = left.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
            let better = nearest.iter_mut().zip(&found[i * stride..]);
            better.for_each(|(near, &d)| *near = near.min(d));
            nearest[drawn[i] as usize] = 0.0;
            chosen.push(drawn[i]);
        }
    }
    chosen
}

/// Running sums; gives back the total.
fn prefix_sums(values: &[f32], sums: &mut [f64]) -> f64 {
    let mut total = 0.0;
    for (sum, &value) in sums.iter_mut().zip(values) {
        total += f64::from(value);
        *sum = total;
    }
    total
}

/// What is left of the distances when these are allowed, too; in eight lanes.
fn potential(nearest: &[f32], found: &[f32]) -> f64 {
    let (near, near_rest) = nearest.as_chunks::<8>();
    let found = &found[..nearest.len()];
    let (found, found_rest) = found.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in near.iter().zip(found) {
        for i in 0..8 {
            lanes[i] += f64::from(if a[i] < b[i] { a[i] } else { b[i] });
        }
    }
    let rest: f64 = near_rest.iter().zip(found_rest).map(|(a, b)| f64::from(a.min(*b))).sum();
    fold(lanes) + rest
}
