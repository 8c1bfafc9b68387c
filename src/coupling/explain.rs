//! Why two VMs are held dependent, or not: what the engine made of one pair in one window, taken apart. It
//! judges nothing anew: the vectors, the nulls and the verdict are the engine's own.

use std::sync::Arc;

use serde::Serialize;

use super::compare::{Comparison, Judged, Nulls, correlation, norm, pairs};
use super::null::Null;
use super::params::{ORDER, Params, Scale, UNIT};
use super::scores;
use super::seen::Seen;
use crate::simd::Simd;
use crate::window::{Status, VmWindow};

pub mod reason;

/// One pair is explained at a time: no hurry.
const PLAIN: Simd = Simd::Portable;

/// VMs whose pairs say what is usual at one scale: 128 have 8,128.
pub const SAMPLE: usize = 128;
/// The same for its lags: 32 have 496, times 20 lags.
const LAG_SAMPLE: usize = 32;
/// Lags at scales whose lags the engine does not look at, in bins each way.
const FINE_LAGS: usize = 10;
/// Independent pairs stay within so many standard deviations 95 % of the time.
const BAND: f64 = 1.96;
/// How many moments are listed.
const MOMENTS: usize = 8;

/// One VM's window, as the engine saw it.
#[derive(Clone, Debug)]
pub struct Side {
    /// Whether it can be judged.
    pub status: Status,
    /// Its samples at each scale, ppm of one core; none if the VM is gone.
    pub samples: Vec<Vec<u32>>,
    /// Its innovations at each scale, likewise; none unless the window was judged, and at scales in which it takes no part.
    pub innovations: Vec<Vec<f64>>,
    /// The period of the schedule that they were freed of, at each scale, ms.
    pub periods_ms: Vec<Option<u64>>,
    /// Its scores.
    pub scores: Vec<i8>,
    /// Ticks of a sample.
    pub grain: usize,
}

impl Side {
    /// Takes a window apart that was closed with this `status`.
    pub fn new(window: &VmWindow, status: Status, params: &Params, simd: Simd) -> Self {
        let views: Vec<_> = params
            .scales()
            .iter()
            .enumerate()
            .filter_map(|(i, scale)| Some((window.view(i)?, scale)))
            .collect();
        let judged = if status == Status::Whole { &views[..] } else { &[] };
        let grain = window.grain();
        let takes_part = |scale: &Scale| scale.ticks.is_multiple_of(grain);
        let period = |(view, scale): &(_, &Scale)| {
            let bins = takes_part(scale).then(|| scores::period_bins(view, scale)).flatten();
            bins.map(|bins| bins as u64 * scale.bin_ms)
        };
        let innovations = |(view, scale): &(_, &Scale)| {
            if takes_part(scale) { scores::innovations(view, scale, simd) } else { vec![] }
        };
        Side {
            status,
            samples: views.iter().map(|(view, _)| view.samples.to_vec()).collect(),
            innovations: judged.iter().map(innovations).collect(),
            periods_ms: judged.iter().map(period).collect(),
            scores: if judged.is_empty() { vec![] } else { scores::scores(window, params, simd) },
            grain,
        }
    }

    /// Of a VM that has no sample.
    pub fn gone() -> Self {
        let (samples, innovations, periods_ms, scores) = Default::default();
        Side { status: Status::Gone, samples, innovations, periods_ms, scores, grain: 1 }
    }

    /// How much of what the VM does is more than measurement: the mean square of its scores, 0 to 1.
    pub fn power(&self, params: &Params) -> f64 {
        let squares = self.scores.iter().map(|&score| (f64::from(score) / UNIT).powi(2)).sum::<f64>();
        let part = params.scales().iter().filter(|scale| scale.ticks.is_multiple_of(self.grain));
        squares / part.map(Scale::values).sum::<usize>().max(1) as f64
    }

    /// With these values.
    fn seen<'a>(&self, values: &'a [i8]) -> Seen<'a> {
        Seen { values, grain: self.grain }
    }

    fn unweighted(&self, params: &Params) -> Vec<i8> {
        let factors =
            params.scales().iter().flat_map(|scale| std::iter::repeat_n(scale.factor, scale.values()));
        self.scores
            .iter()
            .zip(factors)
            .map(|(&score, factor)| (f64::from(score) * factor).round() as i8)
            .collect()
    }
}

/// One pair of a window, as the engine judged it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The vectors of the two.
    pub vectors: [Arc<[i8]>; 2],
    /// Those of some VMs, whoever they are, with the ticks of a sample.
    pub sample: Vec<(Arc<[i8]>, usize)>,
    /// What independent pairs look like.
    pub nulls: Nulls,
    /// Whether their clocks may differ.
    pub skewed: bool,
    /// What the window says.
    pub judged: Judged,
    /// What was recorded before says, in standard deviations; 0 if there is too little of it.
    pub recorded_z: f64,
    /// What counts: the window's or the recorded, whichever says more; less if it waits to be confirmed.
    pub z: f64,
    /// The comparison that says so.
    pub by: usize,
}

