//! The house rules, executed: who may name whom, which module owns which outside crate, no file that
//! nobody compiles, no long function, no clock but in `main`. Goes by the text of the sources as rustfmt
//! lays it out.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "common/named.rs"]
mod named;

/// Each module, in the order of the flow, with the modules that it may name.
const MODULES: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("simd", &[]),
    ("collect", &["types"]),
    ("transport", &["collect", "types"]),
    ("window", &["simd", "types"]),
    ("model", &["simd", "types", "window"]),
    ("cluster", &["simd", "types"]),
    ("coupling", &["model", "simd", "types", "window"]),
    ("dependencies", &["transport", "types"]),
    ("events", &["dependencies", "transport", "types"]),
    ("perturb", &["dependencies", "transport", "types"]),
    ("decisions", &["dependencies", "perturb", "types"]),
    ("agent", &["collect", "perturb", "types"]),
    ("evaluate", &["types"]),
    ("simulate", &["types"]),
    ("report", &["cluster", "dependencies", "evaluate", "model", "simd", "transport", "types", "window"]),
    (
        "pipeline",
        &[
            "cluster",
            "coupling",
            "decisions",
            "dependencies",
            "model",
            "perturb",
            "simd",
            "transport",
            "types",
            "window",
        ],
    ),
    ("metrics", &["dependencies", "pipeline", "transport", "types"]),
    ("serve", &["decisions", "dependencies", "events", "metrics", "report", "transport", "types"]),
    ("config", &["cluster", "collect", "dependencies", "model", "perturb", "transport", "types"]),
    (
        "cli",
        &[
            "agent",
            "cluster",
            "collect",
            "config",
            "coupling",
            "decisions",
            "dependencies",
            "evaluate",
            "events",
            "metrics",
            "model",
            "perturb",
            "pipeline",
            "report",
            "serve",
            "simd",
            "simulate",
            "transport",
            "types",
            "window",
        ],
    ),
];

/// Each outside crate, with the modules (and what is below them) that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli"]),
    ("base64", &["report::html", "transport::kafka::token", "transport::prometheus"]),
    ("axum", &["serve"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("comfy_table", &["cli", "evaluate"]),
    ("crc32fast", &["perturb::journal", "transport::spool"]),
    ("csv_core", &["evaluate", "transport"]),
    ("dejavu", &["report::raster"]),
    ("differential_dataflow", &["pipeline"]),
    ("ed25519_dalek", &["agent::work", "perturb"]),
    ("flate2", &["transport"]),
    ("glob", &["collect::cgroup", "perturb::rules"]),
    ("indicatif", &["cli"]),
    ("jiff", &["cli", "collect", "config", "events", "serve::ask"]),
    ("memchr", &["collect", "transport"]),
    ("mimalloc", &["main"]),
    ("nalgebra", &["coupling", "model", "report::components"]),
    ("plotters", &["report::chart"]),
    ("prometheus_client", &["metrics"]),
    ("rand", &["cluster", "perturb::code", "perturb::lots", "perturb::plan", "simulate"]),
    ("rand_chacha", &["cluster", "perturb::code", "perturb::lots", "perturb::plan", "simulate"]),
    ("rand_distr", &["simulate"]),
    ("rdkafka", &["transport::kafka"]),
    ("rustix", &["agent::keeper", "cli", "collect::cgroup", "main"]),
    (
        "serde",
        &[
            "agent",
            "cli",
            "cluster",
            "config",
            "coupling",
            "decisions",
            "dependencies",
            "evaluate",
            "events",
            "perturb",
            "pipeline",
            "serve",
            "transport",
            "types",
            "window",
        ],
    ),
    (
        "serde_json",
        &[
            "agent",
            "cli",
            "decisions",
            "evaluate",
            "events",
            "perturb",
            "pipeline",
            "serve",
            "simulate",
            "transport",
        ],
    ),
    ("sha2", &["report::html"]),
    ("signal_hook", &["cli"]),
    ("statrs", &["coupling", "perturb::response"]),
    ("strsim", &["cli", "config"]),
    (
        "thiserror",
        &[
            "agent",
            "cluster",
            "collect",
            "config",
            "coupling",
            "decisions",
            "dependencies",
            "evaluate",
            "model",
            "perturb",
            "pipeline",
            "report",
            "serve",
            "simulate",
            "transport",
            "window",
        ],
    ),
    ("timely", &["pipeline"]),
    ("tiny_skia", &["report::raster"]),
    ("tokio", &["serve"]),
    ("tokio_stream", &["serve"]),
    ("toml", &["config"]),
    ("tracing", &["cli", "serve", "transport::kafka"]),
    ("tracing_subscriber", &["cli::logs"]),
    ("ttf_parser", &["report::raster"]),
    ("ureq", &["transport::prometheus"]),
    ("zstd", &["transport"]),
];

const LONGEST_FUNCTION: usize = 70;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of `src`, with its module and its text.
fn sources() -> Vec<(PathBuf, String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let (src, mut found) = (root().join("src"), vec![]);
    walk(&src, &mut found);
    found.sort();
    let module = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
    };
    found.into_iter().map(|path| (path.clone(), module(&path), fs::read_to_string(path).unwrap())).collect()
}

