//! SIGTERM and SIGINT: what runs for ever leaves at once, and leaves nothing open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether somebody wants us to stop.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens to signals from now on, and calls `wake` when one comes. Whoever does not look, or takes longer than `grace`,
    /// is ended all the same.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn on_signals(grace: Duration, wake: impl FnOnce() + Send + 'static) -> anyhow::Result<Stop> {
        let stop = Stop(Arc::default());
        let (told, mut signals) = (stop.clone(), Signals::new([SIGTERM, SIGINT])?);
        let wait = move || {
            if signals.forever().next().is_some() {
                told.0.store(true, Ordering::Relaxed);
                wake();
                thread::sleep(grace);
                std::process::exit(0);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait).context("cannot start a thread")?;
        Ok(stop)
    }

    /// Whether it is time.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
