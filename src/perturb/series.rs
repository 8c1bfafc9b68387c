//! What one VM used, period by period, for as long as a question lasts. Pure.

use crate::types::{MAX_CPU_PPM, Tick};

/// The most periods that are kept: an hour's code (`command::MAX_SLOTS`) at 100 ms a period, and some; 160 kB a VM.
const MAX_TICKS: usize = 40_000;

/// A stretch of which more than a quarter is missing has no mean.
const LEAST_SHARE: f64 = 0.75;

const MISSING: u32 = u32::MAX;
const _: () = assert!(MAX_CPU_PPM < MISSING);

/// The CPU use of one VM, ppm of one core.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    period_ms: u64,
    /// The tick of the first value: the period that ends at `(first + 1) * period_ms`, Unix milliseconds.
    first: Tick,
    values: Vec<u32>,
}

impl Series {
    /// Nothing yet; a value is for `period_ms`, at least 1.
    pub fn new(period_ms: u64) -> Self {
        Series { period_ms: period_ms.max(1), first: 0, values: vec![] }
    }

    /// How long a period is.
    pub fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// Takes in consecutive values from tick `first` on. What is older than all that is kept is left out; of what comes twice
    /// the last counts; after a pause longer than is kept it begins anew.
    pub fn push(&mut self, first: Tick, cpu_ppm: &[u32]) {
        if self.values.is_empty() {
            self.first = first;
        }
        for (tick, value) in (first..).zip(cpu_ppm) {
            let Ok(mut at) = usize::try_from(tick.saturating_sub(self.first)) else { continue };
            if at >= 2 * MAX_TICKS {
                (self.first, at) = (tick, 0);
                self.values.clear();
            }
            if at >= self.values.len() {
                self.values.resize(at + 1, MISSING);
            }
            self.values[at] = (*value).min(MAX_CPU_PPM);
        }
        let surplus = self.values.len().saturating_sub(MAX_TICKS);
        self.values.drain(..surplus);
        self.first += surplus as Tick;
    }

    /// When the first value begins, Unix milliseconds.
    pub fn start_ms(&self) -> i64 {
        self.first.saturating_mul(self.period_ms as i64)
    }

    /// When the last value ends, Unix milliseconds.
    pub fn end_ms(&self) -> i64 {
        (self.first + self.values.len() as Tick).saturating_mul(self.period_ms as i64)
    }

    /// The mean of the periods that lie within `[from_ms, to_ms)`, ppm; none if too many are missing.
    pub fn mean(&self, from_ms: i64, to_ms: i64) -> Option<f64> {
        let period_ms = self.period_ms as i64;
        let (from, to) = (-(-from_ms).div_euclid(period_ms), to_ms.div_euclid(period_ms));
        let at = |tick: i64| usize::try_from(tick - self.first).unwrap_or(0).min(self.values.len());
        let there = self.values.get(at(from)..at(to))?.iter().filter(|value| **value != MISSING);
        let (sum, count) = there.fold((0, 0), |(sum, count), value| (sum + u64::from(*value), count + 1_u64));
        let enough = count > 0 && count as f64 >= LEAST_SHARE * (to - from) as f64;
        enough.then(|| sum as f64 / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_whole_periods() {
        let mut series = Series::new(1_000);
        series.push(10, &[1, 2, 3, 4]);
        series.push(15, &[6]);
        // Tick 10 lasts from 10 s to 11 s.
        let rows = [
            (10_000, 12_000, Some(1.5)),
            (9_500, 12_500, Some(1.5)),
            (10_500, 12_500, Some(2.0)),
            (10_000, 14_000, Some(2.5)),
            (12_000, 16_000, Some(13.0 / 3.0)),
            (14_000, 15_000, None),
            (13_000, 15_000, None),
            (0, 10_000, None),
            (12_100, 12_900, None),
            (20_000, 30_000, None),
            (12_000, 10_000, None),
        ];
        for (from_ms, to_ms, want) in rows {
            assert_eq!(series.mean(from_ms, to_ms), want, "{from_ms} {to_ms}");
        }
        assert_eq!((series.start_ms(), series.end_ms()), (10_000, 16_000));
    }

    #[test]
    fn it_is_bounded() {
        let mut series = Series::new(100);
        for at in 0..9 {
            series.push(at * 10_000, &[7; 10_000]);
        }
        assert_eq!((series.values.len(), series.end_ms()), (MAX_TICKS, 9_000_000));
        series.push(5, &[1]);
        series.push(1 << 40, &[1, 2]);
        assert_eq!(series.values, [1, 2]);
    }
}
