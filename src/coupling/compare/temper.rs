//! What evidence counts, after what chance makes of two VMs like these: a few large coincidences, trails that each burst leaves,
//! and work that comes again by the clock. The bulk of all pairs, from which evidence is counted, knows none of it.

use super::comparison::{Comparison, Two};
use super::{Nulls, Usual};
use crate::coupling::jumps::Jumps;
use crate::coupling::params::{ORDER, Params};
use crate::coupling::product;
use crate::coupling::schedule::PERIODS_S;
use crate::coupling::seen::Seen;

/// The evidence that is so close to the threshold, or beyond it, is tempered.
const CLOSE: f64 = 1.0;
/// What is so far apart, ms, has nothing in common but that it comes again: well beyond the longest lag.
const APART_MS: u64 = 10_000;
/// A pair's own spread is known from so many shifts at least: to a quarter.
const LEAST_SHIFTS: usize = 10;
/// Echoes are looked for in so many bins: as far back as a model looks.
const ECHOES: usize = ORDER;
/// Two VMs share a schedule if what they have in common after whole turns of it is larger than after other times by so many
/// standard errors.
const SURELY: f64 = 3.0;

/// What a pair's products are when one VM is shifted against the other, in standard deviations of the usual.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Own {
    centre: f64,
    spread: f64,
}

impl Nulls {
    /// What evidence `z` by the comparison with this index counts, if it stands on `times` as much time as the window; `z`
    /// itself if it is far from enough. Nearly all that is tempered is of VMs that do much at a few moments: what says least
    /// counts, not all together.
    pub fn tempered(
        &self,
        (z, times): (f64, f64),
        (a, b): (Seen<'_>, Seen<'_>),
        by: usize,
        params: &Params,
    ) -> f64 {
        let Some((comparison, usual)) = self.comparisons.get(by) else { return z };
        if z.abs() * self.discount(comparison) <= self.significance.threshold() - CLOSE {
            return z;
        }
        // The deviance of twice the evidence in twice the time is twice as large.
        let time = times.max(1.0).sqrt();
        let rare = time * self.rarity(z / time, (comparison, usual), (a, b), params);
        let rare = rare / self.echo(a, b, comparison, params);
        let own = self
            .own(a, b, by, params)
            .into_iter()
            .map(|own| (z - own.centre * time) / own.spread * z.signum());
        let least = own.fold(z.abs().min(rare.abs()), f64::min);
        least.max(0.0).copysign(z)
    }

    /// `z`, if a normal tail were as rare: a few moments at which much happens in both are not much evidence.
    fn rarity(
        &self,
        z: f64,
        (comparison, usual): (&Comparison, &Usual),
        (a, b): Two<'_>,
        params: &Params,
    ) -> f64 {
        let mut jumps = Jumps::default();
        comparison.parts(params, false).for_each(|(x, y)| jumps.add(&a.values[x], &b.values[y]));
        // What is enlarged spreads as much as the usual then.
        let spread = usual.whole.spread / comparison.enlarged((a, b), params).max(f64::MIN_POSITIVE);
        jumps.rarity(z, spread, usual.larger)
    }

    /// What the products of this pair are when one VM is shifted against the other, round the window's end; the spread is at
    /// least 1. Two VMs that both come back to the same work again and again agree by chance much more often than the bulk
    /// of all pairs; and two that do so by the same clock most of all after whole turns of it: what they then have in common
    /// in the mean is the clock's.
    fn own(&self, a: Seen<'_>, b: Seen<'_>, by: usize, params: &Params) -> Vec<Own> {
        let Some(coarsest) = params.scales().last() else { return vec![] };
        let apart = (APART_MS / coarsest.bin_ms) as usize + 1;
        let shifts = apart..coarsest.values().saturating_sub(apart);
        if shifts.len() < LEAST_SHIFTS {
            return vec![];
        }
        let (comparison, usual) = &self.comparisons[by];
        let mut shifted = b.values.to_vec();
        let z = |bins: usize| {
            for scale in params.scales() {
                let (to, from) = (&mut shifted[scale.range()], &b.values[scale.range()]);
                let (left, right) = from.split_at(from.len() - bins * coarsest.ticks / scale.ticks);
                to[..right.len()].copy_from_slice(right);
                to[right.len()..].copy_from_slice(left);
            }
            (bins, usual.z(comparison, (a, Seen { values: &shifted, ..b }), params, self.simd))
        };
        let z: Vec<(usize, f64)> = shifts.map(z).collect();
        let all = Own { centre: 0.0, spread: Spread::of(&z).square.sqrt().max(1.0) };
        let periods = PERIODS_S.iter().map(|s| s * 1000).filter(|ms| ms.is_multiple_of(coarsest.bin_ms));
        let turns = periods.map(|ms| (ms / coarsest.bin_ms) as usize).filter(|bins| *bins > 1);
        turns.filter_map(|turn| after_turns(&z, turn)).chain([all]).collect()
    }

