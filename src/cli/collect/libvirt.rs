//! libvirt: one virsh that stays, and is asked for all domains at every tick.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Context;

use super::polled::{self, Polled};
use super::{Clock, Collector, LEAST_GAP_MS};
use crate::collect::domains::{Uuids, uuids};
use crate::collect::domstats;
use crate::collect::frames::Frames;
use crate::collect::grid::{Grid, Value};
use crate::collect::meter::Meter;
use crate::collect::program::Session;
use crate::types::HostId;

/// Who may only look is enough.
const COMMAND: [&str; 3] = ["virsh", "--quiet", "--readonly"];

/// Ends every answer; the question may be repeated, too, behind `echo`.
const MARK: &str = "lwt-end";

/// How long an answer may take: a libvirtd that migrates a domain is silent for some seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pauses before virsh is started again, in seconds.
const PAUSES_S: [i64; 5] = [1, 2, 5, 10, 30];

struct Libvirt {
    command: Vec<String>,
    session: Option<Session>,
    failures: usize,
    retry_ns: i64,
    host: HostId,
    grid: Grid,
    uuids: Uuids,
    /// By name; those of the last answer.
    meters: BTreeMap<String, Meter>,
}

/// The domains of libvirt, until we are told to end.
///
/// # Errors
/// When virsh is not there.
pub fn run(collector: Collector) -> anyhow::Result<()> {
    let collect = &collector.config.collect;
    let period_ms = collect.period.map_or(100, |period| period.as_millis() as u64);
    let command = collect.command.clone().unwrap_or_else(|| COMMAND.map(str::to_owned).to_vec());
    let grid = Grid::new(period_ms, LEAST_GAP_MS.max(period_ms));
    let name = command.join(" ");
    drop(Session::start(&command).with_context(|| format!("cannot start {name}"))?);
    let libvirt = Libvirt {
        command,
        session: None,
        failures: 0,
        retry_ns: 0,
        host: collector.host.clone(),
        grid,
        uuids: Uuids::new(),
        meters: BTreeMap::new(),
    };
    polled::run(collector, period_ms, libvirt)
}

impl Libvirt {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                let session = none.insert(Session::start(&self.command)?);
                // Until it has connected its answers are late.
                session.ask(&format!("echo {MARK}\n"), PATIENCE, is_whole)?;
                session
            }
        };
        let answer = session.ask(&format!("{question}\necho {MARK}\n"), PATIENCE, is_whole)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn try_read(&mut self, now_ns: Clock, frames: &mut Frames) -> io::Result<()> {
        let before_ns = now_ns();
        let text = self.ask("domstats --raw --cpu-total --state")?;
        let t_ns = before_ns + (now_ns() - before_ns) / 2;
        let used = domstats::read(&text);
        if used.iter().any(|used| !self.meters.contains_key(used.name)) {
            let listed = self.ask("list --all --uuid --name")?;
            let lines: Vec<&str> = listed.lines().map(domstats::without_prompt).collect();
            self.uuids = uuids(&lines.join("\n"), false);
        }
        let mut meters = std::mem::take(&mut self.meters);
        for used in used {
            let known = meters.remove(used.name);
            let uuid = self.uuids.get(used.name).map(String::as_str);
            let Ok(mut meter) = known.map_or_else(|| Meter::new(&self.host, uuid, used.name), Ok) else {
                continue;
            };
            // What cannot be used starts the domain anew.
            let _ = meter.read(&self.grid, t_ns, Value::Counter(used.cpu_ns));
            self.meters.insert(used.name.to_owned(), meter);
        }
        // Those that are gone.
        meters.values_mut().for_each(|meter| meter.flush(frames));
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
                tracing::warn!("{}: {error}; starting it again in {pause_s} s", self.command.join(" "));
                self.failures += 1;
                (self.session, self.retry_ns) = (None, now + pause_s * 1_000_000_000);
            }
        }
    }

    fn flush(&mut self, frames: &mut Frames) {
        self.meters.values_mut().for_each(|meter| meter.flush(frames));
    }

    fn reset(&mut self) {
        self.meters.clear();
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
