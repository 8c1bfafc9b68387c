//! The model against slow, obvious twins; against statsmodels in `tests/statsmodels.rs`.

use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;

use super::*;
use crate::types::MAX_CPU_PPM;

const SIMD: Simd = Simd::Portable;

fn lagged(x: &[u32], lags: usize) -> Vec<i128> {
    let product = |t: usize, k: usize| i128::from(x[t]) * i128::from(x[t - k]);
    (0..lags.min(x.len())).map(|k| (k..x.len()).map(|t| product(t, k)).sum()).collect()
}

fn fitted(x: &[u32], order: Order, by: Fit, simd: Simd) -> Ar {
    let total = x.iter().map(|&x| u64::from(x)).sum();
    fit(&View { samples: x, total, lagged: &lagged(x, 60) }, order, by, simd)
}

/// Samples that depend on the ones before, from uniform noise.
fn series(noise: &[f64]) -> Vec<u32> {
    let mut level = 0.5;
    let mut next = |u: &f64| {
        level = 0.7 * level + 0.3 * u;
        (level * 1e6) as u32
    };
    noise.iter().map(&mut next).collect()
}

fn noise() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.0f64..1.0, 2..200)
}

fn covariances(x: &[u32], p: usize) -> Vec<f64> {
    let n = x.len();
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
    let x: Vec<f64> = x.iter().map(|&x| f64::from(x) - mean).collect();
    (0..=p).map(|k| (k..n).map(|t| x[t] * x[t - k]).sum::<f64>() / n as f64).collect()
}

/// The coefficients and the variance, by solving the whole Toeplitz system.
fn dense(covariances: &[f64], p: usize) -> (DVector<f64>, f64) {
    let matrix = DMatrix::from_fn(p, p, |i, j| covariances[i.abs_diff(j)]);
    let right = DVector::from_fn(p, |i, _| covariances[i + 1]);
    let phi = if p == 0 { right.clone() } else { matrix.lu().solve(&right).unwrap() };
    let variance = covariances[0] - phi.dot(&right);
    (phi, variance)
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-8 * b.abs().max(1.0))
}

proptest! {
    #[test]
    fn levinson_is_a_dense_solve(noise in noise(), p in 0usize..50) {
        let x = series(&noise);
        let p = p.min(x.len() - 2);
        let ar = fitted(&x, Order::Fixed(p), Fit::YuleWalker, SIMD);
        let (phi, variance) = dense(&covariances(&x, p), p);
        prop_assert!(close(&ar.phi, phi.as_slice()), "{:?} {phi}", ar.phi);
        prop_assert!((ar.variance / variance - 1.0).abs() < 1e-8);
    }

    #[test]
    fn the_order_is_that_of_refitting_each(noise in noise(), max in 0usize..40) {
        let x = series(&noise);
        let n = x.len() as f64;
        let aicc = |p: usize| {
            let k = p as f64;
            n * fitted(&x, Order::Fixed(p), Fit::YuleWalker, SIMD).variance.ln() + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0)
        };
        let ar = fitted(&x, Order::Auto { max }, Fit::YuleWalker, SIMD);
        let p = ar.phi.len();
        prop_assert_eq!(&ar, &fitted(&x, Order::Fixed(p), Fit::YuleWalker, SIMD));
        for other in 0..=max.min(x.len() - 2) {
            prop_assert!(aicc(p) <= aicc(other) + 1e-9, "{} {}", p, other);
        }
    }

    #[test]
    fn least_squares_is_the_least(noise in noise(), p in 0usize..12) {
        let x = series(&noise);
        let ar = fitted(&x, Order::Fixed(p), Fit::LeastSquares, SIMD);
        let p = ar.phi.len();
        let row = |t: usize, j: usize| if j == 0 { 1.0 } else { f64::from(x[t - j]) / 1e6 };
        let design = DMatrix::from_fn(x.len() - p, p + 1, |i, j| row(p + i, j));
        let y = DVector::from_fn(x.len() - p, |i, _| f64::from(x[p + i]) / 1e6);
        let qr = design.qr();
        let by_qr = qr.r().solve_upper_triangular(&(qr.q().transpose() * y)).unwrap();
        let found: Vec<f64> = std::iter::once(ar.intercept / 1e6).chain(ar.phi.iter().copied()).collect();
        prop_assert!(found.iter().zip(&by_qr).all(|(a, b)| (a - b).abs() < 1e-8 * b.abs().max(1.0)), "{found:?} {by_qr}");
        let mut left = vec![];
        innovations(&ar, &x, &mut left, SIMD);
        let variance = left.iter().map(|e| e * e).sum::<f64>() / left.len() as f64;
        prop_assert!((ar.variance - variance).abs() <= 1e-6 * variance + 1e-3);
    }

    #[test]
    fn innovations_are_what_is_left(noise in noise(), p in 0usize..60) {
        let x = series(&noise);
        let ar = Ar { phi: noise.iter().cycle().take(p).copied().collect(), intercept: 3.0, variance: 0.0 };
        let one = |t: usize| (1..=p).fold(f64::from(x[t]) - 3.0, |left, k| left - ar.phi[k - 1] * f64::from(x[t - k]));
        let expected: Vec<f64> = (p..x.len()).map(one).collect();
        for simd in Simd::available() {
            let mut out = vec![1.0];
            innovations(&ar, &x, &mut out, simd);
            prop_assert_eq!(&out, &expected);
        }
    }

    #[test]
    fn every_level_gives_the_same_bits(noise in noise(), p in 0usize..60) {
        let x = series(&noise);
        for order in [Order::Fixed(p), Order::Auto { max: p }] {
            let plain = fitted(&x, order, Fit::YuleWalker, SIMD);
            for simd in Simd::available() {
                prop_assert_eq!(&fitted(&x, order, Fit::YuleWalker, simd), &plain);
            }
        }
    }

    #[test]
    fn nothing_is_nan(x in prop::collection::vec(prop::sample::select(vec![0, 1, MAX_CPU_PPM]), 1..40), p in 0usize..60) {
        for by in [Fit::YuleWalker, Fit::LeastSquares] {
            for order in [Order::Fixed(p), Order::Auto { max: p }] {
                let ar = fitted(&x, order, by, SIMD);
                prop_assert!(ar.phi.iter().all(|phi| phi.is_finite()) && ar.intercept.is_finite());
                prop_assert!(ar.variance >= 0.0 && ar.variance.is_finite());
            }
        }
    }
}

