//! One worker's VMs: their samples become windows; when a pane closes, what each window says goes on.

use std::collections::HashMap;

use differential_dataflow::Hashable;
use timely::dataflow::operators::vec::Map;

use super::coupled::{self, Scored};
use super::flow::Judged;
use super::operators::{PaneStage, Records, Timed, per_pane, split};
use super::watch::Sight;
use super::{Method, Plan};
use crate::coupling::explain::Side;
use crate::coupling::scores;
use crate::model;
use crate::types::{DeadLetter, Samples, Tick, VmId};
use crate::window::{Refused, Run, Status, VmWindow};

/// What a worker's windows say.
#[derive(Clone)]
enum Said {
    /// Of every VM.
    Judged(Judged),
    /// To the coupling engine.
    Scored(Scored),
    /// Samples that no window could use. No stage but the report hears of them: after a restart they come with windows that
    /// were judged before, and are no reason to judge one.
    Refused(DeadLetter),
}

/// What windows say of every VM, to the coupling engine, and of what they refused.
type Kinds<'s> = (Records<'s, Timed<Judged>>, Records<'s, Timed<Scored>>, Records<'s, Timed<DeadLetter>>);

/// What the windows of samples say, pane by pane; by VM.
pub fn windows<'s>(samples: Records<'s, Samples>, plan: &Plan) -> Kinds<'s> {
    let workers = samples.scope().peers() as u64;
    let said = per_pane(samples, "Windows", |run| run.vm.hashed(), Windows::new(plan, workers));
    let (scored, said) = split(said, |said| match said {
        Said::Scored(scored) => Ok(scored),
        said => Err(said),
    });
    let (judged, said) = split(said, |said| match said {
        Said::Judged(judged) => Ok(judged),
        said => Err(said),
    });
    let refused = said.flat_map(|(said, pane)| match said {
        Said::Refused(letter) => Some((letter, pane)),
        Said::Judged(_) | Said::Scored(_) => None,
    });
    (judged, scored, refused)
}

/// One worker's VMs.
struct Windows {
    plan: Plan,
    vms: HashMap<VmId, VmWindow>,
    workers: u64,
    /// The last pane that was closed.
    closed: i64,
    /// The first pane that any VM has samples of; none if there is no VM.
    first: Option<u64>,
    /// What was refused of panes that are open, with its pane.
    refused: Vec<(i64, DeadLetter)>,
}

impl Windows {
    fn new(plan: &Plan, workers: u64) -> Self {
        Windows { plan: plan.clone(), vms: HashMap::new(), workers, closed: -1, first: None, refused: vec![] }
    }
}

impl PaneStage<Samples, Said> for Windows {
    fn take(&mut self, run: Samples) {
        let window = self.vms.entry(run.vm.clone()).or_insert_with(|| VmWindow::new(self.closed));
        let Samples { first, grain, cpu_ppm, .. } = &run;
        let part = Run { first: *first, grain: *grain, cpu_ppm };
        let refused = window.push_run(&self.plan.window, &run.host, part);
        let pane = self.plan.window.pane_of(run.first).max(0) as u64;
        self.first = Some(self.first.map_or(pane, |first| first.min(pane)));
        let refused = refused.into_iter().map(|part| dead_letter(&run, part));
        self.refused.extend(refused.map(|(first, letter)| (self.plan.window.pane_of(first), letter)));
    }

    fn close(&mut self, pane: u64) -> Vec<Said> {
        let plan = &self.plan;
        let whole = pane >= plan.judged_from();
        self.closed = pane as i64;
        let (mut judged, mut scored) = (vec![], vec![]);
        self.vms.retain(|vm, window| {
            let status = window.close(&plan.window, pane as i64, plan.simd);
            if whole {
                let works = status == Status::Whole;
                let mut phi = vec![];
                match &plan.method {
                    Method::Kmeans { order, fit, .. } => {
                        let view = window.view(0).filter(|_| works);
                        phi = view.map_or(vec![], |view| model::fit(&view, *order, *fit, plan.simd).phi);
                    }
                    Method::Coupling(params) => scored.extend(works.then(|| Scored::Vm {
                        vm: vm.clone(),
                        host: window.host().cloned(),
                        grain: window.grain(),
                        scores: scores::scores(window, params, plan.simd),
                    })),
                }
                show(plan, vm, (&*window, status), pane);
                judged.push(Judged::Vm { vm: vm.clone(), status, phi });
            }
            !window.is_empty()
        });
        if self.vms.is_empty() {
            self.first = None;
        }
        if let Method::Coupling(params) = &plan.method
            && whole
        {
            scored.extend(coupled::sums(&scored, params, self.workers));
        }
        let refused = self.refused.extract_if(.., |(of, _)| *of <= pane as i64);
        let refused = refused.map(|(_, letter)| Said::Refused(letter));
        let judged = judged.into_iter().map(Said::Judged);
        judged.chain(scored.into_iter().map(Said::Scored)).chain(refused).collect()
    }

    fn skip(&mut self, pane: u64, open: u64) -> u64 {
        if self.plan.resume.is_none() {
            return pane;
        }
        let to = match self.first {
            Some(first) => first.clamp(pane, open),
            None => open,
        };
        self.closed = self.closed.max(to as i64 - 1);
        to
    }
}

/// Shows the window of a VM that is watched, closed with this status.
fn show(plan: &Plan, vm: &VmId, (window, status): (&VmWindow, Status), pane: u64) {
    if let (Some(watch), Method::Coupling(params)) = (&plan.watch, &plan.method)
        && watch.concerns(vm)
    {
        let side = Side::new(window, status, params, plan.simd);
        watch.tell(plan.window.pane_start(pane as i64 + 1), Sight::Vm(vm.clone(), side));
    }
}

/// The samples of `run` that a window refused, and the first of their ticks.
fn dead_letter(run: &Samples, refused: Refused) -> (Tick, DeadLetter) {
    let Refused { reason, range } = refused;
    let part = Samples {
        first: run.first + (range.start * run.grain) as i64,
        cpu_ppm: run.cpu_ppm[range].to_vec(),
        ..run.clone()
    };
    (part.first, DeadLetter::samples(reason, &part))
}
