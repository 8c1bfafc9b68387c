//! What somebody found out by asking (`perturb`), and what people decided (`decisions`), in a flow that hears of it: the shell around
//! [`Standing`], on one worker. What they change are differences like all others.

use differential_dataflow::consolidation;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::{Map, ToStream};

use super::flow::Note;
use super::kept::{Change, Keeper, Kept};
use super::operators::{Out, Records, Timed, apart, per_window};
use super::{Plan, Summary};
use crate::decisions::record::{Decision, Entry};
use crate::decisions::standing::Standing;
use crate::dependencies::Fact;
use crate::perturb::record::{Record, RecordError, Verdict};
use crate::transport::told::Told;
use crate::types::{DeadLetter, Reason};

/// What comes together on the worker that has the verdicts and decisions.
#[derive(Clone, Serialize, Deserialize)]
enum Heard {
    /// Use alone says so.
    Change(Fact, isize),
    /// A verdict, as it was told, and the last pane with which it counts.
    Verdict(Vec<u8>, u64),
    /// A decision, as it was told: key and value.
    Decision(Vec<u8>, Vec<u8>),
    /// The window was judged.
    Window,
}

/// Differences of what is held.
type Differences<'s> = Records<'s, Timed<(Fact, isize)>>;

/// The differences, with those that verdicts and decisions make; and what is to be kept. In a flow that hears of none they
/// are as they were.
pub fn amended<'s>(
    changes: Differences<'s>,
    notes: Records<'s, Timed<Note>>,
    judged: Records<'s, Timed<Summary>>,
    plan: &Plan,
) -> (Differences<'s>, Records<'s, Timed<Change>>) {
    if !plan.heeds() {
        let nothing = Vec::<Timed<Change>>::new().to_stream(changes.scope()).container::<Vec<_>>();
        return (changes, nothing);
    }
    let by_use = changes.clone().map(|((fact, diff), pane)| (Heard::Change(fact, diff), pane));
    let told = notes.flat_map(|(note, pane)| match note {
        Note::Verdict(bytes, until) => Some((Heard::Verdict(bytes, until), pane)),
        Note::Decision(key, value) => Some((Heard::Decision(key, value), pane)),
        _ => None,
    });
    let windows = judged.map(|(_, pane)| (Heard::Window, pane));
    let mut standing = resumed(plan);
    let mut keeper = plan.resume.as_ref().map(|_| Keeper::resume(entries(&standing)));
    let judged_from = plan.judged_from();
    let amended = per_window(
        by_use.concat(told).concat(windows),
        "Asked",
        |_| 0,
        move |pane, heard| {
            let (mut by_use, mut judged) = (vec![], false);
            for one in heard {
                match one {
                    Heard::Change(fact, diff) => by_use.push((fact, diff)),
                    Heard::Verdict(bytes, until) => {
                        verdict(&bytes).ok().flatten().into_iter().for_each(|one| standing.hear(one, until));
                    }
                    Heard::Decision(key, value) => {
                        Entry::read(&key, &value).into_iter().for_each(|entry| standing.decide(entry));
                    }
                    Heard::Window => judged = true,
                }
            }
            // What is heard between windows is kept with the next one; the log has it until then.
            if !judged || pane < judged_from {
                return vec![];
            }
            consolidation::consolidate(&mut by_use);
            let more = standing.window(pane, &by_use);
            let kept = keeper.as_mut().map_or(vec![], |keeper| keeper.changes(entries(&standing)));
            more.into_iter().map(Out::Said).chain(kept.into_iter().map(Out::Kept)).collect()
        },
    );
    let (more, kept) = apart(amended);
    (changes.concat(more), kept)
}

/// As it was kept.
fn resumed(plan: &Plan) -> Standing {
    let published = plan.resume.as_ref().map(|resume| resume.state()).unwrap_or_default();
    let amended = plan.kept(|kept| match kept {
        Kept::Amended(fact, diff) => Some((fact.clone(), *diff)),
        _ => None,
    });
    let verdicts = plan.kept(|kept| match kept {
        Kept::Verdict(verdict, until) => Some((verdict.clone(), *until)),
        _ => None,
    });
    let decisions = plan.decisions.iter().cloned().chain(plan.kept(decision)).collect();
    let others = (verdicts.collect(), decisions);
    Standing::resume(published, amended, others)
}

/// What is kept of a decision.
pub fn decision(kept: &Kept) -> Option<Decision> {
    if let Kept::Decision(decision) = kept { Some(decision.clone()) } else { None }
}

/// What is to be kept.
fn entries(standing: &Standing) -> impl Iterator<Item = Kept> + '_ {
    let amended = standing.amended().map(|(fact, diff)| Kept::Amended(fact.clone(), *diff));
    let verdicts = standing.verdicts().iter().map(|(verdict, until)| Kept::Verdict(verdict.clone(), *until));
    amended.chain(verdicts).chain(standing.decisions().iter().cloned().map(Kept::Decision))
}

/// What a worker takes note of when it is told something: a verdict; commands and reports are for others.
pub fn note(told: Told) -> Option<Note> {
    match verdict(&told.bytes) {
        Ok(None) => None,
        Ok(Some(_)) => Some(Note::Verdict(told.bytes, told.until)),
        Err(reason) => Some(refused(told, reason)),
    }
}

/// What a worker takes note of when it is told of a decision.
pub fn decided(told: Told) -> Note {
    match Entry::read(&told.key, &told.bytes) {
        Ok(_) => Note::Decision(told.key, told.bytes),
        Err(unfit) => refused(told, unfit.reason()),
    }
}

fn refused(told: Told, reason: Reason) -> Note {
    let Told { mut bytes, origin, .. } = told;
    bytes.truncate(DeadLetter::KEPT_BYTES);
    Note::Refused(DeadLetter { reason, origin, bytes })
}

fn verdict(bytes: &[u8]) -> Result<Option<Verdict>, Reason> {
    match Record::read(bytes) {
        // Nobody depends on himself.
        Ok(Record::Verdict(verdict)) if verdict.cause == verdict.vm => Err(Reason::Malformed),
        Ok(Record::Verdict(verdict)) => Ok(Some(verdict)),
        Ok(_) => Ok(None),
        Err(RecordError::Version(_)) => Err(Reason::UnknownVersion),
        Err(RecordError::Shape(_)) => Err(Reason::Malformed),
    }
}
