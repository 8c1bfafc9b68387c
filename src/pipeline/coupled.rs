//! The coupling engine's part of the dataflow:
//!
//! scores (by VM) + sums (to all) -> vectors (by VM) -> pairs (by group of VMs) -> ensembles (one worker)
//!
//! Every worker has the sums of all, so each VM's vector is made where its window is. The pairs are divided: VMs fall
//! into as many groups as there are workers, and each worker compares its own group with itself and with half of
//! the others; vectors go to the workers that compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::flow::{self, Judged, Proposal};
use super::operators::{Records, Timed, per_window};
use super::pairs::PairProposal;
use super::watch::Sight;
use super::{Plan, Summary};
use crate::cluster::Names;
use crate::coupling::communities::Link;
use crate::coupling::compare::{self, Nulls, Which};
use crate::coupling::evidence::{Ledger, Record};
use crate::coupling::explain::{self, Pair};
use crate::coupling::moments::{Moments, Sums};
use crate::coupling::null::Null;
use crate::coupling::search::{self, Block};
use crate::coupling::significance::Significance;
use crate::coupling::structure::Tie;
use crate::coupling::{Params, communities, structure, vector};
use crate::dependencies::{Cause, Driver, Ensemble, Evidence, Probability, Verdict};
use crate::types::{HostId, VmId};
use crate::window::Status;

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
            let decided = decide(gathered, &params, &mut names);
            show(&decided, &plan, pane);
            decided
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
fn show(decided: &[Decided], plan: &Plan, pane: u64) {
    let Some(watch) = &plan.watch else { return };
    for one in decided {
        if let Decided::OfPair(PairProposal::Pair(a, b, _)) = one
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

/// Where a VM stands when pairs are divided: in a group, in one half of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    group: u64,
    upper: bool,
}

impl Place {
    fn of(vm: &VmId, workers: u64) -> Self {
        // VMs are exchanged by the hash, modulo the workers: a VM's group is where its window is.
        let hash = vm.hashed();
        Place { group: hash % workers, upper: hash / workers % 2 == 1 }
    }
}

/// The workers that compare a VM with others: of its own group, and those which compare their group with it.
fn places(place: Place, workers: u64) -> Vec<u64> {
    let Place { group, upper } = place;
    let mut to: Vec<u64> = (0..=(workers - 1) / 2).map(|d| (group + workers - d) % workers).collect();
    let half = workers / 2;
    if workers.is_multiple_of(2) && group >= half {
        to.push(group - half);
    } else if workers.is_multiple_of(2) && upper {
        to.push(group + half);
    }
    to
}

/// VMs of the group `left` (of all of it, or only of its upper or lower half) that are compared with those of
/// `right`, or with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Groups {
    left: u64,
    upper: Option<bool>,
    right: Option<u64>,
}

/// The blocks of pairs that `worker` compares: those within its own group, those of its own with each of the groups
/// that follow, up to half of all. Two groups that are opposite are compared by both their workers: by one with the
/// lower half of the first, by the other with its upper half.
fn blocks(worker: u64, workers: u64) -> Vec<Groups> {
    let own = Groups { left: worker, upper: None, right: None };
    let mut blocks = vec![own];
    blocks.extend(
        (1..=(workers - 1) / 2).map(|ahead| Groups { right: Some((worker + ahead) % workers), ..own }),
    );
    let half = workers / 2;
    if workers.is_multiple_of(2) {
        let first = worker % half;
        blocks.push(Groups { left: first, upper: Some(worker >= half), right: Some(first + half) });
    }
    blocks
}

fn pairs<'s>(
    weighed: Records<'s, Timed<Weighed>>,
    plan: &Plan,
    params: &Params,
    workers: u64,
) -> Records<'s, Timed<Found>> {
    let worker = weighed.scope().index() as u64;
    let mut comparer =
        Comparer { plan: plan.clone(), params: params.clone(), worker, workers, ledger: Ledger::default() };
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

/// One worker's share of the pairs.
struct Comparer {
    plan: Plan,
    params: Params,
    worker: u64,
    workers: u64,
    ledger: Ledger<(VmId, VmId)>,
}

/// VMs all of whose pairs are followed over time, whatever they show: 64 have 2,016.
const CONTROLS: usize = 64;

