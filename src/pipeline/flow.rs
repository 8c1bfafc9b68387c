//! The dataflow:
//!
//! samples -> windows and models (by VM) -> ensembles (one worker) -> what is held (by VM) -> pairs (by
//! ensemble) -> report (first worker)

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;

use differential_dataflow::{AsCollection, Hashable, consolidation};
use serde::{Deserialize, Serialize};
use timely::dataflow::Scope;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::operators::vec::input::Handle;
use timely::dataflow::operators::vec::{Map, ToStream};
use timely::dataflow::operators::{Concat, Input as _, Probe as _};

use super::asked::amended;
use super::clustered;
use super::coupled;
use super::ignored::without_ignored;
use super::kept::{Change, Keeper, Kept, of_names};
use super::operators::{Out, Records, Timed, apart, per_window, split};
use super::pairs::held_pairs;
use super::windows::windows;
use super::{Message, Method, Plan, Summary, Window};
use crate::cluster::Names;
use crate::dependencies::{Ensemble, Fact, Held, Verdict};
use crate::types::{DeadLetter, Samples, VmId};
use crate::window::Status;

/// What a worker feeds: samples, and notes, each with the pane with whose window that is said.
#[derive(Default)]
pub struct Inputs {
    pub samples: Handle<u64, Samples>,
    pub notes: Handle<u64, Timed<Note>>,
}

/// What a worker takes note of while it reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Note {
    /// It refused something.
    Refused(DeadLetter),
    /// It has read a partition up to an offset.
    Read(i32, i64),
    /// Somebody has asked, and found out: a verdict as it was told, and the last pane with which it counts.
    Verdict(Vec<u8>, u64),
    /// Somebody decided something: a record as it was told, its key and its value.
    Decision(Vec<u8>, Vec<u8>),
}

impl Inputs {
    /// The pane that is open.
    pub fn open(&self) -> u64 {
        *self.samples.time()
    }

    /// Closes the panes before `open`.
    pub fn advance_to(&mut self, open: u64) {
        self.samples.advance_to(open);
        self.notes.advance_to(open);
    }
}

/// Builds this worker's part of the dataflow. Windows go to `sender`, which the first worker has.
pub fn build(
    scope: Scope<'_, u64>,
    inputs: &mut Inputs,
    plan: &Plan,
    sender: Option<SyncSender<Message>>,
    probe: &Probe<u64>,
) {
    let (judged, scored, refused) = windows(scope.input_from(&mut inputs.samples), plan);
    let notes = scope.input_from(&mut inputs.notes);
    let judged = without_ignored(judged, notes.clone(), plan);
    let (proposed, pairs, named) = match &plan.method {
        Method::Kmeans { cluster, .. } => {
            let (proposed, named) = apart(clustered::propose(judged, cluster, plan));
            (proposed, None, named)
        }
        Method::Coupling(params) => {
            let (proposed, pairs, kept) = coupled::propose(judged, scored, plan, params);
            let (pairs, held) = apart(held_pairs(pairs, plan));
            (proposed, Some(pairs), kept.concat(held))
        }
    };
    let (verdicts, summaries) = split(proposed, |proposal| match proposal {
        Proposal::Vm(vm, verdict) => Ok((vm, verdict)),
        Proposal::Window(summary) => Err(summary),
    });
    let (facts, kept) = apart(held(verdicts, plan));
    let before = if scope.index() == 0 { members_before(plan) } else { vec![] };
    let facts = facts.concat(before.to_stream(scope).container::<Vec<_>>());
    let facts = facts.map(|((fact, diff), pane)| (fact, pane, diff)).as_collection();
    let claimed = facts.clone().flat_map(|fact| match fact {
        Fact::Member(vm, ensemble) => Some((ensemble, vm)),
        _ => None,
    });
    // Whom hysteresis holds in an ensemble that all others have left is in none.
    let members = claimed.reduce(|_, vms, out| {
        out.extend(vms.iter().filter(|_| vms.len() > 1).map(|(vm, n)| ((*vm).clone(), *n)))
    });
    let pairs = match pairs {
        Some(pairs) => pairs.map(|((fact, diff), pane)| (fact, pane, diff)).as_collection(),
        None => {
            let by_ensemble = members.clone().arrange_by_key();
            // K-means puts a VM into one ensemble, and hysteresis asks for a majority: two VMs share one at most.
            let pair = |a: &VmId, b: &VmId| (a < b).then(|| Fact::Pair(a.clone(), b.clone(), None));
            by_ensemble.clone().join_core(by_ensemble, move |_, a, b| pair(a, b))
        }
    };
    let others = facts.filter(|fact| !matches!(fact, Fact::Member(..)));
    let members = members.map(|(ensemble, vm)| Fact::Member(vm, ensemble));
    let changes = others.concat(members).concat(pairs).inner.map(|(fact, pane, diff)| ((fact, diff), pane));
    let (changes, asked) = amended(changes, notes.clone(), summaries.clone(), plan);
    let changes = changes.map(|((fact, diff), pane)| (Reported::Change(fact, diff), pane));
    let summaries = summaries.map(|(summary, pane)| (Reported::Window(summary), pane));
    let kept = kept.concat(named).concat(asked).map(|(change, pane)| (Reported::Kept(change), pane));
    let notes = notes.flat_map(|(note, pane)| match note {
        Note::Verdict(..) | Note::Decision(..) => None,
        note => Some((Reported::Note(note), pane)),
    });
    let refused = refused.map(|(letter, pane)| (Reported::Note(Note::Refused(letter)), pane));
    let notes = notes.concat(refused);
    report(changes.concat(summaries).concat(kept).concat(notes), plan, sender).probe_with(probe);
}

