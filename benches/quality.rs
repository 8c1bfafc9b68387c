//! How good the detection is, on the recordings with known truth: the paper's Table 1, its Figure 5 (accuracy
//! against the order) and its Figure 4 (plain correlation), and how often the number of clusters is found.
//! Passive; windows of 300 s that do not overlap, samples of 1 s; nothing is tuned here.
//!
//!     cargo bench --bench quality            prints Markdown
//!     TRACES=folder cargo bench --bench quality

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{analyze, recordings};
use lwt::evaluate::{Score, Truth};
use lwt::transport::file::{Batch, Options, Progress, Trace};
use lwt::types::VmId;

const NAMES: [&str; 4] = ["mix-a", "hub-a", "cycle-a", "hard-a"];

fn main() {
    let Some(folder) = recordings() else { return };
    let truths: Vec<Known> = NAMES.iter().map(|name| truth(&folder, name)).collect();
    println!("\nK-means as in the paper: AR(45), as many clusters as there are ensembles.\n");
    table(&folder, &truths, |truth| {
        vec!["--order".into(), "45".into(), "--clusters".into(), truth.ensembles.to_string()]
    });
    println!("\nK-means with its defaults: the number of clusters is found.\n");
    table(&folder, &truths, |_| vec![]);
    println!("\nThe same, the order chosen by AICc.\n");
    table(&folder, &truths, |_| vec!["--order".into(), "auto".into()]);
    figure_5(&folder, &truths);
    figure_4(&folder, &truths);
}

/// What is true of a recording.
struct Known {
    truth: Truth,
    /// Ensembles, and those of them with two members or more.
    ensembles: usize,
    shared: usize,
}

fn truth(folder: &Path, name: &str) -> Known {
    let text = std::fs::read_to_string(folder.join(format!("{name}.truth.csv"))).expect("a truth file");
    let mut sizes = BTreeMap::<&str, usize>::new();
    let columns = text.lines().skip(1).filter_map(|line| line.split(',').nth(1));
    columns.flat_map(|of| of.split('|')).for_each(|ensemble| *sizes.entry(ensemble).or_default() += 1);
    let shared = sizes.values().filter(|size| **size > 1).count();
    Known { truth: Truth::parse(&text).expect("a truth file"), ensembles: sizes.len(), shared }
}

fn trace(folder: &Path, name: &str) -> String {
    folder.join(format!("{name}.csv.gz")).to_str().expect("a UTF-8 path").to_string()
}

