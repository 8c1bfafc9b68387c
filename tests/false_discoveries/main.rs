//! Whether answers are calibrated: how many of the dependencies that the coupling engine reports are false, in parks
//! of real VMs that were put together so that the truth is known, and over simulated days.
//!
//! `cargo test` runs a short version; `tests/long/false-discoveries` the long one, which prints the measured rates.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod days;
mod park;
mod recorded;

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
    true_: Vec<f64>,
    by: std::collections::BTreeMap<(usize, i64), u64>,
    worst: Vec<(f64, String)>,
    threshold: f64,
}

impl Tally {
    fn add(&mut self, park: &[Member<'_>], found: &Found) {
        let (mut all, mut false_, mut neighbours, mut largest) = (0, 0, 0, 0.0f64);
        for (i, j, judged) in &found.pairs {
            let z = judged.z.abs();
            let truth = park[*i].truth(&park[*j]);
            if truth == Truth::Independent {
                largest = largest.max(z);
            }
            if truth == Truth::Dependent {
                self.true_.push(z);
            }
            if z < found.threshold {
                continue;
            }
            match truth {
                Truth::Dependent => {
                    all += 1;
                }
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
        let beyond = |z: f64| self.true_.iter().filter(|x| **x >= z).count();
        println!(
            "    true beyond the threshold {}, beyond the 99 % {}",
            beyond(self.threshold),
            beyond(at(0.99))
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

type Assemble = for<'a> fn(&'a Library, &mut ChaCha8Rng, usize) -> Vec<Member<'a>>;

/// Which share of the VMs is on hosts that sample more coarsely than the others, and how many ticks their samples are.
type Coarse = (f64, usize);

const NONE: Coarse = (0.0, 1);

fn tally(library: &Library, assemble: Assemble, vms: usize, parks: u64, coarse: Coarse) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..parks {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut park = assemble(library, &mut rng, vms);
        park::coarsen(&mut park, coarse, &library.params);
        let found = park::search(&park, &library.params);
        tally.add(&park, &found);
    }
    tally
}

/// At most this share of what is found is false, and of the parks without any dependency one has some.
const PROMISED: f64 = 0.01;

/// So many parks say whether it is kept.
const ENOUGH: u64 = 500;

/// Parks of one kind, and how many.
type Row = (Look, usize, u64);

fn check(rows: &[Row], assemble: Assemble, what: &str, promise: fn(&Tally) -> bool) {
    let Some(folder) = common::recordings() else { return };
    let mut broken = vec![];
    for &(look, vms, parks) in rows {
        let library = Library::new(&folder, look);
        let mut tally = tally(&library, assemble, vms, parks, NONE);
        let name = format!("{} x {} ms, {vms} VMs, {what}", look.length, look.period_ms);
        tally.say(&name);
        if !promise(&tally) {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "the promise is broken for {broken:?}");
}

/// The same with strangers, some of which are sampled more coarsely than the others.
fn check_mixed(look: Look, parks: u64, mixtures: &[Coarse]) {
    let Some(folder) = common::recordings() else { return };
    let library = Library::new(&folder, look);
    let mut broken = vec![];
    for &(share, grain) in mixtures {
        let mut tally = tally(&library, park::strangers, 35, parks, (share, grain));
        let (period_ms, percent) = (look.period_ms, 100.0 * share);
        let name = format!("{period_ms} ms, {percent} % of the VMs {} ms", look.period_ms * grain as u64);
        tally.say(&name);
        if !hardly_any(&tally) {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "the promise is broken for {broken:?}");
}

/// Not more parks than promised have a false dependency; of few parks one may, if that is within chance.
fn hardly_any(tally: &Tally) -> bool {
    let share = tally.with_false as f64 / tally.parks as f64;
    share <= PROMISED || tally.parks < ENOUGH && bounds(tally.with_false, tally.parks).0 <= PROMISED
}

/// The share of what is found that is false, in the mean over parks and over all that is found.
fn few(tally: &Tally) -> bool {
    tally.share / tally.parks as f64 <= PROMISED && tally.false_ as f64 <= PROMISED * tally.found as f64
}

const SHORT: Look = Look { period_ms: 1000, length: 100, hop: 20 };
const USUAL: Look = Look { period_ms: 1000, length: 300, hop: 60 };
const LONG: Look = Look { period_ms: 1000, length: 1000, hop: 50 };
const FINE: Look = Look { period_ms: 100, length: 3000, hop: 600 };

#[test]
fn nothing_is_found_where_nothing_is() {
    let rows = [(SHORT, 35, 200), (USUAL, 35, 100), (LONG, 35, 50)];
    check(&rows, park::strangers, "strangers", hardly_any);
}

#[test]
fn nothing_is_found_where_hosts_sample_differently() {
    check_mixed(USUAL, 100, &[(0.1, 5), (0.5, 5), (0.9, 5)]);
}

#[test]
fn little_of_what_is_found_is_false() {
    check(&[(SHORT, 35, 100), (USUAL, 35, 50), (LONG, 35, 25)], park::ensembles, "ensembles", few);
}

#[test]
fn false_onsets_are_rare() {
    let onsets = days::run(days::Days { vms: 35, hours: 3, seed: 1 });
    println!("{onsets:?}");
    assert!(onsets.all > 0 && onsets.false_ == 0, "{onsets:?}");
}

#[test]
#[ignore = "minutes; tests/long/false-discoveries runs it"]
fn long_nothing_is_found_where_nothing_is() {
    let small = [SHORT, USUAL, LONG, FINE].map(|look| (look, 35, 1000));
    let large = [(SHORT, 2000, 500), (USUAL, 2000, 500), (LONG, 2000, 100), (FINE, 2000, 20)];
    check(&[small, large].concat(), park::strangers, "strangers", hardly_any);
}

#[test]
#[ignore = "minutes; tests/long/false-discoveries runs it"]
fn long_nothing_is_found_where_hosts_sample_differently() {
    let shares = [0.1, 0.5, 0.9];
    let mixtures = [10, 50].iter().flat_map(|grain| shares.map(|share| (share, *grain)));
    check_mixed(FINE, 1000, &[(0.0, 1)].into_iter().chain(mixtures).collect::<Vec<Coarse>>());
}

#[test]
#[ignore = "minutes; tests/long/false-discoveries runs it"]
fn long_little_of_what_is_found_is_false() {
    let small = [SHORT, USUAL, LONG, FINE].map(|look| (look, 35, 1000));
    let large = [(SHORT, 2000, 500), (USUAL, 2000, 500), (LONG, 2000, 100), (FINE, 2000, 20)];
    check(&[small, large].concat(), park::ensembles, "ensembles", few);
}

/// False onsets that are promised, per 1,000 VMs and day.
const ONSETS: f64 = 25.0;

#[test]
#[ignore = "minutes; tests/long/false-discoveries runs it"]
fn long_false_onsets_are_rare() {
    let mut all = days::Onsets::default();
    let parks = (1..=10).map(|seed| (35, seed)).chain([(200, 11), (200, 12)]);
    for (vms, seed) in parks {
        let onsets = days::run(days::Days { vms, hours: 24, seed });
        println!("{vms} VMs, seed {seed}: {onsets:?}");
        all.add(onsets);
    }
    println!(
        "{} onsets, {} false: {:.1} per 1,000 VMs and day; {:.3} % of what is held is false",
        all.all,
        all.false_,
        all.rate(),
        100.0 * all.held_false as f64 / all.held.max(1) as f64
    );
    assert!(all.rate() <= ONSETS, "{} per 1,000 VMs and day", all.rate());
}
