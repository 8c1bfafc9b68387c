//! What holds, in forms that other tools read.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde_json::json;

use super::super::OPEN_METRICS;
use super::super::ask::{Asked, Page, Refusal};
use super::super::board::Board;
use super::super::history::Picture;
use super::{PairItem, at};
use crate::metrics;
use crate::report::{self, Graph};
use crate::transport::records::{Assignment, Dependency, Membership};

pub async fn export(State(board): State<Arc<Board>>, asked: Asked) -> Result<impl IntoResponse, Refusal> {
    let asked = asked.only(&["format", "at"])?;
    let (form, file, text): (_, _, fn(&Picture) -> String) = match asked.text("format").unwrap_or("json") {
        "json" => ("application/json", "lwt.json", json),
        "csv" => ("text/csv; charset=utf-8", "lwt.csv", csv),
        "dot" => ("text/vnd.graphviz; charset=utf-8", "lwt.dot", |picture| report::dot(&graph(picture))),
        "svg" => ("image/svg+xml", "lwt.svg", |picture| report::svg(&graph(picture))),
        "prometheus" => (OPEN_METRICS, "lwt.txt", metrics),
        other => {
            let forms = "json, csv, dot, svg, prometheus";
            return Err(Refusal::bad(format!("format={other:?} is none of {forms}")));
        }
    };
    let text = at(&board, &asked, Page { limit: 1, after: None }, text)?;
    let named = format!("attachment; filename=\"{file}\"");
    Ok(([(CONTENT_TYPE, form.to_string()), (CONTENT_DISPOSITION, named)], text))
}

/// As `lwt analyze --format json` has it, as far as it is known.
fn json(picture: &Picture) -> String {
    let assignments = picture.vms.iter().map(|(vm, of)| {
        let ensemble = Membership::from_names(of.ensembles.iter().map(String::as_str));
        let decided = of.ignored.then(|| "ignored".to_string());
        Assignment { vm: vm.clone(), ensemble, decided }
    });
    let dependencies = picture.pairs.iter().map(|(pair, held)| PairItem::new(pair, held));
    json!({
        "window_end_ms": picture.end_ms,
        "assignments": assignments.collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
    .to_string()
        + "\n"
}

/// A cell that holds what others wrote; one that a spreadsheet would take for a formula is text.
pub fn cell(name: &str) -> String {
    let formula = name.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, name.replace('"', "\"\""))
}

/// The dependencies, a line each.
fn csv(picture: &Picture) -> String {
    let mut text = String::from("a,b,strength,confidence,lag_ms,direct,cause,since_ms,decided\n");
    for ((a, b), held) in &picture.pairs {
        let known = [
            held.strength.map(|n| n.to_string()),
            held.confidence.map(|n| n.to_string()),
            held.lag_ms.map(|n| n.to_string()),
            held.direct.map(|b| b.to_string()),
            held.cause.clone(),
            Some(held.since_ms.to_string()),
            held.decided.clone(),
        ];
        let known = known.map(Option::unwrap_or_default).join(",");
        text += &format!("{},{},{known}\n", cell(a.as_str()), cell(b.as_str()));
    }
    text
}

/// For a Prometheus that scrapes it.
fn metrics(picture: &Picture) -> String {
    let ensembles: BTreeSet<_> = picture.vms.values().flat_map(|of| &of.ensembles).collect();
    let page = metrics::Held::new(picture.vms.len(), ensembles.len(), picture.end_ms);
    for ((a, b), held) in &picture.pairs {
        page.add((a.as_str(), b.as_str()), held.since_ms, held.strength, held.confidence);
    }
    page.encode()
}

/// What is drawn of it.
fn graph(picture: &Picture) -> Graph {
    let vms = picture
        .vms
        .iter()
        .map(|(vm, of)| (vm.clone(), of.ensembles.iter().map(ToString::to_string).collect()));
    let pairs = picture.pairs.iter().map(|((a, b), held)| {
        let (strength, direct) = (held.strength, held.direct);
        Dependency { strength, direct, ..Dependency::bare(a.clone(), b.clone(), 0) }
    });
    Graph { vms: vms.collect(), pairs: pairs.collect() }
}
