//! Which members of an ensemble are tied directly, and which only through other members.
//!
//! The partial correlation of two members, given all others, is what their correlation leaves when everything that the others
//! explain is taken away; among Gaussian variables it is nought where the two are independent given the rest
//! (Whittaker 1990, *Graphical Models in Applied Multivariate Statistics*, section 5.8; Lauritzen 1996, *Graphical
//! Models*, proposition 5.2). CPU use measures work with noise, and a member that is measured with noise does
//! not explain away all that passes through it. So we do not ask whether it is nought, but what share of the
//! correlation is left: a good part, `DIRECT_SHARE`, or little, `INDIRECT_SHARE`. In between, and
//! wherever the samples do not tell surely (`SURE`), it stays open.
//!
//! What no answer can exclude: a VM that we do not see, or a member whose CPU use shows its work worse than
//! that of its neighbour does, so that the neighbour seems to stand between (a message broker, seen from its
//! subscribers: the publisher predicts them better than it does).

use nalgebra::{Cholesky, DMatrix};

use super::null::median;
use crate::model::ln;

/// The largest ensemble that is looked into: 64^3 / 3 multiplications for the inverse are 0.1 ms.
pub const MOST_MEMBERS: usize = 64;
/// At least this share of the correlation is left given the others: tied directly. With 0.3, on four
/// recordings with documented calls, 5 of 100 that were called direct were not, with 0.4 1 of 100.
const DIRECT_SHARE: f64 = 0.4;
/// No more than this share is left: tied through others.
const INDIRECT_SHARE: f64 = 0.3;
/// Standard errors of Fisher's z that count as sure: 1 in 2,000 by chance, each way.
const SURE: f64 = 3.3;
/// Added to the diagonal, so that there is an inverse where members are copies of each other.
const RIDGE: f64 = 0.01;

/// For each two members of an ensemble whether they are tied directly (true) or only through other members
/// (false); None where the data cannot tell, and on the diagonal.
///
/// `strength`: the members' correlations, symmetric, about 1 on the diagonal. `samples`: how many independent
/// samples a correlation stands on; of weighted ones `(sum of weights)^2 / sum of squared weights`. Between two
/// members alone nothing else of the ensemble can stand: direct. All is open among more than
/// [`MOST_MEMBERS`], with hardly more samples than members, and if the matrix is none of correlations (an infinite
/// value, or not positive definite).
pub fn direct(strength: &DMatrix<f64>, samples: f64) -> DMatrix<Option<bool>> {
    let n = strength.nrows().min(strength.ncols());
    let mut found = DMatrix::from_element(n, n, None);
    // One less for each member that is held fixed, and Fisher's three.
    let error = 1.0 / (samples - n as f64 - 1.0).sqrt();
    if n == 2 {
        (found[(0, 1)], found[(1, 0)]) = (Some(true), Some(true));
    } else if n <= MOST_MEMBERS
        && error.is_finite()
        && let Some(partial) = partial(strength, n)
    {
        for (a, b) in (0..n).flat_map(|b| (0..b).map(move |a| (a, b))) {
            let tied = judge(strength[(a, b)], partial[(a, b)], SURE * error);
            (found[(a, b)], found[(b, a)]) = (tied, tied);
        }
    }
    found
}

/// `margin`: how far apart, on Fisher's scale, values are that surely differ.
fn judge(marginal: f64, partial: f64, margin: f64) -> Option<bool> {
    let (size, left) = (marginal.abs(), partial * marginal.signum());
    if fisher(size) < margin {
        None
    } else if fisher(left) - fisher(DIRECT_SHARE * size) > margin {
        Some(true)
    } else if fisher(INDIRECT_SHARE * size) - fisher(left) > margin {
        Some(false)
    } else {
        None
    }
}

/// Fisher's z-transform (artanh), which makes the standard error of a correlation of n samples 1 / sqrt(n - 3).
fn fisher(r: f64) -> f64 {
    let r = r.clamp(-0.999_999, 0.999_999);
    ln((1.0 + r) / (1.0 - r)) / 2.0
}

/// The partial correlations given all other members: the inverse, scaled to a diagonal of 1, negative.
fn partial(strength: &DMatrix<f64>, n: usize) -> Option<DMatrix<f64>> {
    if !strength.iter().all(|r| r.is_finite()) {
        return None;
    }
    let ridged = DMatrix::from_fn(n, n, |i, j| strength[(i, j)] + if i == j { RIDGE } else { 0.0 });
    let inverse = Cholesky::new(ridged)?.inverse();
    Some(DMatrix::from_fn(n, n, |i, j| -inverse[(i, j)] / (inverse[(i, i)] * inverse[(j, j)]).sqrt()))
}

/// A pair of VMs, `a < b`, with its evidence and its correlation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tie {
    /// One VM.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// The evidence, in standard deviations.
    pub z: f64,
    /// The correlation, -1 to 1.
    pub strength: f64,
}

