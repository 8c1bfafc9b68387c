//! Who compares which pairs: VMs fall into as many groups as there are workers. Every pair is compared by exactly one
//! worker, which has both vectors, and all workers have as many pairs.

use differential_dataflow::Hashable;

use crate::types::VmId;

/// Where a VM stands when pairs are divided: in a group, in one half of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// That of the worker where its window is.
    pub group: u64,
    /// Which half.
    pub upper: bool,
}

impl Place {
    /// That of `vm`: VMs are exchanged by the hash, modulo the workers.
    pub fn of(vm: &VmId, workers: u64) -> Self {
        let hash = vm.hashed();
        Place { group: hash % workers, upper: hash / workers % 2 == 1 }
    }
}

/// The workers that compare a VM with others: of its own group, and those which compare their group with it.
pub fn places(place: Place, workers: u64) -> Vec<u64> {
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
pub struct Groups {
    /// A group.
    pub left: u64,
    /// The half of it; none for all.
    pub upper: Option<bool>,
    /// Another group; none for the same.
    pub right: Option<u64>,
}

impl Groups {
    /// Whether VMs that stand at `a` and `b` are compared here.
    fn have(&self, a: Place, b: Place) -> bool {
        let within = |place: Place, group: u64, upper: Option<bool>| {
            place.group == group && upper.is_none_or(|upper| place.upper == upper)
        };
        // Within one group a pair has no order; between two it may stand either way.
        let either =
            |a, b| within(a, self.left, self.upper) && within(b, self.right.unwrap_or(self.left), None);
        either(a, b) || either(b, a)
    }
}

/// Whether `worker` is the one that compares VMs that stand at `a` and `b`.
pub fn compares(worker: u64, workers: u64, a: Place, b: Place) -> bool {
    blocks(worker, workers).iter().any(|block| block.have(a, b))
}

/// The blocks of pairs that `worker` compares: those within its own group, those of its own with each of the groups
/// that follow, up to half of all. Two groups that are opposite are compared by both their workers: by one with the
/// lower half of the first, by the other with its upper half.
pub fn blocks(worker: u64, workers: u64) -> Vec<Groups> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How often `worker` compares VMs that stand at `a` and `b`.
    fn compared(worker: u64, workers: u64, a: Place, b: Place) -> usize {
        blocks(worker, workers).iter().filter(|block| block.have(a, b)).count()
    }

    fn check(workers: u64, a: Place, b: Place) {
        let by: Vec<u64> = (0..workers).flat_map(|w| vec![w; compared(w, workers, a, b)]).collect();
        let [worker] = by.as_slice() else {
            panic!("{workers} workers, {a:?} and {b:?}: compared by {by:?}")
        };
        for place in [a, b] {
            assert!(
                places(place, workers).contains(worker),
                "{workers} workers: {place:?} is not sent to {worker}"
            );
        }
    }

    /// All places that VMs can have.
    fn all(workers: u64) -> Vec<Place> {
        (0..workers).flat_map(|group| [false, true].map(|upper| Place { group, upper })).collect()
    }

    #[test]
    fn every_pair_is_compared_once_where_both_vectors_are() {
        for workers in 1..=8 {
            for a in all(workers) {
                all(workers).into_iter().for_each(|b| check(workers, a, b));
            }
        }
    }

    proptest! {
        #[test]
        fn so_is_every_pair_of_vms(a in "[a-z0-9/-]{1,12}", b in "[a-z0-9/-]{1,12}", workers in 1u64..=8) {
            let [a, b] = [a, b].map(|name| Place::of(&VmId::new(&name), workers));
            check(workers, a, b);
        }
    }

    #[test]
    fn pairs_and_vectors_are_spread_evenly() {
        for workers in 1..=8 {
            let all = all(workers);
            let pairs = |worker: u64| -> usize {
                let of = |(i, a): (usize, &Place)| {
                    all[i..].iter().map(|b| compared(worker, workers, *a, *b)).sum::<usize>()
                };
                all.iter().enumerate().map(of).sum()
            };
            let shares: Vec<usize> = (0..workers).map(pairs).collect();
            assert!(shares.iter().all(|share| *share == shares[0]), "{workers} workers: {shares:?}");
            // Of 2 VMs in each group: no worker needs more of them than of its own group, half of the others and one more.
            for worker in 0..workers {
                let sent =
                    all.iter().filter(|place| places(**place, workers).contains(&worker)).count() as u64;
                assert!(sent <= 2 + 2 * (workers / 2), "{workers} workers: {sent} of {} vectors", all.len());
            }
        }
    }

    #[test]
    fn nobody_is_sent_a_vector_twice() {
        for workers in 1..=8 {
            for place in all(workers) {
                let to = places(place, workers);
                let once: std::collections::BTreeSet<&u64> = to.iter().collect();
                assert!(
                    once.len() == to.len() && to.iter().all(|to| *to < workers),
                    "{workers}, {place:?}: {to:?}"
                );
            }
        }
    }
}
