//! The samples of the last window, for who looks at a VM. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::types::{HostId, Samples, Tick, VmId};

/// The most samples that are kept: 120 MB. 10,000 VMs have room for windows of 3,000 each; of more VMs, or longer
/// windows, the last of each are there.
const MAX_SAMPLES: usize = 30_000_000;

/// The most VMs: what else is known of them is 200 bytes each.
const MAX_VMS: usize = 1_000_000;

/// No sample.
const NONE: u32 = u32::MAX;

/// What one VM used of late.
#[derive(Debug)]
struct Series {
    host: HostId,
    /// The tick of the first one.
    first: Tick,
    /// One value a tick, [`NONE`] where there is none.
    cpu_ppm: VecDeque<u32>,
    /// Ticks of a sample, from which tick on: more than one after a VM has moved between hosts that sample differently.
    grains: Vec<(Tick, usize)>,
}

impl Series {
    fn grain(&self, tick: Tick) -> usize {
        self.grains.iter().rev().find(|(from, _)| *from <= tick).map_or(1, |(_, grain)| *grain)
    }

    /// Takes note that from `first` on samples are of `grain` ticks.
    fn sampled(&mut self, first: Tick, grain: usize) {
        if self.grains.last().is_none_or(|(_, last)| *last != grain) {
            self.grains.retain(|(from, _)| *from < first);
            self.grains.push((first, grain));
        }
    }

    /// Forgets what lies before the first value.
    fn trim(&mut self) {
        let before = self.grains.partition_point(|(from, _)| *from <= self.first);
        self.grains.drain(..before.saturating_sub(1));
    }
}

/// What all of them used.
#[derive(Debug)]
pub struct Recent {
    ticks: usize,
    period_ms: u64,
    last: Tick,
    vms: BTreeMap<VmId, Series>,
    /// What hosts call those whose identity does not say.
    names: BTreeMap<VmId, Box<str>>,
}