impl Pair {
    /// By how much `b` follows `a` in the comparison that counts, ms.
    pub fn lag_ms(&self) -> i64 {
        self.nulls.lag_ms(self.by)
    }
}

/// What speaks for and against a pair, by scale, lag and moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Detail {
    /// Standard deviations beyond what independent pairs show, if moments that move everybody counted in full.
    pub unweighted_z: f64,
    /// For each VM how much of what it does is more than measurement, 0 to 1.
    pub power: [f64; 2],
    /// How often each VM is sampled, ms: it takes part in the scales that this divides.
    pub sampled_ms: [u64; 2],
    /// At each scale by itself in which both take part.
    pub scales: Vec<AtScale>,
    /// What the engine compares.
    pub comparisons: Vec<Compared>,
    /// The moments that say most.
    pub moments: Vec<Moment>,
}

/// What one scale says.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AtScale {
    /// Which one of all scales it is.
    #[serde(skip)]
    pub of: usize,
    /// The length of a bin, ms.
    pub bin_ms: u64,
    /// Innovations in a window.
    pub values: usize,
    /// The correlation of what counts of them, at the same moment.
    pub correlation: f64,
    /// Where 95 % of independent pairs of such VMs would have theirs.
    pub band: [f64; 2],
    /// The same in standard deviations of independent pairs.
    pub z: f64,
    /// And some time apart, of which [`AtScale::z`] is the one at lag 0.
    pub lags: Vec<AtLag>,
    /// The period of the schedule that each VM was freed of, ms.
    pub periods_ms: [Option<u64>; 2],
}

/// What one lag says, at one scale.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct AtLag {
    /// By how much `b` follows `a`, ms.
    pub lag_ms: i64,
    /// Standard deviations of independent pairs.
    pub z: f64,
}

/// One of the engine's comparisons.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Compared {
    /// By how much `b` follows `a`, ms.
    pub lag_ms: i64,
    /// The length of a bin, ms; none if all scales are compared together.
    pub bin_ms: Option<u64>,
    /// Standard deviations of independent pairs, corrected for how many comparisons there are.
    pub z: f64,
    /// Whether it is the one that counts.
    pub counts: bool,
}

/// A moment, what both VMs did at it, and what that says.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Moment {
    /// When it began, for each VM, ms since the window began: apart if one follows the other.
    pub start_ms: [u64; 2],
    /// How long it was, ms.
    pub length_ms: u64,
    /// How much CPU each VM used, ppm of one core.
    pub cpu_ppm: [u32; 2],
    /// How much more than its model expected.
    pub unexpected_ppm: [i64; 2],
    /// Its share of all that speaks for what was found.
    pub share: f64,
}

/// Takes a pair apart.
pub fn explain(sides: [&Side; 2], pair: &Pair, params: &Params) -> Detail {
    let sample = pair.sample.iter().take(SAMPLE);
    let sample: Vec<Seen<'_>> = sample.map(|(values, grain)| Seen { values, grain: *grain }).collect();
    let (a, b) = (sides[0].seen(&pair.vectors[0]), sides[1].seen(&pair.vectors[1]));
    let comparisons = pair.nulls.each((a, b), pair.skewed, params);
    let counting = pair.nulls.comparisons().nth(pair.by);
    let judged = pair.nulls.comparisons().nth(pair.judged.by);
    let compared = comparisons.map(|(comparison, z)| Compared {
        lag_ms: comparison.lag_ms,
        bin_ms: comparison.scale().map(|of| params.scales()[of].bin_ms),
        // The one that was judged, as it was: by how this pair spreads when it is shifted, too.
        z: rounded(if Some(comparison) == judged { pair.judged.z } else { z }),
        counts: Some(comparison) == counting,
    });
    let both = |of: &usize| a.is_at(&params.scales()[*of]) && b.is_at(&params.scales()[*of]);
    let scales = (0..params.scales().len()).filter(both);
    let scales = scales.map(|of| at_scale(of, sides, (a, b), &sample, params));
    let tick_ms = params.scales().first().map_or(0, |scale| scale.bin_ms);
    Detail {
        unweighted_z: rounded(unweighted_z(sides, &sample, params)),
        power: sides.map(|side| rounded(side.power(params))),
        sampled_ms: sides.map(|side| side.grain as u64 * tick_ms),
        scales: scales.collect(),
        comparisons: compared.collect(),
        moments: counting.map_or(vec![], |counting| moments(sides, pair, counting, params)),
    }
}

