//! The dataflow by itself, fed by hand: what is late or doubled, who comes and goes, and when a window counts.
#![allow(clippy::unwrap_used, reason = "a test may")]

use lwt::cluster::{self, Clusters};
use lwt::dependencies::{Fact, Hysteresis};
use lwt::model::{Fit, Order};
use lwt::pipeline::{self, Feed, Message, Method, Plan, RunError, Window};
use lwt::simd::Simd;
use lwt::transport::file::{Batch, Progress};
use lwt::types::{DeadLetter, HostId, Reason, Samples, Tick, VmId};
use lwt::window::{self, Shape};

fn plan(workers: usize) -> Plan {
    Plan {
        method: Method::Kmeans {
            order: Order::Fixed(4),
            fit: Fit::YuleWalker,
            cluster: cluster::Params::new(Clusters::Fixed(2), None, 1).unwrap(),
        },
        window: window::Params::new(Shape::new(60, 20, 4)).unwrap(),
        hysteresis: Hysteresis::new(1, 1).unwrap(),
        aligned: false,
        workers,
        simd: Simd::detect(),
        watch: None,
    }
}

/// `n` ticks of a VM from `first` on: a and b rise and fall together, the others have their own rhythm.
fn run(vm: &str, first: Tick, n: i64) -> Samples {
    let period = if vm < "c" { 7 } else { 3 + vm.len() as i64 };
    let use_ppm = |t: i64| 100_000 + 50_000 * (t.rem_euclid(period)) as u32;
    let cpu_ppm = (first..first + n).map(use_ppm).collect();
    Samples { vm: VmId::new(vm), host: HostId::new("h"), first, cpu_ppm }
}

/// Feeds one batch after the other, each with the watermark behind it.
fn flow(batches: Vec<(Vec<Samples>, Tick)>, workers: usize) -> (Vec<Window>, Vec<DeadLetter>) {
    let mut batches = batches.into_iter();
    let feed: Feed = Box::new(move |batch: &mut Batch| {
        let Some((samples, watermark)) = batches.next() else { return Ok(Progress::End) };
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
    pipeline::run(&plan(workers), feed, take).unwrap();
    (windows, refused)
}

fn check(batches: Vec<(Vec<Samples>, Tick)>) -> (Vec<Window>, Vec<DeadLetter>) {
    let one = flow(batches.clone(), 1);
    for workers in [2, 3] {
        assert_eq!(one, flow(batches.clone(), workers), "{workers} workers");
    }
    one
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
    let mut said = vec![];
    for window in &windows {
        for (fact, diff) in &window.changes {
            if let Fact::Alive(vm) = fact {
                said.push(format!("{}{vm} at {}", if *diff > 0 { '+' } else { '-' }, window.end));
            }
        }
    }
    assert_eq!(said, ["+a at 60", "+b at 60", "+dddd at 60", "-dddd at 180"]);
    let pair = (Fact::Pair(VmId::new("a"), VmId::new("b"), None), 1);
    assert!(windows[0].changes.contains(&pair), "{:?}", windows[0].changes);
}
