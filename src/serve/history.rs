//! What holds, and what held: the event log, added up to any of its moments. Pure.
//!
//! The log is bounded; what falls out of it is added to the picture that it begins with.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::transport::records::{Assignment, Dependency, Event, EventData, Membership};
use crate::types::VmId;

/// The most changes that are kept: 250 bytes each make 75 MB. A park of 10,000 VMs begins with 60,000.
pub const MAX_CHANGES: usize = 300_000;

/// The most windows that are kept: a week of one a minute, and 8 bytes each for those that change nothing.
pub const MAX_WINDOWS: usize = 10_080;

/// The event that closes a window.
const COMPLETED: &str = "lwt.window.completed";

/// A VM, at some moment.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Vm {
    /// The ensembles that it is in: several if it is a hub.
    pub ensembles: BTreeSet<String>,
    /// Whether it does nothing.
    pub idle: bool,
    /// Whether it takes part in nothing, because somebody decided so.
    pub ignored: bool,
}

/// A dependency, at some moment: the record's fields, and since when it is held.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Held {
    /// The end of the window in which it appeared, Unix milliseconds.
    pub since_ms: i64,
    /// As in [`Dependency`].
    pub strength: Option<f64>,
    /// As in [`Dependency`].
    pub confidence: Option<f64>,
    /// As in [`Dependency`].
    pub lag_ms: Option<i64>,
    /// As in [`Dependency`].
    pub direct: Option<bool>,
    /// As in [`Dependency`].
    pub cause: Option<String>,
    /// As in [`Dependency`].
    pub decided: Option<String>,
}

/// What holds at some moment.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Picture {
    /// The end of the last window, Unix milliseconds.
    pub end_ms: Option<i64>,
    /// The VMs.
    pub vms: BTreeMap<VmId, Vm>,
    /// The dependencies.
    pub pairs: BTreeMap<(VmId, VmId), Held>,
}

/// An event without what follows from the rest of it.
#[derive(Clone, Debug)]
struct Change {
    kind: Arc<str>,
    data: EventData,
}

/// A window's changes.
#[derive(Clone, Debug)]
struct Window {
    end_ms: i64,
    changes: Vec<Change>,
}

/// The log, and the pictures at its two ends.
#[derive(Debug, Default)]
pub struct History {
    base: Picture,
    windows: VecDeque<Window>,
    now: Picture,
    changes: usize,
    /// Of the window that is being told.
    open: Vec<Change>,
    /// Each type of event once.
    kinds: BTreeSet<Arc<str>>,
}

/// What is different at two moments.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Difference {
    /// What happened, in one word.
    pub change: &'static str,
    /// The VM, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmId>,
    /// The ensemble that it joined or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<String>,
    /// The pair, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<VmId>,
    /// Its other VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<VmId>,
}

impl Picture {
    /// What the compacted topics say: each with the end of the window that said so. Those of one state.
    pub fn of_records(
        assignments: impl Iterator<Item = Assignment>,
        dependencies: impl Iterator<Item = (i64, Dependency)>,
    ) -> Self {
        let vms = assignments.map(|Assignment { vm, ensemble, decided }| {
            let ensembles = match ensemble {
                Membership::None => BTreeSet::new(),
                Membership::One(name) => BTreeSet::from([name]),
                Membership::Many(names) => names.into_iter().collect(),
            };
            (vm, Vm { ensembles, idle: false, ignored: decided.is_some() })
        });
        let pairs = dependencies.map(|(since_ms, record)| {
            let Dependency { a, b, strength, confidence, lag_ms, direct, cause, decided, .. } = record;
            ((a, b), Held { since_ms, strength, confidence, lag_ms, direct, cause, decided })
        });
        Picture { end_ms: None, vms: vms.collect(), pairs: pairs.collect() }
    }

    /// The ensembles, each with its members.
    pub fn ensembles(&self) -> BTreeMap<&str, Vec<&VmId>> {
        let mut ensembles = BTreeMap::<&str, Vec<&VmId>>::new();
        for (vm, of) in &self.vms {
            of.ensembles.iter().for_each(|name| ensembles.entry(name).or_default().push(vm));
        }
        ensembles
    }

