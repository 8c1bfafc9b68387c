//! xentop: run, watched and started again, or followed on standard input.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use super::control::{Control, Event};
use super::{Clock, Collector};
use crate::collect::domains::{Domains, Uuids, uuids};
use crate::collect::frames::Frames;
use crate::collect::grid::Grid;
use crate::collect::program::{self, Program};
use crate::collect::xentop::{Block, Blocks, MAX_LINE_BYTES};
use crate::types::Reason;

/// A block is over when nothing has come for so long: xentop writes one within some ms, and the next header may
/// be a second away.
const QUIET_NS: u64 = 400_000_000;

/// So many periods without a block, and at least so long: it hangs, or prints something else.
const PATIENCE: (i64, i64) = (5, 5_000_000_000);

/// The pauses before it is started again, in seconds; from the first one on again when it has run for a minute.
const PAUSES_S: [i64; 5] = [1, 2, 5, 10, 30];
const WELL_NS: i64 = 60_000_000_000;

/// How long `xl` may take, and after how long it is tried again if it failed.
const XL: Duration = Duration::from_secs(5);
const XL_AGAIN_NS: i64 = 60_000_000_000;

/// What was refused is said at most so often.
const SAY_NS: i64 = 60_000_000_000;

/// xentop, and what is known of it.
struct Xentop {
    /// None: standard input.
    command: Option<Vec<String>>,
    /// Whether it is the one of this host, so that `xl` knows its domains.
    is_ours: bool,
    patience_ns: i64,
    program: Option<Program>,
    run: u32,
    started_ns: i64,
    /// When the last block came.
    block_ns: i64,
    failures: usize,
    /// When it is started again, if it does not run.
    retry_ns: i64,
}

/// What xentop says, until we are told to end, or standard input ends.
///
/// # Errors
/// Output that cannot be written.
pub fn run(collector: Collector) -> anyhow::Result<()> {
    let Collector { config, host, mut outlet, control, now_ns } = collector;
    let collect = &config.collect;
    let period_ms = collect.period.map_or(1000, |period| period.as_millis() as u64);
    anyhow::ensure!(period_ms >= 1000, "--period: xentop prints once a second at most: use 1s or longer");
    // xentop's own work comes on top of its delay: 1.1 to 2.7 s have been seen for 1 s.
    let grid = Grid::new(period_ms, 2 * period_ms);
    let mut xentop = Xentop::new(collect.command.as_deref(), period_ms);
    let (mut reader, mut frames) = (Reader::new(Domains::new(host.clone(), grid)), Frames::new(period_ms));
    xentop.follow_stdin(&control, now_ns);
    let mut open = true;
    while open && !control.is_stopped() {
        if xentop.keep_running(&control, now_ns) {
            reader.domains.begin_run();
        }
        match control.wait(QUIET_NS) {
            Some(Event::Line { run, at_ns, line }) if run == xentop.run => reader.line(&line, at_ns),
            Some(Event::Ended { run }) if run == xentop.run && xentop.is_open() => {
                reader.quiet();
                open = xentop.has_ended("it has ended", now_ns());
            }
            Some(_) => {}
            None => reader.quiet(),
        }
        for block in std::mem::take(&mut reader.ended) {
            let Some(t_ns) = block.time_ns else { continue };
            if reader.last_ns.is_some_and(|last_ns| t_ns < last_ns) {
                tracing::warn!("the clock was set back: beginning anew");
                (reader.domains, frames) = (Domains::new(host.clone(), grid), Frames::new(period_ms));
            }
            xentop.block_ns = now_ns();
            reader.take(&block, t_ns, xentop.is_ours, &mut frames);
            outlet.frames(&mut frames, t_ns.div_euclid(grid.period_ns()), period_ms, now_ns())?;
        }
        outlet.turn(now_ns())?;
    }
    outlet.frames(&mut frames, i64::MAX, period_ms, now_ns())?;
    outlet.finish(now_ns())
}

impl Xentop {
    fn new(command: Option<&[String]>, period_ms: u64) -> Self {
        let delay_s = period_ms.div_ceil(1000);
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ours = || words(format!("xentop -b -f -d {delay_s}"));
        let (periods, least_ns) = PATIENCE;
        Xentop {
            command: match command {
                Some([one]) if one == "-" => None,
                other => Some(other.map_or_else(ours, <[String]>::to_vec)),
            },
            is_ours: command.is_none(),
            patience_ns: (periods * period_ms as i64 * 1_000_000).max(least_ns),
            program: None,
            run: 0,
            started_ns: 0,
            block_ns: 0,
            failures: 0,
            retry_ns: 0,
        }
    }

