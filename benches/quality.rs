//! How good the detection is, on the recordings with known truth; passive, nothing is tuned here. First the methods
//! beside each other, windows of 300 s, samples of 1 s; then the coupling engine by window and sampling period, and
//! its direct dependencies against the documented calls; then K-means: the paper's Table 1, its Figure 5 (accuracy
//! against the order) and its Figure 4 (plain correlation), and how often the number of clusters is found.
//!
//!     cargo bench --bench quality            prints Markdown
//!     TRACES=folder cargo bench --bench quality

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;

use common::{lwt_ok, recordings};
use flate2::read::MultiGzDecoder;
use lwt::evaluate::{self, Edges, Found, Score, Truth, share};
use lwt::transport::file::{Batch, Options, Progress, Trace};
use lwt::types::VmId;

const NAMES: [&str; 4] = ["mix-a", "hub-a", "cycle-a", "hard-a"];

fn main() {
    let Some(folder) = recordings() else { return };
    let all: Vec<Recording> = NAMES.iter().map(|name| Recording::open(&folder, name)).collect();
    methods(&all);
    coupling(&all);
    println!("\nK-means as in the paper: AR(45), as many clusters as there are ensembles.\n");
    table(&all, paper);
    println!("\nK-means with its defaults: the number of clusters is found.\n");
    table(&all, |_| vec![]);
    println!("\nThe same, the order chosen by AICc.\n");
    table(&all, |_| vec!["--order".into(), "auto".into()]);
    figure_5(&all);
    figure_4(&all);
}

/// A recording, and what is true of it.
struct Recording {
    name: &'static str,
    trace: String,
    truth: Truth,
    /// Documented calls.
    edges: Edges,
    /// Ensembles, and those of them with two members or more.
    ensembles: usize,
    shared: usize,
}

impl Recording {
    fn open(folder: &Path, name: &'static str) -> Self {
        let read = |end: &str| {
            std::fs::read_to_string(folder.join(format!("{name}.{end}")))
                .expect("a file beside the recording")
        };
        let text = read("truth.csv");
        let mut sizes = BTreeMap::<&str, usize>::new();
        let columns = text.lines().skip(1).filter_map(|line| line.split(',').nth(1));
        columns.flat_map(|of| of.split('|')).for_each(|ensemble| *sizes.entry(ensemble).or_default() += 1);
        Recording {
            name,
            trace: folder.join(format!("{name}.csv.gz")).to_str().expect("a UTF-8 path").to_string(),
            truth: Truth::parse(&text).expect("a truth file"),
            edges: Edges::parse(&read("edges.csv")).expect("a file of edges"),
            ensembles: sizes.len(),
            shared: sizes.values().filter(|size| **size > 1).count(),
        }
    }

    fn score(&self, windows: &[Found]) -> Vec<Score> {
        windows.iter().map(|found| self.truth.score(&found.assignments).score).collect()
    }

    fn text(&self) -> String {
        let file = std::fs::File::open(&self.trace).expect("a recording");
        let mut text = String::new();
        MultiGzDecoder::new(file).read_to_string(&mut text).expect("a recording");
        text
    }

    /// The same VMs on three hosts, whose samplers read the counters 0, 90 and 170 ms late, and 0, 20 and 40 us later every
    /// second.
    fn skewed(&self) -> tempfile::NamedTempFile {
        const LATE_S: [f64; 3] = [0.0, 0.09, 0.17];
        const DRIFT: f64 = 2e-5;
        let text = self.text();
        let (header, rows) = text.split_once('\n').expect("a header");
        let number = |cell: &str| cell.parse::<f64>().expect("a number");
        let rows: Vec<Vec<f64>> = rows.lines().map(|row| row.split(',').map(number).collect()).collect();
        let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a temporary file");
        let names =
            header.split(',').skip(1).enumerate().map(|(i, vm)| format!("h{}/{vm}", i % LATE_S.len()));
        writeln!(file, "t,{}", names.collect::<Vec<_>>().join(",")).expect("room for it");
        for (i, row) in rows.iter().enumerate() {
            let (t, lasted) = (row[0], row[0] - rows[0][0]);
            let cell = |column: usize| {
                let host = (column - 1) % LATE_S.len();
                let at = t + LATE_S[host] + DRIFT * host as f64 * lasted;
                let next = i + rows[i..].partition_point(|row| row[0] <= at);
                let (before, after) = (&rows[next - 1], rows.get(next).unwrap_or(&rows[next - 1]));
                let share = (at - before[0]) / (after[0] - before[0]).max(1e-9);
                (before[column] + share.min(1.0) * (after[column] - before[column])).round().to_string()
            };
            let cells: Vec<String> = (1..row.len()).map(cell).collect();
            writeln!(file, "{t:.4},{}", cells.join(",")).expect("room for it");
        }
        file
    }

