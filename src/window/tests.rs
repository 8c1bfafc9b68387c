//! The rules of the window, and the window against one made from nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::types::MAX_CPU_PPM;

const SIMD: Simd = Simd::Portable;

fn params(length: usize, hop: usize) -> Params {
    Params::new(Shape { max_missing: 0.25, ..Shape::new(length, hop, 3) }).unwrap()
}

fn host(name: &str) -> HostId {
    HostId::new(name)
}

/// Values that vary enough: 10,000 a step.
fn run(values: &[u32]) -> Vec<u32> {
    values.iter().map(|x| x * 10_000).collect()
}

/// Closes panes 0.. of windows of 8 ticks by 4 after pushing `pushes`; returns what each window is and holds.
fn windows(pushes: &[(i64, &[u32])], panes: i64) -> Vec<(Status, Vec<u32>)> {
    let (params, mut vm) = (params(8, 4), VmWindow::new(-1));
    for (first, values) in pushes {
        assert_eq!(vm.push(&params, &host("h"), *first, &run(values)), []);
    }
    let mut close = |pane| {
        let status = vm.close(&params, pane, SIMD);
        let samples = vm.view(0).map_or(vec![], |view| view.samples.iter().map(|x| x / 10_000).collect());
        (status, samples)
    };
    (0..panes).map(&mut close).collect()
}

#[test]
fn missing_ticks_appearing_pausing_and_vanishing() {
    use Status::{Gone, Idle, Partial, Whole};
    let partial = |missing_ticks| Partial { missing_ticks };
    type Row<'a> = (&'a str, &'a [(i64, &'a [u32])], Vec<(Status, Vec<u32>)>);
    let rows: [Row; 5] = [
        (
            "whole from the second pane on",
            &[(0, &[1, 2, 3, 4, 5, 6, 7, 8])],
            vec![(partial(4), vec![1, 1, 1, 1, 1, 2, 3, 4]), (Whole, vec![1, 2, 3, 4, 5, 6, 7, 8])],
        ),
        (
            "a quarter may be missing",
            &[(2, &[3, 4, 5, 6, 7, 8])],
            vec![(partial(6), vec![3, 3, 3, 3, 3, 3, 3, 4]), (Whole, vec![3, 3, 3, 4, 5, 6, 7, 8])],
        ),
        (
            "a pause",
            &[(0, &[1, 2]), (5, &[9, 8, 7])],
            vec![(partial(6), vec![1, 1, 1, 1, 1, 2, 2, 2]), (partial(3), vec![1, 2, 2, 2, 2, 9, 8, 7])],
        ),
        (
            "vanishing, and back as new",
            &[(0, &[1, 2, 3, 4]), (13, &[5])],
            vec![
                (partial(4), vec![1, 1, 1, 1, 1, 2, 3, 4]),
                (partial(4), vec![1, 2, 3, 4, 4, 4, 4, 4]),
                (Gone, vec![]),
                (partial(7), vec![5; 8]),
            ],
        ),
        (
            "idle, though hardly seen or known",
            &[(4, &[1, 1, 1, 1, 1, 1])],
            vec![(Gone, vec![]), (partial(4), vec![1; 8]), (Idle, vec![1; 8])],
        ),
    ];
    for (what, pushes, expected) in rows {
        assert_eq!(windows(pushes, expected.len() as i64), expected, "{what}");
    }
}

#[test]
fn idle_is_what_flips_between_two_steps_of_xentop() {
    for (step, status) in [(0, Status::Idle), (1_000, Status::Idle), (1_002, Status::Whole)] {
        let (params, mut vm) = (params(8, 4), VmWindow::new(-1));
        vm.push(&params, &host("h"), 0, &[0, step, 0, step, 0, step, 0, step]);
        assert_eq!(vm.close(&params, 1, SIMD), status, "{step}");
    }
}

#[test]
fn refused_samples_say_which_and_why() {
    let (params, mut vm) = (params(8, 4), VmWindow::new(0));
    let refused = |reason, range| Refused { reason, range };
    let push = |vm: &mut VmWindow, first, n| vm.push(&params, &host("h"), first, &vec![7; n]);
    assert_eq!(push(&mut vm, 2, 4), [refused(Reason::Late, 0..2)]);
    assert_eq!(push(&mut vm, 3, 7), [refused(Reason::Late, 0..1), refused(Reason::Duplicate, 1..3)]);
    assert_eq!(push(&mut vm, -9, 13), [refused(Reason::Late, 0..13)]);
    assert_eq!(push(&mut vm, 7, 5), [refused(Reason::Duplicate, 0..3)]);
    let wrong = vm.push(&params, &host("h"), 12, &[1, u32::MAX, MAX_CPU_PPM + 1, 1]);
    assert_eq!(wrong, [refused(Reason::Implausible, 1..3)]);
    assert_eq!(vm.close(&params, 1, SIMD), Status::Partial { missing_ticks: 4 });
    assert_eq!(vm.push(&params, &host("h"), 7, &[7]), [refused(Reason::Late, 0..1)]);
    assert_eq!(vm.close(&params, 2, SIMD), Status::Idle);
    assert_eq!(vm.close(&params, 3, SIMD), vm.close(&params, 3, SIMD));
}

