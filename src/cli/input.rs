//! What the commands that follow a recording have in common: which windows it is cut into, and how it is read.

use crate::config::{Config, RawConfig, Wrong};
use crate::transport::file::{OpenError, Options, Trace};

/// Flags of windows and input.
#[derive(clap::Args)]
pub struct Input {
    /// How much of the past is looked at [default: 5m]; analyze takes auto, too: until the answer is stable.
    #[arg(long, value_name = "DURATION", help_heading = "Windows")]
    window: Option<String>,
    /// How far the window slides [default: 1m].
    #[arg(long, value_name = "DURATION", help_heading = "Windows")]
    hop: Option<String>,
    /// Sampling period to resample to [default: the recording's own].
    #[arg(long, value_name = "DURATION", help_heading = "Windows")]
    period: Option<String>,
    /// Format of the recording: long, wide, xentop or ndjson [default: recognised].
    #[arg(long, value_name = "FORMAT", help_heading = "Input")]
    input_format: Option<String>,
    /// Cells of a wide CSV are cumulative CPU nanoseconds [default: recognised].
    #[arg(long, help_heading = "Input")]
    counters: bool,
}

impl Input {
    /// Says it to `raw`.
    ///
    /// # Errors
    /// A value that the key cannot have.
    pub fn set(&self, raw: &mut RawConfig) -> Result<(), Wrong> {
        let flags = [
            ("window.length", "--window", &self.window),
            ("window.hop", "--hop", &self.hop),
            ("window.period", "--period", &self.period),
            ("source.format", "--input-format", &self.input_format),
        ];
        set_flags(raw, &flags)?;
        if self.counters { raw.set("source.counters", "true", "--counters") } else { Ok(()) }
    }
}

/// Says to `raw` what was given of some flags: key, flag, value.
///
/// # Errors
/// An unknown key.
pub fn set_flags(raw: &mut RawConfig, flags: &[(&str, &str, &Option<String>)]) -> Result<(), Wrong> {
    flags.iter().try_for_each(|(key, flag, value)| match value {
        Some(value) => raw.set(key, value, &format!("{flag} {value}")),
        None => Ok(()),
    })
}

/// Opens the trace that `config` names.
///
/// # Errors
/// When it cannot be read or its format is not recognised.
pub fn open(config: &Config) -> Result<Trace, OpenError> {
    let period_ms = config.period.map(|period| period.as_millis() as u64);
    let options = Options { format: config.format, counters: config.counters, period_ms };
    Trace::open(&config.source, options)
}
