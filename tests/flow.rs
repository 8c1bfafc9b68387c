//! The dataflow by itself, fed by hand: what is late or doubled, who comes and goes, and when a window counts.
#![allow(clippy::unwrap_used, reason = "a test may")]

use lwt::cluster::{self, Clusters};
use lwt::coupling;
use lwt::decisions::record::{Decision, Entry, What};
use lwt::dependencies::{Fact, Hysteresis, State};
use lwt::model::{Fit, Order};
use lwt::pipeline::{self, Feed, Message, Method, Plan, RunError, Window};
use lwt::simd::Simd;
use lwt::transport::file::{Batch, Progress};
use lwt::transport::records::Membership;
use lwt::types::{DeadLetter, HostId, Reason, Samples, Tick, VmId};
use lwt::window::{self, Shape};

/// The paper's method, two clusters.
fn kmeans() -> Plan {
    let method = Method::Kmeans {
        order: Order::Fixed(4),
        fit: Fit::YuleWalker,
        cluster: cluster::Params::new(Clusters::Fixed(2), None, 1).unwrap(),
    };
    plan(method, Shape::new(60, 20, 4))
}

/// The coupling engine for windows of 300 ticks of a second.
fn coupled() -> Plan {
    let params = coupling::Params::new(1000, 300, 60, 0.01).unwrap();
    let shape = Shape { scales: params.scale_ticks(), ..Shape::new(300, 60, coupling::ORDER) };
    plan(Method::Coupling(params), shape)
}

fn plan(method: Method, shape: Shape) -> Plan {
    Plan {
        method,
        window: window::Params::new(shape).unwrap(),
        hysteresis: Hysteresis::new(1, 1).unwrap(),
        aligned: false,
        workers: 1,
        simd: Simd::detect(),
        watch: None,
        decisions: Default::default(),
        listens: false,
        resume: None,
    }
}

/// `n` ticks of a VM from `first` on: a and b rise and fall together, the others have their own rhythm.
fn run(vm: &str, first: Tick, n: i64) -> Samples {
    let period = if vm < "c" { 7 } else { 3 + vm.len() as i64 };
    let use_ppm = |t: i64| 100_000 + 50_000 * (t.rem_euclid(period)) as u32;
    let cpu_ppm = (first..first + n).map(use_ppm).collect();
    Samples { vm: VmId::new(vm), host: HostId::new("h"), first, grain: 1, cpu_ppm }
}

/// Feeds one batch after the other, each with the watermark behind it.
fn flow(plan: &Plan, batches: Vec<(Vec<Samples>, Tick)>) -> (Vec<Window>, Vec<DeadLetter>) {
    flow_with(plan, batches, vec![])
}

/// The same, with what is decided: with which batch.
fn flow_with(
    plan: &Plan,
    batches: Vec<(Vec<Samples>, Tick)>,
    decided: Vec<(usize, Entry)>,
) -> (Vec<Window>, Vec<DeadLetter>) {
    let mut batches = batches.into_iter().enumerate();
    let feed: Feed = Box::new(move |batch: &mut Batch| {
        let Some((i, (samples, watermark))) = batches.next() else { return Ok(Progress::End) };
        let now = decided.iter().filter(|(at, _)| *at == i);
        let bytes = |entry: &Entry| (entry.about.key().into_bytes(), entry.value().unwrap_or_default());
        batch.decided.extend(now.map(|(_, entry)| bytes(entry)));
        batch.samples.extend(samples);
        batch.watermark = Some(watermark);
        Ok(Progress::More)
    });
    let (mut windows, mut refused) = (vec![], vec![]);
    let take = |message| -> Result<(), RunError> {
        match message {
            Message::Window(mut window) => {
                refused.append(&mut window.summary.refused);
                windows.push(window);
            }
            Message::Refused(mut dead) => refused.append(&mut dead),
            _ => (),
        }
        Ok(())
    };
    pipeline::run(plan, feed, take).unwrap();
    (windows, refused)
}