#[test]
fn windows_without_variation_and_short_ones() {
    for (x, order, len) in [(&[7; 40][..], 10, 10), (&[7, 9], 5, 0), (&[7], 5, 0), (&[], 5, 0)] {
        let ar = fitted(x, Order::Fixed(order), Fit::YuleWalker, SIMD);
        assert_eq!(ar.phi, vec![0.0; len], "{x:?}");
    }
    let constant = fitted(&[7; 40], Order::Fixed(10), Fit::LeastSquares, SIMD);
    assert_eq!(constant, Ar { phi: vec![0.0; 10], intercept: 7.0, variance: 0.0 });
    let auto = fitted(&[7; 40], Order::Auto { max: 10 }, Fit::YuleWalker, SIMD);
    assert_eq!(auto, Ar { phi: vec![], intercept: 7.0, variance: 0.0 });
}

#[test]
fn singular_least_squares_fall_back() {
    // A period of 3: lag 4 is lag 1.
    let x: Vec<u32> = (0..60).map(|t| [5, 100, 40][t % 3]).collect();
    let order = Order::Fixed(6);
    assert_eq!(fitted(&x, order, Fit::LeastSquares, SIMD), fitted(&x, order, Fit::YuleWalker, SIMD));
}

#[test]
fn autocovariances_of_the_largest_window_do_not_overflow() {
    use crate::window::MAX_LENGTH_TICKS;
    let n = MAX_LENGTH_TICKS;
    let x: Vec<u32> = (0..n).map(|t| if t < n / 2 { MAX_CPU_PPM } else { 0 }).collect();
    let square = i128::from(MAX_CPU_PPM).pow(2);
    let sums: Vec<i128> = (0..3).map(|k| (n / 2 - k) as i128 * square).collect();
    let view = View { samples: &x, total: (n / 2) as u64 * u64::from(MAX_CPU_PPM), lagged: &sums };
    let found = autocovariances(&view, 2);
    let quarter = square as f64 / 4.0;
    assert!((found[0] / quarter - 1.0).abs() < 1e-15 && (found[2] / quarter - 1.0).abs() < 1e-5);
}
