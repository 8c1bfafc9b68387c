//! How the dataflow grows: from samples in memory to ensembles, one window of 300 s at 1 s, for 1,000 to 100,000
//! simulated VMs, with one worker and with two; beside it how much two runs that have nothing to do with each other get done
//! in the time of one (what the machine gives), and what the products of all pairs at the same moment take alone, on one core. Each time is the median of some runs in turn; memory is the most that the process held
//! beyond the samples themselves.
//!
//!     cargo bench --bench scale                prints Markdown, up to 10,000 VMs
//!     cargo bench --bench scale -- 100000      minutes
//!     cargo bench --bench scale -- edges       from innovations to edges at the same moment, on one core and on two

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use lwt::coupling::product::{Beyond, COARSE, Pairs, Vectors, products};
use lwt::coupling::{ORDER, Params};
use lwt::dependencies::{Fact, Hysteresis};
use lwt::pipeline::{self, Feed, Message, Method, Plan, RunError};
use lwt::simd::Simd;
use lwt::simulate::{self, Reading, Simulator};
use lwt::transport::file::{Batch, Progress};
use lwt::types::Samples;
use lwt::window::{self, Shape};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const SECONDS: usize = 300;
const PERIOD_MS: u64 = 1000;

#[path = "scale/edges.rs"]
mod edges;

fn main() {
    // Cargo hands over `--bench` too.
    if std::env::args().any(|arg| arg == "edges") {
        return edges::print();
    }
    let most = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(10_000);
    println!(
        "| VMs | one worker | two workers | times as fast | two runs at once | products alone | memory a VM |"
    );
    println!("|---|---|---|---|---|---|---|");
    for vms in [1_000, 3_000, 10_000, 30_000, 100_000].into_iter().filter(|vms| *vms <= most) {
        let samples = simulated(vms);
        let (mut times, mut most_kb) = ([vec![], vec![], vec![]], [0, 0]);
        for _ in 0..if vms > 10_000 { 1 } else { 5 } {
            for (i, workers) in [1, 2].into_iter().enumerate() {
                let (time, kb) = measured(&samples, workers);
                times[i].push(time);
                most_kb[i] = kb;
            }
            times[2].push(at_once(&samples));
        }
        let [one, two, at_once] = times.map(|times| median(times).as_secs_f64());
        let alone = products_alone(vms);
        println!(
            "| {vms} | {one:.2} s | {two:.2} s | {:.2} | {:.2} | {:.2} s | {:.1} kB, {:.1} kB |",
            one / two,
            2.0 * one / at_once,
            alone.as_secs_f64(),
            most_kb[0] as f64 / vms as f64,
            most_kb[1] as f64 / vms as f64
        );
    }
}

/// How long two runs of one worker each take, each on a core of its own.
fn at_once(samples: &[Samples]) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| measured(samples, 1));
        measured(samples, 1);
        other.join().expect("a flow that runs");
    });
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Each VM's samples, in one piece.
fn simulated(vms: usize) -> Vec<Samples> {
    let params =
        simulate::Params { vms, seed: 1, period_ms: PERIOD_MS as u32, start_ms: 0, churn_per_hour: 0.0 };
    let mut simulator = Simulator::new(params).expect("a datacenter");
    let mut readings: Vec<Reading> = vec![];
    let mut all: Vec<Option<Samples>> = vec![None; vms];
    for _ in 0..SECONDS {
        let end_ms = simulator.tick(&mut readings);
        for reading in &readings {
            let of_vm = &mut all[reading.vm as usize];
            match of_vm {
                Some(samples) => samples.cpu_ppm.push(reading.cpu_ppm),
                None => *of_vm = Some(simulator.sample(*reading, end_ms)),
            }
        }
    }
    all.into_iter().flatten().collect()
}

fn plan(workers: usize) -> (Plan, Params) {
    let params = Params::new(PERIOD_MS, SECONDS, SECONDS, 0.01).expect("a window");
    let shape = Shape { scales: params.scale_ticks(), ..Shape::new(SECONDS, SECONDS, ORDER) };
    let plan = Plan {
        method: Method::Coupling(params.clone()),
        window: window::Params::new(shape).expect("a window"),
        hysteresis: Hysteresis::new(1, 1).expect("one of one"),
        aligned: false,
        workers,
        simd: Simd::detect(),
        watch: None,
        decisions: Default::default(),
        listens: false,
        resume: None,
    };
    (plan, params)
}

/// From samples to ensembles: how long, and how many kB more than before.
fn measured(samples: &[Samples], workers: usize) -> (Duration, u64) {
    let mut copy = samples.to_vec();
    let feed: Feed = Box::new(move |batch: &mut Batch| {
        // A few at a time, as a source gives them.
        let rest = copy.len().saturating_sub(1000);
        batch.samples = copy.split_off(rest);
        Ok(if copy.is_empty() { Progress::End } else { Progress::More })
    });
    // Linux counts the most anew.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before_kb = most_kb();
    let (start, mut dependencies) = (Instant::now(), 0);
    let outcome: Result<(), RunError> = pipeline::run(&plan(workers).0, feed, |message| {
        if let Message::Window(window) = message {
            dependencies += window.changes.iter().filter(|(fact, _)| matches!(fact, Fact::Pair(..))).count();
        }
        Ok(())
    });
    outcome.expect("a flow that runs");
    assert!(dependencies > 0, "nothing was found");
    (start.elapsed(), most_kb().saturating_sub(before_kb))
}

/// The most memory that this process held; 0 where there is no /proc.
fn most_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The products of all pairs of so many vectors, at the same moment.
fn products_alone(vms: usize) -> Duration {
    let len = plan(1).1.values();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || (rng.next_u32().to_le_bytes().map(i32::from).iter().sum::<i32>() - 510) * 32 / 148;
    let values: Vec<i8> = (0..vms * len).map(|_| draw().clamp(-127, 127) as i8).collect();
    let start = Instant::now();
    let vectors = Vectors::new(values.chunks_exact(len), len);
    let high = (4.5 * 32.0 * 32.0 / f64::from(COARSE.pow(2)) * (len as f64).sqrt()) as i32;
    let mut found = 0u64;
    let pair = (&vectors, &vectors);
    products(Simd::detect(), pair, Pairs::Upper, Beyond { low: -high, high }, |_, _, _| found += 1);
    black_box(found);
    start.elapsed()
}
