//! The dataflow:
//!
//! samples -> windows and models (by VM) -> ensembles (one worker) -> what is held (by VM) -> pairs (by
//! ensemble) -> report (first worker)

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use differential_dataflow::{AsCollection, Hashable, consolidation};
use serde::{Deserialize, Serialize};
use timely::dataflow::Scope;
use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Input as _, Probe as _};

use super::operators::{PaneStage, Records, Timed, per_pane, per_window};
use super::{Message, Plan, Summary, Window};
use crate::cluster::{self, Names, Points};
use crate::dependencies::{Ensemble, Fact, Held, Verdict};
use crate::model;
use crate::types::{DeadLetter, Samples, VmId};
use crate::window::{Status, VmWindow};

type Input = timely::dataflow::operators::vec::input::Handle<u64, Samples>;

/// Builds this worker's part of the dataflow. Windows go to `sender`, which the first worker has.
pub fn build(
    scope: Scope<'_, u64>,
    input: &mut Input,
    plan: &Plan,
    sender: Option<SyncSender<Message>>,
    probe: &Probe<u64>,
) {
    let judged = windows(scope.input_from(input), plan);
    let proposed = ensembles(judged, plan);
    let facts = held(proposed.clone(), plan).map(|((fact, diff), pane)| (fact, pane, diff)).as_collection();
    let by_ensemble = facts.clone().flat_map(|fact| match fact {
        Fact::Member(vm, ensemble) => Some((ensemble, vm)),
        _ => None,
    });
    let by_ensemble = by_ensemble.arrange_by_key();
    // K-means puts a VM into one ensemble, so a pair appears here once.
    let pairs = by_ensemble
        .clone()
        .join_core(by_ensemble, |_, a, b| (a < b).then(|| Fact::Pair(a.clone(), b.clone())));
    let changes = facts.concat(pairs).inner.map(|(fact, pane, diff)| (Reported::Change(fact, diff), pane));
    let summaries = proposed.flat_map(|(proposal, pane)| match proposal {
        Proposal::Window(summary) => Some((Reported::Window(summary), pane)),
        Proposal::Vm(..) => None,
    });
    report(changes.concat(summaries), plan, sender).probe_with(probe);
}

/// What a VM's window says, on its way to the ensembles.
#[derive(Clone, Serialize, Deserialize)]
struct Judged {
    vm: VmId,
    status: Status,
    /// The AR model's coefficients, if the window is whole.
    phi: Vec<f64>,
    refused: Vec<DeadLetter>,
}

/// What the ensembles say.
#[derive(Clone, Serialize, Deserialize)]
enum Proposal {
    Vm(VmId, Verdict),
    Window(Summary),
}

/// What the report is made of.
#[derive(Clone, Serialize, Deserialize)]
enum Reported {
    Change(Fact, isize),
    Window(Summary),
}

fn windows<'s>(samples: Records<'s, Samples>, plan: &Plan) -> Records<'s, Timed<Judged>> {
    per_pane(samples, "Windows", |run| run.vm.hashed(), Windows { plan: plan.clone(), vms: HashMap::new() })
}

/// One worker's VMs.
struct Windows {
    plan: Plan,
    vms: HashMap<VmId, VmWindow>,
}

impl PaneStage<Samples, Judged> for Windows {
    fn take(&mut self, run: Samples) {
        let pane = run.first.div_euclid(self.plan.window.hop() as i64);
        let window = self.vms.entry(run.vm.clone()).or_insert_with(|| VmWindow::new(&self.plan.window, pane));
        window.push(pane, run);
    }

    fn close(&mut self, pane: u64) -> Vec<Judged> {
        let plan = &self.plan;
        let whole = (pane + 1) * plan.window.hop() as u64 >= plan.window.length() as u64;
        let mut judged = vec![];
        self.vms.retain(|vm, window| {
            let (status, refused) = window.close(&plan.window, pane as i64, plan.simd);
            let fits = whole && status == Status::Whole;
            let phi = if fits { model::fit(&window.view(0), &plan.model).phi } else { vec![] };
            if whole || !refused.is_empty() {
                judged.push(Judged { vm: vm.clone(), status, phi, refused });
            }
            status != Status::Gone
        });
        judged
    }
}

