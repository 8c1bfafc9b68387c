//! `lwt collect`: what the VMs of this host use, as it is read, to Kafka.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Clock, check, logs};
use crate::collect::cgroup;
use crate::collect::frames::Frames;
use crate::collect::grid::Grid;
use crate::config::{Config, RawConfig, Source};
use crate::types::HostId;

mod control;
mod fleet;
mod libvirt;
mod outlet;
mod polled;
mod prometheus;
mod xentop;

use control::Control;
use outlet::Outlet;

/// Where messages wait if nothing else is said.
const SPOOL: &str = "/var/lib/lwt/spool";

/// Readings are interpolated over at least so long: a busy machine may keep us waiting for 0.3 s.
const LEAST_GAP_MS: u64 = 100;

/// Reads how much CPU each VM of this host uses, and sends it to Kafka, a message a second.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt collect --source cgroup --brokers kafka1:9092            machines and containers here
  lwt collect --source cgroup --groups 'shop.slice/*' --dry-run
  lwt collect --source xen --brokers kafka1:9092               in Domain-0 of a Xen host
  ssh xen1 xentop -b -f -d 1 | lwt collect --source xentop --command - --host xen1
  lwt collect --source libvirt --period 1s                     a host with libvirt
  lwt collect --source prometheus --url http://prom:9090 --query cadvisor
  lwt collect --source prometheus --history 6h --dry-run > day.ndjson; lwt analyze day.ndjson
  lwt collect --source replay --trace day.csv.gz               a recording, as if it were live
  lwt collect --source simulate --vms 300 --hosts 10           a simulated datacenter

What the broker does not take waits in --spool. SIGTERM ends it; what is not delivered then is there, too.")]
pub struct Args {
    /// The pipeline file that says where Kafka is, and what the topics are called.
    pipeline: Option<PathBuf>,
    /// What to read: cgroup, xen, xentop, libvirt, prometheus, replay or simulate [default: what collect.source says].
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// How often, 10ms or longer [default: 100ms for cgroup, xen and libvirt, 1s for xentop and simulate, the time between
    /// scrapes for prometheus].
    #[arg(long, value_name = "DURATION")]
    period: Option<String>,
    /// This host's name [default: what the kernel says].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// cgroup: the groups that are VMs, such as machine.slice/* [default: machines, pods, LXC, Docker].
    #[arg(long, value_name = "PATTERN,...")]
    groups: Option<String>,
    /// cgroup: where control groups are mounted.
    #[arg(long, value_name = "FOLDER")]
    root: Option<String>,
    /// xentop, libvirt: what to run instead of xentop -b -f -d 1, or virsh -q; - is standard input.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    command: Option<String>,
    /// prometheus: where it is [default: what prometheus.url says].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// prometheus: cadvisor, kubernetes, libvirt, node, or a selector of your own, with --set prometheus.vm=LABEL
    /// [default: what prometheus.query says].
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// replay: the recording; - is standard input.
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// replay, simulate: so many times as fast as real time until now is reached; or max, and end there.
    #[arg(long, value_name = "FACTOR")]
    speed: Option<String>,
    /// replay, simulate: begin so long ago; prometheus: so much of the past, and end there.
    #[arg(long, value_name = "DURATION")]
    history: Option<String>,
    /// simulate: how many VMs.
    #[arg(long, value_name = "N")]
    vms: Option<String>,
    /// simulate: on how many hosts [default: one for 30 VMs].
    #[arg(long, value_name = "N")]
    hosts: Option<String>,
    /// simulate: what everything random follows from.
    #[arg(long, value_name = "X")]
    seed: Option<String>,
    /// Where messages wait that the broker does not take, or none [default: /var/lib/lwt/spool; none for replay
    /// and simulate].
    #[arg(long, value_name = "FOLDER")]
    spool: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the messages, a line each, instead of sending them.
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    fn config(&self, environment: RawConfig) -> anyhow::Result<Config> {
        let mut raw = check::raw(self.pipeline.as_deref(), environment, &self.set)?;
        for (key, flag, value) in [
            ("collect.source", "--source", &self.source),
            ("collect.period", "--period", &self.period),
            ("collect.host", "--host", &self.host),
            ("kafka.brokers", "--brokers", &self.brokers),
            ("collect.groups", "--groups", &self.groups),
            ("collect.root", "--root", &self.root),
            ("collect.command", "--command", &self.command),
            ("prometheus.url", "--url", &self.url),
            ("prometheus.query", "--query", &self.query),
            ("source.path", "--trace", &self.trace),
            ("collect.speed", "--speed", &self.speed),
            ("collect.history", "--history", &self.history),
            ("collect.vms", "--vms", &self.vms),
            ("collect.hosts", "--hosts", &self.hosts),
            ("collect.seed", "--seed", &self.seed),
            ("collect.spool", "--spool", &self.spool),
        ] {
            if let Some(value) = value {
                raw.set(key, value, flag)?;
            }
        }
        Ok(raw.prove()?)
    }
}

