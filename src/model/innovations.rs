//! What the model did not predict.

use super::Ar;
use crate::simd::Simd;

/// Samples that are predicted together: two AVX-512 registers. Each one's sum goes through the lags in their order.
const LANES: usize = 16;

/// The innovations of `samples` (ppm, oldest first) under a model of order p: `out[i]` is that of
/// `samples[p + i]`, ppm. None if there are no more than p samples.
pub fn innovations(ar: &Ar, samples: &[u32], out: &mut Vec<f64>, simd: Simd) {
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { innovations_avx512(ar, samples, out) },
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
    while end >= p + LANES {
        end -= LANES;
        let block = predict::<LANES>(ar, &out[end - p..end + LANES]);
        out[end..end + LANES].copy_from_slice(&block);
    }
    while end > p {
        end -= 1;
        out[end] = predict::<1>(ar, &out[end - p..=end])[0];
    }
    out.drain(..p.min(samples.len()));
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
