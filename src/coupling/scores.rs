//! One VM's window, at every scale: what its model did not predict, as normal scores of ranks.

use super::null::{NORMAL, median};
use super::params::{ORDER, Params, Scale, UNIT};
use super::schedule;
use crate::model::{self, Ar, Fit, Order};
use crate::simd::Simd;
use crate::window::{View, VmWindow};

/// The sampler's jitter, ms: a counter is read that much too early or late, so that much of the *level* moves
/// from one sample into the next, at the same moment in all VMs of a host.
const JITTER_MS: f64 = 10.0;

/// Variations below this share of the level are not news: a VM that runs at its cap varies by what
/// contention takes from it, together with its neighbours.
const CONTENTION: f64 = 0.05;

/// The noise is taken to be at most four times as large: constant VMs have no variations at all.
const LEAST_USUAL: f64 = 0.25;

/// The scores of a window that was judged whole, all scales one after the other, in `UNIT`s; `params.values()` of
/// them, 0 at scales that its samples do not fit. The window's scales must be those of `params`.
pub fn scores(window: &VmWindow, params: &Params, simd: Simd) -> Vec<i8> {
    let (mut scores, grain) = (vec![0; params.values()], window.grain());
    let mut work = Work::default();
    for (index, scale) in
        params.scales().iter().enumerate().filter(|(_, scale)| scale.ticks.is_multiple_of(grain))
    {
        if let Some(view) = window.view(index) {
            work.scale(&view, scale, simd, &mut scores[scale.range()]);
        }
    }
    scores
}

/// Innovations of one scale, ppm of one core, with the samples that they are of: what a person looks at.
pub fn innovations(view: &View<'_>, scale: &Scale, simd: Simd) -> Vec<f64> {
    let mut work = Work::default();
    work.innovate(view, scale, simd);
    work.innovations
}

/// The period of the schedule, in bins, that innovations of one scale are freed of, if the VM has one.
pub fn period_bins(view: &View<'_>, scale: &Scale) -> Option<usize> {
    schedule::find(view.samples, scale.bin_ms).map(|schedule| schedule.period)
}

#[derive(Default)]
struct Work {
    innovations: Vec<f64>,
    ranked: Vec<(u64, u32)>,
}

impl Work {
    fn scale(&mut self, view: &View<'_>, scale: &Scale, simd: Simd, out: &mut [i8]) {
        let period = self.innovate(view, scale, simd);
        let news = self.news(view, scale);
        if let Some(period) = period {
            schedule::even_out(&mut self.innovations, period);
        }
        self.rank(scale, |t, score| out[t] = (score * news[t]).round().clamp(-127.0, 127.0) as i8);
    }

    /// The innovations, after the schedule, whose period is returned.
    fn innovate(&mut self, view: &View<'_>, scale: &Scale, simd: Simd) -> Option<usize> {
        let schedule = schedule::find(view.samples, scale.bin_ms);
        match &schedule {
            None => {
                let ar = model::fit(view, Order::Fixed(ORDER), Fit::YuleWalker, simd);
                model::innovations(&ar, view.samples, &mut self.innovations, simd);
            }
            Some(schedule) => {
                let ar = fit(&schedule.rest, simd);
                model::innovations(&ar, &schedule.rest, &mut self.innovations, simd);
            }
        }
        schedule.map(|schedule| schedule.period)
    }

    /// How much of each innovation is more than measurement: `e^2 / (e^2 + noise^2)`, with the noise in
    /// proportion to the level that was or was expected. If half of a VM's variations are less than that noise, its
    /// larger ones are likely to be contention's too: the noise is taken to be larger by as much.
    fn news(&self, view: &View<'_>, scale: &Scale) -> Vec<f32> {
        let jitter = JITTER_MS / scale.bin_ms as f64;
        let noise = (jitter * jitter + CONTENTION * CONTENTION).sqrt();
        let levels = view.samples[ORDER..].iter().map(|&x| f64::from(x));
        let share = |(e, level): (&f64, f64)| e.abs() / level.max(level - e).max(1.0);
        let shares: Vec<f64> = self.innovations.iter().zip(levels).map(share).collect();
        let usual = NORMAL * median(&mut shares.clone());
        let noise = noise * (noise / usual.max(noise * LEAST_USUAL)).max(1.0);
        shares.iter().map(|share| (share * share / (share * share + noise * noise)) as f32).collect()
    }

