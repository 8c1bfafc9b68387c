//! The graph as Grafana's node graph panel reads it: a table of nodes and one of edges, with the names of its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::ask::{Asked, MAX_LIMIT, Page};
use super::super::board::Board;
use super::super::history::{Held, Picture};
use super::{Answer, at, host_of};
use crate::types::VmId;

/// The panel shows no more.
const NODES: usize = 1_500;

/// The two tables, and what there is no room for.
#[derive(Serialize)]
pub struct NodeGraph {
    window_end_ms: Option<i64>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// VMs that depend on others and are not among the nodes.
    left_out: usize,
    /// Dependencies between nodes that are not among the edges: the weakest.
    edges_left_out: usize,
}

/// A VM.
#[derive(Serialize)]
struct Node {
    id: VmId,
    title: String,
    /// Its host.
    subtitle: String,
    /// Its ensembles.
    mainstat: String,
    /// How many VMs of the answer it depends on.
    secondarystat: usize,
}

/// A dependency.
#[derive(Serialize)]
struct Edge {
    id: String,
    source: VmId,
    target: VmId,
    /// The strength.
    mainstat: Option<f64>,
    /// By how much the target follows the source.
    secondarystat: String,
    /// Pixels.
    thickness: f64,
    /// Has gaps if one rests while the other works.
    strokedasharray: &'static str,
}

pub async fn node_graph(State(board): State<Arc<Board>>, asked: Asked) -> Answer<NodeGraph> {
    let asked = asked.only(&["at", "ensemble"])?;
    let ensemble = asked.text("ensemble");
    let graph = board.recent(|recent| {
        at(&board, &asked, Page { limit: 1, after: None }, |picture| {
            tables(picture, ensemble, |vm| {
                (recent.name(vm).to_string(), host_of(vm, recent).unwrap_or_default().to_string())
            })
        })
    });
    Ok(Json(graph?))
}

/// VMs that depend on others, of all ensembles or one; the first by identity if they are too many. `called` gives name and host.
fn tables(
    picture: &Picture,
    ensemble: Option<&str>,
    called: impl Fn(&VmId) -> (String, String),
) -> NodeGraph {
    let inside = |vm: &VmId| {
        ensemble.is_none_or(|name| picture.vms.get(vm).is_some_and(|of| of.ensembles.contains(name)))
    };
    let pairs = || picture.pairs.iter().filter(|((a, b), _)| inside(a) && inside(b));
    let all: BTreeSet<&VmId> = pairs().flat_map(|((a, b), _)| [a, b]).collect();
    let shown: BTreeSet<&VmId> = all.iter().take(NODES).copied().collect();
    let mut between: Vec<_> = pairs().filter(|((a, b), _)| shown.contains(a) && shown.contains(b)).collect();
    let strength = |held: &Held| held.strength.map_or(0.0, f64::abs);
    between.sort_by(|(_, one), (_, other)| strength(other).total_cmp(&strength(one)));
    let edges_left_out = between.len().saturating_sub(MAX_LIMIT);
    between.truncate(MAX_LIMIT);
    let mut degrees = BTreeMap::<&VmId, usize>::new();
    between.iter().flat_map(|((a, b), _)| [a, b]).for_each(|vm| *degrees.entry(vm).or_default() += 1);
    let node = |vm: &&VmId| {
        let (title, subtitle) = called(vm);
        let ensembles = picture.vms.get(*vm).map(|of| of.ensembles.iter().cloned().collect::<Vec<_>>());
        Node {
            id: (*vm).clone(),
            title,
            subtitle,
            mainstat: ensembles.unwrap_or_default().join(", "),
            secondarystat: degrees.get(*vm).copied().unwrap_or(0),
        }
    };
    NodeGraph {
        window_end_ms: picture.end_ms,
        nodes: shown.iter().map(node).collect(),
        edges: between.into_iter().map(|((a, b), held)| edge(a, b, held)).collect(),
        left_out: all.len() - shown.len(),
        edges_left_out,
    }
}

/// Who drives the other is the source.
fn edge(a: &VmId, b: &VmId, held: &Held) -> Edge {
    let turned = held.cause.as_deref() == Some("b");
    let (source, target) = if turned { (b, a) } else { (a, b) };
    let lag = held.lag_ms.map(|lag| if turned { -lag } else { lag });
    Edge {
        // As the topic's keys are.
        id: serde_json::json!([a, b]).to_string(),
        source: source.clone(),
        target: target.clone(),
        mainstat: held.strength,
        secondarystat: lag.map_or(String::new(), |lag| format!("{lag} ms")),
        thickness: 1.0 + 2.0 * held.strength.map_or(0.0, f64::abs),
        strokedasharray: if held.strength.is_some_and(|strength| strength < 0.0) { "5" } else { "" },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{held, picture};
    use super::*;

    #[test]
    fn nodes_and_edges_fit_each_other() {
        let picture = picture(
            &[("h1/a", &["e1"]), ("h1/b", &["e1", "e2"]), ("c", &["e2"]), ("d", &[])],
            &[("c", "h1/b", held(-0.5, Some("b"))), ("h1/a", "h1/b", held(0.9, None))],
        );
        let whole = tables(&picture, None, |vm| (vm.name().into(), "h".into()));
        let ids: Vec<&str> = whole.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!((ids, whole.edges.len(), whole.left_out), (vec!["c", "h1/a", "h1/b"], 2, 0));
        let Edge { id, source, target, strokedasharray, secondarystat, .. } = &whole.edges[1];
        assert_eq!((id.as_str(), source.as_str(), target.as_str()), (r#"["c","h1/b"]"#, "h1/b", "c"));
        assert_eq!((*strokedasharray, secondarystat.as_str()), ("5", "-100 ms"));
        let hub = &whole.nodes[2];
        assert_eq!((hub.title.as_str(), hub.mainstat.as_str(), hub.secondarystat), ("b", "e1, e2", 2));
        let part = tables(&picture, Some("e1"), |_| Default::default());
        assert_eq!((part.nodes.len(), part.edges.len()), (2, 1));
    }

    #[test]
    fn what_the_panel_does_not_show_is_said() {
        let names: Vec<String> = (0..2_000).map(|i| format!("vm{i:04}")).collect();
        let vms: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["e1"][..])).collect();
        let pairs: Vec<_> =
            names[1..].iter().map(|name| (names[0].as_str(), name.as_str(), held(0.9, None))).collect();
        let graph = tables(&picture(&vms, &pairs), None, |_| Default::default());
        assert_eq!((graph.nodes.len(), graph.edges.len(), graph.left_out), (1_500, 1_499, 500));
    }
}
