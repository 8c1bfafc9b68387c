//! The API, version 1: what holds, and what held, and what people decide. `assets/openapi.json` describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::ask::{Asked, List, Page, Refusal};
use super::board::{About, Board};
use super::history::{Difference, Held, Picture, Vm};
use super::recent::Recent;
use crate::types::{HostId, VmId};

mod decisions;
mod export;
mod log;
mod look;
mod node_graph;
mod placement;

/// An answer, or why there is none.
type Answer<T> = Result<Json<T>, Refusal>;

/// All that is asked for below `/api/v1`.
pub fn router() -> Router<Arc<Board>> {
    Router::new()
        .route("/status", get(status))
        .route("/vms", get(vms))
        .route("/ensembles", get(ensembles))
        .route("/dependencies", get(dependencies))
        .route("/decisions", decisions::routes())
        .route("/windows", get(windows))
        .route("/changes", get(changes))
        .route("/events", get(log::events))
        .route("/events/stream", get(log::stream))
        .route("/series", get(look::series))
        .route("/explain", get(look::explain))
        .route("/export", get(export::export))
        .route("/placement/apart", get(placement::apart))
        .route("/placement/needed", get(placement::needed))
        .route("/node-graph", get(node_graph::node_graph))
        .fallback(async || Refusal::missing("there is no such thing: see /api/v1/openapi.json"))
}

/// What is shown, in a few numbers.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    about: About,
    /// Whether more may come; a recording ends.
    live: bool,
    window_end_ms: Option<i64>,
    /// The oldest moment that is known.
    from_ms: Option<i64>,
    vms: usize,
    idle: usize,
    ensembles: usize,
    dependencies: usize,
    /// How many decisions stand.
    decisions: usize,
    /// Whether something can be decided here, by those who may.
    decides: bool,
}

async fn status(State(board): State<Arc<Board>>, asked: Asked) -> Answer<Status> {
    asked.only(&[])?;
    let status = board.history(|history| {
        let now = history.now();
        Status {
            about: board.about.clone(),
            live: board.is_live(),
            window_end_ms: now.end_ms,
            from_ms: history.windows().next().map(|(end_ms, _)| end_ms),
            vms: now.vms.len(),
            idle: now.vms.values().filter(|vm| vm.idle).count(),
            ensembles: now.ensembles().len(),
            dependencies: now.pairs.len(),
            decisions: board.decisions(|book| book.iter().len()),
            decides: board.desk().is_some(),
        }
    });
    Ok(Json(status))
}

/// What holds at the moment that is asked for, or that the page before was of.
fn at<T>(board: &Board, asked: &Asked, page: Page, ask: impl FnOnce(&Picture) -> T) -> Result<T, Refusal> {
    let at_ms = page.after.map(|(end_ms, _)| end_ms).or(asked.time_ms("at")?);
    let before = || Refusal::missing("nothing is known of that time: see from_ms of /api/v1/status");
    board.picture(at_ms, ask).ok_or_else(before)
}

/// A VM.
#[derive(Serialize)]
struct VmItem {
    vm: VmId,
    name: String,
    host: Option<String>,
    ensembles: BTreeSet<String>,
    idle: bool,
    ignored: bool,
}

/// Where a VM runs: what its samples say, else its identity.
fn host_of<'a>(vm: &'a VmId, recent: &'a Recent) -> Option<&'a str> {
    let known = recent.host(vm).map(HostId::as_str).filter(|host| !host.is_empty());
    known.or_else(|| vm.as_str().rsplit_once('/').map(|(host, _)| host))
}

