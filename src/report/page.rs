//! The report: one page with the paper's figures for somebody's own recording.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::{Axes, Curve, lines, scatter, stacked};
use super::chosen::counted;
use super::components::components;
use super::graph::Graph;
use super::html::Html;
use super::layout::picture;
use super::matrix::matrix;
use super::recorded::Recorded;
use super::tone::{self, Tone, series};
use crate::evaluate::{Measures, share};
use crate::transport::records::Dependency;
use crate::types::VmId;

/// VMs in the picture of the graph.
const GRAPH_VMS: usize = 200;
/// Rows of the matrix: 120 of 5 pixels.
const MATRIX_VMS: usize = 120;
/// Ensembles whose CPU use is drawn, and VMs of each.
const SERIES: (usize, usize) = (4, 6);
/// Points of one curve: wider than the picture nothing can be seen.
const POINTS: usize = 800;
/// VMs whose models are drawn as curves, of each of two ensembles.
const CURVES: usize = 4;
/// Rows of a table, and members in one.
const ROWS: usize = 1000;
const MEMBERS: usize = 50;

/// What a report is made of.
pub struct Report<'a> {
    /// What the recording is called.
    pub recording: &'a str,
    /// What was read and how, in words: what it is, and its value.
    pub facts: Vec<(String, String)>,
    /// Every key that bears on the result, its value and what it is for.
    pub parameters: Vec<[String; 3]>,
    /// Why input was refused, how often, and where first.
    pub refused: Vec<(&'a str, u64, String)>,
    /// What was found.
    pub graph: &'a Graph,
    /// VMs that do nothing.
    pub idle: &'a BTreeSet<VmId>,
    /// How sure each ensemble is.
    pub sure: BTreeMap<String, f64>,
    /// What VMs used in the last window.
    pub recorded: &'a [Recorded],
    /// Seconds between their samples.
    pub period_s: f64,
    /// How well the result matches the truth, by window; none without truth.
    pub scores: Vec<(String, Measures)>,
    /// How well the paper's method does, by order; none if it was not tried, for which `untried` says why.
    pub orders: Vec<(usize, Measures)>,
    /// Why there is no figure of orders.
    pub untried: &'a str,
}

/// An ensemble with those of its members whose samples are there.
type Groups<'a> = Vec<(&'a str, Vec<&'a Recorded>)>;

const HEADINGS: [(&str, &str); 9] = [
    ("graph", "Dependency graph"),
    ("ensembles", "Ensembles"),
    ("cpu", "CPU use"),
    ("correlation", "Correlation"),
    ("models", "Models"),
    ("truth", "Against the truth"),
    ("dependencies", "Dependencies"),
    ("parameters", "Parameters"),
    ("refused", "Refused input"),
];

/// The page.
pub fn page(report: &Report<'_>) -> String {
    let mut html = Html::new(&format!("lwt: {}", report.recording));
    html.title(&format!("Which VMs depend on each other: {}", report.recording));
    html.table(
        &["what", "how much"],
        report.facts.iter().map(|(what, much)| vec![what.clone(), much.clone()]),
    );
    html.contents(&HEADINGS);
    let groups = groups(report);
    for (id, heading) in HEADINGS {
        html.heading(id, heading);
        match id {
            "graph" => graph(report, &mut html),
            "ensembles" => ensembles(report, &mut html),
            "dependencies" => dependencies(report, &mut html),
            "cpu" => cpu(report, &groups, &mut html),
            "correlation" => correlation(&groups, &mut html),
            "models" => models(&groups, &mut html),
            "truth" => truth(report, &mut html),
            "parameters" => {
                html.table(&["key", "value", "what for"], report.parameters.iter().map(|row| row.to_vec()))
            }
            _ => refused(report, &mut html),
        }
    }
    html.finish()
}

/// The ensembles, the largest first, then VMs in none; a VM of several stands in the first.
fn groups<'a>(report: &'a Report<'_>) -> Groups<'a> {
    let mut left: BTreeMap<&VmId, &Recorded> = report.recorded.iter().map(|vm| (&vm.vm, vm)).collect();
    let mut groups: Groups<'a> = vec![];
    for (name, members) in report.graph.by_size() {
        let members: Vec<&Recorded> = members.iter().filter_map(|vm| left.remove(*vm)).collect();
        if !members.is_empty() {
            groups.push((name, members));
        }
    }
    if !left.is_empty() {
        groups.push(("", left.into_values().collect()));
    }
    groups
}

/// At most so many of all VMs, from the first groups.
fn first<'a>(groups: &Groups<'a>, most: usize) -> Groups<'a> {
    let mut room = most;
    let part = |(name, vms): &(&'a str, Vec<&'a Recorded>)| {
        let some: Vec<&Recorded> = vms.iter().take(room).copied().collect();
        room -= some.len();
        (!some.is_empty()).then_some((*name, some))
    };
    groups.iter().map_while(part).collect()
}

