//! What outlives a restart: all that the flow knows beyond the samples of the last window, one entry for each
//! thing. Stages say after each window what changed of theirs; [`Kept`] is the form in which it is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::mem;

use serde::{Deserialize, Serialize};

use crate::cluster::Names;
use crate::coupling::evidence::Record;
use crate::decisions::record::Decision;
use crate::dependencies::{Fact, Held, HeldPair, Membered, Since, State};
use crate::perturb;
use crate::types::VmId;

/// One entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// What hysteresis holds of a VM.
    Vm(VmId, Held),
    /// What hysteresis holds of a pair.
    Pair(VmId, VmId, HeldPair),
    /// How many windows hysteresis has seen.
    Seen(usize),
    /// The names of a VM's ensembles.
    Names(VmId, Vec<String>),
    /// A name that rests, with its last members and for how many windows.
    Resting(String, Vec<VmId>, u32),
    /// The number that the next new ensemble gets.
    NextName(u64),
    /// The evidence over time of the pairs of a VM with others, in their order, up to [`PART`] of them: which part it is, and
    /// they. As all of it changes with each window, an entry for each pair would be ten times as many.
    Evidence(VmId, usize, Vec<(VmId, Record)>),
    /// The same of pairs that are followed whatever they show.
    Control(VmId, usize, Vec<(VmId, Record)>),
    /// What is published of a VM.
    Member(VmId, Membered),
    /// What is published of a pair.
    Since(VmId, VmId, Since),
    /// A verdict of who asked, and the last pane with which it counts.
    Verdict(perturb::record::Verdict, u64),
    /// What somebody decided.
    Decision(Decision),
    /// What verdicts and decisions add to what use alone says (1) or take away from it (-1).
    Amended(Fact, isize),
    /// How many windows were published.
    Windows(u64),
    /// The last window that was published, and what all this belongs to.
    Last(Last),
}

/// So many pairs with the longest names are half of the largest message.
pub const PART: usize = 1000;

/// The last window, and by which settings it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Last {
    /// Its pane, counted from the epoch.
    pub pane: u64,
    /// What must not change between restarts: engine, period, window and hop, in words.
    pub settings: String,
}

/// A change of what is kept: an entry's key and, unless it is gone, its bytes.
pub type Change = (String, Option<String>);

impl Kept {
    /// Its key: what it is about.
    fn key(&self) -> String {
        match self {
            Kept::Vm(vm, _) => key(&["vm", vm.as_str()]),
            Kept::Pair(a, b, _) => key(&["pair", a.as_str(), b.as_str()]),
            Kept::Seen(_) => key(&["seen"]),
            Kept::Names(vm, _) => key(&["names", vm.as_str()]),
            Kept::Resting(name, ..) => key(&["resting", name]),
            Kept::NextName(_) => key(&["next_name"]),
            Kept::Evidence(a, part, _) => key(&["evidence", a.as_str(), &part.to_string()]),
            Kept::Control(a, part, _) => key(&["control", a.as_str(), &part.to_string()]),
            Kept::Member(vm, _) => member_key(vm),
            Kept::Since(a, b, _) => since_key(a, b),
            Kept::Verdict(verdict, _) => key(&["verdict", verdict.cause.as_str(), verdict.vm.as_str()]),
            Kept::Decision(decision) => key(&["decision", &decision.what.about().key()]),
            Kept::Amended(fact, diff) => serde_json::json!(["amended", fact, diff]).to_string(),
            Kept::Windows(_) => key(&["windows"]),
            Kept::Last(_) => key(&["last"]),
        }
    }

    /// As it is written: key and bytes.
    pub fn entry(&self) -> (String, String) {
        (self.key(), serde_json::to_string(self).expect("plain data is always JSON"))
    }
}

/// The key of an entry of this kind: a JSON array.
fn key(about: &[&str]) -> String {
    serde_json::to_string(about).expect("plain data is always JSON")
}

fn member_key(vm: &VmId) -> String {
    key(&["member", vm.as_str()])
}

fn since_key(a: &VmId, b: &VmId) -> String {
    key(&["since", a.as_str(), b.as_str()])
}

/// What one stage has said of its entries: finds out what changed since.
///
/// A key and 8 bytes for each entry.
#[derive(Default, Debug)]
pub struct Keeper {
    said: HashMap<String, u64>,
}

impl Keeper {
    /// After `entries` were read back.
    pub fn resume(entries: impl Iterator<Item = Kept>) -> Self {
        let said = entries.map(|kept| kept.entry()).map(|(key, bytes)| (key, hash(&bytes))).collect();
        Keeper { said }
    }

    /// The changes that make of what was said before all of `entries`.
    pub fn changes(&mut self, entries: impl Iterator<Item = Kept>) -> Vec<Change> {
        let (mut before, mut changes) = (mem::take(&mut self.said), vec![]);
        for kept in entries {
            let (key, bytes) = kept.entry();
            let hash = hash(&bytes);
            let same = before.remove(&key) == Some(hash);
            self.said.insert(key.clone(), hash);
            if !same {
                changes.push((key, Some(bytes)));
            }
        }
        changes.extend(before.into_keys().map(|key| (key, None)));
        changes
    }
}

