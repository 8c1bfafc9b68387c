//! The samples of one VM as a sliding window, at one or several scales, with exact sums of lagged products.
//!
//! Pure. Knows one VM at a time: which VMs there are, and when a pane closes, is the caller's to say.
//!
//! A *pane* is a hop long; a window closes with each pane and ends where it ends. The sums are running totals:
//! when a pane enters, the products whose later sample is in it are added, and those whose earlier sample is in
//! the leaving pane are taken off. Nothing is kept per pane, and a hop costs what is new.
//!
//! # Rules
//! - **Missing ticks** take the value of the tick before; before a VM's first sample, its first value. So every
//!   window is whole and no pane changes once closed. A window that misses more ticks than [`Shape::max_missing`]
//!   is [`Status::Partial`]: so is that of a VM that has just appeared, paused or is vanishing.
//! - A VM without any sample in a whole window is [`Status::Gone`], and forgotten: if it returns, it is new.
//! - **Duplicates** (same VM, host and tick): the first to arrive counts, the others are refused.
//! - **Migration** (same VM and tick, several hosts): the samples are summed, at most [`MAX_CPU_PPM`]. The VM's
//!   host is that of its latest sample; if several hosts have that tick, the first by name.
//! - **Late** samples, of a closed pane, are refused; **implausible** ones, above [`MAX_CPU_PPM`], too.
//! - **Coarse** samples, of several ticks each, are as many equal ticks: CPU use is a rate. They must begin at a multiple of
//!   their length and fit a scale ([`Params::takes`]); one of whose ticks its host has already is a duplicate. The window
//!   knows its *grain*, and stays coarse until the last coarse pane has left it: below that scale it says nothing.
//! - A window that hardly varies ([`IDLE_VARIANCE`]) is [`Status::Idle`].
//! - But for 'first counts', nothing depends on the order in which the samples of open panes arrive.
//! - **Scales:** a bin is the mean of its ticks, rounded to the nearest ppm (halves up), so the unit and the bound
//!   are the same at every scale. Bins are aligned with panes.
//!
//! # Memory
//! For each scale of `s` ticks `4 * (length + hop) / s + 16 * (max_lag + 1)` bytes; 300 ticks by 60 with 50 lags:
//! 2,256. Some 200 more a VM, and `4 * hop` for each host in each open pane, however coarse its samples are.
//!
//! [`MAX_CPU_PPM`]: crate::types::MAX_CPU_PPM

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::simd::Simd;
use crate::types::{HostId, Reason, Tick, lcm};

pub mod lagged;
mod pane;
mod params;

use pane::{Closed, MISSING, Pane};
pub use params::{MAX_LENGTH_TICKS, MAX_SCALES, Params, ParamsError, Shape};

/// A window whose single ticks vary by no more than this (ppm^2) is idle: a standard deviation of 500 ppm, the most
/// that a reading has which flips between two neighbouring steps of `xentop`'s 0.1 % (1,000 ppm). In recordings of
/// real services at 1 s the quietest member of an ensemble had 1,230. The ticks of a coarse sample are equal, so of coarse
/// windows this is the variance of the samples.
pub const IDLE_VARIANCE: i128 = 500 * 500;

/// One VM's window and the panes that are open. Made for the first sample, dropped when [`VmWindow::is_empty`].
///
/// The caller bounds the number of open panes: by refusing samples from the future.
#[derive(Clone, Debug)]
pub struct VmWindow {
    closed: i64,
    open: Vec<(i64, Pane)>,
    host: Option<HostId>,
    /// Missing ticks in each pane of the window, oldest first.
    missing: Vec<u32>,
    /// Ticks of a sample in each of them.
    grains: Vec<u32>,
    /// One for each scale; none while the window has no sample.
    series: Vec<Series>,
}

/// What can be said of a window. The first that applies, from the last to the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Status {
    /// To be judged.
    Whole,
    /// Hardly varies: belongs to no ensemble.
    Idle,
    /// Misses too many ticks to be judged.
    Partial {
        /// How many.
        missing_ticks: usize,
    },
    /// Has no sample at all.
    Gone,
}

/// A window at one scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View<'a> {
    /// One value a bin, ppm of one core, oldest first.
    pub samples: &'a [u32],
    /// Their sum.
    pub total: u64,
    /// `lagged[k]` is the sum of `samples[t] * samples[t - k]` over all `t >= k`.
    pub lagged: &'a [i128],
}

