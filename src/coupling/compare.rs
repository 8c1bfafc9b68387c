//! How two vectors are compared: all scales at the same moment, or one of them some time later in the other; and
//! what such a comparison gives for pairs that have nothing to do with each other.

use serde::Serialize;

use super::null::{Null, median};
use super::params::Params;
use super::product;
use super::seen::Seen;
use super::significance::{self, Significance};
use crate::simd::Simd;
pub use comparison::Comparison;
use comparison::{Kind, Two, comparisons};

mod comparison;
mod temper;
#[cfg(test)]
mod tests;

/// VMs whose pairs say what is usual: 512 have 130,816, whose spread is known to 0.3 %.
pub const SAMPLE: usize = 512;
/// VMs of the sample whose pairs are compared in every way: 128 have 8,128.
const SMALL_SAMPLE: usize = 128;
/// The evidence of another comparison than the plain one must be this much larger to be preferred.
const PREFERENCE: f64 = 0.5;
/// What is less than this short of significant is worth judging.
const NEARLY: f64 = 1.5;
/// By how many standard deviations more one VM must follow the other than the other the one.
const SURELY: f64 = 5.0;

/// All comparisons of a pair, with what each gives for independent pairs.
#[derive(Clone, Debug)]
pub struct Nulls {
    comparisons: Vec<(Comparison, Usual)>,
    significance: Significance,
    /// By what products over all scales are enlarged at least.
    enlarged: f64,
    simd: Simd,
}

/// What a comparison gives for independent pairs.
#[derive(Clone, Copy, Debug)]
struct Usual {
    whole: Null,
    fresh: Null,
    /// How many times as far out as in a normal distribution its rare products are; at least 1.
    tail: f64,
    /// How much larger a coincidence is than at one scale alone, because others show it, too; at least 1.
    larger: f64,
}

impl Usual {
    /// How many standard deviations beyond it a pair is by this comparison.
    fn z(&self, comparison: &Comparison, two: Two<'_>, params: &Params, simd: Simd) -> f64 {
        z(&self.whole, comparison, two, (params, false, simd))
    }
}

/// What the comparisons of a pair say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Judged {
    /// The evidence, as standard deviations from what is independent; corrected for how many comparisons were
    /// made. Negative if one rests while the other works.
    pub z: f64,
    /// The same before it was asked how often chance makes as much of such VMs: what new ticks can be compared with.
    pub plain_z: f64,
    /// Which comparison says so.
    pub by: usize,
    /// By how much `b` follows `a` in it, ms.
    pub lag_ms: i64,
}

impl Nulls {
    /// From the vectors of a sample of a park of `vms`.
    pub fn new(sample: &[Seen<'_>], vms: usize, params: &Params, simd: Simd) -> Self {
        let sample = &sample[..sample.len().min(SAMPLE)];
        let comparisons = comparisons(params);
        let usual = usual(&comparisons, sample, params, simd);
        let significance = significance(vms, params);
        let enlarged = sample.iter().map(|one| one.enlarged(one, params)).filter(|by| *by > 0.0);
        let enlarged = enlarged.min_by(f64::total_cmp).unwrap_or(1.0);
        Nulls { comparisons: comparisons.into_iter().zip(usual).collect(), significance, enlarged, simd }
    }

    /// When evidence is enough.
    pub fn significance(&self) -> &Significance {
        &self.significance
    }

    /// The comparisons: the plain one first.
    pub fn comparisons(&self) -> impl ExactSizeIterator<Item = &Comparison> {
        self.comparisons.iter().map(|(comparison, _)| comparison)
    }

    /// The products, of the comparison with this index, beyond which a pair is worth judging, if about `expected` of
    /// all the pairs that have nothing to do with each other may be judged in vain; `(low, high)`. They are as
    /// they come, not enlarged: pairs that have fewer scales in common than others must show more. What is nearly
    /// significant is judged however much of that there is.
    pub fn beyond(&self, index: usize, expected: f64) -> (i32, i32) {
        let (comparison, Usual { whole: null, tail, .. }) = &self.comparisons[index];
        let normal =
            self.significance.exceeded_by(expected, if index == 0 { 1 } else { self.comparisons.len() });
        let nearly = self.significance.threshold() / self.discount(comparison) - NEARLY;
        let z = (normal * tail).min(nearly).max(normal);
        let enlarged = if index == 0 { self.enlarged } else { 1.0 };
        let at = |z: f64| ((null.centre + z * null.spread) / enlarged).round().clamp(-2e9, 2e9) as i32;
        (at(-z), at(z))
    }

    /// Judges a pair by all comparisons; those for skewed clocks only if `skewed`.
    pub fn judge(&self, a: Seen<'_>, b: Seen<'_>, skewed: bool, params: &Params) -> Judged {
        let mut best = Judged { z: 0.0, plain_z: 0.0, by: 0, lag_ms: 0 };
        for (by, (comparison, usual)) in self.made((a, b), skewed, params) {
            let z = usual.z(comparison, (a, b), params, self.simd) * self.discount(comparison);
            if by == 0 || z.abs() > best.z.abs() + PREFERENCE {
                best = Judged { z, plain_z: z, by, lag_ms: comparison.lag_ms };
            }
        }
        if let Some((comparison, _)) = self.comparisons.get(best.by) {
            let discount = self.discount(comparison);
            best.z = self.tempered((best.z / discount, 1.0), (a, b), best.by, params) * discount;
        }
        best
    }

    /// What each comparison says of a pair, before it is tempered.
    pub fn each<'a>(
        &'a self,
        (a, b): (Seen<'a>, Seen<'a>),
        skewed: bool,
        params: &'a Params,
    ) -> impl Iterator<Item = (&'a Comparison, f64)> + 'a {
        self.made((a, b), skewed, params).map(move |(_, (comparison, usual))| {
            (comparison, usual.z(comparison, (a, b), params, self.simd) * self.discount(comparison))
        })
    }

    /// The comparisons that are made of a pair, with their indices; those for skewed clocks only if `skewed`.
    fn made<'a>(
        &'a self,
        two: Two<'a>,
        skewed: bool,
        params: &'a Params,
    ) -> impl Iterator<Item = (usize, &'a (Comparison, Usual))> {
        let all = self.comparisons.iter().enumerate();
        let asked = move |comparison: &Comparison| comparison.kind != Kind::Skewed || skewed;
        all.filter(move |(_, (one, _))| asked(one) && one.enlarged(two, params) > 0.0)
    }

