//! Random faults: `FAULT_RUNS=200` asks for so many runs, `FAULT_SEED=17` for those from this one on. Each run says its seed
//! when it fails.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{Fault, OF_GROUPS, OF_TOOLSTACKS, Outcome, run};
use crate::machine::Kind;

/// Runs at a time: they mostly wait.
const AT_ONCE: usize = 8;

/// So often a run is tried in which nothing happens, because this machine is too busy.
const TIMES: usize = 3;

/// The kinds and faults of the runs, in turn: of seven runs, three on each version of the control groups, one on a toolstack.
fn plan(seed: u64) -> (Kind, Fault) {
    let (turn, n) = ((seed % 7) as usize, seed as usize);
    match turn {
        6 => (Kind::Xl, OF_TOOLSTACKS[n / 7 % OF_TOOLSTACKS.len()]),
        turn if turn % 2 == 0 => (Kind::V1, OF_GROUPS[(n / 7 * 3 + turn / 2) % OF_GROUPS.len()]),
        turn => (Kind::V2, OF_GROUPS[(n / 7 * 3 + turn / 2 + 8) % OF_GROUPS.len()]),
    }
}

#[test]
fn after_every_fault_every_cap_is_as_before() {
    let number = |name: &str, or: u64| {
        std::env::var_os(name).map_or(or, |text| text.to_str().unwrap().parse().unwrap())
    };
    let (runs, from) = (number("FAULT_RUNS", 21), number("FAULT_SEED", 0));
    let (next, done) =
        (AtomicU64::new(from), Mutex::new(BTreeMap::<String, (usize, usize, Duration)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(runs as usize) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + runs {
                        return;
                    }
                    let (kind, fault) = plan(seed);
                    // What was done in vain is done again: each time all must be as before.
                    let told =
                        |outcome: &Outcome| outcome.vain.iter().for_each(|why| eprintln!("in vain: {why}"));
                    let mut tries = (0..TIMES).map_while(|_| run(kind, fault, seed)).inspect(told).peekable();
                    if tries.peek().is_none() {
                        continue;
                    }
                    let Some(outcome) = tries.find(|outcome| outcome.vain.is_none()) else {
                        panic!("{kind:?} {fault:?} seed {seed}: {TIMES} times nothing was done");
                    };
                    let mut done = done.lock().unwrap();
                    let (times, caps, longest) = done.entry(format!("{fault:?}")).or_default();
                    (*times, *caps, *longest) =
                        (*times + 1, *caps + outcome.caps, outcome.longest.max(*longest));
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    for (fault, (times, caps, longest)) in &done {
        println!("{fault}: {times} runs, {caps} caps, the longest {longest:?}");
    }
    let (times, caps) = done.values().fold((0, 0), |(times, caps), one| (times + one.0, caps + one.1));
    println!("{times} runs, {caps} caps: all is as before");
}
