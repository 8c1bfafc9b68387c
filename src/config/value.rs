//! How each kind of value is written: a function a kind, text in, value or what is wrong with it out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use toml::de::DeValue;

use super::{AUTO_ORDER, ConfigError, Kind, RawConfig, Wrong};
use crate::collect::grid::MAX_PERIOD_MS;
use crate::dependencies::{Engine, Hysteresis};
use crate::model::{Fit, Order};
use crate::transport::file::Format;

/// A TOML scalar as it would be typed on a command line.
pub fn as_typed(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Reads keys one after the other and keeps what is wrong with them.
pub struct Reader<'a> {
    raw: &'a RawConfig,
    wrong: Vec<Wrong>,
}

impl<'a> Reader<'a> {
    pub fn new(raw: &'a RawConfig) -> Self {
        Reader { raw, wrong: vec![] }
    }

    /// The value of `name`; its default when what was typed cannot be read.
    pub fn get<T>(&mut self, name: &'static str, parse: fn(&str) -> Result<T, String>) -> T {
        let (text, place) = self.raw.typed(name);
        parse(text).unwrap_or_else(|what| {
            self.wrong.push(Wrong { place, what: format!("{name}: {what}") });
            parse(super::default_of(name)).expect("every default can be read: a test proves them all")
        })
    }

    pub fn finish(self) -> Result<(), ConfigError> {
        if self.wrong.is_empty() { Ok(()) } else { Err(ConfigError(self.wrong)) }
    }
}

/// A number within `low..=high`.
pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    kind: &str,
    low: T,
    high: T,
) -> Result<T, String> {
    let read = text.parse().ok().filter(|n| (&low..=&high).contains(&n));
    read.ok_or_else(|| format!("`{text}` is no {kind} from {low} to {high}"))
}

/// A word that may stand instead of a value.
pub(super) fn or<T>(
    word: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text == word { Ok(None) } else { parse(text).map(Some).map_err(|what| format!("{what}, nor {word}")) }
}

/// A duration of whole milliseconds, more than none: `5m`, `90s`, `100ms`.
///
/// # Errors
/// What is wrong with `text`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    let whole_ms = read.filter(|d| !d.is_zero() && d.subsec_nanos() % 1_000_000 == 0);
    whole_ms.ok_or_else(|| format!("`{text}` is no duration: write 5m, 90s or 100ms"))
}

/// The length of windows.
pub fn length(text: &str) -> Result<Option<Duration>, String> {
    or("auto", text, duration)
}

/// Up to a day: a grid's longest.
pub fn period(text: &str) -> Result<Option<Duration>, String> {
    let short = |period: &Duration| period.as_millis() <= u128::from(MAX_PERIOD_MS);
    let read = |text: &str| duration(text).map(|read| Some(read).filter(short));
    or("auto", text, |text| read(text)?.ok_or_else(|| format!("`{text}` is longer than a day")))
}

/// A duration as it would be typed.
pub fn spell(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |d| format!("{d:#}"))
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path is needed, or -".into()) } else { Ok(text.into()) }
}

pub fn format(text: &str) -> Result<Option<Format>, String> {
    or("auto", text, |text| match text {
        "long" => Ok(Format::Long),
        "wide" => Ok(Format::Wide),
        "xentop" => Ok(Format::Xentop),
        "ndjson" => Ok(Format::Ndjson),
        _ => Err(format!("`{text}` is none of long, wide, xentop, ndjson")),
    })
}

pub fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
}

/// From a thousandth of real time to a million times as fast.
pub fn speed(text: &str) -> Result<Option<f64>, String> {
    or("max", text, |text| number(text, "factor", 0.001, 1e6))
}

/// Up to half: a window of which most is missing says nothing.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, "share", 0.0, 0.5)
}

pub fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "file" => Ok(Kind::File),
        "kafka" => Ok(Kind::Kafka),
        _ => Err(format!("there is no kind of source `{text}`: file or kafka")),
    }
}

pub fn engine(text: &str) -> Result<Engine, String> {
    let engines = [Engine::Kmeans, Engine::Coupling];
    let named = engines.into_iter().find(|engine| engine.as_str() == text);
    named.ok_or_else(|| format!("there is no engine `{text}`: kmeans or coupling"))
}

