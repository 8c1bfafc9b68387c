//! Which of all pairs are worth judging: every pair is multiplied, at the same moment with all scales and at lags
//! with the scales that can afford it, values rounded, and the remarkable ones are kept. What is significant is far more than
//! remarkable: what is rounded off is no reason to overlook it.

use super::compare::{Comparison, Nulls};
use super::params::Params;
use super::product::{self, Beyond, COARSE, Pairs, Vectors};
use crate::simd::Simd;

/// A park of so few VMs has all its pairs judged: 8,128.
const FEW: usize = 128;

/// Of the pairs that have nothing to do with each other so many are judged in vain, for each VM.
const IN_VAIN: f64 = 1.0;

/// The vectors whose pairs are searched: those of one set, or of one set with another.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// Some vectors.
    pub left: &'a [&'a [i8]],
    /// Others; none if the pairs within `left` are searched.
    pub right: Option<&'a [&'a [i8]]>,
}

/// The pairs, as positions in the block, that are worth judging in a park of `vms`, in order.
pub fn candidates(
    block: Block<'_>,
    vms: usize,
    nulls: &Nulls,
    params: &Params,
    simd: Simd,
) -> Vec<(u32, u32)> {
    let within = block.right.is_none();
    let right = block.right.unwrap_or(block.left);
    let mut found = vec![];
    if vms <= FEW {
        let all = (0..block.left.len()).flat_map(|i| (0..right.len()).map(move |j| (i as u32, j as u32)));
        return all.filter(|(i, j)| !within || i < j).collect();
    }
    // Within one set, what follows by a lag is what leads by it in the pair turned round.
    let made = |comparison: &Comparison| comparison.searched() && (!within || comparison.lag_ms >= 0);
    let made: Vec<_> = nulls.comparisons().enumerate().filter(|(_, comparison)| made(comparison)).collect();
    for alike in made.chunk_by(|(_, one), (_, other)| one.scale() == other.scale()) {
        let whole = alike[0].1.scale().map_or(0..params.values(), |of| params.scales()[of].range());
        let left_whole = cut(block.left, whole.clone(), &whole);
        let right_whole = (!within).then(|| cut(right, whole.clone(), &whole));
        for (index, comparison) in alike {
            let beyond = beyond(nulls, *index, vms);
            // Who is early is multiplied whole: behind who is late there are zeros.
            let later = |range: &Range| range.start + comparison.bins()..range.end;
            let late = |vectors| cut(vectors, later(&whole), &whole);
            let (early_right, early_left) = (right_whole.as_ref().unwrap_or(&left_whole), &left_whole);
            let emit = |i: usize, j: usize, _| {
                if !within || i != j {
                    let (i, j) = if within { (i.min(j), i.max(j)) } else { (i, j) };
                    found.push((i as u32, j as u32));
                }
            };
            let pairs = if within && comparison.lag_ms == 0 { Pairs::Upper } else { Pairs::All };
            match comparison.lag_ms {
                0 => product::products(simd, (early_left, early_right), pairs, beyond, emit),
                1.. => product::products(simd, (early_left, &late(right)), pairs, beyond, emit),
                _ => product::products(simd, (&late(block.left), early_right), pairs, beyond, emit),
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What is remarkable in the comparison with this index.
fn beyond(nulls: &Nulls, index: usize, vms: usize) -> Beyond {
    let (low, high) = nulls.beyond(index, IN_VAIN * vms as f64);
    Beyond { low: low / COARSE.pow(2), high: high / COARSE.pow(2) }
}

type Range = std::ops::Range<usize>;

/// This part of each vector, packed as `whole` is.
fn cut(vectors: &[&[i8]], part: Range, whole: &Range) -> Vectors {
    Vectors::new(vectors.iter().map(|vector| &vector[part.clone()]), whole.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coupling::Seen;
    use crate::coupling::params::UNIT;

    /// Every comparison, of every pair either way round.
    fn naive(vectors: &[&[i8]], vms: usize, nulls: &Nulls, params: &Params) -> Vec<(u32, u32)> {
        let comparisons: Vec<_> = nulls.comparisons().enumerate().filter(|(_, c)| c.searched()).collect();
        let coarse: Vec<Vec<i8>> =
            vectors.iter().map(|vector| vector.iter().map(|x| product::coarse(*x)).collect()).collect();
        let remarkable = |i: usize, j: usize| {
            comparisons.iter().any(|(index, comparison)| {
                let Beyond { low, high } = beyond(nulls, *index, vms);
                !(low..=high).contains(&comparison.product(
                    (Seen::fine(&coarse[i]), Seen::fine(&coarse[j])),
                    params,
                    false,
                    Simd::Portable,
                ))
            })
        };
        let pairs = (0..vectors.len()).flat_map(|i| (i + 1..vectors.len()).map(move |j| (i, j)));
        pairs
            .filter(|&(i, j)| remarkable(i, j) || remarkable(j, i))
            .map(|(i, j)| (i as u32, j as u32))
            .collect()
    }

    #[test]
    fn no_pair_is_overlooked_however_the_vectors_are_divided() {
        let (params, vms) = (Params::new(1000, 60, 20, 0.01).unwrap(), 200);
        let mut state = 7u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 57) as i8 - 64
        };
        let vectors: Vec<Vec<i8>> =
            (0..60).map(|_| (0..params.values()).map(|_| noise()).collect()).collect();
        let all: Vec<&[i8]> = vectors.iter().map(Vec::as_slice).collect();
        let seen: Vec<Seen<'_>> = all.iter().map(|values| Seen::fine(values)).collect();
        let nulls = Nulls::new(&seen, vms, &params, Simd::detect());
        let expected = naive(&all, vms, &nulls, &params);
        assert!(expected.len() > 20 && expected.len() < 60 * 59 / 4, "{}", expected.len());
        let (left, right) = all.split_at(25);
        let search = |left, right| candidates(Block { left, right }, vms, &nulls, &params, Simd::detect());
        assert_eq!(search(&all, None), expected);
        let later = |by: (u32, u32)| move |(i, j): (u32, u32)| (i + by.0, j + by.1);
        let mut parts = search(left, None);
        parts.extend(search(right, None).into_iter().map(later((25, 25))));
        parts.extend(search(left, Some(right)).into_iter().map(later((0, 25))));
        parts.sort();
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_significant_is_not_overlooked_for_being_rounded() {
        // The finest of six scales has the smallest values: its standard deviation is one step of what is searched.
        let (params, vms) = (Params::new(100, 3000, 600, 0.01).unwrap(), 150);
        let mut state = 7u64;
        let mut noise = || {
            let mut uniform = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
            };
            (0..12).map(|_| uniform()).sum::<f64>()
        };
        let mut vectors = vec![vec![]; vms];
        for scale in params.scales() {
            for _ in 0..scale.values() {
                for (pair, two) in vectors.chunks_exact_mut(2).enumerate() {
                    // The correlation of a pair: 0, 0.004, ... 0.3.
                    let (common, r) = (noise(), pair as f64 * 0.004);
                    for vector in two {
                        let value = common * r.sqrt() + noise() * (1.0 - r).sqrt();
                        vector.push((value * UNIT * scale.factor).round().clamp(-127.0, 127.0) as i8);
                    }
                }
            }
        }
        let all: Vec<&[i8]> = vectors.iter().map(Vec::as_slice).collect();
        let seen: Vec<Seen<'_>> = all.iter().map(|values| Seen::fine(values)).collect();
        let nulls = Nulls::new(&seen, vms, &params, Simd::detect());
        let found = candidates(Block { left: &all, right: None }, vms, &nulls, &params, Simd::detect());
        assert!(found.len() < 1_000, "{} of 11,175 are worth judging", found.len());
        let threshold = nulls.significance().threshold();
        let pairs = (0..vms).step_by(2).map(|i| (i, nulls.judge(seen[i], seen[i + 1], false, &params).z));
        let significant: Vec<u32> =
            pairs.filter(|(_, z)| z.abs() >= threshold).map(|(i, _)| i as u32).collect();
        assert!((10..70).contains(&significant.len()), "{} are significant", significant.len());
        significant.iter().for_each(|i| assert!(found.contains(&(*i, i + 1)), "{i}"));
    }
}
