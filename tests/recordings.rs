//! The main job on real recordings: what README claims, held as bounds. The tables come from
//! `cargo bench --bench quality`.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{analyze, recordings};
use lwt::evaluate::Truth;

/// Mean F1 over windows of 300 s that do not overlap, samples of 1 s.
fn mean_f1(name: &str, args: &[&str]) -> Option<f64> {
    let folder = recordings()?;
    let truth =
        Truth::parse(&std::fs::read_to_string(folder.join(format!("{name}.truth.csv"))).unwrap()).unwrap();
    let trace = folder.join(format!("{name}.csv.gz"));
    let args = [&["--period", "1s", "--hop", "5m", "--hysteresis", "1/1"], args].concat();
    let windows = analyze(trace.to_str().unwrap(), &args);
    assert!(windows.len() >= 2, "{name}: {} windows", windows.len());
    Some(
        windows.iter().map(|found| truth.score(found).score.f1().unwrap_or(0.0)).sum::<f64>()
            / windows.len() as f64,
    )
}

fn check(name: &str, args: &[&str], least: f64) {
    if let Some(f1) = mean_f1(name, args) {
        assert!(f1 >= least, "{name} {args:?}: F1 {f1:.3} < {least}");
    }
}

#[test]
fn kmeans_is_as_good_as_the_prototype() {
    check("mix-a", &["--order", "45", "--clusters", "14"], 0.83);
    check("hub-a", &["--order", "45", "--clusters", "13"], 0.60);
    check("cycle-a", &["--order", "45", "--clusters", "12"], 0.93);
}

#[test]
fn the_defaults_are_good_too() {
    check("mix-a", &[], 0.80);
    check("hub-a", &[], 0.58);
    check("cycle-a", &[], 0.93);
    check("hard-a", &[], 0.60);
}
