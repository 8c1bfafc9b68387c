//! A multi-tier service: users who think, send a request and wait for its answer, which passes through all
//! tiers. A closed queueing network in fluid form: whole requests arrive, shares of them are served.
//!
//! How much tiers have in common is set after recordings of real auction sites: at 1 s the innovations of their AR(10)
//! models correlate by 0.9 (median over pairs).

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Clock;
use super::draw::{self, drift, exponential, log_uniform, lognormal, normal, poisson, uniform};
use super::plan::Vm;

/// The roles of a chain, by its number of tiers less 2.
pub const ROLES: [&[&str]; 4] = [
    &["web", "db"],
    &["web", "app", "db"],
    &["client", "web", "app", "db"],
    &["client", "web", "app", "cache", "db"],
];

pub struct Service {
    tiers: Vec<Tier>,
    /// How many users there are on average; the day and the bursts multiply it.
    users: f64,
    think_s: f64,
    /// Requests that a user sends at once: a page and what is on it.
    page: f64,
    /// The day: its amplitude (a share), and when it begins.
    day: (f64, f64),
    burst: Burst,
}

/// The number of users glides towards a level, which is drawn anew from time to time.
struct Burst {
    level: f64,
    target: f64,
    left_s: f64,
    hold_s: f64,
    glide_s: f64,
}

struct Tier {
    /// CPU time of one request, and the coefficient of variation between requests.
    demand_s: f64,
    variation: f64,
    /// What caches and garbage collection make of the demand: the drift of its logarithm, and its size.
    cost: f64,
    cost_sd: f64,
    /// How long a request is on its way to this tier.
    latency_s: f64,
    /// Requests that are still on their way.
    coming: f64,
    /// Requests that are here, and the CPU time that they still need.
    waiting: f64,
    work_s: f64,
}

impl Service {
    /// A service on these VMs, one a tier, front to back.
    pub fn draw(rng: &mut ChaCha8Rng, vms: &[Vm]) -> Self {
        let tiers: Vec<Tier> = vms.iter().map(|_| Tier::draw(rng)).collect();
        let think_s = uniform(rng, 0.5, 7.0);
        // As many users as keep the busiest tier at some 5 to 35 per cent.
        let capacities = tiers.iter().zip(vms).map(|(tier, vm)| f64::from(vm.cores) / tier.demand_s);
        let requests_per_s = uniform(rng, 0.05, 0.35) * capacities.fold(f64::MAX, f64::min);
        let hold_s = uniform(rng, 10.0, 45.0);
        Service {
            tiers,
            users: (requests_per_s * think_s).max(1.0),
            think_s,
            page: uniform(rng, 2.0, 8.0),
            day: (uniform(rng, 0.2, 0.6), uniform(rng, 0.0, 0.25)),
            burst: Burst { level: 1.0, target: 1.0, left_s: 0.0, hold_s, glide_s: uniform(rng, 1.0, 8.0) },
        }
    }

    pub fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock, vms: &mut [Vm]) {
        let (swing, phase) = self.day;
        let day = 1.0 + swing * (TAU * (clock.at_s / 86_400.0 + phase)).sin();
        let users = self.users * day * self.burst.step(rng, clock);
        let busy: f64 = self.tiers.iter().map(|tier| tier.waiting + tier.coming).sum();
        // Those who do not wait for an answer; in a tick longer than they think all of them ask.
        let asking = (users - busy).max(0.0) * (clock.dt_s / self.think_s);
        let mut requests = self.page * poisson(rng, asking / self.page);
        for (tier, vm) in self.tiers.iter_mut().zip(vms) {
            requests = tier.step(rng, clock, requests, vm);
        }
    }
}

impl Burst {
    fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock) -> f64 {
        self.left_s -= clock.dt_s;
        if self.left_s <= 0.0 {
            self.left_s = exponential(rng, self.hold_s);
            self.target = lognormal(rng, 0.55).min(5.0);
        }
        self.level += (self.target - self.level) * (clock.dt_s / self.glide_s).min(1.0);
        self.level
    }
}

impl Tier {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        Tier {
            demand_s: log_uniform(rng, 0.001, 0.010),
            variation: uniform(rng, 0.2, 0.8),
            cost: 0.0,
            cost_sd: uniform(rng, 0.01, 0.05),
            latency_s: draw::log_uniform(rng, 0.002, 0.080)
                * if rng.random::<f64>() < 0.1 { 4.0 } else { 1.0 },
            coming: 0.0,
            waiting: 0.0,
            work_s: 0.0,
        }
    }

    /// Takes `requests` in, serves what the VM can in this tick, and returns those that go on.
    fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock, requests: f64, vm: &mut Vm) -> f64 {
        let late = (self.latency_s / clock.dt_s).min(1.0);
        let here = self.coming + requests * (1.0 - late);
        self.coming = requests * late;
        self.cost = drift(rng, self.cost, (self.cost_sd, 15.0), clock.dt_s);
        let spread = (1.0 + self.variation * normal(rng) / here.max(1.0).sqrt()).max(0.1);
        self.waiting += here;
        self.work_s += here * self.demand_s * spread * (1.0 + self.cost).max(0.3);
        let capacity_s = if vm.alive { f64::from(vm.cores) * clock.dt_s } else { 0.0 };
        let served_s = self.work_s.min(capacity_s);
        let done = if self.work_s > 0.0 { self.waiting * (served_s / self.work_s) } else { 0.0 };
        self.waiting -= done;
        self.work_s -= served_s;
        vm.used = served_s / clock.dt_s;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Clock = Clock { at_s: 0.0, dt_s: 1.0 };

    fn tier(demand_s: f64) -> Tier {
        Tier {
            demand_s,
            variation: 0.0,
            cost_sd: 0.0,
            latency_s: 0.0,
            ..Tier::draw(&mut draw::generator(1, 1))
        }
    }

    #[test]
    fn work_that_does_not_fit_is_carried_to_the_next_tick() {
        let (mut rng, mut vm) = (draw::generator(1, 1), Vm::with_cores(1));
        let mut tier = tier(0.01);
        let done: Vec<f64> = [250.0, 0.0, 0.0, 0.0].map(|n| tier.step(&mut rng, SECOND, n, &mut vm)).into();
        for (done, expected) in done.iter().zip([100.0, 100.0, 50.0, 0.0]) {
            assert!((done - expected).abs() < 1e-6, "{done} {expected}");
        }
    }

    #[test]
    fn requests_on_their_way_arrive_a_tick_later() {
        let (mut rng, mut vm) = (draw::generator(1, 1), Vm::with_cores(4));
        let mut tier = Tier { latency_s: 0.25, ..tier(0.01) };
        let done: Vec<f64> = [100.0, 0.0, 0.0].map(|n| tier.step(&mut rng, SECOND, n, &mut vm)).into();
        assert_eq!(done, [75.0, 25.0, 0.0]);
    }

    #[test]
    fn a_dead_tier_keeps_all_its_users_waiting() {
        let mut rng = draw::generator(1, 1);
        let mut vms = [Vm::with_cores(2), Vm::with_cores(2), Vm::with_cores(2)];
        let mut service = Service::draw(&mut rng, &vms);
        vms[1].alive = false;
        for _ in 0..100 {
            service.step(&mut rng, SECOND, &mut vms);
        }
        assert!(vms[1].used == 0.0 && vms[2].used == 0.0);
        let waiting = service.tiers[1].waiting + service.tiers[1].coming;
        assert!(
            waiting > 0.1 * service.users && waiting < 20.0 * service.users,
            "{waiting} of {}",
            service.users
        );
    }
}
