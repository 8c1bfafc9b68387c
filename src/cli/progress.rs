//! A progress bar on standard error, for work that takes long, if a person watches.

use indicatif::{ProgressBar, ProgressStyle};

/// How far something has come.
pub struct Progress(ProgressBar);

impl Progress {
    /// Of a file of `total` bytes; without a total, what was read is counted.
    pub fn of_bytes(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let template = if total.is_some() {
            "{wide_bar} {bytes}/{total_bytes} {eta}"
        } else {
            "{spinner} {bytes} {elapsed}"
        };
        Progress(bar.with_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        ))
    }

    /// `done` bytes are behind us. Drawn at most 20 times a second, and not where nobody looks.
    pub fn at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Wipes the bar.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}
