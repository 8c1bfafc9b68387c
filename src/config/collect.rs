//! The keys of a collector.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{self, Reader, number, or};
use crate::collect::cgroup::patterns::{self, Pattern};
use crate::types::MAX_NAME_BYTES;

/// What a collector reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Control groups of this machine.
    Cgroup,
    /// xentop on a Xen host.
    Xentop,
    /// The counters of Xen's own tools.
    Xen,
    /// virsh on a host with libvirt.
    Libvirt,
    /// Counters that Prometheus has.
    Prometheus,
    /// A trace, as if it were live.
    Replay,
    /// A simulated datacenter.
    Simulate,
}

/// What a collector does.
#[derive(Clone, Debug)]
pub struct Collect {
    /// What it reads.
    pub source: Source,
    /// How often, if it was said.
    pub period: Option<Duration>,
    /// The host's name, if it was said.
    pub host: Option<String>,
    /// The control groups that are VMs.
    pub groups: Vec<Pattern>,
    /// Where control groups are mounted, if it was said.
    pub root: Option<PathBuf>,
    /// The program to run and its arguments, if it was said; `-` is standard input.
    pub command: Option<Vec<String>>,
    /// The folder of the spool; `None` in the second place for none at all.
    pub spool: Option<Option<PathBuf>>,
    /// The limit of the spool.
    pub spool_bytes: u64,
    /// How many times as fast as real time, if there is a limit.
    pub speed: Option<f64>,
    /// How far back a replay or simulation begins.
    pub history: Option<Duration>,
    /// Simulated VMs.
    pub vms: usize,
    /// Simulated hosts, if it was said.
    pub hosts: Option<usize>,
    /// The simulation's seed.
    pub seed: u64,
}

impl Collect {
    pub(super) fn read(read: &mut Reader<'_>) -> Collect {
        Collect {
            source: read.get("collect.source", source),
            period: read.get("collect.period", period),
            host: read.get("collect.host", host),
            groups: read.get("collect.groups", groups),
            root: read.get("collect.root", |text| or("auto", text, value::path)),
            command: read.get("collect.command", command),
            spool: read.get("collect.spool", |text| or("auto", text, |text| or("none", text, value::path))),
            // A message may have 1 MiB, a sixteenth is dropped at a time; the most is 1 TiB.
            spool_bytes: read.get("collect.spool_mib", |text| number(text, "number of MiB", 16, 1 << 20))
                << 20,
            speed: read.get("collect.speed", value::speed),
            history: read.get("collect.history", |text| or("none", text, value::duration)),
            vms: read.get("collect.vms", |text| number(text, "number of VMs", 1, 4_000_000)),
            hosts: read.get("collect.hosts", hosts),
            seed: read.get("collect.seed", value::seed),
        }
    }
}

fn source(text: &str) -> Result<Source, String> {
    match text {
        "cgroup" => Ok(Source::Cgroup),
        "xentop" => Ok(Source::Xentop),
        "xen" => Ok(Source::Xen),
        "libvirt" => Ok(Source::Libvirt),
        "prometheus" => Ok(Source::Prometheus),
        "replay" => Ok(Source::Replay),
        "simulate" => Ok(Source::Simulate),
        _ => Err(format!(
            "there is no source `{text}`: cgroup, xen, xentop, libvirt, prometheus, replay or simulate"
        )),
    }
}

/// From 10 ms, below which reading costs more than it tells, to an hour.
fn period(text: &str) -> Result<Option<Duration>, String> {
    or("auto", text, |text| {
        let read = value::duration(text)?;
        let fits = (10..=3_600_000).contains(&read.as_millis());
        fits.then_some(read).ok_or_else(|| format!("`{text}` is not between 10ms and 1h"))
    })
}

fn host(text: &str) -> Result<Option<String>, String> {
    or("auto", text, |text| {
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
        fits.then(|| text.to_owned())
            .ok_or_else(|| format!("`{text}` is no name of 1 to {MAX_NAME_BYTES} bytes"))
    })
}

fn groups(text: &str) -> Result<Vec<Pattern>, String> {
    Pattern::list(if text == "auto" { patterns::DEFAULT } else { text })
}

fn command(text: &str) -> Result<Option<Vec<String>>, String> {
    or("auto", text, |text| value::words(text).map_err(|error| error + ", or -"))
}

fn hosts(text: &str) -> Result<Option<usize>, String> {
    or("auto", text, |text| number(text, "number of hosts", 1, 1_000_000))
}
