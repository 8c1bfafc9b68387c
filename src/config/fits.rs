//! Whether values that can each be read fit each other.

use std::time::Duration;

use super::{Config, ConfigError, RawConfig, Wrong, prometheus, spell};
use crate::config::Source;
use crate::dependencies::Engine;

/// The keys that only one engine reads.
const OF_ENGINES: [(Engine, &[&str]); 2] = [
    (Engine::Kmeans, &["engine.order", "engine.fit", "engine.clusters", "engine.starts", "engine.seed"]),
    (Engine::Coupling, &["engine.fdr"]),
];

/// The engine that alone reads the key `name`, if one does.
pub fn engine_of(name: &str) -> Option<Engine> {
    OF_ENGINES.iter().find(|(_, keys)| keys.contains(&name)).map(|(engine, _)| *engine)
}

/// Whether the values of `config`, which `raw` says, fit each other.
///
/// # Errors
/// All that do not.
pub fn check(config: &Config, raw: &RawConfig) -> Result<(), ConfigError> {
    let mut wrong = of_other_engines(config.engine, raw);
    wrong.extend(windows(config, raw));
    wrong.extend(topics(config, raw));
    if config.collect.source == Source::Prometheus {
        wrong.extend(prometheus::check(&config.prometheus.query, raw));
    }
    if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong)) }
}

/// What was said to an engine that is not the one that runs: it would be ignored without a word.
fn of_other_engines(runs: Engine, raw: &RawConfig) -> Vec<Wrong> {
    let other = |(name, (_, place)): (&&'static str, &(String, String))| {
        let engine = engine_of(name).filter(|engine| *engine != runs)?;
        let (place, of) = (place.clone(), engine.as_str());
        let what = format!("{name} is for {of} only: add --engine {of} (key engine.kind), or leave it out");
        Some(Wrong { place, what })
    };
    raw.said.iter().filter_map(other).collect()
}

/// Two topics of one name would be read as each other.
fn topics(config: &Config, raw: &RawConfig) -> Vec<Wrong> {
    let names = config.topics.names();
    let pairs =
        names.iter().enumerate().flat_map(|(at, one)| names[at + 1..].iter().map(move |two| (one, two)));
    let same = pairs.filter(|((_, one), (_, two))| one == two);
    let wrong = |(&(one, name), &(two, _)): (&(&'static str, &str), &(&'static str, &str))| {
        // Where one of them was said, rather than a default.
        let place = if raw.said.contains_key(one) { one } else { two };
        let what = format!("{one} and {two} are both {name}: each topic needs a name of its own");
        Wrong { place: raw.typed(place).1, what }
    };
    same.map(wrong).collect()
}

/// Windows are made of panes, panes of ticks.
fn windows(config: &Config, raw: &RawConfig) -> Option<Wrong> {
    let wrong = |name, what| Some(Wrong { place: raw.typed(name).1, what });
    let hop = config.hop;
    let (length, period) = (config.length.unwrap_or(hop), config.period.unwrap_or(Duration::from_millis(1)));
    if hop.is_zero() || !length.as_nanos().is_multiple_of(hop.as_nanos()) {
        let (length, hop) = (spell(length), spell(hop));
        return wrong(
            "window.length",
            format!("the window ({length}) must be a multiple of the hop ({hop})"),
        );
    }
    if !hop.as_nanos().is_multiple_of(period.as_nanos()) {
        let (hop, period) = (spell(hop), spell(period));
        return wrong("window.hop", format!("the hop ({hop}) must be a multiple of the period ({period})"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    /// What is wrong with some keys, each said at its own name.
    fn check(said: &[(&str, &str)], expected: &[&str]) {
        let mut raw = RawConfig::default();
        said.iter().for_each(|(name, value)| raw.set(name, value, name).unwrap());
        let wrong = raw.prove().map_or_else(|ConfigError(wrong)| wrong, |_| vec![]);
        assert_eq!(wrong.iter().map(Wrong::to_string).collect::<Vec<_>>(), expected, "{said:?}");
    }

    #[test]
    fn windows_are_whole_panes_and_panes_whole_ticks() {
        check(
            &[("window.length", "7m"), ("window.hop", "2m")],
            &["window.length: the window (7m) must be a multiple of the hop (2m)"],
        );
        check(
            &[("window.period", "7s")],
            &["default of window.hop: the hop (1m) must be a multiple of the period (7s)"],
        );
        check(&[("window.length", "7m"), ("window.hop", "7s"), ("window.period", "7s")], &[]);
    }

    #[test]
    fn what_is_said_to_another_engine_is_an_error() {
        let of = |key: &str, engine| {
            format!(
                "{key}: {key} is for {engine} only: add --engine {engine} (key engine.kind), or leave it out"
            )
        };
        check(
            &[("engine.clusters", "14"), ("engine.seed", "1")],
            &[&of("engine.clusters", "kmeans"), &of("engine.seed", "kmeans")],
        );
        check(&[("engine.clusters", "14"), ("engine.kind", "kmeans")], &[]);
        check(&[("engine.fdr", "0.01"), ("engine.kind", "kmeans")], &[&of("engine.fdr", "coupling")]);
        check(&[("engine.fdr", "0.05"), ("engine.hysteresis", "1/1")], &[]);
    }

    #[test]
    fn every_key_of_an_engine_exists() {
        for name in OF_ENGINES.iter().flat_map(|(_, keys)| *keys) {
            assert!(keys().any(|key| key.name == *name), "{name}");
        }
    }
}
