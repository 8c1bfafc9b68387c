//! Control groups -> readings: every group that matches a pattern is a VM. Reads files, nothing else.
//!
//! Version 1 counts in `cpuacct.usage` (nanoseconds), version 2 in `cpu.stat` (`usage_usec`). The file of a
//! group stays open and is read again; a group that is removed says so itself (`ENODEV`), one that appears is
//! found by listing the folders of the patterns.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub mod name;
pub mod patterns;

use super::frames::Frames;
use super::grid::{Grid, Value};
use super::meter::Meter;
use super::number::counter_ns;
use crate::types::HostId;
use name::name_of;
use patterns::Pattern;

/// Room for `cpu.stat`, whose first line is what we want; the kernel's is at most 400 bytes.
const FILE_BYTES: usize = 512;

/// The most groups: at 2 us each, reading them takes 130 ms.
pub const MAX_GROUPS: usize = 65_536;

/// Where control groups are mounted, those that count CPU first.
const ROOTS: [&str; 4] =
    ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Control groups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// None are mounted.
    #[error("no control groups with CPU accounting at {}: say where with --root", ROOTS.join(", "))]
    NoRoot,
    /// A folder that is none of control groups.
    #[error("{}: neither cgroup.procs nor tasks in it: not the root of control groups", .0.display())]
    NotARoot(PathBuf),
    /// So many files may not be open.
    #[error("cannot open the counter of {}, the {open}th: raise the limit of open files (LimitNOFILE=, ulimit -n)", .path.display())]
    TooManyFiles {
        /// Of which group.
        path: PathBuf,
        /// How many are open.
        open: usize,
        /// Why.
        source: io::Error,
    },
}

/// The groups that are being read.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    patterns: Vec<Pattern>,
    host: HostId,
    grid: Grid,
    /// By path below the root.
    groups: BTreeMap<String, Group>,
    /// Names in use, by whom.
    names: BTreeMap<String, String>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Group {
    file: File,
    kind: Kind,
    meter: Meter,
    name: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nanoseconds,
    Stat,
}

/// Where the control groups of this machine are mounted.
///
/// # Errors
/// When they are nowhere.
pub fn find_root() -> Result<PathBuf, CgroupError> {
    ROOTS.into_iter().map(PathBuf::from).find(|root| is_root(root)).ok_or(CgroupError::NoRoot)
}

fn is_root(root: &Path) -> bool {
    root.join("cgroup.procs").exists() || root.join("tasks").exists()
}

impl Cgroups {
    /// The groups below `root` that match any of `patterns`, once [`Cgroups::scan`] has found them.
    ///
    /// # Errors
    /// When `root` is none of control groups.
    pub fn new(root: &Path, patterns: Vec<Pattern>, host: HostId, grid: Grid) -> Result<Self, CgroupError> {
        if !is_root(root) {
            return Err(CgroupError::NotARoot(root.into()));
        }
        let (groups, names, buffer) = (BTreeMap::new(), BTreeMap::new(), vec![0; FILE_BYTES]);
        Ok(Cgroups { root: root.into(), patterns, host, grid, groups, names, buffer })
    }

    /// How many groups are read.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group to read.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Looks for groups that are new.
    ///
    /// # Errors
    /// When too many files are open; what could be opened is read.
    pub fn scan(&mut self) -> Result<(), CgroupError> {
        let mut found = vec![];
        for pattern in &self.patterns {
            pattern.find(&self.root, &mut |path| {
                if !self.groups.contains_key(path) && found.len() < MAX_GROUPS {
                    found.push(path.to_owned());
                }
            });
        }
        found.sort_unstable();
        found.dedup();
        for path in found.into_iter().take(MAX_GROUPS - self.groups.len()) {
            self.add(path)?;
        }
        Ok(())
    }

    /// A group that has gone again, or has no counter, is none.
    fn add(&mut self, path: String) -> Result<(), CgroupError> {
        let folder = self.root.join(&path);
        let open = |name: &str| File::open(folder.join(name));
        let opened = open("cpuacct.usage").map(|file| (file, Kind::Nanoseconds));
        let opened = opened.or_else(|first| match first.kind() {
            io::ErrorKind::NotFound => open("cpu.stat").map(|file| (file, Kind::Stat)),
            _ => Err(first),
        });
        let (file, kind) = match opened {
            Ok(opened) => opened,
            // EMFILE, ENFILE.
            Err(source) if matches!(source.raw_os_error(), Some(23 | 24)) => {
                return Err(CgroupError::TooManyFiles { path: folder, open: self.groups.len() + 1, source });
            }
            Err(_) => return Ok(()),
        };
        let mut name = name_of(&path);
        if self.names.contains_key(&name) {
            name = path.replace('/', ".");
        }
        // A name that no message can carry, or taken once more, by somebody who is called like a path.
        let Ok(meter) = Meter::new(&self.host, None, &name) else { return Ok(()) };
        if !self.names.contains_key(&name) {
            self.names.insert(name.clone(), path.clone());
            self.groups.insert(path, Group { file, kind, meter, name });
        }
        Ok(())
    }

    /// Reads the counters of all groups; `now_ns` says when it is. Groups that are gone are forgotten, their
    /// last samples go to `frames`.
    pub fn read(&mut self, now_ns: fn() -> i64, frames: &mut Frames) {
        let (buffer, grid, names) = (&mut self.buffer, &self.grid, &mut self.names);
        self.groups.retain(|_, group| {
            let Some(used_ns) = group.read(buffer) else {
                group.meter.flush(frames);
                names.remove(&group.name);
                return false;
            };
            // What cannot be used starts the VM anew: a counter does not repeat itself or go back for long.
            let _ = group.meter.read(grid, now_ns(), Value::Counter(used_ns));
            true
        });
    }

    /// Hands on the samples that are complete.
    pub fn flush(&mut self, frames: &mut Frames) {
        self.groups.values_mut().for_each(|group| group.meter.flush(frames));
    }

    /// Begins all groups anew: the clock was set.
    pub fn reset(&mut self) {
        self.groups.clear();
        self.names.clear();
    }
}

impl Group {
    /// The CPU time that was used, in nanoseconds; none if the group is gone, or cannot be understood.
    fn read(&self, buffer: &mut [u8]) -> Option<u64> {
        let length = rustix::io::pread(&self.file, &mut *buffer, 0).ok()?;
        let text = buffer.get(..length)?;
        match self.kind {
            Kind::Nanoseconds => counter_ns(text).ok(),
            Kind::Stat => usage_ns(text),
        }
    }
}

/// The CPU time that a `cpu.stat` of version 2 tells, in nanoseconds.
pub fn usage_ns(text: &[u8]) -> Option<u64> {
    let used = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"usage_usec "))?;
    counter_ns(used).ok()?.checked_mul(1000)
}

/// The name that this machine gives itself.
///
/// # Errors
/// When the kernel does not tell.
pub fn host_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// As many files may be open as the kernel lets us: the usual limit of 1,024 is for programs that use `select`.
pub fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it, groups that are too many are an error that says what to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

#[cfg(test)]
mod tests;