/// What `plan` makes of `batches`, which must be the same with any number of workers.
fn run_all(plan: &Plan, batches: Vec<(Vec<Samples>, Tick)>) -> (Vec<Window>, Vec<DeadLetter>) {
    let one = flow(plan, batches.clone());
    for workers in [2, 3, 4] {
        let plan = Plan { workers, ..plan.clone() };
        assert_eq!(one, flow(&plan, batches.clone()), "{workers} workers");
    }
    one
}

fn check(batches: Vec<(Vec<Samples>, Tick)>) -> (Vec<Window>, Vec<DeadLetter>) {
    run_all(&kmeans(), batches)
}

#[test]
fn only_whole_windows_count() {
    let (windows, refused) = check(vec![(vec![run("a", 1000, 50), run("b", 1000, 50)], 1050)]);
    assert!(windows.is_empty() && refused.is_empty(), "50 of 60 ticks: more than a tenth is missing");
    let (windows, _) = check(vec![(vec![run("a", 1000, 54), run("b", 1000, 54)], 1054)]);
    assert_eq!(windows.iter().map(|w| w.end).collect::<Vec<_>>(), [60], "54 of 60 are enough at the end");
}

#[test]
fn doubled_and_late_samples_are_refused_and_change_nothing() {
    let all = |first, n| vec![run("a", first, n), run("b", first, n), run("ccc", first, n)];
    let (good, _) = check(vec![(all(1000, 40), 1040), (all(1040, 40), 1080)]);
    // One doubled in the first pane, long before a window is whole; one of a pane that is closed.
    let doubled = [all(1000, 40), vec![run("a", 1003, 2)]].concat();
    let late = [vec![run("b", 1010, 15)], all(1040, 40)].concat();
    let (windows, refused) = check(vec![(doubled, 1040), (late, 1080)]);
    assert_eq!(windows, good);
    let reasons: Vec<_> = refused.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::Duplicate, Reason::Late]);
    assert!(refused[1].origin.contains("VM b"), "{:?}", refused[1]);
}

#[test]
fn who_comes_and_goes_is_said_once() {
    let both = |first| vec![run("a", first, 20), run("b", first, 20)];
    let mut batches: Vec<_> = (0..12).map(|pane| (both(pane * 20), pane * 20 + 20)).collect();
    // `dddd` is there for the panes 1 to 5; its last sample leaves the window with pane 8.
    (1..6).for_each(|pane| batches[pane as usize].0.push(run("dddd", pane * 20, 20)));
    let (windows, _) = check(batches);
    let said = said(&windows, |fact| match fact {
        Fact::Alive(vm) => Some(vm.to_string()),
        _ => None,
    });
    assert_eq!(said, ["+a at 60", "+b at 60", "+dddd at 60", "-dddd at 180"]);
    let pair = (Fact::Pair(VmId::new("a"), VmId::new("b"), None), 1);
    assert!(windows[0].changes.contains(&pair), "{:?}", windows[0].changes);
}

/// What began (+) and ended (-), of the facts that `name` names, and when.
fn said(windows: &[Window], name: impl Fn(&Fact) -> Option<String>) -> Vec<String> {
    let changes = windows.iter().flat_map(|window| window.changes.iter().map(|change| (window.end, change)));
    let say = |(end, (fact, diff)): (Tick, &(Fact, isize))| {
        Some(format!("{}{} at {end}", if *diff > 0 { '+' } else { '-' }, name(fact)?))
    };
    changes.filter_map(say).collect()
}

