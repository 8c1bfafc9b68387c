//! Messages on disk while nobody takes them: handed out in the order in which they came, over any number of
//! restarts. Bounded: the oldest are dropped, and counted.
//!
//! A folder of segments, each a row of records that is only ever appended to, and a cursor: up to where the
//! messages have been delivered. kill -9 loses nothing that was appended: a record is one `write`. It is not
//! fsynced, so a power cut may lose what the kernel had not written yet (some 30 s); segments are synced when
//! they are full and at a clean end. A record that is cut off or damaged ends its segment. A cursor that is
//! damaged means that messages are delivered twice, not that they are lost.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::wire::MAX_MESSAGE_BYTES;

/// A segment is full from so many bytes on: a sixteenth of the limit, so that no more than that is dropped at a
/// time, but not more than 4 MiB, and not less than is worth a file.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 4 << 20);

/// Before each record: its length, its CRC-32, and the length of its key, all little-endian.
const HEAD_BYTES: usize = 4 + 4 + 2;

/// The longest key: a host's name.
const MAX_KEY_BYTES: usize = crate::types::MAX_NAME_BYTES;

/// Something about the spool's folder does not work.
#[derive(Debug, thiserror::Error)]
#[error("the spool {}: cannot {what}", .path.display())]
pub struct SpoolError {
    /// Which file.
    path: PathBuf,
    /// Do what.
    what: &'static str,
    /// Why.
    source: io::Error,
}

/// Behind which message: number of the segment, and the byte there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    segment: u64,
    byte: u64,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    messages: u64,
    /// Of these, how many were handed out.
    handed: u64,
}

/// An opened spool; nobody else can open it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limit_bytes: u64,
    /// By number; the last one may be appended to if `writer` is there.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    /// The segment that is read, and up to where messages were handed out.
    reader: Option<(u64, BufReader<File>)>,
    handed: Position,
    delivered: Position,
    cursor: File,
    dropped: u64,
    _lock: File,
}

