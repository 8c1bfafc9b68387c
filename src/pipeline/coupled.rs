//! The coupling engine's part of the dataflow:
//!
//! scores (by VM) + sums (to all) -> vectors (by VM) -> pairs (by group of VMs) -> ensembles (one worker)
//!
//! Every worker has the sums of all, so each VM's vector is made where its window is. The pairs are divided: VMs fall
//! into as many groups as there are workers, and each worker compares its own group with itself and with half of
//! the others; vectors go to the workers that compare them.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::Plan;
use super::flow::{Judged, Proposal};
use super::operators::{Records, Timed, per_window};
use super::pairs::PairProposal;
use super::watch::Sight;
use crate::cluster::Names;
use crate::coupling::compare;
use crate::coupling::moments::{Moments, Sums};
use crate::coupling::{Params, vector};
use crate::dependencies::Driver;
use crate::types::{HostId, VmId};
use comparer::Comparer;
use division::{Place, places};

mod comparer;
mod decision;
mod division;

/// What a worker's windows say to the coupling engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Scored {
    /// One VM's scores at all scales.
    Vm { vm: VmId, host: Option<HostId>, scores: Vec<i8> },
    /// The sums over a worker's VMs: of all, and by host; for the worker `to`.
    Sums { to: u64, park: Arc<Sums>, hosts: Arc<BTreeMap<HostId, Sums>> },
}

/// The sums of some scored VMs, for each of `workers`.
pub fn sums(scored: &[Scored], workers: u64) -> Vec<Scored> {
    let (mut park, mut hosts) = (Sums::default(), BTreeMap::<HostId, Sums>::new());
    for one in scored {
        if let Scored::Vm { host, scores, .. } = one {
            park.add(scores);
            host.iter().for_each(|host| hosts.entry(host.clone()).or_default().add(scores));
        }
    }
    let (park, hosts) = (Arc::new(park), Arc::new(hosts));
    (0..workers).map(|to| Scored::Sums { to, park: park.clone(), hosts: hosts.clone() }).collect()
}

/// A VM's vector, on its way to a worker that compares it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Weighed {
    to: u64,
    vm: VmId,
    host: Option<HostId>,
    vector: Arc<[i8]>,
    /// Whether it is part of the sample, which every worker has.
    sampled: bool,
    /// How many VMs the park has.
    vms: u32,
}

/// What is known of one pair after a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Found {
    a: VmId,
    b: VmId,
    z: f64,
    /// The evidence of the window alone.
    window_z: f64,
    strength: f64,
    lag_ms: i64,
    /// Who goes first, and the probability that it is not so.
    cause: Option<(Driver, f64)>,
    evidence_s: f64,
}

/// What comes together on the worker that makes the ensembles.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Gathered {
    Judged(Judged),
    Found(Found),
}

/// The proposals of the coupling engine: of VMs, and of pairs.
pub fn propose<'s>(
    judged: Records<'s, Timed<Judged>>,
    scored: Records<'s, Timed<Scored>>,
    plan: &Plan,
    params: &Params,
) -> (Records<'s, Timed<Proposal>>, Records<'s, Timed<PairProposal>>) {
    let workers = judged.scope().peers() as u64;
    let found = pairs(vectors(scored, params, workers), plan, params, workers);
    let gathered = judged
        .map(|(judged, pane)| (Gathered::Judged(judged), pane))
        .concat(found.map(|(found, pane)| (Gathered::Found(found), pane)));
    let (plan, params, mut names) = (plan.clone(), params.clone(), Names::default());
    let proposed = per_window(
        gathered,
        "Ensembles",
        |_| 0,
        move |pane, gathered| {
            let (vms, pairs) = decision::decide(gathered, &params, &mut names);
            show(&pairs, &plan, pane);
            vms.into_iter().map(Decided::Of).chain(pairs.into_iter().map(Decided::OfPair)).collect()
        },
    );
    let vms = proposed.clone().flat_map(|(proposal, pane)| match proposal {
        Decided::Of(vm) => Some((vm, pane)),
        Decided::OfPair(_) => None,
    });
    let pairs = proposed.flat_map(|(proposal, pane)| match proposal {
        Decided::OfPair(pair) => Some((pair, pane)),
        Decided::Of(_) => None,
    });
    (vms, pairs)
}

/// What a window proposes.
#[derive(Clone, Serialize, Deserialize)]
enum Decided {
    Of(Proposal),
    OfPair(PairProposal),
}

/// Shows that a watched pair is proposed.
fn show(pairs: &[PairProposal], plan: &Plan, pane: u64) {
    let Some(watch) = &plan.watch else { return };
    for pair in pairs {
        if let PairProposal::Pair(a, b, _) = pair
            && watch.concerns(a)
            && watch.concerns(b)
        {
            watch.tell(plan.window.pane_start(pane as i64 + 1), Sight::Proposed(a.clone(), b.clone()));
        }
    }
}

fn vectors<'s>(
    scored: Records<'s, Timed<Scored>>,
    params: &Params,
    workers: u64,
) -> Records<'s, Timed<Weighed>> {
    let params = params.clone();
    let route = |scored: &Scored| match scored {
        Scored::Vm { vm, .. } => vm.hashed(),
        Scored::Sums { to, .. } => *to,
    };
    per_window(scored, "Vectors", route, move |_, scored| {
        let (mut park, mut hosts) = (Sums::default(), BTreeMap::<HostId, Sums>::new());
        for one in &scored {
            if let Scored::Sums { park: part, hosts: parts, .. } = one {
                park.merge(part);
                parts.iter().for_each(|(host, part)| hosts.entry(host.clone()).or_default().merge(part));
            }
        }
        let moments = Moments::new(park, &params);
        let weigh = |one| weigh(one, &moments, &hosts, &params, workers);
        scored.into_iter().flat_map(weigh).collect()
    })
}

/// One VM's vector, for each worker that needs it.
fn weigh(
    scored: Scored,
    moments: &Moments,
    hosts: &BTreeMap<HostId, Sums>,
    params: &Params,
    workers: u64,
) -> Vec<Weighed> {
    let Scored::Vm { vm, host, scores } = scored else { return vec![] };
    let of_host = host.as_ref().and_then(|host| hosts.get(host));
    let vector: Arc<[i8]> = vector::vector(&scores, moments, of_host, params).into();
    let compared = places(Place::of(&vm, workers), workers);
    let vms = moments.vms();
    // About so many, whoever they are; those with the smallest hashes.
    let sampled = vms as usize <= compare::SAMPLE
        || vm.hashed() < (u64::MAX / u64::from(vms)).saturating_mul(compare::SAMPLE as u64);
    let to = (0..workers).filter(|to| sampled || compared.contains(to));
    to.map(|to| Weighed { to, vm: vm.clone(), host: host.clone(), vector: vector.clone(), sampled, vms })
        .collect()
}

fn pairs<'s>(
    weighed: Records<'s, Timed<Weighed>>,
    plan: &Plan,
    params: &Params,
    workers: u64,
) -> Records<'s, Timed<Found>> {
    let worker = weighed.scope().index() as u64;
    let mut comparer = Comparer::new(plan, params, worker, workers);
    per_window(
        weighed,
        "Pairs",
        |weighed| weighed.to,
        move |pane, mut weighed| {
            weighed.sort_by(|a, b| a.vm.cmp(&b.vm));
            comparer.compare(pane, &weighed)
        },
    )
}
