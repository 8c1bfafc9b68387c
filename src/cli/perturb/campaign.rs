//! Asking, round by round: commands out, samples and reports in, verdicts out.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;

use super::super::Clock;
use super::park::Park;
use crate::config::Config;
use crate::perturb::Lots;
use crate::perturb::command::Command;
use crate::perturb::keys::Key;
use crate::perturb::plan::{self, Ask, Known, Limits, Round};
use crate::perturb::record::{Record, Verdict, blocks};
use crate::perturb::report::{Done, Report};
use crate::perturb::verdict::{FIRST_LOOK, Judgement, NEXT_LOOK, Open, Params, judge};
use crate::transport::kafka::client::Client;
use crate::transport::kafka::follow::Follower;
use crate::transport::kafka::publish::{Full, Publisher};
use crate::types::VmId;

/// From the issue of a command to its first slot: a command takes 0.1 s through the log, an agent looks at it at once.
const LEAD_MS: i64 = 3_000;

/// Samples are waited for so long after a round.
const PATIENCE_MS: i64 = 15_000;

/// A VM is given up after so many refusals in a row: one may be of the moment, because it hardly used any CPU or another
/// VM of its host was perturbed, say.
const TRIES: usize = 2;

/// What may be on its way: the commands of 250 VMs.
const LIMIT_BYTES: usize = 4 << 20;

/// How VMs are capped.
#[derive(Clone, Copy)]
pub struct Manner {
    /// How long a slot is.
    pub slot_ms: u64,
    /// What they are left of what they used.
    pub share: f64,
}

impl Manner {
    /// The next round, of so many blocks. Slots begin at whole multiples of their length: they hold whole samples.
    fn round(&self, blocks: usize, now_ms: i64) -> Round {
        let slot_ms = self.slot_ms as i64;
        let start_ms = -(-(now_ms + LEAD_MS)).div_euclid(slot_ms) * slot_ms;
        Round { now_ms, start_ms, slot_ms: self.slot_ms, blocks, share: self.share }
    }
}

/// A VM that is capped, and what is known so far.
struct Victim {
    ask: Ask,
    commands: Vec<Command>,
    /// How many of the last commands were refused.
    refused: usize,
}

/// Questions that are open.
pub struct Campaign {
    victims: Vec<Victim>,
    params: Params,
    alpha: f64,
    manner: Manner,
    lots: Lots,
    reports: Vec<Report>,
    /// How many blocks were asked for so far.
    asked: usize,
}

/// The commands of the paper's perturbation, a minute long.
pub fn periodic(known: &Known, limits: &Limits, manner: &Manner, now_ms: i64) -> Vec<Command> {
    let blocks = (30_000 / manner.slot_ms as usize).max(1);
    plan::periodic(known, limits, &manner.round(blocks, now_ms), now_ms as u64)
}

/// Signs and sends commands.
///
/// # Errors
/// When they cannot be sent.
pub fn send(
    client: &Client,
    config: &Config,
    commands: &[Command],
    key: &Key,
    now_ms: i64,
) -> anyhow::Result<()> {
    let signed = commands.iter().map(|command| Ok((command.vm.clone(), command.sign(key)?)));
    publish(client, config, signed.collect::<anyhow::Result<_>>()?, now_ms)
}

fn publish(
    client: &Client,
    config: &Config,
    records: Vec<(VmId, Vec<u8>)>,
    now_ms: i64,
) -> anyhow::Result<()> {
    let (topic, now_ns) = (&config.topics.perturbations, now_ms.saturating_mul(1_000_000));
    let mut publisher = Publisher::new(client.clone(), topic, LIMIT_BYTES, Full::Drop)?;
    for (vm, bytes) in records {
        publisher.send(vm.as_str().as_bytes(), bytes, now_ns)?;
    }
    let left = publisher.finish(now_ns)? as u64 + publisher.take_counts().lost;
    ensure!(left == 0, "{left} records were not delivered to {topic}");
    Ok(())
}

