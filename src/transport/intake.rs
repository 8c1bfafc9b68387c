//! Records of one partition of the log -> samples on the grid of ticks, and dead letters. Pure: what comes
//! out is a function of the records, their append times and when the partition was found idle.

use std::collections::BTreeMap;

use super::names::{Names, Speaker};
use super::told::Told;
use super::watermark::{AHEAD_MS, Watermark};
use super::wire::{Message, read_message};
use crate::types::{DeadLetter, Reason, Samples, Tick, VmId};

/// The grid that samples are brought to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grid {
    /// The period of a tick.
    pub period_ms: u64,
    /// The ticks of a pane.
    pub hop_ticks: i64,
    /// The scales, in ticks, at which samples are looked at; each divides a pane.
    pub scales: Vec<usize>,
}

impl Grid {
    /// How long a pane is.
    pub fn hop_ms(&self) -> i64 {
        self.period_ms as i64 * self.hop_ticks
    }

    /// How many ticks a sample is that takes `period_ms`, if any scale is whole samples then: so no sample lies in two panes.
    fn grain(&self, period_ms: u64) -> Option<usize> {
        let grain = usize::try_from(period_ms / self.period_ms).ok()?;
        let whole = period_ms.is_multiple_of(self.period_ms);
        (whole && self.scales.iter().any(|scale| scale.is_multiple_of(grain))).then_some(grain)
    }
}

/// What was read at a time.
#[derive(Default, Debug)]
pub struct Batch {
    /// Samples that no complete pane holds.
    pub samples: Vec<Samples>,
    /// What was refused, each with the partition's open pane: with its window it is published.
    pub dead: Vec<(DeadLetter, u64)>,
    /// VMs whose identity is not what their hosts call them, with that name: when it is new.
    pub named: Vec<(VmId, Box<str>)>,
    /// What somebody tells beside samples.
    pub told: Vec<Told>,
    /// And what somebody decides.
    pub decided: Vec<Told>,
    /// No sample of a pane below it comes any more.
    pub open: u64,
    /// The records.
    pub records: u64,
    /// How many values the samples have.
    pub values: u64,
    /// The records that are still to be read, as far as is known.
    pub lag: u64,
    /// How long ago the next of them was appended, at most; of the partition that is furthest behind.
    pub lag_ms: i64,
    /// Each partition, with the offset up to which it has been read.
    pub read: Vec<(i32, i64)>,
}

impl Batch {
    /// Empties it, but keeps its memory.
    pub fn clear(&mut self) {
        let Batch { samples, dead, named, told, decided, open, records, values, lag, lag_ms, read } = self;
        samples.clear();
        dead.clear();
        named.clear();
        told.clear();
        decided.clear();
        read.clear();
        (*open, *records, *values, *lag, *lag_ms) = (0, 0, 0, 0, 0);
    }
}

/// A record of the log.
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// When it was appended.
    pub append_ms: i64,
    /// Its key; samples have no use for it.
    pub key: &'a [u8],
    /// Its value; none is empty.
    pub bytes: &'a [u8],
}

impl Record<'_> {
    /// Where it stands.
    pub fn origin(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }

    /// A dead letter of it; `more` says what of it, if not all.
    pub fn letter(&self, reason: Reason, more: &str) -> DeadLetter {
        let origin = self.origin() + more;
        let kept = self.bytes.len().min(DeadLetter::KEPT_BYTES);
        DeadLetter { reason, origin, bytes: self.bytes[..kept].to_vec() }
    }
}

/// What takes in the records of one partition of a topic, and says which panes are complete.
pub trait Take {
    /// Of a partition of which nothing has been read; panes below `floor` are complete already.
    fn new(grid: Grid, floor: u64) -> Self;
    /// The first pane that is not complete.
    fn open(&self) -> u64;
    /// What was appended before it has been read; none before the first record.
    fn read_ms(&self) -> Option<i64>;
    /// The partition held nothing more when the wall clock said `now_ms`.
    fn idle(&mut self, now_ms: i64);
    /// Takes a record.
    fn take(&mut self, record: &Record, batch: &mut Batch);
    /// A record could not be unpacked: it is too long, or broken.
    fn unreadable(&mut self, topic: &str, partition: i32, offset: i64, batch: &mut Batch);
}

/// One partition of samples as far as it has been read.
#[derive(Debug)]
pub struct Intake {
    grid: Grid,
    /// Panes that were complete before the partition was known.
    floor: u64,
    mark: Watermark,
    names: Names,
}

/// The samples of a message.
struct Span {
    /// The tick with which the first one begins.
    first: Tick,
    samples: usize,
    /// Ticks a sample.
    grain: usize,
    /// Values a sample.
    group: usize,
    end_ms: i64,
}

impl Take for Intake {
    fn new(grid: Grid, floor: u64) -> Self {
        let mark = Watermark::new(grid.hop_ms());
        Intake { grid, floor, mark, names: Names::default() }
    }

    fn open(&self) -> u64 {
        self.mark.open().max(self.floor)
    }

    fn read_ms(&self) -> Option<i64> {
        self.mark.read_ms()
    }

