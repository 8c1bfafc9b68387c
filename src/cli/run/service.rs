//! `lwt run` over Kafka: samples from the topics; each window's results, and what the next start needs, in one
//! transaction. A restart goes back to the first sample of the window that comes next, and on from there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use tracing::{info, warn};

use super::super::stop::Stop;
use super::super::{Clock, logs, session};
use super::dead_letter;
use crate::config::{Config, spell};
use crate::dependencies::State;
use crate::events;
use crate::metrics::{About, Metrics, Published};
use crate::pipeline::kept::{Kept, Last, Restored, of_published};
use crate::pipeline::watchdog::Pulse;
use crate::pipeline::{self, Failure, Load, Message, Open, Plan, Service, Tail, Window};
use crate::serve::{Pages, Server, View};
use crate::simd::Simd;
use crate::transport::kafka::client::Client;
use crate::transport::kafka::sink::{Out, Sink};
use crate::transport::kafka::source::{Batch, Grid, Hearer, Source};
use crate::transport::kafka::topics::Topics;
use crate::transport::kafka::{admin, state};
use crate::transport::records::{Record, Topic};
use crate::transport::told::{self, Told};
use crate::transport::watermark;

/// How long it may take to leave: an abort takes milliseconds if the brokers answer.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the pipeline until it is told to stop, or something fails.
///
/// # Errors
/// A cluster that cannot be reached, topics that are missing, state of another pipeline, whatever stops a worker.
pub fn run(config: &Config, processes: Option<(usize, Vec<String>)>, now_ms: Clock) -> anyhow::Result<()> {
    logs::install(config.log, now_ms);
    let (stop, period_ms) =
        (Stop::on_signals(GRACE, || ())?, config.period.unwrap_or(session::PERIOD).as_millis() as u64);
    let plan = session::plan(config, period_ms, true, Simd::detect())?;
    let metrics = seen(config, processes.as_ref().map_or(0, |(process, _)| *process), now_ms)?;
    let client = Arc::new(Client::new(&config.kafka)?);
    client.connect()?;
    let pulse = Arc::new(Pulse::new(plan.workers));
    let first = processes.as_ref().is_none_or(|(process, _)| *process == 0);
    let settings = settings(config, period_ms);
    let mut results = if first {
        look_at_topics(&client, config)?;
        let sink = Sink::open(&client, &config.pipeline, asked(&stop, pulse.clone()))?;
        Some(Results::new(sink, config, &settings, View { metrics: metrics.clone(), now_ms }))
    } else {
        None
    };
    let service = Service {
        load: load(client.clone(), config, settings),
        tail: tail(client, config, period_ms, View { metrics, now_ms }),
        processes,
        patience: config.stall,
        pulse,
        stop: {
            let stop = stop.clone();
            Box::new(move || stop.is_told())
        },
    };
    let ended = pipeline::serve(&plan, service, |message| match (message, &mut results) {
        (Message::Broken(error), _) => Err(anyhow::anyhow!(error)),
        (Message::Restored(restored), Some(results)) => {
            results.resume(&restored);
            Ok(())
        }
        (Message::Window(window), Some(results)) => results.publish(&window),
        _ => Ok(()),
    });
    // Whoever is told to stop has not failed.
    if stop.is_told() { Ok(()) } else { ended }
}

/// Whether it is time to stop, asked by the sink while it waits: that is a sign of life.
fn asked(stop: &Stop, pulse: Arc<Pulse>) -> Box<dyn Fn() -> bool> {
    let stop = stop.clone();
    Box::new(move || {
        pulse.beat_outside();
        stop.is_told()
    })
}

/// From now on others can see how this process does.
fn seen(config: &Config, process: usize, now_ms: Clock) -> anyhow::Result<Arc<Metrics>> {
    let (first, engine) = (process * config.workers, config.engine.as_str());
    let metrics = Arc::new(Metrics::new(&About {
        engine,
        hop_ms: config.hop.as_millis() as i64,
        workers: first..first + config.workers,
        publishes: process == 0,
        start_ms: now_ms(),
    }));
    let (version, pipeline, workers) = (env!("CARGO_PKG_VERSION"), &config.pipeline, config.workers);
    info!(version, pipeline, engine, process, workers, "lwt starts");
    if let Some(first) = config.listen {
        let server = Server::bind(first, process)?;
        info!(address = %server.address()?, "metrics and health are served");
        server.start(Pages::of_worker(View { metrics: metrics.clone(), now_ms }))?;
    }
    Ok(metrics)
}

