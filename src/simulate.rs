//! A simulated datacenter with known truth: which VMs there are, which of them work together, and how much
//! CPU each of them uses in every tick. For the demo, for tests and for runs at scale.
//!
//! Services are closed queueing networks, batch clusters go through phases, streams come in pairs, loners
//! work alone; each in its own file. Pure: everything follows from [`Params`], and the first n ticks are
//! the same however many follow. Not a replacement for recordings of real programs.

mod batch;
mod draw;
mod format;
mod loner;
mod plan;
mod service;
mod stream;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::types::{HostId, MAX_CPU_PPM, Samples, Tick, VmId};
use plan::{Group, Kind, Vm};

pub use format::{Format, Writer, edges_csv, truth_csv};

/// The most VMs of one datacenter. A VM takes about 450 bytes (most of it its group's random generator and
/// its names), so this many take 1.8 GB.
pub const MAX_VMS: usize = 4_000_000;

/// What to simulate. [`Params::check`]ed by [`Simulator::new`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Params {
    /// How many VMs, 1 to [`MAX_VMS`].
    pub vms: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// The length of a tick, 10 ms to 1 h.
    pub period_ms: u32,
    /// When the first tick begins, since the Unix epoch; rounded down to a multiple of the period.
    pub start_ms: i64,
    /// How often a VM is stopped (to start again after two minutes on average) or migrates, each half of
    /// the time; 0 to 60 times an hour.
    pub churn_per_hour: f64,
}

/// Why a datacenter cannot be simulated.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum ParamsError {
    /// No VM, or too many.
    #[error("{0} VMs: must be 1 to {MAX_VMS}")]
    Vms(usize),
    /// A period out of bounds.
    #[error("a period of {0} ms: must be 10 ms to 1 h")]
    Period(u32),
    /// A start before 1970 or after 2200.
    #[error("a start at {0} ms since the epoch: must lie in the years 1970 to 2200")]
    Start(i64),
    /// A churn rate out of bounds.
    #[error("a churn of {0} an hour: must be 0 to 60")]
    Churn(f64),
}

impl Params {
    /// Whether all of them are in bounds.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check(&self) -> Result<(), ParamsError> {
        const YEAR_2200_MS: i64 = 7_258_118_400_000;
        let Params { vms, seed: _, period_ms, start_ms, churn_per_hour } = *self;
        if !(1..=MAX_VMS).contains(&vms) {
            return Err(ParamsError::Vms(vms));
        }
        if !(10..=3_600_000).contains(&period_ms) {
            return Err(ParamsError::Period(period_ms));
        }
        if !(0..YEAR_2200_MS).contains(&start_ms) {
            return Err(ParamsError::Start(start_ms));
        }
        if !(0.0..=60.0).contains(&churn_per_hour) {
            return Err(ParamsError::Churn(churn_per_hour));
        }
        Ok(())
    }

    /// How many ticks a message of samples holds: a second's, at least one. VMs stop, start and migrate
    /// only between messages.
    pub fn ticks_per_message(&self) -> usize {
        (1000 / self.period_ms).max(1) as usize
    }
}

/// One VM of the datacenter, and what is true of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TruthRow {
    /// Its name, unique in the datacenter.
    pub vm: VmId,
    /// Those it works with; a loner is an ensemble of its own.
    pub ensemble: String,
    /// What it is part of: `service`, `batch`, `stream` or `loner`.
    pub app: &'static str,
    /// What it does there: `web`, `worker`, ...
    pub role: &'static str,
    /// Where it runs at first.
    pub host: HostId,
}

/// How much CPU one living VM used in one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Which VM: an index into [`Simulator::truth`].
    pub vm: u32,
    /// Where it runs: an index into [`Simulator::hosts`].
    pub host: u32,
    /// In parts per million of one core, at most [`MAX_CPU_PPM`].
    pub cpu_ppm: u32,
}

/// The time that the models of the groups see.
#[derive(Clone, Copy)]
struct Clock {
    /// Where the tick begins, since the Unix epoch.
    at_s: f64,
    /// How long it is.
    dt_s: f64,
}

/// A simulated datacenter, tick by tick.
pub struct Simulator {
    params: Params,
    truth: Vec<TruthRow>,
    edges: Vec<(u32, u32)>,
    hosts: Vec<HostId>,
    groups: Vec<Group>,
    vms: Vec<Vm>,
    churn: ChaCha8Rng,
    first: Tick,
    next: Tick,
}

impl Simulator {
    /// The datacenter that follows from `params`, before its first tick.
    ///
    /// # Errors
    /// Parameters out of bounds.
    pub fn new(params: Params) -> Result<Self, ParamsError> {
        params.check()?;
        let plan::Plan { truth, edges, hosts, groups, vms } = plan::draw(&params);
        let first = params.start_ms / i64::from(params.period_ms);
        let churn = draw::generator(params.seed, draw::CHURN);
        Ok(Simulator { params, truth, edges, hosts, groups, vms, churn, first, next: first })
    }