impl Recent {
    /// The last `ticks` periods of `period_ms` each.
    pub fn new(ticks: usize, period_ms: u64) -> Self {
        Recent { ticks, period_ms, last: Tick::MIN, vms: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The sampling period.
    pub fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// How many of each VM there is room for.
    fn room(&self) -> usize {
        self.ticks.min(MAX_SAMPLES / self.vms.len().max(1)).max(1)
    }

    /// Takes in samples. What is older than the window, or was there already, is passed over; of two hosts' samples of one
    /// tick the first one stays.
    pub fn push(&mut self, samples: &Samples) {
        if samples.cpu_ppm.is_empty() || (self.vms.len() >= MAX_VMS && !self.vms.contains_key(&samples.vm)) {
            return;
        }
        let room = self.room();
        self.last = self.last.max(samples.end() - 1);
        let series = self.vms.entry(samples.vm.clone()).or_insert_with(|| Series {
            host: samples.host.clone(),
            first: samples.first,
            cpu_ppm: VecDeque::new(),
            grains: vec![],
        });
        series.host = samples.host.clone();
        series.sampled(samples.first, samples.grain);
        // After a gap as long as the window nothing of before is left.
        let next = series.first + series.cpu_ppm.len() as Tick;
        if samples.first - next >= room as Tick {
            series.cpu_ppm.clear();
            series.first = samples.first;
        }
        let values = samples.cpu_ppm.iter().flat_map(|value| std::iter::repeat_n(*value, samples.grain));
        for (tick, value) in (samples.first..).zip(values) {
            let Ok(at) = usize::try_from(tick - series.first) else { continue };
            if at >= series.cpu_ppm.len() {
                series.cpu_ppm.resize(at, NONE);
                series.cpu_ppm.push_back(value);
            } else if series.cpu_ppm[at] == NONE {
                series.cpu_ppm[at] = value;
            }
            while series.cpu_ppm.len() > room {
                series.cpu_ppm.pop_front();
                series.first += 1;
            }
        }
        series.trim();
    }

    /// Forgets the VMs that nobody has heard of for two windows.
    pub fn forget(&mut self) {
        let (last, kept) = (self.last, 2 * self.ticks as Tick);
        self.vms.retain(|_, series| series.first + series.cpu_ppm.len() as Tick + kept > last);
    }

    /// Takes note of what its host calls a VM.
    pub fn call(&mut self, vm: VmId, name: Box<str>) {
        if self.names.len() < MAX_VMS || self.names.contains_key(&vm) {
            self.names.insert(vm, name);
        }
    }

    /// What the VM is called: by its host, as far as that is known, else what its identity says.
    pub fn name<'a>(&'a self, vm: &'a VmId) -> &'a str {
        self.names.get(vm).map_or(vm.name(), |name| name)
    }

    /// Where the VM runs, as far as its samples say.
    pub fn host(&self, vm: &VmId) -> Option<&HostId> {
        self.vms.get(vm).map(|series| &series.host)
    }

    /// When the first tick of the window begins, Unix milliseconds.
    pub fn begins_ms(&self) -> i64 {
        (self.last + 1 - self.ticks as Tick).max(0) * self.period_ms as i64
    }

    /// What the VM used in each tick of the window, ppm of one core. None if nothing is known of it.
    pub fn cpu_ppm(&self, vm: &VmId) -> Option<Vec<Option<u32>>> {
        let series = self.vms.get(vm)?;
        let first = self.last + 1 - self.ticks as Tick;
        let at = |tick: Tick| series.cpu_ppm.get(usize::try_from(tick - series.first).ok()?).copied();
        Some((first..=self.last).map(|tick| at(tick).filter(|&value| value != NONE)).collect())
    }

    /// The samples of these VMs, in runs without gaps, those of one VM after those of the other.
    pub fn runs(&self, vms: &[&VmId]) -> Vec<Samples> {
        let mut runs: Vec<Samples> = vec![];
        for vm in vms {
            let Some(series) = self.vms.get(*vm) else { continue };
            let mut next = None;
            for (tick, &value) in (series.first..).zip(&series.cpu_ppm) {
                let grain = series.grain(tick);
                // A coarse sample is told by its first tick; one whose beginning is forgotten is not told.
                if value == NONE || tick.rem_euclid(grain as Tick) != 0 {
                    continue;
                }
                match runs.last_mut().filter(|run| next == Some(tick) && run.grain == grain) {
                    Some(run) => run.cpu_ppm.push(value),
                    None => runs.push(Samples {
                        vm: (*vm).clone(),
                        host: series.host.clone(),
                        first: tick,
                        grain,
                        cpu_ppm: vec![value],
                    }),
                }
                next = Some(tick + grain as Tick);
            }
        }
        runs
    }

    /// All VMs of which there are samples.
    pub fn vms(&self) -> impl ExactSizeIterator<Item = &VmId> {
        self.vms.keys()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(first: Tick, cpu_ppm: &[u32]) -> Samples {
        Samples { vm: VmId::new("v"), host: HostId::new("h"), first, grain: 1, cpu_ppm: cpu_ppm.to_vec() }
    }

    proptest! {
        #[test]
        fn it_is_a_window_on_a_map(pushed in prop::collection::vec((0i64..60, 1usize..5), 1..30)) {
            let (mut recent, mut map, mut first) = (Recent::new(8, 1000), BTreeMap::new(), 0);
            for (i, (at, n)) in pushed.iter().enumerate() {
                let values: Vec<u32> = (0..*n).map(|j| (i * 10 + j) as u32).collect();
                recent.push(&run(*at, &values));
                // What is before the first that is kept has gone by.
                first = first.max(at + *n as i64 - 8);
                for (tick, value) in (*at..).zip(values) {
                    map.entry(tick).or_insert(value);
                }
            }
            let last = pushed.iter().map(|(at, n)| at + *n as i64 - 1).max().unwrap();
            let got = recent.cpu_ppm(&VmId::new("v")).unwrap();
            prop_assert_eq!(got.len(), 8);
            for (tick, value) in (last - 7..).zip(got) {
                // A tick from before the series began is not taken in late.
                if let Some(value) = value {
                    prop_assert_eq!(Some(&value), map.get(&tick));
                }
            }
            let runs = recent.runs(&[&VmId::new("v")]);
            prop_assert!(runs.windows(2).all(|w| w[0].first + (w[0].cpu_ppm.len() as i64) < w[1].first));
        }
    }

    #[test]
    fn coarse_samples_stay_samples() {
        let (mut recent, vm) = (Recent::new(9, 100), VmId::new("v"));
        let coarse = |first, cpu_ppm: &[u32]| Samples { grain: 5, ..run(first, cpu_ppm) };
        recent.push(&coarse(100, &[1, 2]));
        let ticks = [vec![1; 4], vec![2; 5]].concat();
        assert_eq!(recent.cpu_ppm(&vm).unwrap(), ticks.into_iter().map(Some).collect::<Vec<_>>());
        // The first one is half forgotten.
        assert_eq!(recent.runs(&[&vm]), [coarse(105, &[2])]);
        recent.push(&run(110, &[7, 8]));
        assert_eq!(recent.runs(&[&vm]), [coarse(105, &[2]), run(110, &[7, 8])]);
        recent.push(&run(112, &[9; 9]));
        assert_eq!((recent.runs(&[&vm]), recent.vms[&vm].grains.len()), (vec![run(112, &[9; 9])], 1));
    }

    #[test]
    fn who_has_a_name_is_called_by_it() {
        let (mut recent, vm) = (Recent::new(5, 100), VmId::new("5a3c"));
        assert_eq!((recent.name(&vm), recent.name(&VmId::new("h/web"))), ("5a3c", "web"));
        recent.call(vm.clone(), "db".into());
        recent.call(vm.clone(), "db2".into());
        assert_eq!(recent.name(&vm), "db2");
    }

    #[test]
    fn gaps_are_gaps() {
        let mut recent = Recent::new(5, 100);
        recent.push(&run(100, &[1, 2]));
        recent.push(&run(103, &[4]));
        let vm = VmId::new("v");
        assert_eq!(recent.cpu_ppm(&vm).unwrap(), [None, Some(1), Some(2), None, Some(4)]);
        assert_eq!(recent.begins_ms(), 9_900);
        assert_eq!(recent.runs(&[&vm]), [run(100, &[1, 2]), run(103, &[4])]);
        recent.push(&run(110, &[9]));
        assert_eq!(recent.cpu_ppm(&vm).unwrap(), [None, None, None, None, Some(9)]);
        recent.push(&Samples { vm: VmId::new("w"), ..run(121, &[1]) });
        recent.forget();
        assert_eq!(recent.vms().collect::<Vec<_>>(), [&VmId::new("w")]);
        assert_eq!(recent.cpu_ppm(&vm), None);
    }
}
