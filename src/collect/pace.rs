//! When to read next: at the ends of ticks, on the wall clock; and which answers say when they were read. Pure.

/// What the clock says about a reading that was to be taken at a tick's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It is time; so many ticks ended since the last reading without one of their own.
    Read {
        /// How many; what they used is interpolated, or a gap.
        missed: u64,
    },
    /// The tick ends in so many nanoseconds.
    Wait(u64),
    /// The clock was set back: readings so far are void.
    SetBack,
}

/// Follows the clock from tick to tick.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    period_ns: i64,
    /// The tick in which the last reading was taken, and when.
    last: Option<(i64, i64)>,
}

impl Pace {
    /// A reading every `period_ms`.
    pub fn new(period_ms: u64) -> Self {
        Pace { period_ns: period_ms.max(1) as i64 * 1_000_000, last: None }
    }

    /// What to do when the clock says `now_ns`.
    pub fn turn(&mut self, now_ns: i64) -> Turn {
        let tick = now_ns.div_euclid(self.period_ns);
        match self.last {
            Some((_, last_ns)) if now_ns < last_ns => {
                self.last = None;
                Turn::SetBack
            }
            Some((last, _)) if tick == last => Turn::Wait(((tick + 1) * self.period_ns - now_ns) as u64),
            Some((last, _)) => {
                self.last = Some((tick, now_ns));
                Turn::Read { missed: (tick - last - 1) as u64 }
            }
            None => {
                // The first reading stands at a tick's end, too.
                self.last = Some((tick, now_ns));
                Turn::Wait(((tick + 1) * self.period_ns - now_ns) as u64)
            }
        }
    }
}

/// How long it usually takes until there is an answer. Whoever asks takes the middle for when it was read, which is wrong by
/// half of that: always the same, so no difference of two readings is. One that took much longer would be wrong for good
/// where samples begin, and too small in one and too large in another elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delay {
    usual_ns: Option<i64>,
}

impl Delay {
    /// Whether an answer after `took_ns` counts: it came at most half of `period_ms` later than usual. What is usual
    /// follows what comes, by a quarter of the difference.
    pub fn is_usual(&mut self, took_ns: i64, period_ms: u64) -> bool {
        let usual_ns = self.usual_ns.unwrap_or(took_ns);
        self.usual_ns = Some(usual_ns + (took_ns - usual_ns) / 4);
        took_ns - usual_ns <= period_ms as i64 * 500_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_end_on_the_wall_clock() {
        let mut pace = Pace::new(100);
        let ms = |ms: i64| ms * 1_000_000;
        for (now_ns, want) in [
            (ms(1_030), Turn::Wait(70_000_000)),
            (ms(1_099), Turn::Wait(1_000_000)),
            (ms(1_100) + 5, Turn::Read { missed: 0 }),
            (ms(1_100) + 9, Turn::Wait(99_999_991)),
            (ms(1_201), Turn::Read { missed: 0 }),
            (ms(1_555), Turn::Read { missed: 2 }),
            (ms(900), Turn::SetBack),
            (ms(910), Turn::Wait(90_000_000)),
            (ms(1_000), Turn::Read { missed: 0 }),
        ] {
            assert_eq!(pace.turn(now_ns), want, "{now_ns}");
        }
    }

    #[test]
    fn what_is_late_counts_once_it_is_usual() {
        let mut delay = Delay::default();
        let said =
            [20, 30, 900, 25, 800, 800, 800, 800, 800, 10].map(|ms| delay.is_usual(ms * 1_000_000, 1000));
        assert_eq!(said, [true, true, false, true, false, true, true, true, true, true]);
    }
}
