//! The same input gives the same bytes: with any number of workers, at every vector level, from run to run,
//! and whichever format carried the samples.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use common::{lwt, lwt_ok, recordings};
use lwt::simd::Simd;
use serde_json::{Value, json};

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

/// A simulated trace of which every other host samples every five seconds; VMs come, go and migrate.
fn mixed(folder: &Path) -> String {
    let trace = simulated(folder, "ndjson", "3");
    let (mut told, mut waiting) = (String::new(), BTreeMap::<String, Vec<Value>>::new());
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let host = message["host"].as_str().unwrap().to_string();
        if host.ends_with(['0', '2', '4', '6', '8']) {
            told += &format!("{line}\n");
            continue;
        }
        let last = message["t_ms"].as_u64().unwrap().is_multiple_of(5000);
        let waiting = waiting.entry(host).or_default();
        waiting.push(message);
        if last {
            told.extend(coarse(&std::mem::take(waiting)).map(|message| format!("{message}\n")));
        }
    }
    let path = folder.join("mixed.ndjson").to_str().unwrap().to_string();
    fs::write(&path, told).unwrap();
    path
}

/// Five messages of a host as one; of the VMs that were there in all of them.
fn coarse(five: &[Value]) -> Option<Value> {
    let mut used = BTreeMap::<String, Vec<u64>>::new();
    for vm in five.iter().flat_map(|message| message["vms"].as_array().unwrap()) {
        let values = used.entry(vm["name"].as_str().unwrap().to_string()).or_default();
        match &vm["cpu_ppm"] {
            Value::Array(many) => values.extend(many.iter().map(|ppm| ppm.as_u64().unwrap())),
            one => values.push(one.as_u64().unwrap()),
        }
    }
    let whole = used.iter().filter(|(_, values)| values.len() == 5);
    let vms: Vec<Value> = whole
        .map(|(name, values)| json!({"id": name, "name": name, "cpu_ppm": values.iter().sum::<u64>() / 5}))
        .collect();
    let mut message = five.last().filter(|_| five.len() == 5)?.clone();
    message["period_ms"] = 5000.into();
    message["vms"] = vms.into();
    Some(message)
}

#[test]
fn hosts_that_sample_differently_give_the_same_bytes_with_any_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    let trace = mixed(folder.path());
    let one = analyzed(&trace, &[], &[]);
    assert!(one.lines().count() > 5 && one.contains("\"ensemble\":\"e1\""), "there is something to compare");
    for workers in ["1", "2", "3", "4"] {
        assert!(one == analyzed(&trace, &[], &["--workers", workers]), "{workers} workers make a difference");
    }
    // K-means looks at single ticks only, and says what it refuses.
    let refused = lwt(&["analyze", &trace, "--engine", "kmeans", "--order", "10"]);
    assert!(String::from_utf8_lossy(&refused.stdout).contains(" too_coarse"), "{refused:?}");
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
