//! One way of comparing a pair, and which there are.

use std::ops::Range;

use crate::coupling::params::{Params, Scale};
use crate::coupling::product;
use crate::coupling::seen::Seen;
use crate::simd::Simd;

/// Clocks of hosts, and the moments at which they sample, differ by up to this, ms.
const SKEW_MS: i64 = 300;

/// The vectors of a pair.
pub(super) type Two<'a> = (Seen<'a>, Seen<'a>);

/// One way of comparing a pair: by how many bins `b` follows `a`, for each scale that takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// By how much `b` follows `a`, ms.
    pub lag_ms: i64,
    /// In bins, for each scale.
    pub(super) shifts: Vec<Option<isize>>,
    /// What it is for.
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// All scales, the same moment.
    Plain,
    /// The scale with this index alone, the same moment.
    Single(usize),
    /// The same, some bins apart.
    Lagged(usize),
    /// All scales, for hosts whose clocks differ by that much.
    Skewed,
}

impl Comparison {
    /// The scale with this index alone, `b` some bins after `a`.
    pub fn alone(of: usize, lag: isize, params: &Params) -> Self {
        let scales = params.scales();
        Comparison {
            lag_ms: lag as i64 * scales[of].bin_ms as i64,
            shifts: (0..scales.len()).map(|scale| (scale == of).then_some(lag)).collect(),
            kind: if lag == 0 { Kind::Single(of) } else { Kind::Lagged(of) },
        }
    }

    /// The index of the scale that it compares alone; none if it compares all.
    pub fn scale(&self) -> Option<usize> {
        match self.kind {
            Kind::Single(of) | Kind::Lagged(of) => Some(of),
            Kind::Plain | Kind::Skewed => None,
        }
    }

    /// By how many bins the one is later than the other, if it compares one scale alone.
    pub fn bins(&self) -> usize {
        self.scale().and_then(|of| self.shifts[of]).map_or(0, isize::unsigned_abs)
    }

    /// The product of `a` and `b`; of the last `hop` ticks only if `fresh`.
    pub fn product(&self, (a, b): Two<'_>, params: &Params, fresh: bool, simd: Simd) -> i32 {
        self.parts(params, fresh).map(|(x, y)| product::dot(simd, &a.values[x], &b.values[y])).sum()
    }

    /// By what a product is multiplied to be compared with others: 1 if both VMs take part in all its scales; 0 if in none, and
    /// if clocks would have to differ by more than is asked here to be seen at the scales of both.
    pub(super) fn enlarged(&self, (a, b): Two<'_>, params: &Params) -> f64 {
        let both = |scale: &Scale| a.is_at(scale) && b.is_at(scale);
        let apart =
            || params.scales().iter().zip(&self.shifts).any(|(s, shift)| *shift != Some(0) && both(s));
        match self.kind {
            Kind::Single(of) | Kind::Lagged(of) => f64::from(u8::from(both(&params.scales()[of]))),
            Kind::Skewed if !apart() => 0.0,
            Kind::Plain | Kind::Skewed => a.enlarged(&b, params),
        }
    }

    /// Those of the sample that it compares.
    pub(super) fn among<'a>(&self, sample: &[Seen<'a>], params: &Params, most: usize) -> Vec<Seen<'a>> {
        let scale = self.scale().map(|of| &params.scales()[of]);
        let there = |one: &&Seen<'_>| scale.is_none_or(|scale| one.is_at(scale));
        sample.iter().filter(there).take(most).copied().collect()
    }

    /// The products of all pairs of some vectors that can be compared, in no order: those that are whole, and those that
    /// were enlarged.
    pub(super) fn products(
        &self,
        of: &[Seen<'_>],
        params: &Params,
        fresh: bool,
        simd: Simd,
    ) -> (Vec<i32>, Vec<f64>) {
        let parts: Vec<_> = self.parts(params, fresh).collect();
        let side = |ranges: Vec<&Range<usize>>| -> Vec<Vec<i8>> {
            let cut = |one: &Seen<'_>| {
                ranges.iter().flat_map(|range| &one.values[(*range).clone()]).copied().collect()
            };
            of.iter().map(cut).collect()
        };
        let (a, b) =
            (side(parts.iter().map(|(x, _)| x).collect()), side(parts.iter().map(|(_, y)| y).collect()));
        let (mut products, mut enlarged) = (vec![], vec![]);
        product::upper(simd, (&a, &b), |i, j, product| match self.enlarged((of[i], of[j]), params) {
            1.0 => products.push(product),
            0.0 => {}
            by => enlarged.push(f64::from(product) * by),
        });
        (products, enlarged)
    }

    /// Whether all pairs are searched by it: pairs on skewed clocks show themselves at coarse scales first.
    pub fn searched(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Lagged(_))
    }

    /// What of the two vectors is multiplied.
    pub fn parts<'a>(
        &'a self,
        params: &'a Params,
        fresh: bool,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + 'a {
        params.scales().iter().zip(&self.shifts).filter_map(move |(scale, shift)| {
            let (shift, all) = ((*shift)?, scale.range());
            let start =
                if fresh { all.end - (params.hop() / scale.ticks).min(scale.values()) } else { all.start };
            let late = shift.unsigned_abs();
            let (early, later) =
                (start.max(all.start + late) - late..all.end - late, start.max(all.start + late)..all.end);
            Some(if shift >= 0 { (early, later) } else { (later, early) })
        })
    }
}

/// All comparisons, the plain one first.
pub(super) fn comparisons(params: &Params) -> Vec<Comparison> {
    let scales = params.scales();
    let plain = Comparison { lag_ms: 0, shifts: vec![Some(0); scales.len()], kind: Kind::Plain };
    let both = |most: isize| (1..=most).flat_map(|lag| [lag, -lag]);
    let alone = |i: usize, lag: isize| Comparison::alone(i, lag, params);
    let singles = (0..scales.len()).filter(|i| scales[*i].most_lag > 0).map(|i| alone(i, 0));
    let lagged = scales
        .iter()
        .enumerate()
        .flat_map(|(i, scale)| both(scale.most_lag as isize).map(move |lag| alone(i, lag)));
    let finest_ms = scales.first().map_or(i64::MAX, |scale| scale.bin_ms as i64);
    let skewed = both((SKEW_MS / finest_ms) as isize).map(|lag| {
        let lag_ms = lag as i64 * finest_ms;
        let bins = |scale: &Scale| (lag_ms as f64 / scale.bin_ms as f64).round() as isize;
        Comparison {
            lag_ms,
            shifts: scales.iter().map(|scale| Some(bins(scale))).collect(),
            kind: Kind::Skewed,
        }
    });
    std::iter::once(plain).chain(singles).chain(lagged).chain(skewed).collect()
}