#[test]
fn a_migrating_vm_is_the_sum_of_its_hosts() {
    let (params, mut vm) = (params(8, 4), VmWindow::new(-1));
    for (name, first, values) in [("b", 0, &[1, 2, 3, 4, 5][..]), ("a", 4, &[10, 20, 30, 40])] {
        assert_eq!(vm.push(&params, &host(name), first, &run(values)), []);
    }
    vm.close(&params, 0, SIMD);
    assert_eq!(vm.host(), Some(&host("b")));
    vm.close(&params, 1, SIMD);
    assert_eq!(vm.host(), Some(&host("a")));
    assert_eq!(vm.view(0).unwrap().samples, run(&[1, 2, 3, 4, 15, 20, 30, 40]));
}

/// Windows of 12 ticks by 6, with scales of 1, 2, 3 and 6 of them.
fn scaled() -> Params {
    Params::new(Shape { scales: vec![1, 2, 3, 6], ..Shape::new(12, 6, 3) }).unwrap()
}

#[test]
fn coarse_samples_are_equal_ticks_and_must_fit() {
    let (params, mut vm) = (scaled(), VmWindow::new(0));
    let run = |first, grain, cpu_ppm| Run { first, grain, cpu_ppm };
    let refused = |reason, range| vec![Refused { reason, range }];
    for (run, expected) in [
        (run(6, 4, &[1, 2][..]), refused(Reason::TooCoarse, 0..2)),
        (run(6, 0, &[1]), refused(Reason::TooCoarse, 0..1)),
        (run(7, 3, &[1, 2]), refused(Reason::Unaligned, 0..2)),
        (run(0, 3, &[9, 9, 10_000, 20_000, 30_000]), refused(Reason::Late, 0..2)),
        (run(12, 3, &[1, 40_000]), refused(Reason::Duplicate, 0..1)),
    ] {
        assert_eq!(vm.push_run(&params, &host("h"), run), expected);
    }
    vm.close(&params, 1, SIMD);
    assert_eq!(vm.close(&params, 2, SIMD), Status::Whole);
    let views: Vec<Vec<u32>> = (0..4).map(|scale| vm.view(scale).unwrap().samples.to_vec()).collect();
    assert_eq!(views[0], [[10_000; 3], [20_000; 3], [30_000; 3], [40_000; 3]].concat());
    assert_eq!(views[2], [10_000, 20_000, 30_000, 40_000]);
    assert_eq!(views[3], [15_000, 35_000]);
    assert_eq!(vm.grain(), 3);
}

#[test]
fn a_window_is_coarse_while_it_has_a_coarse_sample() {
    let (params, mut vm) = (scaled(), VmWindow::new(-1));
    let mut push = |pane: i64, name, grain| {
        let cpu_ppm: Vec<u32> = (0..6 / grain).map(|i| i as u32 * 9_000).collect();
        let run = Run { first: 6 * pane, grain, cpu_ppm: &cpu_ppm };
        assert_eq!(vm.push_run(&params, &host(name), run), []);
        vm.close(&params, pane, SIMD);
        vm.grain()
    };
    // From a host that samples every tick to one that does every two, to one that does every three, and back.
    let hosts = [("a", 1), ("a", 1), ("b", 2), ("c", 3), ("c", 3), ("a", 1), ("a", 1)];
    let grains: Vec<usize> = (0..).zip(hosts).map(|(pane, (name, grain))| push(pane, name, grain)).collect();
    assert_eq!(grains, [1, 1, 2, 6, 3, 3, 1]);
}

#[test]
fn what_was_refused_makes_no_window_coarse() {
    let (params, mut vm) = (scaled(), VmWindow::new(-1));
    vm.push(&params, &host("h"), 0, &[1, 2, 3, 4, 5, 6]);
    vm.push_run(&params, &host("h"), Run { first: 0, grain: 3, cpu_ppm: &[1, 2] });
    vm.close(&params, 0, SIMD);
    assert_eq!(vm.grain(), 1);
}

#[test]
fn gone_is_empty_only_without_open_panes() {
    let (params, mut vm) = (params(8, 4), VmWindow::new(i64::MIN));
    assert!(vm.is_empty());
    vm.push(&params, &host("h"), 0, &[1]);
    vm.push(&params, &host("h"), 4_000_000_000_000, &[1]);
    assert_eq!(vm.close(&params, 900_000_000_000, SIMD), Status::Gone);
    assert!(!vm.is_empty());
    assert_eq!(vm.close(&params, i64::MAX, SIMD), Status::Gone);
    assert!(vm.is_empty());
}

#[test]
fn the_ends_of_time_do_not_panic() {
    let (params, mut vm) = (params(8, 4), VmWindow::new(i64::MIN));
    for first in [i64::MIN, i64::MAX, i64::MAX - 2] {
        vm.push(&params, &host("h"), first, &[1; 9]);
    }
    vm.close(&params, i64::MAX, SIMD);
}