/// What a worker's windows say, on the way to the ensembles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Judged {
    /// A VM's window, with its AR model's coefficients if it is whole.
    Vm { vm: VmId, status: Status, phi: Vec<f64> },
    /// A VM that works, but takes part in nothing: somebody decided so.
    Ignored(VmId),
}

/// What the ensembles say.
#[derive(Clone, Serialize, Deserialize)]
pub enum Proposal {
    Vm(VmId, Verdict),
    Window(Summary),
}

/// What the report is made of.
#[derive(Clone, Serialize, Deserialize)]
enum Reported {
    Change(Fact, isize),
    Window(Summary),
    Kept(Change),
    Note(Note),
}

/// The names of ensembles, on the worker that gives them.
pub struct Named {
    pub names: Names,
    keeper: Option<Keeper>,
}

impl Named {
    /// As they were kept.
    pub fn new(plan: &Plan) -> Self {
        let names = plan.resume.as_ref().map(|resume| resume.names()).unwrap_or_default();
        let keeper = plan.resume.as_ref().map(|_| Keeper::resume(of_names(&names)));
        Named { names, keeper }
    }

    /// What changed of them.
    pub fn kept(&mut self) -> Vec<Change> {
        self.keeper.as_mut().map_or(vec![], |keeper| keeper.changes(of_names(&self.names)))
    }
}

/// The members that ensembles had before, for the collections that follow.
fn members_before(plan: &Plan) -> Vec<Timed<(Fact, isize)>> {
    let of = |kept: &Kept| match kept {
        Kept::Vm(vm, held) => Some((vm.clone(), held.ensembles().cloned().collect::<Vec<Ensemble>>())),
        _ => None,
    };
    plan.kept(of)
        .flat_map(|(vm, of)| of.into_iter().map(move |ensemble| ((Fact::Member(vm.clone(), ensemble), 1), 0)))
        .collect()
}

/// What a window's VMs say, put in order.
pub struct Collated {
    /// The VMs that do something, in order of their identity.
    pub vms: Vec<VmId>,
    /// The coefficients of each.
    pub models: Vec<Vec<f64>>,
    /// What the other VMs are.
    pub proposals: Vec<Proposal>,
    /// How many there are of each.
    pub summary: Summary,
}

/// Puts in order what a window's VMs say.
pub fn collate(judged: Vec<Judged>) -> Collated {
    let (mut working, mut proposals, mut summary) = (vec![], vec![], Summary::default());
    for record in judged {
        match record {
            Judged::Ignored(vm) => proposals.push(Proposal::Vm(vm, Verdict::Alone)),
            Judged::Vm { vm, status: Status::Whole, phi } => working.push((vm, phi)),
            Judged::Vm { vm, status, .. } => {
                summary.count(status);
                proposals.push(Proposal::Vm(vm, verdict(status)));
            }
        }
    }
    summary.judged = working.len();
    working.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (vms, models) = working.into_iter().unzip();
    Collated { vms, models, proposals, summary }
}