/// A record with more evidence than this is kept, whatever the window says.
const WORTH_KEEPING: f64 = 2.0;

impl Comparer {
    /// Judges this worker's pairs of a window; `weighed` in order of VM.
    fn compare(&mut self, pane: u64, weighed: &[Weighed]) -> Vec<Found> {
        let Some(vms) = weighed.first().map(|one| one.vms as usize) else { return vec![] };
        let mut sample: Vec<&Weighed> = weighed.iter().filter(|one| one.sampled).collect();
        sample.sort_by_cached_key(|one| (one.vm.hashed(), one.vm.clone()));
        sample.truncate(compare::SAMPLE);
        let vectors: Vec<&[i8]> = sample.iter().map(|one| &*one.vector).collect();
        let nulls = Nulls::new(&vectors, vms, &self.params);
        self.control(&sample[..sample.len().min(CONTROLS)], &nulls);
        let candidates = self.candidates(weighed, vms, &nulls);
        let window = Window { weighed, null: self.ledger.null(), nulls };
        self.show(pane, &window, &sample);
        let mut before = std::mem::take(&mut self.ledger.records);
        let mut pairs = candidates.clone();
        pairs.extend(before.keys().filter_map(|(a, b)| Some((window.position(a)?, window.position(b)?))));
        let mut found = vec![];
        for (i, j) in pairs {
            let (a, b) = (&weighed[i], &weighed[j]);
            let key = (a.vm.clone(), b.vm.clone());
            let (one, record) = self.judge(&window, (a, b), before.remove(&key));
            if candidates.contains(&(i, j)) || window.null.z(record.z()).abs() > WORTH_KEEPING {
                self.ledger.records.insert(key, record);
            }
            found.push(one);
        }
        found
    }

    /// Shows how the watched pair is judged, whether or not it is worth judging.
    fn show(&self, pane: u64, window: &Window<'_>, sample: &[&Weighed]) {
        let Some(watch) = &self.plan.watch else { return };
        let Some((i, j)) = watch.find(window.weighed.iter().map(|one| &one.vm)) else { return };
        let (a, b) = (&window.weighed[i], &window.weighed[j]);
        let before = self.ledger.records.get(&(a.vm.clone(), b.vm.clone())).copied();
        let skewed = a.host != b.host;
        let judged = window.nulls.judge(&a.vector, &b.vector, skewed, &self.params);
        let (found, record) = self.judge(window, (a, b), before);
        let recorded_z = if record.z() == 0.0 { 0.0 } else { window.null.z(record.z()) };
        let pair = Pair {
            vectors: [a.vector.clone(), b.vector.clone()],
            sample: sample.iter().take(explain::SAMPLE).map(|one| one.vector.clone()).collect(),
            nulls: window.nulls.clone(),
            skewed,
            judged,
            recorded_z,
            by: if found.z == judged.z { judged.by } else { record.by },
        };
        let end = self.plan.window.pane_start(pane as i64 + 1);
        watch.tell(end, Sight::Pair(a.vm.clone(), b.vm.clone(), pair));
    }

    /// Follows all pairs of a few VMs.
    fn control(&mut self, sample: &[&Weighed], nulls: &Nulls) {
        let pairs =
            sample.iter().enumerate().flat_map(|(i, a)| sample[i + 1..].iter().map(move |b| (*a, *b)));
        let fresh = pairs.map(|(a, b)| {
            let z = nulls.fresh(&a.vector, &b.vector, 0, &self.params);
            ((a.vm.clone(), b.vm.clone()), z)
        });
        self.ledger.control(fresh, self.hop_s());
    }

