//! Many hosts in one process, for tests, load and demonstration: a recording or a simulated datacenter, as if
//! it were live.
//!
//! Nothing is sent before its time has come: a sample may lie in the past, but not in the future.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;

use super::super::input;
use super::control::Control;
use super::outlet::Outlet;
use super::{Clock, Collector};
use crate::collect::frames::{Frame, Frames, ticks_per_frame};
use crate::config::{Collect, Config};
use crate::simulate::{Format, Params, Simulator, Writer};
use crate::transport::file::{Batch, Progress, Trace};
use crate::types::{HostId, Samples, Tick, lcm};

/// A message of more VMs could be longer than 1 MiB: with 100 periods of 10 ms, 8 bytes each, and two names of 20
/// bytes a VM takes 900.
const MAX_VMS_PER_HOST: usize = 1000;

/// When messages are due.
struct Schedule {
    control: Control,
    now_ns: Clock,
    /// When it began, on the clock and in the samples.
    began_ns: i64,
    first_ns: i64,
    /// How fast time passes in the samples until they have caught up; `None` as fast as it goes.
    speed: Option<f64>,
}

impl Schedule {
    /// Of samples that begin `history` ago, at a whole second (or period, if longer).
    ///
    /// # Errors
    /// As fast as possible, from now on: there is nothing to catch up with.
    fn new(collect: &Collect, control: Control, now_ns: Clock, frame_ns: i64) -> anyhow::Result<Self> {
        let history_ns = collect.history.map_or(0, |history| history.as_nanos() as i64);
        anyhow::ensure!(
            collect.speed.is_some() || history_ns > 0,
            "--speed max needs --history: a sample cannot be sent before its time has come"
        );
        let began_ns = now_ns();
        let first_ns = (began_ns - history_ns).max(0).div_euclid(frame_ns) * frame_ns;
        Ok(Schedule { control, now_ns, began_ns, first_ns, speed: collect.speed })
    }

    /// Waits until a message is due whose samples end at `t_ns`, and the outlet has room for it. Whether there
    /// will be another one.
    fn await_turn(&self, t_ns: i64, outlet: &mut Outlet) -> anyhow::Result<bool> {
        let paced = self.speed.map_or(t_ns, |speed| {
            let passed_ns = (t_ns - self.first_ns) as f64 / speed;
            self.began_ns.saturating_add(passed_ns as i64).max(t_ns)
        });
        while !self.control.is_stopped() {
            let now = (self.now_ns)();
            if self.speed.is_none() && t_ns > now {
                return Ok(false);
            }
            if paced > now {
                outlet.turn(now)?;
                self.control.wait(((paced - now) as u64).min(outlet.patience_ns()));
            } else if outlet.has_room() {
                return Ok(true);
            } else {
                outlet.wait(now);
            }
        }
        Ok(false)
    }
}

/// A simulated datacenter.
///
/// # Errors
/// Parameters out of bounds, output that cannot be written.
pub fn simulate(collector: Collector) -> anyhow::Result<()> {
    let Collector { config, mut outlet, control, now_ns, .. } = collector;
    let collect = &config.collect;
    let period_ms = collect.period.map_or(1000, |period| period.as_millis() as u64);
    let frame_ns = ticks_per_frame(period_ms) * period_ms as i64 * 1_000_000;
    let schedule = Schedule::new(collect, control, now_ns, frame_ns)?;
    let params = Params {
        vms: collect.vms,
        seed: collect.seed,
        period_ms: period_ms as u32,
        start_ms: schedule.first_ns / 1_000_000,
        churn_per_hour: 0.0,
    };
    let mut simulator = Simulator::new(params).context("cannot simulate this datacenter")?;
    if let Some(hosts) = collect.hosts {
        anyhow::ensure!(
            collect.vms.div_ceil(hosts) <= MAX_VMS_PER_HOST,
            "--hosts {hosts}: more than {MAX_VMS_PER_HOST} VMs on each"
        );
        simulator = simulator.on_hosts(hosts);
    }
    let (mut writer, mut readings) = (Writer::new(&simulator, Format::Ndjson), Vec::new());
    let mut goes_on = true;
    while goes_on {
        let end_ms = simulator.tick(&mut readings);
        writer.hold(end_ms, &readings);
        if !writer.is_full() {
            continue;
        }
        let mut sent = Ok(());
        writer.messages(|host, message| {
            if !goes_on || sent.is_err() {
                return;
            }
            let awaited = schedule.await_turn(end_ms * 1_000_000, &mut outlet);
            goes_on = *awaited.as_ref().unwrap_or(&false);
            sent = awaited.and_then(|due| match due {
                true => outlet.message(host, message.to_vec(), now_ns()),
                false => Ok(()),
            });
        });
        sent?;
        outlet.turn(now_ns())?;
    }
    outlet.finish(now_ns())
}

