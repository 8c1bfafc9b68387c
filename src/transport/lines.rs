//! A reader of bytes -> lines of bounded length, in constant memory. Pure but for the reader it is given.

use std::io::{self, Read};
use std::ops::Range;

use crate::types::DeadLetter;

/// Bytes asked for at a time: large enough that a read's cost (1 us) is nothing, small enough for the cache.
const CHUNK_BYTES: usize = 1 << 16;

/// A line without its end (`\n` or `\r\n`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// The whole of it.
    Text(&'a [u8]),
    /// The beginning of one longer than the limit (at most [`DeadLetter::KEPT_BYTES`]).
    TooLong(&'a [u8]),
}

/// Lines of at most `limit_bytes`, numbered from 1.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    limit_bytes: usize,
    buffer: Vec<u8>,
    /// What of the buffer is not handed out yet; up to `searched` it holds no line's end.
    rest: Range<usize>,
    searched: usize,
    /// The beginning of a line that is being skipped.
    head: Vec<u8>,
    skipping: bool,
    ended: bool,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The lines of `from`.
    pub fn new(from: R, limit_bytes: usize) -> Self {
        let buffer = vec![0; CHUNK_BYTES];
        Lines {
            from,
            limit_bytes,
            buffer,
            rest: 0..0,
            searched: 0,
            head: Vec::new(),
            skipping: false,
            ended: false,
            number: 0,
        }
    }

    /// The number of the last line handed out.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// What the reader says. An unfinished line before it is dropped: its last number may be cut.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        let (text, next) = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..self.rest.end]) {
                let end = self.searched + at;
                break (self.rest.start..end, end + 1);
            }
            self.searched = self.rest.end;
            if self.ended {
                if self.rest.is_empty() && !self.skipping {
                    return Ok(None);
                }
                break (self.rest.clone(), self.rest.end);
            }
            self.fill()?;
        };
        (self.rest.start, self.searched) = (next, next);
        self.number += 1;
        if std::mem::take(&mut self.skipping) {
            return Ok(Some(Line::TooLong(&self.head)));
        }
        let line = &self.buffer[text];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        Ok(Some(if line.len() > self.limit_bytes {
            Line::TooLong(&line[..line.len().min(DeadLetter::KEPT_BYTES)])
        } else {
            Line::Text(line)
        }))
    }

    /// Reads on. What is left of the buffer moves to its front; the buffer grows up to the limit.
    fn fill(&mut self) -> io::Result<()> {
        if self.rest.len() > self.limit_bytes + 1 || (self.skipping && !self.rest.is_empty()) {
            if !std::mem::replace(&mut self.skipping, true) {
                let kept = self.rest.start..self.rest.end.min(self.rest.start + DeadLetter::KEPT_BYTES);
                self.head = self.buffer[kept].to_vec();
            }
            self.rest.start = self.rest.end;
        }
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        self.searched = self.rest.end;
        if self.rest.end + CHUNK_BYTES > self.buffer.len() {
            self.buffer.resize((2 * self.buffer.len()).max(self.rest.end + CHUNK_BYTES), 0);
        }
        let end = self.rest.end;
        match self.from.read(&mut self.buffer[end..end + CHUNK_BYTES]) {
            Ok(0) => self.ended = true,
            Ok(read) => self.rest.end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                (self.ended, self.skipping, self.rest) = (true, false, end..end);
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8], limit_bytes: usize) -> Vec<Result<Vec<u8>, usize>> {
        let mut lines = Lines::new(text, limit_bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(match line {
                Line::Text(text) => Ok(text.to_vec()),
                Line::TooLong(head) => Err(head.len()),
            });
        }
        all
    }

    #[test]
    fn ends_and_limits() {
        let ok = |text: &str| Ok(text.as_bytes().to_vec());
        assert_eq!(all(b"\xef\xbb\xbfa\r\n\nb", 9), [ok("a"), ok(""), ok("b")]);
        assert_eq!(all(b"abc\nabcd\nab\n", 3), [ok("abc"), Err(4), ok("ab")]);
        let mut long = vec![b'x'; 1_000_000];
        long.extend(b"\ny\n");
        assert_eq!(all(&long, 100), [Err(DeadLetter::KEPT_BYTES), ok("y")]);
        assert_eq!(all(&long[..1_000_000], 100), [Err(DeadLetter::KEPT_BYTES)]);
    }

    proptest! {
        #[test]
        fn every_line_comes_once(lengths in prop::collection::vec(0usize..100_000, 0..12)) {
            let text: String = lengths.iter().map(|&n| "z".repeat(n) + "\n").collect();
            let got: Vec<usize> = all(text.as_bytes(), 50_000).into_iter().map(|l| l.map_or(50_001, |t| t.len())).collect();
            let want: Vec<usize> = lengths.iter().map(|&n| n.min(50_001)).collect();
            prop_assert_eq!(got, want);
        }
    }
}
