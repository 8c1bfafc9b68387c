//! The VMs of a trace: name -> its stream of readings, and when their samples are handed on. Pure.

use std::collections::HashMap;

use crate::collect::grid::{Grid, RUN_TICKS, Stream, Value};
use crate::types::{DeadLetter, HostId, MAX_NAME_BYTES, Reason, Samples, Tick, VmId};

/// The most VMs of a trace: ten times the largest datacenter in view; about 600 bytes each, 600 MB.
pub const MAX_VMS: usize = 1 << 20;

/// How much later than the newest row a row may be: hosts whose clocks differ by so much are one trace.
pub const LATENESS_NS: i64 = 5_000_000_000;

/// A step forward by more than this is believed only when the next time confirms it: one wrong clock must not close
/// everybody's windows. Twice the usual window; a recording that really pauses for longer loses one row.
pub const JUMP_NS: i64 = 600_000_000_000;

/// A decision as it is told: key and value, which is empty if it is undone.
pub type Decided = (Vec<u8>, Vec<u8>);

/// What was read: the caller takes out what it wants, and hands the same one in again.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Runs of at most [`RUN_TICKS`] samples.
    pub samples: Vec<Samples>,
    /// What was refused: one letter for each time that `refused` is counted.
    pub dead: Vec<DeadLetter>,
    /// What somebody decides meanwhile: no trace has it, but who reads one may hear of it.
    pub decided: Vec<Decided>,
    /// No sample of an earlier tick comes any more, but for late ones.
    pub watermark: Option<Tick>,
    /// Samples of all grains that the beginning of the file has begin together every so many ticks, counted from the
    /// epoch; 0 or 1 if all are single ticks.
    pub aligned: Tick,
    /// Bytes of the file read so far, compressed as they are.
    pub bytes_read: u64,
    /// Readings that were used, since the beginning.
    pub readings: u64,
    /// Lines and cells that were refused, since the beginning.
    pub refused: u64,
    /// What is left out on purpose, since the beginning: Domain-0, cells of a column that was refused, empty cells.
    pub skipped: u64,
}

/// The streams.
#[derive(Debug)]
pub struct Table {
    origin: String,
    grid: Grid,
    streams: Vec<Stream>,
    /// `host`, a zero byte, `name` -> place among the streams; `keys` is its inverse.
    index: HashMap<Vec<u8>, usize>,
    keys: Vec<Vec<u8>>,
    guess: usize,
    /// Ticks of a sample, where they are most.
    coarsest: usize,
    newest_ns: Option<i64>,
    /// A time that is too far ahead to be believed yet.
    suspect_ns: Option<i64>,
    flushed: Option<Tick>,
}

impl Table {
    /// No VMs yet; `origin` names the file in dead letters.
    pub fn new(origin: &str, grid: Grid) -> Self {
        let (streams, index, keys) = (Vec::new(), HashMap::new(), Vec::new());
        Table {
            origin: origin.into(),
            grid,
            streams,
            index,
            keys,
            guess: 0,
            coarsest: 1,
            newest_ns: None,
            suspect_ns: None,
            flushed: None,
        }
    }

    /// The grid that samples are put on.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The place of a VM. Without a host, `host/name` is taken apart. VMs mostly come in the same order
    /// again and again: the one behind the last is tried first.
    ///
    /// # Errors
    /// `BadName`, also for more than [`MAX_VMS`].
    #[inline]
    pub fn find(&mut self, host: &[u8], name: &[u8]) -> Result<usize, Reason> {
        let (host, name) = (host.trim_ascii(), name.trim_ascii());
        if let Some(key) = self.keys.get(self.guess)
            && key.len() == host.len() + 1 + name.len()
            && key[..host.len()] == *host
            && key[host.len()] == 0
            && key[host.len() + 1..] == *name
        {
            let found = self.guess;
            self.guess = if found + 1 == self.keys.len() { 0 } else { found + 1 };
            return Ok(found);
        }
        let found = self.look_up(host, name)?;
        self.guess = if found + 1 == self.keys.len() { 0 } else { found + 1 };
        Ok(found)
    }

    fn look_up(&mut self, host: &[u8], name: &[u8]) -> Result<usize, Reason> {
        let key = [host, b"\0", name].concat();
        if let Some(&found) = self.index.get(&key) {
            return Ok(found);
        }
        let (host, name) = (text(host)?, text(name)?);
        let parts = name.split_once('/').filter(|(a, b)| host.is_empty() && !a.is_empty() && !b.is_empty());
        let (host, name) = parts.unwrap_or((host, name));
        let named = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains('\0');
        if !named(name) || !(host.is_empty() || named(host)) {
            return Err(Reason::BadName);
        }
        let id = if host.is_empty() { name.to_owned() } else { format!("{host}/{name}") };
        self.insert(key, Stream::new(VmId::new(&id), HostId::new(host)))
    }

