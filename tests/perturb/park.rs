//! Real programs in control groups of this machine, with real sockets between them, of which some are capped by their codes, all
//! at once. Needs root and a cpu controller of version 1; says so where there is none.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lwt::perturb::Lots;
use lwt::perturb::code::{Block, code, done};
use lwt::perturb::command;
use lwt::perturb::report::{Done, Report};
use lwt::perturb::series::Series;
use lwt::perturb::verdict::{Judgement, Params, judge};
use lwt::transport::wire::read_message;
use lwt::types::{HostId, VmId};

use crate::common::kafka::unique;

/// The hierarchies: where caps are set, and where use is counted.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"];
/// Use is measured for so long before anything is capped.
pub const BEFORE_MS: i64 = 5_000;
/// Samples are there so long after their time.
const LATE_MS: i64 = 1_500;
/// What a victim is left of what it used.
const SHARE: f64 = 0.4;
pub const ALPHA: f64 = 0.01;

pub fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "a test has no other clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn sleep_until(then_ms: i64) {
    std::thread::sleep(Duration::from_millis((then_ms - now_ms()).max(0) as u64));
}

/// What runs in a park.
#[derive(Clone, Copy)]
pub struct Programs {
    /// Clients, each with a server.
    pub pairs: usize,
    pub loners: usize,
    /// The share of its work for which a client asks its server; for the rest the server works for itself.
    pub share: f64,
}

type All = Arc<Mutex<BTreeMap<String, Series>>>;

/// Programs in groups, and a collector that reads these.
pub struct Park {
    roots: Vec<PathBuf>,
    programs: Child,
    collector: Child,
    series: All,
}