async fn vms(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<VmItem>> {
    let asked = asked.only(&["at", "q", "ensemble", "host", "limit", "after"])?;
    let page = asked.page()?;
    let part = asked.text("q").map(str::to_lowercase);
    let list = board.recent(|recent| {
        let wanted = |vm: &VmId, of: &Vm| {
            let has =
                |part| [vm.as_str(), recent.name(vm)].iter().any(|text| text.to_lowercase().contains(part));
            part.as_deref().is_none_or(has)
                && asked.text("ensemble").is_none_or(|name| of.ensembles.contains(name))
                && asked.text("host").is_none_or(|host| host_of(vm, recent) == Some(host))
        };
        let item = |(vm, of): (&VmId, &Vm)| VmItem {
            vm: vm.clone(),
            name: recent.name(vm).to_string(),
            host: host_of(vm, recent).map(str::to_string),
            ensembles: of.ensembles.clone(),
            idle: of.idle,
            ignored: of.ignored,
        };
        at(&board, &asked, page, |picture| {
            List::cut(picture.end_ms, picture.vms.iter().filter(|(vm, of)| wanted(vm, of)), page).map(item)
        })
    });
    Ok(Json(list?))
}

/// An ensemble.
#[derive(Serialize)]
struct EnsembleItem {
    ensemble: String,
    vms: Vec<VmId>,
    /// Those that are in other ensembles, too.
    hubs: Vec<VmId>,
    hosts: BTreeSet<String>,
    /// How many pairs of it depend on each other.
    dependencies: usize,
}

async fn ensembles(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<EnsembleItem>> {
    let asked = asked.only(&["at", "limit", "after"])?;
    let page = asked.page()?;
    let list = board.recent(|recent| {
        at(&board, &asked, page, |picture| {
            let pairs = pairs_within(picture);
            List::cut(picture.end_ms, picture.ensembles(), page).map(|(name, members)| EnsembleItem {
                ensemble: name.to_string(),
                hubs: members
                    .iter()
                    .filter(|vm| picture.vms[**vm].ensembles.len() > 1)
                    .map(|vm| (*vm).clone())
                    .collect(),
                hosts: members.iter().filter_map(|vm| host_of(vm, recent)).map(str::to_string).collect(),
                vms: members.into_iter().cloned().collect(),
                dependencies: pairs.get(name).copied().unwrap_or(0),
            })
        })
    });
    Ok(Json(list?))
}

/// How many pairs there are within each ensemble.
fn pairs_within(picture: &Picture) -> BTreeMap<&str, usize> {
    let mut within = BTreeMap::new();
    for (a, b) in picture.pairs.keys() {
        let (Some(a), Some(b)) = (picture.vms.get(a), picture.vms.get(b)) else { continue };
        a.ensembles
            .intersection(&b.ensembles)
            .for_each(|name| *within.entry(name.as_str()).or_default() += 1);
    }
    within
}

/// A dependency.
#[derive(Serialize)]
struct PairItem {
    a: VmId,
    b: VmId,
    strength: Option<f64>,
    confidence: Option<f64>,
    lag_ms: Option<i64>,
    direct: Option<bool>,
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<String>,
    since_ms: i64,
}

impl PairItem {
    fn new((a, b): &(VmId, VmId), held: &Held) -> Self {
        let Held { since_ms, strength, confidence, lag_ms, direct, cause, decided } = held.clone();
        PairItem {
            a: a.clone(),
            b: b.clone(),
            strength,
            confidence,
            lag_ms,
            direct,
            cause,
            decided,
            since_ms,
        }
    }
}

async fn dependencies(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<PairItem>> {
    let asked = asked.only(&["at", "vm", "ensemble", "min_strength", "min_confidence", "limit", "after"])?;
    let (page, strength, confidence) =
        (asked.page()?, asked.number("min_strength")?, asked.number("min_confidence")?);
    let enough = |known: Option<f64>, least: Option<f64>| {
        least.is_none_or(|least| known.is_some_and(|known| known.abs() >= least))
    };
    let list = at(&board, &asked, page, |picture| {
        let of = |vm: &VmId, name: &str| picture.vms.get(vm).is_some_and(|vm| vm.ensembles.contains(name));
        let found = picture.pairs.iter().filter(|((a, b), held)| {
            asked.texts("vm").all(|vm| a.as_str() == vm || b.as_str() == vm)
                && asked.text("ensemble").is_none_or(|name| of(a, name) && of(b, name))
                && enough(held.strength, strength)
                && enough(held.confidence, confidence)
        });
        List::cut(picture.end_ms, found, page).map(|(pair, held)| PairItem::new(pair, held))
    });
    Ok(Json(list?))
}

/// A moment at which something may have changed.
#[derive(Serialize)]
struct WindowItem {
    window_end_ms: i64,
    changes: usize,
}

async fn windows(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<WindowItem>> {
    let asked = asked.only(&["limit", "after"])?;
    let page = asked.page()?;
    let list = board.history(|history| {
        // A page goes on after the moment that the one before ended with: the oldest may be gone by now.
        let from_ms = page.after.map_or(i64::MIN, |(end_ms, _)| end_ms + 1);
        let items = history.windows().map(|(window_end_ms, changes)| WindowItem { window_end_ms, changes });
        let part = Page { after: None, ..page };
        let mut list =
            List::cut(history.now().end_ms, items.filter(|item| item.window_end_ms >= from_ms), part);
        list.total = history.windows().len();
        list.next = list.next.and(list.items.last().map(|item| format!("{}.0", item.window_end_ms)));
        list
    });
    Ok(Json(list))
}

async fn changes(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<Difference>> {
    let asked = asked.only(&["from", "to", "limit", "after"])?;
    let page = asked.page()?;
    let (from_ms, to_ms) = (asked.needed("from").and(asked.time_ms("from"))?, asked.time_ms("to")?);
    // Before the first window there was nothing.
    let from = board.picture(from_ms, Picture::clone).unwrap_or_default();
    let to_ms = page.after.map(|(end_ms, _)| end_ms).or(to_ms);
    let list = board.picture(to_ms, |to| List::cut(to.end_ms, from.until(to), page));
    list.map(Json)
        .ok_or_else(|| Refusal::missing("nothing is known of that time: see from_ms of /api/v1/status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair that is held, with a lag of 100 ms.
    pub fn held(strength: f64, cause: Option<&str>) -> Held {
        let cause = cause.map(str::to_string);
        Held { strength: Some(strength), lag_ms: Some(100), cause, ..Held::default() }
    }

    /// What holds: VMs with their ensembles, and pairs.
    pub fn picture(vms: &[(&str, &[&str])], pairs: &[(&str, &str, Held)]) -> Picture {
        let vm = |(vm, of): &(&str, &[&str])| {
            let ensembles = of.iter().map(|name| name.to_string()).collect();
            (VmId::new(vm), Vm { ensembles, ..Vm::default() })
        };
        let pair = |(a, b, held): &(&str, &str, Held)| ((VmId::new(a), VmId::new(b)), held.clone());
        let (vms, pairs) = (vms.iter().map(vm).collect(), pairs.iter().map(pair).collect());
        Picture { end_ms: Some(0), vms, pairs }
    }

    /// Every path is described, and nothing else.
    #[test]
    fn the_description_has_all_paths() {
        let described: serde_json::Value = serde_json::from_str(include_str!("assets/openapi.json")).unwrap();
        let described: BTreeSet<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = include_str!("api.rs").split(".route(\"").skip(1);
        let routes: BTreeSet<&str> = routes.filter_map(|text| Some(text.split_once('"')?.0)).collect();
        assert_eq!(routes, described);
    }
}
