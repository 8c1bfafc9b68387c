//! What a VM used lately: the mean of the last minute, say, in which we did not cap it. Pure.

use std::collections::VecDeque;

/// What is older is no longer lately: under an hour's code with every other slot capped there are enough younger ones.
const MAX_AGE_MS: i64 = 600_000;

/// Who was not read for so many times the usual has no use that is known.
const MAX_MISSED: i64 = 5;

/// A counter that is read again and again.
#[derive(Clone, Debug)]
pub struct Lately {
    /// How much time is averaged, ms; half of it is enough.
    wanted_ms: i64,
    /// The last reading: when, and the counter, ns.
    last: Option<(i64, u64)>,
    /// Whether the VM was capped since.
    capped: bool,
    /// When each interval ended, how long it was in ms, and what was used in it, ns. The newest last.
    intervals: VecDeque<(i64, i64, u64)>,
}

impl Lately {
    /// The mean over `wanted_ms`.
    pub fn new(wanted_ms: u64) -> Lately {
        Lately {
            wanted_ms: wanted_ms.min(MAX_AGE_MS as u64) as i64,
            last: None,
            capped: false,
            intervals: VecDeque::new(),
        }
    }

    /// The VM is capped, or was until now: the interval that is open does not count.
    pub fn capped(&mut self) {
        self.capped = true;
    }

    /// Takes a reading, made at `at_ms`, which never goes back.
    pub fn read(&mut self, at_ms: i64, counter_ns: u64) {
        let (last, capped) = (self.last.replace((at_ms, counter_ns)), std::mem::take(&mut self.capped));
        let Some((last_ms, last_ns)) = last else { return };
        let Some(used_ns) = counter_ns.checked_sub(last_ns) else {
            // Another VM of that name.
            self.intervals.clear();
            return;
        };
        if at_ms <= last_ms || capped {
            return;
        }
        self.intervals.push_back((at_ms, at_ms - last_ms, used_ns));
        let mut kept_ms: i64 = self.intervals.iter().map(|(_, length_ms, _)| length_ms).sum();
        while let Some(&(end_ms, length_ms, _)) = self.intervals.front()
            && (kept_ms - length_ms >= self.wanted_ms || at_ms - end_ms > MAX_AGE_MS)
        {
            kept_ms -= length_ms;
            self.intervals.pop_front();
        }
    }

    /// The mean use in ppm of one core, if enough is known at `now_ms`.
    pub fn used_ppm(&self, now_ms: i64) -> Option<u32> {
        let ms: i64 = self.intervals.iter().map(|(_, length_ms, _)| length_ms).sum();
        let ns: u64 = self.intervals.iter().fold(0, |sum, (_, _, used_ns)| sum.saturating_add(*used_ns));
        let (last_ms, _) = self.last?;
        let (end_ms, longest_ms, _) = *self.intervals.back()?;
        let fresh = now_ms - last_ms <= MAX_MISSED * longest_ms && now_ms - end_ms <= MAX_AGE_MS;
        // ns of ms is ppm: 10^6 ns are one ms of one core.
        (fresh && ms * 2 >= self.wanted_ms).then(|| u32::try_from(ns / ms as u64).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings a second apart, each with what was used in ms since the last, and whether it was capped.
    fn lately(wanted_s: u64, seconds: &[(u64, bool)]) -> Option<u32> {
        let mut lately = Lately::new(wanted_s * 1000);
        let (mut counter, mut at_ms) = (5_000_000_000, 0);
        lately.read(at_ms, counter);
        for &(used_ms, capped) in seconds {
            at_ms += 1000;
            counter += used_ms * 1_000_000;
            if capped {
                lately.capped();
            }
            lately.read(at_ms, counter);
        }
        lately.used_ppm(at_ms)
    }

    #[test]
    fn the_mean_of_what_was_not_capped() {
        let half = (500, false);
        assert_eq!(lately(4, &[]), None);
        assert_eq!(lately(4, &[half]), None);
        assert_eq!(lately(4, &[half, half]), Some(500_000));
        assert_eq!(lately(4, &[(4000, false), half, half, half, (1500, false)]), Some(750_000));
        assert_eq!(lately(4, &[half, half, (10, true), (20, true), (0, true)]), Some(500_000));
        assert_eq!(lately(4, &[half, (10, true), (20, true), (0, true)]), None);
        assert_eq!(lately(4, &[(0, false); 9]), Some(0));
    }

    #[test]
    fn what_is_not_read_any_more_is_not_known() {
        let mut lately = Lately::new(2_000);
        for (at_ms, counter) in [(0, 0), (1000, 500_000_000), (2000, 1_000_000_000)] {
            lately.read(at_ms, counter);
        }
        assert_eq!((lately.used_ppm(7_000), lately.used_ppm(7_001)), (Some(500_000), None));
        // It was made anew, and counts from nothing.
        lately.read(3000, 100);
        assert_eq!(lately.used_ppm(3000), None);
    }
}
