//! What people decided, and that somebody decides: the only thing that this API changes. A decision counts with the window after it
//! was told, for whoever runs the pipeline; here it is shown at once.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Json};
use serde_json::{Map, Value};

use super::super::ask::{Asked, List, Page, Refusal};
use super::super::board::{Board, Desk};
use super::super::door::Writer;
use super::Answer;
use super::export::cell;
use crate::decisions::book::{Decisions, MOST};
use crate::decisions::record::{About, Decision, Entry, MAX_BYTES, What};
use crate::types::VmId;

/// The fields that a decision may have; the others are filled in here.
const FIELDS: [&str; 7] = ["decision", "a", "b", "vm", "ensemble", "name", "why"];

/// What is asked for, decided and undone.
pub fn routes() -> MethodRouter<Arc<Board>> {
    get(list).post(decide).delete(undo).layer(DefaultBodyLimit::max(MAX_BYTES))
}

async fn list(State(board): State<Arc<Board>>, asked: Asked) -> Result<Response, Refusal> {
    let asked = asked.only(&["format", "limit", "after"])?;
    let page = asked.page()?;
    let (form, file, text): (_, _, fn(&Decisions) -> String) = match asked.text("format").unwrap_or("json") {
        "json" => return Ok(Json(part(&board, page)).into_response()),
        "ndjson" => ("application/x-ndjson", "decisions.ndjson", Decisions::lines),
        "csv" => ("text/csv; charset=utf-8", "decisions.csv", csv),
        other => return Err(Refusal::bad(format!("format={other:?} is none of json, ndjson, csv"))),
    };
    let named = format!("attachment; filename=\"{file}\"");
    Ok(([(CONTENT_TYPE, form.to_string()), (CONTENT_DISPOSITION, named)], board.decisions(text))
        .into_response())
}

fn part(board: &Board, page: Page) -> List<Decision> {
    // A page goes on in the list as it is now: it changes when somebody decides, not with the windows.
    let mut list = board.decisions(|book| List::cut(Some(0), book.iter(), page).map(Decision::clone));
    list.window_end_ms = board.history(|history| history.now().end_ms);
    list
}

fn csv(book: &Decisions) -> String {
    let mut text = String::from("decision,a,b,vm,ensemble,name,at_ms,who,why\n");
    for one in book.iter() {
        let about = match &one.what {
            What::Confirmed { a, b } => ["confirmed", a.as_str(), b.as_str(), "", "", ""],
            What::Rejected { a, b } => ["rejected", a.as_str(), b.as_str(), "", "", ""],
            What::Ignored { vm } => ["ignored", "", "", vm.as_str(), "", ""],
            What::Named { ensemble, name } => ["named", "", "", "", ensemble, name],
        };
        let about = about.map(|text| if text.is_empty() { String::new() } else { cell(text) });
        let why = one.why.as_deref().map(cell).unwrap_or_default();
        text += &format!("{},{},{},{why}\n", about.join(","), one.at_ms, cell(&one.who));
    }
    text
}

async fn decide(
    State(board): State<Arc<Board>>,
    Extension(Writer(who)): Extension<Writer>,
    asked: Asked,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Decision> {
    asked.only(&[])?;
    let desk = desk(&board)?;
    let (what, why) = said(&headers, &body.map_err(unread)?)?;
    let what = board.decisions(|book| match what {
        // By the name that it is shown with.
        What::Named { ensemble, name } => {
            What::Named { ensemble: book.original(&ensemble).to_string(), name }
        }
        what => what,
    });
    let decision = Decision::new(what, &who, why.as_deref(), (desk.now_ms)());
    let decision = decision.map_err(|unfit| Refusal::bad(unfit.to_string()))?;
    let entry = Entry::made(decision.clone());
    if !board.decisions(|book| book.has_room(&entry.about)) {
        return Err(conflict(format!("{MOST} decisions stand already: undo some first")));
    }
    tell(board, desk, entry).await?;
    Ok(Json(decision))
}

async fn undo(State(board): State<Arc<Board>>, asked: Asked) -> Answer<Decision> {
    let desk = desk(&board)?;
    let asked = asked.only(&["a", "b", "vm", "ensemble"])?;
    let vm = |name| asked.text(name).map(VmId::new);
    let about = match (vm("a"), vm("b"), vm("vm"), asked.text("ensemble")) {
        (Some(a), Some(b), None, None) => About::pair(a, b),
        (None, None, Some(vm), None) if asked.texts("vm").count() == 1 => About::Vm(vm),
        (None, None, None, Some(shown)) => {
            About::Ensemble(board.decisions(|book| book.original(shown).to_string()))
        }
        _ => return Err(Refusal::bad("say what is to be undone: a and b, or vm, or ensemble, once")),
    };
    let stands = board.decisions(|book| book.about(&about).cloned());
    let stands = stands.ok_or_else(|| Refusal::missing("nothing is decided about that"))?;
    tell(board, desk, Entry::undone(about)).await?;
    Ok(Json(stands))
}

/// Where decisions go, if they can.
fn desk(board: &Board) -> Result<Arc<Desk>, Refusal> {
    let why =
        "what is decided counts in a pipeline that goes on; of a recording, with lwt analyze --decisions";
    board.desk().ok_or_else(|| conflict(why.into()))
}

fn conflict(error: String) -> Refusal {
    Refusal { status: StatusCode::CONFLICT, error }
}

/// What a request decides, and why.
fn said(headers: &HeaderMap, body: &[u8]) -> Result<(What, Option<String>), Refusal> {
    let form = headers.get(CONTENT_TYPE).and_then(|form| form.to_str().ok()).unwrap_or_default();
    if form.split(';').next().map(str::trim) != Some("application/json") {
        let error = "a decision is JSON: say Content-Type: application/json".into();
        return Err(Refusal { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, error });
    }
    let no_decision = |error: serde_json::Error| Refusal::bad(format!("no decision: {error}"));
    let mut fields: Map<String, Value> = serde_json::from_slice(body).map_err(no_decision)?;
    if let Some(unknown) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        let there = FIELDS.join(", ");
        return Err(Refusal::bad(format!("no decision: unknown field {unknown:?}: there are {there}")));
    }
    let why = match fields.remove("why") {
        None | Some(Value::Null) => None,
        Some(Value::String(why)) => Some(why),
        Some(_) => return Err(Refusal::bad("no decision: why is a text")),
    };
    let what = serde_json::from_value(Value::Object(fields)).map_err(no_decision)?;
    Ok((what, why))
}

fn unread(rejection: BytesRejection) -> Refusal {
    let status = rejection.status();
    let error = if status == StatusCode::PAYLOAD_TOO_LARGE {
        format!("a decision has at most {MAX_BYTES} bytes")
    } else {
        rejection.body_text()
    };
    Refusal { status, error }
}

/// Tells it to whom it counts for, one after the other, and shows it.
async fn tell(board: Arc<Board>, desk: Arc<Desk>, entry: Entry) -> Result<(), Refusal> {
    // Whoever waits here and goes away is forgotten; what is being told is told, and shown, whoever goes away.
    let turn = desk.turn.clone().lock_owned().await;
    let told = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        (desk.tell)(&entry).map(|()| board.hear(entry))
    });
    let failed = |status, error: String| Refusal { status, error };
    let told = told.await.map_err(|error| failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    told.map_err(|error| failed(StatusCode::SERVICE_UNAVAILABLE, error))
}

#[cfg(test)]
mod tests;
