//! The log of a service, on standard error: a line for each thing that happens, as text or as JSON. Commands that end by
//! themselves have none: they say what is wrong in their own words.

use std::fmt;
use std::io;

use jiff::Timestamp;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Clock;
use crate::config::log::{Format, Level, Log};

/// Begins to log, for the rest of the process.
pub fn install(log: Log, now_ms: Clock) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // What the web stack does is of interest only if it goes wrong.
    let filter = Targets::new().with_target("lwt", level).with_default(level.min(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_timer(Stamp(now_ms))
        .with_ansi(false)
        // Where nobody listens any more, saying so would be a panic.
        .log_internal_errors(false);
    let lines = match log.format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    // It fails only where there is a log already.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// The time of a line, UTC.
struct Stamp(Clock);

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = Timestamp::from_millisecond((self.0)()).map_err(|_| fmt::Error)?;
        write!(w, "{now:.3}")
    }
}