/// A recording, from its beginning to its end.
///
/// # Errors
/// A recording that cannot be read, output that cannot be written.
pub fn replay(collector: Collector) -> anyhow::Result<()> {
    let Collector { config, host, mut outlet, control, now_ns } = collector;
    let mut trace = open(config)?;
    let period_ms = trace.period_ms();
    let period_ns = period_ms as i64 * 1_000_000;
    // Samples and messages of all hosts begin together every so many ticks.
    let ticks = lcm(ticks_per_frame(period_ms) as u64, trace.aligned() as u64) as Tick;
    let schedule = Schedule::new(&config.collect, control, now_ns, period_ns * ticks)?;
    let first = schedule.first_ns / period_ns;
    let (mut mixed, mut batch, mut shift) = (Mixed::new(period_ms), Batch::default(), None);
    let mut goes_on = true;
    while goes_on {
        let progress = trace.read(&mut batch)?;
        for samples in batch.samples.drain(..) {
            // The first second begins where it did, so that a second's samples stay together.
            let shift = *shift.get_or_insert(first - samples.first.div_euclid(ticks) * ticks);
            mixed.push(samples, shift, &host);
        }
        let end = match (progress, batch.watermark, shift) {
            (Progress::End, ..) => Tick::MAX,
            (_, Some(watermark), Some(shift)) => watermark + shift,
            _ => continue,
        };
        let mut sent = Ok(());
        mixed.cut(end, |frame: &Frame, period_ms| {
            if !goes_on || sent.is_err() {
                return;
            }
            let awaited = schedule.await_turn(frame.end * period_ms as i64 * 1_000_000, &mut outlet);
            goes_on = *awaited.as_ref().unwrap_or(&false);
            sent = awaited.and_then(|due| match due {
                true => outlet.frame(frame, period_ms, now_ns()),
                false => Ok(()),
            });
        });
        sent?;
        outlet.turn(now_ns())?;
        goes_on &= progress == Progress::More;
        batch.dead.clear();
    }
    if batch.refused > 0 {
        tracing::warn!("{} lines or cells of the recording cannot be used", batch.refused);
    }
    outlet.finish(now_ns())
}

fn open(config: &Config) -> anyhow::Result<Trace> {
    let config = Config { period: config.collect.period.or(config.period), ..config.clone() };
    Ok(input::open(&config)?)
}

/// The frames of a recording whose hosts may sample differently, by the ticks of a sample; ticks of a frame are counted in
/// these.
struct Mixed {
    period_ms: u64,
    frames: BTreeMap<usize, Frames>,
}

impl Mixed {
    fn new(period_ms: u64) -> Self {
        Mixed { period_ms, frames: BTreeMap::new() }
    }

    /// Takes samples, so much later; those without a host are of `host`, and keep their identity.
    fn push(&mut self, mut samples: Samples, shift: Tick, host: &HostId) {
        if samples.host.as_str().is_empty() {
            samples.host = host.clone();
        }
        let (grain, name): (_, Arc<str>) = (samples.grain, samples.vm.name().into());
        samples.first = (samples.first + shift).div_euclid(grain as Tick);
        let new = || Frames::new(self.period_ms * grain as u64);
        self.frames.entry(grain).or_insert_with(new).push(&samples, &name);
    }

    /// Hands on the frames that lie whole before the tick `until`, with their period, ms; those that end first come first.
    fn cut(&mut self, until: Tick, mut each: impl FnMut(&Frame, u64)) {
        while let Some((end, grain)) = self.earliest()
            && end <= until
            && let Some(frames) = self.frames.get_mut(&grain)
        {
            let period_ms = self.period_ms * grain as u64;
            frames.cut(end / grain as Tick, |frame| each(frame, period_ms));
        }
    }

    /// Where the first frame ends, and the ticks of its samples.
    fn earliest(&self) -> Option<(Tick, usize)> {
        let first = |(grain, frames): (&usize, &Frames)| {
            let ticks = ticks_per_frame(self.period_ms * *grain as u64) * *grain as Tick;
            Some(((frames.first()? + 1) * ticks, *grain))
        };
        self.frames.iter().filter_map(first).min()
    }
}
