//! How a state is shown: a table for people, JSON for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::spell;
use crate::coupling::enough::Enough;
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

    /// The length of windows that would be enough, in whole seconds.
    fn needed(&self, enough: &Enough) -> Duration {
        let window = self.span(self.plan.window.length());
        Duration::from_secs(window.mul_f64(enough.needed).as_secs_f64().ceil() as u64)
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

/// Prints the outcome as one JSON object on a line of its own.
///
/// # Errors
/// When `out` cannot be written.
pub fn json(outcome: &Outcome<'_>, window_end_ms: Option<i64>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Sufficient {
        by_half: f64,
        window_s: u64,
    }
    #[derive(Serialize)]
    struct Object<A: Serialize, D: Serialize> {
        #[serde(skip_serializing_if = "Option::is_none")]
        window_end_ms: Option<i64>,
        windows: u64,
        engine: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        enough: Option<Sufficient>,
        assignments: A,
        dependencies: D,
    }
    let state = outcome.state;
    let object = Object {
        window_end_ms,
        windows: state.windows,
        engine: outcome.plan.engine().as_str(),
        enough: outcome.last.enough.map(|enough| Sufficient {
            by_half: (enough.by_half * 100.0).round() / 100.0,
            window_s: outcome.needed(&enough).as_secs(),
        }),
        assignments: state.assignments().collect::<Vec<_>>(),
        dependencies: state.dependencies().collect::<Vec<_>>(),
    };
    serde_json::to_writer(&mut *out, &object)?;
    writeln!(out)
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
    let found = match &last.clusters {
        Some(clusters) => format!("{} clusters, inertia {:.4}", clusters.k, clusters.inertia),
        None => format!("{} dependencies", state.pair_count()),
    };
    writeln!(
        out,
        "{} VMs: {} work, {} idle, {} with too few samples; {found}",
        state.members().len(),
        last.judged,
        last.idle,
        last.unjudged
    )?;
    if let Some(enough) = &last.enough {
        say_enough(outcome, enough, out)?;
    }
    writeln!(out)?;
    // The table fills up its last column with blanks.
    ensembles(outcome).to_string().lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))?;
    writeln!(out)?;
    let named = |vm: &VmId| vm.to_string();
    let shared = state.members().filter(|(_, of)| of.len() > 1);
    say_list("shared", shared.map(|(vm, of)| shared_by(vm, of)), out)?;
    let apart = |vm: &VmId| state.idle().contains(vm) || state.ignored().contains(vm);
    let alone = state.members().filter(|(vm, of)| of.len() == 0 && !apart(vm));
    say_list("alone", alone.map(|(vm, _)| named(vm)), out)?;
    say_list("idle", state.idle().iter().map(named), out)?;
    say_list("ignored", state.ignored().iter().map(named), out)?;
    let confirmed = state.dependencies().filter(|pair| pair.decided.is_some());
    say_list("confirmed by somebody", confirmed.map(|pair| format!("{}+{}", pair.a, pair.b)), out)
}

/// Whether the window is long enough.
fn say_enough(outcome: &Outcome<'_>, enough: &Enough, out: &mut impl Write) -> io::Result<()> {
    let (half, share) = (outcome.plan.window.length() / 2, 100.0 * enough.by_half);
    writeln!(
        out,
        "{:.0} % of them would show in windows of {}, 95 % in {}",
        share.floor(),
        spell(outcome.span(half)),
        spell(outcome.needed(enough))
    )
}

/// A hub with its ensembles: `db (e1, e2)`.
fn shared_by<'a>(vm: &VmId, of: impl Iterator<Item = &'a Ensemble>) -> String {
    let of: Vec<&str> = of.map(Ensemble::as_str).collect();
    format!("{vm} ({})", of.join(", "))
}

fn ensembles(outcome: &Outcome<'_>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "ensemble",
        "VMs",
        "sure",
        "steady for",
        "members",
    ]);
    let state = outcome.state;
    let mut ensembles: Vec<_> = state.ensembles().into_iter().collect();
    ensembles.sort_by_key(|(name, _)| (name.as_str().len(), name.as_str().to_string()));
    let sure = sureness(outcome, &ensembles);
    let hubs: BTreeSet<&VmId> = state.members().filter(|(_, of)| of.len() > 1).map(|(vm, _)| vm).collect();
    for (ensemble, members) in &ensembles {
        let steady = match state.steady_windows(ensemble, members) {
            1 => "1 window".to_string(),
            n => format!("{n} windows"),
        };
        let star = |vm: &&VmId| format!("{vm}{}", if hubs.contains(vm) { "*" } else { "" });
        table.add_row([
            ensemble.to_string(),
            members.len().to_string(),
            sure.get(ensemble).map_or("-".into(), |sure| format!("{sure:.2}")),
            steady,
            some(members.iter().map(star), members.len()),
        ]);
    }
    table
}

