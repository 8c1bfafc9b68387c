//! `lwt topics`: makes Kafka's topics as lwt needs them, and says what is wrong with those that are there.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::check;
use crate::config::RawConfig;
use crate::transport::kafka::admin::{self, State};
use crate::transport::kafka::client::Client;

/// Makes and checks the topics in Kafka.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Makes the topics that are missing, and checks the others, which it leaves as they are.
    #[command(after_help = "Examples:
  lwt topics create --brokers kafka1:9092,kafka2:9092
  lwt topics create pipelines/datacenter.toml --partitions 24 --replicas 3
  lwt topics create --brokers kafka1:9093 --set kafka.properties.security.protocol=SSL")]
    Create(Which),
    /// Says what is wrong with the topics and what to do about it, a line each.
    #[command(after_help = "Example:
  lwt topics check pipelines/datacenter.toml")]
    Check(Which),
}

/// Which topics, and where.
#[derive(clap::Args)]
struct Which {
    /// The pipeline file that they are for.
    pipeline: Option<PathBuf>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Partitions of the samples [default: what topics.partitions says].
    #[arg(long, value_name = "N")]
    partitions: Option<String>,
    /// Copies of each topic [default: what topics.replicas says].
    #[arg(long, value_name = "N")]
    replicas: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, a cluster that cannot be reached, topics that are not right.
pub fn run(args: &Args, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let (What::Create(which) | What::Check(which)) = &args.what;
    let config = which.raw(environment)?.prove()?;
    let length = config.length.context("window.length must be said: it decides how long samples are kept")?;
    let client = Client::new(&config.kafka)?;
    let mut state = admin::check(&client, &config.topics, length, config.hop)?;
    if matches!(args.what, What::Create(_)) {
        let before = state.missing.clone();
        state = admin::create(&client, state)?;
        for name in before.iter().filter(|name| !state.missing.contains(name)) {
            writeln!(out, "{name}: made")?;
        }
    }
    report(&state, out)
}

impl Which {
    fn raw(&self, environment: RawConfig) -> anyhow::Result<RawConfig> {
        let mut raw = check::raw(self.pipeline.as_deref(), environment, &self.set)?;
        for (key, flag, value) in [
            ("kafka.brokers", "--brokers", &self.brokers),
            ("topics.partitions", "--partitions", &self.partitions),
            ("topics.replicas", "--replicas", &self.replicas),
        ] {
            if let Some(value) = value {
                raw.set(key, value, flag)?;
            }
        }
        Ok(raw)
    }
}

fn report(state: &State, out: &mut impl Write) -> anyhow::Result<()> {
    for wanted in &state.wanted {
        if state.faults.iter().all(|fault| fault.topic != wanted.name) {
            writeln!(out, "{}: ok", wanted.name)?;
        }
    }
    out.flush()?;
    state.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let topics =
        state.wanted.iter().filter(|w| state.faults.iter().any(|fault| fault.topic == w.name)).count();
    anyhow::ensure!(topics == 0, "{topics} of {} topics are not right", state.wanted.len());
    Ok(())
}
