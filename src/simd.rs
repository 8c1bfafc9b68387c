//! Which vector instructions the numeric kernels use. Found out when the program starts, so that one
//! binary runs on every x86-64 and is fast on new ones; handed to the kernels as an argument, so that
//! tests can compare them.
//!
//! Every kernel is one piece of plain Rust that is compiled once for each level, but for the products of bytes
//! (`coupling::product`), whose instructions the compiler does not find. It gives the same bits at every
//! level: integers, or floating point whose order of operations (lanes included) is written in the source
//! and in which no multiplication is fused with an addition.

/// A set of vector instructions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Simd {
    /// What every x86-64 has (SSE2), or another architecture.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX-512: F, BW, DQ and VL.
    Avx512,
    /// The same and VNNI: sums of products of bytes. For all other kernels it is AVX-512.
    Vnni,
}

impl Simd {
    /// The best that this machine has.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Simd::Portable)
    }

    /// All that this machine has, from the plainest to the best.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Simd::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                all.push(Simd::Avx2);
            }
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if wide && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                all.push(Simd::Avx512);
                if is_x86_feature_detected!("avx512vnni") {
                    all.push(Simd::Vnni);
                }
            }
        }
        all
    }
}
