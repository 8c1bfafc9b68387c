//! The main job on real recordings: what README claims, held as bounds. The tables come from
//! `cargo bench --bench quality`.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;
#[path = "common/hosts.rs"]
mod hosts;

use std::path::Path;

use common::{analyze, recordings};
use lwt::evaluate::{Score, Truth, mean};

/// Mean F1 over all windows.
fn mean_f1(name: &str, args: &[&str]) -> Option<f64> {
    let folder = recordings()?;
    f1_of(&folder.join(format!("{name}.csv.gz")), name, args)
}

/// The same of another form of the recording.
fn f1_of(trace: &Path, name: &str, args: &[&str]) -> Option<f64> {
    let folder = recordings()?;
    let truth =
        Truth::parse(&std::fs::read_to_string(folder.join(format!("{name}.truth.csv"))).unwrap()).unwrap();
    let windows = analyze(trace.to_str().unwrap(), args);
    assert!(windows.len() >= 2, "{name}: {} windows", windows.len());
    let scores: Vec<Score> = windows.iter().map(|found| truth.score(found).score).collect();
    mean(&scores).f1
}

fn check(name: &str, args: &[&str], least: f64) {
    if let Some(f1) = mean_f1(name, args) {
        assert!(f1 >= least, "{name} {args:?}: F1 {f1:.3} < {least}");
    }
}

/// The default engine with its defaults, on the recordings' own samples of 100 ms.
fn check_coupling(window: &str, floors: [(&str, f64); 4]) {
    for (name, least) in floors {
        check(name, &["--window", window], least);
    }
}

#[test]
fn coupling_is_right_after_two_minutes() {
    check_coupling("2m", [("mix-a", 0.96), ("hub-a", 0.96), ("cycle-a", 0.96), ("hard-a", 0.95)]);
}

#[test]
fn coupling_is_right_after_five_minutes() {
    check_coupling("5m", [("mix-a", 0.98), ("hub-a", 0.98), ("cycle-a", 0.98), ("hard-a", 0.98)]);
}

/// Every other VM on a host that samples every second, the rest on one that does so every 100 ms; beside that both hosts sample
/// alike. So half of the dependencies are between a finely and a coarsely sampled VM.
#[test]
fn coupling_is_right_where_hosts_sample_differently() {
    let Some(folder) = recordings() else { return };
    let to = tempfile::tempdir().unwrap();
    for name in ["mix-a", "hub-a"] {
        let recording = folder.join(format!("{name}.csv.gz"));
        let f1 = [[100, 100], [100, 1000], [1000, 100], [1000, 1000]].map(|periods_ms| {
            let messages = to.path().join(format!("{name}.ndjson"));
            hosts::divide(&recording, periods_ms, &messages);
            f1_of(&messages, name, &["--window", "5m"]).unwrap()
        });
        println!("{name}: {f1:.3?} where hosts sample every 100, 100; 100, 1000; 1000, 100; 1000, 1000 ms");
        // What a coarsely sampled hub does not show, finely sampled clients do not show either.
        let least = f1[0].min(f1[3]) - 0.03;
        assert!(f1[1].min(f1[2]) >= least, "{name}: F1 {f1:?} < {least}");
    }
}

/// K-means in windows that do not overlap, each by itself, samples of 1 s.
fn check_kmeans(name: &str, args: &[&str], least: f64) {
    let fixed = ["--engine", "kmeans", "--period", "1s", "--hop", "5m", "--hysteresis", "1/1"];
    check(name, &[&fixed, args].concat(), least);
}

#[test]
fn kmeans_is_as_good_as_the_prototype() {
    check_kmeans("mix-a", &["--order", "45", "--clusters", "14"], 0.83);
    check_kmeans("hub-a", &["--order", "45", "--clusters", "13"], 0.60);
    check_kmeans("cycle-a", &["--order", "45", "--clusters", "12"], 0.93);
}

#[test]
fn kmeans_finds_the_number_of_clusters_too() {
    check_kmeans("mix-a", &[], 0.80);
    check_kmeans("hub-a", &[], 0.58);
    check_kmeans("cycle-a", &[], 0.93);
    check_kmeans("hard-a", &[], 0.60);
}
