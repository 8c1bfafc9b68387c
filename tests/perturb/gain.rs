//! What asking gains on pairs that passive evidence leaves open: real programs of which each works only in part for another one,
//! watched for a short time. What use alone says of them is compared with what it says with verdicts; who is asked is chosen as
//! `lwt perturb plan` chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lwt::perturb::Lots;
use lwt::perturb::plan::{Guest, Known, Limits, choose};
use lwt::perturb::record::Verdict;
use lwt::perturb::verdict::Params;
use lwt::transport::records::{Assignment, Dependency};
use lwt::types::{HostId, VmId};
use serde::Deserialize;

use crate::common::lwt_ok;
use crate::park::{ALPHA, BEFORE_MS, Park, Programs, Question, ask, now_ms, sleep_until, trace};

/// Each pair is asked about in one direction, and if that is refuted in the other.
const ROUNDS: usize = 3;

/// What `lwt analyze --format json` says.
#[derive(Deserialize)]
struct Found {
    assignments: Vec<Assignment>,
    dependencies: Vec<Dependency>,
}

type Pairs = BTreeSet<(VmId, VmId)>;

fn pairs(dependencies: &[Dependency]) -> Pairs {
    dependencies.iter().map(|pair| (pair.a.clone(), pair.b.clone())).collect()
}

