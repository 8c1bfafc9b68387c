//! From what was typed to what was proved. A pipeline file, the environment, `--set` and the flags of the
//! commands all say the same thing, a key and a value; [`RawConfig`] collects them, later ones win;
//! [`RawConfig::prove`] makes a [`Config`], or says everything that is wrong with them at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod collect;
mod fits;
pub mod log;
mod prometheus;
mod perturb;
mod properties;
mod value;

pub use collect::{Collect, Source};
pub use fits::engine_of;
pub use perturb::{Actuates, Perturb};
pub use prometheus::Prometheus;
pub use value::{duration, spell};

use crate::dependencies::{Engine, Hysteresis};
use crate::model::{Fit, Order};
use crate::transport::file::Format;
use crate::transport::kafka::settings::{Settings, Value};
use crate::transport::kafka::topics::Topics;
use log::Log;

/// A key that can be set: its name, its default as it would be typed, and what it is for.
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// Its default.
    pub default: &'static str,
    /// What it is for, with its unit.
    pub about: &'static str,
}

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, default, about }
}

/// All keys, in the order in which they are shown.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(&prometheus::KEYS)
}

const KEYS: &[Key] = &[
    key("source.kind", "file", "file: the trace at source.path; kafka: the topics, in and out, for ever"),
    key("source.path", "-", "the trace to read; - is standard input"),
    key("source.format", "auto", "auto, long, wide, xentop or ndjson"),
    key(
        "source.counters",
        "false",
        "whether a wide trace's cells are cumulative CPU nanoseconds (else recognised)",
    ),
    key("source.speed", "max", "max, or how many times faster than it was recorded a trace is replayed"),
    key("sink.path", "-", "the directory that gets one file a topic; - is standard output"),
    key(
        "kafka.brokers",
        "127.0.0.1:9092",
        "where to start: host:port,...; [kafka.properties] takes anything that librdkafka knows",
    ),
    key(
        "kafka.pipeline",
        "lwt",
        "this pipeline's name, its transactional id: of two with one name the later wins",
    ),
    key("topics.samples", "lwt.samples", "what collectors send"),
    key("topics.assignments", "lwt.assignments", "VM -> its ensembles"),
    key("topics.dependencies", "lwt.dependencies", "pair of VMs -> the dependency"),
    key("topics.events", "lwt.events", "what changed"),
    key("topics.state", "lwt.state", "what a restart needs beyond the samples"),
    key("topics.decisions", "lwt.decisions", "what operators confirmed, rejected or named"),
    key("topics.perturbations", "lwt.perturbations", "which VM was capped, when and how far"),
    key("topics.deadletter", "lwt.deadletter", "what was refused, and why"),
    key("topics.partitions", "12", "of the samples: so many workers can read at once; the others have one"),
    key("topics.replicas", "auto", "copies of each topic; auto is 3, or as many as there are brokers"),
    key("topics.outage", "24h", "the longest that lwt may stand still without losing samples"),
    key("window.period", "auto", "sampling period to resample to, such as 1s; auto is the trace's own"),
    key(
        "window.length",
        "5m",
        "how much of the past is looked at, a multiple of the hop; or auto (lwt analyze): until the answer is stable",
    ),
    key("window.hop", "1m", "how far the window slides; a multiple of the period"),
    key("window.missing", "0.1", "share of a window's ticks that may be missing, 0 to 0.5"),
    key(
        "engine.kind",
        "coupling",
        "coupling (evidence from innovations) or kmeans (K-means on AR models, the paper)",
    ),
    key(
        "engine.fdr",
        "0.01",
        "coupling: share of the dependencies held that may be false, above 0, up to 0.5",
    ),
    key("engine.order", "45", "K-means: order of the AR models, or auto (AICc, at most 50)"),
    key("engine.fit", "yule-walker", "K-means: yule-walker or least-squares"),
    key("engine.clusters", "auto", "K-means: how many clusters, or auto"),
    key(
        "engine.starts",
        "auto",
        "K-means: how many starts, of which the best counts; auto is 10 for few VMs, 1 for many",
    ),
    key("engine.seed", "1", "K-means: seed of the starts"),
    key("engine.hysteresis", "2/3", "M/N: a change counts when M of the last N windows say so"),
    key("engine.workers", "1", "worker threads"),
    key(
        "engine.stall",
        "5m",
        "over Kafka a process ends when its input has waited for so long and nothing moved; longer than a window takes",
    ),
    key(
        "serve.listen",
        "127.0.0.1:7890",
        "where lwt run over Kafka serves /metrics, /healthz and /readyz (of several processes, -n, the I-th at port + I; or off), and lwt serve its dashboard",
    ),
    key(
        "serve.token_file",
        "none",
        "a file with the secret that whoever asks lwt serve must show, or none: this machine only",
    ),
    key(
        "serve.write_token_file",
        "none",
        "a file with the secrets of those who may decide, a line each: NAME SECRET; none: nobody, or, without token_file, this machine",
    ),
    key(
        "log.format",
        "text",
        "how lwt run over Kafka and lwt collect log, to standard error: text, or json: an object a line",
    ),
    key("log.level", "info", "what is logged: error, warn, info, debug or trace"),
    key(
        "collect.source",
        "cgroup",
        "what lwt collect reads: cgroup, xen, xentop, libvirt, prometheus, replay or simulate",
    ),
    key(
        "collect.period",
        "auto",
        "how often, 10ms or longer; auto is 100ms (cgroup, xen, libvirt), 1s (xentop, simulate), or the trace's or Prometheus' own",
    ),
    key("collect.host", "auto", "this host's name; auto is what the kernel says"),
    key(
        "collect.groups",
        "auto",
        "control groups that are VMs, patterns with commas: machine.slice/*; auto: machines, pods, LXC, Docker",
    ),
    key("collect.root", "auto", "where control groups are mounted"),
    key(
        "collect.command",
        "auto",
        "what to run: auto is xentop -b -f -d PERIOD, virsh -q, or Python for xen; - reads xentop's text from standard input",
    ),
    key(
        "collect.spool",
        "auto",
        "folder for what the broker does not take; or none; auto is /var/lib/lwt/spool, and none for replay and simulate",
    ),
    key("collect.spool_mib", "256", "its limit; beyond it the oldest are dropped"),
    key(
        "collect.speed",
        "1",
        "replay, simulate: so many times as fast as real time until now is reached; or max",
    ),
    key(
        "collect.history",
        "none",
        "replay, simulate: how far back it begins; prometheus: so much of the past, instead of what comes",
    ),
    key("collect.vms", "31", "simulate: how many VMs"),
    key("collect.hosts", "auto", "simulate: on how many hosts; auto is one for 30"),
    key("collect.seed", "1", "simulate: seed"),
    key("perturb.enabled", "false", "agent: whether VMs of this host may be capped at all"),
    key(
        "perturb.trusted",
        "none",
        "agent: public keys whose commands are obeyed, with commas; or the path of a file with one a line",
    ),
    key(
        "perturb.allow",
        "none",
        "agent: VMs that may be capped, patterns of names, identities, host/name or control groups, with commas: shop-*",
    ),
    key("perturb.deny", "none", "agent: VMs that must not be; wins over perturb.allow"),
    key("perturb.floor", "0.5", "agent: a cap leaves at least this share of what the VM used lately"),
    key("perturb.lately", "1m", "agent: over how long that is averaged, while the VM is not capped"),
    key("perturb.lease", "30s", "agent: a cap never lasts longer without a break"),
    key("perturb.at_once", "2", "agent: so many VMs of this host are perturbed at once"),
    key(
        "perturb.groups",
        "none",
        "agent: of each of these groups of patterns one VM at once, groups with semicolons: web-*,db-*; mail-*",
    ),
    key("perturb.budget", "10m", "agent: how long a VM may be capped in a day (UTC), in all"),
    key("perturb.quiet", "none", "agent: when nothing is capped, UTC: 22:00-06:00,12:00-13:00"),
    key("perturb.state", "/var/lib/lwt/perturb", "agent: folder of the journal and the stop switch"),
    key("perturb.actuator", "cgroup", "agent: what caps: cgroup, credit2 or credit (Xen), or libvirt"),
    key("perturb.root", "auto", "agent: where the control groups' cpu controller is mounted"),
    key("perturb.command", "auto", "agent: what to run instead of xl, or virsh -q"),
];

