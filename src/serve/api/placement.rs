//! Hints for whoever places VMs on hosts: which ensembles are spread over hosts, and whom others need.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::ask::{Asked, List};
use super::super::board::Board;
use super::super::history::{Held, Picture};
use super::super::recent::Recent;
use super::{Answer, at, host_of};
use crate::types::VmId;

/// Pairs that are told of each ensemble: the strongest.
const PAIRS: usize = 20;

/// An ensemble whose members depend on each other across hosts.
#[derive(Serialize)]
pub struct ApartItem {
    ensemble: String,
    /// How many of its members each host has.
    hosts: BTreeMap<String, usize>,
    /// How many of its pairs are on two hosts.
    pairs: usize,
    /// The sum of their strengths, without signs; of a pair without one, 1.
    strength: f64,
    /// The strongest of them.
    strongest: Vec<Apart>,
}

/// Two VMs that would gain from being on one host.
#[derive(Clone, Serialize)]
pub struct Apart {
    a: VmId,
    b: VmId,
    a_host: String,
    b_host: String,
    strength: Option<f64>,
    direct: Option<bool>,
}

/// A VM whose being starved would be felt by others.
#[derive(Serialize)]
pub struct NeededItem {
    vm: VmId,
    host: Option<String>,
    /// In how many ensembles it is.
    ensembles: usize,
    /// How many VMs it is known to drive.
    dependents: usize,
    /// In how many dependencies it is, whoever drives whom.
    dependencies: usize,
}

pub async fn apart(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<ApartItem>> {
    let asked = asked.only(&["at", "limit", "after"])?;
    let page = asked.page()?;
    let list = board.recent(|recent| {
        at(&board, &asked, page, |picture| List::cut(picture.end_ms, spread(picture, recent), page))
    });
    Ok(Json(list?))
}

pub async fn needed(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<NeededItem>> {
    let asked = asked.only(&["at", "limit", "after"])?;
    let page = asked.page()?;
    let list = board.recent(|recent| {
        at(&board, &asked, page, |picture| {
            List::cut(picture.end_ms, wanted(picture), page).map(
                |(vm, [ensembles, dependents, dependencies])| {
                    let host = host_of(vm, recent).map(str::to_string);
                    NeededItem { vm: vm.clone(), host, ensembles, dependents, dependencies }
                },
            )
        })
    });
    Ok(Json(list?))
}

/// The ensembles that are spread over hosts, those first that would gain most.
fn spread(picture: &Picture, recent: &Recent) -> Vec<ApartItem> {
    let mut apart = BTreeMap::<&str, Vec<Apart>>::new();
    for ((a, b), held) in &picture.pairs {
        let Some((one, other)) = picture.vms.get(a).zip(picture.vms.get(b)) else { continue };
        let Some((a_host, b_host)) = host_of(a, recent).zip(host_of(b, recent)) else { continue };
        if a_host == b_host {
            continue;
        }
        let Held { strength, direct, .. } = *held;
        for ensemble in one.ensembles.intersection(&other.ensembles) {
            let (a, b, a_host, b_host) = (a.clone(), b.clone(), a_host.to_string(), b_host.to_string());
            apart.entry(ensemble).or_default().push(Apart { a, b, a_host, b_host, strength, direct });
        }
    }
    let members = picture.ensembles();
    let strength = |pair: &Apart| pair.strength.map_or(1.0, f64::abs);
    let item = |(ensemble, mut strongest): (&str, Vec<Apart>)| {
        strongest.sort_by(|one, other| strength(other).total_cmp(&strength(one)));
        let (pairs, sum) = (strongest.len(), strongest.iter().map(strength).sum::<f64>());
        strongest.truncate(PAIRS);
        let mut on = BTreeMap::new();
        let of = members.get(ensemble).into_iter().flatten();
        of.filter_map(|vm| host_of(vm, recent))
            .for_each(|host| *on.entry(host.to_string()).or_default() += 1);
        let strength = (sum * 1e6).round() / 1e6;
        ApartItem { ensemble: ensemble.to_string(), hosts: on, pairs, strength, strongest }
    };
    let mut items: Vec<ApartItem> = apart.into_iter().map(item).collect();
    items.sort_by(|one, other| other.strength.total_cmp(&one.strength));
    items
}

/// The VMs that others need: those that several ensembles share, and those that are known to drive others. Each with the numbers
/// of its ensembles, of those whom it drives, and of its dependencies.
fn wanted(picture: &Picture) -> Vec<(&VmId, [usize; 3])> {
    let (mut drives, mut pairs) = (BTreeMap::<&VmId, usize>::new(), BTreeMap::<&VmId, usize>::new());
    for ((a, b), held) in &picture.pairs {
        [a, b].into_iter().for_each(|vm| *pairs.entry(vm).or_default() += 1);
        let cause = match held.cause.as_deref() {
            Some("a") => Some(a),
            Some("b") => Some(b),
            _ => None,
        };
        cause.into_iter().for_each(|vm| *drives.entry(vm).or_default() += 1);
    }
    let count = |of: &BTreeMap<&VmId, usize>, vm| of.get(vm).copied().unwrap_or(0);
    let all =
        picture.vms.iter().map(|(vm, of)| (vm, [of.ensembles.len(), count(&drives, vm), count(&pairs, vm)]));
    let mut items: Vec<_> =
        all.filter(|(_, [ensembles, dependents, _])| *ensembles > 1 || *dependents > 0).collect();
    items.sort_by_key(|(_, numbers)| std::cmp::Reverse(*numbers));
    items
}

#[cfg(test)]
mod tests {
    use super::super::tests::{held, picture};
    use super::*;

    #[test]
    fn ensembles_that_are_apart_come_by_what_they_would_gain() {
        let picture = picture(
            &[
                ("h1/a", &["e1"]),
                ("h2/b", &["e1"]),
                ("h2/c", &["e1", "e2"]),
                ("h2/d", &["e2"]),
                ("x", &["e2"]),
            ],
            &[
                ("h1/a", "h2/b", held(-0.9, None)),
                ("h1/a", "h2/c", held(0.5, None)),
                ("h2/b", "h2/c", held(0.8, None)),
                ("h2/c", "h2/d", held(0.8, None)),
                ("h2/d", "x", held(0.8, None)),
            ],
        );
        let items = spread(&picture, &Recent::new(1, 1));
        assert_eq!(items.len(), 1);
        let ApartItem { ensemble, hosts, pairs, strength, strongest } = &items[0];
        assert_eq!((ensemble.as_str(), *pairs, *strength), ("e1", 2, 1.4));
        assert_eq!(*hosts, BTreeMap::from([("h1".to_string(), 1), ("h2".to_string(), 2)]));
        assert_eq!((strongest[0].b.as_str(), strongest[0].b_host.as_str()), ("h2/b", "h2"));
    }

    #[test]
    fn hubs_and_those_who_drive_others_are_needed() {
        let picture = picture(
            &[("a", &["e1"]), ("b", &["e1"]), ("hub", &["e1", "e2"]), ("z", &[])],
            &[("a", "b", held(0.9, Some("b"))), ("a", "hub", held(0.9, None)), ("b", "hub", held(0.9, None))],
        );
        assert_eq!(wanted(&picture), [(&VmId::new("hub"), [2, 0, 2]), (&VmId::new("b"), [1, 1, 2])]);
    }
}
