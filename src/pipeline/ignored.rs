//! Whom people ignore: VMs that touch everything (monitoring, backup) would make one ensemble of many. They are left out before
//! ensembles are made, on the worker that makes them; the shell around [`Decisions`].

use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::Plan;
use super::asked::decision;
use super::flow::{Judged, Note};
use super::operators::{Records, Timed, per_window};
use crate::decisions::record::Entry;
use crate::window::Status;

/// What comes together on the worker that makes the ensembles.
#[derive(Clone, Serialize, Deserialize)]
enum Heard {
    Judged(Judged),
    /// A decision, as it was told: key and value.
    Decision(Vec<u8>, Vec<u8>),
}

/// What windows say, those of VMs that are ignored as such. In a flow that hears of no decision it is as it was.
pub fn without_ignored<'s>(
    judged: Records<'s, Timed<Judged>>,
    notes: Records<'s, Timed<Note>>,
    plan: &Plan,
) -> Records<'s, Timed<Judged>> {
    if !plan.heeds() && plan.decisions.is_empty() {
        return judged;
    }
    let mut decisions = plan.decisions.clone();
    for decision in plan.kept(decision) {
        decisions.hear(Entry::made(decision));
    }
    let judged = judged.map(|(judged, pane)| (Heard::Judged(judged), pane));
    let told = notes.flat_map(|(note, pane)| match note {
        Note::Decision(key, value) => Some((Heard::Decision(key, value), pane)),
        _ => None,
    });
    per_window(
        judged.concat(told),
        "Ignored",
        |_| 0,
        move |_, heard| {
            let mut all = vec![];
            for one in heard {
                match one {
                    Heard::Judged(judged) => all.push(judged),
                    Heard::Decision(key, value) => {
                        if let Ok(entry) = Entry::read(&key, &value) {
                            decisions.hear(entry);
                        }
                    }
                }
            }
            let marked = |judged| match judged {
                Judged::Vm { vm, status: Status::Whole, .. } if decisions.ignores(&vm) => Judged::Ignored(vm),
                judged => judged,
            };
            all.into_iter().map(marked).collect()
        },
    )
}