    /// What the z of this comparison counts, as one of several.
    fn discount(&self, comparison: &Comparison) -> f64 {
        if comparison.kind == Kind::Plain { 1.0 } else { self.significance.discount() }
    }

    /// The evidence of the last hop alone, by the comparison with this index.
    pub fn fresh(&self, a: Seen<'_>, b: Seen<'_>, by: usize, params: &Params) -> f64 {
        let (comparison, usual) = &self.comparisons[by.min(self.comparisons.len() - 1)];
        z(&usual.fresh, comparison, (a, b), (params, true, self.simd))
    }

    /// By how much `b` follows `a` in the comparison with this index, ms.
    pub fn lag_ms(&self, by: usize) -> i64 {
        self.comparisons.get(by).map_or(0, |(comparison, _)| comparison.lag_ms)
    }

    /// Which of the two VMs goes first, if one surely does, and the probability that it is not so: evidence at lags
    /// one way must exceed that at the same moment, and by far that of lags the other way; jobs that come
    /// again and again follow each other both ways.
    pub fn first(&self, a: Seen<'_>, b: Seen<'_>, params: &Params) -> Option<(Which, f64)> {
        let (mut after, mut before, mut same) = (0.0f64, 0.0f64, 0.0f64);
        for (_, (comparison, usual)) in self.made((a, b), false, params) {
            let z = usual.z(comparison, (a, b), params, self.simd).abs();
            let side = match comparison.lag_ms {
                1.. => &mut after,
                0 => &mut same,
                _ => &mut before,
            };
            *side = side.max(z);
        }
        let (most, least) = (after.max(before), after.min(before));
        let sure = most > same && most - least > SURELY && 2.0 * least < most;
        // The difference of two z has a variance of 2.
        let error = significance::tail((most - least) / std::f64::consts::SQRT_2);
        sure.then_some((if after > before { Which::A } else { Which::B }, error))
    }
}

/// One VM of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The smaller bytewise.
    A,
    /// The other.
    B,
}

/// How many standard deviations of `null` a pair is from its centre; 0 if it cannot be compared.
fn z(
    null: &Null,
    comparison: &Comparison,
    two: Two<'_>,
    (params, fresh, simd): (&Params, bool, Simd),
) -> f64 {
    let by = comparison.enlarged(two, params);
    if by > 0.0 { null.z(f64::from(comparison.product(two, params, fresh, simd)) * by) } else { 0.0 }
}

/// How closely two VMs move together, -1 to 1: the correlation of their vectors; with the sign of the evidence `z`
/// where that is of another comparison.
pub fn strength(a: Seen<'_>, b: Seen<'_>, z: f64, params: &Params, simd: Simd) -> f64 {
    correlation(a, b, params, simd).abs().min(1.0).copysign(z)
}

