//! What is held of pairs, by pair: the shell around [`HeldPairs`].

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::Plan;
use super::kept::{Keeper, Kept};
use super::operators::{Out, Records, Timed, per_window};
use crate::dependencies::{Evidence, Fact, HeldPairs, PairWindow};
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
    plan: &Plan,
) -> Records<'s, Timed<Out<(Fact, isize)>>> {
    let (worker, workers) = (proposed.scope().index() as u64, proposed.scope().peers() as u64);
    let routed = proposed.flat_map(move |(proposal, pane)| {
        let to = match &proposal {
            PairProposal::Pair(a, b, _) => (a, b).hashed()..=(a, b).hashed(),
            PairProposal::Window { .. } => 0..=workers - 1,
        };
        to.map(move |to| ((to, proposal.clone()), pane))
    });
    let (hysteresis, mut held) = (plan.hysteresis, resumed(plan, worker, workers));
    let mut keeper = plan.resume.as_ref().map(|_| Keeper::resume(entries(&held, worker)));
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
            let kept = keeper.as_mut().map_or(vec![], |keeper| keeper.changes(entries(&held, worker)));
            changes.into_iter().map(Out::Said).chain(kept.into_iter().map(Out::Kept)).collect()
        },
    )
}

/// This worker's pairs, as they were kept.
fn resumed(plan: &Plan, worker: u64, workers: u64) -> HeldPairs {
    let pairs = plan.kept(|kept| match kept {
        Kept::Pair(a, b, pair) if (a, b).hashed() % workers == worker => {
            Some(((a.clone(), b.clone()), *pair))
        }
        _ => None,
    });
    let seen = plan.kept(|kept| if let Kept::Seen(seen) = kept { Some(*seen) } else { None });
    HeldPairs::resume(pairs.collect(), seen.max().unwrap_or(0))
}

/// What is to be kept of them; how many windows there were is the same for all workers.
fn entries(held: &HeldPairs, worker: u64) -> impl Iterator<Item = Kept> + '_ {
    let pairs = held.pairs().map(|((a, b), pair)| Kept::Pair(a.clone(), b.clone(), *pair));
    pairs.chain((worker == 0).then(|| Kept::Seen(held.seen())))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use timely::dataflow::operators::vec::input::Handle;
    use timely::dataflow::operators::{Input as _, Inspect as _};

    use super::super::operators::apart;
    use super::*;
    use crate::coupling;
    use crate::dependencies::{Hysteresis, some_evidence};
    use crate::pipeline::Method;
    use crate::simd::Simd;
    use crate::window::{self, Shape};

    fn plan() -> Plan {
        Plan {
            method: Method::Coupling(coupling::Params::new(1000, 300, 60, 0.01).unwrap()),
            window: window::Params::new(Shape::new(300, 60, 10)).unwrap(),
            hysteresis: Hysteresis::new(2, 3).unwrap(),
            aligned: false,
            workers: 1,
            simd: Simd::Portable,
            watch: None,
            decisions: Default::default(),
            listens: false,
            resume: None,
        }
    }

    /// Pairs `v0`-`w0` ... `v9`-`w9`: in pane t, pair i is proposed where bit i of `panes[t]` is set. In the
    /// last pane `w0` is gone. The sorted differences, each with its pane.
    fn flow(panes: &'static [u32], workers: usize) -> Vec<(u64, Fact, isize)> {
        let said = Arc::new(Mutex::new(vec![]));
        let to = said.clone();
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let (mut input, to) = (Handle::new(), to.clone());
            worker.dataflow::<u64, _, _>(|scope| {
                let (facts, _) = apart(held_pairs(scope.input_from(&mut input), &plan()));
                facts.inspect(move |((fact, diff), pane)| {
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