    fn apply(&mut self, end_ms: i64, Change { kind, data }: &Change) {
        let EventData { vm, a, b, ensemble, .. } = data;
        let word = kind.strip_prefix("lwt.").unwrap_or(kind);
        if let Some(vm) = vm {
            self.vm(vm, word, ensemble.as_deref());
        }
        let (Some(a), Some(b)) = (a, b) else { return };
        let key = (a.clone(), b.clone());
        if word == "dependency.vanished" {
            self.pairs.remove(&key);
            return;
        }
        let since_ms = self.pairs.get(&key).map_or(end_ms, |held| held.since_ms);
        let EventData { strength, confidence, lag_ms, direct, cause, decided, .. } = data.clone();
        self.pairs.insert(key, Held { since_ms, strength, confidence, lag_ms, direct, cause, decided });
    }

    fn vm(&mut self, vm: &VmId, word: &str, ensemble: Option<&str>) {
        if word == "vm.gone" {
            self.vms.remove(vm);
            return;
        }
        // A VM that is gone leaves its ensembles after that.
        if matches!(word, "vm.appeared" | "ensemble.joined") {
            self.vms.entry(vm.clone()).or_default();
        }
        let Some(of) = self.vms.get_mut(vm) else { return };
        match (word, ensemble) {
            ("vm.idle", _) => of.idle = true,
            ("vm.active", _) => of.idle = false,
            ("vm.ignored", _) => of.ignored = true,
            ("vm.considered", _) => of.ignored = false,
            ("ensemble.joined", Some(name)) => drop(of.ensembles.insert(name.into())),
            ("ensemble.left", Some(name)) => drop(of.ensembles.remove(name)),
            _ => {}
        }
    }

    /// Takes a change back. What a pair that vanished was held with, nobody knows any more.
    fn undo(&mut self, Change { kind, data }: &Change) {
        let word = match kind.strip_prefix("lwt.").unwrap_or(kind) {
            "vm.appeared" => "vm.gone",
            "vm.gone" => "vm.appeared",
            "vm.idle" => "vm.active",
            "vm.active" => "vm.idle",
            "vm.ignored" => "vm.considered",
            "vm.considered" => "vm.ignored",
            "ensemble.joined" => "ensemble.left",
            "ensemble.left" => "ensemble.joined",
            "dependency.appeared" => "dependency.vanished",
            "dependency.vanished" => "dependency.appeared",
            _ => return,
        };
        let change = Change { kind: word.into(), data: data.clone() };
        self.apply(data.window_end_ms, &change);
    }

    /// What is different in `later`.
    pub fn until(&self, later: &Picture) -> Vec<Difference> {
        let mut found = vec![];
        let vms: BTreeSet<&VmId> = self.vms.keys().chain(later.vms.keys()).collect();
        for vm in vms {
            self.until_vm(vm, later, &mut found);
        }
        let pairs: BTreeSet<_> = self.pairs.keys().chain(later.pairs.keys()).collect();
        for pair in pairs {
            let change = match (self.pairs.contains_key(pair), later.pairs.contains_key(pair)) {
                (false, _) => "dependency_appeared",
                (_, false) => "dependency_vanished",
                _ => continue,
            };
            let (a, b) = (Some(pair.0.clone()), Some(pair.1.clone()));
            found.push(Difference { change, vm: None, ensemble: None, a, b });
        }
        found
    }

    fn until_vm(&self, vm: &VmId, later: &Picture, found: &mut Vec<Difference>) {
        let mut say = |change, ensemble: Option<&String>| {
            let (vm, ensemble) = (Some(vm.clone()), ensemble.cloned());
            found.push(Difference { change, vm, ensemble, a: None, b: None });
        };
        let nothing = Vm::default();
        let (before, after) = (self.vms.get(vm), later.vms.get(vm));
        match (before, after) {
            (None, _) => say("appeared", None),
            (_, None) => return say("gone", None),
            _ => {}
        }
        let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
        after.ensembles.difference(&before.ensembles).for_each(|name| say("joined", Some(name)));
        before.ensembles.difference(&after.ensembles).for_each(|name| say("left", Some(name)));
        if before.idle != after.idle {
            say(if after.idle { "idle" } else { "active" }, None);
        }
        if before.ignored != after.ignored {
            say(if after.ignored { "ignored" } else { "considered" }, None);
        }
    }
}

