//! A batch cluster: a master and its workers. Jobs arrive, and go through map, shuffle and reduce; a phase
//! ends when the last straggler has done its share.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Clock;
use super::draw::{exponential, log_uniform, lognormal, normal, uniform};
use super::plan::Vm;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Waiting,
    Map,
    Shuffle,
    Reduce,
}

pub struct Batch {
    phase: Phase,
    /// Until the next job arrives, when waiting.
    left_s: f64,
    wait_s: f64,
    /// The CPU time of one core that a worker's share of a map phase takes, and how much shares differ.
    work_s: f64,
    straggling: f64,
    /// What each worker still has to do in this phase.
    shares_s: Vec<f64>,
}

impl Batch {
    /// A cluster on these VMs, the first of which is the master.
    pub fn draw(rng: &mut ChaCha8Rng, vms: &[Vm]) -> Self {
        let wait_s = uniform(rng, 10.0, 60.0);
        Batch {
            phase: Phase::Waiting,
            left_s: exponential(rng, wait_s),
            wait_s,
            work_s: log_uniform(rng, 5.0, 40.0),
            straggling: uniform(rng, 0.05, 0.3),
            shares_s: vec![0.0; vms.len() - 1],
        }
    }

    pub fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock, vms: &mut [Vm]) {
        let Some((master, workers)) = vms.split_first_mut() else { return };
        let begins = self.proceed(rng, clock);
        let cores_share = match self.phase {
            Phase::Waiting => 0.0,
            Phase::Map => 0.9,
            Phase::Shuffle => 0.25,
            Phase::Reduce => 0.7,
        };
        let mut working = 0.0;
        let worker_share = 1.0 / workers.len().max(1) as f64;
        for (vm, share_s) in workers.iter_mut().zip(&mut self.shares_s) {
            vm.used = 0.0;
            if *share_s > 0.0 && vm.alive {
                let speed = f64::from(vm.cores) * cores_share * (1.0 - 0.1 * normal(rng).abs()).max(0.1);
                vm.used = speed.min(*share_s / clock.dt_s);
                *share_s -= vm.used * clock.dt_s;
                working += worker_share;
            }
        }
        // Planning a phase costs the master some tenths of a second, looking after the workers a little.
        let planning = if begins { 0.3 / clock.dt_s } else { 0.0 };
        master.used = if master.alive { planning + 0.08 * working } else { 0.0 };
    }

    /// Goes to the next phase when this one is over; whether one begins.
    fn proceed(&mut self, rng: &mut ChaCha8Rng, clock: Clock) -> bool {
        self.left_s -= clock.dt_s;
        let over = if self.phase == Phase::Waiting {
            self.left_s <= 0.0
        } else {
            self.shares_s.iter().all(|s| *s <= 1e-9)
        };
        if !over {
            return false;
        }
        let (next, work) = match self.phase {
            Phase::Waiting => (Phase::Map, 1.0),
            Phase::Map => (Phase::Shuffle, 0.08),
            Phase::Shuffle => (Phase::Reduce, 0.4),
            Phase::Reduce => (Phase::Waiting, 0.0),
        };
        self.phase = next;
        self.left_s = exponential(rng, self.wait_s);
        let job = lognormal(rng, 0.3) * work * self.work_s;
        for share_s in &mut self.shares_s {
            let straggler = if rng.random::<f64>() < 0.05 { 1.8 } else { 1.0 };
            *share_s = job * lognormal(rng, self.straggling) * straggler;
        }
        next != Phase::Waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::draw;

    #[test]
    fn a_phase_waits_for_its_straggler_and_jobs_keep_coming() {
        let mut rng = draw::generator(3, 3);
        let mut vms = vec![Vm::with_cores(2); 4];
        let mut batch = Batch::draw(&mut rng, &vms);
        let mut maps = 0;
        for _ in 0..2_000 {
            let before = (batch.phase, batch.shares_s.iter().any(|s| *s > 1e-9));
            batch.step(&mut rng, Clock { at_s: 0.0, dt_s: 1.0 }, &mut vms);
            if before.0 != Phase::Waiting && before.1 {
                assert_eq!(batch.phase, before.0);
            }
            maps += usize::from(before.0 == Phase::Waiting && batch.phase == Phase::Map);
            assert!(vms.iter().all(|vm| (0.0..=2.0).contains(&vm.used)));
        }
        assert!(maps > 5, "{maps}");
    }
}
