//! Readings of one VM on one host, at any times -> samples on the grid of sampling periods. Pure.
//!
//! Every reading is turned into one of a cumulative counter, which is interpolated between the readings:
//! a sample is what the counter gained in its tick. What no two readings enclose is a gap, never a guess:
//!
//! - a counter that goes down (reset, wrap) and a pause of more than [`Grid::gap_ns`] start anew;
//! - a level covers its own span, or exactly the time since the reading before it if that ends within half a
//!   span of its beginning;
//! - a reading at the same time is `Duplicate`, an earlier one `OutOfOrder`; both change nothing;
//! - more than [`MAX_CPU_PPM`] is `Implausible`, and the stream starts anew there.

use crate::types::{HostId, MAX_CPU_PPM, Reason, Samples, Tick, VmId};

/// A run is handed on when it holds so many samples: then its fixed cost (two reference counts, one
/// allocation, about 60 ns) is 1 ns a sample, and a stream holds 256 bytes of them.
pub const RUN_TICKS: usize = 64;

/// The longest sampling period: a day.
pub const MAX_PERIOD_MS: u64 = 86_400_000;

/// The grid that samples are put on, and how often readings are to be expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    period_ns: i64,
    own_ns: i64,
}

impl Grid {
    /// Samples every `period_ms` from readings about every `own_ms`. Both are held to 1 ms to [`MAX_PERIOD_MS`].
    pub fn new(period_ms: u64, own_ms: u64) -> Self {
        let ns = |ms: u64| ms.clamp(1, MAX_PERIOD_MS) as i64 * 1_000_000;
        Grid { period_ns: ns(period_ms), own_ns: ns(own_ms) }
    }

    /// The sampling period.
    pub fn period_ns(&self) -> i64 {
        self.period_ns
    }

    /// How often readings are to be expected.
    pub fn own_ns(&self) -> i64 {
        self.own_ns
    }

    /// The longest time between two readings that is interpolated: three of the longer period, so two lost
    /// readings are bridged.
    pub fn gap_ns(&self) -> i64 {
        3 * self.period_ns.max(self.own_ns)
    }

    /// The grid of samples of `grain` ticks each, from readings that are as rare.
    pub fn coarser(&self, grain: usize) -> Grid {
        let period_ns = self.period_ns.saturating_mul(grain as i64);
        Grid { period_ns, own_ns: self.own_ns.max(if grain > 1 { period_ns } else { 0 }) }
    }

    /// How many whole ticks end at or before `t_ns`: the first tick that does not.
    pub fn ticks_before(&self, t_ns: i64) -> Tick {
        t_ns.div_euclid(self.period_ns)
    }
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// The CPU time used since some beginning, in nanoseconds.
    Counter(u64),
    /// The CPU used, in ppm of one core, over the span (nanoseconds, > 0) that ends with the reading.
    Level(u32, i64),
    /// The VM is there; what it used until now is not known.
    Unmeasured,
}

/// One VM on one host: the readings so far, and the samples not handed on yet.
#[derive(Clone, Debug)]
pub struct Stream {
    vm: VmId,
    host: HostId,
    /// Ticks of a sample. What is counted in ticks below is counted in these.
    grain: usize,
    /// Time of the last reading.
    last_ns: Option<i64>,
    counter: Option<u64>,
    /// Up to when the use is known, and from the beginning of that tick on: how much was used in it, in
    /// ppm x ns (10^-15 s), at most 2^29 x 8.64e13 < 2^76; `None` if the tick's beginning is not known.
    open: Option<i128>,
    first: Tick,
    run: Vec<u32>,
}

impl Stream {
    /// A stream that has read nothing.
    pub fn new(vm: VmId, host: HostId) -> Self {
        Stream::coarse(vm, host, 1)
    }

    /// The same, of samples of `grain` ticks each.
    pub fn coarse(vm: VmId, host: HostId, grain: usize) -> Self {
        Stream { vm, host, grain, last_ns: None, counter: None, open: None, first: 0, run: Vec::new() }
    }

    /// Ticks of a sample.
    pub fn grain(&self) -> usize {
        self.grain
    }

    /// Takes one reading at `t_ns` (since the epoch); full runs, and those that a gap ends, go to `out`. Of a coarse
    /// stream `grid` is the [`Grid::coarser`] one.
    ///
    /// # Errors
    /// `Duplicate`, `OutOfOrder` and `Implausible`, see the module.
    #[inline]
    pub fn read(
        &mut self,
        grid: &Grid,
        t_ns: i64,
        value: Value,
        out: &mut Vec<Samples>,
    ) -> Result<(), Reason> {
        match self.last_ns {
            Some(last_ns) if t_ns == last_ns => return Err(Reason::Duplicate),
            Some(last_ns) if t_ns < last_ns => return Err(Reason::OutOfOrder),
            _ => {}
        }
        match value {
            Value::Counter(counter) => self.count(grid, t_ns, counter, out),
            Value::Level(ppm, span_ns) => self.level(grid, t_ns, (ppm, span_ns), out),
            Value::Unmeasured => {
                self.counter = None;
                self.restart(grid, t_ns);
                Ok(())
            }
        }
    }