    /// Every window of 300 s as a trace of its own, which nothing before it can help.
    fn alone(&self) -> Vec<Found> {
        let text = self.text();
        let (header, rows) = text.split_once('\n').expect("a header");
        let time = |row: &str| row.split(',').next().and_then(|t| t.parse::<f64>().ok()).expect("a time");
        let rows: Vec<(f64, &str)> = rows.lines().map(|row| (time(row), row)).collect();
        let (from, to) = (rows[0].0, rows[rows.len() - 1].0);
        let windows = 1 + ((to - from - 290.0) / 300.0) as usize;
        let cut = |window: usize| {
            // To the end of the second in which it ends: its last sample must be whole.
            let from = from + 300.0 * window as f64;
            let inside = rows.iter().filter(|(t, _)| (from..from + 301.5).contains(t));
            let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a temporary file");
            writeln!(file, "{header}").expect("room for it");
            inside.for_each(|(_, row)| writeln!(file, "{row}").expect("room for it"));
            let args = ["--counters", "--period", "1s", "--hop", "5m", "--hysteresis", "1/1"];
            analyze(file.path().to_str().expect("a UTF-8 path"), &args).remove(0)
        };
        (0..windows).map(cut).collect()
    }
}

/// What `lwt analyze` finds in each window.
fn analyze(trace: &str, args: &[&str]) -> Vec<Found> {
    let text = lwt_ok(&[&["analyze", trace, "--format", "json", "--each-window"], args].concat());
    let lines = text.lines().enumerate();
    let found = lines.map(|(i, line)| Found::parse_line(i + 1, line).expect("a result").expect("an object"));
    found.filter(|found| found.window_end_ms.is_some()).collect()
}

/// K-means in every window by itself (no hysteresis), samples of 1 s.
fn kmeans(recording: &Recording, args: &[String]) -> Vec<Found> {
    let fixed =
        ["--engine", "kmeans", "--period", "1s", "--window", "5m", "--hop", "5m", "--hysteresis", "1/1"];
    let args: Vec<&str> = fixed.into_iter().chain(args.iter().map(String::as_str)).collect();
    analyze(&recording.trace, &args)
}

/// As in the paper, the number of ensembles given.
fn paper(recording: &Recording) -> Vec<String> {
    vec!["--order".into(), "45".into(), "--clusters".into(), recording.ensembles.to_string()]
}

/// The head of a table with a column a recording.
fn head(first: &str) {
    println!("| {first} | {} |\n|---{}|", NAMES.join(" | "), "|---".repeat(NAMES.len()));
}

fn row(first: &str, all: &[Recording], cell: impl Fn(&Recording) -> String) {
    println!("| {first} | {} |", all.iter().map(cell).collect::<Vec<_>>().join(" | "));
}

fn methods(all: &[Recording]) {
    let f1 = |scores: Vec<Score>| share(evaluate::mean(&scores).f1);
    println!("\nF1 over pairs, mean over windows of 300 s, samples of 1 s.\n");
    head("method");
    row("K-means on AR(45), K given", all, |of| f1(of.score(&kmeans(of, &paper(of)))));
    row("correlation > 0.9", all, |of| f1(correlated(of, 0.9)));
    row("correlation > 0.6", all, |of| f1(correlated(of, 0.6)));
    row("coupling, each window by itself", all, |of| f1(of.score(&of.alone())));
    row("coupling with its defaults: every minute, with evidence from before", all, |of| {
        f1(of.score(&analyze(&of.trace, &["--period", "1s"])))
    });
}

