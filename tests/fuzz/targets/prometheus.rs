//! What Prometheus answers: whatever comes, samples are within bounds and nothing is counted twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::collect::frames::Frames;
use lwt::collect::grid::Grid;
use lwt::collect::series::query::{Query, Unit, templates};
use lwt::collect::series::{Vms, period_ms, spacing_ns};
use lwt::transport::prometheus::answer;
use lwt::types::{HostId, MAX_CPU_PPM};

fuzz_target!(|bytes: &[u8]| {
    for unit in [Unit::Seconds, Unit::Nanoseconds] {
        let Ok(answer) = answer::read(bytes, unit) else { continue };
        let Some(spacing_ns) = spacing_ns(&answer.series) else { continue };
        let period_ms = period_ms(spacing_ns);
        for template in templates() {
            let grid = Grid::new(period_ms, (spacing_ns / 1_000_000) as u64);
            let mut vms = Vms::new(Query::new(template), HostId::new("h"), grid);
            let mut frames = Frames::new(period_ms);
            let times = answer.series.iter().flat_map(|series| series.readings.iter().map(|(t_ns, _)| *t_ns));
            let last_ns = times.max().unwrap_or(0);
            vms.take(answer.series.clone(), last_ns, &mut frames);
            vms.take_unused();
            vms.flush(&mut frames);
            // The same once more is nothing new, but for what was forgotten.
            let before = vms.len();
            vms.take(answer.series.clone(), last_ns, &mut frames);
            assert!(vms.len() == before && vms.known_until_ns(last_ns) <= last_ns);
            frames.finish(|frame| {
                let all = frame.rows.iter().flat_map(|row| row.cpu_ppm);
                assert!(all.copied().all(|ppm| ppm <= MAX_CPU_PPM));
            });
        }
    }
});
