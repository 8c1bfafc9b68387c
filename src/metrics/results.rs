//! What is published, and how long that took.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{About, Label, List, Real, Worker, seconds};
use crate::dependencies::State;
use crate::pipeline::Window;
use crate::types::Reason;

/// From the end of a window to its commit, seconds: 1 s of grace for the log to arrive, up to 30 s for hosts that are
/// slow, a minute and more while lwt catches up.
const LATENCY_S: [f64; 13] = [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 35.0, 60.0, 300.0, 1_800.0, 7_200.0];

/// Of computing or writing, seconds.
const WORK_S: [f64; 13] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// What is known of one window when it was published.
pub struct Published<'a> {
    /// The window.
    pub window: &'a Window,
    /// What holds after it.
    pub state: &'a State,
    /// Its end, Unix milliseconds.
    pub end_ms: i64,
    /// When its transaction was begun and when it was committed, Unix milliseconds.
    pub written_ms: (i64, i64),
}

/// What one process publishes.
pub struct Results {
    hop_ms: i64,
    windows: Counter,
    changes: Counter,
    refits: Counter,
    dead_letters: Family<Label, Counter>,
    latency: Histogram,
    compute: Histogram,
    transaction: Histogram,
    retries: Counter,
    vms: Family<Label, Gauge>,
    held: [Gauge; 3],
    frontier_age: Real,
    /// The end of the last window; before the first one when the process started.
    frontier_ms: AtomicI64,
    /// When the last window was committed.
    written_ms: AtomicI64,
    /// The retries of the one who writes.
    retried: OnceLock<Arc<AtomicU64>>,
}

impl Results {
    pub(super) fn register(list: &mut List, about: &About) -> Self {
        let dead_letters = list.counters("lwt_dead_letters", "Dead letters written, by reason");
        for reason in Reason::ALL {
            dead_letters.get_or_create_owned(&[("reason", reason.as_str().into())]);
        }
        Results {
            hop_ms: about.hop_ms,
            windows: list.counter("lwt_windows", "Windows published, each in one transaction"),
            changes: list.counter("lwt_changes", "Changes published of what is held true"),
            refits: list.counter("lwt_refits", "Models fitted: VMs that were judged, added up over windows"),
            dead_letters,
            latency: list.seconds(
                "lwt_window_latency",
                "From the end of a window, by the time of its samples, to its commit",
                Histogram::new(LATENCY_S),
            ),
            compute: list.seconds(
                "lwt_window_compute",
                "From when this process had read all of a window, and written the one before, to its result",
                Histogram::new(WORK_S),
            ),
            transaction: list.seconds(
                "lwt_transaction",
                "How long a window's transaction took, retries included",
                Histogram::new(WORK_S),
            ),
            retries: list.counter("lwt_transaction_retries", "Steps of transactions that were tried again"),
            vms: list.gauges("lwt_window_vms", "VMs of the last window: judged, idle, or with too few samples"),
            held: [
                list.gauge("lwt_vms_held", "VMs that exist"),
                list.gauge("lwt_ensembles_held", "Ensembles that are held"),
                list.gauge("lwt_dependencies_held", "Pairs of VMs that are held dependent"),
            ],
            frontier_age: list.seconds(
                "lwt_frontier_age",
                "Now less the end of the last window that was published; before the first one since the start",
                Real::default(),
            ),
            frontier_ms: AtomicI64::new(about.start_ms),
            written_ms: AtomicI64::new(0),
            retried: OnceLock::new(),
        }
    }

    /// Counts the retries of whoever writes, from now on.
    pub fn count_retries(&self, retries: Arc<AtomicU64>) {
        let _ = self.retried.set(retries);
    }

    /// What held before the start; the last window ended at `end_ms`.
    pub fn restored(&self, state: &State, end_ms: i64) {
        self.frontier_ms.store(end_ms, Ordering::Relaxed);
        self.hold(state);
    }

    /// A window came out of the flow, when the clock said `now_ms`.
    pub(super) fn computed(&self, end_ms: i64, workers: &[Worker], now_ms: i64) {
        let pane = (end_ms / self.hop_ms - 1).max(0) as u64;
        let closed = workers.iter().map(|worker| worker.closed_ms(pane)).collect::<Option<Vec<i64>>>();
        if let Some(last_ms) = closed.and_then(|closed| closed.into_iter().max()) {
            // While the one before was written nobody looked.
            let from_ms = last_ms.max(self.written_ms.load(Ordering::Relaxed));
            self.compute.observe(seconds(now_ms - from_ms));
        }
    }

    /// A window was committed.
    pub fn published(&self, Published { window, state, end_ms, written_ms }: &Published<'_>) {
        let (begun_ms, done_ms) = *written_ms;
        let summary = &window.summary;
        self.windows.inc();
        self.changes.inc_by(window.changes.len() as u64);
        self.refits.inc_by(summary.judged as u64);
        for letter in &summary.refused {
            self.dead_letters.get_or_create(&[("reason", letter.reason.as_str().into())]).inc();
        }
        self.latency.observe(seconds(done_ms - end_ms));
        self.transaction.observe(seconds(done_ms - begun_ms));
        for (state, n) in [("judged", summary.judged), ("idle", summary.idle), ("unjudged", summary.unjudged)]
        {
            self.vms.get_or_create(&[("state", state.into())]).set(n as i64);
        }
        self.written_ms.store(done_ms, Ordering::Relaxed);
        self.frontier_ms.store(*end_ms, Ordering::Relaxed);
        self.hold(state);
    }

    fn hold(&self, state: &State) {
        let [vms, ensembles, dependencies] = &self.held;
        vms.set(state.members().len() as i64);
        ensembles.set(state.ensembles().len() as i64);
        dependencies.set(state.pair_count() as i64);
    }

    pub(super) fn look(&self, now_ms: i64) {
        self.frontier_age.set(seconds(now_ms - self.frontier_ms.load(Ordering::Relaxed)));
        if let Some(retried) = self.retried.get() {
            self.retries.inner().store(retried.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
