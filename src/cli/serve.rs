//! `lwt serve`: the dashboard and the API, of what a pipeline publishes to Kafka, or of a recording.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::input::{self, Input};
use super::run::paced;
use super::session::{self, Happened};
use super::stop::Stop;
use super::{Clock, check, dashboard, decide};
use crate::config::{Config, RawConfig};
use crate::decisions::record::Entry;
use crate::pipeline::Feed;
use crate::serve::board::Board;
use crate::serve::history::{History, Picture};
use crate::simd::Simd;
use crate::transport::intake::Batch;
use crate::transport::kafka::client::Client;
use crate::transport::kafka::follow::Follower;
use crate::transport::kafka::source::{Grid, Source};
use crate::transport::kafka::state;
use crate::transport::records::{Assignment, Dependency, Event};

/// How long nothing comes before what was written is taken to be read; at first a connection must be made.
const QUIET: Duration = Duration::from_millis(300);
const FIRST: Duration = Duration::from_secs(5);

/// How often what holds is read until nothing has changed meanwhile: a window a second leaves 0.7 s for it.
const TIMES: usize = 5;

/// How long it may take to leave.
const GRACE: Duration = Duration::from_secs(2);

/// Shows what a pipeline finds: a dashboard in the browser, and the API.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt serve --trace trace.csv                        a recording; then open http://127.0.0.1:7890
  lwt serve --trace day.csv.gz --speed 60            as it happened, a minute a second
  lwt serve pipelines/datacenter.toml --listen 127.0.0.1:7880    what lwt run with the same file publishes
  lwt serve --brokers kafka1:9092 --listen 0.0.0.0:7890 --set serve.token_file=/etc/lwt/token \\
      --set serve.write_token_file=/etc/lwt/deciders        and who may decide something there

