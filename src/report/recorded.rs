//! What some VMs used in the last window, and their models.

use std::collections::{BTreeMap, BTreeSet};

use super::chosen::choose;
use super::graph::Graph;
use crate::model::{self, Fit, Order};
use crate::simd::Simd;
use crate::types::{Samples, Tick, VmId};
use crate::window::{Params, ParamsError, Run, Shape, Status, View, VmWindow};

/// VMs whose samples are kept for a report: a window of 3,000 samples takes 24 kB, so 12 MB.
pub const RECORDED_VMS: usize = 500;

/// The largest order that is looked at, as in the paper.
pub const MAX_ORDER: usize = 100;

/// The VMs whose samples a report needs: all that work, or as many of each ensemble as there is room for.
pub fn wanted(graph: &Graph, idle: &BTreeSet<VmId>) -> BTreeSet<VmId> {
    let work: BTreeSet<&VmId> = graph.vms.keys().filter(|vm| !idle.contains(*vm)).collect();
    if work.len() <= RECORDED_VMS {
        return work.into_iter().cloned().collect();
    }
    let chosen = choose(graph, RECORDED_VMS);
    let shown = chosen.groups.iter().flat_map(|group| group.own.iter().chain(&group.hubs)).copied();
    let shown: BTreeSet<&VmId> = shown.chain(chosen.loose).collect();
    let rest = work.difference(&shown).take(RECORDED_VMS.saturating_sub(shown.len()));
    shown.iter().chain(rest).map(|vm| (*vm).clone()).collect()
}

/// Gathers the last window of some VMs from their samples, by the rules of all windows.
pub struct Recent {
    params: Params,
    ticks: std::ops::Range<Tick>,
    windows: BTreeMap<VmId, VmWindow>,
}

/// A VM with a whole window.
pub struct Recorded {
    /// Which.
    pub vm: VmId,
    /// One value a tick, ppm of one core, oldest first.
    pub samples: Vec<u32>,
    /// The coefficients of its AR model.
    pub phi: Vec<f64>,
    window: VmWindow,
}

impl Recent {
    /// Of the `length` ticks before `end`, for models up to an order.
    ///
    /// # Errors
    /// A length that no window has.
    pub fn new(vms: BTreeSet<VmId>, (length, order): (usize, usize), end: Tick) -> Result<Self, ParamsError> {
        let start = end - length as Tick;
        let shape = Shape { origin: start, ..Shape::new(length, length, order) };
        let windows = vms.into_iter().map(|vm| (vm, VmWindow::new(-1))).collect();
        Ok(Recent { params: Params::new(shape)?, ticks: start..end, windows })
    }

    /// Takes in samples, if they are of one of the VMs and of that time. Those of several ticks each are as many equal ones.
    pub fn take(&mut self, samples: &Samples) {
        let Some(window) = self.windows.get_mut(&samples.vm) else { return };
        let ticks = |i: usize| samples.first + (i * samples.grain) as Tick;
        let each = samples.cpu_ppm.iter().enumerate().filter(|(i, _)| ticks(*i) < self.ticks.end);
        for (i, cpu_ppm) in each.filter(|(i, _)| ticks(i + 1) > self.ticks.start) {
            let (first, end) = (ticks(i).max(self.ticks.start), ticks(i + 1).min(self.ticks.end));
            let run = Run { first, grain: 1, cpu_ppm: &vec![*cpu_ppm; (end - first) as usize] };
            // What is refused here was refused by the flow, which counts it.
            window.push_run(&self.params, &samples.host, run);
        }
    }

    /// The VMs that have a whole window, with models of this order.
    pub fn finish(self, order: Order, fit: Fit, simd: Simd) -> Vec<Recorded> {
        let Recent { params, windows, .. } = self;
        let recorded = |(vm, mut window): (VmId, VmWindow)| {
            let status = window.close(&params, 0, simd);
            let view = window.view(0).filter(|_| status == Status::Whole)?;
            let (samples, phi) = (view.samples.to_vec(), model::fit(&view, order, fit, simd).phi);
            Some(Recorded { vm, samples, phi, window })
        };
        windows.into_iter().filter_map(recorded).collect()
    }
}

impl Recorded {
    /// Its window.
    pub fn view(&self) -> Option<View<'_>> {
        self.window.view(0)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::report::graph::tests::graph;
    use crate::types::HostId;

    /// VMs that do what their ensembles do, and some noise; the last sample ends with tick `length`.
    pub fn recorded(graph: &Graph, length: usize) -> Vec<Recorded> {
        let mut recent =
            Recent::new(wanted(graph, &BTreeSet::new()), (length, MAX_ORDER), length as Tick).unwrap();
        // The finish of SplitMix64.
        let noise = |seed: u64, t: u64| {
            let x = (seed << 32 | t).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            (x ^ x >> 31) & 0xffff
        };
        for (i, (vm, of)) in graph.vms.iter().enumerate() {
            let ensemble = of.first().map_or(i as u64, |name| name.bytes().map(u64::from).sum());
            let value = |t: u64| (200_000 + 4 * noise(ensemble, t / 3) + noise(1000 + i as u64, t)) as u32;
            let cpu_ppm = (0..length as u64).map(value).collect();
            recent.take(&Samples { vm: vm.clone(), host: HostId::new("h"), first: 0, grain: 1, cpu_ppm });
        }
        recent.finish(Order::Fixed(10), Fit::YuleWalker, Simd::Portable)
    }

    #[test]
    fn samples_of_the_last_window_are_kept() {
        let vm = VmId::new("a");
        let mut recent = Recent::new([vm.clone(), VmId::new("absent")].into(), (6, 1), 10).unwrap();
        let mut take = |first, grain, cpu_ppm: &[u32]| {
            let (vm, host, cpu_ppm) = (vm.clone(), HostId::new("h"), cpu_ppm.to_vec());
            recent.take(&Samples { vm, host, first, grain, cpu_ppm });
        };
        take(0, 1, &[9, 9, 9, 9, 1_000, 2_000]);
        take(6, 2, &[3_000, 4_000, 9]);
        let recorded = recent.finish(Order::Fixed(1), Fit::YuleWalker, Simd::Portable);
        assert_eq!(recorded.len(), 1);
        assert_eq!(recorded[0].samples, [1_000, 2_000, 3_000, 3_000, 4_000, 4_000]);
        assert_eq!(recorded[0].phi.len(), 1);
    }

    #[test]
    fn of_many_vms_a_part_of_each_ensemble_is_wanted() {
        let few = graph(&[("e1", 30)], 3);
        let idle = BTreeSet::from([VmId::new("alone0")]);
        assert_eq!(wanted(&few, &idle).len(), 32);
        let many = graph(&[("e1", 400), ("e2", 3)], 600);
        let some = wanted(&many, &idle);
        assert_eq!(some.len(), RECORDED_VMS);
        assert_eq!(some.iter().filter(|vm| vm.as_str().starts_with("e1-")).count(), 24);
        assert!(some.contains(&VmId::new("e2-vm0")));
    }
}