/// How sure each ensemble is: of clusters, the mean silhouette of the members; else the mean confidence of
/// the pairs.
pub fn sureness<'a>(
    outcome: &Outcome<'a>,
    ensembles: &[(&'a Ensemble, Vec<&VmId>)],
) -> BTreeMap<&'a Ensemble, f64> {
    let Some(clusters) = &outcome.last.clusters else { return outcome.state.confidence() };
    let of_vm: BTreeMap<&VmId, f64> = clusters.silhouette.iter().map(|(vm, s)| (vm, *s)).collect();
    let mean = |members: &[&VmId]| {
        members.iter().filter_map(|vm| of_vm.get(*vm)).sum::<f64>() / members.len() as f64
    };
    ensembles.iter().map(|(ensemble, members)| (*ensemble, mean(members))).collect()
}

/// The first 12 names: a line or two of a terminal.
fn some(vms: impl Iterator<Item = String>, all: usize) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> = vms.take(SHOWN).collect();
    let more = if all > SHOWN { format!(" and {} more", all - SHOWN) } else { String::new() };
    names.join(" ") + &more
}

fn say_list(what: &str, vms: impl Iterator<Item = String>, out: &mut impl Write) -> io::Result<()> {
    let vms: Vec<String> = vms.collect();
    let all = vms.len();
    if all == 0 { Ok(()) } else { writeln!(out, "{what} ({all}): {}", some(vms.into_iter(), all)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coupling;
    use crate::dependencies::{Evidence, Fact, Hysteresis, some_evidence};
    use crate::pipeline::{Clusters, Method};
    use crate::simd::Simd;
    use crate::window;

    /// Two applications that share a database; `web2` rests while it works.
    fn state() -> State {
        let vm = VmId::new;
        let member = |name, of| (Fact::Member(vm(name), Ensemble::new(of)), 1);
        let pair = |a, b, strength_ppm, direct| {
            let confidence_ppm = if direct == Some(true) { 990_000 } else { 950_000 };
            let evidence = Evidence { strength_ppm, confidence_ppm, direct, ..some_evidence() };
            (Fact::Pair(vm(a), vm(b), Some(evidence)), 1)
        };
        let mut state = State::default();
        state.apply(&["app1", "batch", "db", "web1", "web2"].map(|name| (Fact::Alive(vm(name)), 1)));
        state.apply(&[
            member("app1", "e1"),
            member("web1", "e1"),
            member("db", "e1"),
            member("db", "e2"),
            member("web2", "e2"),
            pair("app1", "db", 500_000, Some(true)),
            pair("app1", "web1", 800_000, None),
            pair("db", "web1", -100_000, Some(false)),
            pair("db", "web2", -300_000, Some(true)),
        ]);
        state
    }

    fn printed(print: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> Vec<String> {
        let mut out = vec![];
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_string).collect()
    }

    /// The table's lines below the head, blanks as one.
    fn check_table(clusters: Option<Clusters>, expected: &[&str]) {
        let plan = Plan {
            method: Method::Coupling(coupling::Params::new(1000, 60, 20, 0.01).unwrap()),
            window: window::Params::new(window::Shape::new(60, 20, 10)).unwrap(),
            hysteresis: Hysteresis::new(1, 1).unwrap(),
            aligned: false,
            workers: 1,
            simd: Simd::detect(),
            watch: None,
            decisions: Default::default(),
            listens: false,
            resume: None,
        };
        let (state, last) = (state(), Summary { judged: 5, clusters, ..Summary::default() });
        let outcome = Outcome { state: &state, plan: &plan, period_ms: 1000, last: &last, samples: 1 };
        let lines = printed(|out| table(&outcome, out));
        let words: Vec<String> =
            lines[1..].iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_hub_stands_under_each_of_its_ensembles() {
        check_table(
            None,
            &[
                "5 VMs: 5 work, 0 idle, 0 with too few samples; 4 dependencies",
                "",
                "ensemble VMs sure steady for members",
                "e1 3 0.96 1 window app1 db* web1",
                "e2 2 0.99 1 window db* web2",
                "",
                "shared (1): db (e1, e2)",
                "alone (1): batch",
            ],
        );
    }

    #[test]
    fn clusters_are_as_sure_as_their_silhouette() {
        let silhouette = ["app1", "db", "web1", "web2"].map(|name| (VmId::new(name), 0.6)).to_vec();
        check_table(
            Some(Clusters { k: 2, inertia: 0.25, silhouette }),
            &[
                "5 VMs: 5 work, 0 idle, 0 with too few samples; 2 clusters, inertia 0.2500",
                "",
                "ensemble VMs sure steady for members",
                "e1 3 0.60 1 window app1 db* web1",
                "e2 2 0.60 1 window db* web2",
                "",
                "shared (1): db (e1, e2)",
                "alone (1): batch",
            ],
        );
    }
}
