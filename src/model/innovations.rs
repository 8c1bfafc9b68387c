//! What the model did not predict.

use super::Ar;
use crate::simd::Simd;

/// The innovations of `samples` (ppm, oldest first) under a model of order p, each summed through the
/// lags in their order: `out[i]` is that of
/// `samples[p + i]`, ppm. None if there are no more than p samples.
pub fn innovations(ar: &Ar, samples: &[u32], out: &mut Vec<f64>, simd: Simd) {
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Vnni => unsafe { innovations_avx512(ar, samples, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { innovations_avx2(ar, samples, out) },
        _ => innovations_body(ar, samples, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn innovations_avx512(ar: &Ar, samples: &[u32], out: &mut Vec<f64>) {
    innovations_body(ar, samples, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn innovations_avx2(ar: &Ar, samples: &[u32], out: &mut Vec<f64>) {
    innovations_body(ar, samples, out);
}

#[inline(always)]
fn innovations_body(ar: &Ar, samples: &[u32], out: &mut Vec<f64>) {
    let p = ar.phi.len();
    out.clear();
    out.extend(samples.iter().map(|&x| f64::from(x)));
    // In place, from the end: what is overwritten is not needed by what is before it.
    let mut end = out.len();
    // Many together, so that additions need not wait for one another; then what is left.
    end = predict_all::<32>(ar, out, end);
    end = predict_all::<8>(ar, out, end);
    predict_all::<1>(ar, out, end);
    out.drain(..p.min(samples.len()));
}

/// Turns samples before `end` into innovations, `N` by `N`; returns where it could not go on.
#[inline(always)]
fn predict_all<const N: usize>(ar: &Ar, x: &mut [f64], mut end: usize) -> usize {
    let p = ar.phi.len();
    while end >= p + N {
        end -= N;
        let block = predict::<N>(ar, &x[end - p..end + N]);
        x[end..end + N].copy_from_slice(&block);
    }
    end
}

/// The innovations of the last `N` of `x`, which has `p` more before them.
#[inline(always)]
fn predict<const N: usize>(ar: &Ar, x: &[f64]) -> [f64; N] {
    let p = ar.phi.len();
    let mut left = [0.0; N];
    for lane in 0..N {
        left[lane] = x[p + lane] - ar.intercept;
    }
    // Lag k of the first of them is x[p - k].
    for (phi, before) in ar.phi.iter().zip(x.windows(N).take(p).rev()) {
        for lane in 0..N {
            left[lane] -= phi * before[lane];
        }
    }
    left
}