    /// Hands out each moment's score. Equal innovations share the mean of their ranks.
    fn rank(&mut self, scale: &Scale, mut each: impl FnMut(usize, f32)) {
        self.ranked.clear();
        self.ranked.extend(self.innovations.iter().enumerate().map(|(t, e)| (ordered(*e), t as u32)));
        self.ranked.sort_unstable();
        let mut first = 0;
        for tied in self.ranked.chunk_by(|a, b| a.0 == b.0) {
            let score = scale.normal[2 * first + tied.len() - 1];
            tied.iter().for_each(|(_, t)| each(*t as usize, score));
            first += tied.len();
        }
    }
}

/// A number that is ordered as `x` is; -0 and 0 are one.
fn ordered(x: f64) -> u64 {
    let bits = (x + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The model of a series without a window: its autocovariances directly.
fn fit(x: &[u32], simd: Simd) -> Ar {
    let n = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let centred: Vec<f64> = x.iter().map(|&x| f64::from(x) - mean).collect();
    let lagged = |k: usize| centred[k..].iter().zip(&centred).map(|(a, b)| a * b).sum::<f64>() / n;
    let covariances: Vec<f64> = (0..=ORDER.min(x.len() - 1)).map(lagged).collect();
    let mut ar = Ar { variance: covariances[0], ..Ar::default() };
    model::levinson(simd, &covariances, |phi, variance| {
        if phi.len() == ORDER {
            ar.phi = phi.to_vec();
            ar.variance = variance;
        }
    });
    ar.intercept = mean * (1.0 - ar.phi.iter().sum::<f64>());
    ar
}

/// A score as a number of standard deviations.
pub fn deviations(score: i8) -> f64 {
    f64::from(score) / UNIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::HostId;
    use crate::window::{self, Run, Shape};

    /// What a VM does, sampled by samples of `grain` ticks.
    fn sampled(grain: usize, params: &Params) -> (VmWindow, Vec<i8>) {
        let shape = Shape { scales: params.scale_ticks(), ..Shape::new(3000, 600, ORDER) };
        let (shape, mut window) = (window::Params::new(shape).unwrap(), VmWindow::new(-1));
        // Multiples of 1,000: their means are exact.
        let use_ppm = |t: u64| 1000 * (t.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as u32;
        let ticks: Vec<u32> = (0..3000).map(use_ppm).collect();
        let mean = |ticks: &[u32]| ticks.iter().sum::<u32>() / grain as u32;
        let cpu_ppm: Vec<u32> = ticks.chunks(grain).map(mean).collect();
        window.push_run(&shape, &HostId::new("h"), Run { first: 0, grain, cpu_ppm: &cpu_ppm });
        window.close(&shape, 4, Simd::Portable);
        let scores = scores(&window, params, Simd::Portable);
        (window, scores)
    }

    #[test]
    fn a_coarse_vm_says_at_its_scales_what_a_fine_one_says() {
        let params = Params::new(100, 3000, 600, 0.01).unwrap();
        let (_, fine) = sampled(1, &params);
        for grain in [2, 5, 10, 20, 50] {
            let (_, coarse) = sampled(grain, &params);
            for scale in params.scales() {
                let (fine, coarse) = (&fine[scale.range()], &coarse[scale.range()]);
                if scale.ticks.is_multiple_of(grain) {
                    assert!(
                        coarse == fine && fine.iter().any(|score| *score != 0),
                        "{grain}: {}",
                        scale.ticks
                    );
                } else {
                    assert!(coarse.iter().all(|score| *score == 0), "{grain}: {}", scale.ticks);
                }
            }
        }
    }
}
