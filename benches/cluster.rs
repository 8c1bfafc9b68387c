//! K-means: the assignment beside the same by matrixmultiply, and whole searches.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lwt::cluster::{Assignment, Clusters, Params, Points, kmeans};
use lwt::simd::Simd;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The mean of six uniform draws, -1 to 1.
fn draw(rng: &mut ChaCha8Rng) -> f64 {
    (0..6).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0).sum::<f64>() / 6.0
}

/// Points around centres in groups of 3 or 4, as the AR models of VMs that work together are.
fn grouped(n: usize, dims: usize, each: usize) -> Points {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut points = Points::new(dims);
    let mut centre = Vec::new();
    for i in 0..n {
        if i % each == 0 {
            centre = (0..dims).map(|_| 0.3 * draw(&mut rng)).collect();
        }
        let row: Vec<f64> = centre.iter().map(|c: &f64| c + 0.2 * draw(&mut rng)).collect();
        points.push(&row);
    }
    points
}

/// By blocks of 512 points: products with matrixmultiply, then the least of each row.
fn by_matrixmultiply(x: &[f32], c: &[f32], (k, dims): (usize, usize), found: &mut [u32]) {
    let half: Vec<f32> = c.chunks_exact(dims).map(|c| c.iter().map(|c| c * c).sum::<f32>() / 2.0).collect();
    let mut scores = vec![0.0f32; 512 * k];
    for (rows, found) in x.chunks(512 * dims).zip(found.chunks_mut(512)) {
        let m = found.len();
        scores.chunks_exact_mut(k).take(m).for_each(|s| s.copy_from_slice(&half));
        // SAFETY: `rows` is m x dims, `c` k x dims, read as dims x k; `scores` holds m x k.
        unsafe {
            let (a, b, to) = (rows.as_ptr(), c.as_ptr(), scores.as_mut_ptr());
            matrixmultiply::sgemm(
                m,
                dims,
                k,
                -1.0,
                a,
                dims as isize,
                1,
                b,
                1,
                dims as isize,
                1.0,
                to,
                k as isize,
                1,
            );
        }
        for (found, scores) in found.iter_mut().zip(scores.chunks_exact(k)) {
            let (chunks, rest) = scores.as_chunks::<16>();
            let mut lanes = [f32::INFINITY; 16];
            chunks
                .iter()
                .for_each(|c| (0..16).for_each(|j| lanes[j] = if c[j] < lanes[j] { c[j] } else { lanes[j] }));
            let least = lanes.iter().chain(rest).fold(f32::INFINITY, |low, &s| if s < low { s } else { low });
            *found = scores.iter().position(|&s| s == least).unwrap_or(0) as u32;
        }
    }
}

fn assignment(bench: &mut Criterion) {
    let (n, k, dims) = (10_000, 1_000, 50);
    let (points, centres) = (grouped(n, dims, 10), grouped(k, dims, 1));
    let mut group = bench.benchmark_group("assign 10,000 x 1,000 x 50");
    for simd in Simd::available() {
        let mut assignment = Assignment::new(&points, simd);
        group.bench_function(format!("{simd:?}"), |b| {
            b.iter(|| assignment.nearest(black_box(&centres)).len())
        });
    }
    let single =
        |p: &Points| -> Vec<f32> { p.rows().flatten().map(|&x| x as f32 / (1 << 20) as f32).collect() };
    let (x, c, mut found) = (single(&points), single(&centres), vec![0; n]);
    group.bench_function("matrixmultiply", |b| {
        b.iter(|| by_matrixmultiply(black_box(&x), &c, (k, dims), &mut found));
    });
}

fn whole(bench: &mut Criterion) {
    let points = grouped(1_200, 100, 4);
    let params = Params::new(Clusters::Fixed(340), Some(1), 0).expect("right");
    let mut group = bench.benchmark_group("kmeans 1,200 x 340 x 100");
    group.sample_size(20);
    for simd in Simd::available() {
        group.bench_function(format!("{simd:?}"), |b| b.iter(|| kmeans(black_box(&points), &params, simd)));
    }
}

criterion_group!(benches, assignment, whole);
criterion_main!(benches);
