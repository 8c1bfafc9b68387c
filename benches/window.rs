//! The sliding window against what it could be instead: a hop of one VM, with sums of lags 0 to 50.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lwt::simd::Simd;
use lwt::types::HostId;
use lwt::window::lagged::{products, slide};
use lwt::window::{Params, Shape, VmWindow};

const LAGS: usize = 51;

fn samples(n: usize) -> Vec<u32> {
    (0..n as u64).map(|t| (t * t * 2_654_435_761 % 1_000_003) as u32).collect()
}

/// All sums anew: the window behind as many zeros as there are lags, so that every sample has all of them.
fn recompute(simd: Simd, padded: &[u32], sums: &mut [i128]) {
    sums.fill(0);
    products(simd, &padded[LAGS - 1..], padded, |j, sum| sums[LAGS - 1 - j] += i128::from(sum));
}

/// Sums per pane (its samples times earlier ones), added up over the window, less what reaches before it.
fn by_pane(simd: Simd, x: &[u32], hop: usize, (panes, sums): (&mut Vec<[i128; LAGS]>, &mut [i128; LAGS])) {
    let n = x.len();
    let mut pane = [0; LAGS];
    products(simd, &x[n - hop..], &x[n - hop - LAGS + 1..], |j, sum| pane[LAGS - 1 - j] += i128::from(sum));
    panes.rotate_left(1);
    *panes.last_mut().unwrap() = pane;
    *sums = [0; LAGS];
    for pane in panes {
        for (sum, part) in sums.iter_mut().zip(pane) {
            *sum += *part;
        }
    }
    // `x` begins LAGS - 1 before the window, whose first samples reach back there; zeros behind, to fill the lanes.
    let mut edge = [0; 2 * LAGS];
    edge[..LAGS - 1].copy_from_slice(&x[LAGS - 1..2 * (LAGS - 1)]);
    for (i, &earlier) in x[..LAGS - 1].iter().enumerate() {
        for (k, sum) in sums.iter_mut().enumerate().skip(LAGS - 1 - i) {
            *sum -= i128::from(earlier) * i128::from(edge[i + k - (LAGS - 1)]);
        }
    }
}

/// Sample by sample, `i64` sums.
fn by_sample(x: &[u32], hop: usize, sums: &mut [i64; LAGS]) {
    let n = x.len() - hop;
    for t in 0..hop {
        let (new, old) = (i64::from(x[n + t]), i64::from(x[t]));
        let (enter, leave) = (&x[n + t + 1 - LAGS..=n + t], &x[t..t + LAGS]);
        for k in 0..LAGS {
            sums[k] += new * i64::from(enter[LAGS - 1 - k]) - old * i64::from(leave[k]);
        }
    }
}

fn kernels(c: &mut Criterion) {
    for (length, hop) in [(300, 60), (3000, 600)] {
        let mut group = c.benchmark_group(format!("hop_{hop}_of_{length}"));
        let x = samples(length + hop + LAGS);
        let entering = &x[..length + hop];
        let mut sums = [0i128; LAGS];
        recompute(Simd::Portable, &[vec![0; LAGS - 1], x[..length].to_vec()].concat(), &mut sums);
        for simd in Simd::available() {
            let level = format!("{simd:?}");
            group.bench_function(BenchmarkId::new("slide", &level), |b| {
                b.iter(|| {
                    // Cleared so that they never overflow, however often it runs.
                    let mut sums = black_box(sums);
                    slide(simd, black_box(entering), hop, &mut sums);
                    sums
                });
            });
            group.bench_function(BenchmarkId::new("by_pane", &level), |b| {
                let mut panes = vec![sums; length / hop];
                let mut out = sums;
                b.iter(|| by_pane(simd, black_box(&x[..length + LAGS - 1]), hop, (&mut panes, &mut out)));
            });
            group.bench_function(BenchmarkId::new("recompute", &level), |b| {
                let padded = [vec![0; LAGS - 1], x[..length].to_vec()].concat();
                b.iter(|| recompute(simd, black_box(&padded), black_box(&mut sums)));
            });
        }
        group.bench_function("by_sample/portable", |b| {
            let mut sums = [0i64; LAGS];
            b.iter(|| by_sample(black_box(entering), hop, black_box(&mut sums)));
        });
        group.finish();
    }
}

/// What the caller pays for a VM and hop: pushed in runs, closed, judged.
fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("push_and_close");
    let host = HostId::new("h");
    for (length, hop, scales) in
        [(300, 60, vec![1]), (3000, 600, vec![1]), (3000, 600, vec![1, 2, 5, 10, 20])]
    {
        for run in [1, 10, hop] {
            let name = format!("{length}_by_{hop}_scales_{}_runs_of_{run}", scales.len());
            let params =
                Params::new(Shape { scales: scales.clone(), ..Shape::new(length, hop, 50) }).unwrap();
            let x = samples(hop);
            group.bench_function(name, |b| {
                let (mut vm, mut pane) = (VmWindow::new(-1), 0);
                b.iter(|| {
                    for (first, run) in (params.pane_start(pane)..).step_by(run).zip(x.chunks(run)) {
                        vm.push(&params, &host, first, run);
                    }
                    pane += 1;
                    vm.close(&params, pane - 1, Simd::detect())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, kernels, whole);
criterion_main!(benches);
