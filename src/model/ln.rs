//! The natural logarithm in operations that every CPU has: the C library's picks its code, and with it the last
//! bit, by the CPU.

use std::f64::consts::{LN_2, SQRT_2};

/// ln x of a positive, normal number, to 1e-15 of it or of 1.
pub fn ln(x: f64) -> f64 {
    // x = m * 2^e, m from 1 to 2, then from 0.71 to 1.41.
    let mut exponent = ((x.to_bits() >> 52) & 0x7ff) as f64 - 1023.0;
    let mut m = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    if m > SQRT_2 {
        m /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...), |s| <= 0.172: 12 terms leave 0.172^25 / 25 < 1e-20.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, i| sum * square + 1.0 / f64::from(2 * i + 1));
    exponent * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::ln;

    #[test]
    fn as_the_c_library() {
        let mut x = 1e-300;
        while x < 1e300 {
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs().max(1.0), "{x}");
            x *= 1.0123;
        }
        assert_eq!(ln(1.0), 0.0);
    }
}
