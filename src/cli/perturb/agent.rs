//! `lwt perturb agent`: on a host, does what signed commands ask, as far as the host's own rules allow; and its keeper.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::told::{self, Event, Reports};
use crate::agent::actuator::cgroup::Cgroups;
use crate::agent::actuator::libvirt::Libvirt;
use crate::agent::actuator::xen::Xen;
use crate::agent::actuator::{Actuator, find_root};
use crate::agent::keeper::{self, Clocks};
use crate::agent::store::{Store, StoreError};
use crate::agent::work::{Setup, Work};
use crate::cli::logs;
use crate::cli::stop::Stop;
use crate::collect::cgroup;
use crate::config::{Actuates, Config, RawConfig};
use crate::perturb::keys;
use crate::transport::kafka::client::Client;

/// How long an end may take: an actuator's command takes 6 s at most, twice. Then the keeper goes on.
const GRACE: Duration = Duration::from_secs(20);

/// How long a predecessor's keeper may take to put back what was before, and whoever does not get ready then.
const LOCK: [Duration; 2] = [Duration::from_secs(12), Duration::from_secs(3)];

/// Commands and lists of VMs that wait.
const QUEUE: usize = 256;

/// Caps VMs of this host for moments, as signed commands ask and this host's rules allow; puts back what was before in
/// every case.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt perturb agent pipelines/perturb.toml                  commands from lwt.perturbations, reports to it
  lwt perturb agent perturb.toml --commands - < signed.ndjson

