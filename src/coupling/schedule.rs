//! What a VM does by the clock. A job that cron starts every 20 s tells nothing of other VMs by starting: when
//! it starts was known, only how much it does is news.

/// Periods that jobs are scheduled by, s.
pub const PERIODS_S: [u64; 8] = [5, 10, 15, 20, 30, 60, 120, 300];

/// A schedule counts if it explains this share of the variance: less is within what chance explains
/// of the few hundred samples of a window.
const LEAST_GAIN: f64 = 0.02;

/// How often a period must have passed.
const LEAST_TURNS: usize = 4;

/// A VM's schedule at one scale.
pub struct Schedule {
    /// Its period, in bins.
    pub period: usize,
    /// The samples less the mean of the *other* samples at the same phase (leave-one-out), moved up so that the
    /// smallest is 0; rounded, ppm.
    pub rest: Vec<u32>,
}

/// The period that explains most of the variance of `samples`, one every `bin_ms`, if any explains enough.
pub fn find(samples: &[u32], bin_ms: u64) -> Option<Schedule> {
    let n = samples.len() as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let centred: Vec<f64> = samples.iter().map(|&x| f64::from(x) - mean).collect();
    let variance: f64 = centred.iter().map(|x| x * x).sum();
    if variance == 0.0 {
        return None;
    }
    let mut best = (LEAST_GAIN, None);
    for period_s in PERIODS_S {
        let period = (period_s * 1000 / bin_ms) as usize;
        let whole = (period_s * 1000).is_multiple_of(bin_ms) && period >= 2;
        if !whole || samples.len() < LEAST_TURNS * period {
            continue;
        }
        let left: f64 = less_mean(&centred, period).iter().map(|x| x * x).sum();
        let gain = 1.0 - left / variance;
        if gain > best.0 {
            best = (gain, Some(period));
        }
    }
    let period = best.1?;
    let rest = less_mean(&centred, period);
    let least = rest.iter().copied().fold(f64::INFINITY, f64::min);
    Some(Schedule { period, rest: rest.iter().map(|x| (x - least).round() as u32).collect() })
}

/// Each value less the mean of the others at its phase.
fn less_mean(x: &[f64], period: usize) -> Vec<f64> {
    let mut totals = vec![(0.0, 0.0); period];
    for turn in x.chunks(period) {
        for ((total, count), x) in totals.iter_mut().zip(turn) {
            *total += x;
            *count += 1.0;
        }
    }
    let mut rest = x.to_vec();
    for turn in rest.chunks_mut(period) {
        for (x, (total, count)) in turn.iter_mut().zip(&totals) {
            *x -= (total - *x) / (count - 1.0);
        }
    }
    rest
}

/// Makes innovations small at the phases at which they vary most: how much a scheduled job does, and by how much it
/// starts late, varies more than what happens between the jobs, and would be a large innovation at the same
/// moment in all VMs with that schedule. Each is divided by its phase's variance over the common one
/// (leave-one-out, shrunk as if each phase had `PRIOR` more samples of the common variance); never scaled up.
pub fn even_out(innovations: &mut [f64], period: usize) {
    const PRIOR: f64 = 2.0;
    let n = innovations.len() as f64;
    let common = innovations.iter().map(|e| e * e).sum::<f64>() / n;
    let mut phases = vec![(0.0, 0.0); period];
    for (t, e) in innovations.iter().enumerate() {
        phases[t % period].0 += e * e;
        phases[t % period].1 += 1.0;
    }
    for (t, e) in innovations.iter_mut().enumerate() {
        let (square, count) = phases[t % period];
        let variance = (square - *e * *e + PRIOR * common) / (count - 1.0 + PRIOR);
        if variance > common {
            *e *= common / variance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_every_twenty_seconds_is_found_and_taken_off() {
        let job = |t: usize| if t % 20 < 3 { 500_000 } else { 1000 } + (t as u32 * 7919) % 500;
        let samples: Vec<u32> = (0..300).map(job).collect();
        let schedule = find(&samples, 1000).unwrap();
        assert_eq!(schedule.period, 20);
        assert!(*schedule.rest.iter().max().unwrap() < 2000);
    }

    #[test]
    fn noise_has_no_schedule() {
        let noise: Vec<u32> = (0..300u64).map(|t| (t * t * 2_654_435_761 % 100_003) as u32).collect();
        assert!(find(&noise, 1000).is_none());
        assert!(find(&[5; 300], 1000).is_none());
    }

    #[test]
    fn phases_that_vary_are_calmed() {
        let mut e: Vec<f64> = (0..200)
            .map(|t| if t % 10 == 0 { if t % 20 == 0 { 50.0 } else { -50.0 } } else { 1.0 })
            .collect();
        even_out(&mut e, 10);
        assert!(e[0] < 20.0 && e[1] == 1.0, "{} {}", e[0], e[1]);
    }
}