/// Of each of `ties`, whether its VMs are tied directly, by the ensemble that they share; of several that disagree,
/// open. `ties` are in order of `(a, b)`; a pair that is not among them counts as uncorrelated.
pub fn within(ensembles: &[Vec<u32>], ties: &[Tie]) -> Vec<Option<bool>> {
    let mut told: Vec<Option<Option<bool>>> = vec![None; ties.len()];
    for members in ensembles.iter().filter(|members| members.len() <= MOST_MEMBERS) {
        let at = |i: usize, j: usize| {
            let pair = (members[i].min(members[j]), members[i].max(members[j]));
            ties.binary_search_by_key(&pair, |tie| (tie.a, tie.b)).ok()
        };
        let strength = DMatrix::from_fn(members.len(), members.len(), |i, j| match at(i, j) {
            Some(at) => ties[at].strength,
            None => f64::from(u8::from(i == j)),
        });
        let pairs: Vec<(usize, usize, usize)> = (0..members.len())
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .filter_map(|(i, j)| Some((i, j, at(i, j)?)))
            .collect();
        let Some(samples) = samples(pairs.iter().map(|(_, _, at)| &ties[*at])) else { continue };
        let direct = direct(&strength, samples);
        for (i, j, at) in pairs {
            let agreed = told[at].is_none_or(|before| before == direct[(i, j)]);
            told[at] = Some(direct[(i, j)].filter(|_| agreed));
        }
    }
    told.into_iter().map(Option::flatten).collect()
}

/// How many independent samples the correlations stand on: the standard error of one is `1 / sqrt(samples)`, and z
/// counts standard errors. The median of the ties.
fn samples<'a>(ties: impl Iterator<Item = &'a Tie>) -> Option<f64> {
    let mut all: Vec<f64> =
        ties.map(|tie| (tie.z / tie.strength).powi(2)).filter(|n| n.is_finite()).collect();
    (!all.is_empty()).then(|| median(&mut all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Correlations of VMs along calls: the product of those on the way.
    fn tree(parents: &[(usize, f64)]) -> DMatrix<f64> {
        let n = parents.len() + 1;
        let mut r = DMatrix::identity(n, n);
        for (i, &(parent, along)) in parents.iter().enumerate() {
            for j in 0..=i {
                r[(i + 1, j)] = r[(parent, j)] * along;
                r[(j, i + 1)] = r[(i + 1, j)];
            }
        }
        r
    }

    /// `+` direct, `-` indirect, `?` open, in the order 01, 02, 12, 03, 13, 23, ...
    fn written(found: &DMatrix<Option<bool>>) -> String {
        let n = found.nrows();
        let pairs = (0..n).flat_map(|b| (0..b).map(move |a| (a, b)));
        pairs.map(|pair| found[pair].map_or('?', |direct| if direct { '+' } else { '-' })).collect()
    }

    #[test]
    fn small_ensembles() {
        let chain = [(0, 0.8), (1, 0.7), (2, -0.8)];
        let same = DMatrix::from_element(3, 3, 1.0);
        let no_correlations = DMatrix::from_row_slice(3, 3, &[1.0, 0.9, -0.9, 0.9, 1.0, 0.9, -0.9, 0.9, 1.0]);
        let mut nan = tree(&chain);
        nan[(3, 1)] = f64::NAN;
        for (strength, samples, expected, what) in [
            (tree(&[]), 300.0, "", "a loner"),
            (tree(&[(0, 0.1)]), 300.0, "+", "a pair"),
            (tree(&chain), 1000.0, "+-?--+", "a chain, one of it throttled by the next"),
            (tree(&chain), 10_000.0, "+-+--+", "the same, longer"),
            (tree(&chain), 30.0, "??????", "too short"),
            (tree(&chain), 4.0, "??????", "fewer samples than members"),
            (tree(&chain), f64::NAN, "??????", "no number of samples"),
            (tree(&[(0, 0.8), (0, 0.8), (0, 0.8)]), 1000.0, "++-+--", "a star"),
            (tree(&[(0, 0.8), (1, 0.02)]), 1000.0, "+??", "a member with no link worth the name"),
            (same, 1000.0, "+++", "copies: no other explains one better"),
            (no_correlations, 1000.0, "???", "none of correlations"),
            (nan, 1000.0, "??????", "not a number"),
            (DMatrix::identity(0, 0), 300.0, "", "nobody"),
        ] {
            assert_eq!(written(&direct(&strength, samples)), expected, "{what}");
        }
        let many = tree(&vec![(0, 0.9); MOST_MEMBERS]);
        assert!(direct(&many, 1e4).iter().all(Option::is_none));
    }

    proptest! {
        /// The oracle: the correlation of what regression on all others leaves of the two.
        #[test]
        fn partial_is_the_correlation_of_residuals(
            parents in prop::collection::vec((0usize..6, -0.9..0.9f64), 2..6),
        ) {
            let parents: Vec<_> = parents.iter().enumerate().map(|(i, &(p, r))| (p % (i + 1), r)).collect();
            let (r, n) = (tree(&parents), parents.len() + 1);
            let found = partial(&r, n).unwrap();
            let with_ridge = &r + DMatrix::identity(n, n) * RIDGE;
            for (a, b) in (0..n).flat_map(|b| (0..b).map(move |a| (a, b))) {
                let rest: Vec<usize> = (0..n).filter(|&i| i != a && i != b).collect();
                let inner = DMatrix::from_fn(n - 2, n - 2, |i, j| with_ridge[(rest[i], rest[j])]);
                let cross = DMatrix::from_fn(n - 2, 2, |i, j| with_ridge[(rest[i], [a, b][j])]);
                let own = DMatrix::from_fn(2, 2, |i, j| with_ridge[([a, b][i], [a, b][j])]);
                let left = own - cross.transpose() * inner.try_inverse().unwrap() * &cross;
                let expected = left[(0, 1)] / (left[(0, 0)] * left[(1, 1)]).sqrt();
                prop_assert!((found[(a, b)] - expected).abs() < 1e-9);
            }
        }
    }
}
