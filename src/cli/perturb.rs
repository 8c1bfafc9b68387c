//! `lwt perturb`: asks which VMs answer when one is capped for a moment, and does it, safely.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Clock, check};
use crate::agent::keeper::Clocks;
use crate::config::{Config, RawConfig};

mod agent;
mod host;
mod keys;
mod told;

/// Asks which VMs depend on each other: caps one for a moment, and watches who answers.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Agent(Box<agent::Args>),
    Status(host::Status),
    History(host::History),
    Stop(host::Stop),
    Resume(host::Resume),
    Restore(host::Restore),
    Keys(keys::Args),
    /// Puts back what was before when the agent that started it dies or hangs.
    #[command(hide = true)]
    Keeper,
}

/// Which state folder, or whose pipeline file says so.
#[derive(clap::Args)]
struct Place {
    /// The pipeline file that the agent uses.
    pipeline: Option<PathBuf>,
    /// The agent's state folder [default: what perturb.state says].
    #[arg(long, value_name = "FOLDER")]
    state: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Place {
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
    let mut raw = RawConfig::default();
    if let Some(pipeline) = pipeline {
        check::read_into(pipeline, &mut raw)?;
    }
    raw.overlay(environment);
    raw.set_pairs(set)?;
    for (key, flag, value) in flags {
        if let Some(value) = value {
            raw.set(key, value, flag)?;
        }
    }
    Ok(raw.prove()?)
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
        What::Agent(args) => agent::run(args, environment, clocks, out),
        What::Status(args) => args.run(environment, clocks, out),
        What::History(args) => args.run(environment, out),
        What::Stop(args) => args.run(environment, out),
        What::Resume(args) => args.run(environment, out),
        What::Restore(args) => args.run(environment, clocks, out),
        What::Keys(args) => args.run(out),
        What::Keeper => agent::keeper(clocks),
    }
}
