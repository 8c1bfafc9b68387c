//! One plain sentence that says why a pair is held dependent, or not.

use serde::Serialize;

use super::super::compare::Which;
use super::{Detail, Pair, Side};
use crate::window::Status;

/// Lags up to here can be two hosts' clocks, ms.
const CLOCKS_MS: u64 = 300;
/// A VM whose scores have less than this mean square varies within what is measured: 1 has all of it.
const LEAST_POWER: f64 = 0.05;
/// From this share of what is enough on, more time may tell: one independent pair in 1,000 or fewer has as much.
const NEARLY: f64 = 0.75;

/// Why a pair is held dependent, or not.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Dependent: both do what was not expected at the same moment.
    SameMoment,
    /// Dependent: one does so some time after the other.
    Follows {
        /// The one that goes first.
        first: Which,
        /// By how much the other follows, ms.
        lag_ms: u64,
    },
    /// Dependent: the same moment, if the clocks of their hosts differ.
    Clocks {
        /// By how much, ms.
        lag_ms: u64,
    },
    /// Dependent: one rests while the other works.
    Opposite,
    /// Dependent: weak, but it lasts.
    Lasting,
    /// Dependent, though this window does not show it: one window does not change what is held.
    Resting,
    /// Not yet: it is enough by now, but was not in the windows before.
    NotYet,
    /// Not yet: one follows the other by evidence that is hardly enough, and new samples do not say the same yet.
    Unconfirmed,
    /// The evidence is enough, but their neighbours in the graph of dependencies say that they belong to different
    /// ensembles.
    Outvoted,
    /// One has no sample in the window.
    Gone {
        /// Which.
        vm: Which,
    },
    /// One misses too many samples.
    TooFew {
        /// Which.
        vm: Which,
        /// How many it misses.
        missing_ticks: usize,
    },
    /// One does nothing.
    Idle {
        /// Which.
        vm: Which,
    },
    /// One varies less than can be measured: it runs at its cap, say.
    Steady {
        /// Which.
        vm: Which,
    },
    /// No time scale is whole samples of both.
    NoScale,
    /// What they have in common is a schedule.
    Schedule {
        /// Its period, ms.
        period_ms: u64,
    },
    /// What they have in common, everybody has.
    Everybody,
    /// There is something, but not enough to be sure.
    Nearly,
    /// They have nothing in common that unrelated pairs have not.
    Nothing,
}

/// What decides, beside the windows themselves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Facts {
    /// The evidence of the window, in standard deviations.
    pub z: f64,
    /// The recorded one.
    pub recorded_z: f64,
    /// How much is enough.
    pub threshold: f64,
    /// Whether the window's evidence waits for new samples.
    pub unconfirmed: bool,
    /// By how much `b` follows `a`, ms.
    pub lag_ms: i64,
    /// The evidence if moments that move everybody counted in full.
    pub unweighted_z: f64,
    /// How much of what each VM does is more than measurement, 0 to 1.
    pub power: [f64; 2],
    /// The period of a schedule that both have, ms, if their CPU use is alike by it.
    pub schedule_ms: Option<u64>,
    /// Whether there is a scale in which both take part.
    pub comparable: bool,
}

impl Facts {
    /// Of a pair that was taken apart.
    pub fn new(sides: [&Side; 2], pair: &Pair, detail: &Detail) -> Self {
        let threshold = pair.nulls.significance().threshold();
        let common = detail.scales.iter().filter_map(|scale| match scale.periods_ms {
            [Some(one), Some(other)] if one == other => Some((scale.of, one)),
            _ => None,
        });
        let alike = |of: usize| alike(&sides[0].samples[of], &sides[1].samples[of]) > threshold;
        Facts {
            z: pair.judged.z,
            recorded_z: pair.recorded_z,
            threshold,
            unconfirmed: pair.z.abs() < threshold,
            lag_ms: pair.lag_ms(),
            unweighted_z: detail.unweighted_z,
            power: detail.power,
            schedule_ms: common.filter(|(of, _)| alike(*of)).map(|(_, period)| period).next_back(),
            comparable: !detail.scales.is_empty(),
        }
    }
}

impl Facts {
    /// The evidence that counts, whatever its sign.
    fn strongest(&self) -> f64 {
        self.z.abs().max(self.recorded_z.abs())
    }
}

/// The correlation of two series as standard deviations of that of white ones; on either side.
fn alike(x: &[u32], y: &[u32]) -> f64 {
    let n = x.len() as f64;
    let mean = |x: &[u32]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let (of_x, of_y) = (mean(x), mean(y));
    let centred = || x.iter().zip(y).map(|(&x, &y)| (f64::from(x) - of_x, f64::from(y) - of_y));
    let (xx, yy): (f64, f64) = (centred().map(|(x, _)| x * x).sum(), centred().map(|(_, y)| y * y).sum());
    let xy: f64 = centred().map(|(x, y)| x * y).sum();
    xy.abs() / (xx * yy).sqrt().max(1.0) * n.sqrt()
}

/// Why a pair whose windows could both be judged is `held`, or not; `proposed`: the window's ensembles hold both.
pub fn of_pair(facts: &Facts, held: bool, proposed: bool) -> Reason {
    let z = if facts.recorded_z.abs() > facts.z.abs() { facts.recorded_z } else { facts.z };
    let lag_ms = facts.lag_ms.unsigned_abs();
    let significant = facts.strongest() >= facts.threshold;
    match (held, proposed) {
        (true, false) => Reason::Resting,
        (true, true) if z < 0.0 => Reason::Opposite,
        (true, true) if facts.z.abs() < facts.threshold => Reason::Lasting,
        (true, true) if lag_ms == 0 => Reason::SameMoment,
        (true, true) if lag_ms <= CLOCKS_MS => Reason::Clocks { lag_ms },
        (true, true) => Reason::Follows { first: if facts.lag_ms > 0 { Which::A } else { Which::B }, lag_ms },
        (false, true) => Reason::NotYet,
        (false, false) if significant && facts.unconfirmed => Reason::Unconfirmed,
        (false, false) if significant => Reason::Outvoted,
        (false, false) => unrelated(facts),
    }
}

