//! Evidence grows: what is known of a pair beyond the window that is judged. Each hop's *new* ticks add to it (no
//! tick counts twice, however much windows overlap) and old evidence fades. Only pairs that a window found
//! remarkable are kept, which selects upward: so what counts is what came after a pair was admitted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::null::Null;

/// Old evidence counts half after this many seconds: it stands on 43 minutes at most (30 / ln 2), enough to see what
/// a window of 5 minutes shows at a third of its strength, and is forgotten within hours.
pub const HALF_LIFE_S: f64 = 1800.0;

/// So many hops must have passed before they count: one that is alone is in the window anyway.
const LEAST_HOPS: f64 = 1.9;

/// A record is given up if the window shows less than a third of what it promises, by this many standard deviations:
/// the dependency ended.
const BROKEN: f64 = 4.0;

/// Evidence that is less than this beyond the threshold is hardly enough.
const HARDLY: f64 = 2.0;

/// New ticks confirm it with so many standard deviations: we look some five times while a window shows it, so about one
/// of 40 false ones passes.
const CONFIRMED: f64 = 2.5;

/// What is not confirmed counts as this share of the threshold at most.
const NOT_QUITE: f64 = 0.99;

/// Evidence that was hardly enough, and whether the ticks that came after it say the same.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Trial {
    /// It is not enough anyway.
    Open,
    /// The sum of each hop's z since, and how many.
    Waiting { sum: f64, hops: f64 },
    /// It was more than hardly enough, or is confirmed.
    Passed,
}

/// Evidence of one pair since it was admitted.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The comparison that it was admitted by, and is followed by.
    pub by: usize,
    /// The sum of each hop's z, faded.
    sum: f64,
    /// The variance of that sum if nothing depends on anything.
    variance: f64,
    /// How many hops it stands on, faded.
    hops: f64,
    trial: Trial,
}

impl Record {
    /// A pair that was just admitted, by this comparison.
    pub fn new(by: usize) -> Self {
        Record { by, sum: 0.0, variance: 0.0, hops: 0.0, trial: Trial::Open }
    }

    /// Adds the z of one hop of `hop_s` seconds.
    pub fn add(&mut self, z: f64, hop_s: f64) {
        let fade = (-hop_s / HALF_LIFE_S).exp2();
        self.sum = self.sum * fade + z;
        self.variance = self.variance * fade * fade + 1.0;
        self.hops = self.hops * fade + 1.0;
        if let Trial::Waiting { sum, hops } = &mut self.trial {
            (*sum, *hops) = (*sum + z, *hops + 1.0);
        }
    }

    /// Tries the evidence `z`, of which `threshold` is enough, hop by hop: what is hardly enough counts only once the ticks
    /// that come after it say the same, or if it is there at the `first` look at all. Gives what counts.
    pub fn tried(&mut self, z: f64, threshold: f64, first: bool) -> f64 {
        let beyond = z.abs() - threshold;
        let confirmed = |sum: f64, hops: f64| sum * z.signum() > CONFIRMED * hops.sqrt();
        self.trial = match self.trial {
            _ if beyond >= HARDLY => Trial::Passed,
            _ if beyond < -HARDLY => Trial::Open,
            Trial::Open if beyond >= 0.0 && first => Trial::Passed,
            Trial::Open if beyond >= 0.0 => Trial::Waiting { sum: 0.0, hops: 0.0 },
            Trial::Waiting { sum, hops } if confirmed(sum, hops) => Trial::Passed,
            trial => trial,
        };
        let most = threshold * NOT_QUITE;
        if self.trial == Trial::Passed { z } else { z.clamp(-most, most) }
    }

    /// All of it as one z, if hops are independent; 0 while there are too few.
    pub fn z(&self) -> f64 {
        if self.hops < LEAST_HOPS { 0.0 } else { self.sum / self.variance.sqrt() }
    }

    /// The same as standard deviations from what records of independent pairs show; 0 while there are too few.
    pub fn beyond(&self, null: &Null) -> f64 {
        if self.z() == 0.0 { 0.0 } else { null.z(self.z()) }
    }

    /// How many seconds it stands on.
    pub fn seconds(&self, hop_s: f64) -> f64 {
        self.hops * hop_s
    }

    /// Whether a window of `hops` hops with the evidence `z` says that what was recorded has ended.
    pub fn is_broken(&self, z: f64, hops: f64) -> bool {
        let promised = self.sum / self.hops.max(1.0) * hops.sqrt();
        let shown = z * promised.signum();
        self.hops >= LEAST_HOPS && shown < promised.abs() / 3.0 && promised.abs() - shown > BROKEN
    }
}