impl History {
    /// A log that ends with `events`, after which `now` holds. Events of windows that were not completed are as if
    /// they had not been.
    pub fn resume(now: Picture, events: impl Iterator<Item = Event>) -> Self {
        let mut history = History::default();
        let mut base = now;
        let mut windows = vec![];
        for event in events {
            let end_ms = event.data.window_end_ms;
            let completed = event.kind == COMPLETED;
            let change = history.change(event);
            if completed {
                windows.push(Window { end_ms, changes: std::mem::take(&mut history.open) });
            } else {
                history.open.push(change);
            }
        }
        history.open.clear();
        windows
            .iter()
            .rev()
            .flat_map(|window| window.changes.iter().rev())
            .for_each(|change| base.undo(change));
        (history.now, history.base) = (base.clone(), base);
        windows.into_iter().for_each(|window| history.close(window));
        history
    }

    /// The next event; whether it completed a window.
    pub fn push(&mut self, event: Event) -> bool {
        let (end_ms, completed) = (event.data.window_end_ms, event.kind == COMPLETED);
        let change = self.change(event);
        if completed {
            let changes = std::mem::take(&mut self.open);
            // What is told again after a restart is known.
            if self.now.end_ms.is_none_or(|last| last < end_ms) {
                self.close(Window { end_ms, changes });
            }
        } else if self.open.len() < MAX_CHANGES {
            self.open.push(change);
        }
        completed
    }

    fn change(&mut self, event: Event) -> Change {
        let kind = match self.kinds.get(event.kind.as_str()) {
            Some(kind) => kind.clone(),
            None => {
                let kind: Arc<str> = event.kind.into();
                self.kinds.insert(kind.clone());
                kind
            }
        };
        Change { kind, data: event.data }
    }

    fn close(&mut self, window: Window) {
        window.changes.iter().for_each(|change| self.now.apply(window.end_ms, change));
        self.now.end_ms = Some(window.end_ms);
        self.changes += window.changes.len();
        self.windows.push_back(window);
        // The last window stays, however much it changed.
        while self.windows.len() > 1 && (self.changes > MAX_CHANGES || self.windows.len() > MAX_WINDOWS) {
            let Some(oldest) = self.windows.pop_front() else { break };
            self.changes -= oldest.changes.len();
            oldest.changes.iter().for_each(|change| self.base.apply(oldest.end_ms, change));
            self.base.end_ms = Some(oldest.end_ms);
        }
    }

    /// What holds now.
    pub fn now(&self) -> &Picture {
        &self.now
    }

    /// What held at `at_ms`: after the last window that had ended by then. None before the first.
    pub fn at(&self, at_ms: i64) -> Option<Picture> {
        if self.now.end_ms.is_some_and(|end_ms| end_ms <= at_ms) {
            return Some(self.now.clone());
        }
        let until = self.windows.partition_point(|window| window.end_ms <= at_ms);
        if until == 0 {
            return self.base.end_ms.filter(|&end_ms| end_ms <= at_ms).map(|_| self.base.clone());
        }
        let mut picture = self.base.clone();
        for window in self.windows.range(..until) {
            window.changes.iter().for_each(|change| picture.apply(window.end_ms, change));
            picture.end_ms = Some(window.end_ms);
        }
        Some(picture)
    }

    /// The ends of the windows, oldest first, each with how much changed.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = (i64, usize)> + '_ {
        self.windows.iter().map(|window| (window.end_ms, window.changes.len()))
    }

    /// What happened in the windows that ended from `since_ms` to `until_ms`, oldest first: of each event its kind and what it
    /// is about.
    pub fn events(&self, since_ms: i64, until_ms: i64) -> impl Iterator<Item = (&str, Cow<'_, EventData>)> {
        let first = self.windows.partition_point(|window| window.end_ms < since_ms);
        let within = self.windows.range(first..).take_while(move |window| window.end_ms <= until_ms);
        within.flat_map(|window| {
            let end = EventData { v: 1, window_end_ms: window.end_ms, ..EventData::default() };
            let changes = window.changes.iter().map(|change| (&*change.kind, Cow::Borrowed(&change.data)));
            changes.chain([(COMPLETED, Cow::Owned(end))])
        })
    }
}

#[cfg(test)]
mod tests;
