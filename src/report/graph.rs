//! What is drawn: VMs with their ensembles, and which of them depend on each other.

use std::collections::BTreeMap;

use crate::dependencies::State;
use crate::transport::records::Dependency;
use crate::types::VmId;

/// VMs and dependencies.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Graph {
    /// The ensembles of each VM; several for a hub.
    pub vms: BTreeMap<VmId, Vec<String>>,
    /// The dependencies, in order of pair.
    pub pairs: Vec<Dependency>,
}

impl Graph {
    /// What holds.
    pub fn of(state: &State) -> Self {
        let names = |(vm, of): (&VmId, _)| (vm.clone(), Iterator::map(of, ToString::to_string).collect());
        Graph { vms: state.members().map(names).collect(), pairs: state.dependencies().collect() }
    }

    /// The ensembles with their members, by name.
    pub fn ensembles(&self) -> BTreeMap<&str, Vec<&VmId>> {
        let mut ensembles = BTreeMap::<&str, Vec<&VmId>>::new();
        for (vm, of) in &self.vms {
            of.iter().for_each(|name| ensembles.entry(name).or_default().push(vm));
        }
        ensembles
    }

    /// The same, the largest first.
    pub fn by_size(&self) -> Vec<(&str, Vec<&VmId>)> {
        let mut ensembles: Vec<_> = self.ensembles().into_iter().collect();
        // e2 stands before e10.
        ensembles.sort_by_key(|(name, members)| (std::cmp::Reverse(members.len()), name.len(), *name));
        ensembles
    }

    /// In how many ensembles a VM is.
    pub fn memberships(&self, vm: &VmId) -> usize {
        self.vms.get(vm).map_or(0, Vec::len)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Ensembles of so many VMs, each of which depends on the first, and VMs `alone`.
    pub fn graph(ensembles: &[(&str, usize)], alone: usize) -> Graph {
        let mut graph = Graph::default();
        for (name, n) in ensembles {
            let vm = |i: usize| VmId::new(&format!("{name}-vm{i}"));
            graph.vms.extend((0..*n).map(|i| (vm(i), vec![name.to_string()])));
            let pair = |i| Dependency { strength: Some(0.9), ..Dependency::bare(vm(0), vm(i), 1) };
            graph.pairs.extend((1..*n).map(pair));
        }
        graph.vms.extend((0..alone).map(|i| (VmId::new(&format!("alone{i}")), vec![])));
        graph
    }

    #[test]
    fn the_largest_ensemble_comes_first() {
        let graph = graph(&[("e10", 2), ("e2", 2), ("e3", 4)], 1);
        let names: Vec<&str> = graph.by_size().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["e3", "e2", "e10"]);
    }
}
