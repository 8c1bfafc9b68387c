//! What holds, in forms that other tools read.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde_json::json;

use super::super::ask::{Asked, Page, Refusal};
use super::super::board::Board;
use super::super::history::Picture;
use super::{PairItem, at};
use crate::transport::records::{Assignment, Membership};

pub async fn export(State(board): State<Arc<Board>>, asked: Asked) -> Result<impl IntoResponse, Refusal> {
    let asked = asked.only(&["format", "at"])?;
    let (form, file, text): (_, _, fn(&Picture) -> String) = match asked.text("format").unwrap_or("json") {
        "json" => ("application/json", "lwt.json", json),
        "csv" => ("text/csv; charset=utf-8", "lwt.csv", csv),
        "dot" => ("text/vnd.graphviz; charset=utf-8", "lwt.dot", dot),
        other => return Err(Refusal::bad(format!("format={other:?} is none of json, csv, dot"))),
    };
    let text = at(&board, &asked, Page { limit: 1, after: None }, text)?;
    let named = format!("attachment; filename=\"{file}\"");
    Ok(([(CONTENT_TYPE, form.to_string()), (CONTENT_DISPOSITION, named)], text))
}

/// As `lwt analyze --format json` has it, as far as it is known.
fn json(picture: &Picture) -> String {
    let assignments = picture.vms.iter().map(|(vm, of)| {
        let ensemble = Membership::from_names(of.ensembles.iter().map(String::as_str));
        Assignment { vm: vm.clone(), ensemble }
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

/// The dependencies, a line each. A cell that a spreadsheet would take for a formula is text.
fn csv(picture: &Picture) -> String {
    let mut text = String::from("a,b,strength,confidence,lag_ms,direct,cause,since_ms\n");
    let cell = |name: &str| {
        let formula = name.starts_with(['=', '+', '-', '@', '\t', '\r']);
        format!("\"{}{}\"", if formula { "'" } else { "" }, name.replace('"', "\"\""))
    };
    for ((a, b), held) in &picture.pairs {
        let known = [
            held.strength.map(|n| n.to_string()),
            held.confidence.map(|n| n.to_string()),
            held.lag_ms.map(|n| n.to_string()),
            held.direct.map(|b| b.to_string()),
            held.cause.clone(),
            Some(held.since_ms.to_string()),
        ];
        let known = known.map(Option::unwrap_or_default).join(",");
        text += &format!("{},{},{known}\n", cell(a.as_str()), cell(b.as_str()));
    }
    text
}

/// A box an ensemble, a line a dependency; hubs, which no box can hold, stand outside with a double border.
fn dot(picture: &Picture) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("graph lwt {\n  node [shape=box];\n");
    for (name, members) in picture.ensembles() {
        let own = members.iter().filter(|vm| picture.vms[**vm].ensembles.len() == 1);
        let own: Vec<_> = own.map(|vm| quoted(vm.as_str())).collect();
        let (id, label) = (quoted(&format!("cluster_{name}")), quoted(name));
        text += &format!("  subgraph {id} {{ label={label}; {} }}\n", own.join("; "));
    }
    for (vm, of) in picture.vms.iter().filter(|(_, of)| of.ensembles.len() != 1) {
        let border = if of.ensembles.is_empty() { "" } else { " [peripheries=2]" };
        text += &format!("  {}{border};\n", quoted(vm.as_str()));
    }
    for ((a, b), held) in &picture.pairs {
        let dashed =
            if held.strength.is_some_and(|strength| strength < 0.0) { " [style=dashed]" } else { "" };
        text += &format!("  {} -- {}{dashed};\n", quoted(a.as_str()), quoted(b.as_str()));
    }
    text + "}\n"
}
