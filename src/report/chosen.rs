//! Which part of a large graph a picture has room for.

use std::collections::BTreeSet;

use super::graph::Graph;
use crate::types::VmId;

/// Members of an ensemble that are shown: two columns of 12 can still be told apart.
const MEMBERS: usize = 24;

/// An ensemble as it is shown.
pub struct Group<'a> {
    /// Its name.
    pub name: &'a str,
    /// Members that are in no other one.
    pub own: Vec<&'a VmId>,
    /// Members that are.
    pub hubs: Vec<&'a VmId>,
    /// How many members it has, shown or not.
    pub size: usize,
}

/// What a picture shows.
pub struct Chosen<'a> {
    /// Ensembles, the largest first.
    pub groups: Vec<Group<'a>>,
    /// VMs in no ensemble that depend on others.
    pub loose: Vec<&'a VmId>,
    /// What is left out, in words.
    pub notes: Vec<String>,
}

/// Chooses at most `limit` VMs: large ensembles before small ones, in each the hubs before the others.
pub fn choose(graph: &Graph, limit: usize) -> Chosen<'_> {
    let (mut shown, mut groups) = (BTreeSet::new(), vec![]);
    let ensembles = graph.by_size();
    for (name, members) in &ensembles {
        let (mut hubs, mut own): (Vec<&VmId>, Vec<&VmId>) =
            members.iter().partition(|vm| graph.memberships(vm) > 1);
        for vms in [&mut hubs, &mut own] {
            let room = MEMBERS.min(limit.saturating_sub(shown.len()));
            let new = vms.iter().filter(|vm| !shown.contains(*vm)).take(room);
            let new: Vec<&VmId> = new.copied().collect();
            shown.extend(new);
            vms.retain(|vm| shown.contains(vm));
        }
        if !own.is_empty() || !hubs.is_empty() {
            groups.push(Group { name, own, hubs, size: members.len() });
        }
    }
    let depend: BTreeSet<&VmId> = graph.pairs.iter().flat_map(|pair| [&pair.a, &pair.b]).collect();
    let outside = graph.vms.iter().filter(|(_, of)| of.is_empty()).map(|(vm, _)| vm);
    let (mut loose, alone): (Vec<&VmId>, Vec<&VmId>) = outside.partition(|vm| depend.contains(vm));
    let all = graph.vms.len() - alone.len();
    loose.truncate(limit.saturating_sub(shown.len()));
    let missing = all - shown.len() - loose.len();
    let mut notes = vec![];
    if groups.len() < ensembles.len() {
        notes.push(format!("Of {} ensembles the {} largest are drawn.", ensembles.len(), groups.len()));
    }
    if missing > 0 {
        notes.push(format!(
            "{missing} VMs that depend on others are not drawn: there is room for {MEMBERS} of an ensemble and {limit} in all."
        ));
    }
    if !alone.is_empty() {
        notes.push(format!("Not drawn: {} that depend on nobody.", counted(alone.len(), "VM")));
    }
    Chosen { groups, loose, notes }
}

/// `1 VM`, `2 VMs`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;

    #[test]
    fn what_is_left_out_is_said() {
        let all = graph(&[("e1", 30), ("e2", 3), ("e3", 2)], 4);
        let chosen = choose(&all, 1000);
        assert_eq!(chosen.groups.iter().map(|group| group.own.len()).collect::<Vec<_>>(), [24, 3, 2]);
        assert_eq!(chosen.groups[0].size, 30);
        assert!(chosen.notes[0].starts_with("6 VMs that depend on others"), "{:?}", chosen.notes);
        assert_eq!(chosen.notes[1], "Not drawn: 4 VMs that depend on nobody.");
        let few = choose(&all, 25);
        assert_eq!(few.groups.iter().map(|group| group.own.len()).collect::<Vec<_>>(), [24, 1]);
        assert_eq!(few.notes[0], "Of 3 ensembles the 2 largest are drawn.");
        assert!(choose(&Graph::default(), 25).notes.is_empty());
    }
}
