//! Simulated days through the whole pipeline: VMs stop, return and migrate, and now and then two VMs exchange
//! their work, so that ensembles change.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use lwt::coupling;
use lwt::dependencies::{Fact, Hysteresis};
use lwt::pipeline::{self, Feed, Message, Method, Plan, RunError, Window};
use lwt::simd::Simd;
use lwt::simulate::{Params, Reading, Simulator};
use lwt::transport::file::{Batch, Progress};
use lwt::types::VmId;
use lwt::window::{self, Shape};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Which days.
#[derive(Clone, Copy, Debug)]
pub struct Days {
    pub vms: usize,
    pub hours: u64,
    pub seed: u64,
}

/// What was published in them.
#[derive(Default, Debug)]
pub struct Onsets {
    /// Dependencies that appeared.
    pub all: u64,
    /// Of VMs that never shared an ensemble within the last hour.
    pub false_: u64,
    /// Windows times dependencies held, and how many of these were false.
    pub held: u64,
    pub held_false: u64,
    /// Of how many VMs for how many days.
    pub vm_days: f64,
    pub named: Vec<String>,
}

impl Onsets {
    /// False onsets per 1,000 VMs and day.
    pub fn rate(&self) -> f64 {
        self.false_ as f64 / self.vm_days * 1000.0
    }

    pub fn add(&mut self, other: Onsets) {
        self.all += other.all;
        self.false_ += other.false_;
        self.held += other.held;
        self.held_false += other.held_false;
        self.vm_days += other.vm_days;
        self.named.extend(other.named);
    }
}

const START_MS: i64 = 1_700_000_000_000;

/// Every so many seconds two VMs exchange their work; 35 VMs do so four times a day.
const EXCHANGES_VM_S: u64 = 35 * 86_400 / 4;

/// What two VMs had to do with each other so long ago, in seconds, is no false dependency: evidence has a half-life
/// of 30 minutes.
const REMEMBERED_S: i64 = 3600;

/// Which exchanges there were: at which tick, and which VMs.
type Exchanges = Arc<Mutex<Vec<(i64, usize, usize)>>>;

/// Runs the days, with the defaults of `lwt run` at samples of 1 s.
pub fn run(days: Days) -> Onsets {
    let simulator = Simulator::new(Params {
        vms: days.vms,
        seed: days.seed,
        period_ms: 1000,
        start_ms: START_MS,
        churn_per_hour: 0.2,
    })
    .unwrap();
    let names: Vec<VmId> = simulator.truth().iter().map(|row| row.vm.clone()).collect();
    let works: Vec<String> = simulator.truth().iter().map(|row| row.ensemble.clone()).collect();
    let exchanges = Exchanges::default();
    let feed = feed(simulator, days, exchanges.clone());
    let mut count = Count { names, works, exchanges, ..Count::default() };
    pipeline::run(&plan(), feed, |message| -> Result<(), RunError> {
        match message {
            Message::Origin(origin) => count.origin = origin,
            Message::Window(window) => count.window(&window),
            _ => (),
        }
        Ok(())
    })
    .unwrap();
    count.onsets.vm_days = days.vms as f64 * days.hours as f64 / 24.0;
    count.onsets
}

fn plan() -> Plan {
    let (length, hop) = (300, 60);
    let params = coupling::Params::new(1000, length, hop, 0.01).unwrap();
    let shape = Shape { scales: params.scale_ticks(), ..Shape::new(length, hop, coupling::ORDER) };
    Plan {
        method: Method::Coupling(params),
        window: window::Params::new(shape).unwrap(),
        hysteresis: Hysteresis::new(2, 3).unwrap(),
        aligned: false,
        workers: 1,
        simd: Simd::detect(),
        watch: None,
        decisions: Default::default(),
        listens: false,
        resume: None,
    }
}

/// The simulator's readings, each under the name of the VM that does that work now.
fn feed(mut simulator: Simulator, days: Days, exchanges: Exchanges) -> Feed {
    let (mut readings, mut left): (Vec<Reading>, u64) = (vec![], days.hours * 3600);
    let mut named: Vec<usize> = (0..days.vms).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(days.seed);
    let every = (EXCHANGES_VM_S / days.vms as u64).max(1);
    Box::new(move |batch: &mut Batch| {
        if left == 0 {
            return Ok(Progress::End);
        }
        left -= 1;
        let end_ms = simulator.tick(&mut readings);
        if left % every == 0 {
            let (a, b) = (rng.random_range(0..days.vms), rng.random_range(0..days.vms));
            named.swap(a, b);
            exchanges.lock().unwrap().push((end_ms / 1000 - 1, a, b));
        }
        let renamed = |reading: &Reading| Reading { vm: named[reading.vm as usize] as u32, ..*reading };
        batch.samples.extend(readings.iter().map(|reading| simulator.sample(renamed(reading), end_ms)));
        batch.watermark = Some(end_ms / 1000);
        Ok(Progress::More)
    })
}

/// Counts, window by window.
#[derive(Default)]
struct Count {
    names: Vec<VmId>,
    /// The ensemble of each work, in the simulator's order.
    works: Vec<String>,
    exchanges: Exchanges,
    origin: i64,
    /// Which VM does each work, from which tick on; the last few.
    named: VecDeque<(i64, Vec<usize>)>,
    taken: usize,
    held: BTreeSet<(VmId, VmId)>,
    onsets: Onsets,
}

impl Count {
    fn window(&mut self, window: &Window) {
        let end = self.origin + window.end;
        self.remember(end);
        let mut ended = BTreeSet::new();
        for (fact, diff) in &window.changes {
            if let (Fact::Pair(a, b, _), -1) = (fact, diff) {
                self.held.remove(&(a.clone(), b.clone()));
                ended.insert((a, b));
            }
        }
        for (fact, diff) in &window.changes {
            let (Fact::Pair(a, b, evidence), 1) = (fact, diff) else { continue };
            self.held.insert((a.clone(), b.clone()));
            if ended.contains(&(a, b)) {
                continue;
            }
            self.onsets.all += 1;
            if !self.shared(a, b) {
                self.onsets.false_ += 1;
                self.onsets.named.push(format!("{a} {b} at {}: {evidence:?}", window.end));
            }
        }
        let false_ = self.held.iter().filter(|(a, b)| !self.shared(a, b)).count();
        self.onsets.held += self.held.len() as u64;
        self.onsets.held_false += false_ as u64;
    }

    /// Takes in the exchanges before `end`, and forgets who did what long ago.
    fn remember(&mut self, end: i64) {
        if self.named.is_empty() {
            self.named.push_back((0, (0..self.names.len()).collect()));
        }
        let exchanges = self.exchanges.lock().unwrap();
        while let Some((tick, a, b)) = exchanges.get(self.taken).filter(|(tick, ..)| *tick < end) {
            let mut named = self.named.back().unwrap().1.clone();
            named.swap(*a, *b);
            self.named.push_back((*tick, named));
            self.taken += 1;
        }
        while self.named.get(1).is_some_and(|(tick, _)| *tick < end - REMEMBERED_S) {
            self.named.pop_front();
        }
    }

    fn shared(&self, a: &VmId, b: &VmId) -> bool {
        self.named.iter().any(|(_, named)| {
            let work = |vm: &VmId| named.iter().position(|of| self.names[*of] == *vm);
            let ensemble = |vm: &VmId| work(vm).map(|work| &self.works[work]);
            ensemble(a) == ensemble(b)
        })
    }
}