    /// Hands on the samples that are complete.
    pub fn flush(&mut self, out: &mut Vec<Samples>) {
        if !self.run.is_empty() {
            // The next run will be about as long: of a collector at 1 Hz it is one sample.
            let next = Vec::with_capacity(self.run.len());
            let cpu_ppm = std::mem::replace(&mut self.run, next);
            let (vm, host, grain) = (self.vm.clone(), self.host.clone(), self.grain);
            out.push(Samples { vm, host, first: self.first * grain as Tick, grain, cpu_ppm });
        }
    }

    fn restart(&mut self, grid: &Grid, t_ns: i64) {
        self.last_ns = Some(t_ns);
        self.open = (t_ns.rem_euclid(grid.period_ns) == 0).then_some(0);
    }

    fn count(&mut self, grid: &Grid, t_ns: i64, counter: u64, out: &mut Vec<Samples>) -> Result<(), Reason> {
        let before = self.counter.replace(counter).zip(self.last_ns);
        let gained = before.and_then(|(before, from_ns)| Some((counter.checked_sub(before)?, from_ns)));
        let Some((gained_ns, from_ns)) = gained.filter(|(_, from_ns)| t_ns - from_ns <= grid.gap_ns()) else {
            self.restart(grid, t_ns);
            return Ok(());
        };
        let used = i128::from(gained_ns) * 1_000_000;
        if used > i128::from(MAX_CPU_PPM) * i128::from(t_ns - from_ns) {
            self.restart(grid, t_ns);
            return Err(Reason::Implausible);
        }
        self.spread(grid, (from_ns, t_ns), used, out);
        Ok(())
    }

    fn level(
        &mut self,
        grid: &Grid,
        t_ns: i64,
        (ppm, span_ns): (u32, i64),
        out: &mut Vec<Samples>,
    ) -> Result<(), Reason> {
        self.counter = None;
        if ppm > MAX_CPU_PPM || span_ns <= 0 || span_ns > grid.gap_ns() {
            self.restart(grid, t_ns);
            return if ppm > MAX_CPU_PPM { Err(Reason::Implausible) } else { Ok(()) };
        }
        let from_ns = match self.last_ns {
            Some(last_ns) if t_ns - last_ns <= span_ns + span_ns / 2 => last_ns,
            _ => {
                self.restart(grid, t_ns - span_ns);
                t_ns - span_ns
            }
        };
        if t_ns - from_ns == grid.period_ns && self.open == Some(0) && t_ns.rem_euclid(grid.period_ns) == 0 {
            self.last_ns = Some(t_ns);
            self.emit(grid.ticks_before(t_ns) - 1, ppm, out);
        } else {
            let used = i128::from(ppm) * i128::from(t_ns - from_ns);
            self.spread(grid, (from_ns, t_ns), used, out);
        }
        Ok(())
    }

    /// Spreads what was used evenly over the time; completes the ticks that end in it. At most
    /// `gap_ns / period_ns + 1` of them: 4, unless readings are rarer than the grid.
    fn spread(&mut self, grid: &Grid, (from_ns, t_ns): (i64, i64), used: i128, out: &mut Vec<Samples>) {
        let length = i128::from(t_ns - from_ns);
        let period = i128::from(grid.period_ns);
        let (mut tick, mut given) = (grid.ticks_before(from_ns), 0);
        while let end_ns = (tick + 1) * grid.period_ns
            && end_ns <= t_ns
        {
            // No product overflows: used < 2^76, times less than 2^48.
            let until = if end_ns == t_ns { used } else { used * i128::from(end_ns - from_ns) / length };
            if let Some(open) = self.open {
                self.emit(tick, nearest(open + until - given, period), out);
            }
            (given, tick, self.open) = (until, tick + 1, Some(0));
        }
        self.open = self.open.map(|open| open + used - given);
        self.last_ns = Some(t_ns);
    }

    #[inline]
    fn emit(&mut self, tick: Tick, ppm: u32, out: &mut Vec<Samples>) {
        if self.run.len() >= RUN_TICKS || tick != self.first + self.run.len() as Tick {
            self.flush(out);
        }
        if self.run.is_empty() {
            self.first = tick;
        }
        self.run.push(ppm);
    }
}

