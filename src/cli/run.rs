//! `lwt run`: what a pipeline file says, until its source ends.

use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::session::{self, Happened};
use super::{check, input};
use crate::config::RawConfig;
use crate::events;
use crate::pipeline::Feed;
use crate::simd::Simd;
use crate::transport::file::Batch;
use crate::transport::records::{Record, Topic};
use crate::transport::sink::Sink;
use crate::transport::wire;
use crate::types::{DeadLetter, Tick};

/// Runs a pipeline: reads samples, writes assignments, dependencies and events as they change.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt run pipelines/replay.toml --set source.path=trace.csv.gz --set sink.path=out
  lwt check --keys          all keys that --set takes, with their defaults")]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Worker threads [default: what engine.workers says].
    #[arg(short, long, value_name = "N")]
    workers: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, input that cannot be read, output that cannot be written.
pub fn run(args: &Args, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let mut raw = RawConfig::default();
    check::read_into(&args.pipeline, &mut raw)?;
    raw.overlay(environment);
    raw.set_pairs(&args.set)?;
    if let Some(workers) = &args.workers {
        raw.set("engine.workers", workers, "--workers")?;
    }
    let config = raw.prove()?;
    let mut trace = input::open(&config)?;
    let period_ms = trace.period_ms();
    let plan = session::plan(&config, period_ms, true, Simd::detect())?;
    let mut sink = Sink::open(&config.sink)?;
    let mut feed: Feed = Box::new(move |batch| trace.read(batch));
    if let Some(speed) = config.speed {
        feed = paced(feed, period_ms, speed);
    }
    let (_, failed) = session::follow(&plan, feed, period_ms, |happened| match happened {
        Happened::Window { window, state, end_ms } => {
            Ok(sink.write(&events::records(&window.changes, state, end_ms), out)?)
        }
        Happened::Refused(dead) => Ok(sink.write(&dead.iter().map(dead_letter).collect::<Vec<_>>(), out)?),
        Happened::Read { .. } => Ok(()),
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn dead_letter(letter: &DeadLetter) -> Record {
    Record {
        topic: Topic::DeadLetter,
        key: letter.origin.clone(),
        value: serde_json::from_slice(&wire::write_dead_letter(letter)).ok(),
    }
}

/// Slows `feed` down to `speed` times the pace at which it was recorded: after each batch it rests for as
/// long as the batch's ticks lasted.
pub fn paced(mut feed: Feed, period_ms: u64, speed: f64) -> Feed {
    let mut before: Option<Tick> = None;
    Box::new(move |batch: &mut Batch| {
        let progress = feed(batch)?;
        if let (Some(from), Some(to)) = (before, batch.watermark) {
            let ticks = (to - from).max(0) as f64;
            thread::sleep(Duration::from_secs_f64(ticks * period_ms as f64 / 1000.0 / speed));
        }
        before = batch.watermark.or(before);
        Ok(progress)
    })
}
