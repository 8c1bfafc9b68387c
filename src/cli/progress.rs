//! A progress bar on standard error, for work that takes long, if a person watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Only what takes longer is worth a bar.
const LONG: Duration = Duration::from_secs(1);

/// How far something has come.
pub struct Progress(ProgressBar);

impl Progress {
    /// Of a file of `total` bytes; without a total, what was read is counted.
    pub fn of_bytes(total: Option<u64>) -> Self {
        let style = if total.is_some() {
            "{wide_bar} {bytes}/{total_bytes} {eta}"
        } else {
            "{spinner} {bytes} {elapsed}"
        };
        Progress::new(total, style)
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
