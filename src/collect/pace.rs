//! When to read next: at the ends of ticks, on the wall clock. Pure.

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
}