/// Up to half: beyond, most of what is said may be false. None at all would never say anything.
pub fn fdr(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share <= 0.5);
    read.ok_or_else(|| format!("`{text}` is no share above 0 and up to 0.5"))
}

/// Up to 1000: ten times the paper's largest; the sums of a VM take 16 bytes for each.
pub fn order(text: &str) -> Result<Order, String> {
    let order = or("auto", text, |text| number(text, "order", 1, 1000))?;
    Ok(order.map_or(Order::Auto { max: AUTO_ORDER }, Order::Fixed))
}

pub fn fit(text: &str) -> Result<Fit, String> {
    match text {
        "yule-walker" => Ok(Fit::YuleWalker),
        "least-squares" => Ok(Fit::LeastSquares),
        _ => Err(format!("`{text}` is neither yule-walker nor least-squares")),
    }
}

/// Up to a million: as many as there may be VMs.
pub fn clusters(text: &str) -> Result<Option<usize>, String> {
    or("auto", text, |text| number(text, "number of clusters", 1, 1_000_000))
}

/// Up to 100: scikit-learn's default is 10, and each start costs as much as the first.
pub fn starts(text: &str) -> Result<Option<usize>, String> {
    or("auto", text, |text| number(text, "number of starts", 1, 100))
}

pub fn seed(text: &str) -> Result<u64, String> {
    number(text, "seed", 0, u64::MAX)
}

pub fn hysteresis(text: &str) -> Result<Hysteresis, String> {
    let read = text.split_once('/').and_then(|(m, n)| Some((m.trim().parse().ok()?, n.trim().parse().ok()?)));
    let (needed, of) = read.ok_or_else(|| format!("`{text}` is not M/N, such as 2/3"))?;
    Hysteresis::new(needed, of).map_err(|error| error.to_string())
}

/// Up to 256 threads: the cores of the largest servers.
pub fn workers(text: &str) -> Result<usize, String> {
    number(text, "number of workers", 1, 256)
}

/// `host:port,…`; librdkafka takes a port for granted, so may we.
pub fn brokers(text: &str) -> Result<String, String> {
    let right = |broker: &str| {
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (broker, None),
        };
        let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        !host.is_empty() && !host.contains(char::is_whitespace) && port
    };
    let wrong = || format!("`{text}` is not host:port,host:port,...");
    text.split(',').all(|broker| right(broker.trim())).then(|| text.into()).ok_or_else(wrong)
}

/// A program and its arguments.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() { Err("a program is needed".into()) } else { Ok(words) }
}

/// A file that there need not be.
pub fn file(text: &str) -> Result<Option<PathBuf>, String> {
    or("none", text, path)
}

/// Where to listen: an address of this machine, not a name that may have several.
pub fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    let wrong = || format!("`{text}` is no address:port, such as 127.0.0.1:7890 or 0.0.0.0:7890");
    or("off", text, |text| text.parse().map_err(|_| wrong()))
}

/// Kafka's own rule for names.
pub fn topic(text: &str) -> Result<String, String> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let right = letters && (1..=249).contains(&text.len()) && text != "." && text != "..";
    let wrong = || format!("`{text}` is no topic: 1 to 249 letters, digits, dots, dashes and underlines");
    right.then(|| text.into()).ok_or_else(wrong)
}

/// Up to 10,000: each of the 256 workers could read 39, and one broker holds some 4,000.
pub fn partitions(text: &str) -> Result<u32, String> {
    number(text, "number of partitions", 1, 10_000)
}

/// Up to 10: nobody keeps more copies of a log.
pub fn replicas(text: &str) -> Result<Option<u32>, String> {
    or("auto", text, |text| number(text, "number of replicas", 1, 10))
}

/// Up to a year: the milliseconds of all retentions are far from overflowing.
pub fn outage(text: &str) -> Result<Duration, String> {
    let short = duration(text)?;
    let fits = short <= Duration::from_secs(366 * 24 * 3600);
    fits.then_some(short).ok_or_else(|| format!("`{text}` is longer than a year"))
}
