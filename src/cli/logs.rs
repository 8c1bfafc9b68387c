//! The log of a service, on standard error: a line for each thing that happens, as text or as JSON. Commands that end by
//! themselves have none: they say what is wrong in their own words.

use std::fmt;
use std::io;

use jiff::Timestamp;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

use super::Clock;
use crate::config::log::{Format, Level, Log};

/// Begins to log, for the rest of the process.
pub fn install(log: Log, now_ms: Clock) {
    // It fails only where there is a log already.
    let _ = tracing::subscriber::set_global_default(subscriber(log, now_ms, io::stderr));
}

/// Writes each line to what `to` makes, at once.
fn subscriber<W>(log: Log, now_ms: Clock, to: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
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
        .with_writer(to)
        .with_timer(Stamp(now_ms))
        .with_ansi(false)
        // Where nobody listens any more, saying so would be a panic.
        .log_internal_errors(false);
    let lines = match log.format {
        Format::Text => lines.with_target(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter))
}

/// The time of a line, UTC.
struct Stamp(Clock);

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = Timestamp::from_millisecond((self.0)()).map_err(|_| fmt::Error)?;
        write!(w, "{now:.3}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn check(format: Format, level: Level, expected: &str) {
        let page = Page::default();
        let to = page.clone();
        let lines = subscriber(Log { format, level }, || 1_700_000_000_000, move || to.clone());
        tracing::subscriber::with_default(lines, || {
            tracing::info!(windows = 3, "read \u{1b}[31mon");
            tracing::debug!("details");
            tracing::info!(target: "hyper", "of others");
            tracing::warn!(target: "hyper", "wrong");
        });
        assert_eq!(String::from_utf8(page.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn a_line_is_text_or_an_object() {
        let stamp = "2023-11-14T22:13:20.000Z";
        let read = format!("{stamp}  INFO read \\x1b[31mon windows=3\n");
        let (details, wrong) = (format!("{stamp} DEBUG details\n"), format!("{stamp}  WARN wrong\n"));
        check(Format::Text, Level::Info, &format!("{read}{wrong}"));
        check(Format::Text, Level::Trace, &format!("{read}{details}{wrong}"));
        check(Format::Text, Level::Error, "");
        let json = format!(r#"{{"timestamp":"{stamp}","level":"WARN","message":"wrong","target":"hyper"}}"#);
        check(Format::Json, Level::Warn, &(json + "\n"));
    }
}
