//! What one window proposes, from what is known of its VMs and pairs: ensembles, and the dependent pairs within them.

use std::collections::{BTreeSet, HashMap};

use super::{Found, Gathered};
use crate::cluster::Names;
use crate::coupling::Params;
use crate::coupling::communities::{self, Link};
use crate::coupling::compare;
use crate::coupling::enough::Enough;
use crate::coupling::significance::Significance;
use crate::coupling::structure::{self, Tie};
use crate::dependencies::{Cause, Ensemble, Evidence, Probability, Verdict};
use crate::pipeline::flow::{self, Collated, Proposal};
use crate::pipeline::pairs::PairProposal;
use crate::types::VmId;

/// What one window proposes, of VMs and of pairs: ensembles of the VMs that do something, and the pairs that are
/// significant within them.
pub fn decide(
    gathered: Vec<Gathered>,
    params: &Params,
    names: &mut Names,
) -> (Vec<Proposal>, Vec<PairProposal>) {
    let (mut judged, mut found) = (vec![], vec![]);
    for record in gathered {
        match record {
            Gathered::Judged(one) => judged.push(one),
            Gathered::Found(one) => found.push(one),
        }
    }
    let Collated { vms, mut proposals, mut summary, .. } = flow::collate(judged);
    let gone = proposals.iter().filter_map(|proposal| match proposal {
        Proposal::Vm(vm, Verdict::Gone) => Some(vm.clone()),
        _ => None,
    });
    let window = PairProposal::Window { gone: gone.collect() };
    let decision = Decision::new(&vms, found, params);
    proposals.extend(decision.verdicts(names));
    summary.enough = decision.enough();
    proposals.push(Proposal::Window(summary));
    (proposals, decision.pairs().chain([window]).collect())
}

/// The ensembles of one window and what they stand on.
struct Decision<'a> {
    vms: &'a [VmId],
    found: Vec<Found>,
    /// Positions of the two VMs of each of `found`, in their order, and which one it is.
    places: Vec<((u32, u32), usize)>,
    ensembles: Vec<Vec<u32>>,
    /// Of each of `places`, whether the two are tied directly, as far as one of their ensembles tells.
    direct: Vec<Option<bool>>,
    significance: Significance,
}

impl<'a> Decision<'a> {
    fn new(vms: &'a [VmId], found: Vec<Found>, params: &Params) -> Self {
        let significance = compare::significance(vms.len(), params);
        let positions: HashMap<&VmId, u32> = vms.iter().zip(0..).collect();
        let place = |one: &Found| Some((*positions.get(&one.a)?, *positions.get(&one.b)?));
        let mut places: Vec<_> =
            found.iter().enumerate().filter_map(|(at, one)| Some((place(one)?, at))).collect();
        places.sort_unstable();
        let threshold = significance.threshold();
        let link = |&((a, b), at): &((u32, u32), usize)| {
            let z = found[at].z.abs();
            Link { a, b, z, significant: z >= threshold }
        };
        let links: Vec<Link> = places.iter().map(link).collect();
        let ensembles = communities::ensembles(vms.len(), &links, threshold);
        let tie =
            |&((a, b), at): &((u32, u32), usize)| Tie { a, b, z: found[at].z, strength: found[at].strength };
        let direct = structure::within(&ensembles, &places.iter().map(tie).collect::<Vec<_>>());
        Decision { vms, found, places, ensembles, direct, significance }
    }

    /// What is known of pairs, in order of their VMs.
    fn found(&self) -> impl Iterator<Item = &Found> {
        self.places.iter().map(|(_, at)| &self.found[*at])
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

    /// How much of the window would have been enough to see what it shows.
    fn enough(&self) -> Option<Enough> {
        let threshold = self.significance.threshold();
        let shown = self.found().map(|one| one.window_z).filter(|z| z.abs() >= threshold);
        Enough::new(&shown.collect::<Vec<f64>>(), threshold)
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
        let dependent = self.found().filter(|one| significant(one)).count() as f64;
        let all = self.found().zip(&self.places).zip(&self.direct);
        all.filter(move |((one, _), _)| significant(one)).filter_map(move |((one, ((a, b), _)), direct)| {
            let together = !ensembles_of[*a as usize].is_disjoint(&ensembles_of[*b as usize]);
            together.then(|| {
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
            asked: None,
        }
    }
}
