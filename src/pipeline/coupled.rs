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
use super::flow::{Judged, Named, Proposal};
use super::kept::Change;
use super::operators::{Out, Records, Timed, apart, per_window, split};
use super::pairs::PairProposal;
use super::watch::Sight;
use crate::coupling::moments::Sums;
use crate::coupling::{Params, Seen};
use crate::dependencies::Driver;
use crate::types::{HostId, VmId};
use comparer::Comparer;
pub use park::sums;
use park::{Park, Voting};
use recorded::Recorded;

mod comparer;
mod decision;
mod division;
mod park;
mod recorded;

/// What a worker's windows say to the coupling engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Scored {
    /// One VM's scores at all scales, and the ticks of a sample.
    Vm { vm: VmId, host: Option<HostId>, scores: Vec<i8>, grain: usize },
    /// The sums over a worker's VMs: of all, and by host; for the worker `to`. With the VMs themselves, unless
    /// they are more than may vote.
    Sums { to: u64, park: Arc<Sums>, hosts: Arc<BTreeMap<HostId, Sums>>, voters: Arc<Vec<Voting>> },
}

/// A VM's vector, on its way to a worker that compares it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Weighed {
    to: u64,
    vm: VmId,
    host: Option<HostId>,
    vector: Arc<[i8]>,
    /// Ticks of a sample.
    grain: usize,
    /// Whether it is part of the sample, which every worker has.
    sampled: bool,
    /// How many VMs the park has.
    vms: u32,
}

impl Weighed {
    fn seen(&self) -> Seen<'_> {
        Seen { values: &self.vector, grain: self.grain }
    }
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

/// What a worker that compares pairs says after a window.
#[derive(Clone)]
enum Compared {
    Found(Found),
    Recorded(Recorded),
}

/// What comes together on the worker that makes the ensembles.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Gathered {
    Judged(Judged),
    Found(Found),
}

/// Of VMs, of pairs, and what is to be kept.
type Proposed<'s> =
    (Records<'s, Timed<Proposal>>, Records<'s, Timed<PairProposal>>, Records<'s, Timed<Change>>);

/// The proposals of the coupling engine.
pub fn propose<'s>(
    judged: Records<'s, Timed<Judged>>,
    scored: Records<'s, Timed<Scored>>,
    plan: &Plan,
    params: &Params,
) -> Proposed<'s> {
    let workers = judged.scope().peers() as u64;
    let compared = pairs(vectors(scored, plan, params, workers), plan, params, workers);
    let (found, recorded) = split(compared, |compared| match compared {
        Compared::Found(found) => Ok(found),
        Compared::Recorded(recorded) => Err(recorded),
    });
    let kept = recorded::changes(recorded, plan);
    let gathered = judged
        .map(|(judged, pane)| (Gathered::Judged(judged), pane))
        .concat(found.map(|(found, pane)| (Gathered::Found(found), pane)));
    let (plan, params, mut names) = (plan.clone(), params.clone(), Named::new(plan));
    let proposed = per_window(
        gathered,
        "Ensembles",
        |_| 0,
        move |pane, gathered| {
            let (vms, pairs) = decision::decide(gathered, &params, &mut names.names);
            show(&pairs, &plan, pane);
            let decided = vms.into_iter().map(Decided::Of).chain(pairs.into_iter().map(Decided::OfPair));
            decided.map(Out::Said).chain(names.kept().into_iter().map(Out::Kept)).collect()
        },
    );
    let (proposed, named) = apart(proposed);
    let (vms, pairs) = split(proposed, |decided| match decided {
        Decided::Of(vm) => Ok(vm),
        Decided::OfPair(pair) => Err(pair),
    });
    (vms, pairs, kept.concat(named))
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

fn pairs<'s>(
    weighed: Records<'s, Timed<Weighed>>,
    plan: &Plan,
    params: &Params,
    workers: u64,
) -> Records<'s, Timed<Compared>> {
    let (worker, keeps) = (weighed.scope().index() as u64, plan.resume.is_some());
    let mut comparer = Comparer::new(plan, params, worker, workers);
    per_window(
        weighed,
        "Pairs",
        |weighed| weighed.to,
        move |pane, mut weighed| {
            weighed.sort_by(|a, b| a.vm.cmp(&b.vm));
            let found = comparer.compare(pane, &weighed);
            let recorded = keeps.then(|| comparer.recorded()).into_iter().flatten();
            found.into_iter().map(Compared::Found).chain(recorded.map(Compared::Recorded)).collect()
        },
    )
}
