//! Real programs in control groups of this machine, with real sockets between them: clients are capped by their codes, all at
//! once, and their servers and others are judged. Needs root and a cpu controller of version 1; says so where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lwt::perturb::Lots;
use lwt::perturb::code::{Block, code, done};
use lwt::perturb::command;
use lwt::perturb::record::Verdict;
use lwt::perturb::report::{Done, Report};
use lwt::perturb::series::Series;
use lwt::perturb::verdict::{Finding, Judgement, Params, judge};
use lwt::transport::wire::read_message;
use lwt::types::{HostId, VmId};

use crate::common::kafka::unique;

/// The hierarchies: where caps are set, and where use is counted.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"];
/// Use is measured for so long before anything is capped.
const BEFORE_MS: i64 = 5_000;
/// Samples are there so long after their time.
const LATE_MS: i64 = 1_500;
/// What a victim is left of what it used.
const SHARE: f64 = 0.4;
const ALPHA: f64 = 0.01;

fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "a test has no other clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn sleep_until(then_ms: i64) {
    std::thread::sleep(Duration::from_millis((then_ms - now_ms()).max(0) as u64));
}

type All = Arc<Mutex<BTreeMap<String, Series>>>;

/// Programs in groups, and a collector that reads these.
struct Park {
    roots: Vec<PathBuf>,
    programs: Child,
    collector: Child,
    series: All,
}