/// Consecutive samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run<'a> {
    /// The tick with which the first one begins.
    pub first: Tick,
    /// Ticks of each, at least 1.
    pub grain: usize,
    /// One value a sample.
    pub cpu_ppm: &'a [u32],
}

/// Samples that [`VmWindow::push`] could not use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Which, as positions in the run that was pushed.
    pub range: Range<usize>,
}

#[derive(Clone, Debug)]
struct Series {
    samples: Vec<u32>,
    total: u64,
    lagged: Vec<i128>,
}

impl VmWindow {
    /// A VM not seen before, when all panes up to `closed` are closed (`i64::MIN`: none).
    pub fn new(closed: i64) -> Self {
        VmWindow { closed, open: vec![], host: None, missing: vec![], grains: vec![], series: vec![] }
    }

    /// Adds consecutive samples of a tick each, read on `host`, the first at tick `first`. What cannot be used is returned.
    pub fn push(&mut self, params: &Params, host: &HostId, first: Tick, cpu_ppm: &[u32]) -> Vec<Refused> {
        self.push_run(params, host, Run { first, grain: 1, cpu_ppm })
    }

    /// The same of samples of any grain.
    pub fn push_run(&mut self, params: &Params, host: &HostId, run: Run<'_>) -> Vec<Refused> {
        let Run { first, grain, cpu_ppm } = run;
        let all = |reason| vec![Refused { reason, range: 0..cpu_ppm.len() }];
        if !params.takes(grain) {
            return all(Reason::TooCoarse);
        }
        // A pane is whole samples, so what is counted from the start of one tells.
        if params.pane_start(params.pane_of(first)).abs_diff(first) % grain as u64 != 0 {
            return all(Reason::Unaligned);
        }
        let mut refused: Vec<Refused> = vec![];
        let mut refuse = |reason, range: Range<usize>| match refused.last_mut() {
            Some(last) if last.reason == reason && last.range.end == range.start => {
                last.range.end = range.end
            }
            _ => refused.push(Refused { reason, range }),
        };
        let mut start = 0;
        while start < cpu_ppm.len() {
            let tick = first.saturating_add((start * grain) as i64);
            let pane = params.pane_of(tick);
            // 0 to hop - 1 (but at the ends of time, where subtraction saturates).
            let at = tick.saturating_sub(params.pane_start(pane)).clamp(0, params.hop() as i64 - 1) as usize;
            let end = cpu_ppm.len().min(start + (params.hop() - at).div_ceil(grain));
            if pane <= self.closed {
                refuse(Reason::Late, start..end);
            } else {
                let run = &cpu_ppm[start..end];
                let shift = |reason, r: Range<usize>| refuse(reason, start + r.start..start + r.end);
                self.open_pane(pane, params.hop()).add(host, (at, grain), run, shift);
            }
            start = end;
        }
        refused
    }

    fn open_pane(&mut self, pane: i64, hop: usize) -> &mut Pane {
        let i = self.open.partition_point(|(open, _)| *open < pane);
        if self.open.get(i).is_none_or(|(open, _)| *open != pane) {
            self.open.insert(i, (pane, Pane::new(hop)));
        }
        &mut self.open[i].1
    }

    /// Closes all panes up to `pane`: the window then ends with it. Nothing if it is closed already.
    pub fn close(&mut self, params: &Params, pane: i64, simd: Simd) -> Status {
        while self.closed < pane {
            let open = self.open.first().map_or(pane, |(open, _)| *open);
            // Without a window there is nothing to slide until the next sample. With one, a gap as long as
            // the window empties it: at most `panes` turns for each open pane.
            self.closed = if self.series.is_empty() { open.min(pane) } else { self.closed + 1 };
            let raw = if open == self.closed && !self.open.is_empty() {
                self.open.remove(0).1
            } else {
                Pane::new(params.hop())
            };
            let closed = raw.finish();
            self.slide(params, closed, simd);
        }
        self.status(params)
    }