fn ensembles<'s>(judged: Records<'s, Timed<Judged>>, plan: &Plan) -> Records<'s, Timed<Proposal>> {
    let (plan, mut names) = (plan.clone(), Names::default());
    per_window(judged, "Ensembles", |_| 0, move |_, judged| propose(judged, &plan, &mut names))
}

/// One window's ensembles: K-means over the VMs that do something, in order of their identity.
fn propose(mut judged: Vec<Judged>, plan: &Plan, names: &mut Names) -> Vec<Proposal> {
    judged.sort_by(|a, b| a.vm.cmp(&b.vm));
    let working: Vec<&Judged> = judged.iter().filter(|j| j.status == Status::Whole).collect();
    let points = Points::from_rows(working.iter().map(|j| j.phi.as_slice()));
    let clustering = cluster::kmeans(&points, &plan.cluster, plan.simd);
    let vms: Vec<&VmId> = working.iter().map(|j| &j.vm).collect();
    let mut named = names.update(&vms, &clustering.assignment).into_iter();
    let count = |status| judged.iter().filter(|j| j.status == status).count();
    let summary = Summary {
        judged: working.len(),
        idle: count(Status::Idle),
        unjudged: judged.iter().filter(|j| matches!(j.status, Status::Partial { .. })).count(),
        clusters: clustering.k,
        inertia: clustering.inertia,
        silhouette: vms.into_iter().cloned().zip(clustering.silhouette).collect(),
        refused: judged.iter().flat_map(|j| j.refused.iter().cloned()).collect(),
    };
    let verdict = |j: &Judged, named: &mut dyn Iterator<Item = Option<String>>| match j.status {
        Status::Gone => Verdict::Gone,
        Status::Partial { .. } => Verdict::Unjudged,
        Status::Idle => Verdict::Idle,
        Status::Whole => {
            named.next().flatten().map_or(Verdict::Alone, |name| Verdict::In(Ensemble::new(&name)))
        }
    };
    let verdicts = judged.iter().map(|j| Proposal::Vm(j.vm.clone(), verdict(j, &mut named)));
    verdicts.chain([Proposal::Window(summary)]).collect()
}

/// The differences of what is held of each VM.
fn held<'s>(proposed: Records<'s, Timed<Proposal>>, plan: &Plan) -> Records<'s, Timed<(Fact, isize)>> {
    let verdicts = proposed.flat_map(|(proposal, pane)| match proposal {
        Proposal::Vm(vm, verdict) => Some(((vm, verdict), pane)),
        Proposal::Window(_) => None,
    });
    let (hysteresis, mut held) = (plan.hysteresis, HashMap::<VmId, Held>::new());
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
            changes
        },
    )
}

/// Brings each window's differences together, consolidates them and says them.
fn report<'s>(
    reported: Records<'s, Timed<Reported>>,
    plan: &Plan,
    sender: Option<SyncSender<Message>>,
) -> Records<'s, Timed<()>> {
    let hop = plan.window.hop() as i64;
    per_window(
        reported,
        "Report",
        |_| 0,
        move |pane, reported| {
            let (mut changes, mut summary) = (vec![], Summary::default());
            for record in reported {
                match record {
                    Reported::Change(fact, diff) => changes.push((fact, diff)),
                    Reported::Window(of) => summary = of,
                }
            }
            consolidation::consolidate(&mut changes);
            let window = Window { end: (pane as i64 + 1) * hop, changes, summary };
            if let Some(sender) = &sender {
                // Nobody listens any more only when the caller gave up: then the process is about to end.
                let _ = sender.send(Message::Window(window));
            }
            vec![]
        },
    )
}
