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
use crate::coupling::voices::{self, Voter};
use crate::coupling::{Params, vector};
use crate::dependencies::Driver;
use crate::simd::Simd;
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
    /// The sums over a worker's VMs: of all, and by host; for the worker `to`. With the VMs themselves, unless
    /// they are more than may vote.
    Sums { to: u64, park: Arc<Sums>, hosts: Arc<BTreeMap<HostId, Sums>>, voters: Arc<Vec<Voting>> },
}

/// A VM whose moments are weighed by what the whole park does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Voting {
    vm: VmId,
    host: Option<HostId>,
    scores: Vec<i8>,
}

/// In a park of more VMs each has one vote: what one hub holds together is hardly most of it. The scores of so many
/// are 3 MB at most scales of 100 ms.
const MOST_VOTERS: u32 = 512;

/// The sums of some scored VMs, for each of `workers`.
pub fn sums(scored: &[Scored], workers: u64) -> Vec<Scored> {
    let (mut park, mut hosts) = (Sums::default(), BTreeMap::<HostId, Sums>::new());
    for one in scored {
        if let Scored::Vm { host, scores, .. } = one {
            park.add(scores, 1);
            host.iter().for_each(|host| hosts.entry(host.clone()).or_default().add(scores, 1));
        }
    }
    let voting = |one: &Scored| match one {
        Scored::Vm { vm, host, scores } => {
            Some(Voting { vm: vm.clone(), host: host.clone(), scores: scores.clone() })
        }
        Scored::Sums { .. } => None,
    };
    let few = park.vms <= MOST_VOTERS;
    let voters = Arc::new(scored.iter().filter(|_| few).filter_map(voting).collect());
    let (park, hosts) = (Arc::new(park), Arc::new(hosts));
    let sums =
        |to| Scored::Sums { to, park: park.clone(), hosts: hosts.clone(), voters: Arc::clone(&voters) };
    (0..workers).map(sums).collect()
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
    let found = pairs(vectors(scored, plan, params, workers), plan, params, workers);
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
    plan: &Plan,
    params: &Params,
    workers: u64,
) -> Records<'s, Timed<Weighed>> {
    let (params, simd) = (params.clone(), plan.simd);
    let route = |scored: &Scored| match scored {
        Scored::Vm { vm, .. } => vm.hashed(),
        Scored::Sums { to, .. } => *to,
    };
    per_window(scored, "Vectors", route, move |_, scored| {
        let park = Park::new(&scored, &params, simd);
        scored.into_iter().flat_map(|one| park.weigh(one, &params, workers)).collect()
    })
}

/// What every worker knows of a window's park.
struct Park {
    moments: Moments,
    hosts: BTreeMap<HostId, Sums>,
    /// Those of VMs that have not one each.
    votes: BTreeMap<VmId, u32>,
}

impl Park {
    /// From the sums of all workers.
    fn new(scored: &[Scored], params: &Params, simd: Simd) -> Self {
        let (mut park, mut hosts) = (Sums::default(), BTreeMap::<HostId, Sums>::new());
        let mut voting = vec![];
        for one in scored {
            if let Scored::Sums { park: part, hosts: parts, voters, .. } = one {
                park.merge(part);
                parts.iter().for_each(|(host, part)| hosts.entry(host.clone()).or_default().merge(part));
                voting.extend(voters.iter());
            }
        }
        if park.vms > MOST_VOTERS {
            return Park { moments: Moments::new(park, params), hosts, votes: BTreeMap::new() };
        }
        voting.sort_by_key(|voting| &voting.vm);
        let voters: Vec<Voter<'_>> = voting
            .iter()
            .map(|Voting { host, scores, .. }| Voter {
                scores,
                host: host.as_ref().and_then(|host| hosts.get(host)),
            })
            .collect();
        let votes = voices::votes(&voters, params, simd);
        let moments = voices::moments(&voters, &votes, params);
        let votes = voting.iter().map(|voting| voting.vm.clone()).zip(votes).collect();
        Park { moments, hosts, votes }
    }

    /// One VM's vector, for each worker that needs it.
    fn weigh(&self, scored: Scored, params: &Params, workers: u64) -> Vec<Weighed> {
        let Scored::Vm { vm, host, scores } = scored else { return vec![] };
        let of_host = host.as_ref().and_then(|host| self.hosts.get(host));
        let vote = self.votes.get(&vm).copied().unwrap_or(1);
        let vector: Arc<[i8]> = vector::vector((&scores, vote), &self.moments, of_host, params).into();
        let compared = places(Place::of(&vm, workers), workers);
        let vms = self.moments.vms();
        // About so many, whoever they are; those with the smallest hashes.
        let sampled = vms as usize <= compare::SAMPLE
            || vm.hashed() < (u64::MAX / u64::from(vms)).saturating_mul(compare::SAMPLE as u64);
        let to = (0..workers).filter(|to| sampled || compared.contains(to));
        to.map(|to| Weighed { to, vm: vm.clone(), host: host.clone(), vector: vector.clone(), sampled, vms })
            .collect()
    }
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
