//! What the system knows of this process, under the names that every Prometheus client uses.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::{List, Real, seconds};

/// Linux counts CPU time in hundredths of a second, on all but forgotten machines.
const TICKS_PER_SECOND: f64 = 100.0;

pub struct Process {
    memory_bytes: Gauge,
    cpu_seconds: Counter<f64, AtomicU64>,
}

impl Process {
    pub fn register(list: &mut List, start_ms: i64) -> Self {
        let start: Real = Real::default();
        start.set(seconds(start_ms));
        list.seconds(
            "process_start_time",
            "When the process started, Unix time: it changes at a restart",
            start,
        );
        Process {
            memory_bytes: list.bytes("process_resident_memory", "Memory that is resident"),
            cpu_seconds: list.seconds("process_cpu", "CPU time used, user and system", Counter::default()),
        }
    }

    /// Looks what they are now; where the system does not say so they stay.
    pub fn look(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            self.memory_bytes.set(bytes);
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&stat) {
            self.cpu_seconds.inner().store(seconds.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<i64>().ok()? * 1024)
}

/// Of `/proc/self/stat`: its fields 14 and 15; the second, in parentheses, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        assert_eq!(resident_bytes("Name:\tlwt\nVmHWM:\t   9 kB\nVmRSS:\t    1236 kB\n"), Some(1_265_664));
        assert_eq!(resident_bytes("Name:\tlwt\n"), None);
        let stat = "17 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0 9";
        assert_eq!(cpu_seconds(stat), Some(2.81));
        assert_eq!(cpu_seconds("17 (lwt) S 1"), None);
    }
}
