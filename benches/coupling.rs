//! Products of all pairs of vectors, in multiply-adds a second, beside the same by matrixmultiply in f32.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lwt::coupling::product::{Beyond, COARSE, Pairs, Vectors, products};
use lwt::simd::Simd;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Rounded normal scores as it were: the sum of four uniform draws, spread 32.
fn scores(rows: usize, len: usize) -> Vec<i8> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || (rng.next_u32().to_le_bytes().map(i32::from).iter().sum::<i32>() - 510) * 32 / 148;
    (0..rows * len).map(|_| draw().clamp(-127, 127) as i8).collect()
}

/// What is beyond four and a half standard deviations: 7 pairs of a million.
fn beyond(len: usize) -> Beyond {
    let high = (4.5 * 32.0 * 32.0 / f64::from(COARSE.pow(2)) * (len as f64).sqrt()) as i32;
    Beyond { low: -high, high }
}

fn all_pairs(bench: &mut Criterion) {
    for (rows, len) in [(2_000, 300), (2_000, 5_612), (10_000, 300), (10_000, 5_612)] {
        let values = scores(rows, len);
        let vectors = Vectors::new(values.chunks_exact(len), len);
        let mut group = bench.benchmark_group(format!("products {rows} x {len}"));
        group.throughput(Throughput::Elements((rows * (rows - 1) / 2 * len) as u64));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_secs(1));
        for simd in Simd::available() {
            // Avx512 is Avx2 here. Each takes some seconds for the most that it is asked for.
            let most = match simd {
                Simd::Portable => 1 << 31,
                Simd::Avx2 => 1 << 35,
                Simd::Avx512 => 0,
                Simd::Vnni => usize::MAX,
            };
            if rows * rows * len > most {
                continue;
            }
            group.bench_function(format!("{simd:?}"), |b| {
                b.iter(|| {
                    let mut found = 0u64;
                    let pair = (&vectors, black_box(&vectors));
                    products(simd, pair, Pairs::Upper, beyond(len), |_, _, _| found += 1);
                    found
                });
            });
        }
    }
}

/// All pairs of 2,000 twice, as a matrix product has them, without looking at what comes out.
fn by_matrixmultiply(bench: &mut Criterion) {
    let rows = 2_000;
    for len in [300, 5_612] {
        let values: Vec<f32> = scores(rows, len).into_iter().map(f32::from).collect();
        let mut found = vec![0.0f32; rows * rows];
        let mut group = bench.benchmark_group(format!("products {rows} x {len}"));
        group.throughput(Throughput::Elements((rows * rows * len) as u64));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_secs(1));
        group.bench_function("matrixmultiply", |b| {
            b.iter(|| {
                let (x, to) = (black_box(&values).as_ptr(), found.as_mut_ptr());
                let (row, n) = (len as isize, rows as isize);
                // SAFETY: `values` is rows x len, read as such and as len x rows; `found` rows x rows.
                unsafe {
                    matrixmultiply::sgemm(rows, len, rows, 1.0, x, row, 1, x, 1, row, 0.0, to, n, 1);
                }
            });
        });
    }
}

criterion_group!(benches, all_pairs, by_matrixmultiply);
criterion_main!(benches);
