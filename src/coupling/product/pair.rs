//! One pair of vectors: their exact product.

use crate::simd::Simd;

/// The product of two vectors of at most [`super::MAX_LEN`] values; the shorter counts as filled up with zeros.
pub fn dot(simd: Simd, a: &[i8], b: &[i8]) -> i32 {
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Vnni => unsafe { dot_avx512(a, b) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { dot_avx2(a, b) },
        _ => dot_body(a, b),
    }
}

/// Hands `emit(i, j, product)` each pair of a vector `i` of `left` and a later vector `j` of `right`, in order.
pub fn upper(
    simd: Simd,
    (left, right): (&[impl AsRef<[i8]>], &[impl AsRef<[i8]>]),
    mut emit: impl FnMut(usize, usize, i32),
) {
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate().skip(i + 1) {
            emit(i, j, dot(simd, a.as_ref(), b.as_ref()));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn dot_avx512(a: &[i8], b: &[i8]) -> i32 {
    dot_body(a, b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[i8], b: &[i8]) -> i32 {
    dot_body(a, b)
}

#[inline(always)]
fn dot_body(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_levels_agree(a in prop::collection::vec(any::<i8>(), 0..300), b in prop::collection::vec(any::<i8>(), 0..300)) {
            let products: Vec<i64> = a.iter().zip(&b).map(|(&a, &b)| i64::from(a) * i64::from(b)).collect();
            for simd in Simd::available() {
                prop_assert_eq!(i64::from(dot(simd, &a, &b)), products.iter().sum::<i64>());
            }
        }
    }
}
