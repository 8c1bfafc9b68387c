//! Time series of a monitoring system -> samples of VMs. Pure.
//!
//! A reading has the time at which it was scraped, so it is a counter's reading like any other: what lies between
//! two of them is interpolated, never what was repeated because nothing new was there. Series that are parts of
//! one VM (its CPUs) are added where all of them were read. A VM whose counter is told by two series (two servers
//! that scrape the same exporter) is read from one of them, until that falls silent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

pub mod query;

use super::frames::Frames;
use super::grid::{Grid, Value};
use super::meter::Meter;
use crate::types::{HostId, Reason};
use query::Query;

/// Label -> value.
pub type Labels = BTreeMap<String, String>;

/// When (nanoseconds since the epoch), and the CPU time used until then (nanoseconds).
pub type Reading = (i64, u64);

/// The most VMs: some 700 bytes each, 45 MB.
pub const MAX_VMS: usize = 65_536;

/// One time series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    /// What sets it apart.
    pub labels: Labels,
    /// Its readings, in the order of time.
    pub readings: Vec<Reading>,
}

/// What could not be used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unused {
    /// Readings, by reason; `Ambiguous` are those of series beside the one that is read.
    pub refused: BTreeMap<Reason, u64>,
    /// Pauses between a VM's readings that were too long to be interpolated.
    pub pauses: u64,
}

/// The VMs that are read.
#[derive(Debug)]
pub struct Vms {
    query: Query,
    /// Of VMs whose series name none.
    host: HostId,
    grid: Grid,
    /// By host, and identity or name.
    known: BTreeMap<(HostId, String), Vm>,
    unused: Unused,
}

#[derive(Debug)]
struct Vm {
    meter: Meter,
    /// The counter that is read.
    counter: Arc<str>,
    last_ns: i64,
}

/// What an answer says of one VM: by time, then by counter.
struct Told {
    id: Option<String>,
    name: String,
    readings: Vec<(i64, Arc<str>, u64)>,
}

/// How often there is a reading: the typical distance of readings in nine of ten series, or less.
pub fn spacing_ns(series: &[Series]) -> Option<i64> {
    let middle = |series: &Series| {
        let pairs = series.readings.windows(2);
        let mut apart: Vec<i64> = pairs.map(|pair| pair[1].0 - pair[0].0).filter(|ns| *ns > 0).collect();
        apart.sort_unstable();
        apart.get(apart.len() / 2).copied()
    };
    let mut all: Vec<i64> = series.iter().filter_map(middle).collect();
    all.sort_unstable();
    all.get((all.len() * 9).div_ceil(10).saturating_sub(1)).copied()
}

/// The sampling period for readings that come every `spacing_ns`: a usual one that is hardly shorter. A finer one
/// would hold nothing more.
pub fn period_ms(spacing_ns: i64) -> u64 {
    const USUAL_S: [i64; 13] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600];
    let fits = |s: &&i64| **s * 1_000_000_000 >= spacing_ns - spacing_ns / 20;
    USUAL_S.iter().find(fits).map_or(3_600_000, |s| *s as u64 * 1000)
}

impl Vms {
    /// None yet.
    pub fn new(query: Query, host: HostId, grid: Grid) -> Self {
        Vms { query, host, grid, known: BTreeMap::new(), unused: Unused::default() }
    }

    /// How many VMs are read.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no VM is read.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes what was scraped until `now_ns`; it may repeat what was told before. The samples of VMs that are gone
    /// go to `frames`.
    pub fn take(&mut self, series: Vec<Series>, now_ns: i64, frames: &mut Frames) {
        for ((host, who), mut told) in self.by_vm(series) {
            told.readings.sort_unstable();
            let key = (host, who);
            if !self.known.contains_key(&key) {
                let (meter, counter) =
                    (told.meter(&key.0), told.readings.first().map(|first| first.1.clone()));
                match (meter, counter) {
                    (Ok(_), None) => continue,
                    (Ok(_), _) if self.known.len() >= MAX_VMS => {
                        self.refuse(Reason::TooMany, told.readings.len())
                    }
                    (Err(reason), _) => self.refuse(reason, told.readings.len()),
                    (Ok(meter), Some(counter)) => {
                        drop(self.known.insert(key.clone(), Vm { meter, counter, last_ns: i64::MIN / 2 }));
                    }
                }
            }
            if let Some(vm) = self.known.get_mut(&key) {
                vm.take(&key.0, &told, (&self.grid, &mut self.unused), frames);
            }
        }
        let oldest_ns = now_ns - 4 * self.grid.gap_ns();
        self.known.retain(|_, vm| {
            if vm.last_ns < oldest_ns {
                vm.meter.flush(frames);
            }
            vm.last_ns >= oldest_ns
        });
    }