/// What the windows should be: a map from tick to value by host, filled and summed anew for each window.
fn oracle(params: &Params, seen: &BTreeMap<(Tick, &str), u32>, pane: i64) -> Vec<(Vec<u32>, u64, Vec<i128>)> {
    let at = |tick| {
        let on = seen.range((tick, "")..(tick + 1, ""));
        on.map(|(_, &x)| x).reduce(|a, b| (a + b).min(MAX_CPU_PPM))
    };
    let first = seen.keys().next().map(|(tick, _)| *tick).unwrap();
    let end = params.pane_start(pane + 1);
    let value = |tick: Tick| (first..=tick).rev().find_map(at).or(at(first)).unwrap();
    let ticks: Vec<u32> = (params.window_start(pane)..end).map(value).collect();
    let scaled = |&scale: &usize| {
        let bin =
            |x: &[u32]| (x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64 + 0.5).floor() as u32;
        let x: Vec<u32> = ticks.chunks(scale).map(bin).collect();
        let product = |k: usize, t: usize| i128::from(x[t]) * i128::from(x[t - k]);
        let sums = (0..=params.max_lag(scale)).map(|k| (k..x.len()).map(|t| product(k, t)).sum()).collect();
        (x.clone(), x.iter().map(|&x| u64::from(x)).sum(), sums)
    };
    params.scales().iter().map(scaled).collect()
}

fn shapes() -> impl Strategy<Value = Params> {
    (prop::sample::select(vec![1usize, 2, 3, 6, 12]), 1usize..5, 0usize..70, -20i64..20).prop_map(
        |(hop, panes, max_lag, origin)| {
            let scales = (1..=hop).filter(|s| hop % s == 0).collect();
            let length = (hop * panes).max(2).next_multiple_of(hop);
            Params::new(Shape { max_lag, origin, scales, ..Shape::new(length, hop, 0) }).unwrap()
        },
    )
}

fn runs() -> impl Strategy<Value = Vec<(bool, Tick, Vec<u32>)>> {
    let value = prop_oneof![0u32..100_000, Just(MAX_CPU_PPM)];
    prop::collection::vec((any::<bool>(), -30i64..60, prop::collection::vec(value, 1..30)), 1..12)
}

proptest! {
    #[test]
    fn sliding_is_starting_anew(params in shapes(), runs in runs(), level in 0usize..3) {
        let simd = Simd::available()[level.min(Simd::available().len() - 1)];
        let (mut vm, mut seen) = (VmWindow::new(-100), BTreeMap::new());
        let mut refused = 0;
        for (other, first, values) in &runs {
            let name = if *other { "b" } else { "a" };
            for (tick, &x) in (*first..).zip(values) {
                seen.entry((tick, name)).or_insert(x);
            }
            refused += vm.push(&params, &host(name), *first, values).iter().map(|r| r.range.len()).sum::<usize>();
        }
        let pushed: usize = runs.iter().map(|(_, _, values)| values.len()).sum();
        prop_assert_eq!(pushed - refused, seen.len());
        let mut since = None;
        for pane in -99..120 {
            let status = vm.close(&params, pane, simd);
            let window = params.window_start(pane)..params.pane_start(pane + 1);
            let ticks = seen.range((window.start, "")..(window.end, ""));
            let distinct = ticks.map(|((tick, _), _)| tick).collect::<std::collections::BTreeSet<_>>().len();
            prop_assert_eq!(status == Status::Gone, distinct == 0);
            if distinct == 0 {
                since = None;
                continue;
            }
            if let Status::Partial { missing_ticks } = status {
                prop_assert_eq!(missing_ticks, params.length() - distinct);
            }
            // What it knew before it was gone is forgotten.
            let since = *since.get_or_insert(params.pane_start(pane));
            let known = seen.range((since, "")..(window.end, "")).map(|(&k, &v)| (k, v)).collect();
            for (scale, (samples, total, lagged)) in oracle(&params, &known, pane).iter().enumerate() {
                prop_assert_eq!(vm.view(scale), Some(View { samples, total: *total, lagged }));
            }
        }
    }

    #[test]
    fn the_order_of_runs_does_not_matter(params in shapes(), values in prop::collection::vec(0u32..9, 60), cuts in prop::collection::vec(1usize..20, 10), seed in any::<u64>()) {
        let mut rest = &values[..];
        let mut runs = vec![];
        for &cut in &cuts {
            let (run, after) = rest.split_at(cut.min(rest.len()));
            runs.push(((values.len() - rest.len()) as i64, run));
            rest = after;
        }
        let close = |runs: &[(i64, &[u32])]| {
            let mut vm = VmWindow::new(-1000);
            for (first, run) in runs {
                vm.push(&params, &host("h"), *first, run);
            }
            (-10..70).map(|pane| (vm.close(&params, pane, SIMD), vm.view(0).map(|v| v.samples.to_vec()))).collect::<Vec<_>>()
        };
        let straight = close(&runs);
        runs.sort_by_key(|(first, _)| (*first as u64).wrapping_add(1).wrapping_mul(seed | 1));
        prop_assert_eq!(close(&runs), straight);
    }
}