/// The largest order that `auto` considers: the paper's 40 to 50.
pub const AUTO_ORDER: usize = 50;

/// Where samples come from and records go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A trace, and files.
    File,
    /// The topics.
    Kafka,
}

/// What was typed: for each key its value, and where that was said.
#[derive(Clone, Default, Debug)]
pub struct RawConfig {
    said: BTreeMap<&'static str, (String, String)>,
    properties: BTreeMap<String, (Value, String)>,
    variables: properties::Variables,
}

/// What is wrong with a key or its value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Wrong {
    /// Where it was said: file and line, or flag.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Wrong>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Wrong::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A configuration that was proved: every value is in its range and they fit each other.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where samples come from and records go.
    pub kind: Kind,
    /// The trace to read; `-` is standard input.
    pub source: PathBuf,
    /// Its format, if it was said.
    pub format: Option<Format>,
    /// Whether a wide trace's cells are counters.
    pub counters: bool,
    /// How many times faster than real time it is replayed, if not as fast as possible.
    pub speed: Option<f64>,
    /// Where the records go; `-` is standard output.
    pub sink: PathBuf,
    /// How to reach Kafka.
    pub kafka: Settings,
    /// The pipeline's name.
    pub pipeline: String,
    /// Its topics.
    pub topics: Topics,
    /// Sampling period, if it was said.
    pub period: Option<Duration>,
    /// Window length; none (`auto`) if it is to follow from the recording.
    pub length: Option<Duration>,
    /// How far it slides.
    pub hop: Duration,
    /// Share of a window's ticks that may be missing.
    pub missing: f64,
    /// How dependencies are found.
    pub engine: Engine,
    /// Share of the held dependencies that may be false.
    pub fdr: f64,
    /// Order of the AR models.
    pub order: Order,
    /// How they are fitted.
    pub fit: Fit,
    /// How many clusters, if it was said.
    pub clusters: Option<usize>,
    /// Starts of K-means, if it was said.
    pub starts: Option<usize>,
    /// Seed of the starts.
    pub seed: u64,
    /// When a change counts.
    pub hysteresis: Hysteresis,
    /// Worker threads.
    pub workers: usize,
    /// Where metrics and health are served, if they are.
    pub listen: Option<SocketAddr>,
    /// The secret that whoever asks for the dashboard's data must show is in this file.
    pub token_file: Option<PathBuf>,
    /// The names and secrets of those who may decide are in this file.
    pub write_token_file: Option<PathBuf>,
    /// What is logged, and how.
    pub log: Log,
    /// How long the flow may stand still although input waits.
    pub stall: Duration,
    /// What a collector does.
    pub collect: Collect,
    /// And what it reads from Prometheus.
    pub prometheus: Prometheus,
    /// What an agent does.
    pub perturb: Perturb,
}