    fn slide(&mut self, params: &Params, closed: Closed, simd: Simd) {
        let Closed { mut ticks, host, grain } = closed;
        self.host = host.or(self.host.take());
        let missing = ticks.iter().filter(|&&x| x == MISSING).count();
        let before = match self.series.first() {
            Some(single) => single.samples.last(),
            None => ticks.iter().find(|&&x| x != MISSING),
        };
        let Some(&before) = before else { return };
        if self.series.is_empty() {
            self.series =
                params.scales().iter().map(|&scale| Series::constant(before, params, scale)).collect();
            self.missing = vec![params.hop() as u32; params.panes()];
            self.grains = vec![1; params.panes()];
        }
        if missing > 0 {
            fill(&mut ticks, before);
        }
        for (series, &scale) in self.series.iter_mut().zip(params.scales()) {
            series.slide(&ticks, scale, simd);
        }
        self.missing.rotate_left(1);
        self.grains.rotate_left(1);
        if let (Some(last), Some(coarse)) = (self.missing.last_mut(), self.grains.last_mut()) {
            (*last, *coarse) = (missing as u32, grain as u32);
        }
        if self.missing_ticks() == params.length() {
            *self = VmWindow { open: std::mem::take(&mut self.open), ..VmWindow::new(self.closed) };
        }
    }

    fn missing_ticks(&self) -> usize {
        self.missing.iter().map(|&ticks| ticks as usize).sum()
    }

    /// What can be said of the window that closed last.
    pub fn status(&self, params: &Params) -> Status {
        let Some(single) = self.view(0) else { return Status::Gone };
        let missing_ticks = self.missing_ticks();
        if missing_ticks > params.max_missing_ticks() {
            return Status::Partial { missing_ticks };
        }
        // n^2 times the variance: n * the sum of squares (below 2^98) - the total squared.
        let n = single.samples.len() as i128;
        let varies = n * single.lagged[0] - i128::from(single.total).pow(2) > IDLE_VARIANCE * n * n;
        if varies { Status::Whole } else { Status::Idle }
    }

    /// The window that closed last at `params.scales()[scale]`; none if it is [`Status::Gone`].
    pub fn view(&self, scale: usize) -> Option<View<'_>> {
        let Series { samples, total, lagged } = self.series.get(scale)?;
        Some(View { samples, total: *total, lagged })
    }

    /// Ticks of a sample in the window that closed last; of samples of several lengths their least common multiple. At scales
    /// that are no multiples of it the window says nothing of its own.
    pub fn grain(&self) -> usize {
        self.grains.iter().fold(1, |all, grain| lcm(all, u64::from(*grain))) as usize
    }

    /// Where the VM ran when last sampled in a closed pane.
    pub fn host(&self) -> Option<&HostId> {
        self.host.as_ref()
    }

    /// Whether neither the window nor an open pane holds anything.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.open.is_empty()
    }
}

impl Series {
    /// A window in which every bin is `x`.
    fn constant(x: u32, params: &Params, scale: usize) -> Self {
        let bins = params.length() / scale;
        let mut samples = Vec::with_capacity(bins + params.hop() / scale);
        samples.resize(bins, x);
        let square = i128::from(x) * i128::from(x);
        let lagged = (0..=params.max_lag(scale)).map(|k| (bins - k) as i128 * square).collect();
        Series { samples, total: bins as u64 * u64::from(x), lagged }
    }

    fn slide(&mut self, ticks: &[u32], scale: usize, simd: Simd) {
        let (bins, hop) = (self.samples.len(), ticks.len() / scale);
        if scale == 1 {
            self.samples.extend_from_slice(ticks);
        } else {
            self.samples.extend(ticks.chunks_exact(scale).map(mean));
        }
        lagged::slide(simd, &self.samples, hop, &mut self.lagged);
        let sum = |x: &[u32]| x.iter().map(|&x| u64::from(x)).sum::<u64>();
        self.total = self.total + sum(&self.samples[bins..]) - sum(&self.samples[..hop]);
        self.samples.copy_within(hop.., 0);
        self.samples.truncate(bins);
    }
}

fn mean(ticks: &[u32]) -> u32 {
    let n = ticks.len() as u64;
    let sum: u64 = ticks.iter().map(|&x| u64::from(x)).sum();
    ((sum + n / 2) / n) as u32
}

fn fill(ticks: &mut [u32], mut before: u32) {
    for x in ticks {
        if *x == MISSING {
            *x = before;
        }
        before = *x;
    }
}

#[cfg(test)]
mod tests;
