//! K-means' part of the dataflow:
//!
//! models (by VM) -> ensembles (one worker) <-> nearest centres (by point)
//!
//! One worker has all models, 180 bytes a VM of order 45: 18 MB of 100,000 VMs. It moves points from cluster to cluster, each
//! move by the exact sums after all that went before. Which centre is nearest to each point, most of the work, it asks of
//! all: each has a part of the points. The search runs in a thread of its own, as a worker that waits for answers gives none.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Capability, ConnectLoop, Feedback};
use timely::scheduling::SyncActivator;

use super::flow::{Collated, Judged, Named, Proposal, collate};
use super::operators::{Out, Records, Timed, per_window, split};
use super::{Clusters, Plan};
use crate::cluster::{self, Clustering, Hands, Names, Params, Points, Question, Share};
use crate::dependencies::{Ensemble, Verdict};
use crate::simd::Simd;
use crate::types::VmId;

/// The ensembles of each window.
pub fn propose<'s>(
    judged: Records<'s, Timed<Judged>>,
    params: &Params,
    plan: &Plan,
) -> Records<'s, Timed<Out<Proposal>>> {
    if judged.scope().peers() > 1 {
        return divided(judged, params, plan);
    }
    let (params, simd, mut names) = (*params, plan.simd, Named::new(plan));
    per_window(
        judged,
        "Ensembles",
        |_| 0,
        move |_, judged| {
            let (points, rest) = gather(judged);
            finish(rest, cluster::kmeans(&points, &params, simd), &mut names)
        },
    )
}

/// What the worker that makes the ensembles says.
#[derive(Clone)]
enum Said {
    /// To one of those who are asked.
    Told(u64, Told),
    /// To the stages that follow.
    Proposed(Out<Proposal>),
}

/// What a worker is told that is asked.
#[derive(Clone, Serialize, Deserialize)]
enum Told {
    /// It has these points of the window, the first of which has a number.
    Points(u32, Points),
    /// Which centre is nearest to each of some of them?
    Asked(Question),
}

/// Which worker answers, and what.
type Answer = (u64, Vec<u32>);

/// As [`propose`], by several workers.
fn divided<'s>(
    judged: Records<'s, Timed<Judged>>,
    params: &Params,
    plan: &Plan,
) -> Records<'s, Timed<Out<Proposal>>> {
    let scope = judged.scope();
    // What comes round is later: a cycle of one time would never end.
    let (round, answers) = scope.feedback::<Vec<Answer>>(1);
    let (params, plan, simd) = (*params, plan.clone(), plan.simd);
    let said = judged.binary_frontier::<_, CapacityContainerBuilder<Vec<Timed<Said>>>, _, _, _, _>(
        answers,
        Exchange::new(|_: &Timed<Judged>| 0),
        Exchange::new(|_: &Answer| 0),
        "Ensembles",
        move |_cap, info| {
            let wake = scope.worker().sync_activator_for(info.address.to_vec());
            let mut maker = Maker::new(params, &plan, scope.peers(), wake);
            move |(judged, frontier), (answers, _), output| {
                judged.for_each_stamp(|cap, data| {
                    for (record, pane) in data.flat_map(|part| part.drain(..)) {
                        let held = || (cap.delayed(&pane, output.output_index()), vec![]);
                        maker.waiting.entry(pane).or_insert_with(held).1.push(record);
                    }
                });
                answers.for_each_stamp(|_, data| {
                    data.flat_map(|part| part.drain(..)).for_each(|a| maker.hear(a))
                });
                let complete = |pane: &u64| !frontier.less_equal(pane);
                maker.work(complete, |cap, said| {
                    output.session(cap).give_iterator(said.into_iter().map(|said| (said, *cap.time())));
                });
            }
        },
    );
    let (told, proposed) = split(said, |said| match said {
        Said::Told(to, told) => Ok((to, told)),
        Said::Proposed(proposed) => Err(proposed),
    });
    answered(told, simd).connect_loop(round);
    proposed
}

/// The answers of this worker.
fn answered<'s>(told: Records<'s, Timed<(u64, Told)>>, simd: Simd) -> Records<'s, Answer> {
    let (worker, mut share) = (told.scope().index() as u64, None::<Share>);
    let route = Exchange::new(|((to, _), _): &Timed<(u64, Told)>| *to);
    told.unary::<CapacityContainerBuilder<Vec<Answer>>, _, _, _>(route, "Nearest", |_cap, _info| {
        move |input, output| {
            input.for_each_stamp(|cap, data| {
                let cap = cap.retain_least(output.output_index());
                for ((_, told), _) in data.flat_map(|part| part.drain(..)) {
                    match (told, &mut share) {
                        (Told::Points(first, points), share) => {
                            *share = Some(Share::new(first, &points, simd))
                        }
                        (Told::Asked(question), Some(share)) => {
                            if let Some(cap) = &cap {
                                output.session(cap).give((worker, share.answer(&question)));
                            }
                        }
                        (Told::Asked(_), None) => {}
                    }
                }
            });
        }
    })
}

/// Makes the ensembles, window after window.
struct Maker {
    params: Params,
    simd: Simd,
    workers: usize,
    names: Named,
    /// Wakes the worker.
    wake: SyncActivator,
    /// Windows that are not complete, or have to wait.
    waiting: BTreeMap<u64, (Capability<u64>, Vec<Judged>)>,
    search: Option<Search>,
}

/// A search that runs.
struct Search {
    cap: Capability<u64>,
    rest: Collated,
    parts: Vec<Range<usize>>,
    thread: JoinHandle<Clustering>,
    questions: Receiver<Question>,
    answers: Sender<Vec<u32>>,
    /// The answers of each worker to what is asked now, as far as they are there.
    heard: Vec<Option<Vec<u32>>>,
}

