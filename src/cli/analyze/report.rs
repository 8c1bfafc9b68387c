//! `--report`: what was found, on a page with figures. The recording is read again for the samples of those VMs that are
//! drawn, so the report needs no more memory the more VMs there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::super::input;
use super::super::output::{self, Outcome};
use super::Analysis;
use crate::config::{self, Config, RawConfig, engine_of, spell};
use crate::dependencies::Engine;
use crate::model::Order;
use crate::report::{self, Graph, MAX_ORDER, RECORDED_VMS, Recent, Recorded, Report};
use crate::transport::file::{Batch, Progress};
use crate::types::VmId;

/// The order of models if K-means has none: the paper's.
const ORDER: Order = Order::Fixed(45);

/// Writes the report to `path`.
///
/// # Errors
/// When the recording cannot be read again, or the file not be written.
pub fn write(
    analysis: &Analysis<'_>,
    outcome: &Outcome<'_>,
    (config, raw): (&Config, &RawConfig),
    path: &Path,
) -> anyhow::Result<()> {
    let (state, simd) = (outcome.state, outcome.plan.simd);
    let (graph, work) = (Graph::of(state), state.members().len() - state.idle().len());
    let recorded = recorded(outcome, config, report::wanted(&graph, state.idle()), analysis.end_ms)?;
    let (mut orders, mut untried) = (vec![], "The window is too short for models of several orders.");
    match &analysis.truth {
        Some(truth) if work <= RECORDED_VMS => {
            orders = report::by_order(&recorded, truth, (config.fit, config.seed), simd)?;
        }
        _ => untried = "The order of the models is looked at where no more than 500 VMs work.",
    }
    let refused = analysis.refused.iter();
    let sure = output::sureness(outcome, &state.ensembles().into_iter().collect::<Vec<_>>());
    let page = report::page(&Report {
        recording: &config.source.file_name().unwrap_or_default().to_string_lossy(),
        facts: facts(analysis, outcome),
        parameters: parameters(config, raw, outcome),
        refused: refused.map(|(reason, (n, first))| (reason.as_str(), *n, first.clone())).collect(),
        graph: &graph,
        idle: state.idle(),
        sure: sure.into_iter().map(|(name, sure)| (name.to_string(), sure)).collect(),
        recorded: &recorded,
        period_s: outcome.period_ms as f64 / 1000.0,
        scores: analysis.score_rows(state),
        orders,
        untried,
    });
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// What these VMs used in the window that ends at `end_ms`.
fn recorded(
    outcome: &Outcome<'_>,
    config: &Config,
    vms: BTreeSet<VmId>,
    end_ms: i64,
) -> anyhow::Result<Vec<Recorded>> {
    let order = if config.engine == Engine::Kmeans { config.order } else { ORDER };
    let (Order::Fixed(most) | Order::Auto { max: most }) = order;
    let (length, end) = (outcome.plan.window.length(), end_ms.div_euclid(outcome.period_ms as i64));
    let mut recent = Recent::new(vms, (length, most.max(MAX_ORDER)), end)?;
    let (mut trace, mut batch) = (input::open(config)?, Batch::default());
    loop {
        // Why it cannot be read to its end was said when it was read first.
        let progress = trace.read(&mut batch);
        batch.samples.drain(..).for_each(|samples| recent.take(&samples));
        batch.dead.clear();
        if !matches!(progress, Ok(Progress::More)) {
            return Ok(recent.finish(order, config.fit, outcome.plan.simd));
        }
    }
}

fn facts(analysis: &Analysis<'_>, outcome: &Outcome<'_>) -> Vec<(String, String)> {
    let (state, last) = (outcome.state, outcome.last);
    let period = spell(Duration::from_millis(outcome.period_ms));
    let windows = format!(
        "{} of {}, the last until {}",
        state.windows,
        outcome.window_length(),
        output::time(analysis.end_ms)
    );
    let vms = format!(
        "{}: {} work, {} idle, {} with too few samples",
        state.members().len(),
        last.judged,
        last.idle,
        last.unjudged
    );
    let facts = [
        ("windows", windows),
        ("samples", format!("{}, one every {period}", outcome.samples)),
        ("VMs", vms),
        ("ensembles", state.ensembles().len().to_string()),
        ("dependencies", state.pair_count().to_string()),
        ("engine", outcome.plan.engine().as_str().to_string()),
        ("made by", format!("lwt {}", env!("CARGO_PKG_VERSION"))),
    ];
    facts.map(|(what, much)| (what.to_string(), much)).into()
}

/// The keys that bear on the result, with the values that were used. Workers do not: the result is the same.
fn parameters(config: &Config, raw: &RawConfig, outcome: &Outcome<'_>) -> Vec<[String; 3]> {
    let counts = |name: &str| {
        let section =
            ["window.", "engine.", "source.format", "source.counters"].iter().any(|of| name.starts_with(of));
        let other = engine_of(name).is_some_and(|engine| engine != config.engine);
        section && !other && !["engine.workers", "engine.stall"].contains(&name)
    };
    let value = |key: &config::Key| match key.name {
        "window.period" => spell(Duration::from_millis(outcome.period_ms)),
        "window.length" => outcome.window_length(),
        "window.hop" => spell(config.hop),
        _ => raw.value(key).to_string(),
    };
    let keys = config::keys().filter(|key| counts(key.name));
    keys.map(|key| [key.name.to_string(), value(key), key.about.to_string()]).collect()
}
