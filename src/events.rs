//! What changed, for people and programs that subscribe: each consolidated difference of a window becomes
//! one event, except that a pair that ends and begins again in one window has only changed. Nothing else is
//! compared here, the differences come from the dataflow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use crate::dependencies::{Fact, State};
use crate::transport::records::{Dependency, Event, EventData, Record, Topic, Versioned};
use crate::types::VmId;

/// The `source` of every event.
const SOURCE: &str = "/lwt";

/// The events of the window that ends at `window_end_ms` (Unix milliseconds), in the order of `changes`
/// (consolidated), closed by `lwt.window.completed`.
///
/// A VM that wakes is `lwt.vm.active`, one that is ignored no longer `lwt.vm.considered`; one that is gone only that, whatever
/// it did before.
pub fn events(changes: &[(Fact, isize)], window_end_ms: i64) -> Vec<Event> {
    events_of(changes, &pairs(changes), window_end_ms)
}

fn events_of(changes: &[(Fact, isize)], pairs: &Pairs<'_>, window_end_ms: i64) -> Vec<Event> {
    let gone = |vm: &VmId| changes.binary_search(&(Fact::Alive(vm.clone()), -1)).is_ok();
    let said = |(fact, diff): &(Fact, isize)| match (fact, fact.pair().map(|pair| pairs[&pair])) {
        (Fact::Idle(vm) | Fact::Ignored(vm), _) if *diff < 0 && gone(vm) => None,
        (_, Some(Change::Changes)) => (*diff > 0).then_some(Change::Changes),
        _ => Some(Change::of(*diff)),
    };
    let mut events: Vec<Event> = changes
        .iter()
        .filter_map(|difference| Some(event(&difference.0, said(difference)?, window_end_ms)))
        .collect();
    events.push(event_of("lwt.window.completed", EventData { v: 1, window_end_ms, ..EventData::default() }));
    events
}

/// What a window publishes: the memberships and pairs that changed, as `state` has them after it, and the
/// events. What did not change is not said again.
pub fn records(changes: &[(Fact, isize)], state: &State, window_end_ms: i64) -> Vec<Record> {
    let vms: BTreeSet<&VmId> = changes.iter().filter_map(|(fact, _)| moved(fact)).collect();
    let assignments = vms.into_iter().map(|vm| {
        let value = state.knows(vm).then(|| versioned(state.assignment(vm), window_end_ms));
        Record { topic: Topic::Assignments, key: vm.to_string(), value }
    });
    let pairs = pairs(changes);
    let dependencies = pairs.keys().map(|(a, b)| {
        let value = state.dependency(a, b).map(|pair| versioned(pair, window_end_ms));
        Record { topic: Topic::Dependencies, key: pair_key(a, b), value }
    });
    let events = events_of(changes, &pairs, window_end_ms).into_iter().map(|event| {
        let key = event.subject.clone().unwrap_or_default();
        Record { topic: Topic::Events, key, value: Some(raw(&event)) }
    });
    assignments.chain(dependencies).chain(events).collect()
}

fn moved(fact: &Fact) -> Option<&VmId> {
    match fact {
        Fact::Alive(vm) | Fact::Member(vm, _) | Fact::Ignored(vm) => Some(vm),
        Fact::Idle(_) | Fact::Pair(..) | Fact::Confirmed(..) => None,
    }
}

fn versioned(record: impl serde::Serialize, window_end_ms: i64) -> Box<RawValue> {
    raw(&Versioned { v: 1, window_end_ms, record })
}

fn raw(record: &impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(record).expect("plain records are always JSON")
}

/// What happens to pairs.
type Pairs<'a> = BTreeMap<(&'a VmId, &'a VmId), Change>;

fn pairs(changes: &[(Fact, isize)]) -> Pairs<'_> {
    let mut pairs = Pairs::new();
    for (fact, diff) in changes {
        if let Some(pair) = fact.pair() {
            pairs.entry(pair).and_modify(|change| *change = Change::Changes).or_insert(Change::of(*diff));
        }
    }
    pairs
}

/// What happens to a fact, or a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Begins,
    Changes,
    Ends,
}

impl Change {
    fn of(diff: isize) -> Self {
        if diff > 0 { Change::Begins } else { Change::Ends }
    }
}

