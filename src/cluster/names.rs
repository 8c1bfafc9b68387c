//! Names that ensembles keep from window to window, so that nothing flaps because clusters were numbered
//! differently.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::VmId;

/// The names in use, and the next number that is free: all that has to be kept from window to window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    held: BTreeMap<VmId, Vec<String>>,
    /// Names that no ensemble has now, with their last members and for how many windows.
    resting: BTreeMap<String, (Vec<VmId>, u32)>,
    next: u64,
}

/// For so many windows a name waits for its members to come together again: two ensembles that are one for a window or
/// two are afterwards who they were before. Hysteresis looks back no further by default.
const REST: u32 = 5;

impl Default for Names {
    fn default() -> Self {
        Names { held: BTreeMap::new(), resting: BTreeMap::new(), next: 1 }
    }
}

impl Names {
    /// Names as they were kept: those of each VM's ensembles, those that rest, and the number that the next new ensemble
    /// gets.
    pub fn resume(
        held: BTreeMap<VmId, Vec<String>>,
        resting: BTreeMap<String, (Vec<VmId>, u32)>,
        next: u64,
    ) -> Self {
        Names { held, resting, next: next.max(1) }
    }

    /// The names of each VM's ensembles, as of the last window, sorted bytewise; VMs in none are left out.
    pub fn held(&self) -> &BTreeMap<VmId, Vec<String>> {
        &self.held
    }

    /// The names that no ensemble has now, each with its last members and for how many windows.
    pub fn resting(&self) -> &BTreeMap<String, (Vec<VmId>, u32)> {
        &self.resting
    }

    /// The number that the next new ensemble gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Names the ensembles of a window, in the order given; an empty one gets an empty name.
    ///
    /// The ensemble and the former one that have the most members in common are matched first (then the
    /// pair with the larger share of all their members, then the smallest member), each at most once: of two parts
    /// the larger keeps the name. A name that no ensemble has waits for its members for some windows. The rest get the next numbers, `e1`, `e2`, ..., in the order of their smallest members;
    /// no number is used twice. The order of the ensembles and of their members does not matter.
    pub fn name(&mut self, ensembles: &[Vec<VmId>]) -> Vec<String> {
        let mut names = vec![String::new(); ensembles.len()];
        let mut taken = BTreeSet::new();
        for (_, _, _, former, i) in self.overlaps(ensembles) {
            if names[i].is_empty() && taken.insert(former.clone()) {
                names[i] = former;
            }
        }
        let unnamed = (0..ensembles.len()).filter(|&i| names[i].is_empty());
        let mut fresh: Vec<_> = unnamed.filter_map(|i| Some((ensembles[i].iter().min()?, i))).collect();
        fresh.sort_unstable();
        for (_, i) in fresh {
            names[i] = format!("e{}", self.next);
            self.next += 1;
        }
        self.rest(&names);
        for (vms, name) in ensembles.iter().zip(&names) {
            for vm in vms {
                self.held.entry(vm.clone()).or_default().push(name.clone());
            }
        }
        self.held.values_mut().for_each(|held| held.sort_unstable());
        names
    }

    /// Lets the names rest that are in use and not among `names`; forgets those that have rested long enough.
    fn rest(&mut self, names: &[String]) {
        let used: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        self.resting.retain(|name, (_, windows)| {
            *windows += 1;
            *windows < REST && !used.contains(name.as_str())
        });
        for (vm, held) in std::mem::take(&mut self.held) {
            for name in held.into_iter().filter(|name| !used.contains(name.as_str())) {
                self.resting.entry(name).or_default().0.push(vm.clone());
            }
        }
    }

    /// The names that each VM has or had a short while ago.
    fn known(&self) -> BTreeMap<&VmId, Vec<&str>> {
        let mut known = BTreeMap::<&VmId, Vec<&str>>::new();
        let held = self.held.iter().flat_map(|(vm, names)| names.iter().map(move |name| (vm, name)));
        let resting = self.resting.iter().flat_map(|(name, (vms, _))| vms.iter().map(move |vm| (vm, name)));
        held.chain(resting).for_each(|(vm, name)| known.entry(vm).or_default().push(name));
        known
    }

