//! `lwt perturb plan`: which pairs to ask about, and asking.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::Clock;
use super::campaign::{self, Campaign, Manner};
use super::park::Park;
use super::{Errors, Format, Place, two, verdict};
use crate::config::{Config, RawConfig};
use crate::perturb::keys::{Key, secret};
use crate::perturb::plan::{Ask, Known, Limits, ask, choose};
use crate::perturb::record::{Record, Verdict};
use crate::transport::kafka::client::Client;
use crate::transport::kafka::state;
use crate::transport::records::{Assignment, Dependency};
use crate::types::VmId;

/// Asks about the least certain pairs that matter most: has one VM capped by the agent of its host, on and off by a code, and
/// says whether the other one answers.
///
/// The agents decide what is done (lwt perturb agent). Whoever ends this command ends no cap that is under way: they are
/// lifted by the agents, within a minute; lwt perturb stop on the host lifts them at once.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt perturb plan --brokers kafka1:9092 --dry-run                    what would be asked, and why
  lwt perturb plan --brokers kafka1:9092 --key /etc/lwt/perturb.key
  lwt perturb plan --ask web1,db1 --ask db1,web1 --key perturb.key    does db1 depend on web1? And web1 on db1?
  lwt analyze trace.csv --fdr 0.3 --format json > open.json; lwt perturb plan --from open.json --dry-run")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only print what would be asked, and why.
    #[arg(long)]
    dry_run: bool,
    /// The secret key that signs, a file (lwt perturb keys makes one).
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    key: Option<PathBuf>,
    /// Only whether B depends on A; A is capped.
    #[arg(long, value_name = "A,B", value_parser = two)]
    ask: Vec<(String, String)>,
    /// As the paper does: VMs drawn by lot, capped periodically; no verdicts.
    #[arg(long, conflicts_with = "ask")]
    paper: bool,
    /// What is held dependent, from lwt analyze --format json [default: the topics].
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What a VM is left of what it used lately.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    share: f64,
    /// How long a VM is capped or not at a time; two of them may follow each other.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = crate::config::duration)]
    slot: std::time::Duration,
    /// So many VMs are capped at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    at_once: usize,
    /// Of these so many of one host.
    #[arg(long, value_name = "N", default_value_t = 2)]
    per_host: usize,
    /// Of these so many of one ensemble.
    #[arg(long, value_name = "N", default_value_t = 1)]
    per_ensemble: usize,
    /// So many pairs are asked about.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pairs: usize,
    #[command(flatten)]
    errors: Errors,
    /// How to print.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// A VM that uses less than 2 % of a core is not asked: half of that is the lowest cap of an agent.
const LEAST_PPM: f64 = 20_000.0;

/// Runs the command.
///
/// # Errors
/// A wrong configuration, a cluster that cannot be reached or refuses, a key that cannot be read, VMs that are not there.
pub fn run(args: &Args, environment: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    let (config, params) = (args.place.config(environment)?, args.errors.params()?);
    let manner = args.manner()?;
    let key = args.key.as_ref().map(|path| read_key(path)).transpose()?;
    let client = Client::new(&config.kafka)?;
    client.connect()?;
    let follower = Park::follower(&client, &config.topics.samples, now_ms())?;
    let park = Park::look(&follower, now_ms)?;
    let known = args.known(&client, &config, &park)?;
    ensure!(!known.guests.is_empty(), "{}: no samples of the last 20 s", config.topics.samples);
    if args.paper {
        let commands = campaign::periodic(&known, &args.limits(), &manner, now_ms());
        for command in &commands {
            writeln!(
                out,
                "{}: {} is capped to {:.0} % in every other slot",
                command.host.as_str(),
                command.vm,
                100.0 * command.share
            )?;
        }
        return match key {
            Some(key) if !args.dry_run => campaign::send(&client, &config, &commands, &key, now_ms()),
            _ => Ok(()),
        };
    }
    let asks = args.asks(&known)?;
    args.print(&asks, &manner, out)?;
    out.flush()?;
    let Some(key) = key.filter(|_| !args.dry_run) else { return Ok(()) };
    let campaign = Campaign::new(asks, params, args.errors.alpha, manner);
    campaign.run((&client, &config), (follower, park), (&key, now_ms), |verdict| {
        super::print(verdict, args.format, out)?;
        Ok(out.flush()?)
    })
}

