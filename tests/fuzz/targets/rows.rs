//! Readings decoded from any bytes, in the order of their times, written in each format and read back: nothing is
//! lost or late, and all formats give the same samples.

#![no_main]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use lwt::transport::file::{Batch, Format, Options, Progress, Trace};
use lwt::types::{MAX_CPU_PPM, Tick};

/// Rows are so far apart at most: less than what needs to be confirmed.
const LONGEST_STEP: u64 = 60;

#[derive(Arbitrary, Debug)]
struct Input {
    start: u32,
    period: u8,
    rows: Vec<Row>,
}

#[derive(Arbitrary, Debug)]
struct Row {
    /// Periods since the row before.
    step: u8,
    /// One for each VM; what is missing is left out.
    cpu_ppm: [Option<u32>; 3],
}

/// (time in ms, VM, ppm), in order of time.
fn readings(input: &Input, period_ms: u64) -> Vec<(u64, usize, u32)> {
    let mut t_ms = u64::from(input.start) * 1000;
    let mut all = Vec::new();
    for row in &input.rows {
        t_ms += (u64::from(row.step) % LONGEST_STEP + 1) * period_ms;
        let read =
            row.cpu_ppm.iter().enumerate().filter_map(|(vm, ppm)| Some((vm, (*ppm)? % (MAX_CPU_PPM + 1))));
        all.extend(read.map(|(vm, ppm)| (t_ms, vm, ppm)));
    }
    all
}

fn percent(ppm: u32) -> String {
    format!("{}.{:04}", ppm / 10_000, ppm % 10_000)
}

fn long(readings: &[(u64, usize, u32)]) -> String {
    let mut text = String::from("host,t,vm,cpu\n");
    for (t_ms, vm, ppm) in readings {
        writeln!(text, "h,{}.{:03},v{vm},{}", t_ms / 1000, t_ms % 1000, percent(*ppm)).expect("a string");
    }
    text
}

fn ndjson(readings: &[(u64, usize, u32)], period_ms: u64) -> String {
    let mut text = String::new();
    for (t_ms, vm, ppm) in readings {
        let vms = format!(r#"[{{"name":"v{vm}","cpu_ppm":{ppm}}}]"#);
        writeln!(text, r#"{{"v":1,"host":"h","t_ms":{t_ms},"period_ms":{period_ms},"vms":{vms}}}"#)
            .expect("a string");
    }
    text
}

/// VM -> tick -> ppm; the samples come in order, none behind the watermark, none twice.
fn read(text: String, format: Format, period_ms: u64) -> (Batch, BTreeMap<(String, Tick), u32>) {
    let options = Options { format: Some(format), counters: false, period_ms: Some(period_ms) };
    let source = std::io::Cursor::new(text.into_bytes());
    let mut trace = Trace::from_reader(Box::new(source), Path::new("fuzz"), options).expect("a trace");
    let (mut out, mut seen) = (Batch::default(), BTreeMap::new());
    loop {
        let before = out.watermark;
        let progress = trace.read(&mut out).expect("no file fails");
        for run in out.samples.drain(..) {
            assert!(before.is_none_or(|before| run.first >= before), "{} is behind {before:?}", run.first);
            for (tick, ppm) in (run.first..).zip(run.cpu_ppm) {
                assert_eq!(seen.insert((run.vm.to_string(), tick), ppm), None, "a tick comes once");
            }
        }
        if progress == Progress::End {
            return (out, seen);
        }
    }
}

fuzz_target!(|input: Input| {
    let period_ms = [10, 100, 250, 1000, 5000][usize::from(input.period) % 5];
    // A first row of every VM and a second one period later tell the period of a CSV.
    let mut rows = readings(&input, period_ms);
    let Some(&(first_ms, _, _)) = rows.first() else { return };
    let second = rows.partition_point(|row| row.0 == first_ms);
    let aligned = first_ms % period_ms == 0;
    if !aligned || rows.get(second).is_none_or(|row| row.0 != first_ms + period_ms) {
        return;
    }
    rows.truncate(4096);
    let (out, samples) = read(ndjson(&rows, period_ms), Format::Ndjson, period_ms);
    let want: BTreeMap<(String, Tick), u32> = rows
        .iter()
        .map(|&(t_ms, vm, ppm)| ((format!("h/v{vm}"), (t_ms / period_ms) as Tick - 1), ppm))
        .collect();
    assert_eq!((out.readings, out.refused), (rows.len() as u64, 0));
    assert_eq!(samples, want, "each reading on the grid is a sample");
    let steps: Vec<u64> =
        rows.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|&step| step > 0).take(64).collect();
    if steps.iter().all(|&step| step == period_ms) {
        let (out, samples) = read(long(&rows), Format::Long, period_ms);
        assert_eq!((out.readings, out.refused), (rows.len() as u64, 0));
        assert_eq!(samples, want, "a CSV says the same");
    }
});
