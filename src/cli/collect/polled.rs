//! Sources that are asked at the end of every tick: control groups, libvirt.

use super::control::Event;
use super::{Clock, Collector};
use crate::collect::frames::{Frames, ticks_per_frame};
use crate::collect::pace::{Pace, Turn};

/// What was missed is said at most so often.
const SAY_NS: i64 = 60_000_000_000;

/// A source that is asked.
pub trait Polled {
    /// What there is to do beside: looks for VMs that are new.
    fn each_second(&mut self) -> anyhow::Result<()>;
    /// Reads the counters of all VMs.
    fn read(&mut self, now_ns: Clock, frames: &mut Frames);
    /// Hands on the samples that are complete.
    fn flush(&mut self, frames: &mut Frames);
    /// Begins anew: the clock was set back.
    fn reset(&mut self);
}

/// Ticks that had no reading of their own.
#[derive(Default)]
struct Missed {
    ticks: u64,
    missed: u64,
    said_ns: i64,
}

impl Missed {
    fn count(&mut self, missed: u64, now_ns: i64) {
        self.ticks += 1 + missed;
        self.missed += missed;
        if self.missed > 0 && now_ns - self.said_ns > SAY_NS {
            tracing::warn!("{} of {} ticks had no reading: this host is busy", self.missed, self.ticks);
            *self = Missed { said_ns: now_ns, ..Missed::default() };
        }
    }
}

/// Reads every `period_ms` until we are told to end.
///
/// # Errors
/// A source that cannot be read, output that cannot be written.
pub fn run(collector: Collector, period_ms: u64, mut source: impl Polled) -> anyhow::Result<()> {
    let Collector { mut outlet, control, now_ns, .. } = collector;
    let (mut pace, mut frames, mut missed) =
        (Pace::new(period_ms), Frames::new(period_ms), Missed::default());
    let (period_ns, ticks) = (period_ms as i64 * 1_000_000, ticks_per_frame(period_ms));
    let mut cut = i64::MIN;
    source.each_second()?;
    while !control.is_stopped() {
        let now = now_ns();
        match pace.turn(now) {
            Turn::Wait(ns) => {
                if let Some(Event::Stop) = control.wait(ns.min(outlet.patience_ns())) {
                    break;
                }
            }
            Turn::SetBack => {
                tracing::warn!("the clock was set back: beginning anew");
                source.reset();
                source.each_second()?;
                (frames, cut) = (Frames::new(period_ms), i64::MIN);
            }
            Turn::Read { missed: ticks_missed } => {
                missed.count(ticks_missed, now);
                source.read(now_ns, &mut frames);
                let frame = now.div_euclid(period_ns * ticks);
                if frame != cut {
                    cut = frame;
                    source.flush(&mut frames);
                    outlet.frames(&mut frames, frame * ticks, period_ms, now)?;
                    source.each_second()?;
                }
            }
        }
        outlet.turn(now_ns())?;
    }
    source.flush(&mut frames);
    outlet.frames(&mut frames, i64::MAX, period_ms, now_ns())?;
    outlet.finish(now_ns())
}
