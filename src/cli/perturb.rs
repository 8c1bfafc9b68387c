//! `lwt perturb`: asks which VMs answer when one is capped for a moment.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Clock, check};
use crate::config::{Config, RawConfig};
use crate::perturb::record::{Record, Verdict};
use crate::perturb::verdict::Params;

mod campaign;
mod history;
mod judge;
mod park;
mod plan;

/// Asks which VMs depend on each other: caps one for a moment, and watches who answers.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Plan(Box<plan::Args>),
    Judge(judge::Args),
    History(history::Args),
}

/// Where Kafka is, and what the topics are called.
#[derive(clap::Args)]
struct Place {
    /// The pipeline file that says where Kafka is, and what the topics are called.
    pipeline: Option<PathBuf>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Place {
    fn config(&self, environment: RawConfig) -> anyhow::Result<Config> {
        let mut raw = RawConfig::default();
        if let Some(pipeline) = &self.pipeline {
            check::read_into(pipeline, &mut raw)?;
        }
        raw.overlay(environment);
        raw.set_pairs(&self.set)?;
        if let Some(brokers) = &self.brokers {
            raw.set("kafka.brokers", brokers, "--brokers")?;
        }
        Ok(raw.prove()?)
    }
}

/// How wrong verdicts may be.
#[derive(clap::Args)]
struct Errors {
    /// Share of the pairs that do not depend on each other and are confirmed all the same.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    alpha: f64,
    /// Share of the pairs that do depend on each other and are refuted all the same.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    beta: f64,
    /// What it means to depend: to fall by this share of what the capped VM falls by, relatively.
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    effect: f64,
    /// The most blocks of two slots, in one of which the VM is capped; who is undecided then stays so.
    #[arg(long, value_name = "N", default_value_t = 40)]
    blocks: usize,
}

impl Errors {
    fn params(&self) -> anyhow::Result<Params> {
        // A pair may be asked about in both directions.
        Ok(Params::new(self.alpha / 2.0, self.beta, self.effect, self.blocks)?)
    }
}

/// How to print.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    /// A line each, for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Prints a verdict.
fn print(verdict: &Verdict, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    match format {
        Format::Text => writeln!(out, "{}", verdict.told())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(verdict)?)?,
    }
    Ok(())
}

/// Reads the records of a file, a line each; what is none is told with its line.
///
/// # Errors
/// A file that cannot be read, or is not of records.
pub(super) fn read_records(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(i, line): (usize, &str)| {
        Record::read(line.as_bytes()).with_context(|| format!("{}:{}", path.display(), i + 1))
    };
    lines.map(read).collect()
}

/// The verdicts among the records of a file.
///
/// # Errors
/// As [`read_records`].
pub(super) fn read_verdicts(path: &Path) -> anyhow::Result<Vec<Verdict>> {
    Ok(read_records(path)?.into_iter().filter_map(verdict).collect())
}

fn verdict(record: Record) -> Option<Verdict> {
    if let Record::Verdict(verdict) = record { Some(verdict) } else { None }
}

/// Two VMs of `--ask`.
fn two(text: &str) -> Result<(String, String), String> {
    match text.split_once(',') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() && a != b => Ok((a.into(), b.into())),
        _ => Err("two VMs, with a comma between them".into()),
    }
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, and whatever the part says.
pub fn run(args: &Args, environment: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    match &args.what {
        What::Plan(args) => plan::run(args, environment, now_ms, out),
        What::Judge(args) => judge::run(args, out),
        What::History(args) => history::run(args, environment, out),
    }
}
