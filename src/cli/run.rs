//! `lwt run`: what a pipeline file says, until its source ends; over Kafka that is never.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::session::{self, Happened};
use super::{Clock, check, input};
use crate::config::{Kind, RawConfig};
use crate::events;
use crate::pipeline::Feed;
use crate::simd::Simd;
use crate::transport::file::Batch;
use crate::transport::records::{Record, Topic};
use crate::transport::sink::Sink;
use crate::transport::wire;
use crate::types::{DeadLetter, Tick};

mod service;

/// Runs a pipeline: reads samples, writes assignments, dependencies and events as they change.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt run pipelines/replay.toml --set source.path=trace.csv.gz --set sink.path=out
  lwt run pipelines/datacenter.toml --set kafka.brokers=kafka1:9092
  lwt run pipelines/datacenter.toml -w 2 -n 2 -p 0 -H hosts.txt      the first of two processes
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
    /// How many processes work together (over Kafka).
    #[arg(short = 'n', long, value_name = "N", requires = "process", requires = "hosts")]
    processes: Option<usize>,
    /// Which of them this is, from 0.
    #[arg(short, long, value_name = "I", requires = "processes")]
    process: Option<usize>,
    /// A file with the host:port of each, a line each, the same for all.
    #[arg(short = 'H', long, value_name = "FILE", requires = "processes")]
    hosts: Option<PathBuf>,
}

impl Args {
    /// The processes that work together, and which of them this is.
    fn processes(&self) -> anyhow::Result<Option<(usize, Vec<String>)>> {
        let (Some(n), Some(process), Some(file)) = (self.processes, self.process, &self.hosts) else {
            return Ok(None);
        };
        let place = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
        let hosts: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
        anyhow::ensure!(process < n, "-p {process}: of {n} processes the last is {}", n.max(1) - 1);
        anyhow::ensure!(hosts.len() == n, "{place}: {} hosts, but -n says {n} processes", hosts.len());
        let portless = hosts.iter().find(|host| !host.contains(':'));
        anyhow::ensure!(
            portless.is_none(),
            "{place}: every line is host:port, not {}",
            portless.map_or("", |v| v)
        );
        Ok(Some((process, hosts)))
    }
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, input that cannot be read, output that cannot be written.
pub fn run(args: &Args, environment: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    let mut raw = check::raw(Some(&args.pipeline), environment, &args.set)?;
    if let Some(workers) = &args.workers {
        raw.set("engine.workers", workers, "--workers")?;
    }
    let config = raw.prove()?;
    let processes = args.processes()?;
    if config.kind == Kind::Kafka {
        return service::run(&config, processes, now_ms);
    }
    anyhow::ensure!(processes.is_none(), "-n is for source.kind = kafka: one process reads a trace");
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

/// The record of what was refused.
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