/// Three digits after the point: more is not known of any of these.
fn rounded(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// The correlation of the vectors without weights, as one of the sample's.
fn unweighted_z(sides: [&Side; 2], sample: &[Seen<'_>], params: &Params) -> f64 {
    let [a, b] = sides.map(|side| side.unweighted(params));
    let mut others: Vec<f64> = pairs(sample).map(|(a, b)| correlation(a, b, params, PLAIN)).collect();
    Null::left(&mut others).z(correlation(sides[0].seen(&a), sides[1].seen(&b), params, PLAIN))
}

fn at_scale(
    of: usize,
    sides: [&Side; 2],
    (a, b): (Seen<'_>, Seen<'_>),
    sample: &[Seen<'_>],
    params: &Params,
) -> AtScale {
    let scale = &params.scales()[of];
    let product = |a: Seen<'_>, b: Seen<'_>, lag| {
        f64::from(Comparison::alone(of, lag, params).product((a, b), params, false, PLAIN))
    };
    let sample: Vec<Seen<'_>> = sample.iter().filter(|one| one.is_at(scale)).copied().collect();
    let same = Null::left(&mut pairs(&sample).map(|(a, b)| product(a, b, 0)).collect::<Vec<f64>>());
    let most = if scale.most_lag > 0 { scale.most_lag } else { FINE_LAGS.min(scale.bins / 4) } as isize;
    let apart = || (-most..=most).filter(|lag| *lag != 0);
    let few = &sample[..sample.len().min(LAG_SAMPLE)];
    let others = pairs(few).flat_map(|(a, b)| apart().map(move |lag| product(a, b, lag)));
    let later = Null::both(&mut others.collect::<Vec<f64>>());
    let z = |lag: isize| if lag == 0 { same } else { later }.z(product(a, b, lag));
    let norms = norm(&a.values[scale.range()], PLAIN) * norm(&b.values[scale.range()], PLAIN);
    let edge = |side: f64| rounded((same.centre + side * BAND * same.spread) / norms);
    AtScale {
        of,
        bin_ms: scale.bin_ms,
        values: scale.values(),
        correlation: rounded(product(a, b, 0) / norms),
        band: [edge(-1.0), edge(1.0)],
        z: rounded(z(0)),
        lags: (-most..=most)
            .map(|lag| AtLag { lag_ms: lag as i64 * scale.bin_ms as i64, z: rounded(z(lag)) })
            .collect(),
        periods_ms: sides.map(|side| side.periods_ms.get(of).copied().flatten()),
    }
}

/// One product of two scores.
struct Term {
    product: i32,
    scale: usize,
    /// The bins, of each VM's window.
    bins: [usize; 2],
}

/// The moments that speak most for what was found; of those that overlap the one that says most.
fn moments(sides: [&Side; 2], pair: &Pair, counting: &Comparison, params: &Params) -> Vec<Moment> {
    let sign = if pair.z < 0.0 { -1 } else { 1 };
    let (a, b) = (&pair.vectors[0], &pair.vectors[1]);
    let mut terms: Vec<Term> = vec![];
    for (x, y) in counting.parts(params, false) {
        let Some(of) = params.scales().iter().position(|scale| scale.range().contains(&x.start)) else {
            continue;
        };
        let bin = |at: usize| at - params.scales()[of].start + ORDER;
        let term = |(x, y): (usize, usize)| Term {
            product: sign * i32::from(a[x]) * i32::from(b[y]),
            scale: of,
            bins: [bin(x), bin(y)],
        };
        terms.extend(x.zip(y).map(term).filter(|term| term.product > 0));
    }
    let all: f64 = terms.iter().map(|term| f64::from(term.product)).sum();
    terms.sort_by_key(|term| (-term.product, term.scale, term.bins));
    let mut found: Vec<Moment> = vec![];
    for Term { product, scale: of, bins } in terms {
        let bin_ms = params.scales()[of].bin_ms;
        let [start, _] = bins.map(|bin| bin as u64 * bin_ms);
        let overlaps = |m: &Moment| m.start_ms[0] < start + bin_ms && start < m.start_ms[0] + m.length_ms;
        if found.iter().any(overlaps) {
            continue;
        }
        let each = |which: usize| (&sides[which].samples[of], &sides[which].innovations[of], bins[which]);
        found.push(Moment {
            start_ms: bins.map(|bin| bin as u64 * bin_ms),
            length_ms: bin_ms,
            cpu_ppm: [0, 1].map(each).map(|(samples, _, bin)| samples[bin]),
            unexpected_ppm: [0, 1].map(each).map(|(_, news, bin)| news[bin - ORDER].round() as i64),
            share: rounded(f64::from(product) / all),
        });
        if found.len() == MOMENTS {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests;