/// Scores of every window by itself (no hysteresis), and how many ensembles of two or more were found.
fn windows(trace: &str, truth: &Truth, args: &[String]) -> Vec<(Score, usize)> {
    let fixed =
        ["--engine", "kmeans", "--period", "1s", "--window", "5m", "--hop", "5m", "--hysteresis", "1/1"];
    let args: Vec<&str> = fixed.into_iter().chain(args.iter().map(String::as_str)).collect();
    let found = analyze(trace, &args);
    let count = |found: &BTreeMap<VmId, Vec<String>>| found.values().flatten().collect::<BTreeSet<_>>().len();
    found.iter().map(|found| (truth.score(found).score, count(found))).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

fn table(folder: &Path, truths: &[Known], args: impl Fn(&Known) -> Vec<String>) {
    println!(
        "| recording | windows | TP | TN | FP | FN | accuracy | precision | recall | F1 | ensembles found | true | exactly right |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (name, truth) in NAMES.iter().zip(truths) {
        let scored = windows(&trace(folder, name), &truth.truth, &args(truth));
        let of = |f: fn(&Score) -> f64| mean(scored.iter().map(|(score, _)| f(score)));
        let counts = [
            |s: &Score| s.tp as f64,
            |s: &Score| s.tn as f64,
            |s: &Score| s.fp as f64,
            |s: &Score| s.fn_ as f64,
        ];
        let [tp, tn, fp, fn_] = counts.map(of);
        let accuracy = of(|s| s.accuracy().unwrap_or(f64::NAN));
        let (precision, recall, f1) = (
            of(|s| s.precision().unwrap_or(0.0)),
            of(|s| s.recall().unwrap_or(0.0)),
            of(|s| s.f1().unwrap_or(0.0)),
        );
        let found = mean(scored.iter().map(|(_, n)| *n as f64));
        let windows = scored.len();
        let right = scored.iter().filter(|(_, n)| *n == truth.shared).count();
        println!(
            "| {name} | {windows} | {tp:.1} | {tn:.1} | {fp:.1} | {fn_:.1} | {accuracy:.3} | {precision:.3} | {recall:.3} | {f1:.3} | {found:.1} | {} | {right} of {windows} |",
            truth.shared
        );
    }
}

fn figure_5(folder: &Path, truths: &[Known]) {
    println!(
        "\nThe paper's Figure 5: accuracy / F1 against the order p, as many clusters as there are ensembles.\n"
    );
    println!("| p | {} |\n|---{}|", NAMES.join(" | "), "|---".repeat(NAMES.len()));
    for order in [5, 10, 20, 30, 40, 45, 50, 60, 80, 100] {
        let cells = NAMES.iter().zip(truths).map(|(name, truth)| {
            let args =
                ["--order".into(), order.to_string(), "--clusters".into(), truth.ensembles.to_string()];
            let scored = windows(&trace(folder, name), &truth.truth, &args);
            let accuracy = mean(scored.iter().map(|(s, _)| s.accuracy().unwrap_or(f64::NAN)));
            format!("{accuracy:.3} / {:.3}", mean(scored.iter().map(|(s, _)| s.f1().unwrap_or(0.0))))
        });
        println!("| {order} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn figure_4(folder: &Path, truths: &[Known]) {
    println!(
        "\nThe paper's Figure 4: two VMs depend on each other when their CPU use correlates above the cut-off.\n"
    );
    println!("| cut-off | {} |\n|---{}|", NAMES.join(" | "), "|---".repeat(NAMES.len()));
    for cutoff in [0.9, 0.6] {
        let cells = NAMES.iter().zip(truths).map(|(name, truth)| {
            let (vms, use_) = matrix(&trace(folder, name));
            let scores: Vec<Score> = (0..=use_.len().saturating_sub(290) / 300)
                .map(|w| {
                    correlated(&vms, &use_[w * 300..(w * 300 + 300).min(use_.len())], &truth.truth, cutoff)
                })
                .collect();
            let accuracy = mean(scores.iter().map(|s| s.accuracy().unwrap_or(f64::NAN)));
            format!("{accuracy:.3} / {:.3}", mean(scores.iter().map(|s| s.f1().unwrap_or(0.0))))
        });
        println!("| {cutoff} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

/// The VMs and, for each tick of 1 s, what each of them used.
fn matrix(path: &str) -> (Vec<VmId>, Vec<Vec<f64>>) {
    let options = Options { period_ms: Some(1000), ..Options::default() };
    let mut trace = Trace::open(Path::new(path), options).expect("a trace");
    let (mut batch, mut ticks) = (Batch::default(), BTreeMap::<i64, BTreeMap<VmId, f64>>::new());
    loop {
        let progress = trace.read(&mut batch).expect("a trace");
        for run in batch.samples.drain(..) {
            for (i, ppm) in run.cpu_ppm.iter().enumerate() {
                ticks.entry(run.first + i as i64).or_default().insert(run.vm.clone(), f64::from(*ppm));
            }
        }
        if matches!(progress, Progress::End) {
            break;
        }
    }
    let vms: Vec<VmId> = ticks.values().next().expect("a tick").keys().cloned().collect();
    let rows = ticks
        .values()
        .map(|row| vms.iter().map(|vm| row.get(vm).copied().unwrap_or(0.0)).collect())
        .collect();
    (vms, rows)
}

fn correlated(vms: &[VmId], rows: &[Vec<f64>], truth: &Truth, cutoff: f64) -> Score {
    let unit = |v: usize| {
        let column: Vec<f64> = rows.iter().map(|row| row[v]).collect();
        let mean = mean(column.iter().copied());
        let norm = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt().max(1e-9);
        column.into_iter().map(|x| (x - mean) / norm).collect::<Vec<f64>>()
    };
    let units: Vec<Vec<f64>> = (0..vms.len()).map(unit).collect();
    let correlation = |i: usize, j: usize| units[i].iter().zip(&units[j]).map(|(x, y)| x * y).sum::<f64>();
    // A pair is an ensemble of two here, so a VM is in as many as it has partners.
    let mut found: BTreeMap<VmId, Vec<String>> = vms.iter().map(|vm| (vm.clone(), vec![])).collect();
    for i in 0..vms.len() {
        for j in (i + 1..vms.len()).filter(|j| correlation(i, *j) > cutoff) {
            for v in [i, j] {
                found.entry(vms[v].clone()).or_default().push(format!("{i}-{j}"));
            }
        }
    }
    truth.score(&found).score
}
