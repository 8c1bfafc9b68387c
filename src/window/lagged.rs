//! The kernel of the window: sums of products of samples a lag apart, exact, for many lags at once.
//!
//! Lanes run over lags: one sample is multiplied with `LANES` consecutive others, so nothing is ever added
//! up across lanes. Integers: the same sums at every vector level.

use crate::simd::Simd;

/// Lags that are summed together: two AVX-512 registers, four of AVX2.
const LANES: usize = 16;
/// Where fewer lags than that are left.
const HALF: usize = 8;

/// Moves sums of lagged products by one pane.
///
/// `samples` are the window's `n` samples and behind them the `hop` of the pane that enters, any `u32`
/// each; `sums[k]` is the sum of `x[t] * x[t - k]` over the first `n` when called and over the
/// last `n` afterwards. At most `n` lags, `hop <= n`. Costs `2 * hop * sums.len()` multiplications.
pub fn slide(simd: Simd, samples: &[u32], hop: usize, sums: &mut [i128]) {
    let Some(last) = sums.len().checked_sub(1) else { return };
    let n = samples.len() - hop;
    // All products whose later sample enters, as if nothing left; then all whose earlier sample leaves.
    products(simd, &samples[n..], &samples[n - last..], |j, sum| sums[last - j] += i128::from(sum));
    products(simd, &samples[..hop], &samples[..hop + last], |k, sum| sums[k] -= i128::from(sum));
}

/// Hands `add` the sums of `base[i] * beside[i + j]` over `i`, for each `j` from 0 to
/// `beside.len() - base.len()`: several parts of each sum where the whole may not fit a `u64`.
pub fn products(simd: Simd, base: &[u32], beside: &[u32], add: impl FnMut(usize, u64)) {
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Vnni => unsafe { products_avx512(base, beside, add) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { products_avx2(base, beside, add) },
        _ => products_body(base, beside, add),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn products_avx512(base: &[u32], beside: &[u32], add: impl FnMut(usize, u64)) {
    products_body(base, beside, add);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn products_avx2(base: &[u32], beside: &[u32], add: impl FnMut(usize, u64)) {
    products_body(base, beside, add);
}

#[inline(always)]
fn products_body(base: &[u32], beside: &[u32], mut add: impl FnMut(usize, u64)) {
    let lags = beside.len() + 1 - base.len();
    let step = safe_samples(base, beside);
    for start in (0..base.len()).step_by(step) {
        let part = &base[start..base.len().min(start + step)];
        let beside = &beside[start..start + part.len() + lags - 1];
        let mut done = 0;
        while done < lags {
            done += match lags - done {
                0..HALF => hand_over(block::<1>(part, &beside[done..]), done, &mut add),
                HALF..LANES => hand_over(block::<HALF>(part, &beside[done..]), done, &mut add),
                _ => hand_over(block::<LANES>(part, &beside[done..]), done, &mut add),
            };
        }
    }
}

#[inline(always)]
fn hand_over<const N: usize>(sums: [u64; N], first: usize, add: &mut impl FnMut(usize, u64)) -> usize {
    for (lane, sum) in sums.into_iter().enumerate() {
        add(first + lane, sum);
    }
    N
}

#[inline(always)]
fn block<const N: usize>(base: &[u32], beside: &[u32]) -> [u64; N] {
    let mut sums = [0u64; N];
    for (&x, others) in base.iter().zip(beside.windows(N)) {
        for lane in 0..N {
            sums[lane] += u64::from(x) * u64::from(others[lane]);
        }
    }
    sums
}

/// How many products of these samples surely fit a `u64`: of usual ones (below 2^24) 65,536.
#[inline(always)]
fn safe_samples(base: &[u32], beside: &[u32]) -> usize {
    let bits = |x: &[u32]| u32::BITS - x.iter().fold(0, |all, &x| all | x).leading_zeros();
    let product_bits = bits(base) + bits(beside);
    // Of products below 2^b each, 2^(64 - b) stay below 2^64. Of the largest samples, 29 bits, 64.
    1usize << (64 - product_bits).min(31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MAX_CPU_PPM;
    use proptest::prelude::*;

    fn recomputed(x: &[u32], lags: usize) -> Vec<i128> {
        let at = |t: usize| i128::from(x[t]);
        (0..lags).map(|k| (k..x.len()).map(|t| at(t) * at(t - k)).sum()).collect()
    }

    fn window() -> impl Strategy<Value = (usize, usize, usize, u32)> {
        (1usize..90).prop_flat_map(|n| (Just(n), 1..=n, 1..=n, prop_oneof![Just(1 << 20), Just(MAX_CPU_PPM)]))
    }

    proptest! {
        #[test]
        fn sliding_is_recomputing((n, hop, lags, max) in window(), seed in prop::collection::vec(0.0f64..=1.0, 180)) {
            let x: Vec<u32> = seed[..n + hop].iter().map(|u| (u * f64::from(max)) as u32).collect();
            for simd in Simd::available() {
                let mut sums = recomputed(&x[..n], lags);
                slide(simd, &x, hop, &mut sums);
                prop_assert_eq!(sums, recomputed(&x[hop..], lags));
            }
        }
    }

    #[test]
    fn the_largest_samples_do_not_overflow() {
        let x = vec![MAX_CPU_PPM; 1000];
        for simd in Simd::available() {
            let mut sums = recomputed(&x[..700], 60);
            slide(simd, &x, 300, &mut sums);
            assert_eq!(sums, recomputed(&x[300..], 60));
        }
    }
}
