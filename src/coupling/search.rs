//! Which of all pairs are worth judging: every pair is multiplied, at the same moment with all scales and at lags
//! with the scales that can afford it, and the remarkable ones are kept.

use std::collections::BTreeSet;

use super::compare::{Comparison, Nulls};
use super::params::Params;
use super::product::{self, Beyond, Pairs, Vectors};
use crate::simd::Simd;

/// A park of so few VMs has all its pairs judged: 8,128.
const FEW: usize = 128;

/// Of the pairs that have nothing to do with each other so many are judged in vain, for each VM.
const IN_VAIN: f64 = 4.0;

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
    let right = block.right.unwrap_or(block.left);
    let mut found = BTreeSet::new();
    if vms <= FEW {
        let all = (0..block.left.len()).flat_map(|i| (0..right.len()).map(move |j| (i as u32, j as u32)));
        return all.filter(|(i, j)| block.right.is_some() || i < j).collect();
    }
    for (index, comparison) in nulls.comparisons().enumerate().filter(|(_, comparison)| comparison.searched())
    {
        let (low, high) = nulls.beyond(index, IN_VAIN * vms as f64);
        let left = cut(block.left, comparison, params, |(early, _)| early);
        let late = cut(right, comparison, params, |(_, late)| late);
        let symmetric = block.right.is_none() && comparison.lag_ms == 0;
        let pairs = if symmetric { Pairs::Upper } else { Pairs::All };
        product::products(simd, (&left, &late), pairs, Beyond { low, high }, |i, j, _| {
            let pair = if block.right.is_none() { (i.min(j), i.max(j)) } else { (i, j) };
            if block.right.is_some() || i != j {
                found.insert((pair.0 as u32, pair.1 as u32));
            }
        });
    }
    found.into_iter().collect()
}

type Range = std::ops::Range<usize>;

/// The side of each vector that `comparison` multiplies, packed.
fn cut(
    vectors: &[&[i8]],
    comparison: &Comparison,
    params: &Params,
    side: fn((Range, Range)) -> Range,
) -> Vectors {
    let parts: Vec<Range> = comparison.parts(params, false).map(side).collect();
    let len = parts.iter().map(|part| part.len()).sum();
    // The parts are one run if nothing is left out between them.
    match parts.as_slice() {
        [one] => Vectors::new(vectors.iter().map(|vector| &vector[one.clone()]), len),
        _ => Vectors::new(vectors, len),
    }
}
