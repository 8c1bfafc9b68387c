//! Any text as a pipeline file, and each of its lines as `--set`: what is proved fits together.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::config::RawConfig;

fn check(raw: &RawConfig) {
    match raw.prove() {
        Ok(config) => {
            let whole = |length: std::time::Duration| {
                length >= config.hop && length.as_nanos() % config.hop.as_nanos() == 0
            };
            assert!(config.length.is_none_or(whole));
            let period = config.period.map_or(1_000_000, |period| period.as_nanos());
            assert!(config.hop.as_nanos() >= period && config.hop.as_nanos() % period == 0);
            assert!((0.0..=0.5).contains(&config.missing) && config.workers > 0);
        }
        Err(error) => assert!(!error.0.is_empty() && !error.to_string().is_empty()),
    }
}

fuzz_target!(|text: &str| {
    let mut raw = RawConfig::default();
    if let Err(error) = raw.set_file(text, "fuzz.toml") {
        let lines = text.matches('\n').count() + 1;
        for wrong in &error.0 {
            let line = wrong.place.strip_prefix("fuzz.toml:").and_then(|line| line.parse().ok());
            assert!(line.is_some_and(|line: usize| (1..=lines).contains(&line)), "{wrong}");
        }
    }
    check(&raw);
    let mut raw = RawConfig::default();
    for pair in text.lines() {
        // Most lines would be headings; what is refused must only say so.
        if let Err(wrong) = raw.set_pair(pair) {
            assert!(!wrong.what.is_empty());
        }
    }
    check(&raw);
});
