//! A foreign client, `kcat`, writes samples as a collector would, and reads what `lwt run` makes of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::{start, stop};
use crate::world::{client, now_ms};

const FLEET: Fleet = Fleet { vms: 24, period_ms: 100, partitions: 1, grain: 1 };
const SECONDS: i64 = 60;

/// kcat, or none without it: that is said loudly, and where `CI` is set it is a failure.
fn kcat(arguments: &[&str]) -> Option<Child> {
    let kcat = Command::new("kcat").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    if kcat.is_err() {
        let hint = "SKIPPED: no foreign client without kcat: apt-get install kcat";
        assert!(std::env::var_os("CI").is_none(), "{hint}");
        let _ = writeln!(std::io::stderr(), "\n{hint}\n");
    }
    kcat.ok()
}

/// The messages of the next seconds, a line each, in order.
fn messages(start_s: i64) -> String {
    let (vms, seconds, start) = (FLEET.vms.to_string(), SECONDS.to_string(), start_s.to_string());
    let simulate = ["simulate", "--vms", &vms, "--seconds", &seconds, "--start", &start];
    let format = ["--format", "ndjson", "--period", "100ms"];
    let mut lwt = Command::new(env!("CARGO_BIN_EXE_lwt"));
    String::from_utf8(lwt.args(simulate).args(format).output().unwrap().stdout).unwrap()
}

#[test]
fn a_foreign_client_writes_samples_and_reads_results() {
    let Some(broker) = broker() else { return };
    let (client, log, address) = (client(broker), unique("foreign"), broker.address("PLAINTEXT"));
    let pipeline = Pipeline::new(broker, &log, FLEET, Windows { length_ms: 30_000, hop_ms: 3_000 });
    // -l would wait for more: without a buffer each line is sent as it comes.
    let Some(mut writer) = kcat(&["-P", "-u", "-b", address, "-t", &log, "-X", "linger.ms=0"]) else {
        return;
    };
    let running = start(&pipeline, 1, 1);
    let mut lines = writer.stdin.take().unwrap();
    for line in messages(now_ms() / 1000).lines() {
        let t_ms = serde_json::from_str::<Value>(line).unwrap()["t_ms"].as_i64().unwrap();
        thread::sleep(Duration::from_millis((t_ms - now_ms()).max(0) as u64));
        writeln!(lines, "{line}").unwrap();
    }
    drop(lines);
    assert!(writer.wait().unwrap().success());
    pipeline.wait_for(&client, pipeline.due(now_ms()) - 3_000);
    stop(running);

    let read = |topic: &str| {
        let committed = ["-X", "isolation.level=read_committed"];
        let all = ["-C", "-b", address, "-t", pipeline.topic(topic), "-e", "-q", "-o", "beginning"];
        let done = kcat(&[&all[..], &committed].concat()).unwrap().wait_with_output().unwrap();
        assert!(done.status.success(), "{topic}");
        String::from_utf8(done.stdout).unwrap()
    };
    let parsed = |text: String| {
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let events = parsed(read("events"));
    let types: BTreeSet<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for expected in
        ["lwt.window.completed", "lwt.dependency.appeared", "lwt.ensemble.joined", "lwt.vm.appeared"]
    {
        assert!(types.contains(expected), "{expected} is not among {types:?}");
    }
    assert!(events.iter().all(|event| event["specversion"] == "1.0" && event["id"].is_string()));
    let dependencies = parsed(read("dependencies"));
    assert!(
        dependencies.iter().all(|d| d["v"] == 1 && d["a"].as_str() < d["b"].as_str()),
        "{dependencies:?}"
    );
    assert!(!dependencies.is_empty());
}
