//! What one VM costs in one tick of a simulated datacenter: simulated, and written as a trace.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lwt::simulate::{Format, Params, Simulator, Writer};

fn simulate(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulate");
    for vms in [1_000, 100_000] {
        let params =
            Params { vms, seed: 1, period_ms: 1000, start_ms: 1_700_000_000_000, churn_per_hour: 0.0 };
        let Ok(mut simulator) = Simulator::new(params) else { return };
        let (mut readings, mut bytes) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements(vms as u64)).sample_size(20);
        group.bench_function(BenchmarkId::new("tick", vms), |b| {
            b.iter(|| simulator.tick(black_box(&mut readings)))
        });
        for format in [Format::Wide, Format::Long, Format::Ndjson] {
            let mut writer = Writer::new(&simulator, format);
            group.bench_function(BenchmarkId::new(format!("{format:?}"), vms), |b| {
                b.iter(|| {
                    bytes.clear();
                    writer.tick(1_700_000_001_000, black_box(&readings), &mut bytes);
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, simulate);
criterion_main!(benches);
