//! The same input gives the same bytes: with any number of workers, at every vector level, from run to run,
//! and whichever format carried the samples.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::path::Path;

use common::{lwt_ok, recordings};
use lwt::simd::Simd;

/// A simulated trace in `format`; with `churn`, VMs come, go and migrate.
fn simulated(folder: &Path, format: &str, churn: &str) -> String {
    let path = folder.join(format!("trace.{format}")).to_str().unwrap().to_string();
    let args = ["simulate", "--vms", "60", "--seconds", "1200", "--seed", "3"];
    lwt_ok(&[&args[..], &["--churn", churn, "--format", format, "--output", &path]].concat());
    path
}

fn analyzed(trace: &str, more: &[&str]) -> String {
    let args = ["analyze", trace, "--format", "json", "--each-window", "--order", "10"];
    lwt_ok(&[&args[..], more].concat())
}

#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "wide", "3");
    let one = analyzed(&trace, &["--workers", "1"]);
    assert!(one.lines().count() > 10 && one.contains("\"ensemble\":\"e1\""), "there is something to compare");
    for workers in ["1", "2", "4"] {
        assert_eq!(one, analyzed(&trace, &["--workers", workers]), "{workers} workers");
    }
}

#[test]
fn every_vector_level_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "wide", "3");
    let portable = analyzed(&trace, &["--simd", "portable", "--order", "30"]);
    for level in Simd::available() {
        let name = format!("{level:?}").to_lowercase();
        assert_eq!(portable, analyzed(&trace, &["--simd", &name, "--order", "30"]), "{name}");
    }
}

#[test]
fn every_format_gives_the_same_ensembles() {
    let folder = tempfile::tempdir().unwrap();
    // With churn, wide and ndjson carry names; without it, wide and long carry hosts.
    for (churn, other) in [("3", "ndjson"), ("0", "long")] {
        let wide = analyzed(&simulated(folder.path(), "wide", churn), &[]);
        assert_eq!(wide, analyzed(&simulated(folder.path(), other, churn), &[]), "{other}");
    }
}

#[test]
fn a_pipeline_writes_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "ndjson", "12");
    let out = |workers: &str| {
        let to = folder.path().join(format!("out-{workers}"));
        let (source, sink) = (format!("source.path={trace}"), format!("sink.path={}", to.display()));
        lwt_ok(&[
            "run",
            "pipelines/replay.toml",
            "--set",
            &source,
            "--set",
            &sink,
            "--set",
            "engine.order=10",
            "-w",
            workers,
        ]);
        let mut files: Vec<_> = fs::read_dir(to).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .map(|f| (f.file_name().unwrap().to_owned(), fs::read_to_string(f).unwrap()))
            .collect::<Vec<_>>()
    };
    let one = out("1");
    assert!(one.iter().any(|(name, text)| name == "lwt.events.ndjson" && text.contains("lwt.vm.gone")));
    for workers in ["2", "4"] {
        assert_eq!(one, out(workers), "{workers} workers");
    }
}

#[test]
fn a_recording_gives_the_same_bytes() {
    let Some(folder) = recordings() else { return };
    let trace = folder.join("cycle-a.csv.gz").to_str().unwrap().to_string();
    let one = analyzed(&trace, &["--period", "1s"]);
    for workers in ["2", "4"] {
        assert_eq!(one, analyzed(&trace, &["--period", "1s", "--workers", workers]), "{workers} workers");
    }
}