fn unrelated(facts: &Facts) -> Reason {
    if !facts.comparable {
        return Reason::NoScale;
    }
    let steady = if facts.power[0] <= facts.power[1] { Which::A } else { Which::B };
    if facts.power.iter().any(|power| *power < LEAST_POWER) {
        Reason::Steady { vm: steady }
    } else if let Some(period_ms) = facts.schedule_ms {
        Reason::Schedule { period_ms }
    } else if facts.unweighted_z >= facts.threshold {
        Reason::Everybody
    } else if facts.strongest() >= NEARLY * facts.threshold {
        Reason::Nearly
    } else {
        Reason::Nothing
    }
}

/// Why a pair cannot be judged at all, if one of its windows cannot be.
pub fn of_windows(statuses: [Status; 2]) -> Option<Reason> {
    [Which::A, Which::B].into_iter().zip(statuses).find_map(|(vm, status)| match status {
        Status::Whole => None,
        Status::Gone => Some(Reason::Gone { vm }),
        Status::Idle => Some(Reason::Idle { vm }),
        Status::Partial { missing_ticks } => Some(Reason::TooFew { vm, missing_ticks }),
    })
}

/// The sentence on `a` and `b`; `facts` if both windows could be judged.
pub fn sentence(reason: Reason, [a, b]: [&str; 2], facts: Option<&Facts>) -> String {
    let (verdict, why) = match reason {
        Reason::Gone { .. } | Reason::TooFew { .. } => ("cannot be judged", windows(reason, [a, b])),
        Reason::Idle { .. } | Reason::Steady { .. } => ("are not held dependent", windows(reason, [a, b])),
        _ => pair(reason, [a, b], facts),
    };
    format!("{a} and {b} {verdict}: {why}.")
}

/// What one of the two windows says.
fn windows(reason: Reason, [a, b]: [&str; 2]) -> String {
    let name = |which| if which == Which::A { a } else { b };
    match reason {
        Reason::TooFew { vm, missing_ticks } => {
            format!("{} misses {missing_ticks} samples of this window, which are too many", name(vm))
        }
        Reason::Idle { vm } => format!("{} is idle", name(vm)),
        Reason::Steady { vm } => format!(
            "{} hardly varies, by less than the sampler and its neighbours disturb it (it may run at its CPU cap)",
            name(vm)
        ),
        Reason::Gone { vm } => format!("{} has no sample in this window", name(vm)),
        _ => String::new(),
    }
}

/// What both together say, as verdict and reason.
fn pair(reason: Reason, [a, b]: [&str; 2], facts: Option<&Facts>) -> (&'static str, String) {
    const YES: &str = "depend on each other";
    const NO: &str = "are not held dependent";
    let (z, enough) = facts.map_or((0.0, 0.0), |facts| (facts.strongest(), facts.threshold));
    let beyond =
        format!("{z:.1} standard deviations beyond what unrelated pairs show, where {enough:.1} are enough");
    match reason {
        Reason::Follows { first, lag_ms } => {
            let (first, second) = if first == Which::A { (a, b) } else { (b, a) };
            (YES, format!("{second} follows what {first} does {} later, {beyond}", seconds(lag_ms)))
        }
        Reason::Clocks { lag_ms } => (
            YES,
            format!(
                "both do what was not expected of them {} apart, by which the clocks of their hosts may differ, {beyond}",
                seconds(lag_ms)
            ),
        ),
        Reason::Opposite => (YES, format!("one rests while the other works, {beyond}")),
        Reason::Lasting => {
            (YES, format!("this window alone does not show it, but it lasts, and adds up to {beyond}"))
        }
        Reason::Resting => (
            "are still held dependent",
            format!(
                "the windows before showed it, and it takes more than this one, which shows {z:.1}, to end it"
            ),
        ),
        Reason::NotYet => (
            "are not held dependent yet",
            format!("by now they show {beyond}, but too few of the windows before did"),
        ),
        Reason::Unconfirmed => (
            "are not held dependent yet",
            format!(
                "one follows the other, {beyond}; that is so close that new samples must say the same first"
            ),
        ),
        Reason::Outvoted => (
            NO,
            format!(
                "they show {beyond}, but the VMs that each of them works with do not, so they share no ensemble"
            ),
        ),
        Reason::Schedule { period_ms } => (
            NO,
            format!(
                "both run by the clock, every {}, and beyond that have no more in common than unrelated pairs",
                seconds(period_ms)
            ),
        ),
        Reason::NoScale => {
            (NO, "their hosts sample so differently that no time scale is whole samples of both".into())
        }
        Reason::Everybody => (NO, "they move together only when many others move too".into()),
        Reason::Nearly => (
            NO,
            format!(
                "they show {z:.2} standard deviations beyond what unrelated pairs show, not {enough:.2}; if it lasts, it will add up"
            ),
        ),
        Reason::Nothing => (
            NO,
            format!(
                "they have no more in common than unrelated pairs ({z:.1} standard deviations, where {enough:.1} are enough)"
            ),
        ),
        _ => (YES, format!("both do what was not expected of them at the same moments, {beyond}")),
    }
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
