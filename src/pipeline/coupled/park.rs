//! What every worker knows of a window's park: the sums over all its VMs, which say what a moment is worth.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};

use super::division::{Place, places};
use super::{Scored, Weighed};
use crate::coupling::moments::{Moments, Sums};
use crate::coupling::voices::{self, Voter};
use crate::coupling::{Params, Seen, compare, vector};
use crate::simd::Simd;
use crate::types::{HostId, VmId};

/// A VM whose moments are weighed by what the whole park does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Voting {
    vm: VmId,
    host: Option<HostId>,
    scores: Vec<i8>,
    /// Ticks of a sample.
    grain: usize,
}

/// In a park of more VMs each has one vote: what one hub holds together is hardly most of it. The scores of so many
/// are 3 MB at most scales of 100 ms.
const MOST_VOTERS: u32 = 512;

/// The sums of some scored VMs, for each of `workers`.
pub fn sums(scored: &[Scored], params: &Params, workers: u64) -> Vec<Scored> {
    let (mut park, mut hosts) = (Sums::default(), BTreeMap::<HostId, Sums>::new());
    for one in scored {
        if let Scored::Vm { host, scores, grain, .. } = one {
            let seen = Seen { values: scores, grain: *grain };
            park.add(seen, 1, params);
            host.iter().for_each(|host| hosts.entry(host.clone()).or_default().add(seen, 1, params));
        }
    }
    let voting = |one: &Scored| match one {
        Scored::Vm { vm, host, scores, grain } => {
            Some(Voting { vm: vm.clone(), host: host.clone(), scores: scores.clone(), grain: *grain })
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

/// What every worker knows of a window's park.
pub struct Park {
    moments: Moments,
    hosts: BTreeMap<HostId, Sums>,
    /// Those of VMs that have not one each.
    votes: BTreeMap<VmId, u32>,
}

impl Park {
    /// From the sums of all workers.
    pub fn new(scored: &[Scored], params: &Params, simd: Simd) -> Self {
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
            .map(|Voting { host, scores, grain, .. }| Voter {
                scores: Seen { values: scores, grain: *grain },
                host: host.as_ref().and_then(|host| hosts.get(host)),
            })
            .collect();
        let votes = voices::votes(&voters, params, simd);
        let moments = voices::moments(&voters, &votes, params);
        let votes = voting.iter().map(|voting| voting.vm.clone()).zip(votes).collect();
        Park { moments, hosts, votes }
    }

    /// One VM's vector, for each worker that needs it.
    pub fn weigh(&self, scored: Scored, params: &Params, workers: u64) -> Vec<Weighed> {
        let Scored::Vm { vm, host, scores, grain } = scored else { return vec![] };
        let of_host = host.as_ref().and_then(|host| self.hosts.get(host));
        let vote = self.votes.get(&vm).copied().unwrap_or(1);
        let vector: Arc<[i8]> = vector::vector((&scores, vote), &self.moments, of_host, params).into();
        let compared = places(Place::of(&vm, workers), workers);
        let vms = self.moments.vms();
        // About so many, whoever they are; those with the smallest hashes.
        let sampled = vms as usize <= compare::SAMPLE
            || vm.hashed() < (u64::MAX / u64::from(vms)).saturating_mul(compare::SAMPLE as u64);
        let to = (0..workers).filter(|to| sampled || compared.contains(to));
        let one = Weighed { to: 0, vm, host, vector, grain, sampled, vms };
        to.map(|to| Weighed { to, ..one.clone() }).collect()
    }
}
