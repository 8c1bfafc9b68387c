//! What is recorded of pairs, brought together by the smaller VM of each: that is how it is kept.

use std::collections::BTreeMap;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};

use crate::coupling::evidence::Record;
use crate::pipeline::Plan;
use crate::pipeline::kept::{Change, Keeper, Kept, PART};
use crate::pipeline::operators::{Records, Timed, per_window};
use crate::types::VmId;

/// What a worker has recorded after a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Recorded {
    /// Of a pair, the smaller VM first.
    Evidence(VmId, VmId, Record),
    /// Of a pair that is followed whatever it shows.
    Control(VmId, VmId, Record),
    /// That was all, says each worker to each: what is not said any more is gone.
    All { to: u64 },
}

/// The other VM of a pair, and what is recorded of it.
type Of = (VmId, Record);

/// The changes of what is kept, by VM; none of a flow that keeps nothing.
pub fn changes<'s>(recorded: Records<'s, Timed<Recorded>>, plan: &Plan) -> Records<'s, Timed<Change>> {
    let (worker, workers) = (recorded.scope().index() as u64, recorded.scope().peers() as u64);
    let before = plan.kept(|kept| match kept {
        Kept::Evidence(a, ..) | Kept::Control(a, ..) if a.hashed() % workers == worker => Some(kept.clone()),
        _ => None,
    });
    let mut keeper = Keeper::resume(before);
    let route = |recorded: &Recorded| match recorded {
        Recorded::Evidence(a, ..) | Recorded::Control(a, ..) => a.hashed(),
        Recorded::All { to } => *to,
    };
    per_window(recorded, "Recorded", route, move |_, recorded| keeper.changes(entries(recorded)))
}

fn entries(recorded: Vec<Recorded>) -> impl Iterator<Item = Kept> {
    let mut by_vm = [BTreeMap::<VmId, Vec<Of>>::new(), BTreeMap::new()];
    for one in recorded {
        let (of, a, b, record) = match one {
            Recorded::Evidence(a, b, record) => (&mut by_vm[0], a, b, record),
            Recorded::Control(a, b, record) => (&mut by_vm[1], a, b, record),
            Recorded::All { .. } => continue,
        };
        of.entry(a).or_default().push((b, record));
    }
    by_vm.iter_mut().flat_map(|of| of.values_mut()).for_each(|of| of.sort_unstable_by(|a, b| a.0.cmp(&b.0)));
    let [evidence, controls] = by_vm.map(|of| of.into_iter().flat_map(parts));
    let evidence = evidence.map(|(a, part, of)| Kept::Evidence(a, part, of));
    evidence.chain(controls.map(|(a, part, of)| Kept::Control(a, part, of)))
}

/// No larger than a message may be.
fn parts((a, of): (VmId, Vec<Of>)) -> Vec<(VmId, usize, Vec<Of>)> {
    of.chunks(PART).enumerate().map(|(part, of)| (a.clone(), part, of.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_kept_by_their_first_vm_in_parts_that_fit_into_a_message() {
        let vm = |i: usize| VmId::new(&format!("{i:0255}"));
        let evidence = |i| Recorded::Evidence(vm(0), vm(i), Record::new(usize::MAX));
        let others = [Recorded::Control(vm(1), vm(2), Record::new(0)), Recorded::All { to: 0 }];
        let recorded = (1..=PART + 1).rev().map(evidence).chain(others).collect();
        let kept: Vec<Kept> = entries(recorded).collect();
        let said = |kept: &Kept| match kept {
            Kept::Evidence(a, part, of) => (a.clone(), *part, of[0].0.clone(), of.len()),
            Kept::Control(a, part, of) => (a.clone(), *part, of[0].0.clone(), of.len()),
            other => panic!("{other:?}"),
        };
        let want = [(vm(0), 0, vm(1), PART), (vm(0), 1, vm(PART + 1), 1), (vm(1), 0, vm(2), 1)];
        assert_eq!(kept.iter().map(said).collect::<Vec<_>>(), want);
        let sizes: Vec<usize> = kept.iter().map(|kept| kept.entry().1.len()).collect();
        assert!(sizes[0] < crate::transport::wire::MAX_MESSAGE_BYTES / 2, "{sizes:?}");
    }
}
