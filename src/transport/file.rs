//! Files and standard input -> batches of samples: opening, unpacking, and reading on. The I/O of traces.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::collect::grid::{Grid, MAX_PERIOD_MS};
pub use crate::transport::head::Format;
use crate::transport::head::{HEAD_BYTES, Head, look, recognise, says_nothing, wanted};
use crate::transport::lines::{Line, Lines};
use crate::transport::parse::{Csv, Parser, Xentop};
use crate::transport::table::Table;
pub use crate::transport::table::{Batch, Decided};
use crate::types::{Reason, Tick};

/// Bytes of lines taken in by one call of [`Trace::read`]: it takes about 0.2 ms.
const READ_BYTES: usize = 1 << 16;

/// What the user said about a trace; what is not said is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The trace's format.
    pub format: Option<Format>,
    /// CSV cells are cumulative counters in nanoseconds.
    pub counters: bool,
    /// The period of the samples; not finer than the trace's own.
    pub period_ms: Option<u64>,
}

/// A trace cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("cannot open {}", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its beginning cannot be read.
    #[error("cannot read the beginning of {}", .path.display())]
    Head {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{}: nothing in it: did what should have written it fail?", .path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// It is of no known format.
    #[error("{}: not a trace: expected a CSV header `t,vm,cpu` or `t,<vm>,…`, xentop -b text, or sample messages (say which with --input-format)", .path.display())]
    Unrecognised {
        /// Which.
        path: PathBuf,
    },
    /// Samples are wanted more often than the trace has them.
    #[error("{}: sampled every {own_ms} ms, which cannot give samples every {period_ms} ms: use --period {own_ms}ms or longer", .path.display())]
    TooFine {
        /// Which.
        path: PathBuf,
        /// The trace's own period.
        own_ms: u64,
        /// The one asked for.
        period_ms: u64,
    },
}

/// A trace cannot be read to its end; what was read before is good.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} behind line {line}: it is damaged or cut off", .path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// The last line that was read.
    pub line: u64,
    /// Why.
    pub source: io::Error,
}

/// Whether a trace goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There may be more.
    More,
    /// That was all.
    End,
}

/// An opened trace.
pub struct Trace {
    path: PathBuf,
    lines: Lines<Packed>,
    parser: Parser,
    table: Table,
    format: Format,
    period_ms: u64,
    aligned: Tick,
    notes: Vec<String>,
    bytes_read: Arc<AtomicU64>,
}

type Source = Box<dyn Read + Send>;

impl Trace {
    /// Opens a file, or standard input for `-`; unpacks gz and zst; recognises what is not said.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, options: Options) -> Result<Trace, OpenError> {
        let source: Source = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(|source| OpenError::Open { path: path.into(), source })?)
        };
        Trace::from_reader(source, path, options)
    }

    /// The same from any reader; `path` only names it in messages.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn from_reader(source: Source, path: &Path, options: Options) -> Result<Trace, OpenError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { from: source, bytes: bytes_read.clone() };
        let from = unpack(counted).map_err(|source| OpenError::Head { path: path.into(), source })?;
        let (packed, format, mut head) = read_head(from, path, options)?;
        head.counters |= options.counters;
        let own_ms = match (head.own_ms, format) {
            (None, Format::Xentop) if !head.timed => options.period_ms.unwrap_or(1000),
            (own_ms, _) => own_ms.unwrap_or(1000),
        };
        // A grid has no longer periods: rarer readings are gaps.
        let own_ms = own_ms.min(MAX_PERIOD_MS);
        let period_ms = options.period_ms.unwrap_or(own_ms).min(MAX_PERIOD_MS);
        if period_ms < own_ms {
            return Err(OpenError::TooFine { path: path.into(), own_ms, period_ms });
        }
        let csv = Csv::new(head.counters);
        let parser = match format {
            Format::Long => Parser::Long(csv, None),
            Format::Wide => Parser::Wide(csv, None),
            Format::Xentop => Parser::Xentop(Box::new(Xentop::new(head.timed))),
            Format::Ndjson => Parser::Ndjson,
        };
        let table = Table::new(&path.display().to_string(), Grid::new(period_ms, own_ms));
        let lines = Lines::new(packed, format.max_line_bytes());
        let notes = notes(&head, options, (own_ms, period_ms));
        let aligned_ms = head.aligned_ms.filter(|ms| ms.is_multiple_of(period_ms));
        let aligned = aligned_ms.map_or(1, |ms| (ms / period_ms) as Tick);
        Ok(Trace { path: path.into(), lines, parser, table, format, period_ms, aligned, notes, bytes_read })
    }

    /// The period of the samples.
    pub fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// Samples of all grains that its beginning has begin together every so many ticks.
    pub fn aligned(&self) -> Tick {
        self.aligned
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What was recognised or assumed and the user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads on, some 64 KiB: appends samples and dead letters, advances the watermark and the counts.
    ///
    /// # Errors
    /// [`ReadError`], once, after everything that came before was handed on; then the trace is at its end.
    pub fn read(&mut self, out: &mut Batch) -> Result<Progress, ReadError> {
        out.aligned = self.aligned;
        let mut taken = 0;
        while taken < READ_BYTES {
            let number = self.lines.number() + 1;
            match self.lines.next_line() {
                Ok(Some(Line::Text(line))) => {
                    taken += line.len() + 1;
                    if !says_nothing(line) {
                        self.parser.line(line, number, &mut self.table, out);
                    }
                }
                Ok(Some(Line::TooLong(head))) => {
                    taken += head.len();
                    self.table.refuse(Reason::TooLong, (number, ""), head, out);
                }
                Ok(None) => {
                    self.finish(out);
                    return Ok(Progress::End);
                }
                Err(source) => {
                    self.finish(out);
                    return Err(ReadError { path: self.path.clone(), line: number - 1, source });
                }
            }
        }
        self.table.advance(out);
        out.bytes_read = self.bytes_read.load(Ordering::Relaxed);
        Ok(Progress::More)
    }

    fn finish(&mut self, out: &mut Batch) {
        self.parser.finish(&mut self.table, out);
        self.table.finish(out);
        out.bytes_read = self.bytes_read.load(Ordering::Relaxed);
    }
}