impl Park {
    fn start(pairs: usize, loners: usize) -> Option<Park> {
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
        let mut programs = Command::new("python3");
        programs.arg(script).args([pairs, loners].map(|n| n.to_string())).args(&roots);
        let programs = programs.stdin(Stdio::piped()).spawn().unwrap();
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

    fn series(&self, vm: &str) -> Series {
        self.series.lock().unwrap().get(vm).cloned().unwrap_or(Series::new(100))
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
struct Victim {
    group: PathBuf,
    command: command::Command,
    cap_us: u64,
    reports: Vec<Report>,
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

/// Writes what all programs used, who belongs together, and the verdicts, as files that `lwt analyze` takes.
fn keep(folder: &str, park: &Park, answers: &[Answer]) {
    let series = park.series.lock().unwrap();
    let mut trace = String::from("t,vm,cpu\n");
    let end_ms = series.values().map(Series::end_ms).min().unwrap();
    for t_ms in (end_ms - 600_000..end_ms).step_by(100) {
        for (vm, series) in series.iter() {
            let used = series.mean(t_ms, t_ms + 100);
            trace += &used.map_or(String::new(), |ppm| {
                format!("{}.{:03},{vm},{:.3}\n", (t_ms + 100) / 1000, (t_ms + 100) % 1000, ppm / 1e4)
            });
        }
    }
    let number = |vm: &str| vm.trim_start_matches("client").trim_start_matches("server").to_string();
    let truth: String = series.keys().map(|vm| format!("{vm},{}\n", number(vm))).collect();
    let verdicts: String = answers
        .iter()
        .map(|answer| {
            let (cause, vm) = answer.what.split_once(" -> ").unwrap();
            let verdict = Verdict::new(VmId::new(cause), VmId::new(vm), ALPHA, answer.judgement, end_ms);
            serde_json::to_string(&verdict).unwrap() + "\n"
        })
        .collect();
    fs::create_dir_all(folder).unwrap();
    for (name, text) in
        [("trace.csv", trace), ("truth.csv", format!("vm,ensemble\n{truth}")), ("verdicts.ndjson", verdicts)]
    {
        fs::write(Path::new(folder).join(name), text).unwrap();
    }
}

/// What became of one asked pair.
struct Answer {
    is_true: bool,
    what: String,
    judgement: Judgement,
    /// When it was decided, after the first slot had begun.
    after_ms: i64,
}

/// What became of some pairs, and what it cost.
#[derive(Default)]
struct Outcome {
    answers: Vec<Answer>,
    taken_ms: f64,
    capped_ms: u64,
    victims: usize,
    /// Whom else the same caps say something about, though nobody asked: pairs that do not depend, and of these confirmed.
    beside: (usize, usize),
}

/// Judges all pairs that do not depend by what was done anyway.
fn beside(park: &Park, victims: &[Victim], params: &Params, lots: &Lots) -> (usize, usize) {
    let series = park.series.lock().unwrap().clone();
    let mut count = (0, 0);
    for victim in victims {
        let name = victim.command.vm.as_str();
        let others = series.iter().filter(|(vm, _)| *vm != name && **vm != name.replace("client", "server"));
        let ended = Report {
            at_ms: victim.reports.last().unwrap().at_ms,
            done: Done::Ended,
            ..victim.reports[0].clone()
        };
        let blocks = done(&victim.command, &[victim.reports[0].clone(), ended]);
        for (_, other) in others {
            let found = judge(&series[name], other, &blocks, params, lots);
            count.0 += 1;
            count.1 += usize::from(found.verdict == Finding::Confirmed);
        }
    }
    count
}

/// Asks whether each client's server depends on it, and another VM: the next client's server, or a loner.
fn ask(pairs: usize, loners: usize, slot_ms: u64, most: usize) -> Option<Outcome> {
    let park = Park::start(pairs, loners)?;
    sleep_until(now_ms() + BEFORE_MS + 1_000);
    let start_ms = (now_ms() / 1_000 + 2) * 1_000;
    let victims: Vec<_> =
        (0..pairs).map(|i| Victim::new(&park, &format!("client{i}"), (start_ms, slot_ms, most))).collect();
    let victims = Arc::new(Mutex::new(victims));
    let (acting, lots) = (victims.clone(), Lots::new(most));
    let actuator = std::thread::spawn(move || {
        while acting.lock().unwrap().iter().any(|victim| !victim.released || victim.capped) {
            acting.lock().unwrap().iter_mut().for_each(Victim::turn);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let params = Params::new(ALPHA / 2.0, 0.05, 0.25, most).unwrap();
    let mut outcome = Outcome { victims: pairs, ..Outcome::default() };
    for look in (12..=most).step_by(4) {
        sleep_until(start_ms + (2 * look as u64 * slot_ms) as i64 + LATE_MS + 500);
        for i in 0..pairs {
            let (command, mut reports) = {
                let victim = &victims.lock().unwrap()[i];
                if victim.released {
                    continue;
                }
                (victim.command.clone(), victim.reports.clone())
            };
            let ended = Report { at_ms: now_ms() - LATE_MS, done: Done::Ended, ..reports[0].clone() };
            reports.push(ended);
            let mut blocks = done(&command, &reports);
            blocks.truncate(look);
            let other = if i % 2 == 0 && loners > 0 {
                format!("loner{}", i / 2 % loners)
            } else {
                format!("server{}", (i + 1) % pairs)
            };
            let victim = park.series(command.vm.as_str());
            let asked = [(true, format!("server{i}")), (false, other)];
            let judged = asked.map(|(is_true, vm)| {
                (is_true, judge(&victim, &park.series(&vm), &blocks, &params, &lots), vm)
            });
            if look < most && judged.iter().any(|(_, judgement, _)| judgement.goes_on()) {
                continue;
            }
            let mut all = victims.lock().unwrap();
            all[i].released = true;
            let (taken_ms, capped_ms) = all[i].taken(&park, &blocks);
            outcome.taken_ms += taken_ms;
            outcome.capped_ms += capped_ms;
            outcome.answers.extend(judged.map(|(is_true, judgement, vm)| {
                let what = format!("{} -> {vm}", command.vm);
                Answer {
                    is_true,
                    what,
                    judgement,
                    after_ms: (judgement.blocks as u64 * 2 * slot_ms) as i64 + LATE_MS,
                }
            }));
        }
    }
    actuator.join().unwrap();
    outcome.beside = beside(&park, &victims.lock().unwrap(), &params, &lots);
    if let Ok(folder) = std::env::var("KEEP") {
        keep(&format!("{folder}/{start_ms}"), &park, &outcome.answers);
    }
    Some(outcome)
}

impl Outcome {
    fn count(&self, is_true: bool, finding: Finding) -> usize {
        self.answers
            .iter()
            .filter(|answer| answer.is_true == is_true && answer.judgement.verdict == finding)
            .count()
    }

    fn print(&self) {
        for Answer { is_true, what, judgement, .. } in &self.answers {
            let Judgement { verdict, open, blocks, chance, fall, response, lag_ms } = judgement;
            println!(
                "{is_true} {what}: {verdict:?} {open:?}, {blocks} blocks, chance {chance:.4}, fall {fall:.2}, response {response:.2} after {lag_ms} ms"
            );
        }
        let mut times: Vec<i64> = self
            .answers
            .iter()
            .filter(|a| a.is_true && a.judgement.verdict == Finding::Confirmed)
            .map(|a| a.after_ms)
            .collect();
        times.sort_unstable();
        let quantile =
            |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        println!(
            "of {} that depend {} confirmed, {} refuted; of {} that do not {} confirmed, {} refuted",
            self.answers.iter().filter(|a| a.is_true).count(),
            self.count(true, Finding::Confirmed),
            self.count(true, Finding::Refuted),
            self.answers.iter().filter(|a| !a.is_true).count(),
            self.count(false, Finding::Confirmed),
            self.count(false, Finding::Refuted),
        );
        println!(
            "beside, by the same caps: of {} that do not depend {} confirmed",
            self.beside.0, self.beside.1
        );
        println!(
            "confirmed after 50 %: {:?} ms, 95 %: {:?} ms, 100 %: {:?} ms",
            quantile(50),
            quantile(95),
            times.last()
        );
        println!(
            "{} victims capped for {:.1} s each on average; at most {:.2} s of CPU time in all were taken, {:.2} s each",
            self.victims,
            self.capped_ms as f64 / 1e3 / self.victims as f64,
            self.taken_ms / 1e3,
            self.taken_ms / 1e3 / self.victims as f64
        );
    }
}

#[test]
fn real_programs_are_judged_right() {
    let Some(outcome) = ask(4, 2, 1_000, 16) else { return };
    outcome.print();
    assert!(outcome.count(true, Finding::Confirmed) >= 3);
    // Two of four at 0.5 % each: 1 in 6,000.
    assert!(outcome.count(false, Finding::Confirmed) <= 1);
}

/// 100 pairs, half of them true: `tests/long/perturb-verdicts`.
#[test]
#[ignore = "takes a quarter of an hour"]
fn a_hundred_pairs() {
    let number = |name: &str, or: u64| std::env::var(name).ok().map_or(or, |text| text.parse().unwrap());
    let (batches, pairs, slot_ms) = (number("BATCHES", 5), number("PAIRS", 10), number("SLOT_MS", 2_000));
    let mut all = Outcome::default();
    for batch in 0..batches {
        let Some(outcome) = ask(pairs as usize, 5, slot_ms, 40) else { return };
        println!("\nbatch {batch}");
        outcome.print();
        all.answers.extend(outcome.answers);
        all.taken_ms += outcome.taken_ms;
        all.capped_ms += outcome.capped_ms;
        all.victims += outcome.victims;
        all.beside = (all.beside.0 + outcome.beside.0, all.beside.1 + outcome.beside.1);
    }
    println!("\nall");
    all.print();
    let expected = ALPHA / 2.0 * all.beside.0 as f64;
    assert!(all.beside.1 as f64 <= expected + 4.0 * expected.sqrt() + 1.0, "{:?}", all.beside);
    let depend: BTreeSet<&str> = all.answers.iter().filter(|a| a.is_true).map(|a| a.what.as_str()).collect();
    println!("{} different pairs in {batches} batches", depend.len());
    let n = all.answers.len() as f64 / 2.0;
    assert!(all.count(false, Finding::Confirmed) as f64 <= (n * ALPHA).ceil());
    assert!(all.count(true, Finding::Confirmed) as f64 >= 0.95 * n);
}