fn read_key(path: &std::path::Path) -> anyhow::Result<Key> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    secret(&text).with_context(|| format!("{} holds no secret key", path.display()))
}

/// What `lwt analyze --format json` prints.
#[derive(Deserialize)]
struct Found {
    assignments: Vec<Assignment>,
    dependencies: Vec<Dependency>,
}

impl Args {
    fn limits(&self) -> Limits {
        let (victims, per_host, per_ensemble) = (self.at_once, self.per_host, self.per_ensemble);
        Limits { victims, per_host, per_ensemble, pairs: self.pairs, least_ppm: LEAST_PPM }
    }

    fn manner(&self) -> anyhow::Result<Manner> {
        let slot_ms = u64::try_from(self.slot.as_millis()).context("--slot is too long")?;
        ensure!(
            (500..=60_000).contains(&slot_ms) && slot_ms.is_multiple_of(100),
            "--slot is 500ms to 60s, a multiple of 100ms"
        );
        ensure!(self.share > 0.0 && self.share < 1.0, "--share is above 0 and below 1");
        Ok(Manner { slot_ms, share: self.share })
    }

    fn known(&self, client: &Client, config: &Config, park: &Park) -> anyhow::Result<Known> {
        let records = state::all(client, &config.topics.perturbations)?;
        let verdicts: Vec<Verdict> =
            records.iter().filter_map(|(_, bytes)| Record::read(bytes).ok()).filter_map(verdict).collect();
        let (assignments, dependencies) = match &self.from {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                let found: Found = serde_json::from_str(last).with_context(|| {
                    format!("{}: not what lwt analyze --format json prints", path.display())
                })?;
                (found.assignments, found.dependencies)
            }
            // What was asked for needs no reason.
            None if !self.ask.is_empty() => (vec![], vec![]),
            None => (read(client, &config.topics.assignments)?, read(client, &config.topics.dependencies)?),
        };
        Ok(Known { assignments, dependencies, guests: park.guests(), verdicts })
    }

    fn asks(&self, known: &Known) -> anyhow::Result<Vec<Ask>> {
        if self.ask.is_empty() {
            return Ok(choose(known, &self.limits()));
        }
        let mut asks: Vec<Ask> = vec![];
        for (victim, vm) in &self.ask {
            let (victim, vm) = (find(known, victim)?, find(known, vm)?);
            let Some(one) = ask(known, victim, vm) else { bail!("{victim} and {vm} are not there") };
            match asks.iter_mut().find(|ask| ask.victim == one.victim) {
                Some(same) => same.watched.extend(one.watched),
                None => asks.push(one),
            }
        }
        Ok(asks)
    }

    fn print(&self, asks: &[Ask], manner: &Manner, out: &mut impl Write) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return Ok(());
        }
        if asks.is_empty() {
            writeln!(out, "nothing to ask: no pair is uncertain, or none may be asked about")?;
        }
        for ask in asks {
            writeln!(
                out,
                "{}: {} is capped to {:.0} % of what it uses, for {} s of {} s at most",
                ask.host.as_str(),
                ask.victim,
                100.0 * self.share,
                manner.slot_ms as usize * self.errors.blocks / 1_000,
                2 * manner.slot_ms as usize * self.errors.blocks / 1_000
            )?;
            for watched in &ask.watched {
                writeln!(out, "  does {} depend on it? ({})", watched.vm, watched.why)?;
            }
        }
        Ok(())
    }
}

/// The VM that is meant by an identity, or by a name that only one has.
fn find<'a>(known: &'a Known, name: &str) -> anyhow::Result<&'a VmId> {
    let named: Vec<&VmId> =
        known.guests.keys().filter(|vm| vm.as_str() == name || vm.name() == name).collect();
    match named[..] {
        [one] => Ok(one),
        [] => bail!("{name}: no VM of that name has sent samples in the last 20 s"),
        _ => bail!("{name}: {} VMs have this name; give the identity: {}", named.len(), named[0]),
    }
}

/// The values of a compacted topic.
fn read<T: DeserializeOwned>(client: &Client, topic: &str) -> anyhow::Result<Vec<T>> {
    let value = |(key, bytes): (String, Vec<u8>)| {
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{topic} holds something that is no record: {key}"))
    };
    state::load(client, topic)?.into_iter().map(value).collect()
}
