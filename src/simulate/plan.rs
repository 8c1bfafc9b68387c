//! What there is in a datacenter: its groups in realistic proportions, the names, sizes and hosts of its VMs,
//! who calls whom.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;
use super::draw::{self, log_uniform};
use super::loner::{self, Loner};
use super::service::{self, Service};
use super::stream::Stream;
use super::{Params, TruthRow};
use crate::types::{HostId, Tick, VmId};

/// How many VMs a host runs when all are up.
const VMS_PER_HOST: usize = 30;

/// One VM: what stays, and what its group says of the tick at hand.
#[derive(Clone)]
pub struct Vm {
    pub cores: u8,
    /// What its operating system uses by itself, in cores.
    pub background: f64,
    pub host: u32,
    /// The tick from which on it is up (again).
    pub back: Tick,
    pub alive: bool,
    /// What its work uses in this tick, in cores.
    pub used: f64,
}

/// VMs that work together, and the generator that they draw from.
pub struct Group {
    pub kind: Kind,
    pub rng: ChaCha8Rng,
    pub size: usize,
}

pub enum Kind {
    Service(Service),
    Batch(Batch),
    Stream(Stream),
    Loner(Loner),
}

#[derive(Default)]
pub struct Plan {
    pub truth: Vec<TruthRow>,
    pub edges: Vec<(u32, u32)>,
    pub hosts: Vec<HostId>,
    pub groups: Vec<Group>,
    pub vms: Vec<Vm>,
}

impl Vm {
    fn draw(rng: &mut ChaCha8Rng, host: u32) -> Self {
        let cores = [1, 1, 2, 2, 2, 4, 4, 8][rng.random_range(0..8)];
        Vm {
            cores,
            background: log_uniform(rng, 0.0008, 0.008),
            host,
            back: Tick::MIN,
            alive: true,
            used: 0.0,
        }
    }

    #[cfg(test)]
    pub fn with_cores(cores: u8) -> Self {
        Vm { cores, ..Vm::draw(&mut draw::generator(0, 0), 0) }
    }
}

/// The kinds of groups, and their shares of the VMs in per cent.
const SHARES: [(&str, usize); 4] = [("service", 60), ("batch", 15), ("stream", 10), ("loner", 15)];

/// The datacenter that follows from `params`.
pub fn draw(params: &Params) -> Plan {
    let mut rng = draw::generator(params.seed, draw::PLAN);
    let hosts = params.vms.div_ceil(VMS_PER_HOST);
    let mut plan =
        Plan { hosts: (0..hosts).map(|i| HostId::new(&format!("h{i:04}"))).collect(), ..Plan::default() };
    let places = places(&mut rng, params.vms, hosts);
    let mut counts = [0; SHARES.len()];
    while plan.truth.len() < params.vms {
        let (before, left) = (plan.truth.len(), params.vms - plan.truth.len());
        // The kind that lacks most, if it fits.
        let lacks = |i: &usize| (SHARES[*i].1 * params.vms) as i64 - 100 * counts[*i] as i64;
        let kind = (0..SHARES.len()).rev().max_by_key(lacks).unwrap_or(0);
        let kind = if left < smallest(kind) { SHARES.len() - 1 } else { kind };
        let number = plan.groups.len();
        let roles = roles(&mut rng, kind, left);
        let stem = stem(kind, number, roles[0]);
        let mut own = draw::generator(params.seed, number as u64);
        for (i, role) in roles.iter().enumerate() {
            let host = places[before + i];
            plan.vms.push(Vm::draw(&mut own, host));
            plan.truth.push(TruthRow {
                vm: VmId::new(&name(kind, &stem, role, i)),
                ensemble: stem.clone(),
                app: SHARES[kind].0,
                role,
                host: plan.hosts[host as usize].clone(),
            });
        }
        plan.edges.extend(calls(kind, before as u32, roles.len() as u32));
        let members = &plan.vms[before..];
        let model = match kind {
            0 => Kind::Service(Service::draw(&mut own, members)),
            1 => Kind::Batch(Batch::draw(&mut own, members)),
            2 => Kind::Stream(Stream::draw(&mut own)),
            _ => Kind::Loner(Loner::draw(&mut own, roles[0])),
        };
        counts[kind] += roles.len();
        plan.groups.push(Group { kind: model, rng: own, size: roles.len() });
    }
    plan
}

/// A host for each VM, equally many on each, at random: services are spread over the house.
fn places(rng: &mut ChaCha8Rng, vms: usize, hosts: usize) -> Vec<u32> {
    let mut places: Vec<u32> = (0..vms).map(|i| (i % hosts) as u32).collect();
    for i in (1..vms).rev() {
        places.swap(i, rng.random_range(0..=i));
    }
    places
}

/// The fewest VMs that a group of this kind has.
fn smallest(kind: usize) -> usize {
    [2, 3, 2, 1][kind]
}

/// What each VM of a new group does; not more than `left`.
fn roles(rng: &mut ChaCha8Rng, kind: usize, left: usize) -> Vec<&'static str> {
    match kind {
        0 => service::ROLES[rng.random_range(0..4).min(left - 2)].to_vec(),
        1 => {
            let workers = rng.random_range(2..=8).min(left - 1);
            std::iter::once("master").chain(std::iter::repeat_n("worker", workers)).collect()
        }
        2 => vec!["client", "server"],
        _ => vec![loner::ROLES[rng.random_range(0..4)]],
    }
}

/// The name of a group, which is also that of its ensemble.
fn stem(kind: usize, number: usize, role: &str) -> String {
    const SERVICES: [&str; 6] = ["shop", "auction", "wiki", "mail", "crm", "forum"];
    match kind {
        0 => format!("{}{number}", SERVICES[number % SERVICES.len()]),
        1 => format!("{}{number}", ["spark", "hadoop"][number % 2]),
        2 => format!("{}{number}", ["iperf", "backup"][number % 2]),
        _ => format!("{role}{number}"),
    }
}

/// The name of the `i`-th VM of a group.
fn name(kind: usize, stem: &str, role: &str, i: usize) -> String {
    match (kind, role) {
        (1, "worker") => format!("{stem}-n{i}"),
        (3, _) => stem.to_string(),
        _ => format!("{stem}-{role}"),
    }
}

/// Who calls whom in a group of `size` VMs from `first` on: along a chain, or the master all others.
fn calls(kind: usize, first: u32, size: u32) -> impl Iterator<Item = (u32, u32)> {
    (first + 1..first + size).map(move |callee| (if kind == 1 { first } else { callee - 1 }, callee))
}