    /// (members in common, of how many in all, the smallest member, former name, ensemble), best first.
    fn overlaps<'a>(&self, ensembles: &'a [Vec<VmId>]) -> Vec<Overlap<'a>> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        let known = self.known();
        known.values().flatten().for_each(|name| *sizes.entry(name).or_default() += 1);
        let mut overlaps = Vec::new();
        for (i, vms) in ensembles.iter().enumerate() {
            let mut common: BTreeMap<&str, usize> = BTreeMap::new();
            let formers = vms.iter().filter_map(|vm| known.get(vm)).flatten();
            formers.for_each(|name| *common.entry(name).or_default() += 1);
            let Some(smallest) = vms.iter().min() else { continue };
            for (name, n) in common {
                let union = sizes[name] + vms.len() - n;
                overlaps.push((std::cmp::Reverse(n), union, smallest, name.to_owned(), i));
            }
        }
        overlaps.sort_unstable();
        overlaps
    }
}

/// See [`Names::overlaps`].
type Overlap<'a> = (std::cmp::Reverse<usize>, usize, &'a VmId, String, usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ensembles(text: &str) -> Vec<Vec<VmId>> {
        let members = |part: &str| part.chars().map(|c| VmId::new(&c.to_string())).collect();
        text.split_whitespace().map(members).collect()
    }

    /// Each row: windows, one after the other, and the names of the last one's ensembles.
    #[test]
    fn names_follow_the_members() {
        for (windows, last) in [
            (vec!["cd ab"], "e2 e1"),
            (vec!["ab cd", "cd ab"], "e2 e1"),
            (vec!["abc de", "ab cde"], "e1 e2"),
            (vec!["abcde", "ab cde"], "e2 e1"),
            (vec!["ab cd", "abcd"], "e1"),
            (vec!["ab cd", "abcd", "ab cd"], "e1 e2"),
            (vec!["ab", "cd", "ab"], "e1"),
            (vec!["ab", "cd", "cd", "cd", "cd", "cd", "cd", "ab"], "e3"),
            (vec!["ab cde", "abcde"], "e2"),
            (vec!["ab c", ""], ""),
            (vec!["abh cdh", "cdh abh"], "e2 e1"),
            (vec!["abh cdh", "ab cd"], "e1 e2"),
            (vec!["abh cdh", "abh cdh efh", "efh cdh"], "e3 e2"),
            (vec!["abh", "cdh abh"], "e2 e1"),
            (vec!["abh cdh", "abcdh"], "e1"),
        ] {
            let mut names = Names::default();
            let named: Vec<_> = windows.iter().map(|window| names.name(&ensembles(window))).collect();
            assert_eq!(named[named.len() - 1].join(" "), last, "{windows:?}");
        }
    }

    #[test]
    fn a_restart_changes_no_name() {
        let windows = ["ab cd", "abcd", "ab cd ef", "ab cd", "ef ab"];
        let mut all = Names::default();
        let named: Vec<_> = windows.iter().map(|window| all.name(&ensembles(window))).collect();
        let mut names = Names::default();
        for (window, expected) in windows.iter().zip(named) {
            assert_eq!(names.name(&ensembles(window)), expected);
            names = Names::resume(names.held().clone(), names.resting().clone(), names.next());
        }
    }

    #[test]
    fn numbering_goes_on_after_a_restart() {
        let held = [("a", "e7"), ("b", "front"), ("c", "e07x")]
            .map(|(vm, name)| (VmId::new(vm), vec![name.to_owned()]));
        let mut names = Names::resume(held.into(), BTreeMap::new(), 8);
        assert_eq!(names.name(&ensembles("a b z")), ["e7", "front", "e8"]);
        assert_eq!(names.next(), 9);
    }

    fn grouped(owner: &[usize], order: &[usize]) -> Vec<Vec<VmId>> {
        let members = |k: usize| (0..owner.len()).filter(move |&i| owner[i] == k);
        let named = |i: usize| VmId::new(&format!("vm{i:02}"));
        order.iter().map(|&k| members(k).map(named).collect()).collect()
    }

    proptest! {
        #[test]
        fn relabelling_changes_nothing(
            before in prop::collection::vec(0usize..5, 1..20),
            after in prop::collection::vec(0usize..5, 20),
            order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
        ) {
            let plain = [0, 1, 2, 3, 4];
            let (mut a, mut b) = (Names::default(), Names::default());
            a.name(&grouped(&before, &plain));
            b.name(&grouped(&before, &order));
            prop_assert_eq!(&a, &b);
            let held = a.held().clone();
            b.name(&grouped(&before, &plain));
            prop_assert_eq!(&held, b.held(), "the same ensembles keep their names");
            let names = a.name(&grouped(&after, &plain));
            b.name(&grouped(&after, &order));
            prop_assert_eq!(&a, &b);
            let used: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
            prop_assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
        }
    }
}
