//! What a running service says of itself: counters and gauges, which are handed around and never global, and whether it
//! is alive and ready. This is the list of all metrics. No clock: whoever counts or asks says when it is.
//!
//! Labels have few values: workers are at most 256 threads times the processes, reasons and states are fixed.

use std::ops::Range;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

mod held;
mod process;
mod results;
mod worker;

pub use held::Held;
pub use results::{Published, Results};
pub use worker::Worker;

/// One label.
type Label = [(&'static str, String); 1];
/// Seconds, shares.
type Real = Gauge<f64, AtomicU64>;

/// What a process is.
pub struct About {
    /// The engine that finds dependencies.
    pub engine: &'static str,
    /// How far windows slide, milliseconds.
    pub hop_ms: i64,
    /// The workers of this process, of all.
    pub workers: Range<usize>,
    /// Whether it is the one that publishes windows.
    pub publishes: bool,
    /// When it started, Unix milliseconds.
    pub start_ms: i64,
}

/// The metrics of one process, and whether it is ready.
pub struct Metrics {
    registry: Registry,
    workers: Vec<Worker>,
    results: Option<Results>,
    process: process::Process,
    ready: Gauge,
}

impl Metrics {
    /// Of a process that has just started.
    pub fn new(about: &About) -> Self {
        let mut list = List(Registry::default());
        let build = [("version", env!("CARGO_PKG_VERSION")), ("engine", about.engine)];
        list.0.register("lwt_build", "This program, and the engine that it runs", Info::new(build));
        let process = process::Process::register(&mut list, about.start_ms);
        let ready: Gauge =
            list.add("lwt_ready", "1 when the state was restored and every worker of this process reads");
        let workers = worker::register(&mut list, about.workers.clone(), about.hop_ms);
        let results = about.publishes.then(|| Results::register(&mut list, about));
        Metrics { registry: list.0, workers, results, process, ready }
    }

    /// Those of one worker, by its number among all workers; none if it is of another process.
    pub fn worker(&self, number: usize) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.number == number)
    }

    /// Those of what is published; none if another process does that.
    pub fn results(&self) -> Option<&Results> {
        self.results.as_ref()
    }

    /// Whether the state was restored and every worker reads.
    pub fn is_ready(&self) -> bool {
        self.workers.iter().all(Worker::reads)
    }

    /// A window that ended at `end_ms` came out of the flow, when the clock said `now_ms`.
    pub fn computed(&self, end_ms: i64, now_ms: i64) {
        if let Some(results) = &self.results {
            results.computed(end_ms, &self.workers, now_ms);
        }
    }

    /// All of it in OpenMetrics text, when the clock says `now_ms`.
    pub fn encode(&self, now_ms: i64) -> String {
        self.process.look();
        self.ready.set(self.is_ready().into());
        self.workers.iter().for_each(|worker| worker.look(now_ms));
        if let Some(results) = &self.results {
            results.look(now_ms);
        }
        page(&self.registry)
    }
}

/// As OpenMetrics text.
fn page(registry: &Registry) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut page, registry);
    page
}

/// What is registered so far.
struct List(Registry);

impl List {
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    /// Its name ends in `_seconds`.
    fn seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    /// Its name ends in `_bytes`.
    fn bytes(&mut self, name: &str, help: &str) -> Gauge {
        let metric = Gauge::default();
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
        metric
    }

    fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help)
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(name, help)
    }

    fn counters(&mut self, name: &str, help: &str) -> Family<Label, Counter> {
        self.add(name, help)
    }

    fn gauges(&mut self, name: &str, help: &str) -> Family<Label, Gauge> {
        self.add(name, help)
    }
}

/// Milliseconds as seconds.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