fn event(fact: &Fact, change: Change, window_end_ms: i64) -> Event {
    let data = EventData { v: 1, window_end_ms, ..EventData::default() };
    let of = |yes: &'static str, no: &'static str| if change == Change::Ends { no } else { yes };
    match fact {
        Fact::Alive(vm) => about(of("lwt.vm.appeared", "lwt.vm.gone"), vm, data),
        Fact::Idle(vm) => about(of("lwt.vm.idle", "lwt.vm.active"), vm, data),
        Fact::Ignored(vm) => about(of("lwt.vm.ignored", "lwt.vm.considered"), vm, data),
        Fact::Member(vm, ensemble) => {
            let data = EventData { ensemble: Some(ensemble.as_str().to_string()), ..data };
            about(of("lwt.ensemble.joined", "lwt.ensemble.left"), vm, data)
        }
        Fact::Pair(a, b, evidence) | Fact::Confirmed(a, b, evidence) => {
            let kind = match change {
                Change::Begins => "lwt.dependency.appeared",
                Change::Changes => "lwt.dependency.changed",
                Change::Ends => "lwt.dependency.vanished",
            };
            // What a pair was held with that is held no more is nobody's business.
            let mut known = Dependency::bare(a.clone(), b.clone(), 0);
            evidence.iter().filter(|_| change != Change::Ends).for_each(|evidence| evidence.fill(&mut known));
            let Dependency { a, b, strength, confidence, lag_ms, direct, cause, asked, .. } = known;
            let is_decided = matches!(fact, Fact::Confirmed(..)) && change != Change::Ends;
            let decided = is_decided.then(|| "confirmed".to_string());
            let of = EventData { strength, confidence, lag_ms, direct, cause, asked, decided, ..data };
            event_of(kind, EventData { a: Some(a), b: Some(b), ..of })
        }
    }
}

fn about(kind: &str, vm: &VmId, data: EventData) -> Event {
    event_of(kind, EventData { vm: Some(vm.clone()), ..data })
}

/// A pair as the key of a topic: a JSON array.
pub fn pair_key(a: &VmId, b: &VmId) -> String {
    serde_json::to_string(&(a, b)).expect("names are always JSON")
}