fn notes(head: &Head, options: Options, (own_ms, period_ms): (u64, u64)) -> Vec<String> {
    let mut notes = Vec::new();
    if head.counters && !options.counters {
        notes.push("cells recognised as cumulative CPU time in nanoseconds (--counters)".into());
    }
    if !head.timed {
        notes.push(format!("no times: one block is taken for {own_ms} ms (say how long with --period)"));
    } else if head.own_ms.is_none() {
        notes.push(format!("too few times to tell the period: {own_ms} ms is assumed"));
    }
    if period_ms != own_ms {
        notes.push(format!("sampled every {own_ms} ms, resampled to {period_ms} ms"));
    }
    notes
}

/// Counts what is read.
struct Counted {
    from: Source,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The head that was looked at, the failure that ended it, and the rest.
struct Packed {
    head: io::Cursor<Vec<u8>>,
    failed: Option<io::Error>,
    rest: Source,
}

impl Read for Packed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(into)?;
        match self.failed.take() {
            Some(error) if read == 0 => Err(error),
            failed => {
                self.failed = failed;
                if read > 0 { Ok(read) } else { self.rest.read(into) }
            }
        }
    }
}

/// Unpacks by what the first bytes are, not by the name.
fn unpack(mut from: Counted) -> io::Result<Source> {
    // A pipe may give fewer bytes than a magic number has.
    let mut magic = Vec::new();
    from.by_ref().take(4).read_to_end(&mut magic)?;
    let from = BufReader::with_capacity(1 << 16, io::Cursor::new(magic.clone()).chain(from));
    if magic.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(from)))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(from)?))
    } else {
        Ok(Box::new(from))
    }
}