impl Park {
    pub fn start(programs: Programs) -> Option<Park> {
        let name = unique("lwt-asked");
        let roots: Vec<PathBuf> = ROOTS.map(|root| Path::new(root).join(&name)).into();
        for root in &roots {
            if let Err(error) = fs::create_dir(root) {
                let hint = format!("SKIPPED: cannot make {}: {error}", root.display());
                let _ = writeln!(std::io::stderr(), "\n{hint}\n");
                return None;
            }
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/perturb/load.py");
        let Programs { pairs, loners, share } = programs;
        let mut programs = Command::new("python3");
        programs.arg(script).args([pairs, loners].map(|n| n.to_string())).args(&roots);
        let programs = programs.env("SHARE", share.to_string()).stdin(Stdio::piped()).spawn().unwrap();
        let groups = format!("{name}/*");
        let args = [
            "collect",
            "--source",
            "cgroup",
            "--root",
            ROOTS[1],
            "--groups",
            &groups,
            "--host",
            "h",
            "--dry-run",
        ];
        let mut collector = Command::new(env!("CARGO_BIN_EXE_lwt"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (series, lines) = (All::default(), BufReader::new(collector.stdout.take().unwrap()).lines());
        let into = series.clone();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| take(&line, &into)));
        Some(Park { roots, programs, collector, series })
    }

    pub fn series(&self, vm: &str) -> Series {
        self.series.lock().unwrap().get(vm).cloned().unwrap_or(Series::new(100))
    }

    /// What all programs used.
    pub fn all(&self) -> BTreeMap<String, Series> {
        self.series.lock().unwrap().clone()
    }
}

fn take(line: &str, into: &All) {
    let message = read_message(line.as_bytes()).unwrap();
    let mut all = into.lock().unwrap();
    for vm in &message.vms {
        let values: Vec<u32> = vm.cpu_ppm.values().iter().map(|value| *value as u32).collect();
        let first = (message.t_ms / message.period_ms) as i64 - values.len() as i64;
        all.entry(vm.name.to_string()).or_insert_with(|| Series::new(message.period_ms)).push(first, &values);
    }
}

impl Drop for Park {
    fn drop(&mut self) {
        let _ = self.collector.kill();
        let _ = self.collector.wait();
        drop(self.programs.stdin.take());
        let _ = self.programs.wait();
        for root in &self.roots {
            for _ in 0..100 {
                let groups = fs::read_dir(root).into_iter().flatten().flatten();
                groups
                    .filter(|group| group.path().is_dir())
                    .for_each(|group| drop(fs::remove_dir(group.path())));
                if fs::remove_dir(root).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Caps a victim by its code until it is released; reports like an agent.
pub struct Victim {
    group: PathBuf,
    pub command: command::Command,
    cap_us: u64,
    pub reports: Vec<Report>,
    capped: bool,
    released: bool,
}

impl Victim {
    fn new(park: &Park, vm: &str, (start_ms, slot_ms, blocks): (i64, u64, usize)) -> Victim {
        let (serial, id) = (start_ms as u64, VmId::new(vm));
        let code = code(serial, &id, blocks);
        let (issued_ms, expires_ms) = (now_ms(), start_ms + 3_600_000);
        let host = HostId::new("h");
        let command = command::Command {
            v: 1,
            serial,
            host,
            vm: id,
            start_ms,
            slot_ms,
            code,
            share: SHARE,
            issued_ms,
            expires_ms,
        };
        let used_ppm = park.series(vm).mean(now_ms() - BEFORE_MS + LATE_MS, now_ms() - LATE_MS).unwrap();
        // The scheduler takes 1 ms at least, and its period is 100 ms.
        let cap_us = ((used_ppm * SHARE / 10.0) as u64).max(1_000);
        let group = park.roots[0].join(vm);
        let mut victim = Victim { group, command, cap_us, reports: vec![], capped: false, released: false };
        victim.report(Done::Accepted);
        victim
    }

    fn report(&mut self, done: Done) {
        let command::Command { serial, host, vm, .. } = self.command.clone();
        self.reports.push(Report { v: 1, serial, host, vm, at_ms: now_ms(), done });
    }

    fn turn(&mut self) {
        let on = !self.released && self.command.is_on(now_ms());
        if on != self.capped {
            let quota = if on { self.cap_us.to_string() } else { "-1".into() };
            fs::write(self.group.join("cpu.cfs_quota_us"), quota).unwrap();
            let cap_ppm = self.cap_us as u32 * 10;
            self.report(if on { Done::Applied { cap_ppm, used_ppm: 0 } } else { Done::Lifted });
            self.capped = on;
        }
    }

    /// What it did not use in capped slots, as against the others, ms of CPU time; and for how long it was capped.
    fn taken(&self, park: &Park, blocks: &[Block]) -> (f64, u64) {
        let series = park.series(self.command.vm.as_str());
        let lost = |block: &Block| {
            let (turn_ms, end_ms) = (block.start_ms + block.slot_ms as i64, block.end_ms());
            let (first, second) = (series.mean(block.start_ms, turn_ms)?, series.mean(turn_ms, end_ms)?);
            let fall = if block.first { second - first } else { first - second };
            Some(fall * block.slot_ms as f64 / 1e6)
        };
        (blocks.iter().filter_map(lost).sum(), blocks.iter().map(|block| block.slot_ms).sum())
    }
}

/// A VM to be capped, and those that may depend on it.
pub type Question = (String, Vec<String>);

/// What became of some questions.
#[derive(Default)]
pub struct Answers {
    /// The capped VM, the watched one, what was found, and when it was decided, after the first slot had begun.
    pub found: Vec<(String, String, Judgement, i64)>,
    pub victims: Vec<Victim>,
    pub taken_ms: f64,
    pub capped_ms: u64,
}

/// Caps all victims at once, until everything is decided or `params.most()` blocks are over.
pub fn ask(park: &Park, questions: &[Question], slot_ms: u64, (params, lots): (&Params, &Lots)) -> Answers {
    let (start_ms, most) = ((now_ms() / 1_000 + 2) * 1_000, params.most());
    let victim = |(vm, _): &Question| Victim::new(park, vm, (start_ms, slot_ms, most));
    let victims = Arc::new(Mutex::new(questions.iter().map(victim).collect::<Vec<_>>()));
    let acting = victims.clone();
    let actuator = std::thread::spawn(move || {
        while acting.lock().unwrap().iter().any(|victim| !victim.released || victim.capped) {
            acting.lock().unwrap().iter_mut().for_each(Victim::turn);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let mut answers = Answers::default();
    for look in (12..=most).step_by(4) {
        sleep_until(start_ms + (2 * look as u64 * slot_ms) as i64 + LATE_MS + 500);
        for (i, (vm, watched)) in questions.iter().enumerate() {
            let (command, mut reports) = {
                let victim = &victims.lock().unwrap()[i];
                if victim.released {
                    continue;
                }
                (victim.command.clone(), victim.reports.clone())
            };
            reports.push(Report { at_ms: now_ms() - LATE_MS, done: Done::Ended, ..reports[0].clone() });
            let mut blocks = done(&command, &reports);
            blocks.truncate(look);
            let own = park.series(vm);
            let judged = watched.iter().map(|vm| judge(&own, &park.series(vm), &blocks, params, lots));
            let judged: Vec<Judgement> = judged.collect();
            if look < most && judged.iter().any(Judgement::goes_on) {
                continue;
            }
            let mut all = victims.lock().unwrap();
            all[i].released = true;
            let (taken_ms, capped_ms) = all[i].taken(park, &blocks);
            answers.taken_ms += taken_ms;
            answers.capped_ms += capped_ms;
            answers.found.extend(watched.iter().zip(judged).map(|(other, judgement)| {
                let after_ms = (judgement.blocks as u64 * 2 * slot_ms) as i64 + LATE_MS;
                (vm.clone(), other.clone(), judgement, after_ms)
            }));
        }
    }
    actuator.join().unwrap();
    answers.victims = Arc::into_inner(victims).unwrap().into_inner().unwrap();
    answers
}

/// What all programs used from one time to another, as a trace.
pub fn trace(park: &Park, (from_ms, to_ms): (i64, i64)) -> String {
    let (series, mut text) = (park.all(), String::from("t,vm,cpu\n"));
    let end_ms = series.values().map(Series::end_ms).min().unwrap().min(to_ms);
    for t_ms in (from_ms / 100 * 100..end_ms).step_by(100) {
        for (vm, series) in &series {
            text += &series.mean(t_ms, t_ms + 100).map_or(String::new(), |ppm| {
                format!("{}.{:03},{vm},{:.3}\n", (t_ms + 100) / 1000, (t_ms + 100) % 1000, ppm / 1e4)
            });
        }
    }
    text
}

/// Which programs belong together, as a file that `lwt analyze` takes.
pub fn truth(park: &Park) -> String {
    let number = |vm: &str| vm.trim_start_matches("client").trim_start_matches("server").to_string();
    let rows = park.all().into_keys().map(|vm| format!("{vm},{}\n", number(&vm))).collect::<String>();
    format!("vm,ensemble\n{rows}")
}
