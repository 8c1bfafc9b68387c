//! What a service logs, and how.

/// What is logged, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// What is logged.
    pub level: Level,
}

/// How a line of the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object.
    Json,
}

/// What is logged: what is as grave as this, or more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// What ends the service.
    Error,
    /// What should not be, and passes by itself or can be lived with.
    Warn,
    /// What an operator wants to know: starts, windows.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// # Errors
/// What is wrong with `text`.
pub fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}

/// # Errors
/// What is wrong with `text`.
pub fn level(text: &str) -> Result<Level, String> {
    match text {
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "trace" => Ok(Level::Trace),
        _ => Err(format!("`{text}` is none of error, warn, info, debug, trace")),
    }
}
