//! The model of a window of 300 samples against other ways to it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lwt::model::{Ar, Fit, Order, autocovariances, fit, innovations, levinson};
use lwt::simd::Simd;
use lwt::types::HostId;
use lwt::window::{Params, Shape, VmWindow};
use nalgebra::{DMatrix, DVector};

const N: usize = 300;

fn samples() -> Vec<u32> {
    let mut level = 0;
    let mut next = |t: u64| {
        level = (level * 7 + 3 * (t * t * 2_654_435_761 % 1_000_003)) / 10;
        level as u32
    };
    (0..N as u64).map(&mut next).collect()
}

/// Levinson-Durbin as the books have it, turning the coefficients in place.
fn textbook(c: &[f64]) -> Vec<f64> {
    let mut phi: Vec<f64> = vec![];
    let mut variance = c[0];
    for k in 0..c.len() - 1 {
        let predicted: f64 = phi.iter().zip(c[1..=k].iter().rev()).map(|(a, c)| a * c).sum();
        let reflection = (c[k + 1] - predicted) / variance;
        let turned: Vec<f64> = phi.iter().rev().copied().collect();
        for (a, b) in phi.iter_mut().zip(turned) {
            *a -= reflection * b;
        }
        phi.push(reflection);
        variance *= 1.0 - reflection * reflection;
    }
    phi
}

fn models(c: &mut Criterion) {
    let x = samples();
    let params = Params::new(Shape::new(N, 60, 100)).unwrap();
    let mut window = VmWindow::new(-1);
    window.push(&params, &HostId::new("h"), 0, &x);
    window.close(&params, 4, Simd::detect());
    let view = window.view(0).unwrap();
    for p in [50, 100] {
        let mut group = c.benchmark_group(format!("order_{p}"));
        let covariances = autocovariances(&view, p);
        group.bench_function("autocovariances", |b| b.iter(|| autocovariances(black_box(&view), p)));
        for simd in Simd::available() {
            group.bench_function(BenchmarkId::new("levinson", format!("{simd:?}")), |b| {
                b.iter(|| {
                    levinson(simd, black_box(&covariances), |phi, variance| _ = black_box((phi, variance)))
                });
            });
        }
        group.bench_function("levinson/textbook", |b| b.iter(|| textbook(black_box(&covariances))));
        group.bench_function("levinson/dense_cholesky", |b| {
            let matrix = DMatrix::from_fn(p, p, |i, j| covariances[i.abs_diff(j)]);
            let right = DVector::from_column_slice(&covariances[1..]);
            b.iter(|| black_box(&matrix).clone().cholesky().unwrap().solve(&right));
        });
        for (name, order, by) in [
            ("yule_walker", Order::Fixed(p), Fit::YuleWalker),
            ("yule_walker_aicc", Order::Auto { max: p }, Fit::YuleWalker),
            ("least_squares", Order::Fixed(p), Fit::LeastSquares),
        ] {
            let simd = Simd::detect();
            group.bench_function(BenchmarkId::new("fit", name), |b| {
                b.iter(|| fit(black_box(&view), order, by, simd))
            });
        }
        let ar = fit(&view, Order::Fixed(p), Fit::YuleWalker, Simd::detect());
        for simd in Simd::available() {
            let mut out = vec![];
            group.bench_function(BenchmarkId::new("innovations", format!("{simd:?}")), |b| {
                b.iter(|| innovations(black_box(&ar), black_box(&x), &mut out, simd));
            });
        }
        group.bench_function("innovations/naive", |b| b.iter(|| naive(black_box(&ar), black_box(&x))));
        group.finish();
    }
}

fn naive(ar: &Ar, x: &[u32]) -> Vec<f64> {
    let p = ar.phi.len();
    let predicted = |t: usize| (1..=p).map(|k| ar.phi[k - 1] * f64::from(x[t - k])).sum::<f64>();
    (p..x.len()).map(|t| f64::from(x[t]) - ar.intercept - predicted(t)).collect()
}

criterion_group!(benches, models);
criterion_main!(benches);