/// What a VM without a model is.
fn verdict(status: Status) -> Verdict {
    match status {
        Status::Gone => Verdict::Gone,
        Status::Idle => Verdict::Idle,
        Status::Partial { .. } | Status::Whole => Verdict::Unjudged,
    }
}

/// The differences of what is held of each VM.
fn held<'s>(
    verdicts: Records<'s, Timed<(VmId, Verdict)>>,
    plan: &Plan,
) -> Records<'s, Timed<Out<(Fact, isize)>>> {
    let (worker, workers) = (verdicts.scope().index() as u64, verdicts.scope().peers() as u64);
    let of = |kept: &Kept| match kept {
        Kept::Vm(vm, held) if vm.hashed() % workers == worker => Some((vm.clone(), held.clone())),
        _ => None,
    };
    let (hysteresis, mut held) = (plan.hysteresis, plan.kept(of).collect::<HashMap<VmId, Held>>());
    let mut keeper = plan.resume.as_ref().map(|_| Keeper::resume(of_held(&held)));
    per_window(
        verdicts,
        "Held",
        |(vm, _)| vm.hashed(),
        move |_, verdicts| {
            let mut changes = vec![];
            for (vm, verdict) in verdicts {
                let one = held.entry(vm.clone()).or_default();
                one.update(&vm, verdict, hysteresis, &mut changes);
                if one.is_gone() {
                    held.remove(&vm);
                }
            }
            let kept = keeper.as_mut().map_or(vec![], |keeper| keeper.changes(of_held(&held)));
            changes.into_iter().map(Out::Said).chain(kept.into_iter().map(Out::Kept)).collect()
        },
    )
}

/// What is to be kept of what is held.
#[expect(clippy::disallowed_methods, reason = "what is kept is sorted when it is written")]
fn of_held(held: &HashMap<VmId, Held>) -> impl Iterator<Item = Kept> + '_ {
    held.iter().map(|(vm, held)| Kept::Vm(vm.clone(), held.clone()))
}

/// Brings each window's differences together, consolidates them and says them.
fn report<'s>(
    reported: Records<'s, Timed<Reported>>,
    plan: &Plan,
    sender: Option<SyncSender<Message>>,
) -> Records<'s, Timed<()>> {
    let (hop, judged_from, resumed) = (plan.window.hop() as i64, plan.judged_from(), plan.resume.is_some());
    let mut read = BTreeMap::new();
    per_window(
        reported,
        "Report",
        |_| 0,
        move |pane, reported| {
            let (mut changes, mut summary, mut kept, mut refused) =
                (vec![], Summary::default(), vec![], vec![]);
            // How far reading has come is no window by itself.
            let silent = reported.iter().all(|record| matches!(record, Reported::Note(Note::Read(..))));
            for record in reported {
                match record {
                    Reported::Change(fact, diff) => changes.push((fact, diff)),
                    Reported::Window(of) => summary = of,
                    Reported::Kept(change) => kept.push(change),
                    Reported::Note(Note::Refused(letter)) => refused.push(letter),
                    Reported::Note(Note::Read(partition, offset)) => drop(read.insert(partition, offset)),
                    Reported::Note(Note::Verdict(..) | Note::Decision(..)) => {}
                }
            }
            refused.sort();
            summary.refused.append(&mut refused);
            kept.sort();
            consolidation::consolidate(&mut changes);
            let message = if silent || pane < judged_from && resumed {
                // There is nothing to say, or it was said before.
                return vec![];
            } else if pane < judged_from {
                // Not a whole window yet: only what was refused is known.
                Message::Refused(summary.refused)
            } else {
                let read = std::mem::take(&mut read).into_iter().collect();
                Message::Window(Window { end: (pane as i64 + 1) * hop, changes, summary, kept, read })
            };
            if let Some(sender) = &sender {
                // Nobody listens any more only when the caller gave up: then the process is about to end.
                let _ = sender.send(message);
            }
            vec![]
        },
    )
}