/// Reads until enough is seen. What stops it early is kept for its turn, behind what came before.
fn read_head(mut rest: Source, path: &Path, options: Options) -> Result<(Packed, Format, Head), OpenError> {
    let (mut bytes, mut looked_at, mut failed, mut ended) = (Vec::new(), 0, None, false);
    let mut chunk = vec![0; READ_BYTES];
    loop {
        match rest.read(&mut chunk) {
            Ok(0) => ended = true,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => (failed, ended) = (Some(error), true),
        }
        // Each look is at a quarter more than the one before: all together cost five times the last.
        let large = bytes.len() >= 64 * HEAD_BYTES;
        if !ended && !large && bytes.len() < looked_at + looked_at / 4 {
            continue;
        }
        looked_at = bytes.len();
        let complete = ended || large || memchr::memchr(b'\n', &bytes).is_some();
        let format = options.format.or_else(|| recognise(&bytes).filter(|_| complete));
        let head = format.map(|format| look(&bytes, format)).unwrap_or_default();
        let untimed = format == Some(Format::Xentop) && head.times > 0 && !head.timed;
        let enough = match format {
            Some(Format::Ndjson) => head.settled,
            _ => head.times >= wanted(bytes.len()),
        };
        if ended || large || untimed || enough {
            let Some(format) = format else {
                let path = path.into();
                return Err(match failed {
                    Some(source) => OpenError::Head { path, source },
                    None if bytes.is_empty() => OpenError::Empty { path },
                    None => OpenError::Unrecognised { path },
                });
            };
            return Ok((Packed { head: io::Cursor::new(bytes), failed, rest }, format, head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    struct Pieces(io::Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let piece = self.1.min(into.len());
            self.0.read(&mut into[..piece])
        }
    }

    fn read(text: &str, piece: usize, options: Options) -> (u64, Vec<String>, Batch) {
        let source = Pieces(io::Cursor::new(text.into()), piece);
        let mut trace = Trace::from_reader(Box::new(source), Path::new("t"), options).unwrap();
        let mut out = Batch::default();
        while trace.read(&mut out).unwrap() == Progress::More {}
        (trace.period_ms(), trace.notes.clone(), out)
    }

    #[test]
    fn what_is_recognised_does_not_depend_on_how_it_arrives() {
        let row = |i: u64, step: u64| format!("{},a,5\n", 1000 + step * i);
        // A piece of 512 bytes ends behind 65 times of a step of 1 s; the others have one of 5 s.
        let slower: String = (0..70).map(|i| row(i, 1)).chain((100..400).map(|i| row(i, 5))).collect();
        let long = format!("t,vm,cpu\n{slower}");
        let xentop = "# started by hand, long before the first block\n   8.0   NAME  STATE  CPU(sec)\n";
        let forced = Options { format: Some(Format::Xentop), ..Options::default() };
        for (text, options) in [(long.as_str(), Options::default()), (xentop, forced)] {
            let whole = read(text, usize::MAX, options);
            for piece in [1, 7, 512] {
                assert_eq!(format!("{:?}", read(text, piece, options)), format!("{whole:?}"), "{piece}");
            }
        }
    }

    /// What two hosts used, one of which samples twice a second, the other every two seconds, a little after the clock.
    #[test]
    fn coarse_hosts_are_samples_of_several_ticks() {
        let message = |host: &str, t_ms: u64, period_ms: u64, ppm: String| {
            format!(
                r#"{{"v":1,"host":"{host}","t_ms":{t_ms},"period_ms":{period_ms},"vms":[{{"name":"v","cpu_ppm":{ppm}}}]}}"#
            ) + "\n"
        };
        let mut text = String::new();
        for s in 1..=100 {
            text += &message("fine", s * 1000, 500, format!("[{s},{s}]"));
            if s % 2 == 0 {
                text += &message("coarse", s * 1000, 2000, s.to_string());
            }
            text += &message("rare", s * 1000, 750, "1".into());
        }
        let (period_ms, _, out) = read(&text, usize::MAX, Options::default());
        assert_eq!((period_ms, out.aligned, out.refused), (500, 4, 100));
        let told = |host: &str| -> Vec<(Tick, usize, u32)> {
            let runs = out.samples.iter().filter(|run| run.host.as_str() == host);
            runs.flat_map(|run| {
                (0..).zip(&run.cpu_ppm).map(|(i, ppm)| (run.first + i * run.grain as Tick, run.grain, *ppm))
            })
            .collect()
        };
        let fine: Vec<_> = (0..200).map(|tick| (tick, 1, tick as u32 / 2 + 1)).collect();
        let coarse: Vec<_> = (0..50).map(|i| (4 * i, 4, 2 * i as u32 + 2)).collect();
        assert_eq!((told("fine"), told("coarse")), (fine, coarse));
        // With longer periods both sample alike, or the one is coarser by less.
        for (period_ms, grain, fine) in [(1000, 2, 100), (2000, 1, 50)] {
            let (_, _, out) = read(&text, 999, Options { period_ms: Some(period_ms), ..Options::default() });
            let values = |host: &str, grain| {
                let of = out.samples.iter().filter(|run| run.host.as_str() == host && run.grain == grain);
                of.map(|run| run.cpu_ppm.len()).sum::<usize>()
            };
            assert_eq!((values("fine", 1), values("coarse", grain)), (fine, 50), "{period_ms}");
        }
    }

    #[test]
    fn packing_is_recognised_byte_by_byte() {
        let text = &b"t,vm,cpu\n0,a,5\n"[..];
        let mut packed = Vec::new();
        flate2::bufread::GzEncoder::new(text, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
        for bytes in [packed, zstd::bulk::compress(text, 1).unwrap()] {
            let source = Box::new(Pieces(io::Cursor::new(bytes), 1));
            let trace = Trace::from_reader(source, Path::new("t"), Options::default()).unwrap();
            assert_eq!(trace.format(), Format::Long);
        }
    }

    #[test]
    fn periods_are_at_most_a_day() {
        let week = "t,vm,cpu\n0,a,5\n604800,a,5\n1209600,a,5\n";
        let longer = Options { period_ms: Some(u64::MAX), ..Options::default() };
        for options in [Options::default(), longer] {
            assert_eq!(read(week, 9, options).0, MAX_PERIOD_MS);
        }
    }
}
