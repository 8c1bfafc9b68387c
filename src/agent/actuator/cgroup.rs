//! Control groups. A cap is `QUOTA PERIOD` in us, as version 2 writes it in `cpu.max`: `max 100000`, `50000 100000`;
//! version 1 has two files, and -1 for `max`. The period is left as it is.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Seen, quota_us};
use crate::collect::cgroup::name::name_of;
use crate::collect::cgroup::patterns::Pattern;
use crate::collect::cgroup::usage_ns;
use crate::collect::number::counter_ns;
use crate::types::{HostId, VmId};

const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";
const MAX: &str = "cpu.max";

/// Control groups below a root.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cgroups {
    /// Where the cpu controller is mounted.
    pub root: PathBuf,
    /// Where CPU time is accounted, if not there.
    pub counters: PathBuf,
    /// The groups that are VMs.
    #[serde(skip)]
    pub patterns: Vec<Pattern>,
}

impl Cgroups {
    /// The groups that can be capped.
    pub fn list(&self, host: &HostId) -> Vec<Seen> {
        let mut paths = vec![];
        for pattern in &self.patterns {
            pattern.find(&self.root, &mut |path| paths.push(path.to_owned()));
        }
        paths.sort_unstable();
        paths.dedup();
        let seen = |path: String| {
            let (name, used_ns) = (name_of(&path), self.used_ns(&path)?);
            let id = format!("{host}/{name}");
            let vm = VmId::new(&id);
            Some(Seen { vm, names: vec![id, name, path.clone()], handle: path, used_ns })
        };
        paths.into_iter().filter_map(seen).collect()
    }

    fn used_ns(&self, path: &str) -> Option<u64> {
        let usage = [&self.root, &self.counters].map(|root| fs::read(root.join(path).join("cpuacct.usage")));
        let usage = usage.into_iter().flatten().next().and_then(|text| counter_ns(&text).ok());
        usage.or_else(|| usage_ns(&fs::read(self.root.join(path).join("cpu.stat")).ok()?))
    }

    /// The present cap; nothing if there is no such group.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Option<String>> {
        let folder = self.root.join(path);
        let text = |name: &str| fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned());
        let read = match text(MAX) {
            Err(error) if is_gone(&error) => {
                text(QUOTA).and_then(|quota| Ok(format!("{quota} {}", text(PERIOD)?)))
            }
            read => read,
        };
        match read {
            Err(error) if is_gone(&error) && !folder.is_dir() => Ok(None),
            read => read.map(Some),
        }
    }

    /// Sets a cap that [`Cgroups::read`] gave, or [`tighter`].
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn set(&self, path: &str, cap: &str) -> io::Result<()> {
        let folder = self.root.join(path);
        // One write: neither made nor cut off before, so that there is no moment in which we could be killed and leave half
        // a cap. The kernel's files have no length, and version 1 takes a number and nothing else; in a folder that only
        // looks like a control group what was longer is blanked.
        let write = |name: &str, text: &str| {
            let mut file = fs::OpenOptions::new().write(true).open(folder.join(name))?;
            let before = file.metadata()?.len().saturating_sub(1) as usize;
            io::Write::write_all(&mut file, format!("{text:<before$}\n").as_bytes())
        };
        match write(MAX, cap) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write(QUOTA, cap.split(' ').next().unwrap_or(cap))
            }
            done => done,
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    // ENODEV: the group was removed while its file was open.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(19)
}

/// As [`super::Actuator::tighter`].
pub fn tighter(present: &str, ppm: u32) -> Option<String> {
    let (quota, period) = present.split_once(' ')?;
    let quota = if quota == "max" { -1 } else { quota.parse().ok()? };
    let ours = quota_us(quota, period.parse().ok()?, ppm)?;
    Some(format!("{ours} {period}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(root: &std::path::Path) -> Cgroups {
        let patterns = Pattern::list("t/*,u/*").unwrap();
        Cgroups { root: root.into(), counters: root.join("none"), patterns }
    }

    #[test]
    fn version_2_has_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (groups, web) = (groups(folder.path()), folder.path().join("t/web"));
        fs::create_dir_all(&web).unwrap();
        fs::write(web.join("cpu.max"), "max 100000\n").unwrap();
        fs::write(web.join("cpu.stat"), "usage_usec 5\n").unwrap();
        assert_eq!(groups.read("t/web").unwrap().unwrap(), "max 100000");
        groups.set("t/web", "25000 100000").unwrap();
        assert_eq!(groups.read("t/web").unwrap().unwrap(), "25000 100000");
        let names = ["h/web", "web", "t/web"].map(str::to_owned).to_vec();
        let seen = Seen { vm: VmId::new("h/web"), handle: "t/web".into(), names, used_ns: 5_000 };
        assert_eq!(groups.list(&HostId::new("h")), [seen]);
        fs::create_dir_all(folder.path().join("u/web")).unwrap();
        fs::write(folder.path().join("u/web/cpu.stat"), "usage_usec 5\n").unwrap();
        let both = super::super::Actuator::Cgroup(groups.clone()).list(&HostId::new("h")).unwrap();
        assert_eq!(both, [], "which of two is meant is not known");
        fs::remove_dir_all(&web).unwrap();
        assert_eq!(groups.read("t/web").unwrap(), None);
        assert!(groups.set("t/web", "max 100000").is_err());
    }

    #[test]
    fn version_1_has_two() {
        let folder = tempfile::tempdir().unwrap();
        let (groups, web) = (groups(folder.path()), folder.path().join("t/web"));
        fs::create_dir_all(&web).unwrap();
        assert!(groups.read("t/web").is_err(), "no controller");
        for (name, text) in [(QUOTA, "-1\n"), (PERIOD, "50000\n"), ("cpuacct.usage", "7\n")] {
            fs::write(web.join(name), text).unwrap();
        }
        assert_eq!(groups.read("t/web").unwrap().unwrap(), "-1 50000");
        groups.set("t/web", "2500 50000").unwrap();
        assert_eq!(groups.read("t/web").unwrap().unwrap(), "2500 50000");
        assert_eq!(groups.list(&HostId::new("h"))[0].used_ns, 7);
    }

    #[test]
    fn only_tighter() {
        for (present, ppm, want) in [
            ("max 100000", 250_000, Some("25000 100000")),
            ("-1 50000", 250_000, Some("12500 50000")),
            ("20000 100000", 250_000, None),
            ("max", 250_000, None),
            ("x 100000", 250_000, None),
            ("max x", 250_000, None),
        ] {
            assert_eq!(tighter(present, ppm).as_deref(), want, "{present}");
        }
    }
}