    fn idle(&mut self, now_ms: i64) {
        self.mark.idle(now_ms);
    }

    fn take(&mut self, record: &Record, batch: &mut Batch) {
        self.mark.arrive(record.append_ms);
        batch.records += 1;
        if let Err(reason) = self.read(record, batch) {
            batch.dead.push((record.letter(reason, ""), self.open()));
        }
    }

    fn unreadable(&mut self, topic: &str, partition: i32, offset: i64, batch: &mut Batch) {
        let record = Record { topic, partition, offset, append_ms: 0, key: &[], bytes: &[] };
        batch.records += 1;
        batch.dead.push((record.letter(Reason::TooLong, ""), self.open()));
    }
}

impl Intake {
    /// # Errors
    /// Why nothing of the record can be used.
    fn read(&mut self, record: &Record, batch: &mut Batch) -> Result<(), Reason> {
        let message = read_message(record.bytes)?;
        if message.t_ms as i64 - record.append_ms > AHEAD_MS {
            return Err(Reason::AheadOfClock);
        }
        let span = span(&message, &self.grid)?;
        // Rounding may have taken the time further into the future than is allowed.
        self.mark.heard(&message.host, span.end_ms.min(record.append_ms + AHEAD_MS));
        let open = self.open();
        let late = (open as i64).saturating_mul(self.grid.hop_ticks).saturating_sub(span.first);
        let late = (late.max(0) as usize).div_ceil(span.grain).min(span.samples);
        if late > 0 && late == span.samples {
            return Err(Reason::Late);
        }
        if late > 0 {
            let more = format!(", up to tick {}", span.first + (late * span.grain) as Tick - 1);
            batch.dead.push((record.letter(Reason::Late, &more), open));
        }
        let speaker = self.names.speaker(&message.host, record.append_ms)?;
        let before = batch.samples.len();
        let refused = samples(&message, speaker, &span, late, batch);
        batch.values += ((batch.samples.len() - before) * (span.samples - late)) as u64;
        for (reason, (first, count)) in refused {
            let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let more = format!(", host {:?}, VM {first:?}{others}", message.host);
            batch.dead.push((record.letter(reason, &more), open));
        }
        Ok(())
    }
}

/// The samples of a message but for its first `late` ones; gives what was refused: the first VM's name and
/// how many, so that no message makes more than a letter a reason.
fn samples(
    message: &Message,
    mut speaker: Speaker,
    span: &Span,
    late: usize,
    batch: &mut Batch,
) -> BTreeMap<Reason, (String, usize)> {
    let mut refused = BTreeMap::new();
    for vm in &message.vms {
        match speaker.vm(vm.id.as_deref(), &vm.name, &mut batch.named) {
            Ok(id) => batch.samples.push(Samples {
                vm: id,
                host: speaker.host().clone(),
                first: span.first + (late * span.grain) as Tick,
                grain: span.grain,
                cpu_ppm: means(&vm.cpu_ppm.values()[late * span.group..], span.group),
            }),
            Err(reason) => refused.entry(reason).or_insert_with(|| (vm.name.to_string(), 0)).1 += 1,
        }
    }
    refused
}

/// The samples of the grid that a message has: ticks, of several values if they are finer, or of several ticks each. Nothing
/// is repeated here for each tick, so what a message becomes is bounded by its own length.
///
/// # Errors
/// `TooCoarse`, or `Unaligned` when it does not cover whole ticks.
fn span(message: &Message, grid: &Grid) -> Result<Span, Reason> {
    let values = message.vms.first().map_or(0, |vm| vm.cpu_ppm.values().len()) as u64;
    // The end as a number of the message's own periods, to the nearest.
    let end = (message.t_ms + message.period_ms / 2) / message.period_ms;
    if message.period_ms > grid.period_ms {
        let grain = grid.grain(message.period_ms).ok_or(Reason::TooCoarse)?;
        let first = (end as i64 - values as i64) * grain as i64;
        let end_ms = (end * message.period_ms) as i64;
        return Ok(Span { first, samples: values as usize, grain, group: 1, end_ms });
    }
    let group = grid.period_ms / message.period_ms;
    if !grid.period_ms.is_multiple_of(message.period_ms)
        || !end.is_multiple_of(group)
        || !values.is_multiple_of(group)
    {
        return Err(Reason::Unaligned);
    }
    let (end, ticks) = ((end / group) as i64, values / group);
    Ok(Span {
        first: end - ticks as i64,
        samples: ticks as usize,
        grain: 1,
        group: group as usize,
        end_ms: end * grid.period_ms as i64,
    })
}

/// Means of each `group` values, halves rounded up. Without overflow: values are less than 2^30, and a
/// message has fewer than 2^20.
fn means(values: &[u64], group: usize) -> Vec<u32> {
    let group_u64 = group as u64;
    let mean = |values: &[u64]| ((2 * values.iter().sum::<u64>() + group_u64) / (2 * group_u64)) as u32;
    values.chunks_exact(group).map(mean).collect()
}

#[cfg(test)]
mod tests;