    /// Hands on the samples that are complete.
    pub fn flush(&mut self, frames: &mut Frames) {
        self.known.values_mut().for_each(|vm| vm.meter.flush(frames));
    }

    /// Up to when all VMs have been read that were read lately: later samples of some may still come.
    pub fn known_until_ns(&self, now_ns: i64) -> i64 {
        let lately = self.known.values().map(|vm| vm.last_ns).filter(|ns| *ns >= now_ns - self.grid.gap_ns());
        lately.min().unwrap_or(now_ns)
    }

    /// What could not be used since this was last asked.
    pub fn take_unused(&mut self) -> Unused {
        std::mem::take(&mut self.unused)
    }

    fn refuse(&mut self, reason: Reason, readings: usize) {
        *self.unused.refused.entry(reason).or_default() += readings as u64;
    }

    /// Sorts series by the VMs whose they are.
    fn by_vm(&mut self, series: Vec<Series>) -> BTreeMap<(HostId, String), Told> {
        let mut counters: BTreeMap<String, BTreeMap<Labels, Vec<Reading>>> = BTreeMap::new();
        for Series { labels, readings } in series {
            let parts = counters.entry(self.query.counter(&labels)).or_default();
            match parts.entry(labels) {
                Entry::Vacant(place) => drop(place.insert(readings)),
                Entry::Occupied(_) => self.refuse(Reason::Ambiguous, readings.len()),
            }
        }
        let mut told: BTreeMap<(HostId, String), Told> = BTreeMap::new();
        for (counter, parts) in counters {
            let Some((labels, _)) = parts.first_key_value() else { continue };
            let Some(name) = self.query.name(labels) else {
                self.refuse(Reason::BadName, parts.values().map(Vec::len).sum());
                continue;
            };
            let host = self.query.host(labels).map_or_else(|| self.host.clone(), HostId::new);
            let id = self.query.id(labels).map(str::to_owned);
            let (counter, who): (Arc<str>, _) = (counter.into(), id.clone().unwrap_or_else(|| name.clone()));
            let vm = told.entry((host, who)).or_insert_with(|| Told { id, name, readings: vec![] });
            let readings = added(parts.into_values().collect());
            vm.readings.extend(readings.into_iter().map(|(t_ns, cpu_ns)| (t_ns, counter.clone(), cpu_ns)));
        }
        told
    }
}

/// The sum of the parts at the times at which all were read that are there then.
fn added(mut parts: Vec<Vec<Reading>>) -> Vec<Reading> {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut sums: BTreeMap<i64, (u64, usize)> = BTreeMap::new();
    for &(t_ns, cpu_ns) in parts.iter().flatten() {
        let sum = sums.entry(t_ns).or_default();
        *sum = (sum.0.saturating_add(cpu_ns), sum.1 + 1);
    }
    let spans: Vec<(i64, i64)> =
        parts.iter().filter_map(|part| Some((part.first()?.0, part.last()?.0))).collect();
    let there = |t_ns: i64| spans.iter().filter(|(first, last)| (*first..=*last).contains(&t_ns)).count();
    sums.into_iter()
        .filter(|(t_ns, (_, read))| *read == there(*t_ns))
        .map(|(t_ns, (sum, _))| (t_ns, sum))
        .collect()
}

impl Told {
    fn meter(&self, host: &HostId) -> Result<Meter, Reason> {
        Meter::new(host, self.id.as_deref(), &self.name)
    }
}

impl Vm {
    /// Readings that are not new are left out without a word: every answer repeats some.
    fn take(
        &mut self,
        host: &HostId,
        told: &Told,
        (grid, unused): (&Grid, &mut Unused),
        frames: &mut Frames,
    ) {
        for (t_ns, counter, cpu_ns) in &told.readings {
            let pause_ns = t_ns.saturating_sub(self.last_ns);
            let mut refuse = |reason| *unused.refused.entry(reason).or_default() += 1;
            if *counter != self.counter {
                if pause_ns <= 2 * grid.own_ns() {
                    if pause_ns > 0 {
                        refuse(Reason::Ambiguous);
                    }
                    continue;
                }
                // It has fallen silent: another takes its place, and counts from another beginning.
                self.meter.flush(frames);
                let Ok(meter) = told.meter(host) else { continue };
                (self.meter, self.counter) = (meter, counter.clone());
            } else if pause_ns <= 0 {
                continue;
            } else if pause_ns > grid.gap_ns() && self.last_ns > i64::MIN / 2 {
                unused.pauses += 1;
            }
            if let Err(reason) = self.meter.read(grid, *t_ns, Value::Counter(*cpu_ns)) {
                refuse(reason);
            }
            self.last_ns = *t_ns;
        }
    }
}

#[cfg(test)]
mod tests;
