//! Who speaks for the park. In a small park the VMs around one hub can be most of all, and their work would pass for
//! moments that move everybody. What a hub holds together counts as one voice; ensembles that have nothing in
//! common but that they move at the same moments (a daily cycle, a load test) keep a vote for each VM.
//!
//! A hub whose work is muted is not seen. So the park is first looked at as if each ensemble had one vote,
//! which mutes less, only to see the hubs: nothing else is decided by it.

use std::collections::BTreeSet;

use super::communities::{self, Link};
use super::compare;
use super::moments::{Moments, Sums};
use super::null::Null;
use super::params::Params;
use super::product;
use super::seen::Seen;
use super::vector;
use crate::simd::Simd;

/// The vote of a VM that speaks for itself; of 512 that are one voice each has 8.
pub const WHOLE: u32 = 4096;

/// Two ensembles of a hub are independent users of it: their other members have z-scores with each other that
/// are 1 on average at most. Applications that one common cycle made look like one have 3 and more.
const INDEPENDENT: f64 = 1.0;

/// A VM of a park.
#[derive(Clone, Copy, Debug)]
pub struct Voter<'a> {
    /// Its scores at all scales.
    pub scores: Seen<'a>,
    /// The sums of its host.
    pub host: Option<&'a Sums>,
}