    /// The pairs of this worker that are worth judging, as positions, the smaller first.
    fn candidates(&self, weighed: &[Weighed], vms: usize, nulls: &Nulls) -> BTreeSet<(usize, usize)> {
        let group = |group: u64, upper: Option<bool>| -> Vec<usize> {
            let of = |at: &usize| {
                let place = Place::of(&weighed[*at].vm, self.workers);
                place.group == group && upper.is_none_or(|upper| place.upper == upper)
            };
            (0..weighed.len()).filter(of).collect()
        };
        let mut found = BTreeSet::new();
        for Groups { left, upper, right } in blocks(self.worker, self.workers) {
            let left = group(left, upper);
            let right = right.map(|right| group(right, None));
            let vectors = |of: &[usize]| of.iter().map(|at| &*weighed[*at].vector).collect::<Vec<&[i8]>>();
            let (lefts, rights) = (vectors(&left), right.as_deref().map(vectors));
            let block = Block { left: &lefts, right: rights.as_deref() };
            let right = right.as_ref().unwrap_or(&left);
            for (i, j) in search::candidates(block, vms, nulls, &self.params, self.plan.simd) {
                let (i, j) = (left[i as usize], right[j as usize]);
                found.insert((i.min(j), i.max(j)));
            }
        }
        found
    }

    /// Judges one pair by the window and by what was recorded of it before.
    fn judge(
        &self,
        window: &Window<'_>,
        (a, b): (&Weighed, &Weighed),
        before: Option<Record>,
    ) -> (Found, Record) {
        let (nulls, params, hop_s) = (&window.nulls, &self.params, self.hop_s());
        let judged = nulls.judge(&a.vector, &b.vector, a.host != b.host, params);
        let mut record = before.unwrap_or(Record::new(judged.by));
        if before.is_some() {
            record.add(nulls.fresh(&a.vector, &b.vector, record.by, params), hop_s);
        }
        let windows_s = self.plan.window.panes() as f64 * hop_s;
        let recorded = window.null.z(record.z());
        let unsure = recorded.abs() < WORTH_KEEPING && record.by != judged.by;
        if unsure || record.is_broken(judged.z, self.plan.window.panes() as f64) {
            record = Record::new(judged.by);
        }
        let recorded = if record.z() == 0.0 { 0.0 } else { recorded };
        let lasting = recorded.abs() > judged.z.abs();
        let z = if lasting { recorded } else { judged.z };
        let lag_ms = if lasting { nulls.lag_ms(record.by) } else { judged.lag_ms };
        let significant = z.abs() >= nulls.significance().threshold();
        let first = if significant { nulls.first(&a.vector, &b.vector, params) } else { None };
        let found = Found {
            a: a.vm.clone(),
            b: b.vm.clone(),
            z,
            strength: compare::strength(&a.vector, &b.vector, z),
            lag_ms,
            cause: first.map(|(first, error)| (if first == Which::A { Driver::A } else { Driver::B }, error)),
            evidence_s: windows_s.max(record.seconds(hop_s)),
        };
        (found, record)
    }

    fn hop_s(&self) -> f64 {
        self.params.hop_s()
    }
}

/// One window, as its pairs are judged.
struct Window<'a> {
    weighed: &'a [Weighed],
    nulls: Nulls,
    /// What records of independent pairs look like.
    null: Null,
}

impl Window<'_> {
    fn position(&self, vm: &VmId) -> Option<usize> {
        self.weighed.binary_search_by(|one| one.vm.cmp(vm)).ok()
    }
}

/// What one window proposes: ensembles of the VMs that do something, and the pairs that are significant within them.
fn decide(gathered: Vec<Gathered>, params: &Params, names: &mut Names) -> Vec<Decided> {
    let (mut working, mut found) = (vec![], vec![]);
    let (mut decided, mut summary, mut gone) = (vec![], Summary::default(), vec![]);
    for record in gathered {
        match record {
            Gathered::Found(one) => found.push(one),
            Gathered::Judged(Judged::Refused(letter)) => summary.refused.push(letter),
            Gathered::Judged(Judged::Vm { vm, status: Status::Whole, .. }) => working.push(vm),
            Gathered::Judged(Judged::Vm { vm, status, .. }) => {
                summary.count(status);
                gone.extend((status == Status::Gone).then(|| vm.clone()));
                decided.push(Decided::Of(Proposal::Vm(vm, flow::verdict(status))));
            }
        }
    }
    summary.refused.sort();
    working.sort();
    found.sort_by(|one, other| (&one.a, &one.b).cmp(&(&other.a, &other.b)));
    let judged = Decision::new(&working, found, params);
    decided.extend(judged.verdicts(names).into_iter().map(Decided::Of));
    decided.extend(judged.pairs().map(Decided::OfPair));
    summary.judged = working.len();
    decided.push(Decided::OfPair(PairProposal::Window { gone }));
    decided.push(Decided::Of(Proposal::Window(summary)));
    decided
}

