//! How caps are read and set: control groups (both versions), Xen's toolstack, libvirt. Texts of caps are compared, never
//! understood, when they are put back: whoever wrote them knows what they mean.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::collect::program;
use crate::types::{HostId, VmId};

pub mod cgroup;
pub mod libvirt;
pub mod xen;

/// How long a command may take; it is ended so even if we are not there any more.
const TIMEOUT: [&str; 3] = ["timeout", "--kill-after=1", "5"];

/// How long nothing may come of it.
const PATIENCE: Duration = Duration::from_secs(8);

/// For how long after a process died, a command of its may still act: what `timeout` grants, and something.
const SETTLE_MS: i64 = 7_000;

/// A VM that is here now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its identity, as the collector tells it.
    pub vm: VmId,
    /// What the actuator calls it.
    pub handle: String,
    /// Everything that it is called: identity, name, handle.
    pub names: Vec<String>,
    /// The CPU time that it has used, ns.
    pub used_ns: u64,
}

/// One way to cap VMs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actuator {
    /// `cpu.max`, or `cpu.cfs_quota_us`.
    Cgroup(cgroup::Cgroups),
    /// `xl sched-credit2`, `xl sched-credit`.
    Xen(xen::Xen),
    /// `virsh schedinfo`.
    Libvirt(libvirt::Libvirt),
}

impl Actuator {
    /// The VMs of `host` that are here. Two of one name are not among them.
    ///
    /// # Errors
    /// When nobody tells.
    pub fn list(&self, host: &HostId) -> io::Result<Vec<Seen>> {
        let mut seen = match self {
            Actuator::Cgroup(groups) => groups.list(host),
            Actuator::Xen(xen) => xen.list(host)?,
            Actuator::Libvirt(libvirt) => libvirt.list(host)?,
        };
        seen.sort_by(|a, b| a.vm.cmp(&b.vm));
        let twice = |at: usize| {
            let same = |other: Option<&Seen>| other.is_some_and(|other| other.vm == seen[at].vm);
            same(at.checked_sub(1).and_then(|before| seen.get(before))) || same(seen.get(at + 1))
        };
        Ok((0..seen.len()).filter(|at| !twice(*at)).map(|at| seen[at].clone()).collect())
    }

    /// The present cap of a VM; nothing if it is not there any more.
    ///
    /// # Errors
    /// When nobody tells.
    pub fn read(&self, handle: &str) -> io::Result<Option<String>> {
        match self {
            Actuator::Cgroup(groups) => groups.read(handle),
            Actuator::Xen(xen) => xen.read(handle),
            Actuator::Libvirt(libvirt) => libvirt.read(handle),
        }
    }

    /// Sets a cap.
    ///
    /// # Errors
    /// When it is not known to be set: it may be, nevertheless, or will be.
    pub fn set(&self, handle: &str, cap: &str) -> io::Result<()> {
        match self {
            Actuator::Cgroup(groups) => groups.set(handle, cap),
            Actuator::Xen(xen) => xen.set(handle, cap),
            Actuator::Libvirt(libvirt) => libvirt.set(handle, cap),
        }
    }

    /// The cap of `ppm` of one core where `present` holds now; nothing if that is as tight already, or not understood.
    pub fn tighter(&self, present: &str, ppm: u32) -> Option<String> {
        match self {
            Actuator::Cgroup(_) => cgroup::tighter(present, ppm),
            Actuator::Xen(_) => xen::tighter(present, ppm),
            Actuator::Libvirt(_) => libvirt::tighter(present, ppm),
        }
    }

    /// For how long after its process died a call of [`Actuator::set`] may still act, ms.
    pub fn settle_ms(&self) -> i64 {
        match self {
            // A write is done or not when its process is gone.
            Actuator::Cgroup(_) => 0,
            Actuator::Xen(_) | Actuator::Libvirt(_) => SETTLE_MS,
        }
    }

    /// How often it may be asked for all VMs: a toolstack takes some 50 ms for an answer.
    pub fn pause(&self) -> Duration {
        match self {
            Actuator::Cgroup(_) => Duration::from_secs(1),
            Actuator::Xen(_) | Actuator::Libvirt(_) => Duration::from_secs(5),
        }
    }
}

/// A quota of `ppm` of one core in periods of `period_us`, if `quota_us` is above it (or none: negative).
fn quota_us(quota_us: i64, period_us: i64, ppm: u32) -> Option<i64> {
    // Rounded up: never below what was allowed. At most 1 s times 2^32 ppm.
    let ours = i64::from(ppm).checked_mul(period_us)?.checked_add(999_999)? / 1_000_000;
    ((quota_us < 0 || quota_us > ours) && ours >= 1_000 && (1_000..=1_000_000).contains(&period_us))
        .then_some(ours)
}

/// Runs `command` with `args`; what it prints.
fn run(command: &[String], args: &[&str]) -> io::Result<String> {
    let timeout = TIMEOUT.iter().map(|word| word.to_string());
    let all: Vec<String> =
        timeout.chain(command.iter().cloned()).chain(args.iter().map(|arg| arg.to_string())).collect();
    program::output(&all, PATIENCE)
}

/// Where control groups with the cpu controller are mounted.
pub fn find_root() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];
    roots.map(PathBuf::from).into_iter().find(|root| root.join("cgroup.procs").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        for (quota, period, ppm, want) in [
            (-1, 100_000, 50_000, Some(5_000)),
            (-1, 100_000, 50_001, Some(5_001)),
            (5_001, 100_000, 50_000, Some(5_000)),
            (5_000, 100_000, 50_000, None),
            (-1, 100_000, 9_990, None),
            (-1, 50_000, 4_000_000, Some(200_000)),
            (-1, 0, 50_000, None),
            (-1, i64::MAX, 50_000, None),
        ] {
            assert_eq!(quota_us(quota, period, ppm), want, "{quota} {period} {ppm}");
        }
    }
}