fn hash(bytes: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes.as_bytes());
    hasher.finish()
}

/// What was kept cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeptError {
    /// An entry that this version does not understand.
    #[error("the entry {key} cannot be read: {why}; was it written by another version of lwt?")]
    Unknown {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// Nobody knows up to which window it goes.
    #[error("there are {entries} entries, but none says which window was the last")]
    Endless {
        /// How many.
        entries: usize,
    },
}

/// All that was kept, as the stages take it up again.
#[derive(Clone, Default, Debug)]
pub struct Restored {
    entries: Vec<Kept>,
    last: Option<Last>,
}

impl Restored {
    /// From keys and bytes as they were written.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn new(written: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeptError> {
        let read = |(key, bytes): (&String, &Vec<u8>)| {
            serde_json::from_slice(bytes)
                .map_err(|why| KeptError::Unknown { key: key.clone(), why: why.to_string() })
        };
        let entries = written.iter().map(read).collect::<Result<Vec<Kept>, KeptError>>()?;
        let last =
            entries.iter().find_map(|kept| if let Kept::Last(last) = kept { Some(last) } else { None });
        if last.is_none() && !entries.is_empty() {
            return Err(KeptError::Endless { entries: entries.len() });
        }
        Ok(Restored { last: last.cloned(), entries })
    }

    /// The last window that was published.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// What each entry is to somebody.
    pub fn of<'a, T: 'a>(&'a self, what: impl Fn(&Kept) -> Option<T> + 'a) -> impl Iterator<Item = T> + 'a {
        self.entries.iter().filter_map(what)
    }

    /// The names of ensembles.
    pub fn names(&self) -> Names {
        let held = self.of(|kept| match kept {
            Kept::Names(vm, names) => Some((vm.clone(), names.clone())),
            _ => None,
        });
        let resting = self.of(|kept| match kept {
            Kept::Resting(name, vms, windows) => Some((name.clone(), (vms.clone(), *windows))),
            _ => None,
        });
        let next = self.of(|kept| if let Kept::NextName(next) = kept { Some(*next) } else { None });
        Names::resume(held.collect(), resting.collect(), next.max().unwrap_or(1))
    }

    /// What was published.
    pub fn state(&self) -> State {
        let windows = self.of(|kept| if let Kept::Windows(windows) = kept { Some(*windows) } else { None });
        let vms = self.of(|kept| match kept {
            Kept::Member(vm, membered) => Some((vm.clone(), membered.clone())),
            _ => None,
        });
        let pairs = self.of(|kept| match kept {
            Kept::Since(a, b, since) => Some(((a.clone(), b.clone()), *since)),
            _ => None,
        });
        State::resume(windows.max().unwrap_or(0), vms, pairs)
    }
}

/// The entries of names.
pub fn of_names(names: &Names) -> impl Iterator<Item = Kept> + '_ {
    let held = names.held().iter().map(|(vm, of)| Kept::Names(vm.clone(), of.clone()));
    let resting = names.resting().iter();
    let resting = resting.map(|(name, (vms, windows))| Kept::Resting(name.clone(), vms.clone(), *windows));
    held.chain(resting).chain([Kept::NextName(names.next())])
}

