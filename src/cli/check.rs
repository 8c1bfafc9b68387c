//! `lwt check`: are these pipeline files right?

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{self, RawConfig, engine_of};
use crate::dependencies::Engine;

/// Checks pipeline files, and says everything that is wrong with them.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  lwt check pipelines/*.toml\n  lwt check --keys          all keys, with their defaults"
)]
pub struct Args {
    /// The files.
    #[arg(required_unless_present = "keys")]
    files: Vec<PathBuf>,
    /// Print all keys as a pipeline file with their defaults.
    #[arg(long)]
    keys: bool,
}

/// Reads one pipeline file, on top of what `raw` says already.
///
/// # Errors
/// When it cannot be read, and everything in it that is not a key and a value.
pub fn read_into(file: &Path, raw: &mut RawConfig) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(raw.set_file(&text, &file.display().to_string())?)
}

/// What a pipeline file, if there is one, the environment and --set say together, each above the one before.
///
/// # Errors
/// As [`read_into`]; a key that there is not.
pub fn raw(pipeline: Option<&Path>, environment: RawConfig, set: &[String]) -> anyhow::Result<RawConfig> {
    let mut raw = RawConfig::default();
    if let Some(pipeline) = pipeline {
        read_into(pipeline, &mut raw)?;
    }
    raw.overlay(environment);
    raw.set_pairs(set)?;
    Ok(raw)
}

/// Whether one pipeline file, under what the environment says, is right.
fn check(file: &Path, environment: &RawConfig) -> anyhow::Result<()> {
    raw(Some(file), environment.clone(), &[])?.prove()?;
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// When one of the files is not right; all are looked at.
pub fn run(args: &Args, raw: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    if args.keys {
        return keys(out);
    }
    let mut wrong = 0;
    for file in &args.files {
        match check(file, &raw) {
            Ok(()) => writeln!(out, "{}: ok", file.display())?,
            Err(error) => {
                wrong += 1;
                eprintln!("{error:#}");
            }
        }
    }
    anyhow::ensure!(wrong == 0, "{wrong} of {} files are not right", args.files.len());
    Ok(())
}

fn keys(out: &mut impl Write) -> anyhow::Result<()> {
    let mut section = "";
    for key in config::keys() {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            section = of;
            writeln!(out, "[{section}]")?;
        }
        // Only what the default engine reads may be said to it.
        let other = engine_of(key.name).is_some_and(|engine| engine != Engine::Coupling);
        let line = format!("{}{name} = {:?}", if other { "# " } else { "" }, key.default);
        writeln!(out, "{line:<30} # {}", key.about)?;
    }
    Ok(())
}
