//! The same input gives the same bytes: with any number of workers, at every vector level, from run to run,
//! and whichever format carried the samples.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::ffi::OsString;
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

/// The engines, each with what it is told.
const ENGINES: [&[&str]; 2] = [&[], &["--engine", "kmeans", "--order", "10"]];

fn analyzed(trace: &str, engine: &[&str], more: &[&str]) -> String {
    let args = ["analyze", trace, "--format", "json", "--each-window"];
    lwt_ok(&[&args[..], engine, more].concat())
}

/// The same bytes with any number of workers, for both engines.
fn check_workers(trace: &str, more: &[&str]) {
    for engine in ENGINES {
        let one = analyzed(trace, engine, more);
        assert!(
            one.lines().count() > 5 && one.contains("\"ensemble\":\"e1\""),
            "there is something to compare"
        );
        for workers in ["1", "2", "3", "4"] {
            let other = analyzed(trace, engine, &[more, &["--workers", workers]].concat());
            assert!(one == other, "{engine:?}: {workers} workers make a difference");
        }
    }
}

#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "wide", "3");
    check_workers(&trace, &[]);
}

/// More VMs than the sample has from which the engine learns what is usual: it must be the same one everywhere. Of 700
/// fewer are drawn than it has, of 720 more.
#[test]
fn a_park_larger_than_the_sample_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("large.csv").to_str().unwrap().to_string();
    for vms in ["700", "720"] {
        lwt_ok(&["simulate", "--vms", vms, "--seconds", "360", "--seed", "5", "--output", &trace]);
        let [one, three] = ["1", "3"].map(|workers| analyzed(&trace, &[], &["--workers", workers]));
        assert!(one == three, "{vms} VMs: 3 workers make a difference");
    }
}

#[test]
fn every_vector_level_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "wide", "3");
    for engine in ENGINES {
        let portable = analyzed(&trace, engine, &["--simd", "portable"]);
        for level in Simd::available() {
            let name = format!("{level:?}").to_lowercase();
            let other = analyzed(&trace, engine, &["--simd", &name]);
            assert!(portable == other, "{engine:?}: {name} makes a difference");
        }
    }
}

#[test]
fn every_format_gives_the_same_ensembles() {
    let folder = tempfile::tempdir().unwrap();
    // With churn, wide and ndjson carry names; without it, wide and long carry hosts. What happens on one host is
    // something that coupling looks at, so formats of which one has no hosts are the same to K-means alone.
    for (churn, other, engines) in [("3", "ndjson", &ENGINES[1..]), ("0", "long", &ENGINES)] {
        let traces = ["wide", other].map(|format| simulated(folder.path(), format, churn));
        for engine in engines {
            let [wide, other] = [0, 1].map(|i: usize| analyzed(&traces[i], engine, &[]));
            assert!(wide == other, "{engine:?}: {traces:?} differ");
        }
    }
}

#[test]
fn a_pipeline_writes_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let trace = simulated(folder.path(), "ndjson", "12");
    for pipeline in ["pipelines/replay.toml", "pipelines/kmeans.toml"] {
        // A small order: large ones take their time without optimisation.
        let order: &[&str] = if pipeline.contains("kmeans") { &["--set", "engine.order=10"] } else { &[] };
        let out = |workers: &str| replayed(&trace, pipeline, &[order, &["-w", workers]].concat());
        let one = out("1");
        assert!(one.iter().any(|(name, text)| name == "lwt.events.ndjson" && text.contains("lwt.vm.gone")));
        for workers in ["2", "3", "4"] {
            assert!(one == out(workers), "{pipeline}: {workers} workers make a difference");
        }
    }
}

/// What a pipeline writes: the text of each file.
fn replayed(trace: &str, pipeline: &str, more: &[&str]) -> Vec<(OsString, String)> {
    let to = tempfile::tempdir().unwrap();
    let (source, sink) = (format!("source.path={trace}"), format!("sink.path={}", to.path().display()));
    lwt_ok(&[&["run", pipeline, "--set", &source, "--set", &sink], more].concat());
    let files = fs::read_dir(to.path()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.map(|file| (file.file_name().unwrap().to_owned(), fs::read_to_string(file).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_recording_gives_the_same_bytes() {
    let Some(folder) = recordings() else { return };
    check_workers(folder.join("cycle-a.csv.gz").to_str().unwrap(), &["--period", "1s"]);
}
