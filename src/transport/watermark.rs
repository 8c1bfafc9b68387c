//! When the panes of one partition of the log are complete. Pure.
//!
//! The clock is the log's: the time at which a record was appended, never that at which somebody reads it.
//! So a partition that is read again, or long after, has the same panes open at the same records.
//!
//! Panes are absolute: pane `p` holds the samples that end in `(p * hop, (p + 1) * hop]`. A pane is
//! complete as soon as all hosts that speak have spoken past its end, and at the latest [`BOUND_MS`]
//! after it; a host that has said nothing for so long is not waited for, nor is one that nobody knows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Messages of one time are appended within this, so that a host that nobody knows yet is not always late:
/// collectors wait for up to 0.5 s to batch, and a broker's disk for as long.
pub const GRACE_MS: i64 = 1_000;

/// How long a host that is slow, or drains what it kept during a short outage, is waited for. A broker's
/// restart or a change of leader takes 3 to 20 s.
pub const BOUND_MS: i64 = 30_000;

/// How far a sample's time may lie after that at which it was appended: clocks under NTP differ by less
/// than 0.1 s, those of a host that has just started by a few seconds.
pub const AHEAD_MS: i64 = 5_000;

/// Who wants the same open panes for all samples that end after `t` as somebody who has always read must
/// read from append time `t - WARM_UP_MS` on. The samples are appended after `t - AHEAD`. Before that,
/// every host that is waited for must have been heard (`AHEAD + BOUND`: what it said last is no older
/// than `BOUND`, and was not appended before its time less `AHEAD`), and then the open pane must have
/// passed those that were opened too early while not all were known (`BOUND`: it is never further behind).
pub const WARM_UP_MS: i64 = 2 * (AHEAD_MS + BOUND_MS);

/// The most hosts of one partition that are waited for at a time; what exceeds them is not waited for.
/// With names of 255 bytes, which are kept once, and 150 bytes for the two entries: 8 MB. A partition of
/// 20,000 hosts, each with a message a second, would be written with 40 MB/s.
const MAX_HOSTS: usize = 20_000;

/// How far one partition has been read, as panes.
#[derive(Debug)]
pub struct Watermark {
    hop_ms: i64,
    /// The highest append time so far.
    append_ms: i64,
    open: u64,
    /// The hosts that are waited for, by what they last spoke of.
    by_time: BTreeSet<(i64, Arc<str>)>,
    last_ms: HashMap<Arc<str>, i64>,
}

impl Watermark {
    /// Of a partition of which nothing has been read, with panes of `hop_ms` (at least 1).
    pub fn new(hop_ms: i64) -> Self {
        let (by_time, last_ms) = Default::default();
        Watermark { hop_ms: hop_ms.max(1), append_ms: i64::MIN, open: 0, by_time, last_ms }
    }

    /// What was appended before it has been read; none before the first record.
    pub fn read_ms(&self) -> Option<i64> {
        (self.append_ms > i64::MIN).then_some(self.append_ms)
    }

    /// A record that was appended at `append_ms` is read: the first pane that is not complete. What the
    /// record has for panes before it is late.
    pub fn arrive(&mut self, append_ms: i64) -> u64 {
        self.append_ms = self.append_ms.max(append_ms);
        let silent = self.append_ms.saturating_sub(BOUND_MS);
        while let Some((last_ms, _)) = self.by_time.first()
            && *last_ms < silent
        {
            if let Some((_, host)) = self.by_time.pop_first() {
                self.last_ms.remove(&host);
            }
        }
        let slowest = self.by_time.first().map_or(i64::MAX, |(last_ms, _)| *last_ms);
        let complete_ms = self.append_ms.saturating_sub(GRACE_MS).min(slowest);
        self.open = self.open.max((complete_ms.max(0) / self.hop_ms) as u64);
        self.open
    }

    /// The record that arrived holds samples of `host`, the last of which ends at `t_ms`.
    pub fn heard(&mut self, host: &str, t_ms: i64) {
        if t_ms < self.append_ms.saturating_sub(BOUND_MS) {
            return; // Too far behind to be waited for.
        }
        match self.last_ms.get_key_value(host) {
            Some((_, &last_ms)) if last_ms >= t_ms => {}
            Some((host, &last_ms)) => {
                let host = host.clone();
                self.by_time.remove(&(last_ms, host.clone()));
                self.by_time.insert((t_ms, host.clone()));
                self.last_ms.insert(host, t_ms);
            }
            None if self.last_ms.len() >= MAX_HOSTS => {}
            None => {
                let host: Arc<str> = host.into();
                self.by_time.insert((t_ms, host.clone()));
                self.last_ms.insert(host, t_ms);
            }
        }
    }

    /// The partition held nothing more when the wall clock said `now_ms`. Broker's clock and ours may
    /// differ by [`AHEAD_MS`].
    pub fn idle(&mut self, now_ms: i64) {
        self.arrive(now_ms.saturating_sub(AHEAD_MS));
    }

    /// Whether [`Watermark::idle`] with `now_ms` would change nothing.
    pub fn is_past(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(AHEAD_MS) <= self.append_ms
    }

    /// The first pane that is not complete.
    pub fn open(&self) -> u64 {
        self.open
    }
}

#[cfg(test)]
mod tests;
