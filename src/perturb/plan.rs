//! What to ask next. Pure.
//!
//! Ours: the least certain pairs that matter most first. How uncertain a pair is, is `4 c (1 - c)` of its confidence `c`: 1 at a
//! half, 0.04 at 99 %. What matters is what hangs on it: so many VMs as the larger ensemble of the two has, for
//! each dependency of the one that has fewer. A VM that is held by one uncertain dependency alone comes first.
//!
//! The paper's (Section 3.3): VMs drawn by lot, capped periodically. Such caps put spikes into what dependent VMs use, which the
//! engines then see as they see anything else. No verdict follows from them: their codes are no coins.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::code::code;
use super::command::{Command, VERSION};
use super::merge::{Settled, settled};
use super::record::Verdict;
use crate::transport::records::{Assignment, Dependency, Membership};
use crate::types::{HostId, VmId};

/// How uncertain a pair is at least of which something is not known that a cap could tell: the cause.
const NO_CAUSE: f64 = 0.02;

/// A pair of which one direction was refuted: half of an answer, that was worth asking for.
const HALF_KNOWN: f64 = 1.0;

/// Pairs that are less uncertain are not asked about: at 99.75 % there is little to learn.
const LEAST_UNCERTAIN: f64 = 0.01;

/// Where a VM is, and what it uses.
#[derive(Clone, PartialEq, Debug)]
pub struct Guest {
    /// Its host.
    pub host: HostId,
    /// What it uses on average, ppm of one core.
    pub used_ppm: f64,
}

/// What may be asked at once. The agents have their own limits, which count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// So many VMs are capped at once.
    pub victims: usize,
    /// Of these so many of one host.
    pub per_host: usize,
    /// And of one ensemble.
    pub per_ensemble: usize,
    /// So many pairs are asked about.
    pub pairs: usize,
    /// A VM that uses less, ppm of one core, is not capped: there is nothing to take.
    pub least_ppm: f64,
}

/// What is known.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Known {
    /// The ensembles of each VM.
    pub assignments: Vec<Assignment>,
    /// The pairs that are held dependent.
    pub dependencies: Vec<Dependency>,
    /// The VMs that are there.
    pub guests: BTreeMap<VmId, Guest>,
    /// What was learned before.
    pub verdicts: Vec<Verdict>,
}

/// One VM to be capped.
#[derive(Clone, PartialEq, Debug)]
pub struct Ask {
    /// It.
    pub victim: VmId,
    /// Where it is.
    pub host: HostId,
    /// The VMs that may depend on it.
    pub watched: Vec<Watched>,
}

/// A VM to be watched.
#[derive(Clone, PartialEq, Debug)]
pub struct Watched {
    /// It.
    pub vm: VmId,
    /// Why, for people.
    pub why: String,
}

/// A pair, and what asking is worth.
struct Pair<'a> {
    ends: [&'a VmId; 2],
    worth: f64,
    why: String,
    /// The end that was capped before, without an answer of the other.
    asked: Option<VmId>,
}

/// When and how the victims of a round are capped.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Round {
    /// The moment of issue, Unix milliseconds: the serial number, too.
    pub now_ms: i64,
    /// When the first slot begins.
    pub start_ms: i64,
    /// How long a slot is.
    pub slot_ms: u64,
    /// How many blocks of two slots.
    pub blocks: usize,
    /// What a victim is left of what it used lately.
    pub share: f64,
}

impl Round {
    /// The command to cap a VM by coins.
    pub fn command(&self, vm: &VmId, host: &HostId) -> Command {
        self.with(vm, host, code(self.now_ms as u64, vm, self.blocks))
    }

    fn with(&self, vm: &VmId, host: &HostId, code: String) -> Command {
        let (vm, host, serial) = (vm.clone(), host.clone(), self.now_ms as u64);
        let Round { now_ms: issued_ms, start_ms, slot_ms, share, .. } = *self;
        let expires_ms = start_ms + (code.len() as u64 * slot_ms) as i64;
        Command { v: VERSION, serial, host, vm, start_ms, slot_ms, code, share, issued_ms, expires_ms }
    }
}

/// Victims chosen so far.
struct Chosen<'a> {
    known: &'a Known,
    limits: &'a Limits,
    ensembles: BTreeMap<&'a VmId, Vec<&'a str>>,
    degrees: BTreeMap<&'a VmId, usize>,
    asks: Vec<Ask>,
}