fn graph(report: &Report<'_>, html: &mut Html) {
    let (drawing, notes) = picture(report.graph, GRAPH_VMS);
    if drawing.shapes.is_empty() {
        return html.text(&format!("No two VMs were found to depend on each other. {}", notes.join(" ")));
    }
    html.figure(&drawing.svg("The dependency graph"), &[], &notes.join(" "));
}

fn ensembles(report: &Report<'_>, html: &mut Html) {
    let all = report.graph.by_size();
    let row = |(name, members): &(&str, Vec<&VmId>)| {
        let mark = |vm: &&&VmId| format!("{vm}{}", if report.graph.memberships(vm) > 1 { "*" } else { "" });
        let mut names: Vec<String> = members.iter().take(MEMBERS).map(|vm| mark(&vm)).collect();
        if members.len() > MEMBERS {
            names.push(format!("and {} more", members.len() - MEMBERS));
        }
        let sure = report.sure.get(*name).map_or("-".into(), |sure| format!("{sure:.2}"));
        vec![name.to_string(), members.len().to_string(), sure, names.join(", ")]
    };
    html.table(&["ensemble", "#VMs", "#sure", "members (* in several)"], all.iter().take(ROWS).map(row));
    cut(all.len(), "ensembles, the largest ones", html);
    let alone =
        report.graph.vms.iter().filter(|(vm, of)| of.is_empty() && !report.idle.contains(*vm)).count();
    let idle = report.idle.len();
    html.text(&format!("In no ensemble: {}; {idle} more do nothing.", counted(alone, "VM")));
}

/// Says so if a table does not have all rows.
fn cut(all: usize, what: &str, html: &mut Html) {
    if all > ROWS {
        html.text(&format!("The first {ROWS} of {all} {what}."));
    }
}

fn dependencies(report: &Report<'_>, html: &mut Html) {
    let mut pairs: Vec<&Dependency> = report.graph.pairs.iter().collect();
    let strength = |pair: &Dependency| pair.strength.map_or(0.0, f64::abs);
    pairs.sort_by(|one, other| strength(other).total_cmp(&strength(one)));
    let row = |pair: &&Dependency| {
        let number = |x: Option<f64>, digits| x.map_or("-".into(), |x| format!("{x:.digits$}"));
        let direct = pair.direct.map_or("-", |direct| if direct { "yes" } else { "no" });
        let cause = match pair.cause.as_deref() {
            Some("a") => pair.a.as_str(),
            Some("b") => pair.b.as_str(),
            _ => "-",
        };
        vec![
            pair.a.to_string(),
            pair.b.to_string(),
            number(pair.strength, 2),
            pair.lag_ms.map_or("-".into(), |lag| lag.to_string()),
            pair.q.map_or("-".into(), |q| format!("{q:.1e}")),
            number(pair.confidence, 4),
            direct.into(),
            cause.into(),
            pair.windows.to_string(),
        ]
    };
    let columns =
        ["a", "b", "#strength", "#b follows a by, ms", "#q", "#confidence", "direct", "cause", "#windows"];
    html.table(&columns, pairs.iter().take(ROWS).map(row));
    cut(pairs.len(), "dependencies, the strongest ones", html);
    html.text("- is what the engine does not know. q: at this false discovery rate the pair would just be reported.");
}

/// A curve through the means of neighbouring samples, in percent of a core.
fn use_of(vm: &Recorded, period_s: f64, tone: Tone) -> Curve<'_> {
    let n = vm.samples.len().div_ceil(POINTS).max(1);
    let mean = |part: &[u32]| part.iter().map(|x| f64::from(*x)).sum::<f64>() / part.len() as f64 / 10_000.0;
    let points = vm.samples.chunks(n).enumerate().map(|(i, part)| ((i * n) as f64 * period_s, mean(part)));
    Curve { name: vm.vm.as_str(), tone, points: points.collect() }
}

fn cpu(report: &Report<'_>, groups: &Groups<'_>, html: &mut Html) {
    let (most, members) = SERIES;
    html.text(
        "What members of an ensemble used, one above the other, in percent of a core, each to its own scale (the paper's \
         Figures 3 and 6). What depends on each other rises and falls together.",
    );
    let ensembles: Vec<_> = groups.iter().enumerate().filter(|(_, (name, _))| !name.is_empty()).collect();
    for (i, (name, vms)) in ensembles.iter().take(most) {
        let curves: Vec<Curve<'_>> =
            vms.iter().take(members).map(|vm| use_of(vm, report.period_s, series(*i))).collect();
        let about = format!("CPU use of members of {name}");
        let caption = format!("{name}: {} of {}", curves.len(), counted(vms.len(), "VM"));
        html.figure(&stacked(&Axes { about: &about, x: "seconds", y: "" }, &curves), &[], &caption);
    }
    if ensembles.len() > most {
        html.text(&format!("Drawn: the {most} largest of {} ensembles.", ensembles.len()));
    }
}

