//! Real programs in control groups: clients are capped by their codes, all at once, and their servers and others are judged.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lwt::perturb::Lots;
use lwt::perturb::code::done;
use lwt::perturb::record::Verdict;
use lwt::perturb::report::{Done, Report};
use lwt::perturb::verdict::{Finding, Judgement, Params, judge};
use lwt::types::VmId;

use crate::park::{
    ALPHA, Answers, BEFORE_MS, Park, Programs, Question, Victim, ask, now_ms, sleep_until, trace, truth,
};

/// Writes what all programs used, who belongs together, and the verdicts, as files that `lwt analyze` takes.
fn keep(folder: &str, park: &Park, answers: &[Answer]) {
    let end_ms = now_ms();
    let verdict = |answer: &Answer| {
        let (cause, vm) = answer.what.split_once(" -> ").unwrap();
        let verdict = Verdict::new(VmId::new(cause), VmId::new(vm), ALPHA, answer.judgement, end_ms);
        serde_json::to_string(&verdict).unwrap() + "\n"
    };
    fs::create_dir_all(folder).unwrap();
    for (name, text) in [
        ("trace.csv", trace(park, (end_ms - 600_000, end_ms))),
        ("truth.csv", truth(park)),
        ("verdicts.ndjson", answers.iter().map(verdict).collect()),
    ] {
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
    let series = park.all();
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
fn ask_all(pairs: usize, loners: usize, slot_ms: u64, most: usize) -> Option<Outcome> {
    let park = Park::start(Programs { pairs, loners, share: 1.0 })?;
    sleep_until(now_ms() + BEFORE_MS + 1_000);
    let other = |i: usize| match i.is_multiple_of(2) && loners > 0 {
        true => format!("loner{}", i / 2 % loners),
        false => format!("server{}", (i + 1) % pairs),
    };
    let question = |i: usize| (format!("client{i}"), vec![format!("server{i}"), other(i)]);
    let questions: Vec<Question> = (0..pairs).map(question).collect();
    let (params, lots) = (Params::new(ALPHA / 2.0, 0.05, 0.25, most).unwrap(), Lots::new(most));
    let Answers { found, victims, taken_ms, capped_ms } = ask(&park, &questions, slot_ms, (&params, &lots));
    let answer = |(victim, vm, judgement, after_ms): (String, String, Judgement, i64)| Answer {
        is_true: victim.replace("client", "server") == vm,
        what: format!("{victim} -> {vm}"),
        judgement,
        after_ms,
    };
    let answers: Vec<Answer> = found.into_iter().map(answer).collect();
    if let Ok(folder) = std::env::var("KEEP") {
        keep(&format!("{folder}/{}", now_ms()), &park, &answers);
    }
    let beside = beside(&park, &victims, &params, &lots);
    Some(Outcome { answers, taken_ms, capped_ms, victims: pairs, beside })
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
    let Some(outcome) = ask_all(4, 2, 1_000, 16) else { return };
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
        let Some(outcome) = ask_all(pairs as usize, 5, slot_ms, 40) else { return };
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