/// Which VMs to cap, and whom to watch: at most so many pairs as the limits say, in order of their worth. A VM is
/// never capped and watched at once: its own cap would hide its answer.
pub fn choose(known: &Known, limits: &Limits) -> Vec<Ask> {
    let mut chosen = Chosen::new(known, limits);
    let mut pairs = chosen.pairs();
    pairs.sort_by(|a, b| b.worth.total_cmp(&a.worth).then_with(|| a.ends.cmp(&b.ends)));
    let mut left = limits.pairs;
    for pair in pairs {
        left -= usize::from(left > 0 && chosen.take(&pair));
    }
    chosen.asks
}

/// The question whether `vm` depends on `victim`; none if one of them is not there.
pub fn ask(known: &Known, victim: &VmId, vm: &VmId) -> Option<Ask> {
    known.guests.get(vm)?;
    let host = known.guests.get(victim)?.host.clone();
    let watched = vec![Watched { vm: vm.clone(), why: "asked for".into() }];
    Some(Ask { victim: victim.clone(), host, watched })
}

/// The paper's: VMs drawn by `seed`, capped in every other slot.
pub fn periodic(known: &Known, limits: &Limits, round: &Round, seed: u64) -> Vec<Command> {
    let chosen = Chosen::new(known, limits);
    let mut all: Vec<&VmId> = known.guests.keys().filter(|vm| chosen.uses_enough(vm)).collect();
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut chosen = chosen;
    for vm in all {
        chosen.victim(vm);
    }
    let command = |ask: &Ask| round.with(&ask.victim, &ask.host, "10".repeat(round.blocks));
    chosen.asks.iter().map(command).collect()
}

fn ensembles(membership: &Membership) -> Vec<&str> {
    match membership {
        Membership::None => vec![],
        Membership::One(name) => vec![name],
        Membership::Many(names) => names.iter().map(String::as_str).collect(),
    }
}

impl<'a> Chosen<'a> {
    fn new(known: &'a Known, limits: &'a Limits) -> Self {
        let of = known.assignments.iter().map(|a| (&a.vm, ensembles(&a.ensemble))).collect();
        let mut degrees = BTreeMap::new();
        for vm in known.dependencies.iter().flat_map(|pair| [&pair.a, &pair.b]) {
            *degrees.entry(vm).or_default() += 1;
        }
        Chosen { known, limits, ensembles: of, degrees, asks: vec![] }
    }