What the API offers: http://127.0.0.1:7890/api/v1/openapi.json")]
pub struct Args {
    /// The pipeline file that says where Kafka is, what the topics are called, and how long windows are.
    pipeline: Option<PathBuf>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Where to listen [default: what serve.listen says]; beyond this machine only with serve.token_file.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Instead of what is published: a recording, analysed here; - is standard input.
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// A recording: so many times as fast as it was recorded [default: as fast as possible].
    #[arg(long, value_name = "FACTOR", requires = "trace")]
    speed: Option<String>,
    #[command(flatten)]
    input: Input,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Args {
    fn config(&self, environment: RawConfig) -> anyhow::Result<Config> {
        let mut raw = check::raw(self.pipeline.as_deref(), environment, &self.set)?;
        self.input.set(&mut raw)?;
        let flags = [
            ("kafka.brokers", "--brokers", &self.brokers),
            ("serve.listen", "--listen", &self.listen),
            ("source.path", "--trace", &self.trace),
            ("source.speed", "--speed", &self.speed),
        ];
        input::set_flags(&mut raw, &flags)?;
        Ok(raw.prove()?)
    }
}

/// Runs the command until it is told to stop.
///
/// # Errors
/// A wrong configuration, a port that is not free, a recording or cluster that cannot be read.
pub fn run(args: &Args, environment: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    let config = args.config(environment)?;
    let stop = Stop::on_signals(GRACE, || ())?;
    match &args.trace {
        Some(trace) => recording(&config, trace, out)?,
        None => published(&config, &stop, now_ms, out)?,
    }
    while !stop.is_told() {
        thread::sleep(QUIET);
    }
    Ok(())
}

/// Opens the dashboard, and says where.
fn open(config: &Config, board: Arc<Board>, out: &mut impl Write) -> anyhow::Result<()> {
    let address = config.listen.context("serve.listen is off: there is nothing to do")?;
    let address = dashboard::open(board, address, false, config)?;
    writeln!(out, "dashboard: http://{address}")?;
    Ok(out.flush()?)
}

/// A recording is analysed and shown at the same time.
fn recording(config: &Config, name: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let mut trace = input::open(config)?;
    trace.notes().iter().for_each(|note| eprintln!("lwt: {note}"));
    let period_ms = trace.period_ms();
    let plan = session::plan(config, period_ms, false, Simd::detect())?;
    let board = dashboard::board(config, period_ms, Some(format!("the recording {name}")), None)?;
    open(config, board.clone(), out)?;
    let mut feed: Feed = Box::new(move |batch| trace.read(batch));
    if let Some(speed) = config.speed {
        feed = paced(feed, period_ms, speed);
    }
    let mut refused = 0;
    let (state, failed) =
        session::follow(&plan, dashboard::tapped(feed, board.clone()), period_ms, |happened| {
            match happened {
                Happened::Window { window, end_ms, .. } => dashboard::show(&board, window, end_ms),
                Happened::Refused(dead) => refused += dead.len(),
                Happened::Read { .. } => {}
            }
            Ok(())
        })?;
    if refused > 0 {
        eprintln!("lwt: {refused} times input was refused; lwt analyze says why");
    }
    if let Some(error) = failed {
        eprintln!("lwt: {:#}", anyhow::Error::from(error));
    }
    board.end();
    writeln!(out, "the recording has been read: {} windows; Ctrl-C ends this", state.windows)?;
    Ok(out.flush()?)
}

/// What is published is followed.
fn published(config: &Config, stop: &Stop, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    let client = Arc::new(Client::new(&config.kafka)?);
    client.connect()?;
    let period_ms = config.period.unwrap_or(session::PERIOD).as_millis() as u64;
    let note = format!("Kafka at {}", client.brokers());
    let desk = decide::desk(client.clone(), config, now_ms);
    let board = dashboard::board(config, period_ms, Some(note), Some(desk))?;
    // From the oldest event that is still there: they are the history.
    let follower = Follower::open(&client, &config.topics.events, Some(0))?;
    board.resume(history(&client, &follower, config)?);
    open(config, board.clone(), out)?;
    listen_to_samples(client.clone(), config, (period_ms, board.about.window_ms), board.clone(), now_ms)?;
    listen_to_decisions(client.clone(), config, board.clone())?;
    while !stop.is_told() {
        if let Some(bytes) = follower.next(QUIET)? {
            match serde_json::from_slice::<Event>(&bytes) {
                Ok(event) => board.push(&event),
                Err(error) => {
                    eprintln!("lwt: {} holds something that is no event: {error}", config.topics.events)
                }
            }
        }
    }
    Ok(())
}

/// The events so far, and what holds after them.
fn history(client: &Client, follower: &Follower<'_>, config: &Config) -> anyhow::Result<History> {
    let (mut events, mut patience) = (vec![], FIRST);
    let mut picture = Picture::default();
    for _ in 0..TIMES {
        let known = events.len();
        while let Some(bytes) = follower.next(patience)? {
            patience = QUIET;
            // What is no event was not written by lwt, and is none.
            events.extend(serde_json::from_slice::<Event>(&bytes));
        }
        if known > 0 && events.len() == known {
            break;
        }
        patience = QUIET;
        picture = holds(client, config)?;
        if events.is_empty() {
            break;
        }
    }
    Ok(History::resume(picture, events.into_iter()))
}

/// What the compacted topics say.
fn holds(client: &Client, config: &Config) -> anyhow::Result<Picture> {
    let assignments = records::<Assignment>(client, &config.topics.assignments)?;
    let dependencies = records::<Dependency>(client, &config.topics.dependencies)?;
    let assignments = assignments.into_iter().map(|(_, record)| record);
    Ok(Picture::of_records(assignments, dependencies.into_iter()))
}

/// Each record, with the end of the window that it is of.
fn records<T: DeserializeOwned>(client: &Client, topic: &str) -> anyhow::Result<Vec<(i64, T)>> {
    let read = |(key, bytes): (String, Vec<u8>)| {
        let value: Value = serde_json::from_slice(&bytes)?;
        let end_ms = value["window_end_ms"].as_i64().unwrap_or(0);
        let record = T::deserialize(value)
            .with_context(|| format!("{topic} holds something that is no record: {key}"))?;
        anyhow::Ok((end_ms, record))
    };
    state::load(client, topic)?.into_iter().map(read).collect()
}

/// Shows samples, too, for as long as they can be read.
fn listen_to_samples(
    client: Arc<Client>,
    config: &Config,
    (period_ms, window_ms): (u64, u64),
    board: Arc<Board>,
    now_ms: Clock,
) -> anyhow::Result<()> {
    let window = session::plan(config, period_ms, true, Simd::detect())?.window;
    let grid = Grid { period_ms, hop_ticks: window.hop() as i64, scales: window.scales().to_vec() };
    let topic = config.topics.samples.clone();
    let follow = move || -> anyhow::Result<()> {
        let from_ms = now_ms() - window_ms as i64;
        let (mut source, mut batch) =
            (Source::open(&client, &topic, (0, 1), grid, Some(from_ms))?, Batch::default());
        loop {
            source.read(&mut batch, now_ms())?;
            board.samples(&batch.samples);
            board.named(batch.named.drain(..));
            if batch.samples.is_empty() {
                thread::sleep(QUIET);
            }
        }
    };
    beside("samples", follow)
}

/// Shows what is decided: all that stands, and what follows.
fn listen_to_decisions(client: Arc<Client>, config: &Config, board: Arc<Board>) -> anyhow::Result<()> {
    let topic = config.topics.decisions.clone();
    let follow = move || -> anyhow::Result<()> {
        let follower = Follower::open(&client, &topic, Some(0))?;
        loop {
            let Some((key, value)) = follower.next_entry(QUIET)? else { continue };
            match Entry::read(&key, value.as_deref().unwrap_or_default()) {
                Ok(entry) => board.hear(entry),
                Err(unfit) => eprintln!("lwt: {topic} holds something that is no decision: {unfit}"),
            }
        }
    };
    beside("decisions", follow)
}

/// Runs `follow` in a thread; says so when it fails.
fn beside(
    what: &'static str,
    follow: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    let told = move || {
        if let Err(error) = follow() {
            eprintln!("lwt: the {what} are not shown any more: {error:#}");
        }
    };
    thread::Builder::new().name(what.into()).spawn(told).context("cannot start a thread")?;
    Ok(())
}
