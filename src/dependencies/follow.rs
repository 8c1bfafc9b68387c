//! How ensembles follow when somebody knows better of a pair: as little as they must.

use std::collections::BTreeSet;

use super::{Ensemble, Fact};
use crate::types::VmId;

/// Two VMs that depend, and share no ensemble, get one: who is alone joins the other's; where both have theirs, or neither has
/// one, they get one of their own, called like the two of them.
pub fn joined(
    (a, b): (&VmId, &VmId),
    (of_a, of_b): (&BTreeSet<&Ensemble>, &BTreeSet<&Ensemble>),
) -> Vec<(Fact, isize)> {
    let member = |vm: &VmId, ensemble: &Ensemble| (Fact::Member(vm.clone(), ensemble.clone()), 1);
    let one = |of: &BTreeSet<&Ensemble>| (of.len() == 1).then(|| of.first().copied().cloned()).flatten();
    match (one(of_a), one(of_b), of_a.len() + of_b.len()) {
        (Some(ensemble), _, 1) => vec![member(b, &ensemble)],
        (_, Some(ensemble), 1) => vec![member(a, &ensemble)],
        _ => {
            let own = Ensemble::new(&format!("{a}+{b}"));
            vec![member(a, &own), member(b, &own)]
        }
    }
}

/// Of two that do not depend, and share an ensemble: who is `tied` to nobody else in it leaves it; of two members, both.
pub fn left(
    (a, b): (&VmId, &VmId),
    (ensemble, members): (&Ensemble, &[&VmId]),
    tied: impl Fn((&VmId, &VmId)) -> bool,
) -> Vec<(Fact, isize)> {
    let stays = |vm: &VmId| {
        let others = members.iter().filter(|other| **other != vm);
        others.into_iter().any(|other| tied(if *other < vm { (other, vm) } else { (vm, other) }))
    };
    let gone = [a, b].into_iter().filter(|vm| !stays(vm));
    gone.map(|vm| (Fact::Member(vm.clone(), ensemble.clone()), -1)).collect()
}
