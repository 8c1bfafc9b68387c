//! At which scales, orders and lags VMs are compared: all of it follows from the sampling period and the window.

use statrs::distribution::{ContinuousCDF, Normal};
use thiserror::Error;

use crate::types::MAX_GRAIN_MS;

/// Order of the AR models, at every scale: what remains predictable beyond it is little, and a model of
/// ten is fitted from the 60 bins that the coarsest scale has at least.
pub const ORDER: usize = 10;

/// A score of one standard deviation, as an integer: `i8` holds 3.97 of them.
pub const UNIT: f64 = 32.0;

/// A scale is used if the window has this many bins of it.
const LEAST_BINS: usize = 60;

/// The coarsest scale, ms: beyond it what moves together is the day, not the work. Whoever samples no more coarsely takes part.
const COARSEST_MS: u64 = MAX_GRAIN_MS;

/// A scale's scores count for its bin's length to this power: between equal weights (best for hubs, whose clients
/// show themselves request by request) and the square root that averages bins by their length (best for batch).
const COARSER: f64 = 0.4;

/// How far apart in time two VMs are looked at together, ms: queues and batches make seconds.
pub const MOST_LAG_MS: u64 = 5_000;

/// Lags are looked at for all pairs at scales from here on, ms.
const LAG_SCALE_MS: u64 = 1_000;

/// Longest vector of a VM: its products fit `i32` (see `product`), see there.
pub const MAX_VALUES: usize = super::product::MAX_LEN;

/// One time scale.
#[derive(Clone, PartialEq, Debug)]
pub struct Scale {
    /// Ticks to a bin.
    pub ticks: usize,
    /// The length of a bin, ms.
    pub bin_ms: u64,
    /// Bins in a window.
    pub bins: usize,
    /// Where its innovations begin in a VM's vector; there are `bins - ORDER` of them.
    pub start: usize,
    /// What its scores count for, 1 for the coarsest scale.
    pub factor: f64,
    /// Its part of the variance of a product: its values times what each counts for, which comes in both VMs, squared.
    pub variance: f64,
    /// The largest lag, in bins, at which all pairs are compared; 0 for none but lag 0.
    pub most_lag: usize,
    /// Normal scores, in `UNIT`s: of rank r (0-based, ties share the mean rank) that at `2 r`.
    pub normal: Vec<f32>,
}

impl Scale {
    /// Innovations in a window.
    pub fn values(&self) -> usize {
        self.bins - ORDER
    }
    /// Where its innovations are in a VM's vector.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.values()
    }
}

/// How VMs are compared. Made by [`Params::new`].
#[derive(Clone, PartialEq, Debug)]
pub struct Params {
    scales: Vec<Scale>,
    values: usize,
    hop: usize,
    /// False discovery rate.
    fdr: f64,
}

/// VMs cannot be compared in such windows.
#[derive(Clone, PartialEq, Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ParamsError {
    #[error("a window of {length} samples is too short: coupling needs {least} at least")]
    Short { length: usize, least: usize },
    #[error("a window of {length} samples is too long: coupling compares {most} values at most")]
    Long { length: usize, most: usize },
}

impl Params {
    /// For windows of `length` ticks of `period_ms` that slide by `hop`; at most the share `fdr` of what is
    /// published may be false.
    ///
    /// # Errors
    /// When a window holds too few ticks to say anything, or more than can be multiplied.
    pub fn new(period_ms: u64, length: usize, hop: usize, fdr: f64) -> Result<Self, ParamsError> {
        let least = 3 * ORDER;
        if length < least {
            return Err(ParamsError::Short { length, least });
        }
        let ticks = scales(period_ms, length, hop);
        let coarsest = ticks.last().copied().unwrap_or(1);
        let (mut scales, mut start) = (vec![], 0);
        for ticks in ticks {
            let scale = scale(ticks, period_ms, length / ticks, start, coarsest);
            start += scale.values();
            scales.push(scale);
        }
        if start > MAX_VALUES {
            return Err(ParamsError::Long { length, most: MAX_VALUES });
        }
        Ok(Params { scales, values: start, hop, fdr })
    }

    /// The same, but pairs are compared at the same moment only: a sixth of the work.
    pub fn without_lags(mut self) -> Self {
        self.scales.iter_mut().for_each(|scale| scale.most_lag = 0);
        self
    }