/// Noise, 0 to 1: the same for the same series and tick (splitmix64).
fn noise(series: u64, t: Tick) -> f64 {
    let mut x = (series << 40).wrapping_add(t as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as f64 / u64::MAX as f64
}

/// So many that every worker is asked which centre is nearest, and so different that nothing is clear.
#[test]
fn many_vms_are_clustered_by_all_workers_as_by_one() {
    let cluster = cluster::Params::new(Clusters::Fixed(430), None, 1).unwrap();
    let method = Method::Kmeans { order: Order::Fixed(40), fit: Fit::YuleWalker, cluster };
    let random = |vm: u64, first: Tick| {
        let cpu_ppm = (first..first + 20).map(|t| (1e6 * noise(vm, t)) as u32).collect();
        Samples { vm: VmId::new(&vm.to_string()), host: HostId::new("h"), first, grain: 1, cpu_ppm }
    };
    let pane = |first: Tick| ((0..1_000).map(|vm| random(vm, first)).collect(), first + 20);
    let (windows, _) = run_all(&plan(method, Shape::new(60, 20, 40)), (0..5).map(|i| pane(20 * i)).collect());
    let clusters = windows.iter().map(|window| window.summary.clusters.as_ref().unwrap().k);
    assert_eq!(clusters.collect::<Vec<_>>(), [430; 3]);
}

/// A park of applications `a` and `b`, of three VMs each, that share the database `hub`; of a VM `idle`, and of
/// 20 VMs of which each works for itself.
fn park(first: Tick, n: i64) -> Vec<Samples> {
    let (a, b) = (1, 2);
    let mut vms = vec![("hub".to_string(), vec![a, b], 10), ("idle".to_string(), vec![], 0)];
    vms.extend((0..3).map(|i| (format!("a{i}"), vec![a], 11 + i)));
    vms.extend((0..3).map(|i| (format!("b{i}"), vec![b], 21 + i)));
    vms.extend((0..20).map(|i| (format!("loner{i:02}"), vec![100 + i], 200 + i)));
    vms.into_iter().map(|(vm, shared, own)| works(&vm, &shared, own, first..first + n)).collect()
}

/// A VM that does what the series `shared` ask for, and a little of its own; nothing at all if `own` is 0.
fn works(vm: &str, shared: &[u64], own: u64, ticks: std::ops::Range<Tick>) -> Samples {
    let use_ppm = |t: Tick| {
        let work: f64 = shared.iter().map(|series| noise(*series, t)).sum();
        if own == 0 { 0 } else { (50_000.0 + 200_000.0 * work + 40_000.0 * noise(own, t)) as u32 }
    };
    let (vm, host, first) = (VmId::new(vm), HostId::new("h"), ticks.start);
    Samples { vm, host, first, grain: 1, cpu_ppm: ticks.map(use_ppm).collect() }
}

#[test]
fn vms_that_share_innovations_are_found_and_a_hub_is_in_both_ensembles() {
    let panes = (0..7).map(|pane| (park(pane * 60, 60), pane * 60 + 60)).collect();
    let (windows, _) = run_all(&coupled(), panes);
    assert_eq!(windows.len(), 3);
    let mut state = State::default();
    for window in &windows {
        state.apply(&window.changes);
        assert_eq!((window.summary.judged, window.summary.idle), (27, 1));
        let ensembles: Vec<Vec<String>> = state
            .ensembles()
            .into_values()
            .map(|members| members.into_iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(ensembles, [["a0", "a1", "a2", "hub"], ["b0", "b1", "b2", "hub"]], "at {}", window.end);
    }
    let Membership::Many(of) = state.assignment(&VmId::new("hub")).ensemble else { panic!("a hub") };
    assert_eq!(of, ["e1", "e2"]);
    assert_eq!(state.assignment(&VmId::new("loner07")).ensemble, Membership::None);
    for pair in state.dependencies() {
        let (q, confidence) = (pair.q.unwrap(), pair.confidence.unwrap());
        assert!(q < 0.01 && confidence > 0.9 && pair.strength.unwrap() > 0.3, "{pair:?}");
        assert_eq!((pair.lag_ms, pair.windows), (Some(0), 3), "{pair:?}");
    }
}

#[test]
fn who_comes_goes_and_rests_is_said_of_coupled_vms_too() {
    let mut panes: Vec<_> = (0..14).map(|pane| (park(pane * 60, 60), pane * 60 + 60)).collect();
    // `a9` works with the others of `a` in the panes 1 to 6, so its window is whole after the panes 5 and 6, and has
    // nothing of it any more after pane 11. `b9` is there all the time, but rests from pane 4 on: nothing but rest is
    // in the window after pane 8. When before that it leaves its ensemble is for the engine to say.
    for pane in 0..14 {
        let ticks = pane * 60..pane * 60 + 60;
        let here = &mut panes[pane as usize].0;
        here.extend((1..7).contains(&pane).then(|| works("a9", &[1], 31, ticks.clone())));
        here.push(works("b9", &[2], if pane < 4 { 32 } else { 0 }, ticks));
    }
    let (windows, refused) = run_all(&coupled(), panes);
    assert!(refused.is_empty());
    let of = |vm: &VmId| ["a9", "b9"].contains(&vm.as_str()).then(|| vm.to_string());
    let said = said(&windows, |fact| match fact {
        Fact::Alive(vm) => of(vm),
        Fact::Idle(vm) => Some(format!("idle {}", of(vm)?)),
        Fact::Member(vm, ensemble) => Some(format!("{} in {ensemble}", of(vm).filter(|vm| vm == "a9")?)),
        Fact::Pair(..) | Fact::Confirmed(..) | Fact::Ignored(_) => None,
    });
    assert_eq!(
        said,
        ["+a9 at 300", "+b9 at 300", "+a9 in e1 at 360", "-a9 in e1 at 480", "+idle b9 at 540", "-a9 at 720"]
    );
    let mut state = State::default();
    let mut b9 = vec![];
    for window in &windows {
        state.apply(&window.changes);
        b9.push(state.assignment(&VmId::new("b9")).ensemble);
    }
    assert_eq!((&b9[0], &b9[4]), (&Membership::One("e2".into()), &Membership::None));
}

#[test]
fn what_is_decided_meanwhile_counts_with_the_window_that_is_open() {
    let panes: Vec<_> = (0..9).map(|pane| (park(pane * 60, 60), pane * 60 + 60)).collect();
    let made = |what| Entry::made(Decision::new(what, "w", None, 0).unwrap());
    let [a, b, hub] = ["loner00", "loner01", "hub"].map(VmId::new);
    let ignored = made(What::Ignored { vm: hub });
    let decided = vec![
        (1, made(What::Confirmed { a, b })),
        (5, ignored.clone()),
        (7, Entry::undone(ignored.about)),
        (7, made(What::Named { ensemble: "e1".into(), name: "shop".into() })),
    ];
    let plan = Plan { listens: true, ..coupled() };
    let (windows, refused) = flow_with(&plan, panes.clone(), decided.clone());
    for workers in [2, 3, 4] {
        let plan = Plan { workers, ..plan.clone() };
        assert!(
            (windows.clone(), refused.clone()) == flow_with(&plan, panes.clone(), decided.clone()),
            "{workers} workers"
        );
    }
    let found = said(&windows, |fact| match fact {
        Fact::Ignored(vm) => Some(format!("ignored {vm}")),
        Fact::Confirmed(a, b, evidence) => Some(format!("confirmed {a} {b} {}", evidence.is_some())),
        Fact::Member(vm, ensemble) if vm.as_str() == "loner00" || ensemble.as_str() == "shop" => {
            Some(format!("{vm} in {ensemble}"))
        }
        _ => None,
    });
    let expected = [
        "+loner00 in loner00+loner01 at 300",
        "+confirmed loner00 loner01 false at 300",
        "+ignored hub at 360",
        "+a0 in shop at 480",
        "+a1 in shop at 480",
        "+a2 in shop at 480",
        "+hub in shop at 480",
        "-ignored hub at 480",
    ];
    assert_eq!(found, expected);
    // Who does not listen is as if nothing had been decided.
    assert!(flow(&coupled(), panes.clone()) == flow_with(&coupled(), panes.clone(), decided));
    assert!(flow(&plan, panes.clone()) == flow(&coupled(), panes), "listening alone changes nothing");
}
