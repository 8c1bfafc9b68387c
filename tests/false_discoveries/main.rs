//! Whether answers are calibrated: how many of the dependencies that the coupling engine reports are false, in parks
//! of real VMs that were put together so that the truth is known, and over simulated days.
//!
//! `cargo test` runs a short version; `tests/long/false-discoveries` the long one, which prints the measured rates.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod park;
mod recorded;

use lwt::coupling::Params;
use park::{Found, Member, Truth};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use recorded::{Library, Look};
use statrs::distribution::{Beta, ContinuousCDF};

/// What was counted over some parks.
#[derive(Default)]
struct Tally {
    parks: u64,
    /// Parks in which any false dependency was found.
    with_false: u64,
    found: u64,
    false_: u64,
    /// Found between different ensembles that were recorded at the same time.
    neighbours: u64,
    /// The sum of each park's share of what is false.
    share: f64,
    /// The largest |z| of an independent pair, beside the threshold, for each park.
    largest: Vec<f64>,
    /// By which comparison false ones were found.
    by: std::collections::BTreeMap<(usize, i64), u64>,
    worst: Vec<(f64, String)>,
    threshold: f64,
}

impl Tally {
    fn add(&mut self, park: &[Member<'_>], found: &Found, params: &Params) {
        let (mut all, mut false_, mut neighbours, mut largest) = (0, 0, 0, 0.0f64);
        for (i, j, judged) in &found.pairs {
            let z = judged.z.abs();
            let truth = park[*i].truth(&park[*j], params);
            if truth == Truth::Independent {
                largest = largest.max(z);
            }
            if z < found.threshold {
                continue;
            }
            match truth {
                Truth::Dependent => all += 1,
                Truth::Neighbours => neighbours += 1,
                Truth::Unclear => (),
                Truth::Independent => {
                    all += 1;
                    false_ += 1;
                    *self.by.entry((judged.by, judged.lag_ms)).or_default() += 1;
                    let names = format!("{} {}", park[*i].row.vm, park[*j].row.vm);
                    self.worst.push((judged.z, names));
                }
            }
        }
        self.parks += 1;
        self.with_false += u64::from(false_ > 0);
        self.found += all;
        self.false_ += false_;
        self.neighbours += neighbours;
        self.share += false_ as f64 / all.max(1) as f64;
        self.largest.push(largest);
        self.threshold = found.threshold;
    }

    fn say(&mut self, what: &str) {
        self.largest.sort_by(f64::total_cmp);
        let at = |share: f64| self.largest[((self.largest.len() - 1) as f64 * share).round() as usize];
        let (low, high) = bounds(self.with_false, self.parks);
        println!(
            "{what}: {} parks, {} with a false one: {:.2} % ({:.2} to {:.2}); {} of {} found are false, \
             {:.3} % (mean share {:.3} %), neighbours {}; threshold {:.2}, largest independent z: median {:.2}, \
             99 % {:.2}, most {:.2}",
            self.parks,
            self.with_false,
            100.0 * self.with_false as f64 / self.parks as f64,
            100.0 * low,
            100.0 * high,
            self.false_,
            self.found,
            100.0 * self.false_ as f64 / self.found.max(1) as f64,
            100.0 * self.share / self.parks as f64,
            self.neighbours,
            self.threshold,
            at(0.5),
            at(0.99),
            at(1.0)
        );
        if self.false_ > 0 {
            self.worst.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
            println!("    by {:?}", self.by);
            println!("    {:?}", &self.worst[..self.worst.len().min(8)]);
        }
    }
}

/// The interval that has a chance's true value with 95 %, after `hits` of `draws` (Clopper and Pearson 1934).
fn bounds(hits: u64, draws: u64) -> (f64, f64) {
    let quantile = |a: u64, b: u64, p: f64| Beta::new(a as f64, b as f64).unwrap().inverse_cdf(p);
    let low = if hits == 0 { 0.0 } else { quantile(hits, draws - hits + 1, 0.025) };
    let high = if hits == draws { 1.0 } else { quantile(hits + 1, draws - hits, 0.975) };
    (low, high)
}

const LOOKS: [(&str, Look); 4] = [
    ("100 x 1 s", Look { period_ms: 1000, length: 100, hop: 20 }),
    ("300 x 1 s", Look { period_ms: 1000, length: 300, hop: 60 }),
    ("1000 x 1 s", Look { period_ms: 1000, length: 1000, hop: 50 }),
    ("3000 x 100 ms", Look { period_ms: 100, length: 3000, hop: 600 }),
];

type Assemble = for<'a> fn(&'a Library, &mut ChaCha8Rng, usize) -> Vec<Member<'a>>;

fn tally(library: &Library, assemble: Assemble, vms: usize, parks: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..parks {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let park = assemble(library, &mut rng, vms);
        let found = park::search(&park, &library.params);
        tally.add(&park, &found, &library.params);
    }
    tally
}

#[test]
#[ignore = "long"]
fn explore() {
    let Some(folder) = common::recordings() else { return };
    let wanted = std::env::args().any(|arg| arg == "large");
    for (name, look) in LOOKS {
        let started = std::time::Instant::now();
        let library = Library::new(&folder, look);
        println!("{name}: {} windows, {:?}", library.windows.len(), started.elapsed());
        for (vms, parks) in if wanted { [(2000, 10), (2000, 10)] } else { [(35, 500), (200, 50)] } {
            for (what, assemble) in
                [("strangers", park::strangers as Assemble), ("ensembles", park::ensembles)]
            {
                let started = std::time::Instant::now();
                tally(&library, assemble, vms, parks).say(&format!("{name}, {vms} VMs, {what}"));
                println!("    {:?}", started.elapsed());
            }
        }
    }
}
