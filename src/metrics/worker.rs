//! How far one worker has read its partitions.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Label, List, Real, seconds};
use crate::transport::kafka::source::Batch;

/// How many panes' closings are kept: the flow is at most one window behind.
const CLOSINGS: usize = 4;

/// No pane is open: nothing was read yet, or there is nothing to read.
const NONE: i64 = -1;

/// What one worker reads. Counted once a batch.
pub struct Worker {
    /// Its number, among those of all processes.
    pub(super) number: usize,
    hop_ms: i64,
    samples: Counter,
    records: Counter,
    lag_records: Gauge,
    lag_seconds: Real,
    watermark_ages: Family<Label, Real>,
    reads: AtomicBool,
    /// Up to when everything was read, Unix milliseconds.
    open_ms: AtomicI64,
    /// The first panes that stayed open at last, and when that was.
    closings: Mutex<VecDeque<(u64, i64)>>,
}

/// The metrics of all workers of a process.
pub fn register(list: &mut List, numbers: Range<usize>, hop_ms: i64) -> Vec<Worker> {
    let samples =
        list.counters("lwt_samples", "Samples read; after a restart those of the last window are again");
    let records =
        list.counters("lwt_records", "Records read of the samples' topic, also those that were refused");
    let lag_records = list.gauges("lwt_lag_records", "Records that are still to be read, as far as is known");
    let lag_help = "How long ago the next record to be read was appended, at most; 0 when all were read";
    let lag_seconds = list.seconds("lwt_lag", lag_help, Family::<Label, Real>::default());
    let age_help =
        "Now less the time up to which this worker's partitions are complete; a worker without any has none";
    let watermark_ages = list.seconds("lwt_watermark_age", age_help, Family::<Label, Real>::default());
    let worker = |number: usize| {
        let label = label(number);
        Worker {
            number,
            hop_ms,
            samples: samples.get_or_create_owned(&label),
            records: records.get_or_create_owned(&label),
            lag_records: lag_records.get_or_create_owned(&label),
            lag_seconds: lag_seconds.get_or_create_owned(&label),
            watermark_ages: watermark_ages.clone(),
            reads: AtomicBool::new(false),
            open_ms: AtomicI64::new(NONE),
            closings: Mutex::default(),
        }
    };
    numbers.map(worker).collect()
}

fn label(number: usize) -> Label {
    [("worker", number.to_string())]
}

impl Worker {
    /// It read a batch.
    pub fn read(&self, batch: &Batch, now_ms: i64) {
        self.reads.store(true, Ordering::Relaxed);
        if batch.records > 0 {
            self.records.inc_by(batch.records);
            self.samples.inc_by(batch.values);
        }
        self.lag_records.set(batch.lag as i64);
        self.lag_seconds.set(seconds(batch.lag_ms));
        let open_ms = match batch.open {
            0 | u64::MAX => NONE,
            open => (open as i64).saturating_mul(self.hop_ms),
        };
        // Only it itself writes here.
        if self.open_ms.load(Ordering::Relaxed) != open_ms {
            self.open_ms.store(open_ms, Ordering::Relaxed);
            if let Ok(mut closings) = self.closings.lock() {
                closings.truncate(CLOSINGS - 1);
                closings.push_front((batch.open, now_ms));
            }
        }
    }

    pub(super) fn reads(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) fn look(&self, now_ms: i64) {
        let open_ms = self.open_ms.load(Ordering::Relaxed);
        if open_ms != NONE {
            self.watermark_ages.get_or_create(&label(self.number)).set(seconds(now_ms - open_ms));
        }
    }

    /// When it closed `pane`, if that is not too long ago.
    pub(super) fn closed_ms(&self, pane: u64) -> Option<i64> {
        let closings = self.closings.lock().ok()?;
        closings.iter().take_while(|(open, _)| *open > pane).last().map(|(_, at_ms)| *at_ms)
    }
}