    /// Reads standard input, if that is what we follow.
    fn follow_stdin(&mut self, control: &Control, now_ns: Clock) {
        if self.command.is_some() {
            return;
        }
        let mut tell = teller(control.sender(), self.run, now_ns);
        thread::spawn(move || {
            program::lines(io::stdin(), MAX_LINE_BYTES, |line| tell(Some(line)));
            tell(None);
        });
    }

    /// Whether something may still come.
    fn is_open(&self) -> bool {
        self.command.is_none() || self.program.is_some()
    }

    /// Starts it if it does not run, and ends it if it says nothing. Whether it was started.
    fn keep_running(&mut self, control: &Control, now_ns: Clock) -> bool {
        let (Some(command), now) = (&self.command, now_ns()) else { return false };
        if self.program.is_none() && (now >= self.retry_ns || now < self.started_ns) {
            self.run += 1;
            (self.started_ns, self.block_ns) = (now, now);
            let tell = teller(control.sender(), self.run, now_ns);
            match program::follow(command, MAX_LINE_BYTES, tell) {
                Ok(program) => self.program = Some(program),
                Err(error) => drop(self.has_ended(&format!("it cannot be started: {error}"), now)),
            }
            return true;
        }
        if self.program.is_some() && now - self.block_ns > self.patience_ns {
            let silent_s = self.patience_ns / 1_000_000_000;
            self.has_ended(&format!("no block of domains for {silent_s} s"), now);
        }
        false
    }

    /// It has ended, or is to: it is started again after a pause. Whether there is something to wait for.
    fn has_ended(&mut self, why: &str, now_ns: i64) -> bool {
        let Some(command) = &self.command else { return false };
        self.program = None;
        if now_ns - self.started_ns > WELL_NS {
            self.failures = 0;
        }
        let pause_s = PAUSES_S[self.failures.min(PAUSES_S.len() - 1)];
        self.failures += 1;
        self.retry_ns = now_ns + pause_s * 1_000_000_000;
        tracing::warn!("{}: {why}; starting it again in {pause_s} s", command.join(" "));
        true
    }
}

/// Hands lines on as events, with the time at which they came.
fn teller(
    sender: SyncSender<Event>,
    run: u32,
    now_ns: Clock,
) -> impl FnMut(Option<Vec<u8>>) -> bool + Send + 'static {
    move |line| {
        let event = match line {
            Some(line) => Event::Line { run, at_ns: now_ns(), line },
            None => Event::Ended { run },
        };
        sender.send(event).is_ok()
    }
}

/// Lines -> blocks -> samples.
struct Reader {
    blocks: Blocks,
    ended: Vec<Block>,
    lines: u64,
    domains: Domains,
    last_ns: Option<i64>,
    uuids: Uuids,
    /// When `xl` may be asked again.
    ask_ns: i64,
    refused: BTreeMap<Reason, u64>,
    said_ns: i64,
}

impl Reader {
    fn new(domains: Domains) -> Self {
        Reader {
            blocks: Blocks::new(),
            ended: vec![],
            lines: 0,
            domains,
            last_ns: None,
            uuids: Uuids::new(),
            ask_ns: 0,
            refused: BTreeMap::new(),
            said_ns: 0,
        }
    }

    /// Takes a line that came at `at_ns`: as a recording would have it, with the time before it.
    fn line(&mut self, line: &[u8], at_ns: i64) {
        self.lines += 1;
        let (s, ns) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
        let stamped = [format!("{s}.{ns:09} ").as_bytes(), line].concat();
        if let Err(reason) = self.blocks.push(&stamped, self.lines, &mut self.ended) {
            *self.refused.entry(reason).or_default() += 1;
        }
    }

    /// Nothing has come for a while: the block is over.
    fn quiet(&mut self) {
        self.blocks.finish(&mut self.ended);
    }

    fn take(&mut self, block: &Block, t_ns: i64, is_ours: bool, frames: &mut Frames) {
        if is_ours && self.domains.has_news(block) && t_ns >= self.ask_ns {
            match program::output(&["xl".to_owned(), "vm-list".to_owned()], XL) {
                Ok(text) => self.uuids = uuids(&text, true),
                Err(error) => {
                    tracing::warn!("xl vm-list: {error}; new domains are called by their names");
                    self.ask_ns = t_ns + XL_AGAIN_NS;
                }
            }
        }
        self.domains.take(block, t_ns, &self.uuids, frames);
        self.last_ns = Some(t_ns);
        for (reason, count) in self.domains.take_refused() {
            *self.refused.entry(reason).or_default() += count;
        }
        if !self.refused.is_empty() && t_ns - self.said_ns > SAY_NS {
            let counts: Vec<String> =
                self.refused.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
            tracing::warn!("lines of xentop that cannot be used: {}", counts.join(", "));
            self.refused.clear();
            self.said_ns = t_ns;
        }
    }
}