impl Spool {
    /// Opens the spool in `folder`, which is made if need be, with at most `limit_bytes` of messages.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, or somebody else has it open.
    pub fn open(folder: &Path, limit_bytes: u64) -> Result<Spool, SpoolError> {
        let at = |path: PathBuf, what| move |source| SpoolError { path, what, source };
        fs::create_dir_all(folder).map_err(at(folder.into(), "make the folder"))?;
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(folder.join(name));
            file.map_err(at(folder.join(name), "open it"))
        };
        let (lock, cursor) = (open("lock")?, open("cursor")?);
        lock.try_lock()
            .map_err(|error| match error {
                TryLockError::WouldBlock => io::Error::other("another lwt uses it"),
                TryLockError::Error(error) => error,
            })
            .map_err(at(folder.join("lock"), "lock it"))?;
        let delivered = read_cursor(&cursor);
        let mut spool = Spool {
            folder: folder.into(),
            limit_bytes,
            segments: VecDeque::new(),
            writer: None,
            reader: None,
            handed: delivered,
            delivered,
            cursor,
            dropped: 0,
            _lock: lock,
        };
        spool.recover()?;
        Ok(spool)
    }

    /// How many messages are there that were not handed out.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.messages - segment.handed).sum()
    }

    /// Whether all messages were handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all messages were delivered.
    pub fn is_delivered(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many messages were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Appends a message; gives where it ends. The oldest are dropped to make room.
    ///
    /// # Errors
    /// When it cannot be written; then it is not there.
    pub fn append(&mut self, key: &[u8], value: &[u8]) -> Result<Position, SpoolError> {
        let record = record(key, value);
        let (least, most) = SEGMENT_BYTES;
        let full = (self.limit_bytes / 16).clamp(least, most);
        if self.writer.is_some() && self.segments.back().is_none_or(|last| last.bytes >= full) {
            self.seal()?;
        }
        if self.writer.is_none() {
            self.begin_segment()?;
        }
        let path = self.segments.back().map(|last| self.path(last.number)).unwrap_or_default();
        if let (Some(writer), Some(last)) = (&mut self.writer, self.segments.back_mut()) {
            if let Err(source) = writer.write_all(&record) {
                // A part of it may be there: nothing may follow it.
                self.writer = None;
                if last.messages == 0 {
                    self.segments.pop_back();
                    drop(fs::remove_file(&path));
                }
                return Err(SpoolError { path, what: "write it", source });
            }
            last.bytes += record.len() as u64;
            last.messages += 1;
        }
        self.make_room();
        Ok(self.end())
    }

    /// All messages that are there are being delivered already: they are not handed out.
    pub fn hand_over(&mut self) {
        self.reader = None;
        self.handed = self.end();
        self.segments.iter_mut().for_each(|segment| segment.handed = segment.messages);
    }

    /// Hands out the next message, with where it ends.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn hand_out(&mut self) -> Result<Option<(Message, Position)>, SpoolError> {
        while let Some(at) = self.segments.iter().position(|segment| segment.handed < segment.messages) {
            let number = self.segments[at].number;
            if let Some(message) = self.read(number)? {
                self.segments[at].handed += 1;
                return Ok(Some((message, self.handed)));
            }
            // Less than was counted: damaged since.
            let segment = &mut self.segments[at];
            self.dropped += segment.messages - segment.handed;
            segment.messages = segment.handed;
        }
        Ok(None)
    }

    /// The messages up to `position` are delivered: they are forgotten.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn commit(&mut self, position: Position) -> Result<(), SpoolError> {
        if position <= self.delivered {
            return Ok(());
        }
        self.delivered = position;
        let bytes = cursor_bytes(position);
        let written = self.cursor.write_all_at(&bytes, 0);
        written.map_err(|source| self.failed("cursor", "write it", source))?;
        let end = self.end();
        while let Some(first) = self.segments.front()
            && (first.number < position.segment || position == end)
        {
            self.remove_first();
        }
        Ok(())
    }

    /// Makes sure that all is on the disk, not only in the kernel.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        let synced =
            self.writer.as_ref().map_or(Ok(()), File::sync_data).and_then(|()| self.cursor.sync_data());
        synced.map_err(|source| self.failed("cursor", "sync it", source))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.segment"))
    }

    fn failed(&self, file: &str, what: &'static str, source: io::Error) -> SpoolError {
        SpoolError { path: self.folder.join(file), what, source }
    }

    /// Where the last message ends.
    fn end(&self) -> Position {
        let last = self.segments.back();
        last.map_or(self.delivered, |last| Position { segment: last.number, byte: last.bytes })
    }

    /// Finds the segments, and how many messages each has behind the cursor. A new one is begun for what comes.
    fn recover(&mut self) -> Result<(), SpoolError> {
        let listed = fs::read_dir(&self.folder).and_then(|files| files.collect::<io::Result<Vec<_>>>());
        let listed = listed.map_err(|source| self.failed("", "list it", source))?;
        let name = |file: &fs::DirEntry| file.file_name().to_str()?.strip_suffix(".segment")?.parse().ok();
        let mut numbers: Vec<u64> = listed.iter().filter_map(name).collect();
        numbers.sort_unstable();
        for number in numbers {
            self.handed = if number == self.delivered.segment { self.delivered } else { start(number) };
            if number < self.delivered.segment {
                drop(fs::remove_file(self.path(number)));
                continue;
            }
            let mut messages = 0;
            while self.read(number)?.is_some() {
                messages += 1;
            }
            if messages > 0 {
                let bytes = self.handed.byte;
                self.segments.push_back(Segment { number, bytes, messages, handed: 0 });
            } else {
                drop(fs::remove_file(self.path(number)));
            }
        }
        let first = self.segments.front().map(|first| first.number);
        self.handed = match first {
            Some(number) if number == self.delivered.segment => self.delivered,
            _ => start(first.unwrap_or(0)),
        };
        self.reader = None;
        self.make_room();
        Ok(())
    }

    /// The record behind `handed` in a segment; `None` where it ends, or is damaged.
    fn read(&mut self, number: u64) -> Result<Option<Message>, SpoolError> {
        if self.handed.segment != number {
            self.handed = start(number);
        }
        if self.reader.as_ref().is_none_or(|(of, _)| *of != number) {
            let path = self.path(number);
            let open = || {
                let mut file = File::open(&path)?;
                io::Seek::seek(&mut file, io::SeekFrom::Start(self.handed.byte))?;
                Ok(BufReader::new(file))
            };
            let opened =
                open().map_err(|source| SpoolError { path: path.clone(), what: "open it", source })?;
            self.reader = Some((number, opened));
        }
        let Some((_, reader)) = &mut self.reader else { return Ok(None) };
        match read_record(reader) {
            Ok((message, bytes)) => {
                self.handed.byte += bytes;
                Ok(Some(message))
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
            {
                self.reader = None;
                Ok(None)
            }
            Err(source) => Err(SpoolError { path: self.path(number), what: "read it", source }),
        }
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let last = self.segments.back().map_or(0, |last| last.number);
        let number = last.max(self.delivered.segment) + 1;
        let path = self.path(number);
        let made = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        self.writer = Some(made.map_err(|source| SpoolError { path, what: "make it", source })?);
        self.segments.push_back(Segment { number, bytes: 0, messages: 0, handed: 0 });
        Ok(())
    }

    /// The last segment is full.
    fn seal(&mut self) -> Result<(), SpoolError> {
        let synced = self.writer.take().map_or(Ok(()), |full| full.sync_data());
        synced.map_err(|source| self.failed("", "sync a segment", source))
    }

    fn make_room(&mut self) {
        let used = |segments: &VecDeque<Segment>| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        while self.segments.len() > 1 && used(&self.segments) > self.limit_bytes {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        let Some(first) = self.segments.pop_front() else { return };
        self.dropped += first.messages - first.handed;
        // What cannot be removed is below the cursor, or counted as dropped; it is tried again at the next start.
        drop(fs::remove_file(self.path(first.number)));
        if self.reader.as_ref().is_some_and(|(number, _)| *number == first.number) {
            self.reader = None;
        }
        if self.segments.is_empty() {
            self.writer = None;
        }
    }
}

fn start(segment: u64) -> Position {
    Position { segment, byte: 0 }
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 8];
    record.extend_from_slice(&(key.len() as u16).to_le_bytes());
    record.extend_from_slice(key);
    record.extend_from_slice(value);
    let (length, crc) = ((key.len() + value.len()) as u32, crc32fast::hash(&record[8..]));
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..8].copy_from_slice(&crc.to_le_bytes());
    record
}

