//! How a state is shown: a table for people, JSON for programs, a graph for Graphviz.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::spell;
use crate::dependencies::{Ensemble, State};
use crate::pipeline::{Plan, Summary};
use crate::types::VmId;

/// A state, and what led to it.
pub struct Outcome<'a> {
    /// What holds.
    pub state: &'a State,
    /// How it was found.
    pub plan: &'a Plan,
    /// Sampling period.
    pub period_ms: u64,
    /// What the last window looked like.
    pub last: &'a Summary,
    /// Samples read.
    pub samples: u64,
}

impl Outcome<'_> {
    /// The window's length, for people.
    pub fn window_length(&self) -> String {
        spell(self.span(self.plan.window.length()))
    }

    fn span(&self, ticks: usize) -> Duration {
        Duration::from_millis(ticks as u64 * self.period_ms)
    }
}

/// A time for people: RFC 3339.
pub fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}

/// The ensembles of each VM, as `evaluate` wants them.
pub fn found(state: &State) -> BTreeMap<VmId, Vec<String>> {
    state.members().map(|(vm, of)| (vm.clone(), of.map(ToString::to_string).collect())).collect()
}

/// Prints `state` as one JSON object on a line of its own.
///
/// # Errors
/// When `out` cannot be written.
pub fn json(state: &State, window_end_ms: Option<i64>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Object<A: Serialize, D: Serialize> {
        #[serde(skip_serializing_if = "Option::is_none")]
        window_end_ms: Option<i64>,
        windows: u64,
        engine: &'static str,
        assignments: A,
        dependencies: D,
    }
    let object = Object {
        window_end_ms,
        windows: state.windows,
        engine: "kmeans",
        assignments: state.assignments().collect::<Vec<_>>(),
        dependencies: state.dependencies().collect::<Vec<_>>(),
    };
    serde_json::to_writer(&mut *out, &object)?;
    writeln!(out)
}

/// Prints `state` as a graph: a box an ensemble, a line a dependency.
///
/// # Errors
/// When `out` cannot be written.
pub fn dot(state: &State, out: &mut impl Write) -> io::Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    writeln!(out, "graph lwt {{\n  node [shape=box];")?;
    for (ensemble, members) in state.ensembles() {
        let members: Vec<_> = members.iter().map(|vm| quoted(vm.as_str())).collect();
        let (id, label) = (quoted(&format!("cluster_{ensemble}")), quoted(ensemble.as_str()));
        writeln!(out, "  subgraph {id} {{ label={label}; {}; }}", members.join("; "))?;
    }
    for (vm, _) in state.members().filter(|(_, of)| of.len() == 0) {
        writeln!(out, "  {};", quoted(vm.as_str()))?;
    }
    for pair in state.dependencies() {
        writeln!(out, "  {} -- {};", quoted(pair.a.as_str()), quoted(pair.b.as_str()))?;
    }
    writeln!(out, "}}")
}

/// Prints the outcome for people.
///
/// # Errors
/// When `out` cannot be written.
pub fn table(outcome: &Outcome<'_>, out: &mut impl Write) -> io::Result<()> {
    let (state, last) = (outcome.state, outcome.last);
    let (hop, period) =
        (spell(outcome.span(outcome.plan.window.hop())), spell(Duration::from_millis(outcome.period_ms)));
    let windows = if state.windows == 1 { "1 window".into() } else { format!("{} windows", state.windows) };
    writeln!(
        out,
        "{windows} of {}, each {hop} on; {} samples, one every {period}",
        outcome.window_length(),
        outcome.samples
    )?;
    writeln!(
        out,
        "{} VMs: {} work, {} idle, {} with too few samples; {} clusters, inertia {:.4}\n",
        state.members().len(),
        last.judged,
        last.idle,
        last.unjudged,
        last.clusters,
        last.inertia
    )?;
    // The table fills up its last column with blanks.
    ensembles(outcome).to_string().lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))?;
    writeln!(out)?;
    let alone = state.members().filter(|(vm, of)| of.len() == 0 && !state.idle().contains(*vm));
    say_list("alone", alone.map(|(vm, _)| vm), out)?;
    say_list("idle", state.idle().iter(), out)
}

fn ensembles(outcome: &Outcome<'_>) -> Table {
    let silhouette: BTreeMap<&VmId, f64> = outcome.last.silhouette.iter().map(|(vm, s)| (vm, *s)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "ensemble",
        "VMs",
        "sure",
        "steady for",
        "members",
    ]);
    let mut ensembles: Vec<_> = outcome.state.ensembles().into_iter().collect();
    ensembles.sort_by_key(|(name, _)| (name.as_str().len(), name.as_str().to_string()));
    for (ensemble, members) in ensembles {
        table.add_row(row(outcome.state, ensemble, &members, &silhouette));
    }
    table
}

fn row(
    state: &State,
    ensemble: &Ensemble,
    members: &[&VmId],
    silhouette: &BTreeMap<&VmId, f64>,
) -> [String; 5] {
    let sure: f64 = members.iter().filter_map(|vm| silhouette.get(*vm)).sum::<f64>() / members.len() as f64;
    let steady = match state.steady_windows(ensemble, members) {
        1 => "1 window".to_string(),
        n => format!("{n} windows"),
    };
    [
        ensemble.to_string(),
        members.len().to_string(),
        format!("{sure:.2}"),
        steady,
        some(members.iter().copied(), members.len()),
    ]
}

/// The first 12 names: a line or two of a terminal.
fn some<'a>(vms: impl Iterator<Item = &'a VmId>, all: usize) -> String {
    const SHOWN: usize = 12;
    let names: Vec<&str> = vms.take(SHOWN).map(VmId::as_str).collect();
    let more = if all > SHOWN { format!(" and {} more", all - SHOWN) } else { String::new() };
    names.join(" ") + &more
}

fn say_list<'a>(what: &str, vms: impl Iterator<Item = &'a VmId>, out: &mut impl Write) -> io::Result<()> {
    let vms: Vec<&VmId> = vms.collect();
    if vms.is_empty() {
        Ok(())
    } else {
        writeln!(out, "{what} ({}): {}", vms.len(), some(vms.iter().copied(), vms.len()))
    }
}