fn analyze(trace: &Path, passive_s: i64, more: &[&str]) -> Found {
    let window = format!("{passive_s}s");
    let own = ["analyze", trace.to_str().unwrap(), "--window", &window, "--hop", &window, "--format", "json"];
    let text = lwt_ok(&[&own[..], more].concat());
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Right ones, wrong ones and missing ones of what is held.
#[derive(Clone, Copy, Default)]
struct Score {
    right: usize,
    wrong: usize,
    missing: usize,
}

impl Score {
    fn of(held: &Pairs, among: &Pairs) -> Score {
        let is_true = |(a, b): &(VmId, VmId)| a.as_str().replace("client", "server") == b.as_str();
        let count = |holds: bool, truth: bool| {
            among.iter().filter(|pair| held.contains(pair) == holds && is_true(pair) == truth).count()
        };
        Score { right: count(true, true), wrong: count(true, false), missing: count(false, true) }
    }

    fn add(&mut self, more: Score) {
        self.right += more.right;
        self.wrong += more.wrong;
        self.missing += more.missing;
    }

    fn f1(self) -> f64 {
        2.0 * self.right as f64 / (2 * self.right + self.wrong + self.missing).max(1) as f64
    }

    fn told(self) -> String {
        let Score { right, wrong, missing } = self;
        let share = |of: usize| right as f64 / of.max(1) as f64;
        let (precision, recall) = (share(right + wrong), share(right + missing));
        format!(
            "{right} right, {wrong} wrong, {missing} missing: precision {precision:.3}, recall {recall:.3}, F1 {:.3}",
            self.f1()
        )
    }
}

/// Scores of the pairs that were asked about, and of all, each before and after; and what it cost.
#[derive(Default)]
struct Gain {
    asked: [Score; 2],
    all: [Score; 2],
    taken_ms: f64,
    capped_ms: u64,
    victims: usize,
}

impl Gain {
    fn print(&self) {
        for (what, [before, after]) in [("pairs that were asked about", self.asked), ("all pairs", self.all)]
        {
            println!("{what}, by use alone: {}\n{what}, with verdicts: {}", before.told(), after.told());
        }
        let victims = self.victims.max(1) as f64;
        println!(
            "{} caps by code, {:.1} s each; {:.2} s of CPU time each were taken",
            self.victims,
            self.capped_ms as f64 / 1e3 / victims,
            self.taken_ms / 1e3 / victims
        );
    }

    fn add(&mut self, more: &Gain) {
        for i in 0..2 {
            self.asked[i].add(more.asked[i]);
            self.all[i].add(more.all[i]);
        }
        self.taken_ms += more.taken_ms;
        self.capped_ms += more.capped_ms;
        self.victims += more.victims;
    }
}

fn known(park: &Park, open: Found) -> Known {
    let guest = |(vm, series): (String, lwt::perturb::series::Series)| {
        let used_ppm = series.mean(now_ms() - 10_000, now_ms() - 2_000).unwrap_or(0.0);
        (VmId::new(&vm), Guest { host: HostId::new("h"), used_ppm })
    };
    let guests: BTreeMap<VmId, Guest> = park.all().into_iter().map(guest).collect();
    let Found { assignments, dependencies } = open;
    Known { assignments, dependencies, guests, verdicts: vec![] }
}

fn one(programs: Programs, passive_s: i64, slot_ms: u64) -> Option<Gain> {
    let (folder, park) = (tempfile::tempdir().unwrap(), Park::start(programs)?);
    sleep_until(now_ms() + BEFORE_MS + 1_000 * passive_s + 2_000);
    let path = folder.path().join("trace.csv");
    let end_ms = now_ms() - 2_000;
    fs::write(&path, trace(&park, (end_ms - 1_000 * passive_s, end_ms))).unwrap();
    let before = pairs(&analyze(&path, passive_s, &[]).dependencies);
    let mut known = known(&park, analyze(&path, passive_s, &["--fdr", "0.5"]));
    let limits = Limits { victims: 12, per_host: 12, per_ensemble: 12, pairs: 50, least_ppm: 20_000.0 };
    let (params, lots) = (Params::new(ALPHA / 2.0, 0.05, 0.25, 40).unwrap(), Lots::new(40));
    let (mut gain, mut asked) = (Gain::default(), Pairs::new());
    for _ in 0..ROUNDS {
        let questions = choose(&known, &limits).into_iter().map(|ask| {
            let watched = ask.watched.iter().map(|watched| watched.vm.to_string());
            (ask.victim.to_string(), watched.collect())
        });
        let questions: Vec<Question> = questions.collect();
        if questions.is_empty() {
            break;
        }
        let answers = ask(&park, &questions, slot_ms, (&params, &lots));
        for (cause, vm, judgement, _) in answers.found {
            let verdict = Verdict::new(VmId::new(&cause), VmId::new(&vm), ALPHA, judgement, now_ms());
            asked.insert(verdict.pair());
            println!("{}", verdict.told());
            known.verdicts.push(verdict);
        }
        gain.taken_ms += answers.taken_ms;
        gain.capped_ms += answers.capped_ms;
        gain.victims += questions.len();
    }
    let verdicts = folder.path().join("verdicts.ndjson");
    let lines = known.verdicts.iter().map(|verdict| serde_json::to_string(verdict).unwrap() + "\n");
    fs::write(&verdicts, lines.collect::<String>()).unwrap();
    let after = analyze(&path, passive_s, &["--verdicts", verdicts.to_str().unwrap()]);
    let after = pairs(&after.dependencies);
    let vms: Vec<VmId> = known.guests.keys().cloned().collect();
    let all = vms.iter().flat_map(|a| vms.iter().filter(move |b| a < *b).map(|b| (a.clone(), b.clone())));
    let all: Pairs = all.collect();
    gain.asked = [&before, &after].map(|held| Score::of(held, &asked));
    gain.all = [&before, &after].map(|held| Score::of(held, &all));
    Some(gain)
}

/// `tests/long/perturb-gain`.
#[test]
#[ignore = "takes a quarter of an hour"]
fn what_asking_gains() {
    let number = |name: &str, or: f64| std::env::var(name).ok().map_or(or, |text| text.parse().unwrap());
    let programs = Programs { pairs: number("PAIRS", 8.0) as usize, loners: 4, share: number("SHARE", 0.4) };
    let (passive_s, slot_ms) = (number("PASSIVE_S", 60.0) as i64, number("SLOT_MS", 1_000.0) as u64);
    let mut sum = Gain::default();
    for batch in 0..number("BATCHES", 3.0) as usize {
        let Some(gain) = one(programs, passive_s, slot_ms) else { return };
        println!("\nbatch {batch}");
        gain.print();
        sum.add(&gain);
    }
    println!("\nall");
    sum.print();
    assert!(sum.asked[1].f1() >= sum.asked[0].f1() && sum.all[1].f1() >= sum.all[0].f1());
}
