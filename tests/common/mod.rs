//! What the tests share: the program, the recordings, and a loud word when something is skipped.
#![allow(dead_code)]

pub mod kafka;
pub mod named;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use lwt::types::VmId;
use serde_json::Value;

/// Runs `lwt` with `args`.
pub fn lwt(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lwt")).args(args).output().expect("lwt starts")
}

/// Runs `lwt`, which must succeed, and gives its standard output.
pub fn lwt_ok(args: &[&str]) -> String {
    let output = lwt(args);
    assert!(output.status.success(), "lwt {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

/// The recordings with known truth: beside the project, or where `TRACES` says. Without them the test is
/// skipped, loudly; where `CI` is set it fails.
pub fn recordings() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    let folder = std::env::var_os("TRACES").map_or(beside, PathBuf::from);
    if folder.join("mix-a.csv.gz").exists() {
        return Some(folder);
    }
    let hint = format!(
        "SKIPPED: no recordings in {}; set TRACES to the folder that has mix-a.csv.gz",
        folder.display()
    );
    assert!(std::env::var_os("CI").is_none(), "{hint}");
    // Not eprintln: the test harness would swallow it.
    let _ = writeln!(std::io::stderr(), "\n{hint}\n");
    None
}

/// Runs `lwt analyze` and gives, for each window, the ensembles of each VM.
pub fn analyze(trace: &str, args: &[&str]) -> Vec<BTreeMap<VmId, Vec<String>>> {
    let text = lwt_ok(&[&["analyze", trace, "--format", "json", "--each-window"], args].concat());
    let lines: Vec<&str> = text.lines().collect();
    // The last line is the final state: that of the last window once more.
    lines[..lines.len() - 1].iter().map(|line| found(line)).collect()
}

/// The ensembles of each VM, from one line of `lwt analyze --format json`.
pub fn found(line: &str) -> BTreeMap<VmId, Vec<String>> {
    let object: Value = serde_json::from_str(line).expect("a JSON object a line");
    let assignments = object["assignments"].as_array().expect("assignments");
    let names = |value: &Value| match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        _ => vec![],
    };
    assignments.iter().map(|a| (VmId::new(a["vm"].as_str().expect("a VM")), names(&a["ensemble"]))).collect()
}