/// What every source is handed.
struct Collector<'a> {
    config: &'a Config,
    host: HostId,
    outlet: Outlet<'a>,
    control: Control,
    now_ns: Clock,
}

/// This host: what was said, or what the kernel says.
///
/// # Errors
/// When neither does.
pub(super) fn host(config: &Config) -> anyhow::Result<HostId> {
    let said = config.collect.host.clone().map_or_else(cgroup::host_name, Ok);
    Ok(HostId::new(&said.context("the kernel does not tell this host's name: say it with --host")?))
}

/// Runs the command, until it is told to end or its source ends.
///
/// # Errors
/// A wrong configuration, a source that cannot be read, a spool that cannot be written.
pub fn run(
    args: &Args,
    environment: RawConfig,
    (now_ms, now_ns): (Clock, Clock),
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let config = args.config(environment)?;
    logs::install(config.log, now_ms);
    let host = host(&config)?;
    let control = Control::new().context("cannot wait for signals")?;
    let outlet = if args.dry_run { Outlet::Print(out) } else { Outlet::publish(&config)? };
    let collector = Collector { config: &config, host, outlet, control, now_ns };
    match config.collect.source {
        Source::Cgroup => cgroups(collector),
        Source::Xentop => xentop::run(collector),
        Source::Xen | Source::Libvirt => libvirt::run(collector),
        Source::Prometheus => prometheus::run(collector),
        Source::Replay => fleet::replay(collector),
        Source::Simulate => fleet::simulate(collector),
    }
}

/// Control groups, until we are told to end.
fn cgroups(collector: Collector) -> anyhow::Result<()> {
    let collect = &collector.config.collect;
    let period_ms = collect.period.map_or(100, |period| period.as_millis() as u64);
    let root = collect.root.clone().map_or_else(cgroup::find_root, Ok)?;
    cgroup::raise_limit_of_files();
    let grid = Grid::new(period_ms, LEAST_GAP_MS.max(period_ms));
    let groups = cgroup::Cgroups::new(&root, collect.groups.clone(), collector.host.clone(), grid)?;
    polled::run(collector, period_ms, Groups { groups, root, said: None, rests: 0 })
}

/// Control groups, and how many there were when it was last said; after how many seconds new ones are looked for.
struct Groups {
    groups: cgroup::Cgroups,
    root: PathBuf,
    said: Option<usize>,
    rests: usize,
}

/// So many groups are listed in 2 ms: if there are more, new ones are looked for less than once a second.
const LISTED: usize = 2_000;

impl polled::Polled for Groups {
    fn each_second(&mut self) -> anyhow::Result<()> {
        if self.rests > 0 {
            self.rests -= 1;
            return Ok(());
        }
        self.groups.scan()?;
        self.rests = self.groups.len() / LISTED;
        if self.said.is_none() || (self.said == Some(0)) != self.groups.is_empty() {
            let root: &Path = &self.root;
            tracing::info!("{} control groups below {} are VMs", self.groups.len(), root.display());
            self.said = Some(self.groups.len());
        }
        Ok(())
    }

    fn read(&mut self, now_ns: Clock, frames: &mut Frames) {
        self.groups.read(now_ns, frames);
    }

    fn flush(&mut self, frames: &mut Frames) {
        self.groups.flush(frames);
    }

    fn reset(&mut self) {
        self.rests = 0;
        self.groups.reset();
    }
}
