//! From a configuration and a source of samples to a running flow: what `analyze`, `run` and `demo` share.

use std::time::Duration;

use anyhow::Context;

use crate::cluster::{self, Clusters};
use crate::config::{Config, spell};
use crate::coupling;
use crate::decisions::book::Decisions;
use crate::dependencies::{Engine, State};
use crate::model::Order;
use crate::pipeline::{self, Feed, Message, Method, Plan, Window};
use crate::simd::Simd;
use crate::transport::file::ReadError;
use crate::types::{DeadLetter, Tick};
use crate::window::{self, Shape};

/// The sampling period over Kafka if none is said: collectors sample every second.
pub const PERIOD: Duration = Duration::from_secs(1);

/// The plan for samples every `period_ms`; `aligned` as in [`Plan`].
///
/// # Errors
/// When window and hop are no multiples of the period, or the order does not fit the window.
pub fn plan(config: &Config, period_ms: u64, aligned: bool, simd: Simd) -> anyhow::Result<Plan> {
    let ticks = |length: Duration, name: &str| -> anyhow::Result<usize> {
        let ms = length.as_millis();
        let fits = ms.is_multiple_of(period_ms.into()) && ms > 0;
        anyhow::ensure!(
            fits,
            "the {name} ({}) is no multiple of the period ({period_ms} ms): give another --{name} or --period",
            spell(length)
        );
        usize::try_from(ms / u128::from(period_ms)).with_context(|| format!("the {name} is too long"))
    };
    let length = config.length.context("only lwt analyze can find the window's length (--window auto)")?;
    let (length, hop) = (ticks(length, "window")?, ticks(config.hop, "hop")?);
    let (method, scales, max_lag) = match config.engine {
        Engine::Coupling => {
            let params = coupling::Params::new(period_ms, length, hop, config.fdr)
                .map_err(|error| anyhow::anyhow!("{error}: {}", other_window(&error)))?;
            let scales = params.scale_ticks();
            (Method::Coupling(params), scales, coupling::ORDER)
        }
        Engine::Kmeans => {
            let (method, max_lag) = kmeans(config, length)?;
            (method, vec![1], max_lag)
        }
    };
    let shape = Shape { max_missing: config.missing, scales, ..Shape::new(length, hop, max_lag) };
    let window = window::Params::new(shape)?;
    Ok(Plan {
        method,
        window,
        hysteresis: config.hysteresis,
        aligned,
        workers: config.workers,
        simd,
        watch: None,
        decisions: Decisions::default(),
        listens: false,
        resume: None,
    })
}

/// What to do about windows in which VMs cannot be compared.
fn other_window(error: &coupling::ParamsError) -> &'static str {
    match error {
        coupling::ParamsError::Short { .. } => "give a longer --window or a shorter --period",
        coupling::ParamsError::Long { .. } => "give a shorter --window or a longer --period",
    }
}

/// The paper's method for windows of `length`, and its largest lag.
fn kmeans(config: &Config, length: usize) -> anyhow::Result<(Method, usize)> {
    let (Order::Fixed(max_lag) | Order::Auto { max: max_lag }) = config.order;
    anyhow::ensure!(
        2 * max_lag < length,
        "an order of {max_lag} needs windows of more than {} ticks, not {length}: give a smaller --order or a longer --window",
        2 * max_lag
    );
    let clusters =
        config.clusters.map_or(Clusters::Auto { noise: max_lag as f64 / length as f64 }, Clusters::Fixed);
    let cluster = cluster::Params::new(clusters, config.starts, config.seed)?;
    Ok((Method::Kmeans { order: config.order, fit: config.fit, cluster }, max_lag))
}

/// What happens while a flow runs, in order.
pub enum Happened<'a> {
    /// A window was completed; the state has it.
    Window {
        /// The window.
        window: &'a Window,
        /// What holds after it.
        state: &'a State,
        /// Its end, Unix milliseconds.
        end_ms: i64,
    },
    /// Input was refused.
    Refused(&'a [DeadLetter]),
    /// Reading went on.
    Read {
        /// Bytes so far, of the file as stored.
        bytes: u64,
        /// Samples so far.
        samples: u64,
    },
}

/// Runs `plan` over `feed` and tells `each` what happens; gives the state in the end, and why the source
/// could not be read to its end, if so: what came before it is used.
///
/// # Errors
/// When the flow fails, or `each` does.
pub fn follow(
    plan: &Plan,
    feed: Feed,
    period_ms: u64,
    mut each: impl FnMut(Happened<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<(State, Option<ReadError>)> {
    let (mut state, mut origin, mut failed) = (State::default(), 0 as Tick, None);
    pipeline::run(plan, feed, |message| {
        match message {
            Message::Origin(tick) => origin = tick,
            Message::Window(window) => {
                state.apply(&window.changes);
                if !window.summary.refused.is_empty() {
                    each(Happened::Refused(&window.summary.refused))?;
                }
                let end_ms = (origin + window.end) * period_ms as i64;
                each(Happened::Window { window: &window, state: &state, end_ms })?;
            }
            Message::Refused(dead) => each(Happened::Refused(&dead))?,
            Message::Read { bytes, samples } => each(Happened::Read { bytes, samples })?,
            Message::Failed(error) => failed = Some(error),
            Message::Restored(_) | Message::Broken(_) => (),
        }
        anyhow::Ok(())
    })?;
    Ok((state, failed))
}
