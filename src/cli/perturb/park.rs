//! The VMs that the samples speak of: where they are, and what they use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Clock;
use crate::perturb::plan::Guest;
use crate::perturb::series::Series;
use crate::transport::kafka::client::Client;
use crate::transport::kafka::follow::Follower;
use crate::transport::wire::{Message, read_message};
use crate::types::{HostId, VmId};

/// So much of the past says who is there, and what they use.
const PAST_MS: i64 = 20_000;

/// What a VM uses is averaged over so long.
const LATELY_MS: i64 = 5_000;

/// The log is waited for no longer than this.
const PATIENCE_MS: i64 = 10_000;

/// How long one record is waited for.
const TURN: Duration = Duration::from_millis(200);

/// What was heard of the VMs.
#[derive(Default)]
pub struct Park {
    hosts: BTreeMap<VmId, HostId>,
    series: BTreeMap<VmId, Series>,
    /// Only these are kept, if it was said.
    kept: Option<BTreeSet<VmId>>,
}

impl Park {
    /// What the last 20 s of samples say; goes on with `follower` where it ends.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn look(follower: &Follower<'_>, now_ms: Clock) -> anyhow::Result<Park> {
        let (mut park, began_ms) = (Park::default(), now_ms());
        let (mut newest_ms, mut waits) = (0, true);
        // Until nothing waits any more: one partition may be read before another one.
        while (newest_ms < began_ms || waits) && now_ms() < began_ms + PATIENCE_MS {
            let heard = park.turn(follower)?;
            (newest_ms, waits) = (newest_ms.max(heard.unwrap_or(0)), heard.is_some());
        }
        Ok(park)
    }

    /// Follows the samples, from a little ago on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn follower<'a>(client: &'a Client, topic: &str, now_ms: i64) -> anyhow::Result<Follower<'a>> {
        Ok(Follower::open(client, topic, Some(now_ms - PAST_MS))?)
    }

    /// From now on only these VMs are kept.
    pub fn keep(&mut self, vms: BTreeSet<VmId>) {
        self.series.retain(|vm, _| vms.contains(vm));
        self.kept = Some(vms);
    }

    /// Takes the next message in, if one comes soon; gives its time. What cannot be read is passed over: the pipeline counts it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn turn(&mut self, follower: &Follower<'_>) -> anyhow::Result<Option<i64>> {
        let Some(bytes) = follower.next(TURN)? else { return Ok(None) };
        Ok(read_message(&bytes).ok().map(|message| self.take(&message)))
    }

    /// Takes a message in; gives its time.
    pub fn take(&mut self, message: &Message) -> i64 {
        let ticks = (message.t_ms / message.period_ms) as i64;
        for vm in &message.vms {
            let id = vm
                .id
                .as_deref()
                .map_or_else(|| VmId::new(&format!("{}/{}", message.host, vm.name)), VmId::new);
            if self.kept.as_ref().is_some_and(|kept| !kept.contains(&id)) {
                continue;
            }
            // At most MAX_CPU_PPM, or the message would have been refused.
            let values: Vec<u32> = vm.cpu_ppm.values().iter().map(|value| *value as u32).collect();
            self.hosts.insert(id.clone(), HostId::new(&message.host));
            let series = self.series.entry(id).or_insert_with(|| Series::new(message.period_ms));
            series.push(ticks - values.len() as i64, &values);
        }
        message.t_ms as i64
    }

    /// Who is there.
    pub fn guests(&self) -> BTreeMap<VmId, Guest> {
        let guest = |(vm, series): (&VmId, &Series)| {
            let from_ms = (series.end_ms() - LATELY_MS).max(series.start_ms());
            let used_ppm = series.mean(from_ms, series.end_ms()).unwrap_or(0.0);
            Some((vm.clone(), Guest { host: self.hosts.get(vm)?.clone(), used_ppm }))
        };
        self.series.iter().filter_map(guest).collect()
    }

    /// What a VM used.
    pub fn series(&self, vm: &VmId) -> Option<&Series> {
        self.series.get(vm)
    }

    /// Whether the samples of all VMs that are kept have come up to a time.
    pub fn is_there(&self, until_ms: i64) -> bool {
        self.series.values().all(|series| series.end_ms() >= until_ms)
    }
}