/// `used` per period, to the nearest, half up. Never more than [`MAX_CPU_PPM`], since no part of it was.
fn nearest(used: i128, period: i128) -> u32 {
    let doubled = 2 * used + period;
    let ppm = match (u64::try_from(doubled), u64::try_from(2 * period)) {
        (Ok(doubled), Ok(period)) => i128::from(doubled / period),
        _ => doubled / (2 * period),
    };
    u32::try_from(ppm).unwrap_or(MAX_CPU_PPM).min(MAX_CPU_PPM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000_000;

    fn run(grid: &Grid, readings: &[(i64, Value)]) -> (Vec<(Tick, Vec<u32>)>, Vec<Reason>) {
        let (mut out, mut refused) = (Vec::new(), Vec::new());
        let mut stream = Stream::new(VmId::new("a"), HostId::new(""));
        for &(t_ns, value) in readings {
            refused.extend(stream.read(grid, t_ns, value, &mut out).err());
        }
        stream.flush(&mut out);
        (out.into_iter().map(|s| (s.first, s.cpu_ppm)).collect(), refused)
    }

    #[test]
    fn rules() {
        use Value::{Counter as C, Level as L, Unmeasured as U};
        let grid = Grid::new(1000, 1000);
        type Row = (&'static str, Vec<(i64, Value)>, Vec<(Tick, Vec<u32>)>, Vec<Reason>);
        let half = S / 2;
        let rows: Vec<Row> = vec![
            ("levels on the grid", vec![(S, L(5, S)), (2 * S, L(7, S))], vec![(0, vec![5, 7])], vec![]),
            ("a lost level", vec![(S, L(5, S)), (3 * S, L(7, S))], vec![(0, vec![5]), (2, vec![7])], vec![]),
            (
                "levels off the grid",
                vec![(S + half, L(10, S)), (2 * S + half, L(20, S)), (3 * S + half, L(40, S))],
                vec![(1, vec![15, 30])],
                vec![],
            ),
            (
                "counter",
                vec![(0, C(0)), (S, C(500_000_000)), (2 * S, C(500_000_000))],
                vec![(0, vec![500_000, 0])],
                vec![],
            ),
            (
                "counter off the grid, interpolated",
                vec![(half, C(0)), (2 * S + half, C(2_000_000))],
                vec![(1, vec![1000])],
                vec![],
            ),
            (
                "reset",
                vec![(0, C(9_000)), (S, C(10_000)), (2 * S, C(0)), (3 * S, C(2_000))],
                vec![(0, vec![1]), (2, vec![2])],
                vec![],
            ),
            ("three periods", vec![(0, C(0)), (3 * S, C(3_000))], vec![(0, vec![1, 1, 1])], vec![]),
            ("more is a gap", vec![(0, C(0)), (3 * S + 1, C(3_000))], vec![], vec![]),
            (
                "same time, earlier",
                vec![(S, L(5, S)), (S, L(6, S)), (half, L(6, S)), (2 * S, L(7, S))],
                vec![(0, vec![5, 7])],
                vec![Reason::Duplicate, Reason::OutOfOrder],
            ),
            (
                "wild",
                vec![(0, C(0)), (S, C(u64::MAX)), (2 * S, C(u64::MAX))],
                vec![(1, vec![0])],
                vec![Reason::Implausible],
            ),
            ("first sight", vec![(0, U), (S, L(3, S))], vec![(0, vec![3])], vec![]),
            ("before the epoch", vec![(0, L(3, S))], vec![(-1, vec![3])], vec![]),
        ];
        for (name, readings, want, refused) in rows {
            assert_eq!(run(&grid, &readings), (want, refused), "{name}");
        }
    }

    #[test]
    fn finer_readings_are_added_up() {
        let readings: Vec<_> = (1..=20).map(|i| (i * S / 10, Value::Level(i as u32 * 10, S / 10))).collect();
        assert_eq!(run(&Grid::new(1000, 100), &readings).0, vec![(0, vec![55, 155])]);
    }

    /// The obvious twin: the counter as a function of time, asked at both ends of every tick.
    fn slow(grid: &Grid, readings: &[(i64, u64)]) -> Vec<(Tick, f64)> {
        let at = |t: i64| {
            let i = readings.windows(2).position(|w| w[0].0 <= t && t <= w[1].0)?;
            let ((t0, c0), (t1, c1)) = (readings[i], readings[i + 1]);
            Some(c0 as f64 + (c1 - c0) as f64 * (t - t0) as f64 / (t1 - t0) as f64)
        };
        let (first, last) = (readings[0].0, readings[readings.len() - 1].0);
        let p = grid.period_ns;
        (grid.ticks_before(first)..=grid.ticks_before(last))
            .filter_map(|k| Some((k, (at((k + 1) * p)? - at(k * p)?) * 1e6 / p as f64)))
            .collect()
    }

    proptest! {
        #[test]
        fn counters_agree_with_the_twin(steps in prop::collection::vec((1i64..300, 0u64..400_000_000), 2..80)) {
            let grid = Grid::new(100, 100);
            let (mut t, mut c) = (0, 0);
            let readings: Vec<_> = steps.iter().map(|&(dt, dc)| {
                t += dt * 1_000_000;
                c += dc.min(dt as u64 * 400_000_000);
                (t, c)
            }).collect();
            let values: Vec<_> = readings.iter().map(|&(t, c)| (t, Value::Counter(c))).collect();
            let (runs, refused) = run(&grid, &values);
            prop_assert!(refused.is_empty());
            let got: Vec<_> = runs.iter().flat_map(|(k, v)| v.iter().enumerate().map(move |(i, &x)| (k + i as i64, x))).collect();
            let want = slow(&grid, &readings);
            prop_assert_eq!(got.len(), want.len());
            for ((k, x), (l, y)) in got.into_iter().zip(want) {
                prop_assert_eq!(k, l);
                prop_assert!((f64::from(x) - y).abs() <= 0.51, "{} {}", x, y);
            }
        }
    }
}