/// Topics that are missing are an error, those that are otherwise not right a warning.
fn look_at_topics(client: &Client, config: &Config) -> anyhow::Result<()> {
    let length = config.length.context("window.length must be said")?;
    let found = admin::check(client, &config.topics, length, config.hop)?;
    anyhow::ensure!(
        found.missing.is_empty(),
        "there is no topic {}: make it with lwt topics create",
        found.missing.join(", ")
    );
    found.faults.iter().for_each(|fault| warn!("{fault}"));
    Ok(())
}

/// What the state depends on: with other settings it means something else.
fn settings(config: &Config, period_ms: u64) -> String {
    let length = config.length.map_or(String::new(), spell);
    let (engine, hop) = (config.engine.as_str(), spell(config.hop));
    format!("engine {engine}, period {period_ms}ms, window {length}, hop {hop}")
}

/// Reads the state back.
fn load(client: Arc<Client>, config: &Config, settings: String) -> Box<Load> {
    let topic = config.topics.state.clone();
    Box::new(move || {
        let restored = Restored::new(&state::load(&client, &topic)?)
            .map_err(|error| format!("the topic {topic}: {error}"))?;
        match restored.last() {
            Some(last) if last.settings != settings => Err(format!(
                "the topic {topic} is of a pipeline with {}, not with {settings}: go back to these settings, or give \
                 this pipeline topics of its own",
                last.settings
            )
            .into()),
            _ => Ok(restored),
        }
    })
}

/// Opens a worker's share of the samples; the first worker hears of verdicts and decisions, too.
fn tail(client: Arc<Client>, config: &Config, period_ms: u64, view: View) -> Box<Open> {
    let Topics { samples, perturbations, decisions, .. } = config.topics.clone();
    Box::new(move |share: (usize, usize), plan: &Plan| -> Result<Tail, Failure> {
        let grid =
            Grid { period_ms, hop_ticks: plan.window.hop() as i64, scales: plan.window.scales().to_vec() };
        let mut source = Source::open(&client, &samples, share, grid.clone(), rewind_ms(plan, period_ms))?;
        let (view, worker) = (view.clone(), share.0);
        let mut ears = vec![];
        if worker == 0 {
            let from_ms = heard_ms(plan, period_ms);
            let hearer = |topic: &str| Hearer::open(&client, topic, (0, 1), grid.clone(), from_ms);
            ears.push(Ears::new(hearer(&perturbations)?, |batch| &mut batch.told));
            ears.push(Ears::new(hearer(&decisions)?, |batch| &mut batch.decided));
        }
        Ok(Box::new(move |batch| {
            let now_ms = (view.now_ms)();
            source.read(batch, now_ms)?;
            ears.iter_mut().try_for_each(|ears| ears.hear(batch, now_ms))?;
            if let Some(worker) = view.metrics.worker(worker) {
                worker.read(batch, now_ms);
            }
            Ok(())
        }))
    })
}

/// The append time from which on samples are needed: those of the window that comes next have been written since, but
/// for clocks that are ahead; and whom the watermark waits for, those before say.
fn rewind_ms(plan: &Plan, period_ms: u64) -> Option<i64> {
    let last = plan.resume.as_ref()?.last()?;
    let first_pane = last.pane as i64 + 2 - 2 * plan.window.panes() as i64;
    Some(first_pane * plan.window.hop() as i64 * period_ms as i64 - watermark::WARM_UP_MS)
}

/// The append time from which on verdicts and decisions are needed: those that counted before are part of the state.
fn heard_ms(plan: &Plan, period_ms: u64) -> Option<i64> {
    let last = plan.resume.as_ref()?.last()?;
    Some(told::needed_from_ms(last.pane as i64 + 1, plan.window.hop() as i64 * period_ms as i64))
}

/// Hears of something beside the samples.
struct Ears {
    hearer: Hearer,
    heard: Batch,
    /// Where in a batch it belongs.
    place: fn(&mut Batch) -> &mut Vec<Told>,
}

