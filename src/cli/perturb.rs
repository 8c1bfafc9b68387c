//! `lwt perturb`: asks which VMs answer when one is capped for a moment; and on the hosts does it, safely.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Clock, check, input};
use crate::agent::keeper::Clocks;
use crate::config::{Config, RawConfig};
use crate::perturb::record::{Record, Verdict};
use crate::perturb::verdict::Params;

mod agent;
mod campaign;
mod history;
mod host;
mod judge;
mod keys;
mod park;
mod plan;
mod told;

/// Asks which VMs depend on each other: caps one for a moment, and watches who answers.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt perturb plan --brokers kafka1:9092 --dry-run    which pairs a cap could settle
  lwt perturb agent pipelines/perturb.toml            on a host: caps, within its own rules
  lwt perturb stop                                    on a host: lifts everything at once")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Plan(Box<plan::Args>),
    Judge(judge::Args),
    History(history::Args),
    Keys(keys::Args),
    Agent(Box<agent::Args>),
    Status(host::Status),
    Journal(host::Journal),
    Stop(host::Stop),
    Resume(host::Resume),
    Restore(host::Restore),
    /// Puts back what was before when the agent that started it dies or hangs.
    #[command(hide = true)]
    Keeper,
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
        let flags = [("kafka.brokers", "--brokers", &self.brokers)];
        config(self.pipeline.as_deref(), environment, &self.set, &flags)
    }
}

/// Which agent's state folder, or whose pipeline file says so.
#[derive(clap::Args)]
struct Here {
    /// The pipeline file that the agent uses.
    pipeline: Option<PathBuf>,
    /// The agent's state folder [default: what perturb.state says].
    #[arg(long, value_name = "FOLDER")]
    state: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Here {
    fn config(&self, environment: RawConfig) -> anyhow::Result<Config> {
        let flags = [("perturb.state", "--state", &self.state)];
        config(self.pipeline.as_deref(), environment, &self.set, &flags)
    }
}

/// What file, environment and flags say together.
fn config(
    pipeline: Option<&Path>,
    environment: RawConfig,
    set: &[String],
    flags: &[(&str, &str, &Option<String>)],
) -> anyhow::Result<Config> {
    let mut raw = check::raw(pipeline, environment, set)?;
    input::set_flags(&mut raw, flags)?;
    Ok(raw.prove()?)
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
/// A wrong configuration; a state folder that cannot be used; whatever the part says.
pub fn run(
    args: &Args,
    environment: RawConfig,
    (wall_ms, boot_ms): (Clock, Clock),
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let clocks = Clocks { wall_ms, boot_ms };
    match &args.what {
        What::Plan(args) => plan::run(args, environment, wall_ms, out),
        What::Judge(args) => judge::run(args, out),
        What::History(args) => history::run(args, environment, out),
        What::Keys(args) => args.run(out),
        What::Agent(args) => agent::run(args, environment, clocks, out),
        What::Status(args) => args.run(environment, clocks, out),
        What::Journal(args) => args.run(environment, out),
        What::Stop(args) => args.run(environment, out),
        What::Resume(args) => args.run(environment, out),
        What::Restore(args) => args.run(environment, clocks, out),
        What::Keeper => agent::keeper(clocks),
    }
}
