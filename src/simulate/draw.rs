//! Random numbers: one generator for every group of VMs, so that no group's course depends on another's.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};

/// The stream that stops and migrates VMs.
pub const CHURN: u64 = u64::MAX;
/// The stream that draws what there is.
pub const PLAN: u64 = u64::MAX - 1;

/// The generator of stream `stream`: streams of one seed are independent.
pub fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Mean 0, variance 1.
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// A waiting time.
pub fn exponential(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    let unit: f64 = Exp1.sample(rng);
    unit * mean
}

/// Median 1; `sigma` is the standard deviation of the logarithm.
pub fn lognormal(rng: &mut ChaCha8Rng, sigma: f64) -> f64 {
    (sigma * normal(rng)).exp()
}

/// Between `low` and `high`, its logarithm uniform.
pub fn log_uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(rng.random())
}

/// Between `low` and `high`.
pub fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// How many of many independent things happen; 0 for a mean that is not positive. From a mean of 30 on the
/// normal approximation, whose distribution function is off by less than 0.02 there, at a tenth of the cost.
pub fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    if mean >= 30.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng))
}

/// One step of a mean-reverting random walk (Ornstein-Uhlenbeck) around 0: `sd` in the long run, correlation
/// time `memory_s`. Stable for any `dt_s`.
pub fn drift(rng: &mut ChaCha8Rng, value: f64, (sd, memory_s): (f64, f64), dt_s: f64) -> f64 {
    let keep = (1.0 - dt_s / memory_s).max(0.0);
    keep * value + sd * (1.0 - keep * keep).sqrt() * normal(rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..20_000).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn a_poisson_number_has_its_mean_as_variance() {
        let mut rng = generator(1, 1);
        for mean in [0.1, 3.0, 29.0, 31.0, 500.0] {
            let (m, v) = mean_and_variance(|| poisson(&mut rng, mean));
            assert!((m / mean - 1.0).abs() < 0.1 && (v / mean - 1.0).abs() < 0.1, "{mean}: {m} {v}");
        }
        assert_eq!(poisson(&mut rng, 0.0), 0.0);
        assert_eq!(poisson(&mut rng, f64::NAN), 0.0);
    }

    #[test]
    fn a_drift_has_its_standard_deviation_at_every_step() {
        let mut rng = generator(1, 2);
        for dt_s in [0.1, 1.0, 60.0] {
            let mut x = 0.0;
            let (_, v) = mean_and_variance(|| {
                x = drift(&mut rng, x, (0.5, 5.0), dt_s);
                x
            });
            assert!((v.sqrt() / 0.5 - 1.0).abs() < 0.15, "{dt_s}: {v}");
        }
    }
}