impl Ears {
    fn new(hearer: Hearer, place: fn(&mut Batch) -> &mut Vec<Told>) -> Self {
        Ears { hearer, heard: Batch::default(), place }
    }

    /// Adds what was told to a batch of samples: no window is complete before all that counts with it was heard.
    fn hear(&mut self, batch: &mut Batch, now_ms: i64) -> Result<(), Failure> {
        // Who is ahead waits: else what was told after an outage would pile up.
        if self.heard.open <= batch.open {
            self.hearer.read(&mut self.heard, now_ms)?;
            (self.place)(batch).append(&mut self.heard.told);
            batch.dead.append(&mut self.heard.dead);
        }
        batch.open = batch.open.min(self.heard.open);
        Ok(())
    }
}

/// Publishes windows.
struct Results {
    sink: Sink,
    topics: Topics,
    period_ms: i64,
    hop_ms: i64,
    settings: String,
    state: State,
    view: View,
}

impl Results {
    fn new(sink: Sink, config: &Config, settings: &str, view: View) -> Self {
        if let Some(results) = view.metrics.results() {
            results.count_retries(sink.retries());
        }
        Results {
            sink,
            topics: config.topics.clone(),
            period_ms: config.period.unwrap_or(session::PERIOD).as_millis() as i64,
            hop_ms: config.hop.as_millis() as i64,
            settings: settings.to_string(),
            state: State::default(),
            view,
        }
    }

    fn resume(&mut self, restored: &Restored) {
        self.state = restored.state();
        let last = restored.last().map(|last| (last.pane as i64 + 1) * self.hop_ms);
        if let (Some(results), Some(last_ms)) = (self.view.metrics.results(), last) {
            results.restored(&self.state, last_ms);
        }
        info!(window = last.map(time), vms = self.state.members().len(), "the state is restored");
    }

    fn publish(&mut self, window: &Window) -> anyhow::Result<()> {
        let end_ms = window.end * self.period_ms;
        self.view.metrics.computed(end_ms, (self.view.now_ms)());
        self.state.apply(&window.changes);
        let records = events::records(&window.changes, &self.state, end_ms);
        let refused = window.summary.refused.iter().map(dead_letter);
        let mut out = records.into_iter().chain(refused).map(|record| self.out(record)).collect::<Vec<Out>>();
        let last = Last { pane: (end_ms / self.hop_ms - 1) as u64, settings: self.settings.clone() };
        let published = of_published(&window.changes, &self.state);
        let (key, bytes) = Kept::Last(last).entry();
        let kept = window.kept.iter().cloned().chain(published).chain([(key, Some(bytes))]);
        out.extend(kept.map(|(key, bytes)| Out {
            topic: self.topics.state.clone(),
            key: key.into_bytes(),
            value: bytes.map(String::into_bytes),
        }));
        let begun_ms = (self.view.now_ms)();
        self.sink.commit(&out, (&self.topics.samples, &window.read))?;
        self.tell(window, end_ms, (begun_ms, (self.view.now_ms)()));
        Ok(())
    }

    /// A window that ended at `end_ms` was written from one time to another.
    fn tell(&self, window: &Window, end_ms: i64, written_ms: (i64, i64)) {
        let (state, summary) = (&self.state, &window.summary);
        if let Some(results) = self.view.metrics.results() {
            results.published(&Published { window, state, end_ms, written_ms });
        }
        info!(
            window = time(end_ms),
            judged = summary.judged,
            idle = summary.idle,
            unjudged = summary.unjudged,
            changes = window.changes.len(),
            dead_letters = summary.refused.len(),
            latency_ms = written_ms.1 - end_ms,
            "a window is written"
        );
    }

    fn out(&self, record: Record) -> Out {
        let topic = match record.topic {
            Topic::Assignments => &self.topics.assignments,
            Topic::Dependencies => &self.topics.dependencies,
            Topic::Events => &self.topics.events,
            Topic::DeadLetter => &self.topics.deadletter,
        };
        let value = record.value.map(|value| Box::<str>::from(value).into_string().into_bytes());
        Out { topic: topic.clone(), key: record.key.into_bytes(), value }
    }
}

/// As RFC 3339; of no time that can be written as the milliseconds.
fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| time.to_string())
}