/// The event of this type that says `data`: all else of it follows from the two.
pub fn event_of(kind: &str, data: EventData) -> Event {
    let subject = match (&data.vm, &data.a, &data.b) {
        (Some(vm), ..) => Some(vm.to_string()),
        (None, Some(a), Some(b)) => Some(pair_key(a, b)),
        _ => None,
    };
    let about = [Some(kind), subject.as_deref(), data.ensemble.as_deref()];
    let id = about.into_iter().flatten().fold(data.window_end_ms.to_string(), |id, part| id + "/" + part);
    let time = Timestamp::from_millisecond(data.window_end_ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    Event {
        specversion: "1.0".into(),
        id,
        source: SOURCE.into(),
        kind: kind.into(),
        subject,
        time,
        datacontenttype: "application/json".into(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::{Ensemble, Evidence, some_evidence};

    fn check(changes: &[(Fact, isize)], expected: &[&str]) {
        let mut changes = changes.to_vec();
        changes.sort();
        let events = events(&changes, 1_700_000_000_000);
        let shown: Vec<_> =
            events.iter().map(|e| format!("{} {}", e.kind, e.subject.as_deref().unwrap_or("."))).collect();
        assert_eq!(shown, expected);
        let mut ids: Vec<_> = events.iter().map(|e| &e.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), events.len(), "ids are unique");
    }

    #[test]
    fn a_difference_is_an_event() {
        let (a, b, e, f) = (VmId::new("a"), VmId::new("b"), Ensemble::new("e1"), Ensemble::new("e2"));
        check(&[], &["lwt.window.completed ."]);
        check(
            &[(Fact::Alive(a.clone()), 1), (Fact::Idle(a.clone()), 1)],
            &["lwt.vm.appeared a", "lwt.vm.idle a", "lwt.window.completed ."],
        );
        check(&[(Fact::Idle(a.clone()), -1)], &["lwt.vm.active a", "lwt.window.completed ."]);
        check(
            &[(Fact::Alive(a.clone()), -1), (Fact::Idle(a.clone()), -1)],
            &["lwt.vm.gone a", "lwt.window.completed ."],
        );
        check(
            &[
                (Fact::Member(a.clone(), e), -1),
                (Fact::Member(a.clone(), f), 1),
                (Fact::Pair(a, b, None), -1),
            ],
            &[
                "lwt.ensemble.left a",
                "lwt.ensemble.joined a",
                "lwt.dependency.vanished [\"a\",\"b\"]",
                "lwt.window.completed .",
            ],
        );
    }

    /// The pair `a`-`b`, held with this strength, in per cent.
    fn pair(percent: i32) -> Fact {
        let evidence = Evidence { strength_ppm: percent * 10_000, ..some_evidence() };
        Fact::Pair(VmId::new("a"), VmId::new("b"), Some(evidence))
    }

    #[test]
    fn a_pair_with_other_evidence_has_changed() {
        let (completed, name) = ("lwt.window.completed .", "[\"a\",\"b\"]");
        for (before, now) in [(50, 70), (70, 50)] {
            let changed = format!("lwt.dependency.changed {name}");
            check(&[(pair(before), -1), (pair(now), 1)], &[&changed, completed]);
        }
        check(&[(pair(50), 1)], &[&format!("lwt.dependency.appeared {name}"), completed]);
        check(&[(pair(50), -1)], &[&format!("lwt.dependency.vanished {name}"), completed]);
    }

    #[test]
    fn what_is_decided_is_said() {
        let [a, b] = ["a", "b"].map(VmId::new);
        let confirmed = Fact::Confirmed(a.clone(), b, Some(some_evidence()));
        let (completed, name) = ("lwt.window.completed .", "[\"a\",\"b\"]");
        let changed = format!("lwt.dependency.changed {name}");
        check(&[(pair(50), -1), (confirmed.clone(), 1)], &[&changed, completed]);
        check(&[(pair(50), 1), (confirmed.clone(), -1)], &[&changed, completed]);
        let data = |diff| events(&[(confirmed.clone(), diff)], 0).swap_remove(0).data.decided;
        assert_eq!((data(1), data(-1)), (Some("confirmed".into()), None));
        let ignored = Fact::Ignored(a.clone());
        check(&[(ignored.clone(), 1)], &["lwt.vm.ignored a", completed]);
        check(&[(ignored.clone(), -1)], &["lwt.vm.considered a", completed]);
        check(&[(ignored, -1), (Fact::Alive(a), -1)], &["lwt.vm.gone a", completed]);
    }

    #[test]
    fn events_of_a_held_pair_say_how_strong_and_how_sure() {
        let said = |changes: &[(Fact, isize)]| {
            let data = events(changes, 0).swap_remove(0).data;
            (data.strength, data.confidence)
        };
        assert_eq!(said(&[(pair(-50), 1)]), (Some(-0.5), Some(0.99)));
        assert_eq!(said(&[(pair(50), -1), (pair(70), 1)]), (Some(0.7), Some(0.99)));
        assert_eq!(said(&[(pair(50), -1)]), (None, None));
        assert_eq!(said(&[(Fact::Pair(VmId::new("a"), VmId::new("b"), None), 1)]), (None, None));
    }

    #[test]
    fn a_record_is_written_once_however_it_changed() {
        let (vm, e, f) = (VmId::new("a"), Ensemble::new("e1"), Ensemble::new("e2"));
        let begins = [(Fact::Alive(vm.clone()), 1), (Fact::Member(vm.clone(), e), 1), (pair(50), 1)];
        let changes = [(Fact::Member(vm, f), 1), (pair(50), -1), (pair(70), 1)];
        let mut state = State::default();
        state.apply(&begins);
        state.apply(&changes);
        let written = records(&changes, &state, 60_000);
        let shown: Vec<_> = written
            .iter()
            .filter(|record| record.topic != Topic::Events)
            .map(|record| format!("{} {}", record.key, record.value.as_ref().unwrap()))
            .collect();
        assert_eq!(
            shown,
            [
                r#"a {"v":1,"window_end_ms":60000,"vm":"a","ensemble":["e1","e2"]}"#,
                r#"["a","b"] {"v":1,"window_end_ms":60000,"a":"a","b":"b","strength":0.7,"q":0.001,"confidence":0.99,"lag_ms":200,"direct":null,"cause":null,"evidence_s":300,"windows":2}"#,
            ]
        );
        state.apply(&[(pair(70), -1)]);
        let tombstone = records(&[(pair(70), -1)], &state, 120_000).swap_remove(0);
        assert_eq!((tombstone.key.as_str(), tombstone.value.is_none()), (r#"["a","b"]"#, true));
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let vm = VmId::new("web 1");
        let json = serde_json::to_string(&events(&[(Fact::Alive(vm), 1)], 1_700_000_000_000)[0]).unwrap();
        assert_eq!(
            json,
            r#"{"specversion":"1.0","id":"1700000000000/lwt.vm.appeared/web 1","source":"/lwt","type":"lwt.vm.appeared","subject":"web 1","time":"2023-11-14T22:13:20Z","datacontenttype":"application/json","data":{"v":1,"window_end_ms":1700000000000,"vm":"web 1"}}"#
        );
    }
}
