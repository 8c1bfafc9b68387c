//! A VM that works with no other: idle, always busy, at fixed intervals, or whenever a job comes.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Clock;
use super::draw::{drift, exponential, log_uniform, uniform};
use super::plan::Vm;

/// The kinds of loners, as they are called.
pub const ROLES: [&str; 4] = ["idle", "cpu", "cron", "batch"];

pub enum Loner {
    /// Nothing but its operating system.
    Idle,
    /// A computation without an end; contention on its host takes a drifting share of it.
    Cpu { contention: f64 },
    /// So much work each time that the clock shows a multiple of `every_s`, less `offset_s`.
    Cron { every_s: f64, offset_s: f64, job_s: f64, left_s: f64 },
    /// Jobs at random.
    Batch { every_s: f64, job_s: f64, left_s: f64 },
}

impl Loner {
    /// One of the kind that [`ROLES`] names.
    pub fn draw(rng: &mut ChaCha8Rng, role: &str) -> Self {
        match role {
            "cpu" => Loner::Cpu { contention: 0.0 },
            "cron" => {
                let every_s = [10.0, 20.0, 30.0, 60.0, 300.0][rng.random_range(0..5)];
                let job_s = uniform(rng, 0.02, 0.3) * every_s;
                Loner::Cron { every_s, offset_s: uniform(rng, 0.0, every_s).floor(), job_s, left_s: 0.0 }
            }
            "batch" => {
                let every_s = log_uniform(rng, 15.0, 200.0);
                Loner::Batch { every_s, job_s: uniform(rng, 0.1, 0.6) * every_s, left_s: 0.0 }
            }
            _ => Loner::Idle,
        }
    }

    pub fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock, vms: &mut [Vm]) {
        let [vm] = vms else { return };
        let cores = f64::from(vm.cores);
        let (left_s, speed) = match self {
            Loner::Idle => {
                vm.used = 0.0;
                return;
            }
            Loner::Cpu { contention } => {
                *contention = drift(rng, *contention, (0.04, 5.0), clock.dt_s);
                vm.used = cores * (0.98 - contention.abs()).max(0.5);
                return;
            }
            Loner::Cron { every_s, offset_s, job_s, left_s } => {
                let times = |s: f64| ((s + *offset_s) / *every_s).floor();
                if times(clock.at_s + clock.dt_s) > times(clock.at_s) {
                    *left_s += *job_s * uniform(rng, 0.9, 1.1);
                }
                (left_s, cores.min(1.0))
            }
            Loner::Batch { every_s, job_s, left_s } => {
                if rng.random::<f64>() < clock.dt_s / *every_s {
                    *left_s += exponential(rng, *job_s);
                }
                (left_s, cores * uniform(rng, 0.7, 1.0))
            }
        };
        // A VM that is down loses no job, and what piles up is a tenth of an hour's work at most.
        *left_s = left_s.min(360.0);
        vm.used = if vm.alive { speed.min(*left_s / clock.dt_s) } else { 0.0 };
        *left_s -= vm.used * clock.dt_s;
    }
}
