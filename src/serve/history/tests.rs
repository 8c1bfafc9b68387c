//! Tests of the log: against the state that the dataflow has.

use super::*;
use crate::dependencies::{Ensemble, Fact, State};
use crate::events::{event_of, events};

/// What happens in five windows.
fn log() -> Vec<Vec<(Fact, isize)>> {
    let vm = |name: &str| VmId::new(name);
    let member = |name: &str, of: &str| Fact::Member(vm(name), Ensemble::new(of));
    let pair = |a: &str, b: &str| Fact::Pair(vm(a), vm(b), None);
    let appears = |names: &[&str]| names.iter().map(|name| (Fact::Alive(vm(name)), 1)).collect::<Vec<_>>();
    let mut log = vec![
        appears(&["a", "b", "c"]),
        vec![(member("a", "e1"), 1), (member("b", "e1"), 1), (pair("a", "b"), 1)],
        vec![],
        vec![(member("b", "e2"), 1), (member("c", "e2"), 1), (pair("b", "c"), 1), (Fact::Idle(vm("a")), 1)],
        vec![
            (Fact::Alive(vm("a")), -1),
            (member("a", "e1"), -1),
            (pair("a", "b"), -1),
            (Fact::Idle(vm("a")), -1),
        ],
    ];
    log.iter_mut().for_each(|changes| changes.sort());
    log
}

fn told() -> Vec<Event> {
    log().iter().zip(1..).flat_map(|(changes, n)| events(changes, n * 1000)).collect()
}

fn history() -> History {
    let mut history = History::default();
    let completed = told().into_iter().filter(|event| history.push(event.clone())).count();
    assert_eq!(completed, 5);
    history
}

/// The same, by what the dataflow's state says.
fn state(windows: usize) -> Picture {
    let mut state = State::default();
    log()[..windows].iter().for_each(|changes| state.apply(changes));
    let dependencies = state.dependencies().map(|record| {
        let since = windows as i64 + 1 - record.windows as i64;
        (since * 1000, record)
    });
    let mut picture = Picture::of_records(state.assignments(), dependencies);
    for (vm, of) in &mut picture.vms {
        of.idle = state.idle().contains(vm);
    }
    picture.end_ms = Some(windows as i64 * 1000);
    picture
}

#[test]
fn each_moment_is_what_the_state_was() {
    let history = history();
    assert_eq!(history.at(999), None);
    for windows in 1..=5 {
        assert_eq!(history.at(windows as i64 * 1000 + 500), Some(state(windows)), "{windows}");
    }
    assert_eq!(history.now(), &state(5));
    assert_eq!(history.windows().map(|(_, changes)| changes).collect::<Vec<_>>(), [3, 3, 0, 4, 3]);
}

#[test]
fn events_are_told_again_as_they_were() {
    let history = history();
    let all = history.events(0, i64::MAX).map(|(kind, data)| event_of(kind, data.into_owned()));
    assert_eq!(all.collect::<Vec<_>>(), told());
    let some: Vec<_> = history.events(2000, 3000).map(|(_, data)| data.window_end_ms).collect();
    assert_eq!(some, [2000, 2000, 2000, 2000, 3000]);
}

#[test]
fn a_log_whose_beginning_is_lost_is_undone_from_its_end() {
    // The first two windows are not there any more.
    let late = told().into_iter().filter(|event| event.data.window_end_ms > 2000);
    let resumed = History::resume(Picture { end_ms: None, ..state(5) }, late);
    assert_eq!(resumed.now(), &state(5));
    for windows in 3..=5 {
        let mut was = resumed.at(windows as i64 * 1000).unwrap();
        // The pair that vanished: since when it was held is not known.
        for (pair, held) in &mut was.pairs {
            held.since_ms = state(windows).pairs[pair].since_ms;
        }
        assert_eq!(was, state(windows), "{windows}");
    }
    assert_eq!(resumed.at(2500), None);
}

#[test]
fn what_was_not_completed_has_not_happened() {
    let mut history = history();
    let late = event_of(
        "lwt.vm.appeared",
        EventData { vm: Some(VmId::new("z")), window_end_ms: 6000, ..EventData::default() },
    );
    assert!(!history.push(late.clone()));
    assert!(!history.now().vms.contains_key(&VmId::new("z")));
    // A window that is told a second time is not a second one.
    for event in told() {
        history.push(event);
    }
    assert_eq!((history.windows().len(), history.now()), (5, &state(5)));
}

#[test]
fn what_is_too_old_is_in_the_base() {
    let mut history = history();
    let vm = |n: i64| EventData { vm: Some(VmId::new("x")), window_end_ms: n, ..EventData::default() };
    let many = MAX_WINDOWS as i64 + 3;
    for n in 6..=many {
        let kind = if n % 2 == 0 { "lwt.vm.idle" } else { "lwt.vm.active" };
        history.push(event_of(kind, vm(n * 1000)));
        history.push(event_of(COMPLETED, vm(n * 1000)));
    }
    assert_eq!(history.windows().len(), MAX_WINDOWS);
    assert_eq!(history.windows().next().map(|(end_ms, _)| end_ms), Some(4000));
    assert_eq!(history.at(3000), Some(state(3)), "the base");
    assert_eq!(history.at(2999), None);
    assert_eq!(history.at(5000), Some(state(5)));
}

#[test]
fn differences() {
    let words = |found: Vec<Difference>| -> Vec<String> {
        found
            .iter()
            .map(|d| {
                let names = [&d.vm, &d.a, &d.b].map(|vm| vm.as_ref().map(|vm| vm.as_str()));
                let names: Vec<_> = names.into_iter().chain([d.ensemble.as_deref()]).flatten().collect();
                format!("{} {}", d.change, names.join(" "))
            })
            .collect()
    };
    assert_eq!(words(state(1).until(&state(2))), ["joined a e1", "joined b e1", "dependency_appeared a b"]);
    assert_eq!(
        words(state(2).until(&state(5))),
        ["gone a", "joined b e2", "joined c e2", "dependency_vanished a b", "dependency_appeared b c"]
    );
    assert_eq!(words(state(3).until(&state(4)))[0], "idle a");
}