impl Maker {
    fn new(params: Params, plan: &Plan, workers: usize, wake: SyncActivator) -> Self {
        let (simd, names) = (plan.simd, Named::new(plan));
        Maker { params, simd, workers, names, wake, waiting: BTreeMap::new(), search: None }
    }

    /// Takes an answer; when all are there, they are one.
    fn hear(&mut self, (worker, found): Answer) {
        let Some(search) = &mut self.search else { return };
        search.heard[worker as usize] = Some(found);
        if search.heard.iter().all(Option::is_some) {
            // Whoever does not listen has failed: that is seen below.
            let _ = search
                .answers
                .send(search.heard.iter_mut().flat_map(|found| found.take().unwrap_or_default()).collect());
        }
    }

    /// Goes on as far as it can without waiting.
    fn work(&mut self, complete: impl Fn(&u64) -> bool, mut say: impl FnMut(&Capability<u64>, Vec<Said>)) {
        loop {
            let Some(search) = &mut self.search else {
                let Some(next) = self.waiting.first_entry().filter(|next| complete(next.key())) else {
                    return;
                };
                let (cap, judged) = next.remove();
                self.begin(cap, judged, &mut say);
                continue;
            };
            match search.questions.try_recv() {
                Ok(question) => {
                    let ask = |(to, part)| Said::Told(to, Told::Asked(question.about(part)));
                    say(&search.cap, (0..).zip(&search.parts).map(ask).collect());
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    let Some(Search { cap, rest, thread, .. }) = self.search.take() else { return };
                    let clustering = thread.join().unwrap_or_else(|failure| panic::resume_unwind(failure));
                    let proposed = finish(rest, clustering, &mut self.names);
                    say(&cap, proposed.into_iter().map(Said::Proposed).collect());
                }
            }
        }
    }

    /// Begins to search, and hands out the points.
    fn begin(
        &mut self,
        cap: Capability<u64>,
        judged: Vec<Judged>,
        say: &mut impl FnMut(&Capability<u64>, Vec<Said>),
    ) {
        let (points, rest) = gather(judged);
        let parts: Vec<Range<usize>> = cluster::ranges(points.len(), self.workers).collect();
        let part = |(to, part): (u64, &Range<usize>)| {
            Said::Told(to, Told::Points(part.start as u32, points.part(part.clone())))
        };
        say(&cap, (0..).zip(&parts).map(part).collect());
        let ((asking, questions), (answers, answered)) = (channel(), channel());
        let (params, simd, wake) = (self.params, self.simd, self.wake.clone());
        let thread = thread::spawn(move || {
            let clustering = search((&points, &params, simd), &asking, &answered, &wake);
            // No more questions: that is seen when the worker is awake.
            drop(asking);
            let _ = wake.activate();
            clustering
        });
        let heard = vec![None; self.workers];
        self.search = Some(Search { cap, rest, parts, thread, questions, answers, heard });
    }
}

/// Searches for the best clusters, and asks.
fn search(
    (points, params, simd): (&Points, &Params, Simd),
    asking: &Sender<Question>,
    answered: &Receiver<Vec<u32>>,
    wake: &SyncActivator,
) -> Clustering {
    let ask = |question| {
        let _ = asking.send(question);
        let _ = wake.activate();
        // Nobody answers any more only when the process is about to end.
        answered.recv().unwrap_or_else(|_| {
            loop {
                thread::park();
            }
        })
    };
    cluster::kmeans_by(points, params, Hands { simd, ask: Some(&ask) })
}

/// The points of the VMs that do something, in order of their identity, and all else that a window says.
fn gather(judged: Vec<Judged>) -> (Points, Collated) {
    let mut collated = collate(judged);
    (Points::from_rows(&std::mem::take(&mut collated.models)), collated)
}

/// What the clusters of a window come to.
fn finish(collated: Collated, clustering: Clustering, names: &mut Named) -> Vec<Out<Proposal>> {
    let Collated { vms, mut proposals, mut summary, .. } = collated;
    let ensembles = ensembles_of(&vms, &clustering, &mut names.names);
    proposals.extend(vms.iter().cloned().zip(ensembles).map(|(vm, verdict)| Proposal::Vm(vm, verdict)));
    let Clustering { k, inertia, silhouette, .. } = clustering;
    summary.clusters = Some(Clusters { k, inertia, silhouette: vms.into_iter().zip(silhouette).collect() });
    proposals.push(Proposal::Window(summary));
    proposals.into_iter().map(Out::Said).chain(names.kept().into_iter().map(Out::Kept)).collect()
}

/// What each of `vms` is: in the ensemble of its cluster, or alone if the cluster has no other member.
fn ensembles_of(vms: &[VmId], clustering: &Clustering, names: &mut Names) -> Vec<Verdict> {
    let mut clusters = vec![vec![]; clustering.k];
    vms.iter().zip(&clustering.assignment).for_each(|(vm, c)| clusters[*c as usize].push(vm.clone()));
    let shared: Vec<usize> = (0..clusters.len()).filter(|c| clusters[*c].len() > 1).collect();
    let named = names.name(&shared.iter().map(|c| std::mem::take(&mut clusters[*c])).collect::<Vec<_>>());
    let names: HashMap<u32, Ensemble> =
        shared.iter().zip(named).map(|(c, name)| (*c as u32, Ensemble::new(&name))).collect();
    clustering
        .assignment
        .iter()
        .map(|c| names.get(c).map_or(Verdict::Alone, |name| Verdict::In(vec![name.clone()])))
        .collect()
}
