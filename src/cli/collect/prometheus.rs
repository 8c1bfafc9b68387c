//! Prometheus: what it has of the past, or what it scrapes from now on.

use std::collections::BTreeSet;

use anyhow::Context;

use super::control::{Control, Event};
use super::outlet::Outlet;
use super::{Clock, Collector};
use crate::collect::frames::Frames;
use crate::collect::grid::{Grid, MAX_PERIOD_MS};
use crate::collect::series::query::Query;
use crate::collect::series::{Series, Unused, Vms, period_ms, spacing_ns};
use crate::transport::prometheus::{Client, ReadError};
use crate::types::HostId;

/// How far is looked back at first, to see how often is scraped.
const FIRST_MS: i64 = 600_000;

/// How often is asked until that is known.
const ASK_NS: i64 = 5_000_000_000;

/// What was not answered for longer than so is not asked for any more: what comes so late is refused.
const LATEST_MS: i64 = 3_600_000;

/// How often the past is asked for when there is no answer, and the pause between.
const TRIES: u32 = 4;
const PAUSE_NS: u64 = 2_000_000_000;

/// What could not be used is said at most so often.
const SAY_NS: i64 = 60_000_000_000;

/// What is read, and what is known of it.
struct Reader {
    client: Client,
    query: Query,
    host: HostId,
    /// The period that was said.
    period_ms: Option<u64>,
    /// Once it is known how often is scraped.
    known: Option<Known>,
    unused: Unused,
    /// What Prometheus warns of: that something is missing.
    warnings: BTreeSet<String>,
    said_ns: i64,
}

struct Known {
    vms: Vms,
    frames: Frames,
    grid: Grid,
}

/// Until we are told to end, or the past ends.
///
/// # Errors
/// A query or a login that is refused, no answer about the past, output that cannot be written.
pub fn run(collector: Collector) -> anyhow::Result<()> {
    let config = collector.config;
    let prometheus = &config.prometheus;
    let reader = Reader {
        client: Client::new(prometheus.settings.clone())?,
        query: prometheus.query.clone(),
        host: collector.host.clone(),
        period_ms: config.collect.period.map(|period| period.as_millis() as u64),
        known: None,
        unused: Unused::default(),
        warnings: BTreeSet::new(),
        said_ns: i64::MIN / 2,
    };
    match config.collect.history {
        Some(history) => past(collector, reader, history.as_millis() as i64),
        None => live(collector, reader),
    }
}

/// What was scraped in the last `history_ms`.
fn past(collector: Collector, mut reader: Reader, history_ms: i64) -> anyhow::Result<()> {
    let Collector { mut outlet, control, now_ns, .. } = collector;
    let to_ms = now_ns() / 1_000_000;
    let mut at_ms = to_ms.saturating_sub(history_ms).max(0);
    while at_ms < to_ms && !control.is_stopped() {
        at_ms = reader.patiently((at_ms, to_ms), &control)?;
        if let Some(known) = &mut reader.known {
            known.send_all(at_ms * 1_000_000, &mut outlet, (&control, now_ns))?;
        }
    }
    let Some(mut known) = reader.known.take() else {
        anyhow::bail!("{} has no two readings of any series in that time", reader.query.selector);
    };
    reader.say(&known.grid, i64::MAX);
    known.send_all(i64::MAX, &mut outlet, (&control, now_ns))?;
    outlet.finish(now_ns())
}

/// What is scraped from now on.
fn live(collector: Collector, mut reader: Reader) -> anyhow::Result<()> {
    let Collector { mut outlet, control, now_ns, .. } = collector;
    let mut from_ms = now_ns() / 1_000_000 - FIRST_MS;
    let mut trouble = false;
    while !control.is_stopped() {
        let to_ms = now_ns() / 1_000_000;
        let was_known = reader.known.is_some();
        match reader.all((from_ms.max(to_ms - LATEST_MS), to_ms)) {
            Ok(()) => {
                if std::mem::take(&mut trouble) {
                    tracing::info!("Prometheus answers again");
                }
                // What was scraped and is not told yet comes with the next answers.
                let own_ms = reader.known.as_ref().map(|known| known.grid.own_ns() / 1_000_000);
                from_ms = to_ms - own_ms.map_or(FIRST_MS, |own_ms| 2 * own_ms);
            }
            Err(error) if error.is_lasting() && !was_known => return Err(error.into()),
            Err(error) if !trouble => {
                trouble = true;
                tracing::warn!("{:#}", anyhow::Error::new(error));
            }
            Err(_) => {}
        }
        if let Some(known) = &mut reader.known {
            if !was_known {
                // The past was read to see how often is scraped.
                known.forget_the_past();
            }
            known.send(to_ms * 1_000_000, &mut outlet, now_ns)?;
        }
        let every_ns = reader.known.as_ref().map_or(ASK_NS, |known| known.grid.period_ns());
        reader.say_now_and_then(now_ns());
        until_next(every_ns, &control, now_ns, || outlet.turn(now_ns()).map(|()| outlet.patience_ns()))?;
    }
    if let Some(known) = &mut reader.known {
        known.finish(&mut outlet, now_ns)?;
    }
    outlet.finish(now_ns())
}

/// Waits for the next multiple of `every_ns`, or to be told to end; meanwhile `turn` says how long it may wait.
fn until_next(
    every_ns: i64,
    control: &Control,
    now_ns: Clock,
    mut turn: impl FnMut() -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let due_ns = (now_ns().div_euclid(every_ns) + 1) * every_ns;
    loop {
        let (patience_ns, left_ns) = (turn()?, due_ns - now_ns());
        // Longer than that it can only be if the clock was set back.
        if left_ns <= 0 || left_ns > every_ns {
            return Ok(());
        }
        if let Some(Event::Stop) = control.wait(patience_ns.min(left_ns as u64)) {
            return Ok(());
        }
    }
}