    /// How much more the products of this pair spread because what happens in each VM echoes in the bins after it; at
    /// least 1. A burst leaves a trail that a model of few coefficients does not predict: two short jobs that start
    /// together five times by chance agree in five moments, not in the hundred bins of their trails. The variance of
    /// a product is the sum of the products of the two autocorrelations (Bartlett, *JRSS Supplement* 8, 1946).
    fn echo(&self, a: Seen<'_>, b: Seen<'_>, comparison: &Comparison, params: &Params) -> f64 {
        let (mut variance, mut white) = (0.0, 0.0);
        for scale in params.scales().iter().zip(&comparison.shifts).filter_map(|(s, shift)| shift.map(|_| s))
        {
            let (a, b) = (&a.values[scale.range()], &b.values[scale.range()]);
            let lagged =
                |x: &[i8], lag: usize| f64::from(product::dot(self.simd, &x[lag..], &x[..x.len() - lag]));
            let both = |lag: usize| lagged(a, lag) * lagged(b, lag);
            white += both(0);
            variance += both(0) + 2.0 * (1..=ECHOES.min(a.len())).map(both).sum::<f64>();
        }
        if white > 0.0 { (variance / white).max(1.0).sqrt() } else { 1.0 }
    }
}

/// How some z spread.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    n: f64,
    mean: f64,
    /// The mean of the squares.
    square: f64,
}

impl Spread {
    fn of(z: &[(usize, f64)]) -> Self {
        let n = z.len() as f64;
        let mean = |of: fn(f64) -> f64| z.iter().map(|(_, z)| of(*z)).sum::<f64>() / n;
        Spread { n, mean: mean(|z| z), square: mean(|z| z * z) }
    }
}

/// What a pair's z, by the bins of the shift, are after whole turns of so many bins, if they are surely larger than after other
/// times.
fn after_turns(z: &[(usize, f64)], turn: usize) -> Option<Own> {
    let (whole, other): (Vec<_>, Vec<_>) = z.iter().partition(|(bins, _)| bins.is_multiple_of(turn));
    if whole.len().min(other.len()) < LEAST_SHIFTS {
        return None;
    }
    let [whole, other] = [whole, other].map(|z| Spread::of(&z));
    // The square of a normal variable has a variance of 2.
    let surely = whole.square > other.square * (1.0 + SURELY * (2.0 / whole.n).sqrt());
    let deviation = (whole.square - whole.mean * whole.mean).max(0.0).sqrt();
    surely.then_some(Own { centre: whole.mean, spread: deviation.max(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_clock_shows_after_whole_turns() {
        let noise = |bins: usize| (bins * 7919 % 100) as f64 / 50.0 - 1.0;
        let clock = |bins: usize| noise(bins) + if bins.is_multiple_of(4) { 2.0 } else { 0.0 };
        let shifts = |z: &dyn Fn(usize) -> f64| (3..57).map(|bins| (bins, z(bins))).collect::<Vec<_>>();
        assert_eq!(after_turns(&shifts(&noise), 4), None);
        let own = after_turns(&shifts(&clock), 4).unwrap();
        assert!((own.centre - 2.0).abs() < 0.4 && own.spread == 1.0, "{own:?}");
        assert_eq!(after_turns(&shifts(&clock)[..20], 4), None, "too few turns say nothing");
    }
}
