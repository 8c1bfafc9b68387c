//! What is counted is what is shown.

use super::*;
use crate::dependencies::{Fact, State};
use crate::pipeline::{Summary, Window};
use crate::transport::kafka::source::Batch;
use crate::types::{DeadLetter, Reason, VmId};

fn metrics(publishes: bool) -> Metrics {
    Metrics::new(&About { engine: "coupling", hop_ms: 1_000, workers: 2..4, publishes, start_ms: 500 })
}

/// The lines of `page` that are there, and those that are not.
fn check(page: &str, lines: &[&str], absent: &[&str]) {
    lines.iter().for_each(|line| assert!(page.lines().any(|l| l == *line), "no {line} in\n{page}"));
    absent.iter().for_each(|part| assert!(!page.contains(part), "{part} in\n{page}"));
}

fn batch(open: u64) -> Batch {
    Batch { records: 2, values: 7, lag: 7, lag_ms: 1_500, open, ..Batch::default() }
}

#[test]
fn what_workers_read_is_counted() {
    let metrics = metrics(false);
    assert!(metrics.worker(0).is_none() && metrics.results().is_none() && !metrics.is_ready());
    let worker = metrics.worker(3).unwrap();
    worker.read(&batch(10), 12_000);
    worker.read(&Batch { records: 0, ..batch(10) }, 12_000);
    check(
        &metrics.encode(13_000),
        &["lwt_ready 0"],
        &["lwt_window", "lwt_watermark_age_seconds{worker=\"2\"}"],
    );
    metrics.worker(2).unwrap().read(&Batch { open: u64::MAX, ..Batch::default() }, 12_000);
    let page = metrics.encode(13_000);
    let lines = [
        "lwt_ready 1",
        "lwt_samples_total{worker=\"2\"} 0",
        "lwt_samples_total{worker=\"3\"} 7",
        "lwt_records_total{worker=\"3\"} 2",
        "lwt_lag_records{worker=\"3\"} 7",
        "lwt_lag_seconds{worker=\"3\"} 1.5",
        "lwt_watermark_age_seconds{worker=\"3\"} 3.0",
        "process_start_time_seconds 0.5",
        concat!("lwt_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",engine=\"coupling\"} 1"),
    ];
    check(&page, &lines, &["lwt_watermark_age_seconds{worker=\"2\"}"]);
}

#[test]
fn what_is_published_is_counted() {
    let metrics = metrics(true);
    let results = metrics.results().unwrap();
    check(
        &metrics.encode(800),
        &["lwt_frontier_age_seconds 0.3", "lwt_dead_letters_total{reason=\"late\"} 0"],
        &[],
    );
    let alive = |vm: &str| (Fact::Alive(VmId::new(vm)), 1);
    let pair = (Fact::Pair(VmId::new("a"), VmId::new("b"), None), 1);
    let late = DeadLetter { reason: Reason::Late, origin: String::new(), bytes: vec![] };
    let summary = Summary { judged: 2, idle: 1, refused: vec![late], ..Summary::default() };
    let window = Window {
        end: 10,
        changes: vec![alive("a"), alive("b"), alive("c"), pair],
        summary,
        kept: vec![],
        read: Default::default(),
    };
    let mut state = State::default();
    state.apply(&window.changes);
    results.count_retries(std::sync::Arc::new(5.into()));
    results.published(&Published {
        window: &window,
        state: &state,
        end_ms: 10_000,
        written_ms: (11_000, 11_500),
    });
    let lines = [
        "lwt_windows_total 1",
        "lwt_changes_total 4",
        "lwt_refits_total 2",
        "lwt_dead_letters_total{reason=\"late\"} 1",
        "lwt_window_vms{state=\"idle\"} 1",
        "lwt_vms_held 3",
        "lwt_ensembles_held 0",
        "lwt_dependencies_held 1",
        "lwt_frontier_age_seconds 4.0",
        "lwt_window_latency_seconds_sum 1.5",
        "lwt_window_latency_seconds_bucket{le=\"1.0\"} 0",
        "lwt_window_latency_seconds_bucket{le=\"1.5\"} 1",
        "lwt_transaction_seconds_sum 0.5",
        "lwt_transaction_retries_total 5",
    ];
    check(&metrics.encode(14_000), &lines, &[]);
}

/// From the last worker that closed the pane; the flow is a window behind.
#[test]
fn computing_begins_when_all_was_read() {
    let metrics = metrics(true);
    for (worker, open, at_ms) in [(2, 9, 100), (3, 9, 150), (3, 10, 200), (2, 11, 250), (3, 11, 300)] {
        metrics.worker(worker).unwrap().read(&batch(open), at_ms);
    }
    // Pane 9: worker 2 closed it at 250, with pane 10; worker 3 at 200.
    metrics.computed(10_000, 500);
    check(&metrics.encode(0), &["lwt_window_compute_seconds_sum 0.25"], &[]);
    metrics.computed(12_000, 900);
    check(&metrics.encode(0), &["lwt_window_compute_seconds_count 1"], &[]);
    // What waited for a transaction that ended at 375 took 0.125 s.
    let window = Window {
        end: 9,
        changes: vec![],
        summary: Summary::default(),
        kept: vec![],
        read: Default::default(),
    };
    let (window, state) = (&window, &State::default());
    let published = Published { window, state, end_ms: 9_000, written_ms: (300, 375) };
    metrics.results().unwrap().published(&published);
    metrics.computed(10_000, 500);
    check(&metrics.encode(0), &["lwt_window_compute_seconds_sum 0.375"], &[]);
}

#[test]
fn every_metric_follows_the_conventions() {
    let metrics = metrics(true);
    metrics.worker(2).unwrap().read(&batch(3), 0);
    let page = metrics.encode(0);
    let named = |word: &str| {
        let of = page.lines().filter_map(|line| line.strip_prefix(&format!("# {word} ")));
        of.filter_map(|line| line.split_once(' ')).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (help, kinds) = (named("HELP"), named("TYPE"));
    assert_eq!(help.keys().collect::<Vec<_>>(), kinds.keys().collect::<Vec<_>>());
    assert!(help.len() > 20, "{}", help.len());
    for (name, kind) in kinds {
        let right = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(
            name.chars().all(right) && (name.starts_with("lwt_") || name.starts_with("process_")),
            "{name}"
        );
        assert!(!name.ends_with("_total") && !name.contains("_ms"), "{name}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        assert!(help[name].len() > 10 && !help[name].ends_with(".."), "{name}: {}", help[name]);
    }
}

#[test]
fn what_holds_can_be_scraped() {
    let held = Held::new(3, 1, Some(1_500));
    held.add(("a\"\n", "b"), 500, Some(0.5), Some(0.99));
    held.add(("b", "c"), 1_500, None, None);
    let lines = [
        "lwt_held_vms 3.0",
        "lwt_held_ensembles 1.0",
        "lwt_held_window_end_timestamp_seconds 1.5",
        r#"lwt_dependency_since_timestamp_seconds{a="a\"\n",b="b"} 0.5"#,
        r#"lwt_dependency_since_timestamp_seconds{a="b",b="c"} 1.5"#,
        r#"lwt_dependency_strength{a="a\"\n",b="b"} 0.5"#,
        r#"lwt_dependency_confidence{a="a\"\n",b="b"} 0.99"#,
    ];
    check(&held.encode(), &lines, &[r#"lwt_dependency_strength{a="b""#]);
}
