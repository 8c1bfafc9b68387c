//! libvirt: `virsh schedinfo DOMAIN --live`. A cap is `NAME=QUOTA/PERIOD` in us, of the whole domain: `global_quota`
//! where there is one (QEMU), else `vcpu_quota` (LXC, whose domains have one group). -1 is none. The quota of single
//! virtual CPUs is not used: a domain that is busy on one of four would be left with a quarter.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Seen, quota_us, run};
use crate::collect::domains::uuids;
use crate::collect::domstats;
use crate::types::{HostId, VmId};

const QUOTAS: [(&str, &str); 2] = [("global_quota", "global_period"), ("vcpu_quota", "vcpu_period")];

/// A libvirt daemon.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Libvirt {
    /// `virsh -q`, with what else it needs.
    pub command: Vec<String>,
}

impl Libvirt {
    /// All domains that run.
    ///
    /// # Errors
    /// When `virsh` fails.
    pub fn list(&self, host: &HostId) -> io::Result<Vec<Seen>> {
        let text = run(&self.command, &["domstats", "--raw", "--cpu-total", "--state"])?;
        let uuids = uuids(&run(&self.command, &["list", "--all", "--uuid", "--name"])?, false);
        let seen = |used: domstats::Used<'_>| {
            let path = format!("{host}/{}", used.name);
            let vm = uuids.get(used.name).cloned().unwrap_or_else(|| path.clone());
            let handle = uuids.get(used.name).cloned().unwrap_or_else(|| used.name.to_owned());
            let names = vec![vm.clone(), used.name.to_owned(), path];
            Seen { vm: VmId::new(&vm), handle, names, used_ns: used.cpu_ns }
        };
        Ok(domstats::read(&text).into_iter().map(seen).collect())
    }

    /// The present cap; nothing if the domain does not run.
    ///
    /// # Errors
    /// When `virsh` fails.
    pub fn read(&self, domain: &str) -> io::Result<Option<String>> {
        match run(&self.command, &["schedinfo", "--live", domain]) {
            Ok(text) => {
                let wrong = || io::Error::other(format!("virsh schedinfo prints no quota of {domain}"));
                cap_of(&text).map(Some).ok_or_else(wrong)
            }
            Err(error) => {
                let running = run(&self.command, &["list", "--uuid", "--name"])?;
                let is = |word: &str| word.trim() == domain;
                let there = running.lines().any(|line| is(line) || line.split_whitespace().any(is));
                if there { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Sets a cap.
    ///
    /// # Errors
    /// When `virsh` fails, or the text is no cap.
    pub fn set(&self, domain: &str, cap: &str) -> io::Result<()> {
        let (setting, _) = cap.split_once('/').ok_or(io::ErrorKind::InvalidInput)?;
        run(&self.command, &["schedinfo", "--live", domain, "--set", setting]).map(drop)
    }
}

fn cap_of(text: &str) -> Option<String> {
    let field = |line: &'_ str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let fields: BTreeMap<String, String> = text.lines().filter_map(field).collect();
    QUOTAS.iter().find_map(|(quota, period)| {
        let (value, period): (i64, i64) =
            (fields.get(*quota)?.parse().ok()?, fields.get(*period)?.parse().ok()?);
        Some(format!("{quota}={value}/{period}"))
    })
}

/// As [`super::Actuator::tighter`].
pub fn tighter(present: &str, ppm: u32) -> Option<String> {
    let (name, value) = present.split_once('=')?;
    let (quota, period) = value.split_once('/')?;
    let ours = quota_us(quota.parse().ok()?, period.parse().ok()?, ppm)?;
    Some(format!("{name}={ours}/{period}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 9.0 prints it of a domain of QEMU.
    const TEXT: &str = "Scheduler      : posix
cpu_shares     : 1024
vcpu_period    : 100000
vcpu_quota     : -1
emulator_period: 100000
emulator_quota : -1
global_period  : 100000
global_quota   : -1
iothread_period: 100000
iothread_quota : -1

";

    #[test]
    fn quotas() {
        assert_eq!(cap_of(TEXT).as_deref(), Some("global_quota=-1/100000"));
        assert_eq!(cap_of(&TEXT.replace("global_quota", "x")).as_deref(), Some("vcpu_quota=-1/100000"));
        assert_eq!(cap_of("Scheduler      : Unknown\n"), None);
        assert_eq!(tighter("global_quota=-1/100000", 250_000).as_deref(), Some("global_quota=25000/100000"));
        assert_eq!(tighter("global_quota=20000/100000", 250_000), None);
        assert_eq!(tighter("", 250_000), None);
    }
}