/// The ensembles of one window and what they stand on.
struct Decision<'a> {
    vms: &'a [VmId],
    found: Vec<Found>,
    /// Positions of the two VMs of each of `found`.
    places: Vec<(u32, u32)>,
    ensembles: Vec<Vec<u32>>,
    /// Of each of `found`, whether the two are tied directly, as far as one of their ensembles tells.
    direct: Vec<Option<bool>>,
    significance: Significance,
}

impl<'a> Decision<'a> {
    fn new(vms: &'a [VmId], found: Vec<Found>, params: &Params) -> Self {
        let significance = compare::significance(vms.len(), params);
        let position = |vm| vms.binary_search(vm).unwrap_or_default() as u32;
        let places: Vec<(u32, u32)> = found.iter().map(|one| (position(&one.a), position(&one.b))).collect();
        let threshold = significance.threshold();
        let link = |(one, &(a, b)): (&Found, &(u32, u32))| {
            let z = one.z.abs();
            Link { a, b, z, significant: z >= threshold }
        };
        let links: Vec<Link> = found.iter().zip(&places).map(link).collect();
        let ensembles = communities::ensembles(vms.len(), &links, threshold);
        let tied = found.iter().zip(&places).map(|(one, (a, b))| Tie {
            a: *a,
            b: *b,
            z: one.z,
            strength: one.strength,
        });
        let direct = structure::within(&ensembles, &tied.collect::<Vec<_>>());
        Decision { vms, found, places, ensembles, direct, significance }
    }

    /// What each VM is, its ensembles under the names they had.
    fn verdicts(&self, names: &mut Names) -> Vec<Proposal> {
        let members: Vec<Vec<VmId>> = self
            .ensembles
            .iter()
            .map(|members| members.iter().map(|at| self.vms[*at as usize].clone()).collect())
            .collect();
        let mut of = vec![vec![]; self.vms.len()];
        for (name, members) in names.name(&members).iter().zip(&self.ensembles) {
            members.iter().for_each(|at| of[*at as usize].push(Ensemble::new(name)));
        }
        let verdict = |mut of: Vec<Ensemble>| {
            of.sort();
            if of.is_empty() { Verdict::Alone } else { Verdict::In(of) }
        };
        self.vms.iter().zip(of).map(|(vm, of)| Proposal::Vm(vm.clone(), verdict(of))).collect()
    }

    /// The significant pairs that share an ensemble: one that does not was outvoted by its neighbours.
    fn pairs(&self) -> impl Iterator<Item = PairProposal> + '_ {
        let mut ensembles_of = vec![BTreeSet::new(); self.vms.len()];
        for (index, members) in self.ensembles.iter().enumerate() {
            for at in members {
                ensembles_of[*at as usize].insert(index);
            }
        }
        let threshold = self.significance.threshold();
        let significant = move |one: &Found| one.z.abs() >= threshold;
        let dependent = self.found.iter().filter(|one| significant(one)).count() as f64;
        self.found.iter().zip(&self.places).zip(&self.direct).filter_map(move |((one, (a, b)), direct)| {
            let together = !ensembles_of[*a as usize].is_disjoint(&ensembles_of[*b as usize]);
            (together && significant(one)).then(|| {
                PairProposal::Pair(one.a.clone(), one.b.clone(), self.evidence(one, *direct, dependent))
            })
        })
    }

    fn evidence(&self, one: &Found, direct: Option<bool>, dependent: f64) -> Evidence {
        let cause = one
            .cause
            .map(|(driver, error)| Cause { driver, confidence_ppm: Evidence::confidence_ppm(error) });
        Evidence {
            strength_ppm: Evidence::strength_ppm(one.strength),
            q: Probability::new(self.significance.q(one.z)),
            confidence_ppm: Evidence::confidence_ppm(self.significance.local_rate(one.z, dependent)),
            lag_ms: one.lag_ms as i32,
            direct,
            cause,
            evidence_s: one.evidence_s.round() as u32,
        }
    }
}

#[cfg(test)]
mod tests;