/// The correlation of two vectors, of which 0 is the mean, at the scales that they have in common.
pub fn correlation(a: Seen<'_>, b: Seen<'_>, params: &Params, simd: Simd) -> f64 {
    let common = || params.scales().iter().filter(|scale| a.is_at(scale) && b.is_at(scale));
    let dot = |x: &[i8], y: &[i8]| {
        f64::from(common().map(|scale| product::dot(simd, &x[scale.range()], &y[scale.range()])).sum::<i32>())
    };
    let norm = |x: &[i8]| dot(x, x).sqrt().max(1.0);
    dot(a.values, b.values) / (norm(a.values) * norm(b.values))
}

/// The length of a vector; 1 of one that is all 0.
pub fn norm(x: &[i8], simd: Simd) -> f64 {
    f64::from(product::dot(simd, x, x)).sqrt().max(1.0)
}

/// When evidence is enough in a park of `vms`.
pub fn significance(vms: usize, params: &Params) -> Significance {
    let finest_ms = params.scales().first().map_or(0, |scale| scale.bin_ms);
    Significance::new(vms, comparisons(params).len() - 1, finest_ms, params.fdr())
}

/// What each comparison gives for the pairs of the sample that it can compare. Lags of one scale share theirs, skewed clocks
/// have that of the plain one.
fn usual(comparisons: &[Comparison], sample: &[Seen<'_>], params: &Params, simd: Simd) -> Vec<Usual> {
    let mut known: Vec<(Kind, Usual)> = vec![];
    let usual = |comparison: &Comparison| {
        let kind = if comparison.kind == Kind::Skewed { Kind::Plain } else { comparison.kind };
        if let Some((_, usual)) = known.iter().find(|(of, _)| *of == kind) {
            return *usual;
        }
        let alike: Vec<&Comparison> = comparisons.iter().filter(|other| other.kind == kind).collect();
        let most = if kind == Kind::Plain { SAMPLE } else { SMALL_SAMPLE };
        let (vms, few) =
            (comparison.among(sample, params, most), comparison.among(sample, params, SMALL_SAMPLE));
        let null = if matches!(kind, Kind::Lagged(_)) { Null::both } else { Null::left };
        let products = |fresh| {
            let of = |comparison: &&Comparison| comparison.products(&vms, params, fresh, simd);
            let (whole, enlarged): (Vec<_>, Vec<_>) = alike.iter().map(of).unzip();
            let mut whole = whole.concat();
            // Integers are sorted in half the time.
            whole.sort_unstable();
            let mut all: Vec<f64> = whole.into_iter().map(f64::from).chain(enlarged.concat()).collect();
            let null = null(&mut all);
            (null, null.tail(&all))
        };
        let (whole, tail) = products(false);
        let larger =
            if kind == Kind::Plain { larger(whole.spread, &few, comparison, (params, simd)) } else { 1.0 };
        let usual = Usual { whole, fresh: products(true).0, tail, larger };
        known.push((kind, usual));
        usual
    };
    comparisons.iter().map(usual).collect()
}

/// How much larger than they would be at scales that have nothing to do with each other the products of all scales spread:
/// what is seen at one is seen at others, too. At least 1.
fn larger(spread: f64, sample: &[Seen<'_>], plain: &Comparison, (params, simd): (&Params, Simd)) -> f64 {
    let squares = |vm: &Seen<'_>| -> Vec<f64> {
        let square = |values: &[i8]| f64::from(product::dot(simd, values, values));
        params
            .scales()
            .iter()
            .map(|scale| square(&vm.values[scale.range()]) / (scale.values() as f64).sqrt())
            .collect()
    };
    let rows: Vec<(Seen<'_>, Vec<f64>)> = sample.iter().map(|vm| (*vm, squares(vm))).collect();
    let rows: Vec<&(Seen<'_>, Vec<f64>)> = rows.iter().collect();
    let apart = pairs(&rows).map(|((a, of_a), (b, of_b))| {
        of_a.iter().zip(of_b).map(|(a, b)| a * b).sum::<f64>() * plain.enlarged((*a, *b), params).powi(2)
    });
    (spread * spread / median(&mut apart.collect::<Vec<f64>>()).max(1.0)).max(1.0)
}

/// All pairs of some things, in order.
pub fn pairs<T: Copy>(of: &[T]) -> impl Iterator<Item = (T, T)> + '_ {
    of.iter().enumerate().flat_map(|(i, a)| of[i + 1..].iter().map(|b| (*a, *b)))
}