/// A record, and how long it is.
///
/// # Errors
/// `UnexpectedEof` for one that is cut off, `InvalidData` for one that is damaged.
fn read_record(from: &mut impl Read) -> io::Result<(Message, u64)> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let [a, b, c, d, e, f, g, h, k, l] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let key_length = usize::from(u16::from_le_bytes([k, l]));
    if length > MAX_KEY_BYTES + MAX_MESSAGE_BYTES || key_length > length {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut key = vec![0; length];
    from.read_exact(&mut key)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[k, l]);
    crc.update(&key);
    if crc.finalize() != u32::from_le_bytes([e, f, g, h]) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let value = key.split_off(key_length);
    Ok((Message { key, value }, (HEAD_BYTES + length) as u64))
}

fn cursor_bytes(Position { segment, byte }: Position) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&segment.to_le_bytes());
    bytes[8..16].copy_from_slice(&byte.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Where the cursor stands; at the beginning if it is damaged.
fn read_cursor(file: &File) -> Position {
    let (mut segment, mut byte) = ([0; 8], [0; 8]);
    let read = file.read_exact_at(&mut segment, 0).and_then(|()| file.read_exact_at(&mut byte, 8));
    let position = Position { segment: u64::from_le_bytes(segment), byte: u64::from_le_bytes(byte) };
    let mut all = [0; 20];
    let whole = read.is_ok() && file.read_exact_at(&mut all, 0).is_ok() && all == cursor_bytes(position);
    if whole { position } else { Position::default() }
}

#[cfg(test)]
mod tests;