impl Campaign {
    /// Of these questions; `alpha` is what verdicts say of themselves.
    pub fn new(asks: Vec<Ask>, params: Params, alpha: f64, manner: Manner) -> Self {
        let victims = asks.into_iter().map(|ask| Victim { ask, commands: vec![], refused: 0 }).collect();
        let (lots, reports) = (Lots::new(params.most()), vec![]);
        Campaign { victims, params, alpha, manner, lots, reports, asked: 0 }
    }

    /// Asks until everything is decided, or no block is left; tells each verdict as it comes, and publishes it.
    ///
    /// # Errors
    /// When the log cannot be read or written, or a verdict not be told.
    pub fn run(
        mut self,
        (client, config): (&Client, &Config),
        (samples, mut park): (Follower<'_>, Park),
        (key, now_ms): (&Key, Clock),
        mut tell: impl FnMut(&Verdict) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        park.keep(self.concerned());
        let told = Follower::open(client, &config.topics.perturbations, None)?;
        while !self.victims.is_empty() {
            let blocks = if self.asked == 0 { FIRST_LOOK } else { NEXT_LOOK };
            let blocks = blocks.min(self.params.most() - self.asked);
            let round = self.manner.round(blocks, now_ms());
            self.asked += blocks;
            let commands = self.commands(&round);
            send(client, config, &commands, key, now_ms())?;
            let end_ms = commands.iter().map(Command::end_ms).max().unwrap_or(0);
            self.watch((&samples, &told), &mut park, end_ms, now_ms)?;
            let found = self.judge(&park, now_ms());
            found.iter().try_for_each(&mut tell)?;
            let record = |verdict: &Verdict| Ok((verdict.vm.clone(), serde_json::to_vec(verdict)?));
            publish(client, config, found.iter().map(record).collect::<anyhow::Result<_>>()?, now_ms())?;
        }
        Ok(())
    }

    /// All VMs that are capped or watched.
    fn concerned(&self) -> BTreeSet<VmId> {
        let of = |victim: &Victim| {
            let watched = victim.ask.watched.iter().map(|watched| watched.vm.clone());
            watched.chain([victim.ask.victim.clone()]).collect::<Vec<_>>()
        };
        self.victims.iter().flat_map(of).collect()
    }

    fn commands(&mut self, round: &Round) -> Vec<Command> {
        let command = |victim: &mut Victim| {
            victim.commands.push(round.command(&victim.ask.victim, &victim.ask.host));
            victim.commands.last().cloned()
        };
        self.victims.iter_mut().filter_map(command).collect()
    }

    /// Follows samples and reports until the samples of a round are there.
    fn watch(
        &mut self,
        (samples, told): (&Follower<'_>, &Follower<'_>),
        park: &mut Park,
        end_ms: i64,
        now_ms: Clock,
    ) -> anyhow::Result<()> {
        // The latest lag is half a slot.
        let until_ms = end_ms + self.manner.slot_ms as i64;
        while now_ms() < until_ms + PATIENCE_MS && !(now_ms() > until_ms && park.is_there(until_ms)) {
            park.turn(samples)?;
            while let Some(bytes) = told.next(Duration::ZERO)? {
                if let Ok(Record::Report(report)) = Record::read(&bytes) {
                    self.reports.push(report);
                }
            }
        }
        Ok(())
    }

    /// What is decided now; who has no open questions any more is left alone.
    fn judge(&mut self, park: &Park, now_ms: i64) -> Vec<Verdict> {
        let mut found = vec![];
        let Campaign { victims, params, alpha, lots, reports, asked, .. } = self;
        for victim in victims.iter_mut() {
            let Victim { ask, commands, refused } = victim;
            let (blocks, is_last) = (blocks(commands, reports), *asked >= params.most());
            let again = commands.last().is_some_and(|command| was_refused(command, reports));
            *refused = if again { *refused + 1 } else { 0 };
            ask.watched.retain(|watched| {
                let both = park.series(&ask.victim).zip(park.series(&watched.vm));
                let judged = |(own, other)| judge(own, other, &blocks, params, lots);
                let mut judgement = both.map_or(Judgement::open(Open::NotDone), judged);
                if judgement.goes_on() && (*refused >= TRIES || is_last) {
                    judgement.open = Some(if again { Open::NotDone } else { Open::Noise });
                }
                let goes_on = judgement.goes_on();
                if !goes_on {
                    let (cause, vm) = (ask.victim.clone(), watched.vm.clone());
                    found.push(Verdict::new(cause, vm, *alpha, judgement, now_ms));
                }
                goes_on
            });
        }
        victims.retain(|victim| !victim.ask.watched.is_empty());
        found
    }
}

/// Whether the agent did not take up a command; that it says nothing is as good as a no. Says so on standard error.
fn was_refused(command: &Command, reports: &[Report]) -> bool {
    let of_it = |report: &&Report| report.serial == command.serial && report.vm == command.vm;
    let mut said = reports.iter().filter(of_it).peekable();
    if said.peek().is_none() {
        eprintln!("lwt: {}: no agent has said anything about {}", command.host.as_str(), command.vm);
        return true;
    }
    said.any(|report| match &report.done {
        Done::Refused { why } => {
            eprintln!("lwt: {}: {} is not capped: {why}", command.host.as_str(), command.vm);
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perturb::plan::Watched;
    use crate::transport::wire::read_message;
    use crate::types::HostId;

    /// Of a VM that is watched: asked for, refused or taken up by the agent as `answers` say, round by round, what is found.
    fn found(answers: &[bool]) -> Vec<(usize, Option<Open>)> {
        let (host, victim) = (HostId::new("h"), VmId::new("h/a"));
        let watched = vec![Watched { vm: VmId::new("h/b"), why: "asked for".into() }];
        let ask = Ask { victim: victim.clone(), host: host.clone(), watched };
        let params = Params::new(0.01, 0.01, 0.25, 20).unwrap();
        let mut campaign = Campaign::new(vec![ask], params, 0.01, Manner { slot_ms: 1_000, share: 0.5 });
        let mut park = Park::default();
        let message = r#"{"v":1,"host":"h","t_ms":1000,"period_ms":1000,
            "vms":[{"name":"a","cpu_ppm":[5]},{"name":"b","cpu_ppm":[5]}]}"#;
        park.take(&read_message(message.as_bytes()).unwrap());
        let mut all = vec![];
        for (round, taken) in answers.iter().enumerate() {
            let blocks = if round == 0 { FIRST_LOOK } else { NEXT_LOOK };
            campaign.asked += blocks;
            let round_ms = 100_000 * (round as i64 + 1);
            let serial = campaign.commands(&campaign.manner.round(blocks, round_ms)).pop().unwrap().serial;
            let done = if *taken { Done::Accepted } else { Done::Refused { why: "of the moment".into() } };
            campaign.reports.push(Report {
                v: 1,
                serial,
                host: host.clone(),
                vm: victim.clone(),
                at_ms: round_ms,
                done,
            });
            all.extend(campaign.judge(&park, round_ms).iter().map(|verdict| (round, verdict.judgement.open)));
            if campaign.victims.is_empty() {
                break;
            }
        }
        all
    }

    #[test]
    fn a_refusal_is_not_the_end_but_two_are() {
        assert_eq!(found(&[false, false]), [(1, Some(Open::NotDone))]);
        assert_eq!(found(&[false, true, false]), [(2, Some(Open::NotDone))]);
        assert_eq!(found(&[false, true, true]), [(2, Some(Open::Noise))]);
        assert_eq!(found(&[true, false, true]), [(2, Some(Open::Noise))]);
    }
}