/// Whether the file at `path` is the module `owner` or below it.
fn is_within(path: &Path, owner: &str) -> bool {
    let home = root().join("src").join(owner.replace("::", "/"));
    path == home.with_extension("rs") || path.starts_with(home)
}

/// The lines of code, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")))
}

/// The names that follow `prefix` in a line: `crate::a`, `crate::{a::b, c}`.
fn named_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let name = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
    line.match_indices(prefix)
        .map(|(at, _)| name(&line[at + prefix.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether `line` names the crate `name` as a path's first part.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

#[test]
fn modules_name_only_what_stands_before_them() {
    let mut wrong = vec![];
    for (path, module, text) in sources() {
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = MODULES
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is not in the table"))
            .1;
        for (n, line) in code(&text) {
            assert!(!line.contains("use crate::{"), "{}:{n}: one line a module, please", path.display());
            for name in named_after(line, "crate::") {
                if name != module && !allowed.contains(&name) {
                    wrong.push(format!("{}:{n}: {module} must not name {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_outside_crate_has_its_owners() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let listed: BTreeSet<String> = dependencies
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .collect();
    let owned: BTreeSet<String> = CRATES.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(listed, owned, "Cargo.toml and the table of crates");
    let (mut wrong, mut used) = (vec![], BTreeSet::new());
    for (path, module, text) in sources() {
        for (n, line) in code(&text) {
            for (name, owners) in CRATES.iter().filter(|(name, _)| names_crate(line, name)) {
                used.insert(name.to_string());
                if !owners.iter().any(|owner| is_within(&path, owner)) {
                    wrong.push(format!("{}:{n}: {module} must not name {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(used, owned, "every dependency is used");
}

#[test]
fn every_file_is_compiled_and_says_what_it_is_for() {
    let sources = sources();
    for (path, _, text) in &sources {
        assert!(text.starts_with("//! "), "{} opens with what it is for", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "main" || name == "lib" {
            continue;
        }
        let folder = path.parent().unwrap();
        let parent =
            if folder.ends_with("src") { folder.join("lib.rs") } else { folder.with_extension("rs") };
        let parent = sources
            .iter()
            .find(|(p, ..)| *p == parent)
            .unwrap_or_else(|| panic!("{} has no parent", path.display()));
        let declared = parent.2.lines().any(|line| {
            line.trim_start_matches("pub ").trim_start_matches("pub(crate) ") == format!("mod {name};")
        });
        assert!(declared, "{} is not compiled", path.display());
    }
}

#[test]
fn functions_are_short() {
    let mut wrong = vec![];
    for (path, _, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let is_fn = head.split('(').next().is_some_and(|h| h.split(' ').any(|word| word == "fn"));
            if !is_fn || head.starts_with("//") || line.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = if line.ends_with('}') {
                1
            } else {
                1 + lines[at..].iter().position(|l| **l == end).unwrap_or(0)
            };
            if length > LONGEST_FUNCTION {
                wrong.push(format!("{}:{}: {length} lines", path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_main_reads_the_clock_and_the_environment() {
    for (path, module, text) in sources() {
        for (n, line) in code(&text) {
            let reads =
                ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "env::var", "env::args"];
            let found = reads.iter().find(|read| line.contains(**read));
            assert!(module == "main" || found.is_none(), "{}:{n}: {found:?}", path.display());
        }
    }
}

#[test]
fn every_pipeline_file_is_right() {
    let files: Vec<_> = fs::read_dir(root().join("pipelines")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!files.is_empty());
    for path in files {
        let mut raw = lwt::config::RawConfig::default();
        raw.set_file(&fs::read_to_string(&path).unwrap(), path.to_str().unwrap()).unwrap();
        raw.prove().unwrap();
    }
}

#[test]
fn every_metric_that_dashboards_and_alerts_name_exists() {
    let about =
        lwt::metrics::About { engine: "coupling", hop_ms: 1000, workers: 0..1, publishes: true, start_ms: 0 };
    let metrics = lwt::metrics::Metrics::new(&about);
    let batch = lwt::transport::kafka::source::Batch { open: 1, ..Default::default() };
    metrics.worker(0).unwrap().read(&batch, 1000);
    let state = lwt::dependencies::State::default();
    let window = lwt::pipeline::Window {
        end: 1,
        changes: vec![],
        summary: Default::default(),
        kept: vec![],
        read: Default::default(),
    };
    let (window, state) = (&window, &state);
    metrics.results().unwrap().published(&lwt::metrics::Published {
        window,
        state,
        end_ms: 1000,
        written_ms: (1000, 1000),
    });
    named::check(&[metrics.encode(2000)]);
}