    /// The place of a VM with an identity of its own on a host, whose samples are of `grain` ticks each: with another
    /// grain it has another stream.
    ///
    /// # Errors
    /// `BadName` for more than [`MAX_VMS`].
    pub fn find_id(&mut self, host: &str, id: &str, grain: usize) -> Result<usize, Reason> {
        let mut key = [host.as_bytes(), b"\0", id.as_bytes()].concat();
        if grain > 1 {
            key.extend_from_slice(format!("\0{grain}").as_bytes());
        }
        match self.index.get(&key) {
            Some(&found) => Ok(found),
            None => self.insert(key, Stream::coarse(VmId::new(id), HostId::new(host), grain)),
        }
    }

    fn insert(&mut self, key: Vec<u8>, stream: Stream) -> Result<usize, Reason> {
        let at = self.streams.len();
        if at == MAX_VMS {
            return Err(Reason::BadName);
        }
        self.index.insert(key.clone(), at);
        self.keys.push(key);
        self.coarsest = self.coarsest.max(stream.grain());
        self.streams.push(stream);
        Ok(at)
    }

    /// Takes a reading of the VM at place `vm`.
    ///
    /// # Errors
    /// Those of [`Stream::read`], and `BadTime` for a leap forward that nothing confirms ([`JUMP_NS`]).
    #[inline]
    pub fn read(&mut self, vm: usize, t_ns: i64, value: Value, out: &mut Batch) -> Result<(), Reason> {
        if self.newest_ns.is_some_and(|newest| t_ns > newest.saturating_add(JUMP_NS)) && !self.confirmed(t_ns)
        {
            return Err(Reason::BadTime);
        }
        let stream = &mut self.streams[vm];
        stream.read(&self.grid.coarser(stream.grain()), t_ns, value, &mut out.samples)?;
        out.readings += 1;
        self.newest_ns = self.newest_ns.max(Some(t_ns));
        Ok(())
    }

    /// Whether another time near `t_ns` was seen just before it.
    fn confirmed(&mut self, t_ns: i64) -> bool {
        let near = |before: i64| t_ns != before && t_ns.abs_diff(before) <= JUMP_NS as u64;
        let confirmed = self.suspect_ns.is_some_and(near);
        self.suspect_ns = if confirmed { None } else { Some(t_ns) };
        confirmed
    }

    /// Counts and keeps what was refused; `place` says where in the line.
    pub fn refuse(&self, reason: Reason, (line, place): (u64, &str), bytes: &[u8], out: &mut Batch) {
        let bytes = bytes[..bytes.len().min(DeadLetter::KEPT_BYTES)].to_vec();
        out.refused += 1;
        out.dead.push(DeadLetter { reason, origin: format!("{}:{line}{place}", self.origin), bytes });
    }

    /// Hands on all samples when a run's length of ticks has passed, and then moves the watermark: behind
    /// it lie the lateness allowed and the longest time that is interpolated.
    pub fn advance(&mut self, out: &mut Batch) {
        let Some(newest_ns) = self.newest_ns else { return };
        let now = self.grid.ticks_before(newest_ns);
        if self.flushed.is_none_or(|flushed| now >= flushed + RUN_TICKS as Tick) {
            self.flush(out);
            self.flushed = Some(now);
            let behind_ns = LATENESS_NS + self.grid.coarser(self.coarsest).gap_ns();
            out.watermark = out.watermark.max(Some(self.grid.ticks_before(newest_ns - behind_ns)));
        }
    }

    /// Hands on all samples, at the end; nothing comes any more.
    pub fn finish(&mut self, out: &mut Batch) {
        self.flush(out);
        out.watermark = out.watermark.max(self.newest_ns.map(|ns| self.grid.ticks_before(ns)));
    }

    fn flush(&mut self, out: &mut Batch) {
        self.streams.iter_mut().for_each(|stream| stream.flush(&mut out.samples));
    }
}

fn text(name: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(name).map_err(|_| Reason::BadName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_name_make_no_other_vm() {
        let mut table = Table::new("t", Grid::new(1000, 1000));
        let rows =
            [("h", "a", 0), ("h", "b", 1), (" h", "a ", 0), ("h", "\ta", 0), ("", " h/a", 2), ("", "h/a", 2)];
        for (host, name, want) in rows {
            assert_eq!(table.find(host.as_bytes(), name.as_bytes()), Ok(want), "{host:?} {name:?}");
        }
    }

    #[test]
    fn a_leap_is_believed_when_the_next_time_confirms_it() {
        let second = |n: i64| n * 1_000_000_000;
        let mut table = Table::new("t", Grid::new(1000, 1000));
        let vm = table.find(b"", b"web").unwrap();
        let mut out = Batch::default();
        let rows = [
            (100, true),
            (101, true),
            (99_999, false), // alone: a clock gone wrong
            (102, true),
            (50_000, false), // the first after a pause is lost
            (50_000, false),
            (50_001, true),
            (50_002, true),
        ];
        for (t_s, taken) in rows {
            let read = table.read(vm, second(t_s), Value::Level(7, second(1)), &mut out);
            assert_eq!(read, if taken { Ok(()) } else { Err(Reason::BadTime) }, "{t_s} s");
        }
        table.finish(&mut out);
        assert_eq!(out.watermark, Some(50_002));
    }
}
