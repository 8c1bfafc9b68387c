//! A progress bar on standard error, for work that takes long, if a person watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Only what takes longer is worth a bar.
const LONG: Duration = Duration::from_secs(1);

/// Of so much input the reading and what follows takes long: a second or so.
const LARGE_BYTES: u64 = 16 << 20;

/// How far something has come.
pub struct Progress(ProgressBar);

impl Progress {
    /// Of a file of `total` bytes; without a total, what was read is counted. When all is read the bar stays, and the
    /// time goes on: of a large file the models and clusters take longer than the reading.
    pub fn of_bytes(total: Option<u64>) -> Self {
        let style = if total.is_some() {
            "{wide_bar} {bytes}/{total_bytes} {elapsed}"
        } else {
            "{spinner} {bytes} {elapsed}"
        };
        let progress = Progress::new(total, style);
        if total.is_some_and(|bytes| bytes > LARGE_BYTES) {
            progress.0.set_draw_target(ProgressDrawTarget::stderr());
            progress.0.enable_steady_tick(LONG / 4);
        }
        progress
    }

    /// Of a simulation of `total` periods.
    pub fn of_periods(total: u64) -> Self {
        Progress::new(Some(total), "simulating {bar:40} {pos}/{len} periods, {eta} left")
    }

    fn new(total: Option<u64>, style: &str) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress(bar.with_style(style))
    }

    /// `done` is behind us. Drawn at most 20 times a second, and not where nobody looks.
    pub fn at(&self, done: u64) {
        if self.0.is_hidden() && self.0.elapsed() > LONG {
            self.0.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.0.set_position(done);
    }

    /// Wipes the bar.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}
