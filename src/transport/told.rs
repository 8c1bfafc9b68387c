//! Records of a log that are not samples but count with the windows of samples: each from a definite window on, which follows
//! from when it was appended, never from when it is read. Pure.

use super::intake::{Batch, Grid, Record, Take};
use super::watermark::AHEAD_MS;
use crate::types::Reason;

/// From when a record was appended to the end of the first window with which it counts, at least. Twice by how much a broker's clock
/// may differ from ours: so windows never wait for a topic that has nothing.
pub const SETTLE_MS: i64 = 2 * AHEAD_MS;

/// For how long a record counts: as long as its topic keeps it, so that who asks anew and who reads the log agree. What a
/// compacted topic keeps counts until something else is said.
pub const VALID_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A record as it was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; that of a tombstone is empty.
    pub bytes: Vec<u8>,
    /// Where it stands.
    pub origin: String,
    /// The pane with which it counts first.
    pub from: u64,
    /// The pane with which it counts last.
    pub until: u64,
}

/// One partition of such records as far as it has been read.
#[derive(Debug)]
pub struct Tellings {
    hop_ms: i64,
    floor: u64,
    /// The highest append time so far: a clock that was set back does not bring back a window.
    append_ms: i64,
}

impl Tellings {
    fn pane(&self, append_ms: i64) -> u64 {
        (append_ms.saturating_add(SETTLE_MS).max(0) / self.hop_ms) as u64
    }
}

/// The append time from which on records count with `pane` or later.
pub fn needed_from_ms(pane: i64, hop_ms: i64) -> i64 {
    pane.saturating_mul(hop_ms).saturating_sub(SETTLE_MS)
}

impl Take for Tellings {
    fn new(grid: Grid, floor: u64) -> Self {
        Tellings { hop_ms: grid.hop_ms().max(1), floor, append_ms: i64::MIN }
    }

    fn open(&self) -> u64 {
        self.pane(self.append_ms).max(self.floor)
    }

    fn read_ms(&self) -> Option<i64> {
        (self.append_ms > i64::MIN).then_some(self.append_ms)
    }

    fn idle(&mut self, now_ms: i64) {
        self.append_ms = self.append_ms.max(now_ms.saturating_sub(AHEAD_MS));
    }

    fn take(&mut self, record: &Record, batch: &mut Batch) {
        self.append_ms = self.append_ms.max(record.append_ms);
        batch.records += 1;
        let until = self.pane(self.append_ms.saturating_add(VALID_MS));
        let (key, bytes, origin) = (record.key.to_vec(), record.bytes.to_vec(), record.origin());
        batch.told.push(Told { key, bytes, origin, from: self.open(), until });
    }

    fn unreadable(&mut self, topic: &str, partition: i32, offset: i64, batch: &mut Batch) {
        let record = Record { topic, partition, offset, append_ms: 0, key: &[], bytes: &[] };
        batch.records += 1;
        batch.dead.push((record.letter(Reason::TooLong, ""), self.open()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { period_ms: 1000, hop_ticks: 60, scales: vec![] };

    /// The panes from which on records count that were appended at these times, of a log that is read from `from_ms` on, and
    /// which pane is open then.
    fn read(appended_ms: &[i64], from_ms: i64) -> (Vec<u64>, u64) {
        let (mut tellings, mut batch) = (Tellings::new(GRID, 0), Batch::default());
        let first = appended_ms.iter().position(|append_ms| *append_ms >= from_ms);
        for append_ms in &appended_ms[first.unwrap_or(appended_ms.len())..] {
            let record =
                Record { topic: "t", partition: 0, offset: 7, append_ms: *append_ms, key: b"k", bytes: b"x" };
            tellings.take(&record, &mut batch);
        }
        (batch.told.iter().map(|told| told.from).collect(), tellings.open())
    }

    #[test]
    fn a_record_counts_from_a_window_that_its_append_time_says() {
        // Pane 2 ends at 180 s: what is appended up to 10 s before its end counts with it.
        let log = [100_000, 109_999, 110_000, 169_999, 170_000, 165_000, 230_001];
        assert_eq!(read(&log, 0), (vec![1, 1, 2, 2, 3, 3, 4], 4));
        // Who goes on after pane 2 reads just what counts later; a clock that was set back changes nothing.
        assert_eq!(read(&log, needed_from_ms(3, 60_000)), (vec![3, 3, 4], 4));
        assert_eq!(read(&log, needed_from_ms(5, 60_000)), (vec![], 0));
    }

    #[test]
    fn a_topic_that_has_nothing_delays_no_window() {
        let mut tellings = Tellings::new(GRID, 0);
        assert_eq!((tellings.open(), tellings.read_ms()), (0, None));
        // Asked 5 s before the end of pane 2.
        tellings.idle(174_999);
        assert_eq!(tellings.open(), 2);
        tellings.idle(175_000);
        assert_eq!(tellings.open(), 3);
        tellings.idle(1_000);
        assert_eq!(tellings.open(), 3);
        assert_eq!(Tellings::new(GRID, 9).open(), 9);
    }

    #[test]
    fn it_counts_for_a_week() {
        let (mut tellings, mut batch) = (Tellings::new(GRID, 0), Batch::default());
        tellings.take(
            &Record { topic: "t", partition: 1, offset: 7, append_ms: 60_000, key: b"k", bytes: b"x" },
            &mut batch,
        );
        let told = Told {
            key: b"k".into(),
            bytes: b"x".into(),
            origin: "t/1@7".into(),
            from: 1,
            until: 7 * 24 * 60 + 1,
        };
        assert_eq!(batch.told, [told]);
        tellings.unreadable("t", 1, 8, &mut batch);
        assert_eq!((batch.dead[0].0.reason, batch.dead[0].1), (Reason::TooLong, 1));
    }
}