impl RawConfig {
    /// Sets one key; `place` says where it was said.
    ///
    /// # Errors
    /// An unknown key, with the nearest known one.
    pub fn set(&mut self, name: &str, value: &str, place: &str) -> Result<(), Wrong> {
        if let Some(property) = name.strip_prefix(properties::PREFIX) {
            return self.set_property(property, properties::typed(value), place);
        }
        let known = keys().find(|key| key.name == name);
        let known = known.ok_or_else(|| Wrong { place: place.to_string(), what: unknown(name) })?;
        self.said.insert(known.name, (value.to_string(), place.to_string()));
        Ok(())
    }

    /// Sets what a `key=value` says.
    ///
    /// # Errors
    /// As [`RawConfig::set`], and without `=`.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), Wrong> {
        let needed = || Wrong { place: "--set".into(), what: "KEY=VALUE is needed".into() };
        let (name, value) = pair.split_once('=').ok_or_else(needed)?;
        // Without the value, which may be a password.
        self.set(name.trim(), value.trim(), &format!("--set {}", name.trim()))
    }

    /// Sets what each of some `key=value` says.
    ///
    /// # Errors
    /// All those that [`RawConfig::set_pair`] refuses.
    pub fn set_pairs(&mut self, pairs: &[String]) -> Result<(), ConfigError> {
        let wrong: Vec<Wrong> = pairs.iter().filter_map(|pair| self.set_pair(pair).err()).collect();
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong)) }
    }

    /// Sets what a pipeline file says: TOML tables of keys.
    ///
    /// # Errors
    /// All unknown keys and misplaced values, with their lines.
    pub fn set_file(&mut self, text: &str, file: &str) -> Result<(), ConfigError> {
        let at =
            |offset: usize| format!("{file}:{}", 1 + text[..offset.min(text.len())].matches('\n').count());
        let table = toml::de::DeTable::parse(text).map_err(|error| {
            let place = at(error.span().map_or(0, |span| span.start));
            ConfigError(vec![Wrong { place, what: error.message().to_string() }])
        })?;
        let mut wrong = vec![];
        for (section, content) in table.get_ref() {
            let Some(keys) = content.get_ref().as_table() else {
                wrong.push(Wrong {
                    place: at(section.span().start),
                    what: format!("{} stands outside of a [section]", section.get_ref()),
                });
                continue;
            };
            for (name, content) in keys {
                if let ("kafka", "properties") = (section.get_ref().as_ref(), name.get_ref().as_ref()) {
                    wrong.extend(self.set_properties(content, at));
                    continue;
                }
                let (name, place) =
                    (format!("{}.{}", section.get_ref(), name.get_ref()), at(name.span().start));
                let set = value::as_typed(content.get_ref())
                    .ok_or_else(|| Wrong {
                        place: place.clone(),
                        what: format!("{name} takes a string, a number or true/false"),
                    })
                    .and_then(|typed| self.set(&name, &typed, &place));
                wrong.extend(set.err());
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong)) }
    }

    /// Sets what the environment says: `LWT_WINDOW_HOP` is `window.hop`, `LWT_KAFKA_PROPERTIES_SASL_PASSWORD`
    /// is the property `sasl.password`; other `LWT_` variables are errors. Properties may ask for the others.
    ///
    /// # Errors
    /// All unknown ones.
    pub fn set_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let mut wrong = vec![];
        for (variable, value) in variables {
            if let Some(name) = variable.strip_prefix("LWT_") {
                let place = format!("environment variable {variable}");
                let set = match properties::of_variable(name) {
                    Some(property) => self.set_property(&property, Ok(properties::secret(value)), &place),
                    None => self.set(&name.to_lowercase().replacen('_', ".", 1), &value, &place),
                };
                wrong.extend(set.err());
            } else {
                self.variables.insert(variable, value);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong)) }
    }

    /// A variable of the environment that says nothing of any key.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }

    /// Whether anybody said what the key `name` is to be.
    pub fn says(&self, name: &str) -> bool {
        self.said.contains_key(name)
    }

    /// The value of a key: as it was typed, or its default.
    pub fn value<'a>(&'a self, key: &'a Key) -> &'a str {
        self.said.get(key.name).map_or(key.default, |(value, _)| value)
    }

    /// Lays what `over` says over what was said before.
    pub fn overlay(&mut self, over: RawConfig) {
        self.said.extend(over.said);
        self.properties.extend(over.properties);
        self.variables.overlay(over.variables);
    }

    /// Proves the whole.
    ///
    /// # Errors
    /// All values that cannot be read or are out of range, and those that do not fit each other.
    pub fn prove(&self) -> Result<Config, ConfigError> {
        let mut read = value::Reader::new(self);
        let config = Config {
            kind: read.get("source.kind", value::kind),
            source: read.get("source.path", value::path),
            format: read.get("source.format", value::format),
            counters: read.get("source.counters", value::flag),
            speed: read.get("source.speed", value::speed),
            sink: read.get("sink.path", value::path),
            kafka: Settings {
                brokers: read.get("kafka.brokers", value::brokers),
                properties: self.resolved(),
            },
            pipeline: read.get("kafka.pipeline", value::topic),
            topics: topics(&mut read),
            period: read.get("window.period", value::period),
            length: read.get("window.length", value::length),
            hop: read.get("window.hop", value::duration),
            missing: read.get("window.missing", value::share),
            engine: read.get("engine.kind", value::engine),
            fdr: read.get("engine.fdr", value::fdr),
            order: read.get("engine.order", value::order),
            fit: read.get("engine.fit", value::fit),
            clusters: read.get("engine.clusters", value::clusters),
            starts: read.get("engine.starts", value::starts),
            seed: read.get("engine.seed", value::seed),
            hysteresis: read.get("engine.hysteresis", value::hysteresis),
            workers: read.get("engine.workers", value::workers),
            listen: read.get("serve.listen", value::listen),
            token_file: read.get("serve.token_file", value::file),
            write_token_file: read.get("serve.write_token_file", value::file),
            log: Log {
                format: read.get("log.format", log::format),
                level: read.get("log.level", log::level),
            },
            stall: read.get("engine.stall", value::duration),
            collect: Collect::read(&mut read),
            prometheus: Prometheus::read(&mut read),
            perturb: Perturb::read(&mut read),
        };
        read.finish()?;
        fits::check(&config, self)?;
        Ok(config)
    }

    fn typed(&self, name: &'static str) -> (&str, String) {
        let said = self.said.get(name);
        said.map_or_else(
            || (default_of(name), format!("default of {name}")),
            |(value, place)| (value, place.clone()),
        )
    }
}

