//! What is held of pairs, by pair: the shell around [`HeldPairs`].

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::operators::{Records, Timed, per_window};
use crate::dependencies::{Evidence, Fact, HeldPairs, Hysteresis, PairWindow};
use crate::types::VmId;

/// What an engine that compares pairs says of a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PairProposal {
    /// The two VMs, the smaller first, depend on each other. At most once a window.
    Pair(VmId, VmId, Evidence),
    /// The window was judged, whether or not it has pairs; and these VMs are gone. Once a window at least, by
    /// any worker: it goes to all of them, since each must count what the window does not propose. Several
    /// add up.
    Window {
        /// VMs without one sample in the window.
        gone: Vec<VmId>,
    },
}

/// The differences of what is held of each pair.
pub fn held_pairs<'s>(
    proposed: Records<'s, Timed<PairProposal>>,
    hysteresis: Hysteresis,
) -> Records<'s, Timed<(Fact, isize)>> {
    let workers = proposed.scope().peers() as u64;
    let routed = proposed.flat_map(move |(proposal, pane)| {
        let to = match &proposal {
            PairProposal::Pair(a, b, _) => (a, b).hashed()..=(a, b).hashed(),
            PairProposal::Window { .. } => 0..=workers - 1,
        };
        to.map(move |to| ((to, proposal.clone()), pane))
    });
    let mut held = HeldPairs::default();
    per_window(
        routed,
        "Held pairs",
        |(to, _)| *to,
        move |_, proposals| {
            let (mut window, mut changes) = (PairWindow::default(), vec![]);
            for (_, proposal) in proposals {
                match proposal {
                    PairProposal::Pair(a, b, evidence) => drop(window.proposed.insert((a, b), evidence)),
                    PairProposal::Window { gone } => window.gone.extend(gone),
                }
            }
            held.update(&window, hysteresis, &mut changes);
            changes
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use timely::dataflow::operators::vec::input::Handle;
    use timely::dataflow::operators::{Input as _, Inspect as _};

    use super::*;
    use crate::dependencies::some_evidence;

    /// Pairs `v0`-`w0` ... `v9`-`w9`: in pane t, pair i is proposed where bit i of `panes[t]` is set. In the
    /// last pane `w0` is gone. The sorted differences, each with its pane.
    fn flow(panes: &'static [u32], workers: usize) -> Vec<(u64, Fact, isize)> {
        let (said, says) = (Arc::new(Mutex::new(vec![])), Hysteresis::new(2, 3).unwrap());
        let to = said.clone();
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let (mut input, to) = (Handle::new(), to.clone());
            worker.dataflow::<u64, _, _>(|scope| {
                held_pairs(scope.input_from(&mut input), says).inspect(move |((fact, diff), pane)| {
                    to.lock().unwrap().push((*pane, fact.clone(), *diff))
                });
            });
            for (pane, bits) in panes.iter().enumerate().filter(|_| worker.index() == 0) {
                let pane = pane as u64;
                for i in (0..10).filter(|i| bits >> i & 1 == 1) {
                    let [a, b] = ["v", "w"].map(|letter| VmId::new(&format!("{letter}{i}")));
                    input.send((PairProposal::Pair(a, b, some_evidence()), pane));
                }
                let gone = if pane + 1 == panes.len() as u64 { vec![VmId::new("w0")] } else { vec![] };
                input.send((PairProposal::Window { gone }, pane));
                input.advance_to(pane + 1);
            }
        });
        guards.unwrap().join().into_iter().for_each(|done| done.unwrap());
        let mut said = said.lock().unwrap().clone();
        said.sort();
        said
    }

    #[test]
    fn each_window_counts_for_every_pair_with_any_number_of_workers() {
        // Pairs 0 to 8 in the first window, then nobody, then all ten twice, then nobody thrice.
        const PANES: &[u32] = &[0x1ff, 0, 0, 0x3ff, 0x3ff, 0, 0, 0, 0x3ff, 0x3ff, 0x3ff];
        let one = flow(PANES, 1);
        let counts: Vec<(u64, isize, usize)> = one
            .chunk_by(|(t, _, d), (u, _, e)| (t, d) == (u, e))
            .map(|run| (run[0].0, run[0].2, run.len()))
            .collect();
        let mut sums = std::collections::BTreeMap::<(u64, isize), usize>::new();
        counts.into_iter().for_each(|(pane, diff, n)| *sums.entry((pane, diff)).or_default() += n);
        let sums: Vec<_> = sums.into_iter().map(|((pane, diff), n)| (pane, diff, n)).collect();
        assert_eq!(sums, [(0, 1, 9), (2, -1, 9), (4, 1, 10), (6, -1, 10), (9, 1, 10), (10, -1, 1)]);
        for workers in [2, 3] {
            assert_eq!(flow(PANES, workers), one, "{workers} workers");
        }
    }
}
