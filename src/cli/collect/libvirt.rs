//! libvirt, and the counters of Xen's own tools: one program that stays, and is asked for all domains at every tick.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Context;

use super::polled::{self, Polled};
use super::{Clock, Collector, LEAST_GAP_MS};
use crate::collect::domains::{Uuids, uuids};
use crate::collect::domstats::{self, Used};
use crate::collect::frames::Frames;
use crate::collect::grid::{Grid, Value};
use crate::collect::meter::Meter;
use crate::collect::pace::Delay;
use crate::collect::program::Session;
use crate::collect::xentop::DOMAIN_0;
use crate::config::Source;
use crate::types::HostId;

/// Who may only look is enough.
const COMMAND: [&str; 3] = ["virsh", "--quiet", "--readonly"];

/// For Xen, whose libxl counts nanoseconds where `xl` and xentop print tenths: speaks as virsh does.
const XEN: &str = include_str!("xen.py");

/// What is asked at every tick.
const QUESTION: &str = "domstats --raw --cpu-total --state";

/// Ends every answer; the question may be repeated, too, behind `echo`.
const MARK: &str = "lwt-end";

/// How long an answer may take: a libvirtd that migrates a domain is silent for some seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pauses before virsh is started again, in seconds.
const PAUSES_S: [i64; 5] = [1, 2, 5, 10, 30];

struct Libvirt {
    command: Vec<String>,
    /// What it is called in messages.
    name: String,
    session: Option<Session>,
    failures: usize,
    retry_ns: i64,
    host: HostId,
    period_ms: u64,
    delay: Delay,
    grid: Grid,
    uuids: Uuids,
    /// By name; those of the last answer, with their counters.
    meters: BTreeMap<String, (Meter, u64)>,
    /// What the host itself uses: Xen's Domain-0.
    overhead: Option<Meter>,
}

/// The domains of libvirt or Xen, until we are told to end.
///
/// # Errors
/// When virsh is not there.
pub fn run(collector: Collector) -> anyhow::Result<()> {
    let collect = &collector.config.collect;
    let period_ms = collect.period.map_or(100, |period| period.as_millis() as u64);
    let is_xen = collect.source == Source::Xen;
    let own = if is_xen { ["python3", "-c", XEN] } else { COMMAND };
    let command = collect.command.clone().unwrap_or_else(|| own.map(str::to_owned).to_vec());
    let grid = Grid::new(period_ms, LEAST_GAP_MS.max(period_ms));
    let name = if command[..] == own && is_xen { "python3".to_owned() } else { command.join(" ") };
    drop(Session::start(&command).with_context(|| format!("cannot start {name}"))?);
    let libvirt = Libvirt {
        command,
        name,
        session: None,
        failures: 0,
        retry_ns: 0,
        host: collector.host.clone(),
        period_ms,
        delay: Delay::default(),
        grid,
        uuids: Uuids::new(),
        meters: BTreeMap::new(),
        overhead: is_xen.then(|| Meter::overhead(&collector.host)),
    };
    polled::run(collector, period_ms, libvirt)
}

impl Libvirt {
    fn connect(&mut self) -> io::Result<()> {
        if self.session.is_none() {
            self.session = Some(Session::start(&self.command)?);
            // Until it has connected its answers are late.
            self.ask(QUESTION)?;
        }
        Ok(())
    }

    fn ask(&mut self, question: &str) -> io::Result<String> {
        let session = self.session.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let answer = session.ask(&format!("{question}\necho {MARK}\n"), PATIENCE, is_whole)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn try_read(&mut self, now_ns: Clock, frames: &mut Frames) -> io::Result<()> {
        self.connect()?;
        let before_ns = now_ns();
        let text = self.ask(QUESTION)?;
        let took_ns = now_ns() - before_ns;
        if !self.delay.is_usual(took_ns, self.period_ms) {
            // As if this tick had been missed.
            return Ok(());
        }
        let t_ns = before_ns + took_ns / 2;
        let used = domstats::read(&text);
        // A domain that is made anew counts from zero, and may have another identity.
        let is_known =
            |used: &Used| self.meters.get(used.name).is_some_and(|(_, cpu_ns)| *cpu_ns <= used.cpu_ns);
        if !used.iter().all(|used| is_known(used) || (self.overhead.is_some() && used.name == DOMAIN_0)) {
            let listed = self.ask("list --all --uuid --name")?;
            let lines: Vec<&str> = listed.lines().map(domstats::without_prompt).collect();
            self.uuids = uuids(&lines.join("\n"), false);
        }
        let mut meters = std::mem::take(&mut self.meters);
        for used in used {
            let value = Value::Counter(used.cpu_ns);
            if let Some(overhead) = self.overhead.as_mut().filter(|_| used.name == DOMAIN_0) {
                let _ = overhead.read(&self.grid, t_ns, value);
                continue;
            }
            let known = match meters.remove(used.name) {
                Some((meter, cpu_ns)) if cpu_ns <= used.cpu_ns => Some(meter),
                Some((mut before, _)) => {
                    before.flush(frames);
                    None
                }
                None => None,
            };
            let uuid = self.uuids.get(used.name).map(String::as_str);
            let Ok(mut meter) = known.map_or_else(|| Meter::new(&self.host, uuid, used.name), Ok) else {
                continue;
            };
            // What cannot be used starts the domain anew.
            let _ = meter.read(&self.grid, t_ns, value);
            self.meters.insert(used.name.to_owned(), (meter, used.cpu_ns));
        }
        // Those that are gone.
        meters.values_mut().for_each(|(meter, _)| meter.flush(frames));
        Ok(())
    }
}

impl Polled for Libvirt {
    fn each_second(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn read(&mut self, now_ns: Clock, frames: &mut Frames) {
        let now = now_ns();
        if self.session.is_none() && now < self.retry_ns {
            return;
        }
        match self.try_read(now_ns, frames) {
            Ok(()) => self.failures = 0,
            Err(error) => {
                let pause_s = PAUSES_S[self.failures.min(PAUSES_S.len() - 1)];
                tracing::warn!("{}: {error}; starting it again in {pause_s} s", self.name);
                self.failures += 1;
                (self.session, self.retry_ns) = (None, now + pause_s * 1_000_000_000);
            }
        }
    }

    fn flush(&mut self, frames: &mut Frames) {
        self.meters.values_mut().for_each(|(meter, _)| meter.flush(frames));
        self.overhead.iter_mut().for_each(|overhead| overhead.flush(frames));
    }

    fn reset(&mut self) {
        self.meters.clear();
        self.overhead = self.overhead.as_ref().map(|_| Meter::overhead(&self.host));
        self.retry_ns = 0;
    }
}

/// Whether an answer is all there: the mark stands in it, and not as a part of the question.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&answer[answer.len().saturating_sub(200)..]);
    text.match_indices(MARK).any(|(at, _)| !text[..at].ends_with("echo "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_mark() {
        for (answer, whole) in [
            ("", false),
            ("virsh # domstats\nDomain: 'a'\nvirsh # echo lwt-end\n", false),
            ("virsh # echo lwt-end\nlwt-end", true),
            ("virsh # echo lwt-end\nlwt-endvirsh # ", true),
            ("Domain: 'a'\n\nlwt-end", true),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), whole, "{answer:?}");
        }
    }
}