    /// The pairs that may be asked about.
    fn pairs(&self) -> Vec<Pair<'a>> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        self.ensembles.values().flatten().for_each(|ensemble| *sizes.entry(ensemble).or_default() += 1);
        let settled = settled(&self.known.verdicts);
        let pair = |held: &'a Dependency| {
            let (uncertain, asked) = match settled.get(&(held.a.clone(), held.b.clone())) {
                Some(Settled::Half(verdict)) => (HALF_KNOWN, Some(verdict.cause.clone())),
                Some(Settled::Confirmed(_) | Settled::Refuted) => (0.0, None),
                Some(Settled::Open(_)) | None => (uncertainty(held), None),
            };
            let ends = [&held.a, &held.b];
            let of = ends.iter().flat_map(|vm| self.ensembles.get(*vm).into_iter().flatten());
            let members = of.filter_map(|ensemble| sizes.get(*ensemble)).max().copied().unwrap_or(2);
            let ties = ends.iter().filter_map(|vm| self.degrees.get(*vm)).min().copied().unwrap_or(1);
            let confidence = held.confidence.map_or("unknown".into(), |c| format!("{c:.3}"));
            let why = format!(
                "confidence {confidence}{}; {ties} of {members} VMs hold it",
                if held.cause.is_none() { ", cause unknown" } else { "" }
            );
            let worth = uncertain * members as f64 / ties as f64;
            (uncertain >= LEAST_UNCERTAIN).then_some(Pair { ends, worth, why, asked })
        };
        self.known.dependencies.iter().filter_map(pair).collect()
    }

    /// Takes a pair in, if the limits allow it.
    fn take(&mut self, pair: &Pair<'a>) -> bool {
        let [a, b] = pair.ends;
        let mut directions = vec![(a, b), (b, a)];
        directions.retain(|(victim, vm)| {
            pair.asked.as_ref() != Some(*victim)
                && self.known.guests.contains_key(*vm)
                && self.uses_enough(victim)
        });
        // Who is capped anyway; then who has fewer dependencies, and hurts fewer others; then who uses less.
        let used = |vm: &VmId| self.known.guests.get(vm).map_or(0.0, |guest| guest.used_ppm);
        let order = |vm: &VmId| (self.at(vm).is_none(), self.degrees.get(vm).copied().unwrap_or(0));
        directions.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)).then(used(a).total_cmp(&used(b))));
        for (victim, vm) in directions {
            if self.at(vm).is_some() {
                continue;
            }
            if let Some(at) = self.victim(victim) {
                self.asks[at].watched.push(Watched { vm: vm.clone(), why: pair.why.clone() });
                return true;
            }
        }
        false
    }

    fn at(&self, vm: &VmId) -> Option<usize> {
        self.asks.iter().position(|ask| ask.victim == *vm)
    }

    fn uses_enough(&self, vm: &VmId) -> bool {
        self.known.guests.get(vm).is_some_and(|guest| guest.used_ppm >= self.limits.least_ppm)
    }

    /// Where a victim stands among the asks, a new one if that is allowed.
    fn victim(&mut self, vm: &VmId) -> Option<usize> {
        if let Some(at) = self.at(vm) {
            return Some(at);
        }
        let (host, limits) = (&self.known.guests.get(vm)?.host, self.limits);
        let none = vec![];
        let own: BTreeSet<&str> = self.ensembles.get(vm).unwrap_or(&none).iter().copied().collect();
        let together = |ask: &&Ask| {
            self.ensembles.get(&ask.victim).is_some_and(|of| of.iter().any(|ensemble| own.contains(ensemble)))
        };
        let is_watched = self.asks.iter().any(|ask| ask.watched.iter().any(|watched| watched.vm == *vm));
        let fits = !is_watched
            && self.asks.len() < limits.victims
            && self.asks.iter().filter(|ask| ask.host == *host).count() < limits.per_host
            && self.asks.iter().filter(together).count() < limits.per_ensemble;
        fits.then(|| {
            self.asks.push(Ask { victim: vm.clone(), host: host.clone(), watched: vec![] });
            self.asks.len() - 1
        })
    }
}