/// The vote of each VM of a park, at most [`WHOLE`]. For n VMs n^2 products, twice.
pub fn votes(voters: &[Voter<'_>], params: &Params, simd: Simd) -> Vec<u32> {
    let equal = vec![WHOLE; voters.len()];
    let seen = Links::new(voters, &equal, params, simd);
    let muted_less = shared_out(voters.len(), &seen.components());
    let seen = Links::new(voters, &muted_less, params, simd);
    let ensembles = seen.ensembles();
    let mut held = united(&ensembles, |one, other| seen.have_a_hub(one, other));
    held.retain(|group| group.len() > 1);
    shared_out(voters.len(), &held.into_iter().map(|group| group.concat()).collect::<Vec<_>>())
}

/// The moments of a park whose VMs have these votes.
pub fn moments(voters: &[Voter<'_>], votes: &[u32], params: &Params) -> Moments {
    let mut park = Sums::shared(WHOLE);
    voters.iter().zip(votes).for_each(|(voter, vote)| park.add(voter.scores, *vote, params));
    Moments::new(park, params)
}

/// The evidence of all pairs, at the same moment.
struct Links {
    vms: usize,
    /// Of the pair `i < j` at `i * vms + j`; otherwise 0.
    z: Vec<f64>,
    threshold: f64,
}

impl Links {
    fn new(voters: &[Voter<'_>], votes: &[u32], params: &Params, simd: Simd) -> Self {
        let moments = moments(voters, votes, params);
        let vector = |(voter, vote): (&Voter<'_>, &u32)| {
            vector::vector((voter.scores.values, *vote), &moments, voter.host, params)
        };
        let vectors: Vec<Vec<i8>> = voters.iter().zip(votes).map(vector).collect();
        let vms = voters.len();
        let (mut all, mut z) = (vec![], vec![0.0; vms * vms]);
        let enlarged = |i: usize, j: usize| voters[i].scores.enlarged(&voters[j].scores, params);
        product::upper(simd, (&vectors, &vectors), |i, j, product| {
            let by = enlarged(i, j);
            z[i * vms + j] = f64::from(product) * by;
            all.extend((by > 0.0).then_some(z[i * vms + j]));
        });
        let null = Null::left(&mut all);
        for (i, j) in (0..vms).flat_map(|i| (i + 1..vms).map(move |j| (i, j))) {
            let z = &mut z[i * vms + j];
            *z = if enlarged(i, j) > 0.0 { null.z(*z) } else { 0.0 };
        }
        Links { vms, z, threshold: compare::significance(vms, params).threshold() }
    }

    fn z(&self, a: u32, b: u32) -> f64 {
        self.z[a.min(b) as usize * self.vms + a.max(b) as usize]
    }

    fn ensembles(&self) -> Vec<Vec<u32>> {
        let vms = self.vms as u32;
        let pairs = (0..vms).flat_map(|a| (a + 1..vms).map(move |b| (a, b)));
        let link = |(a, b)| {
            let z = self.z(a, b).abs();
            Link { a, b, z, significant: z >= self.threshold }
        };
        communities::ensembles(self.vms, &pairs.map(link).collect::<Vec<_>>(), self.threshold)
    }

    /// VMs that are linked, directly or through others.
    fn components(&self) -> Vec<Vec<u32>> {
        let (mut found, mut left) = (vec![], BTreeSet::from_iter(0..self.vms as u32));
        while let Some(first) = left.pop_first() {
            let (mut component, mut at) = (vec![first], 0);
            while let Some(&vm) = component.get(at) {
                let linked = left.extract_if(.., |other| self.z(vm, *other).abs() >= self.threshold);
                component.extend(linked);
                at += 1;
            }
            found.push(component);
        }
        found
    }

    /// Whether a VM that both have is all that they have in common.
    fn have_a_hub(&self, one: &[u32], other: &[u32]) -> bool {
        let others = |of: &[u32], not: &[u32]| -> Vec<u32> {
            of.iter().copied().filter(|vm| !not.contains(vm)).collect()
        };
        let (left, right) = (others(one, other), others(other, one));
        let sum: f64 = left.iter().flat_map(|a| right.iter().map(|b| self.z(*a, *b))).sum();
        left.len() < one.len() && sum <= INDEPENDENT * (left.len() * right.len()) as f64
    }
}

/// The ensembles, those `together` in one group, also if only through others.
fn united(ensembles: &[Vec<u32>], together: impl Fn(&[u32], &[u32]) -> bool) -> Vec<Vec<Vec<u32>>> {
    let mut groups: Vec<Vec<Vec<u32>>> = vec![];
    for ensemble in ensembles {
        let (with, without): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| together(ensemble, other)));
        groups = without;
        groups.push(with.into_iter().flatten().chain([ensemble.clone()]).collect());
    }
    groups
}

/// Each group's VMs, of which some may be named more than once, share one vote; a VM that is in none has its own.
fn shared_out(vms: usize, groups: &[Vec<u32>]) -> Vec<u32> {
    let mut votes = vec![WHOLE; vms];
    for group in groups {
        let members: BTreeSet<u32> = group.iter().copied().collect();
        for vm in &members {
            let vote = &mut votes[*vm as usize];
            *vote = (*vote).min(WHOLE / members.len() as u32);
        }
    }
    votes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard normal, nearly: the sum of twelve uniform variables.
    fn noise(state: &mut u64, values: usize) -> Vec<f64> {
        let mut uniform = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) as f64 / f64::from(1u32 << 31)
        };
        (0..values).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect()
    }

    fn mixed(parts: &[(f64, &[f64])]) -> Vec<f64> {
        (0..parts[0].1.len()).map(|t| parts.iter().map(|(share, part)| share * part[t]).sum()).collect()
    }

    /// Where the hub stands in the park.
    const HUB: usize = 18;

    /// Six applications of three VMs; `work` makes of one application's own work what its VMs do. Then a hub of them
    /// all, and eight loners.
    fn park(values: usize, work: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<i8>> {
        let mut state = 7;
        let mut noise = || noise(&mut state, values);
        let works: Vec<Vec<f64>> = (0..6).map(|_| work(&noise())).collect();
        let mut rows: Vec<Vec<f64>> = vec![];
        for work in &works {
            rows.extend((0..3).map(|_| mixed(&[(0.95, work), (0.3, &noise())])));
        }
        let mut parts: Vec<(f64, &[f64])> = works.iter().map(|work| (0.37, &work[..])).collect();
        let own = noise();
        parts.push((0.4, &own));
        rows.push(mixed(&parts));
        rows.extend((0..8).map(|_| noise()));
        rows.iter().map(|row| row.iter().map(|x| (x * 32.0).clamp(-127.0, 127.0) as i8).collect()).collect()
    }

    fn votes_of(rows: &[Vec<i8>], params: &Params) -> Vec<u32> {
        let voters: Vec<Voter<'_>> =
            rows.iter().map(|row| Voter { scores: Seen::fine(row), host: None }).collect();
        let portable = votes(&voters, params, Simd::Portable);
        assert_eq!(portable, votes(&voters, params, Simd::detect()));
        portable
    }

    #[test]
    fn what_a_hub_holds_together_is_one_voice() {
        let params = Params::new(1000, 600, 60, 0.01).unwrap();
        let rows = park(params.values(), <[f64]>::to_vec);
        let votes = votes_of(&rows, &params);
        assert_eq!(votes[..19], [WHOLE / 19; 19]);
        assert_eq!(votes[19..], [WHOLE; 8]);
        // Its work is no common moment then.
        let voters: Vec<Voter<'_>> =
            rows.iter().map(|row| Voter { scores: Seen::fine(row), host: None }).collect();
        let counted = |votes: &[u32]| -> f64 {
            moments(&voters, votes, &params).weights((&rows[HUB], votes[HUB]), None, &params).sum()
        };
        assert!(counted(&votes) > counted(&[WHOLE; 27]));
    }

    #[test]
    fn applications_without_a_hub_have_a_vote_for_each_vm() {
        let params = Params::new(1000, 600, 60, 0.01).unwrap();
        let mut rows = park(params.values(), <[f64]>::to_vec);
        rows.remove(HUB);
        assert_eq!(votes_of(&rows, &params), [WHOLE; 26]);
    }

    #[test]
    fn a_common_cycle_is_no_hub() {
        let params = Params::new(1000, 600, 60, 0.01).unwrap();
        let step = |t: usize| if t.is_multiple_of(20) { 4.0 } else { 0.0 };
        let mut rows =
            park(params.values(), |own| own.iter().enumerate().map(|(t, x)| x * 0.8 + step(t)).collect());
        rows.remove(HUB);
        assert_eq!(votes_of(&rows, &params), [WHOLE; 26]);
    }

    #[test]
    fn of_nobody_nothing() {
        let params = Params::new(1000, 300, 60, 0.01).unwrap();
        assert!(votes(&[], &params, Simd::Portable).is_empty());
        let scores = vec![0i8; params.values()];
        assert_eq!(
            votes(&[Voter { scores: Seen::fine(&scores), host: None }], &params, Simd::Portable),
            [WHOLE]
        );
    }
}
