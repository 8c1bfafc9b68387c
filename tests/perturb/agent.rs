//! An agent that is run, what it is told, and what it tells.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use lwt::perturb::command::Command;
use lwt::perturb::keys::hex;
use lwt::perturb::report::{Done, Report};
use lwt::types::{HostId, VmId};

/// A cap never lasts longer.
pub const LEASE: Duration = Duration::from_secs(4);

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A command that the rules below allow.
pub fn command(vm: usize, code: &str) -> Command {
    let now_ms = now_ms();
    let (slot_ms, start_ms) = (500, now_ms + 50);
    Command {
        v: 1,
        // Those of commands that are wrong end with a 7.
        serial: now_ms as u64 / 10 * 10,
        host: HostId::new("h"),
        vm: VmId::new(&format!("h/vm{vm}")),
        start_ms,
        slot_ms,
        code: code.into(),
        share: 0.5,
        issued_ms: now_ms,
        expires_ms: start_ms + code.len() as i64 * slot_ms as i64,
    }
}

/// The rules of the tests' host.
pub fn rules(state: &Path) -> Vec<String> {
    let trusted = hex(key(1).verifying_key().as_bytes());
    let rules = [
        "perturb.enabled=true",
        "perturb.allow=h/vm*",
        "perturb.deny=vm2",
        "perturb.floor=0.4",
        "perturb.lease=4s",
        "perturb.lately=1s",
        "perturb.budget=60s",
        "collect.host=h",
    ];
    let own = [format!("perturb.trusted={trusted}"), format!("perturb.state={}", state.display())];
    rules.iter().map(|rule| rule.to_string()).chain(own).collect()
}

pub struct Agent {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    pub reports: Vec<Report>,
    pub said: Arc<Mutex<String>>,
}

impl Agent {
    pub fn start(set: &[String]) -> Agent {
        Self::start_with(&[], &[], set)
    }

    /// Under a program, and with an environment.
    pub fn start_with(under: &[String], environment: &[(&str, PathBuf)], set: &[String]) -> Agent {
        let lwt = env!("CARGO_BIN_EXE_lwt").to_owned();
        let words: Vec<String> = under.iter().cloned().chain([lwt]).collect();
        let mut child = Program::new(&words[0])
            .args(&words[1..])
            .args(["perturb", "agent", "--commands", "-"])
            .args(set.iter().flat_map(|pair| ["--set", pair]))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let (out, mut err) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let said = Arc::new(Mutex::new(String::new()));
        let page = said.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = err.read(&mut bytes) {
                page.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        let stdin = child.stdin.take();
        Agent { child, stdin, lines, reports: vec![], said }
    }

    /// What it is told may come too late.
    pub fn tell(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.write_all(b"\n"));
        }
    }

    /// The end of its input.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Listens for so long.
    pub fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            // One that is killed may leave half a line.
            self.reports.extend(serde_json::from_str::<Report>(&line));
        }
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    /// Listens until something was done to a VM, at most for a while.
    pub fn hear(&mut self, vm: usize, what: impl Fn(&Done) -> bool) -> Option<Report> {
        let vm = VmId::new(&format!("h/vm{vm}"));
        for _ in 0..800 {
            let mut all = self.reports.iter().rev();
            if let Some(report) = all.find(|report| report.vm == vm && what(&report.done)) {
                return Some(report.clone());
            }
            self.listen(Duration::from_millis(10));
        }
        None
    }

    /// Sends commands for a VM until one is accepted: what a VM uses is not known at once.
    pub fn order(&mut self, vm: usize, code: &str) -> Option<Command> {
        for _ in 0..300 {
            if self.is_dead() {
                return None;
            }
            let command = command(vm, code);
            self.tell(&command.sign(&key(1)).unwrap());
            for _ in 0..25 {
                self.listen(Duration::from_millis(10));
                let answer = self
                    .reports
                    .iter()
                    .find(|report| report.serial == command.serial && report.vm == command.vm);
                match answer.map(|report| &report.done) {
                    Some(Done::Refused { .. }) => break,
                    Some(_) => return Some(command),
                    None => {}
                }
            }
            self.listen(Duration::from_millis(100));
        }
        None
    }

    pub fn signal(&self, name: &str) {
        signal(self.process(), name);
    }

    /// The agent's process, also where it runs under another program.
    fn process(&self) -> u32 {
        let own = self.child.id();
        children(own).into_iter().find(|id| words(*id).contains("perturb agent")).unwrap_or(own)
    }

    /// The keeper's process.
    pub fn keeper(&self) -> Option<u32> {
        children(self.child.id()).into_iter().find(|id| words(*id).ends_with("perturb keeper"))
    }

    pub fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it well, and says whether it did.
    pub fn end(&mut self) -> bool {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        self.listen(Duration::from_millis(100));
        status.success()
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(id: u32, name: &str) {
    let _ = Program::new("kill").args([&format!("-{name}"), &id.to_string()]).stderr(Stdio::null()).status();
}

pub fn is_there(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn words(id: u32) -> String {
    let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ")
}

/// The processes that a process has started, and those that they have.
pub fn children(id: u32) -> Vec<u32> {
    let of_thread =
        |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("children")).unwrap_or_default();
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let mut found: Vec<u32> = threads
        .flat_map(|entry| {
            of_thread(entry).split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
        })
        .collect();
    for child in found.clone() {
        found.extend(children(child));
    }
    found
}