impl Reader {
    /// Reads the beginning of a time; says until when.
    fn piece(&mut self, (from_ms, to_ms): (i64, i64)) -> Result<i64, ReadError> {
        let (answer, end_ms) = self.client.read(&self.query, (from_ms, to_ms))?;
        self.warnings.extend(answer.warnings);
        for (reason, count) in answer.refused {
            *self.unused.refused.entry(reason).or_default() += count;
        }
        self.learn(&answer.series);
        if let Some(known) = &mut self.known {
            known.vms.take(answer.series, end_ms * 1_000_000, &mut known.frames);
            let unused = known.vms.take_unused();
            self.unused.pauses += unused.pauses;
            for (reason, count) in unused.refused {
                *self.unused.refused.entry(reason).or_default() += count;
            }
        }
        Ok(end_ms)
    }

    /// Reads a whole time.
    fn all(&mut self, (mut from_ms, to_ms): (i64, i64)) -> Result<(), ReadError> {
        while from_ms < to_ms {
            from_ms = self.piece((from_ms, to_ms))?;
        }
        Ok(())
    }

    /// As [`Reader::piece`], more than once if there is no answer.
    fn patiently(&mut self, (from_ms, to_ms): (i64, i64), control: &Control) -> anyhow::Result<i64> {
        for _ in 1..TRIES {
            match self.piece((from_ms, to_ms)) {
                Err(error) if !error.is_lasting() && !control.is_stopped() => {
                    tracing::warn!("{:#}; asking again", anyhow::Error::new(error));
                    control.wait(PAUSE_NS);
                }
                read => return Ok(read?),
            }
        }
        self.piece((from_ms, to_ms)).context("given up")
    }

    /// Sees how often is scraped.
    fn learn(&mut self, series: &[Series]) {
        if self.known.is_some() {
            return;
        }
        let Some(spacing_ns) = spacing_ns(series) else { return };
        let period_ms = self.period_ms.unwrap_or_else(|| period_ms(spacing_ns)).min(MAX_PERIOD_MS);
        let grid = Grid::new(period_ms, (spacing_ns / 1_000_000) as u64);
        let (scraped_s, sample_s) = (spacing_ns as f64 / 1e9, period_ms as f64 / 1e3);
        tracing::info!("{} series, scraped every {scraped_s} s: a sample every {sample_s} s", series.len());
        let vms = Vms::new(self.query.clone(), self.host.clone(), grid);
        self.known = Some(Known { vms, frames: Frames::new(period_ms), grid });
    }

    fn say_now_and_then(&mut self, now_ns: i64) {
        if let Some(grid) = self.known.as_ref().map(|known| known.grid) {
            self.say(&grid, now_ns);
        }
    }

    /// Says what may be missing, and what could not be used.
    fn say(&mut self, grid: &Grid, now_ns: i64) {
        let nothing = self.unused == Unused::default() && self.warnings.is_empty();
        if nothing || now_ns.saturating_sub(self.said_ns) < SAY_NS {
            return;
        }
        self.said_ns = now_ns;
        for warning in std::mem::take(&mut self.warnings) {
            tracing::warn!("Prometheus warns: {warning}");
        }
        let Unused { refused, pauses } = std::mem::take(&mut self.unused);
        let mut said: Vec<String> =
            refused.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
        if pauses > 0 {
            said.push(format!("{pauses} pauses longer than {} s", grid.gap_ns() as f64 / 1e9));
        }
        if !said.is_empty() {
            tracing::warn!("readings of Prometheus that cannot be used: {}", said.join(", "));
        }
    }
}

impl Known {
    fn period_ms(&self) -> u64 {
        (self.grid.period_ns() / 1_000_000) as u64
    }

    /// Sends the samples that no later answer adds to: all series were read until then.
    fn send(&mut self, read_ns: i64, outlet: &mut Outlet, now_ns: Clock) -> anyhow::Result<()> {
        self.vms.flush(&mut self.frames);
        let until = self.grid.ticks_before(self.vms.known_until_ns(read_ns));
        let period_ms = self.period_ms();
        outlet.frames(&mut self.frames, until, period_ms, now_ns())
    }

    /// The same of the past, all of it at its end (`i64::MAX`): waits where there is no room.
    fn send_all(
        &mut self,
        read_ns: i64,
        outlet: &mut Outlet,
        (control, now_ns): (&Control, Clock),
    ) -> anyhow::Result<()> {
        self.vms.flush(&mut self.frames);
        let until = self.grid.ticks_before(self.vms.known_until_ns(read_ns));
        let (mut sent, period_ms) = (Ok(()), self.period_ms());
        self.frames.cut(if read_ns == i64::MAX { i64::MAX } else { until }, |frame| {
            while sent.is_ok() && !outlet.has_room() && !control.is_stopped() {
                outlet.wait(now_ns());
            }
            if sent.is_ok() {
                sent = outlet.frame(frame, period_ms, now_ns());
            }
        });
        sent.and_then(|()| outlet.turn(now_ns()))
    }

    /// Sends all that is left.
    fn finish(&mut self, outlet: &mut Outlet, now_ns: Clock) -> anyhow::Result<()> {
        self.vms.flush(&mut self.frames);
        let period_ms = self.period_ms();
        outlet.frames(&mut self.frames, i64::MAX, period_ms, now_ns())
    }

    fn forget_the_past(&mut self) {
        self.vms.flush(&mut self.frames);
        self.frames = Frames::new(self.period_ms());
    }
}
