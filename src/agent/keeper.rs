//! The keeper: a process that holds a copy of every cap that is on, and puts back what was before when the agent that
//! started it dies, or hangs beyond a cap's end. It speaks with the agent by its standard input and output, a line each.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::actuator::Actuator;
use super::restore::restore;
use super::store::Store;
use super::whole;
use crate::perturb::journal::{Cap, Entry, How};
use crate::perturb::rules::GRACE_MS;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The pause before what failed, or is in doubt, is tried again: the first, and then the rest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// How long the lock is waited for: an agent that dies gives it up at once.
const LOCK: Duration = Duration::from_secs(2);

/// What is said again and again is said every so many times.
const SAY_EVERY: u32 = 10;

/// What time it is, in ms.
pub type Clock = fn() -> i64;

/// The clocks: the one of the wall, Unix ms, which somebody may set, and that of this machine's start, which nobody can.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Unix ms.
    pub wall_ms: Clock,
    /// ms since this machine started, sleep included.
    pub boot_ms: Clock,
}

/// What a keeper must know: its first line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Charge {
    /// The state folder.
    pub folder: PathBuf,
    /// How caps are set.
    pub actuator: Actuator,
    /// The agent's process.
    pub agent: i32,
}

/// What the agent says; the keeper answers each line with its first word, a number.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Are you there?
    Ping,
    /// A cap is going to be set: by its number in the journal.
    Cap(u64, Cap),
    /// It is over.
    Closed(u64),
}

/// Runs a keeper, until its agent has ended and all is as before.
///
/// # Errors
/// A first line that is not understood.
pub fn run(
    from: impl io::Read + Send + 'static,
    to: impl Write,
    clocks: Clocks,
) -> io::Result<Vec<(Cap, How)>> {
    let lines = lines(from);
    let first = lines.recv().map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let charge: Charge = serde_json::from_str(&first)?;
    let caps = watch(&charge, &lines, to, clocks);
    // First of all, and whoever has the lock.
    caps.values().for_each(|cap| drop(restore(&charge.actuator, cap, true)));
    let store = Store::open(&charge.folder, "keeper", LOCK);
    // Where another agent has it, that one has read the journal; what we hold may not be in there any more.
    let is_gone = || lines.try_recv() == Err(TryRecvError::Disconnected);
    Ok(put_back(&charge.actuator, caps, store.ok().as_mut(), clocks, is_gone))
}

fn lines(from: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(16);
    thread::spawn(move || {
        let said = io::BufReader::new(from).lines().map_while(Result::ok);
        said.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop)
    });
    lines
}

/// Listens until the agent is gone, or has to go; gives the caps that are on.
fn watch(
    charge: &Charge,
    lines: &Receiver<String>,
    mut to: impl Write,
    clocks: Clocks,
) -> BTreeMap<u64, Cap> {
    let mut caps: BTreeMap<u64, Cap> = BTreeMap::new();
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                let (number, text) = line.split_once(' ').unwrap_or((&line, ""));
                match serde_json::from_str(text) {
                    Ok(Word::Ping) => {}
                    Ok(Word::Cap(n, cap)) => drop(caps.insert(n, cap)),
                    Ok(Word::Closed(n)) => drop(caps.remove(&n)),
                    // Without an answer the agent knows.
                    Err(_) => continue,
                }
                // Where nobody listens, the end of the input comes next.
                drop(writeln!(to, "{number}").and_then(|()| to.flush()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return caps,
        }
        let now_ms = (clocks.boot_ms)();
        if caps.values().any(|cap| now_ms >= cap.until_boot_ms.saturating_add(GRACE_MS as i64)) {
            eprintln!("lwt: the agent hangs, and a cap is past its end: killing the agent");
            // Before anything is put back: it must not set a cap after that.
            let killed = Pid::from_raw(charge.agent).map(|agent| kill_process(agent, Signal::KILL));
            // It holds the pipe as long as it lives.
            let gone = (0..20).any(|_| lines.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected));
            if !gone {
                eprintln!("lwt: the agent does not die: {killed:?}");
            }
            return caps;
        }
    }
}

/// Puts back what was before `caps` and before those of the journal, until all of it has succeeded; says what became of
/// each. As long as `is_gone` says no, or a command may still act, it is looked at again.
pub fn put_back(
    actuator: &Actuator,
    mut caps: BTreeMap<u64, Cap>,
    mut store: Option<&mut Store>,
    clocks: Clocks,
    is_gone: impl Fn() -> bool,
) -> Vec<(Cap, How)> {
    caps.extend(store.iter().flat_map(|store| store.held().caps.clone()));
    let sure_ms = (clocks.boot_ms)() + actuator.settle_ms();
    let (mut ended, mut times) = (vec![], 0);
    while !caps.is_empty() {
        let in_doubt = !is_gone() || (clocks.boot_ms)() < sure_ms;
        caps.retain(|n, cap| match restore(actuator, cap, in_doubt) {
            Ok(None) => true,
            Ok(Some(how)) => {
                eprintln!("lwt: {}: {}", cap.vm, said(&how, cap));
                let closed = Entry::Closed { cap: *n, how: how.clone(), at_ms: (clocks.wall_ms)() };
                // What cannot be written is found put back by the next who reads the journal.
                let written = store.as_mut().map_or(Ok(0), |store| store.append(&closed));
                if let Err(error) = written {
                    eprintln!("lwt: {}", whole(&error));
                }
                ended.push((cap.clone(), how));
                false
            }
            Err(error) => {
                if times % SAY_EVERY == 0 {
                    eprintln!("lwt: {} IS STILL CAPPED: {error}; trying again until it is not", cap.vm);
                }
                true
            }
        });
        if !caps.is_empty() {
            thread::sleep(PAUSES[usize::from(times > 0)]);
            times += 1;
        }
    }
    ended
}

fn said(how: &How, cap: &Cap) -> String {
    match how {
        How::Lifted => format!("is as before ({})", cap.before),
        How::Not => "was not capped".into(),
        How::Foreign(found) => format!("somebody else has set its cap ({found}): left alone"),
        How::Gone => "is gone".into(),
    }
}
