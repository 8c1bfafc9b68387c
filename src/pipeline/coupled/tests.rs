//! Every pair of VMs is compared by exactly one worker, which has both vectors, and all workers have as many pairs.

use proptest::prelude::*;

use super::*;

/// How often `worker` compares VMs that stand at `a` and `b`: what `Comparer::candidates` makes of its blocks.
fn compared(worker: u64, workers: u64, a: Place, b: Place) -> usize {
    let within = |place: Place, group: u64, upper: Option<bool>| {
        place.group == group && upper.is_none_or(|u| place.upper == u)
    };
    let compares = |((left, upper), right): &((u64, Option<bool>), Option<u64>)| {
        // Within one group a pair has no order; between two it may stand either way.
        let either = |a, b| within(a, *left, *upper) && within(b, right.unwrap_or(*left), None);
        either(a, b) || either(b, a)
    };
    blocks(worker, workers).iter().filter(|block| compares(block)).count()
}

fn check(workers: u64, a: Place, b: Place) {
    let by: Vec<u64> = (0..workers).flat_map(|w| vec![w; compared(w, workers, a, b)]).collect();
    let [worker] = by.as_slice() else { panic!("{workers} workers, {a:?} and {b:?}: compared by {by:?}") };
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
            let sent = all.iter().filter(|place| places(**place, workers).contains(&worker)).count() as u64;
            assert!(sent <= 2 + 2 * (workers / 2), "{workers} workers: {sent} of {} vectors", all.len());
        }
    }
}

#[test]
fn nobody_is_sent_a_vector_twice() {
    for workers in 1..=8 {
        for place in all(workers) {
            let to = places(place, workers);
            let once: BTreeSet<&u64> = to.iter().collect();
            assert!(
                once.len() == to.len() && to.iter().all(|to| *to < workers),
                "{workers}, {place:?}: {to:?}"
            );
        }
    }
}