fn correlation(groups: &Groups<'_>, html: &mut Html) {
    let shown = first(groups, MATRIX_VMS);
    let [some, all] = [&shown, groups].map(|of| of.iter().map(|(_, vms)| vms.len()).sum::<usize>());
    if all == 0 {
        return html.text("No VM has a whole window at the end.");
    }
    let caption = format!(
        "Plain correlation of what VMs used in the last window, ordered by ensemble (the paper's Figure 4); {some} of {all} VMs. \
         Blocks beside the diagonal are VMs that correlate and are held independent."
    );
    html.figure(&matrix(&shown), &[], &caption);
}

fn models(groups: &Groups<'_>, html: &mut Html) {
    let ensembles: Vec<_> =
        groups.iter().enumerate().filter(|(_, (name, _))| !name.is_empty()).take(2).collect();
    let (mut curves, mut key) = (vec![], vec![]);
    for (i, (name, vms)) in ensembles {
        key.push((*name, series(i)));
        curves.extend(vms.iter().take(CURVES).map(|vm| {
            let points = vm.phi.iter().enumerate().map(|(lag, phi)| (lag as f64 + 1.0, *phi)).collect();
            Curve { name: vm.vm.as_str(), tone: series(i), points }
        }));
    }
    if !curves.is_empty() {
        let axes = Axes { about: "AR coefficients of two ensembles", x: "lag, samples", y: "coefficient" };
        let caption = format!(
            "AR coefficients of up to {CURVES} members of each of the two largest ensembles (the paper's Figure 8). K-means \
             holds VMs dependent whose curves are alike."
        );
        html.figure(&lines(&axes, &curves), &key, &caption);
    }
    let rows: Vec<&[f64]> =
        groups.iter().flat_map(|(_, vms)| vms.iter().map(|vm| vm.phi.as_slice())).collect();
    let Some(plane) = components(&rows) else {
        return html.text("There are no two models that differ.");
    };
    let mut points = plane.points.into_iter();
    let kind = |(i, (name, vms)): (usize, &(&'_ str, Vec<&Recorded>))| {
        let tone = if name.is_empty() { tone::QUIET } else { series(i) };
        (name.to_string(), tone, points.by_ref().take(vms.len()).collect::<Vec<_>>())
    };
    let kinds: Vec<_> = groups.iter().enumerate().map(kind).collect();
    // More names than this would lie over each other.
    let named = |i: usize, name: &'_ str| if i < 12 { name.to_string() } else { String::new() };
    let names: Vec<String> = kinds.iter().enumerate().map(|(i, (name, ..))| named(i, name)).collect();
    let curves = kinds.iter().zip(&names).map(|((_, tone, points), name)| Curve {
        name,
        tone: *tone,
        points: points.clone(),
    });
    let [x, y] = plane.shares.map(|share| format!("{:.0} % of the variance", 100.0 * share));
    let axes = Axes { about: "The models of all VMs in a plane", x: &x, y: &y };
    let caption = format!(
        "The AR models of {} by their first two principal components (the paper's Figure 9), coloured by ensemble; grey: in \
         none.",
        counted(rows.len(), "VM")
    );
    html.figure(&scatter(&axes, &curves.collect::<Vec<_>>()), &[], &caption);
}

fn truth(report: &Report<'_>, html: &mut Html) {
    if report.scores.is_empty() {
        return html.text("No truth was given (--truth FILE).");
    }
    let columns = ["", "#TP", "#TN", "#FP", "#FN", "#accuracy", "#precision", "#recall", "#F1"];
    let row = |(what, m): (String, &Measures)| {
        let mut row = vec![what];
        row.extend([m.tp, m.tn, m.fp, m.fn_].map(|pairs| format!("{pairs:.0}")));
        row.extend([m.accuracy, m.precision, m.recall, m.f1].map(share));
        row
    };
    let skipped = report.scores.len().saturating_sub(ROWS);
    html.table(&columns, report.scores.iter().skip(skipped).map(|(what, m)| row((what.clone(), m))));
    cut(report.scores.len(), "windows are left out", html);
    if report.orders.is_empty() {
        return html.text(report.untried);
    }
    let curve = |name, tone, of: fn(&Measures) -> Option<f64>| {
        let point = |(order, m): &(usize, Measures)| Some((*order as f64, of(m)?));
        Curve { name, tone, points: report.orders.iter().filter_map(point).collect() }
    };
    let curves = [curve("accuracy", series(0), |m| m.accuracy), curve("F1", series(1), |m| m.f1)];
    let axes =
        Axes { about: "Accuracy and F1 by the order of the models", x: "order of the AR models", y: "" };
    let key = curves.each_ref().map(|curve| (curve.name, curve.tone));
    let caption = "The paper's method, K-means with as many clusters as there are in truth, on the last window, by the order of \
                   its models (the paper's Figure 5).";
    html.figure(&lines(&axes, &curves), &key, caption);
}

fn refused(report: &Report<'_>, html: &mut Html) {
    if report.refused.is_empty() {
        return html.text("Nothing was refused.");
    }
    let row = |(reason, times, first): &(&str, u64, String)| {
        vec![reason.to_string(), times.to_string(), first.clone()]
    };
    html.table(&["reason", "#times", "first"], report.refused.iter().map(row));
}

#[cfg(test)]
mod tests;
