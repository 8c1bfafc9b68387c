//! `lwt perturb status`, `history`, `stop`, `resume`, `restore`: what an operator of a host sees and does.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::{Here, agent};
use crate::agent::keeper::{Clocks, put_back};
use crate::agent::store::{Store, holder, is_stopped, look, set_stop};
use crate::config::RawConfig;
use crate::perturb::journal::{Entry, Held, How};

/// How long a keeper at work is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is capped on this host now, and whether an agent runs.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb status pipelines/perturb.toml")]
pub struct Status {
    #[command(flatten)]
    place: Here,
}

/// What was done on this host, from the agent's journal.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb journal pipelines/perturb.toml | tail")]
pub struct Journal {
    #[command(flatten)]
    place: Here,
}

/// Lifts everything on this host within a second, and lets nothing be capped until `lwt perturb resume`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb stop pipelines/perturb.toml")]
pub struct Stop {
    #[command(flatten)]
    place: Here,
}

/// Takes the stop switch off.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb resume pipelines/perturb.toml")]
pub struct Resume {
    #[command(flatten)]
    place: Here,
}

/// Puts back what was before all caps that a dead agent has left, and ends when that has succeeded.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb restore pipelines/perturb.toml")]
pub struct Restore {
    #[command(flatten)]
    place: Here,
}

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn run(&self, environment: RawConfig, clocks: Clocks, out: &mut impl Write) -> anyhow::Result<()> {
        let perturb = self.place.config(environment)?.perturb;
        let folder = &perturb.state;
        let held = Held::of(&look(folder)?);
        writeln!(out, "perturbation: {}", if perturb.rules.on { "on" } else { "off (perturb.enabled)" })?;
        writeln!(out, "runs: {}", holder(folder).unwrap_or_else(|| "nobody".into()))?;
        writeln!(out, "stop switch: {}", is_stopped(folder).map_or("off", |_| "on"))?;
        for cap in held.caps.values() {
            let left_ms = cap.until_boot_ms - (clocks.boot_ms)();
            writeln!(
                out,
                "capped: {} to {:.3} cores ({}; before: {}), {:.1} s left",
                cap.vm,
                f64::from(cap.cap_ppm) / 1e6,
                cap.set,
                cap.before,
                left_ms as f64 / 1e3
            )?;
        }
        if held.caps.is_empty() {
            writeln!(out, "capped: nothing")?;
        }
        Ok(())
    }
}

impl Journal {
    /// Runs the command.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn run(&self, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
        let entries = look(&self.place.config(environment)?.perturb.state)?;
        for entry in entries.values() {
            let (at_ms, what) = match entry {
                Entry::Begun { at_ms } => (at_ms, "the journal was begun".into()),
                Entry::Taken { vm, serial, used_ms, at_ms, .. } => {
                    let used_s = *used_ms as f64 / 1e3;
                    (at_ms, format!("{vm}: command {serial} taken, {used_s:.1} s of the day's budget used"))
                }
                Entry::Cap(cap) => {
                    let cores = |ppm| f64::from(ppm) / 1e6;
                    let (cap_cores, used_cores) = (cores(cap.cap_ppm), cores(cap.used_ppm));
                    let what = format!("{}: capped to {cap_cores:.3} of {used_cores:.3} cores", cap.vm);
                    (&cap.at_ms, format!("{what} ({}; before: {})", cap.set, cap.before))
                }
                Entry::Closed { cap, how, at_ms } => {
                    let vm = match entries.get(cap) {
                        Some(Entry::Cap(cap)) => cap.vm.to_string(),
                        _ => format!("cap {cap}"),
                    };
                    (at_ms, format!("{vm}: {}", ended(how)))
                }
            };
            let at = Timestamp::from_millisecond(*at_ms).unwrap_or_default();
            writeln!(out, "{at:.3} {what}")?;
        }
        Ok(())
    }
}

fn ended(how: &How) -> String {
    match how {
        How::Lifted => "lifted".into(),
        How::Not => "not capped after all".into(),
        How::Foreign(found) => format!("left alone: somebody else has set its cap ({found})"),
        How::Gone => "gone".into(),
    }
}

impl Stop {
    /// Runs the command.
    ///
    /// # Errors
    /// A folder in which the switch cannot be made.
    pub fn run(&self, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
        set_stop(&self.place.config(environment)?.perturb.state, true)?;
        Ok(writeln!(out, "stopped: nothing is capped here until lwt perturb resume")?)
    }
}

impl Resume {
    /// Runs the command.
    ///
    /// # Errors
    /// A switch that cannot be removed.
    pub fn run(&self, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
        set_stop(&self.place.config(environment)?.perturb.state, false)?;
        Ok(writeln!(out, "the stop switch is off")?)
    }
}

impl Restore {
    /// Runs the command.
    ///
    /// # Errors
    /// A state folder that somebody holds: an agent that runs, or a keeper that is at work.
    pub fn run(&self, environment: RawConfig, clocks: Clocks, out: &mut impl Write) -> anyhow::Result<()> {
        let config = self.place.config(environment)?;
        let mut store = Store::open(&config.perturb.state, "restore", PATIENCE)?;
        let actuator = agent::actuator(&config)?;
        let ended = put_back(&actuator, Default::default(), Some(&mut store), clocks, || true);
        Ok(writeln!(out, "{} caps were left", ended.len())?)
    }
}