fn topics(read: &mut value::Reader<'_>) -> Topics {
    Topics {
        samples: read.get("topics.samples", value::topic),
        assignments: read.get("topics.assignments", value::topic),
        dependencies: read.get("topics.dependencies", value::topic),
        events: read.get("topics.events", value::topic),
        state: read.get("topics.state", value::topic),
        decisions: read.get("topics.decisions", value::topic),
        perturbations: read.get("topics.perturbations", value::topic),
        deadletter: read.get("topics.deadletter", value::topic),
        partitions: read.get("topics.partitions", value::partitions),
        replicas: read.get("topics.replicas", value::replicas),
        outage: read.get("topics.outage", value::outage),
    }
}

fn default_of(name: &str) -> &'static str {
    keys().find(|key| key.name == name).map_or("", |key| key.default)
}

fn unknown(name: &str) -> String {
    let likeness =
        |key: &Key| strsim::jaro_winkler(name, key.name).max(strsim::jaro_winkler(name, last(key.name)));
    let nearest = keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    // Below 0.75 hardly a letter agrees: no key is meant.
    match nearest.filter(|key| likeness(key) >= 0.75) {
        Some(key) => format!("there is no key {name}; the nearest is {}", key.name),
        None => format!("there is no key {name}; lwt check --keys lists them"),
    }
}

/// A key's name without its section, which people forget.
fn last(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, last)| last)
}

#[cfg(test)]
mod tests;