Nothing is capped unless perturb.enabled, perturb.trusted and perturb.allow say so. SIGTERM lifts everything and ends it;
so does the end of standard input. lwt perturb stop, on the host, stops it from outside.")]
pub struct Args {
    /// The pipeline file with the host's rules ([perturb]).
    pipeline: Option<PathBuf>,
    /// This host's name [default: what the kernel says].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// The agent's state folder [default: what perturb.state says].
    #[arg(long, value_name = "FOLDER")]
    state: Option<String>,
    /// Where commands come from instead of Kafka: - is standard input, a line each; reports go to standard output.
    #[arg(long, value_name = "-", value_parser = ["-"], allow_hyphen_values = true)]
    commands: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the agent, until it is told to end.
///
/// # Errors
/// A wrong configuration, a state folder that cannot be used, Kafka that does not let us in.
pub fn run(
    args: &Args,
    environment: RawConfig,
    clocks: Clocks,
    out: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    let flags = [
        ("collect.host", "--host", &args.host),
        ("kafka.brokers", "--brokers", &args.brokers),
        ("perturb.state", "--state", &args.state),
    ];
    let config = super::config(args.pipeline.as_deref(), environment, &args.set, &flags)?;
    logs::install(config.log, clocks.wall_ms);
    let setup = setup(&config)?;
    let (tell, events) = mpsc::sync_channel(QUEUE);
    let wake = tell.clone();
    let stop = Stop::on_signals(GRACE, move || drop(wake.try_send(Event::Stop)))?;
    let is_local = args.commands.is_some();
    let client = if is_local { None } else { Some(Client::new(&config.kafka)?) };
    let mut reports = match &client {
        Some(client) => Reports::publish(client.clone(), &config)?,
        None => Reports::Print(out),
    };
    let store = open(&config)?;
    let (actuator, host) = (setup.actuator.clone(), setup.host.clone());
    let mut work = Work::begin(setup, clocks, store);
    told::list(actuator, host, clocks, tell.clone());
    match client {
        Some(client) => told::kafka(client, config.topics.perturbations.clone(), clocks, tell),
        None => told::stdin(tell),
    }
    let ended = follow(&mut work, &mut reports, &events, (clocks, &stop, is_local));
    work.end();
    reports.tell(work.take_reports(), clocks);
    reports.finish(clocks);
    ended
}

/// Turns, and does what it is told, until it is told to end.
fn follow(
    work: &mut Work,
    reports: &mut Reports<'_>,
    events: &Receiver<Event>,
    (clocks, stop, is_local): (Clocks, &Stop, bool),
) -> anyhow::Result<()> {
    while !stop.is_told() {
        if is_local {
            work.contact();
        }
        let wait_ms = work.turn();
        reports.tell(work.take_reports(), clocks);
        match events.recv_timeout(Duration::from_millis(wait_ms)) {
            Ok(Event::Command(bytes)) => work.command(&bytes),
            Ok(Event::Contact) => work.contact(),
            Ok(Event::Seen(at_ms, seen)) => work.seen(at_ms, seen),
            Ok(Event::Ended(Some(error))) => return Err(error),
            Ok(Event::Ended(None) | Event::Stop) => return Ok(()),
            // We hold no sender; the lister never ends before us.
            Err(_) => {}
        }
    }
    Ok(())
}

fn setup(config: &Config) -> anyhow::Result<Setup> {
    let perturb = &config.perturb;
    let text = match perturb.trusted.as_str() {
        "none" => String::new(),
        path if path.contains('/') => {
            fs::read_to_string(path).with_context(|| format!("perturb.trusted: cannot read {path}"))?
        }
        keys => keys.to_owned(),
    };
    let trusted = keys::publics(&text).context("perturb.trusted")?;
    if !perturb.rules.on || trusted.is_empty() {
        eprintln!("lwt: perturb.enabled is off or perturb.trusted is empty: every command will be refused");
    }
    Ok(Setup {
        host: crate::cli::collect::host(config)?,
        rules: perturb.rules.clone(),
        trusted,
        folder: perturb.state.clone(),
        actuator: actuator(config)?,
        lately_ms: perturb.lately.as_millis() as u64,
    })
}

/// What caps here.
///
/// # Errors
/// When there are no control groups.
pub fn actuator(config: &Config) -> anyhow::Result<Actuator> {
    let perturb = &config.perturb;
    let command = |or: &[&str]| {
        perturb.command.clone().unwrap_or_else(|| or.iter().map(|word| word.to_string()).collect())
    };
    let xen = |scheduler: &str| Actuator::Xen(Xen { command: command(&["xl"]), scheduler: scheduler.into() });
    Ok(match perturb.actuator {
        Actuates::Cgroup => {
            let none = "no control groups with the cpu controller: say where with perturb.root";
            let root = perturb.root.clone().or_else(find_root).context(none)?;
            let counters = config.collect.root.clone().map_or_else(cgroup::find_root, Ok);
            let counters = counters.unwrap_or_else(|_| root.clone());
            Actuator::Cgroup(Cgroups { root, counters, patterns: config.collect.groups.clone() })
        }
        Actuates::Credit2 => xen("sched-credit2"),
        Actuates::Credit => xen("sched-credit"),
        Actuates::Libvirt => Actuator::Libvirt(Libvirt { command: command(&["virsh", "--quiet"]) }),
    })
}

/// Takes the state folder; a predecessor's keeper that hangs is ended: what it holds is in the journal.
fn open(config: &Config) -> anyhow::Result<Store> {
    let folder = &config.perturb.state;
    let [first, second] = LOCK;
    let holder = match Store::open(folder, "agent", first) {
        Err(StoreError::InUse { holder, .. }) if holder.starts_with("keeper ") => holder,
        done => return Ok(done?),
    };
    eprintln!("lwt: {holder} hangs: ending it");
    let id = holder.split(' ').nth(1).and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
    let killed = id.map(|id| kill_process(id, Signal::KILL));
    killed.transpose().with_context(|| format!("cannot end {holder}"))?;
    Ok(Store::open(folder, "agent", second)?)
}

/// Runs a keeper.
///
/// # Errors
/// When it is not an agent that started it.
pub fn keeper(clocks: Clocks) -> anyhow::Result<()> {
    told::outlive_signals()?;
    keeper::run(io::stdin(), io::stdout(), clocks).context("lwt perturb agent starts its keeper itself")?;
    Ok(())
}