/// What `lwt analyze` does without being told anything but the window and the sampling period.
fn coupling(all: &[Recording]) {
    println!(
        "\nCoupling with its defaults: F1, and how many pairs are wrong + missing; means over all windows.\n"
    );
    head("window, samples");
    for (window, period) in ["2m", "5m", "10m"].into_iter().flat_map(|w| [(w, "100ms"), (w, "1s")]) {
        row(&format!("{window}, {period}"), all, |of| {
            let windows = analyze(&of.trace, &["--window", window, "--period", period]);
            let mean = evaluate::mean(&of.score(&windows));
            format!("{} ({:.1} + {:.1})", share(mean.f1), mean.fp, mean.fn_)
        });
    }
    println!(
        "\nOn three hosts whose clocks are 0, 90 and 170 ms fast, and 0, 20 and 40 us faster each second: F1.\n"
    );
    head("window, samples");
    for (window, period) in [("2m", "100ms"), ("5m", "100ms"), ("5m", "1s")] {
        row(&format!("{window}, {period}"), all, |of| {
            let skewed = of.skewed();
            let trace = skewed.path().to_str().expect("a UTF-8 path");
            let windows = analyze(trace, &["--counters", "--window", window, "--period", period]);
            share(evaluate::mean(&of.score(&windows)).f1)
        });
    }
    println!("\nIts direct dependencies against the documented calls: precision / recall, windows of 5m.\n");
    head("samples");
    for period in ["100ms", "1s"] {
        row(period, all, |of| {
            let windows = analyze(&of.trace, &["--period", period]);
            let told = windows.iter().flat_map(|found| &found.dependencies).any(|one| one.direct.is_some());
            let scored = windows.iter().filter(|_| told).map(|found| of.edges.score(&found.dependencies));
            evaluate::mean_edges(&scored.collect::<Vec<_>>()).map(share).join(" / ")
        });
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

fn table(all: &[Recording], args: impl Fn(&Recording) -> Vec<String>) {
    println!(
        "| recording | windows | TP | TN | FP | FN | accuracy | precision | recall | F1 | ensembles found | true | exactly right |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for of in all {
        let windows = kmeans(of, &args(of));
        let ensembles = |found: &Found| found.assignments.values().flatten().collect::<BTreeSet<_>>().len();
        let found: Vec<usize> = windows.iter().map(ensembles).collect();
        let m = evaluate::mean(&of.score(&windows));
        let [accuracy, precision, recall, f1] = [m.accuracy, m.precision, m.recall, m.f1].map(share);
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {accuracy} | {precision} | {recall} | {f1} | {:.1} | {} | {} of {} |",
            of.name,
            windows.len(),
            m.tp,
            m.tn,
            m.fp,
            m.fn_,
            mean(found.iter().map(|n| *n as f64)),
            of.shared,
            found.iter().filter(|n| **n == of.shared).count(),
            windows.len(),
        );
    }
}

/// Accuracy and F1, means over windows.
fn accuracy_and_f1(scores: &[Score]) -> String {
    let mean = evaluate::mean(scores);
    format!("{} / {}", share(mean.accuracy), share(mean.f1))
}

fn figure_5(all: &[Recording]) {
    println!(
        "\nThe paper's Figure 5: accuracy / F1 against the order p, as many clusters as there are ensembles.\n"
    );
    head("p");
    for order in [5, 10, 20, 30, 40, 45, 50, 60, 80, 100] {
        row(&order.to_string(), all, |of| {
            let args = ["--order".into(), order.to_string(), "--clusters".into(), of.ensembles.to_string()];
            accuracy_and_f1(&of.score(&kmeans(of, &args)))
        });
    }
}

fn figure_4(all: &[Recording]) {
    println!(
        "\nThe paper's Figure 4: two VMs depend on each other when their CPU use correlates above the cut-off.\n"
    );
    head("cut-off");
    for cutoff in [0.9, 0.6] {
        row(&cutoff.to_string(), all, |of| accuracy_and_f1(&correlated(of, cutoff)));
    }
}

/// Pairs whose CPU use correlates above `cutoff`, in each window of 300 s.
fn correlated(recording: &Recording, cutoff: f64) -> Vec<Score> {
    let (vms, rows) = matrix(&recording.trace);
    let windows =
        (0..=rows.len().saturating_sub(290) / 300).map(|w| w * 300..(w * 300 + 300).min(rows.len()));
    windows.map(|window| correlated_in(&vms, &rows[window], &recording.truth, cutoff)).collect()
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

fn correlated_in(vms: &[VmId], rows: &[Vec<f64>], truth: &Truth, cutoff: f64) -> Score {
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