/// What `changes`, which `state` already has in it, change of the entries of what was published.
pub fn of_published(changes: &[(Fact, isize)], state: &State) -> Vec<Change> {
    let vms: BTreeSet<&VmId> = changes.iter().filter_map(|(fact, _)| fact.vm()).collect();
    let pairs: BTreeSet<(&VmId, &VmId)> = changes.iter().filter_map(|(fact, _)| fact.pair()).collect();
    let change = |kept: Option<Kept>, gone: &dyn Fn() -> String| match kept.map(|kept| kept.entry()) {
        Some((key, bytes)) => (key, Some(bytes)),
        None => (gone(), None),
    };
    let vms = vms
        .into_iter()
        .map(|vm| change(state.membered(vm).map(|of| Kept::Member(vm.clone(), of)), &|| member_key(vm)));
    let pairs = pairs.into_iter().map(|(a, b)| {
        change(state.since(a, b).map(|since| Kept::Since(a.clone(), b.clone(), since)), &|| since_key(a, b))
    });
    let (key, bytes) = Kept::Windows(state.windows).entry();
    vms.chain(pairs).chain([(key, Some(bytes))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::record::What;
    use crate::dependencies::{Ensemble, Hysteresis, Verdict, some_evidence};
    use crate::perturb::verdict::{Judgement, Open};

    fn written(changes: Vec<Change>, to: &mut BTreeMap<String, Vec<u8>>) {
        for (key, bytes) in changes {
            match bytes {
                Some(bytes) => drop(to.insert(key, bytes.into_bytes())),
                None => drop(to.remove(&key)),
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let (a, b) = (VmId::new("a\"]"), VmId::new("h/b"));
        let mut state = State::default();
        let begins = [
            (Fact::Alive(a.clone()), 1),
            (Fact::Idle(a.clone()), 1),
            (Fact::Member(a.clone(), Ensemble::new("e1")), 1),
            (Fact::Pair(a.clone(), b.clone(), Some(some_evidence())), 1),
        ];
        state.apply(&begins);
        let published = of_published(&begins, &state).into_iter().filter_map(|(_, bytes)| bytes);
        let published: Vec<Kept> = published.map(|bytes| serde_json::from_str(&bytes).unwrap()).collect();
        assert_eq!(published.len(), 3, "the VM, the pair, and how many windows");
        let mut names = Names::default();
        names.name(&[vec![a.clone(), b.clone()]]);
        names.name(&[]);
        let (mut held, mut out) = (Held::default(), vec![]);
        let in_e1 = Verdict::In(vec![Ensemble::new("e1")]);
        held.update(&a, in_e1, Hysteresis::new(61, 120).unwrap(), &mut out);
        let mut record = Record::new(3);
        record.add(0.1 + 0.2, 60.0);
        let last = Last { pane: 7, settings: "coupling".into() };
        let judgement = Judgement { chance: 0.1 + 0.2, ..Judgement::open(Open::Noise) };
        let verdict = perturb::record::Verdict::new(a.clone(), b.clone(), 0.01, judgement, 5);
        let named = What::Named { ensemble: "e1".into(), name: "\u{f6}\"".into() };
        let decision = Decision::new(named, "w", Some("because"), 5).unwrap();
        let more = [
            Kept::Vm(a.clone(), held),
            Kept::Verdict(verdict, 9),
            Kept::Decision(decision),
            Kept::Amended(Fact::Pair(a.clone(), b.clone(), Some(some_evidence())), -1),
            Kept::Evidence(a, 0, vec![(b, record)]),
            Kept::Last(last.clone()),
        ];
        let entries = || of_names(&names).chain(published.clone()).chain(more.clone());
        let (mut keeper, mut log) = (Keeper::default(), BTreeMap::new());
        written(keeper.changes(entries()), &mut log);
        let restored = Restored::new(&log).unwrap();
        assert_eq!(restored.state(), state);
        assert_eq!(restored.names(), names);
        assert_eq!(restored.last(), Some(&last));
        let mut expected: Vec<String> = entries().map(|kept| kept.entry().1).collect();
        let mut read: Vec<String> = restored.of(|kept| Some(kept.entry().1)).collect();
        expected.sort();
        read.sort();
        assert_eq!(read, expected);
        let mut resumed = Keeper::resume(restored.of(|kept| Some(kept.clone())));
        assert_eq!(resumed.changes(entries()), [], "nothing changed");
        written(resumed.changes(std::iter::empty()), &mut log);
        assert!(log.is_empty(), "{log:?}");
    }

    #[test]
    fn what_is_published_is_what_its_changes_add_up_to() {
        let (a, b, e) = (VmId::new("a"), VmId::new("b"), Ensemble::new("e1"));
        let pair = Fact::Pair(a.clone(), b.clone(), None);
        let windows = [
            vec![(Fact::Alive(a.clone()), 1), (Fact::Alive(b.clone()), 1), (Fact::Idle(b.clone()), 1)],
            vec![(Fact::Idle(b.clone()), -1), (Fact::Member(a.clone(), e.clone()), 1)],
            vec![(Fact::Member(b.clone(), e.clone()), 1), (pair.clone(), 1)],
            vec![(pair.clone(), -1), (Fact::Confirmed(a.clone(), b.clone(), Some(some_evidence())), 1)],
            vec![(Fact::Ignored(a.clone()), 1)],
            vec![(Fact::Confirmed(a.clone(), b.clone(), Some(some_evidence())), -1)],
            vec![(Fact::Member(b.clone(), e), -1), (Fact::Alive(b), -1)],
            vec![],
        ];
        let (mut state, mut log) = (State::default(), BTreeMap::new());
        for changes in windows {
            state.apply(&changes);
            written(of_published(&changes, &state), &mut log);
            let (key, last) = Kept::Last(Last { pane: 1, settings: String::new() }).entry();
            let whole = log.clone().into_iter().chain([(key, last.into_bytes())]).collect();
            assert_eq!(Restored::new(&whole).unwrap().state(), state, "after {changes:?}");
        }
        assert_eq!(log.into_keys().collect::<Vec<_>>(), [r#"["member","a"]"#, r#"["windows"]"#]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let one = |bytes: &str| BTreeMap::from([("k".to_string(), bytes.as_bytes().to_vec())]);
        let error = Restored::new(&one("{\"future\":1}")).unwrap_err().to_string();
        assert!(error.contains("the entry k cannot be read: unknown variant"), "{error}");
        let error = Restored::new(&one("{\"windows\":1}")).unwrap_err();
        assert_eq!(error, KeptError::Endless { entries: 1 });
        assert!(Restored::new(&BTreeMap::new()).unwrap().last().is_none());
    }
}
