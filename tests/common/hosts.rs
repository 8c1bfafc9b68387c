//! A recording of one host as the messages of two that sample differently.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use lwt::transport::file::{Batch, Options, Progress, Trace};
use lwt::transport::wire::{CpuPpm, Message, VmUse, write_message};
use lwt::types::{Tick, VmId};

/// The period of the recording, ms, and how many make a second.
const PERIOD_MS: u64 = 100;
const SECOND: Tick = 10;

/// Writes the messages of two hosts to `to`: every other VM of the recording is on the one, the rest on the other, each of
/// which samples so often, whole 100 ms.
pub fn divide(recording: &Path, periods_ms: [u64; 2], to: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(to).unwrap());
    let seconds = seconds(recording);
    let vms: Vec<&VmId> = seconds
        .values()
        .flat_map(BTreeMap::keys)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    for (second, used) in &seconds {
        for (host, period_ms) in periods_ms.into_iter().enumerate() {
            let whole = |(vm, values): (&VmId, &Vec<u32>)| {
                let here = vms.binary_search(&vm).unwrap() % 2 == host && values.len() == SECOND as usize;
                let means = values
                    .chunks((period_ms / PERIOD_MS) as usize)
                    .map(|part| part.iter().map(|ppm| u64::from(*ppm)).sum::<u64>() / part.len() as u64);
                here.then(|| VmUse {
                    id: Some(vm.as_str().to_string().into()),
                    name: vm.as_str().to_string().into(),
                    cpu_ppm: CpuPpm::Many(means.collect()),
                })
            };
            let t_ms = (second + 1) as u64 * 1000;
            let vms = used.iter().filter_map(whole).collect();
            let message = Message { v: 1, host: format!("host{host}").into(), t_ms, period_ms, vms };
            file.write_all(&write_message(&message).unwrap()).unwrap();
            file.write_all(b"\n").unwrap();
        }
    }
}

/// What each VM used in each second, period by period.
fn seconds(recording: &Path) -> BTreeMap<Tick, BTreeMap<VmId, Vec<u32>>> {
    let options = Options { period_ms: Some(PERIOD_MS), ..Options::default() };
    let (mut trace, mut batch) = (Trace::open(recording, options).unwrap(), Batch::default());
    let mut seconds = BTreeMap::<Tick, BTreeMap<VmId, Vec<u32>>>::new();
    loop {
        let progress = trace.read(&mut batch).unwrap();
        for run in batch.samples.drain(..) {
            for (tick, ppm) in (run.first..).zip(run.cpu_ppm) {
                let of_second = seconds.entry(tick.div_euclid(SECOND)).or_default();
                of_second.entry(run.vm.clone()).or_default().push(ppm);
            }
        }
        if progress == Progress::End {
            return seconds;
        }
    }
}
