//! Yule-Walker: autocovariances, exact, and the Levinson-Durbin recursion, in lanes.

use super::ln::ln;
use super::{Ar, to_f64};
use crate::simd::Simd;
use crate::window::View;

/// Partial sums of a dot product, and coefficients that are updated together.
const LANES: usize = 8;

/// The model of order `most`, or with `choose` that of the least AICc up to it.
pub fn fit(view: &View<'_>, most: usize, choose: bool, simd: Simd) -> Ar {
    let n = view.samples.len();
    let covariances = autocovariances(view, most);
    let mut best = Ar { variance: covariances.first().copied().unwrap_or(0.0), ..Ar::default() };
    let mut least = if choose { aicc(n, 0, best.variance) } else { f64::INFINITY };
    levinson(simd, &covariances, |phi, variance| {
        let criterion = if choose { aicc(n, phi.len(), variance) } else { f64::INFINITY };
        if criterion < least || (!choose && phi.len() == most) {
            least = criterion;
            best.phi.clear();
            best.phi.extend_from_slice(phi);
            best.variance = variance;
        }
    });
    best.intercept = view.total as f64 / n.max(1) as f64 * (1.0 - best.phi.iter().sum::<f64>());
    best
}

/// AICc without its constants; see [`super::Order::Auto`].
fn aicc(n: usize, k: usize, variance: f64) -> f64 {
    if variance < f64::MIN_POSITIVE {
        return f64::NEG_INFINITY;
    }
    let (n, k) = (n as f64, k as f64);
    n * ln(variance) + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
}

/// The biased autocovariances (ppm^2) of lags 0 to `most` about the window's mean:
/// `c[k] = 1/n * sum of (x[t] - m)(x[t - k] - m)`.
///
/// With the total T and the sums of the first and the last k samples,
/// `n^3 c[k] = n^2 S[k] - n T (2 T - first - last) + (n - k) T^2`, exact in integers: with n at most 2^20 and samples
/// below 2^29, T is below 2^49, S below 2^78, and the terms below 2^118, 2^119 and 2^118.
pub fn autocovariances(view: &View<'_>, most: usize) -> Vec<f64> {
    let x = view.samples;
    let (n, total) = (x.len() as i128, i128::from(view.total));
    let cube = (n * n * n).max(1) as f64;
    let square = total * total;
    let mut ends = 0u64;
    let covariance = |(k, &sum): (usize, &i128)| {
        if k > 0 {
            ends += u64::from(x[k - 1]) + u64::from(x[x.len() - k]);
        }
        let inner = 2 * total - i128::from(ends);
        to_f64(n * (n * sum - total * inner) + (n - k as i128) * square) / cube
    };
    view.lagged.iter().take(most + 1).enumerate().map(covariance).collect()
}

/// Solves the Yule-Walker equations of all orders from 1 up to `covariances.len() - 1`, and hands each order's
/// coefficients and innovation variance to `each`. Where nothing is left to predict, further
/// coefficients are 0.
///
/// The Levinson-Durbin recursion: Durbin, *The fitting of time-series models*, 1960; Brockwell and Davis, *Time
/// Series: Theory and Methods*, proposition 5.2.1.
pub fn levinson(simd: Simd, covariances: &[f64], each: impl FnMut(&[f64], f64)) {
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Vnni => unsafe { levinson_avx512(covariances, each) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { levinson_avx2(covariances, each) },
        _ => levinson_body(covariances, each),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn levinson_avx512(covariances: &[f64], each: impl FnMut(&[f64], f64)) {
    levinson_body(covariances, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn levinson_avx2(covariances: &[f64], each: impl FnMut(&[f64], f64)) {
    levinson_body(covariances, each);
}

#[inline(always)]
fn levinson_body(covariances: &[f64], mut each: impl FnMut(&[f64], f64)) {
    let Some(most) = covariances.len().checked_sub(1) else { return };
    // So that every run over memory goes forwards: the covariances from the last to the first, and the coefficients
    // twice: `phi[..k]` forwards, `turned[most - k..]` from the last to the first. Zeros behind all three fill the
    // lanes up.
    let padding = [0.0; LANES];
    let reversed: Vec<f64> = covariances.iter().rev().chain(&padding).copied().collect();
    let mut phi = vec![0.0; most + LANES];
    let mut turned = vec![0.0; most + LANES];
    let mut variance = covariances[0];
    for k in 0..most {
        let width = k.next_multiple_of(LANES);
        let predicted = dot(&phi[..width], &reversed[most - k..][..width]);
        // What rounding may leave of the variance when the rest is predicted (or of none) predicts nothing.
        let known = variance <= covariances[0] * f64::EPSILON;
        let reflection = if known { 0.0 } else { (covariances[k + 1] - predicted) / variance };
        for (forward, backward) in phi[..width].iter_mut().zip(&mut turned[most - k..][..width]) {
            (*forward, *backward) = (*forward - reflection * *backward, *backward - reflection * *forward);
        }
        phi[k] = reflection;
        turned[most - k - 1] = reflection;
        variance *= 1.0 - reflection * reflection;
        each(&phi[..=k], variance);
    }
}

/// Of as many elements as fill the lanes.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
