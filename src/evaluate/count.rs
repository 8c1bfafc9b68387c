//! Counts pairs of VMs that share an ensemble, in truth, in what was found, and in both, without looking at
//! every pair.

use std::collections::BTreeMap;

use super::Score;

/// The ensembles of a VM, as numbers: sorted, each once.
pub type Ensembles = Vec<u32>;

/// VMs with the same ensembles, true and found.
struct Class {
    /// True, found.
    sides: [Ensembles; 2],
    vms: u64,
}

impl Class {
    /// Whether some of its VMs is in several ensembles: a hub.
    fn is_hub(&self) -> bool {
        self.sides.iter().any(|side| side.len() > 1)
    }
}

/// The score over all pairs of these VMs, each given by its true and its found ensembles.
///
/// VMs in at most one ensemble on each side are counted by the sizes of the ensembles and of what they have
/// in common. A hub is compared with the members of its own ensembles only. So the time is
/// O(n log n + hubs x members of their ensembles).
pub fn score_pairs(vms: impl Iterator<Item = (Ensembles, Ensembles)>) -> Score {
    let mut counted: BTreeMap<[Ensembles; 2], u64> = BTreeMap::new();
    for (truth, found) in vms {
        *counted.entry([truth, found]).or_default() += 1;
    }
    let classes: Vec<Class> = counted.into_iter().map(|(sides, vms)| Class { sides, vms }).collect();
    let [simple, hubs] = [simple_pairs(&classes), hub_pairs(&classes)];
    let [truth, found, both] = [0, 1, 2].map(|i| simple[i] + hubs[i]);
    let all = pairs(classes.iter().map(|class| class.vms).sum());
    Score { tp: both, tn: all + both - truth - found, fp: found - both, fn_: truth - both }
}

/// Pairs without a hub that share an ensemble: in truth, found, both.
fn simple_pairs(classes: &[Class]) -> [u64; 3] {
    let mut sizes: [BTreeMap<u32, u64>; 2] = Default::default();
    let mut both = 0;
    for class in classes.iter().filter(|class| !class.is_hub()) {
        for (side, sizes) in class.sides.iter().zip(&mut sizes) {
            if let [ensemble] = side[..] {
                *sizes.entry(ensemble).or_default() += class.vms;
            }
        }
        if class.sides.iter().all(|side| !side.is_empty()) {
            both += pairs(class.vms);
        }
    }
    let [truth, found] = sizes.map(|sizes| sizes.into_values().map(pairs).sum());
    [truth, found, both]
}

/// Pairs with at least one hub that share an ensemble: in truth, found, both.
fn hub_pairs(classes: &[Class]) -> [u64; 3] {
    let mut members: [BTreeMap<u32, Vec<usize>>; 2] = Default::default();
    for (i, class) in classes.iter().enumerate() {
        for (side, members) in class.sides.iter().zip(&mut members) {
            for ensemble in side {
                members.entry(*ensemble).or_default().push(i);
            }
        }
    }
    let mut totals = [0; 3];
    // The last hub that a class was found to share an ensemble with, in truth and found.
    let mut seen = vec![[usize::MAX; 2]; classes.len()];
    for (hub, class) in classes.iter().enumerate().filter(|(_, class)| class.is_hub()) {
        let within = [!class.sides[0].is_empty(), !class.sides[1].is_empty()];
        add(&mut totals, within, pairs(class.vms));
        let mut met = Vec::new();
        for side in 0..2 {
            for other in class.sides[side].iter().flat_map(|ensemble| &members[side][ensemble]) {
                // Of two hubs the first counts their pairs.
                if *other == hub || (*other < hub && classes[*other].is_hub()) {
                    continue;
                }
                if !seen[*other].contains(&hub) {
                    met.push(*other);
                }
                seen[*other][side] = hub;
            }
        }
        for other in met {
            add(&mut totals, seen[other].map(|last| last == hub), class.vms * classes[other].vms);
        }
    }
    totals
}

fn add(totals: &mut [u64; 3], [truth, found]: [bool; 2], n: u64) {
    totals[0] += u64::from(truth) * n;
    totals[1] += u64::from(found) * n;
    totals[2] += u64::from(truth && found) * n;
}

/// The number of pairs of `n` things; `n` is a number of VMs, far below 2^32.
fn pairs(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    /// The slow twin: every pair.
    fn naive(vms: &[(Ensembles, Ensembles)]) -> Score {
        let share = |a: &Ensembles, b: &Ensembles| a.iter().any(|ensemble| b.contains(ensemble));
        let mut score = Score::default();
        for (i, a) in vms.iter().enumerate() {
            for b in &vms[i + 1..] {
                let count = match (share(&a.0, &b.0), share(&a.1, &b.1)) {
                    (true, true) => &mut score.tp,
                    (false, false) => &mut score.tn,
                    (false, true) => &mut score.fp,
                    (true, false) => &mut score.fn_,
                };
                *count += 1;
            }
        }
        score
    }

    #[test]
    fn rows() {
        let none: Ensembles = vec![];
        let cases = [
            (vec![], [0, 0, 0, 0]),
            (vec![(vec![0], vec![0]), (vec![0], vec![0])], [1, 0, 0, 0]),
            (vec![(vec![0], none.clone()), (vec![0], vec![0])], [0, 0, 0, 1]),
            (vec![(none.clone(), none.clone()), (none.clone(), none)], [0, 1, 0, 0]),
            (vec![(vec![0], vec![5]), (vec![1], vec![5])], [0, 0, 1, 0]),
            (vec![(vec![0], vec![7]), (vec![0, 1], vec![7, 8]), (vec![1], vec![8])], [2, 1, 0, 0]),
        ];
        for (vms, [tp, tn, fp, fn_]) in cases {
            assert_eq!(score_pairs(vms.clone().into_iter()), Score { tp, tn, fp, fn_ }, "{vms:?}");
        }
    }

    fn ensembles(most: usize) -> impl Strategy<Value = Ensembles> {
        btree_set(0u32..6, 0..=most).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn counts_like_its_slow_twin(
            simple in vec((ensembles(1), ensembles(1)), 0..40), hubs in vec((ensembles(3), ensembles(3)), 0..15),
        ) {
            let vms: Vec<_> = simple.into_iter().chain(hubs).collect();
            prop_assert_eq!(score_pairs(vms.clone().into_iter()), naive(&vms));
        }
    }
}
