//! `lwt watch`: what changes, as it changes.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::check;
use crate::config::{Config, RawConfig};
use crate::transport::kafka::client::Client;
use crate::transport::kafka::follow::Follower;
use crate::transport::kafka::state;
use crate::types::VmId;

/// How long nothing is said before what was said is handed on. An event waits for no more than itself.
const PATIENCE: Duration = Duration::from_millis(200);

/// Prints change events as they come, until it is interrupted.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt watch --brokers kafka1:9092                           what changes from now on
  lwt watch --brokers kafka1:9092 --vm web1 --snapshot      where web1 belongs, and then moves
  lwt watch pipelines/datacenter.toml --since 2026-11-23T08:00:00Z --format json | jq .type")]
pub struct Args {
    /// The pipeline file that says where Kafka is, and what the topics are called.
    pipeline: Option<PathBuf>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Begin with what was written then (RFC 3339) [default: now].
    #[arg(long, value_name = "TIME", conflicts_with = "snapshot")]
    since: Option<jiff::Timestamp>,
    /// Only what concerns this VM, by its identity or its name.
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// Only what concerns this ensemble.
    #[arg(long, value_name = "ENSEMBLE")]
    ensemble: Option<String>,
    /// How to print.
    #[arg(long, default_value = "text")]
    format: Format,
    /// First print what holds now. Events of the last window may be in it already.
    #[arg(long)]
    snapshot: bool,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    /// A line an event, for people.
    Text,
    /// A CloudEvent a line; of a snapshot, a record a line: topic, key, value.
    Json,
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, a cluster that cannot be reached or refuses, a closed pipe.
pub fn run(args: &Args, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let config = args.config(environment)?;
    let client = Client::new(&config.kafka)?;
    client.connect()?;
    let since_ms = args.since.map(jiff::Timestamp::as_millisecond);
    // Before the snapshot is taken: what happens meanwhile is in the events.
    let follower = Follower::open(&client, &config.topics.events, since_ms)?;
    if args.snapshot {
        args.print_snapshot(&client, &config, out)?;
    }
    loop {
        let Some(bytes) = follower.next(PATIENCE)? else {
            out.flush()?;
            continue;
        };
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(event) if args.concerns(&event["data"]) => writeln!(out, "{}", args.line(&event))?,
            Ok(_) => {}
            Err(error) => {
                eprintln!("lwt: {} holds something that is no event: {error}", config.topics.events)
            }
        }
    }
}

impl Args {
    fn config(&self, environment: RawConfig) -> anyhow::Result<Config> {
        let mut raw = check::raw(self.pipeline.as_deref(), environment, &self.set)?;
        if let Some(brokers) = &self.brokers {
            raw.set("kafka.brokers", brokers, "--brokers")?;
        }
        Ok(raw.prove()?)
    }

    fn print_snapshot(&self, client: &Client, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
        for topic in [&config.topics.assignments, &config.topics.dependencies] {
            for (key, bytes) in state::load(client, topic)? {
                let value: Value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{topic} holds something that is no record: {key}"))?;
                if !self.concerns(&value) {
                    continue;
                }
                match self.format {
                    Format::Json => {
                        writeln!(out, "{}", json!({ "topic": topic, "key": key, "value": value }))?
                    }
                    Format::Text => writeln!(out, "{}", held(&value))?,
                }
            }
        }
        Ok(out.flush()?)
    }

    /// Whether an event's data, or a record, is about what was asked for.
    fn concerns(&self, data: &Value) -> bool {
        let is_vm = |field: &str, asked: &str| {
            data[field].as_str().is_some_and(|vm| vm == asked || VmId::new(vm).name() == asked)
        };
        let vm = |asked: &String| ["vm", "a", "b"].iter().any(|field| is_vm(field, asked));
        let ensemble = |asked: &String| names(&data["ensemble"]).contains(&asked.as_str());
        self.vm.as_ref().is_none_or(vm) && self.ensemble.as_ref().is_none_or(ensemble)
    }

    fn line(&self, event: &Value) -> String {
        match self.format {
            Format::Json => event.to_string(),
            Format::Text => told(event),
        }
    }
}

/// The ensembles of an assignment or event.
fn names(ensemble: &Value) -> Vec<&str> {
    match ensemble {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

/// A record of a snapshot, in words.
fn held(value: &Value) -> String {
    let text = |field: &str| value[field].as_str().unwrap_or("?");
    if value["vm"].is_null() {
        return format!("{} and {} depend on each other{}", text("a"), text("b"), evidence(value));
    }
    let ensembles = names(&value["ensemble"]);
    if ensembles.is_empty() {
        let why = if value["decided"] == "ignored" { ": somebody decided so" } else { "" };
        return format!("{} is in no ensemble{why}", text("vm"));
    }
    format!("{} is in {}", text("vm"), ensembles.join(", "))
}

/// An event, in words.
fn told(event: &Value) -> String {
    let (data, kind) = (&event["data"], event["type"].as_str().unwrap_or("?"));
    let verb = kind.rsplit('.').next().unwrap_or(kind);
    let time = event["time"].as_str().unwrap_or("?");
    let text = |field: &str| data[field].as_str().unwrap_or("?");
    if !data["a"].is_null() {
        return format!("{time} {} and {}: dependency {verb}{}", text("a"), text("b"), evidence(data));
    }
    match (data["vm"].as_str(), data["ensemble"].as_str()) {
        (Some(vm), Some(ensemble)) => format!("{time} {vm} {verb} {ensemble}"),
        (Some(vm), None) => format!("{time} {vm} {verb}"),
        _ => format!("{time} {}", kind.trim_start_matches("lwt.").replace('.', " ")),
    }
}

fn evidence(value: &Value) -> String {
    let known = ["strength", "confidence"]
        .iter()
        .filter_map(|field| Some(format!(", {field} {:.3}", value[*field].as_f64()?)));
    let decided = value["decided"].as_str().map(|decided| format!(", {decided} by somebody"));
    known.chain(decided).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let rows = [
            (
                json!({"type":"lwt.ensemble.joined","time":"T","data":{"vm":"h/a","ensemble":"e1"}}),
                "T h/a joined e1",
            ),
            (json!({"type":"lwt.vm.gone","time":"T","data":{"vm":"h/a"}}), "T h/a gone"),
            (json!({"type":"lwt.window.completed","time":"T","data":{}}), "T window completed"),
            (
                json!({"type":"lwt.dependency.appeared","time":"T","data":{"a":"a","b":"b","strength":0.5}}),
                "T a and b: dependency appeared, strength 0.500",
            ),
            (
                json!({"type":"lwt.dependency.appeared","time":"T","data":{"a":"a","b":"b","strength":null,"decided":"confirmed"}}),
                "T a and b: dependency appeared, confirmed by somebody",
            ),
            (json!({"type":"lwt.vm.ignored","time":"T","data":{"vm":"h/a"}}), "T h/a ignored"),
            (json!(7), "? ?"),
        ];
        for (event, want) in rows {
            assert_eq!(told(&event), want);
        }
        assert_eq!(held(&json!({"vm":"a","ensemble":["e1","e2"]})), "a is in e1, e2");
        assert_eq!(held(&json!({"vm":"a","ensemble":null})), "a is in no ensemble");
        let ignored = json!({"vm":"a","ensemble":null,"decided":"ignored"});
        assert_eq!(held(&ignored), "a is in no ensemble: somebody decided so");
    }
}
