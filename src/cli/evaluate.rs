//! `lwt evaluate`: holds a result against the truth.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::evaluate::{self, EdgeScore, Edges, Found, Judged, Measures, Score, Truth, share};
use anyhow::{Context, bail};
use serde_json::json;

/// Hold what `lwt analyze --format json` printed against the truth
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt analyze trace.csv --format json > result.json
  lwt evaluate --truth truth.csv result.json
  lwt analyze trace.csv --format json --each-window | lwt evaluate --truth truth.csv --edges edges.csv -

Two VMs depend on each other if they share an ensemble; every pair of VMs that the truth names is judged.
TP dependent and found, TN neither, FP found only, FN dependent only; - is a ratio of nothing to nothing.")]
pub struct Args {
    /// What is true: vm,ensemble[,...]; a|b is a member of both
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// What was found; - is standard input
    result: PathBuf,
    /// Documented calls: caller,callee; held against the dependencies found to be direct
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: FormatArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatArg {
    Table,
    Json,
}

/// The scores of each window, in order, and of the final state.
#[derive(Default)]
struct Outcome {
    windows: Vec<(i64, Score)>,
    last: Option<Judged>,
    calls: Calls,
}

/// How well direct dependencies match the documented calls.
#[derive(Default)]
struct Calls {
    /// Whether any dependency was said to be direct or not.
    told: bool,
    windows: Vec<EdgeScore>,
    last: Option<EdgeScore>,
}

impl Calls {
    /// The score of the final state, if the engine tells direct dependencies from others.
    fn at_the_end(&self) -> Option<EdgeScore> {
        self.last.filter(|_| self.told)
    }
}

/// Scores the result that `args` name, and prints the outcome to `out`.
pub fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let truth = Truth::parse(&read(&args.truth)?).with_context(|| args.truth.display().to_string())?;
    let parse_edges = |path: &PathBuf| Edges::parse(&read(path)?).with_context(|| path.display().to_string());
    let edges = args.edges.as_ref().map(parse_edges).transpose()?;
    let outcome = if args.result.as_os_str() == "-" {
        score(std::io::stdin().lock(), &truth, edges.as_ref()).context("standard input")?
    } else {
        let file =
            File::open(&args.result).with_context(|| format!("cannot open {}", args.result.display()))?;
        score(BufReader::new(file), &truth, edges.as_ref())
            .with_context(|| args.result.display().to_string())?
    };
    let Some(judged) = &outcome.last else { bail!("{}: no result in it", args.result.display()) };
    let text = match args.format {
        FormatArg::Table => as_table(&outcome.windows, judged, &outcome.calls),
        FormatArg::Json => as_json(&outcome.windows, judged, &outcome.calls),
    };
    out.write_all(text.as_bytes()).context("cannot write the outcome")?;
    if args.edges.is_some() && !outcome.calls.told {
        eprintln!("lwt: no dependency says whether it is direct: nothing to hold against the calls");
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Scores a result, line by line: only one window is held at a time.
fn score(result: impl BufRead, truth: &Truth, edges: Option<&Edges>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for (i, line) in result.lines().enumerate() {
        let line = line.with_context(|| format!("cannot read line {}", i + 1))?;
        let Some(found) = Found::parse_line(i + 1, &line)? else { continue };
        let judged = truth.score(&found.assignments);
        outcome.calls.told |= found.dependencies.iter().any(|dependency| dependency.direct.is_some());
        outcome.calls.last = edges.map(|edges| edges.score(&found.dependencies));
        if let Some(end_ms) = found.window_end_ms {
            outcome.windows.push((end_ms, judged.score));
            outcome.calls.windows.extend(outcome.calls.last);
        }
        outcome.last = Some(judged);
    }
    Ok(outcome)
}

fn as_table(windows: &[(i64, Score)], judged: &Judged, calls: &Calls) -> String {
    let mut rows: Vec<(String, Measures)> =
        windows.iter().map(|(end_ms, score)| (time(*end_ms), score.measures())).collect();
    if windows.len() > 1 {
        rows.push((format!("mean of {} windows", windows.len()), mean(windows)));
    }
    rows.push(("final state".into(), judged.score.measures()));
    let mut text = evaluate::table(&rows);
    if let Some(e) = calls.at_the_end() {
        text += &format!(
            "\nDirect calls: {} of {} found are documented (precision {}), of {} documented (recall {}).\n",
            e.right,
            e.found,
            share(e.precision()),
            e.documented,
            share(e.recall())
        );
        let [precision, recall] = evaluate::mean_edges(&calls.windows).map(share);
        let n = calls.windows.len();
        if n > 1 {
            text += &format!("Mean of {n} windows: precision {precision}, recall {recall}.\n");
        }
    }
    if !judged.missing.is_empty() {
        let some = judged.missing[..judged.missing.len().min(5)].join(", ");
        let more = if judged.missing.len() > 5 { ", ..." } else { "" };
        let n = judged.missing.len();
        text += &format!(
            "\nNot in the result, and so counted as in no ensemble: {n} of the truth's VMs ({some}{more}).\n"
        );
    }
    if judged.unknown > 0 {
        text += &format!("\nWithout truth, and so left out: {} of the result's VMs.\n", judged.unknown);
    }
    text
}

fn as_json(windows: &[(i64, Score)], judged: &Judged, calls: &Calls) -> String {
    let window =
        |(end_ms, score): &(i64, Score)| json!({ "window_end_ms": end_ms, "score": score.measures() });
    let calls = calls.at_the_end().map(|e| {
        let EdgeScore { documented, found, right } = e;
        let (precision, recall) = (e.precision(), e.recall());
        let [mean_precision, mean_recall] = evaluate::mean_edges(&calls.windows);
        json!({ "documented": documented, "found": found, "right": right, "precision": precision, "recall": recall,
            "mean": { "precision": mean_precision, "recall": mean_recall } })
    });
    let outcome = json!({
        "windows": windows.iter().map(window).collect::<Vec<_>>(),
        "mean": (!windows.is_empty()).then(|| mean(windows)),
        "final": score_json(&judged.score),
        "calls": calls,
        "missing": judged.missing,
        "unknown": judged.unknown,
    });
    format!("{outcome}\n")
}

/// A score with its ratios; unlike a mean it counts in whole pairs.
fn score_json(score: &Score) -> serde_json::Value {
    let Score { tp, tn, fp, fn_ } = score;
    let (accuracy, precision, recall, f1) = (score.accuracy(), score.precision(), score.recall(), score.f1());
    json!({ "tp": tp, "tn": tn, "fp": fp, "fn": fn_,
        "accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1 })
}

fn mean(windows: &[(i64, Score)]) -> Measures {
    evaluate::mean(&windows.iter().map(|window| window.1).collect::<Vec<_>>())
}

/// The time for a person, to the second; the number itself if no calendar has it.
fn time(end_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(end_ms);
    time.map_or_else(|_| format!("{end_ms} ms"), |time| time.to_string())
}