/// How uncertain a pair is, 0 to 1.
fn uncertainty(held: &Dependency) -> f64 {
    let least = if held.cause.is_none() { NO_CAUSE } else { 0.0 };
    held.confidence.map_or(1.0, |c| 4.0 * c * (1.0 - c)).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perturb::code::blocks;
    use crate::perturb::verdict::{Finding, Judgement, Open};

    const LIMITS: Limits =
        Limits { victims: 10, per_host: 10, per_ensemble: 10, pairs: 10, least_ppm: 10_000.0 };

    /// VMs with host and use; ensembles; pairs with their confidence.
    fn known(vms: &[(&str, &str, f64)], ensembles: &[(&str, &str)], pairs: &[(&str, &str, f64)]) -> Known {
        let guest = |(vm, host, used_ppm): &(&str, &str, f64)| {
            (VmId::new(vm), Guest { host: HostId::new(host), used_ppm: *used_ppm })
        };
        let assignment = |(vm, ensemble): &(&str, &str)| Assignment {
            decided: None,
            vm: VmId::new(vm),
            ensemble: Membership::from_names(ensemble.split('|').filter(|name| !name.is_empty())),
        };
        let pair = |(a, b, confidence): &(&str, &str, f64)| Dependency {
            confidence: Some(*confidence),
            cause: Some("a".into()),
            ..Dependency::bare(VmId::new(a), VmId::new(b), 1)
        };
        Known {
            assignments: ensembles.iter().map(assignment).collect(),
            dependencies: pairs.iter().map(pair).collect(),
            guests: vms.iter().map(guest).collect(),
            verdicts: vec![],
        }
    }

    /// `victim>watched,watched` of each ask.
    fn written(asks: &[Ask]) -> String {
        let one = |ask: &Ask| {
            let watched: Vec<&str> = ask.watched.iter().map(|watched| watched.vm.as_str()).collect();
            format!("{}>{}", ask.victim, watched.join(","))
        };
        asks.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn park() -> Known {
        let vms =
            ["a", "b", "c", "d", "x", "y"].map(|vm| (vm, if vm < "x" { "h1" } else { "h2" }, 100_000.0));
        let of = [("a", "e1"), ("b", "e1"), ("c", "e1"), ("d", "e1"), ("x", "e2"), ("y", "e2")];
        let pairs = [("a", "b", 0.9), ("a", "c", 0.9999), ("b", "c", 0.99), ("c", "d", 0.8), ("x", "y", 0.7)];
        known(&vms, &of, &pairs)
    }

    #[test]
    fn the_least_certain_that_matters_most_comes_first() {
        // d hangs on one pair of four VMs: 0.64 * 4 / 1; x and y: 0.84 * 2 / 1; a and b: 0.36 * 4 / 2.
        assert_eq!(written(&choose(&park(), &LIMITS)), "d>c x>y a>b");
        let limits = Limits { pairs: 1, ..LIMITS };
        assert_eq!(written(&choose(&park(), &limits)), "d>c");
        let limits = Limits { per_ensemble: 1, ..LIMITS };
        assert_eq!(written(&choose(&park(), &limits)), "d>c x>y");
        let limits = Limits { per_host: 1, ..LIMITS };
        assert_eq!(written(&choose(&park(), &limits)), "d>c x>y");
        let limits = Limits { victims: 1, ..LIMITS };
        assert_eq!(written(&choose(&park(), &limits)), "d>c");
        let mut idle = park();
        idle.guests.get_mut(&VmId::new("d")).unwrap().used_ppm = 5_000.0;
        assert_eq!(written(&choose(&idle, &LIMITS)), "c>d,b x>y a>b", "who does nothing is not capped");
        idle.guests.remove(&VmId::new("c"));
        assert_eq!(written(&choose(&idle, &LIMITS)), "x>y a>b");
    }

    #[test]
    fn half_an_answer_is_asked_for_the_other_half() {
        let mut known = park();
        let judgement = |verdict| Judgement { verdict, open: None, ..Judgement::open(Open::Noise) };
        let verdict =
            |cause, vm, finding| Verdict::new(VmId::new(cause), VmId::new(vm), 0.01, judgement(finding), 1);
        known.verdicts.push(verdict("d", "c", Finding::Refuted));
        known.verdicts.push(verdict("x", "y", Finding::Confirmed));
        assert_eq!(written(&choose(&known, &LIMITS)), "c>d,b a>b");
        known.verdicts.push(verdict("c", "d", Finding::Refuted));
        assert_eq!(written(&choose(&known, &LIMITS)), "a>b c>b");
    }

    #[test]
    fn nobody_is_capped_and_watched() {
        let vms = ["a", "b", "c"].map(|vm| (vm, "h", 50_000.0));
        let known = known(&vms, &[], &[("a", "b", 0.5), ("b", "c", 0.5), ("a", "c", 0.5)]);
        let asks = choose(&known, &LIMITS);
        let watched: BTreeSet<&VmId> = asks.iter().flat_map(|ask| &ask.watched).map(|w| &w.vm).collect();
        assert!(asks.iter().all(|ask| !watched.contains(&ask.victim)), "{asks:?}");
        assert_eq!(written(&asks), "a>b,c", "one cap, two answers");
    }

    #[test]
    fn commands_are_such_as_an_agent_takes() {
        let round = Round { now_ms: 5_000, start_ms: 8_000, slot_ms: 2_000, blocks: 12, share: 0.5 };
        let command = round.command(&VmId::new("a"), &HostId::new("h"));
        assert_eq!((command.code.len(), command.expires_ms, blocks(&command).len()), (24, 56_000, 12));
        let limits = Limits { victims: 2, ..LIMITS };
        let periodic = periodic(&park(), &limits, &round, 1);
        assert_eq!((periodic.len(), &periodic[0].code[..4], blocks(&periodic[0]).len()), (2, "1010", 0));
        assert_eq!(ask(&park(), &VmId::new("a"), &VmId::new("nobody")), None);
        assert_eq!(ask(&park(), &VmId::new("x"), &VmId::new("a")).unwrap().host, HostId::new("h2"));
    }
}