    /// The same VMs on `hosts` hosts instead of one for 30 VMs, dealt out in turn.
    pub fn on_hosts(mut self, hosts: usize) -> Self {
        self.hosts = (0..hosts.max(1)).map(|i| HostId::new(&format!("h{i:04}"))).collect();
        for (i, (vm, row)) in self.vms.iter_mut().zip(&mut self.truth).enumerate() {
            vm.host = (i % self.hosts.len()) as u32;
            row.host = self.hosts[vm.host as usize].clone();
        }
        self
    }

    /// All VMs, those of a group one after the other.
    pub fn truth(&self) -> &[TruthRow] {
        &self.truth
    }

    /// Who calls whom, as indices into [`Simulator::truth`]: (caller, callee).
    pub fn edges(&self) -> &[(u32, u32)] {
        &self.edges
    }

    /// All hosts.
    pub fn hosts(&self) -> &[HostId] {
        &self.hosts
    }

    /// What is simulated.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Replaces `out` by the readings of the next tick, one for each living VM in the order of
    /// [`Simulator::truth`], and says when that tick ended, in ms since the Unix epoch.
    pub fn tick(&mut self, out: &mut Vec<Reading>) -> i64 {
        out.clear();
        let now = self.next;
        self.next += 1;
        self.disturb(now);
        let dt_s = f64::from(self.params.period_ms) / 1000.0;
        let clock = Clock { at_s: now as f64 * dt_s, dt_s };
        let mut rest = &mut self.vms[..];
        let mut vm = 0;
        for Group { kind, rng, size } in &mut self.groups {
            let (members, others) = rest.split_at_mut(*size);
            rest = others;
            for member in members.iter_mut() {
                member.alive = member.back <= now;
            }
            match kind {
                Kind::Service(service) => service.step(rng, clock, members),
                Kind::Batch(batch) => batch.step(rng, clock, members),
                Kind::Stream(stream) => stream.step(rng, clock, members),
                Kind::Loner(loner) => loner.step(rng, clock, members),
            }
            for member in members {
                let cpu_ppm = read(member, rng, clock);
                if member.alive {
                    out.push(Reading { vm, host: member.host, cpu_ppm });
                }
                vm += 1;
            }
        }
        self.next * i64::from(self.params.period_ms)
    }

    /// A reading of the tick that ended at `end_ms`, as [`Simulator::tick`] says, as a sample.
    pub fn sample(&self, reading: Reading, end_ms: i64) -> Samples {
        Samples {
            vm: self.truth[reading.vm as usize].vm.clone(),
            host: self.hosts[reading.host as usize].clone(),
            first: end_ms / i64::from(self.params.period_ms) - 1,
            grain: 1,
            cpu_ppm: vec![reading.cpu_ppm],
        }
    }

    /// Stops and migrates VMs between two messages.
    fn disturb(&mut self, now: Tick) {
        let ticks = self.params.ticks_per_message();
        if self.params.churn_per_hour == 0.0 || (now - self.first) % ticks as i64 != 0 {
            return;
        }
        let message_s = ticks as f64 * f64::from(self.params.period_ms) / 1000.0;
        let mean = self.params.churn_per_hour * self.vms.len() as f64 * message_s / 3600.0;
        for _ in 0..draw::poisson(&mut self.churn, mean) as usize {
            let vm = self.churn.random_range(0..self.vms.len());
            let vm = &mut self.vms[vm];
            let stops: bool = self.churn.random();
            let messages = 1 + (draw::exponential(&mut self.churn, 120.0) / message_s) as i64;
            let host = self.churn.random_range(0..self.hosts.len()) as u32;
            if vm.back > now {
                continue;
            }
            if stops {
                vm.back = now + messages * ticks as i64;
            } else {
                vm.host = host;
            }
        }
    }
}

/// What the hypervisor says a VM used: its work, the background work of its operating system, and an error
/// of the measurement that is proportional to the use (the instants of reading are not exact).
fn read(vm: &Vm, rng: &mut ChaCha8Rng, clock: Clock) -> u32 {
    const ERROR_SHARE: f64 = 0.005;
    let background = if rng.random::<f64>() < 0.03 * clock.dt_s {
        // A daemon wakes up: tens of milliseconds of work.
        vm.background + draw::exponential(rng, 0.03) / clock.dt_s
    } else {
        vm.background
    };
    // Timers tick some hundred times a second, so their noise falls with the square root of the time.
    let noise = draw::normal(rng);
    let used =
        vm.used + background + noise * (vm.used * ERROR_SHARE + 0.1 * vm.background / clock.dt_s.sqrt());
    // At least what an idle kernel uses; `as` saturates, and turns what is no number into 0.
    ((used.clamp(0.0002, f64::from(vm.cores)) * 1e6) as u32).min(MAX_CPU_PPM)
}

#[cfg(test)]
mod tests;