    /// The scales, finest first.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }
    /// Ticks to a bin, for each scale.
    pub fn scale_ticks(&self) -> Vec<usize> {
        self.scales.iter().map(|scale| scale.ticks).collect()
    }
    /// The length of a VM's vector.
    pub fn values(&self) -> usize {
        self.values
    }
    /// By what a product over the scales that samples of `grain` ticks fit is multiplied to spread as one over all
    /// scales does; 0 if they fit none.
    pub fn enlarged(&self, grain: usize) -> f64 {
        let variance = |grain: usize| {
            let part = self.scales.iter().filter(|scale| scale.ticks.is_multiple_of(grain));
            part.map(|scale| scale.variance).sum::<f64>()
        };
        let part = variance(grain);
        if part > 0.0 { (variance(1) / part).sqrt() } else { 0.0 }
    }
    /// Ticks by which the window slides.
    pub fn hop(&self) -> usize {
        self.hop
    }
    /// The same in seconds.
    pub fn hop_s(&self) -> f64 {
        self.scales
            .first()
            .map_or(0.0, |scale| (self.hop / scale.ticks) as f64 * scale.bin_ms as f64 / 1000.0)
    }
    /// The share of what is published that may be false.
    pub fn fdr(&self) -> f64 {
        self.fdr
    }
}

/// Ticks to a bin: 1, and all of 0.1, 0.2, 0.5, 1, 2, 5, ... s of which the window has enough and into which
/// the hop can be divided.
fn scales(period_ms: u64, length: usize, hop: usize) -> Vec<usize> {
    let decades = (2..=6).map(|exponent| 10u64.pow(exponent));
    let lengths_ms = decades.flat_map(|decade| [1, 2, 5].map(|step| step * decade));
    let ticks = lengths_ms.filter(|ms| *ms > period_ms && *ms <= COARSEST_MS && ms.is_multiple_of(period_ms));
    let ticks = ticks.map(|ms| (ms / period_ms) as usize);
    std::iter::once(1)
        .chain(
            ticks.take_while(|ticks| length / ticks >= LEAST_BINS).filter(|ticks| hop.is_multiple_of(*ticks)),
        )
        .collect()
}

fn scale(ticks: usize, period_ms: u64, bins: usize, start: usize, coarsest: usize) -> Scale {
    let bin_ms = period_ms * ticks as u64;
    let factor = (ticks as f64 / coarsest as f64).powf(COARSER);
    let most_lag = if bin_ms >= LAG_SCALE_MS { (MOST_LAG_MS / bin_ms) as usize } else { 0 };
    Scale {
        ticks,
        bin_ms,
        bins,
        start,
        factor,
        variance: (bins - ORDER) as f64 * factor.powi(4),
        most_lag: most_lag.min(bins / 4),
        normal: normal_scores(bins - ORDER),
    }
}

/// Normal scores of `n` ranks and of the half ranks between them: the quantiles of a standard normal distribution
/// at (r + 1/2) / n, scaled to unit variance over the whole ranks (van der Waerden; Blom 1958).
fn normal_scores(n: usize) -> Vec<f32> {
    let normal = Normal::standard();
    let at = |half: usize| normal.inverse_cdf((half + 1) as f64 / (2 * n) as f64);
    let square: f64 = (0..n).map(|r| at(2 * r).powi(2)).sum();
    let unit = UNIT / (square / n as f64).sqrt();
    (0..2 * n - 1).map(|half| (at(half) * unit) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_follow_from_period_and_window() {
        for (period_ms, length, hop, expected) in [
            (100, 3000, 600, vec![1, 2, 5, 10, 20, 50]),
            (100, 1200, 600, vec![1, 2, 5, 10, 20]),
            (1000, 300, 60, vec![1, 2, 5]),
            (250, 1200, 240, vec![1, 2, 4, 8, 20]),
            (1000, 40, 10, vec![1]),
            (15_000, 40, 4, vec![1]),
        ] {
            let params = Params::new(period_ms, length, hop, 0.01).unwrap();
            assert_eq!(params.scale_ticks(), expected, "{period_ms} ms, {length}");
        }
        assert!(Params::new(1000, 29, 29, 0.01).is_err());
    }

    #[test]
    fn scores_have_unit_variance_and_ties_fall_between() {
        let scores = normal_scores(100);
        let square: f64 = scores.iter().step_by(2).map(|&x| f64::from(x).powi(2)).sum();
        assert!((square / 100.0 - UNIT * UNIT).abs() < 1e-2);
        assert!(scores.is_sorted() && scores[99].abs() < 1e-4);
    }
}