/// The records of some pairs, with those of pairs that were not chosen, from which follows what records of pairs
/// that have nothing to do with each other look like: hops are not quite independent.
#[derive(Clone, Debug)]
pub struct Ledger<K> {
    /// The pairs that were admitted, each once.
    pub records: Vec<(K, Record)>,
    /// Those that were not chosen.
    pub controls: BTreeMap<K, Record>,
}

impl<K: Ord> Default for Ledger<K> {
    fn default() -> Self {
        Ledger { records: vec![], controls: BTreeMap::new() }
    }
}

impl<K: Ord> Ledger<K> {
    /// Whether no hop was added yet: the first look.
    pub fn is_new(&self) -> bool {
        self.controls.is_empty()
    }

    /// Adds one hop to the controls: of all pairs of some VMs, whatever they show. Those that have left are forgotten.
    pub fn control(&mut self, fresh: impl Iterator<Item = (K, f64)>, hop_s: f64) {
        let mut before = std::mem::take(&mut self.controls);
        for (pair, z) in fresh {
            let mut record = before.remove(&pair).unwrap_or(Record::new(0));
            record.add(z, hop_s);
            self.controls.insert(pair, record);
        }
    }

    /// What records of independent pairs look like: at least as spread out as they would be by chance.
    pub fn null(&self) -> Null {
        let mut sums: Vec<f64> = self.controls.values().map(Record::z).filter(|z| *z != 0.0).collect();
        let null = Null::left(&mut sums);
        Null { spread: null.spread.max(1.0), ..null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(hops: &[f64]) -> Record {
        let mut record = Record::new(0);
        hops.iter().for_each(|z| record.add(*z, 60.0));
        record
    }

    #[test]
    fn weak_but_lasting_evidence_adds_up_and_fades() {
        assert_eq!(after(&[5.0]).z(), 0.0, "one hop is in the window anyway");
        let lasting = after(&[1.0; 60]);
        assert!(lasting.z() > 6.0 && lasting.z() < 60f64.sqrt(), "{}", lasting.z());
        let long = after(&[1.0; 1000]);
        assert!((long.seconds(60.0) / 60.0 - 43.8).abs() < 0.5);
        let faded = after(&[&[1.0; 60][..], &[0.0; 240]].concat());
        assert!(faded.z() < 1.0, "{}", faded.z());
    }

    #[test]
    fn what_ended_is_dropped() {
        let strong = after(&[3.0; 10]);
        assert!(strong.is_broken(0.5, 5.0) && !strong.is_broken(5.0, 5.0));
        assert!(!after(&[0.8; 30]).is_broken(0.0, 5.0), "weak evidence may be weaker for a while");
        assert!(after(&[-3.0; 10]).is_broken(3.0, 5.0), "the other sign is no evidence either");
    }

    #[test]
    fn what_is_hardly_enough_waits_for_new_ticks() {
        // The window's z, that of the new hop, and whether it counts then.
        let check = |hops: &[(f64, f64, bool)]| {
            let mut record = Record::new(0);
            for (i, (z, fresh, counts)) in hops.iter().enumerate() {
                record.add(*fresh, 60.0);
                assert_eq!(record.tried(*z, 5.0, false) == *z, *counts, "{i}: {hops:?}");
            }
        };
        check(&[(5.5, 9.0, false), (5.5, 2.0, false), (5.5, 2.0, true), (4.8, 0.0, true), (5.2, 0.0, true)]);
        check(&[(-5.5, -9.0, false), (-5.5, 3.0, false), (-5.5, -3.0, false), (-5.5, -4.5, true)]);
        check(&[(5.5, 0.0, false), (2.0, 9.0, true), (5.5, 0.0, false), (5.5, 1.0, false)]);
        check(&[(8.0, 0.0, true), (5.1, 0.0, true)]);
        assert_eq!(Record::new(0).tried(5.1, 5.0, true), 5.1);
    }

    #[test]
    fn controls_say_what_chance_does() {
        let mut ledger = Ledger::default();
        for hop in 0..20u32 {
            let noise = |pair: u32| f64::from((pair * 7919 + hop * 104_729) % 1000) / 250.0 - 2.0;
            ledger.control((0..500u32).map(|pair| (pair, 0.3 + noise(pair))), 60.0);
        }
        let null = ledger.null();
        assert!(null.centre > 0.5 && null.spread >= 1.0, "{null:?}");
    }
}
