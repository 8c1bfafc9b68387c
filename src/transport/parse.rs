//! One line of a trace -> readings, for each format. Pure.

use std::collections::HashMap;
use std::ops::Range;

use crate::collect::grid::Value;
use crate::collect::number::{counter_ns, percent_ppm, time_ns};
use crate::collect::xentop::{Block, Blocks, DOMAIN_0, Reading};
use crate::transport::table::{Batch, MAX_VMS, Table};
use crate::transport::wire::read_message;
use crate::types::{MAX_GRAIN_MS, Reason};

/// The most fields that a line is split into: the time, a million VMs, and one that shows that there are more.
/// A line of 64 MiB has as many as bytes, at 24 bytes each.
const MAX_FIELDS: usize = MAX_VMS + 2;

/// Splits a line of CSV: the fields are `ranges` of what is returned. Quotes are undone if there are any.
pub fn split<'a>(line: &'a [u8], unquoted: &'a mut Vec<u8>, ranges: &mut Vec<Range<usize>>) -> &'a [u8] {
    ranges.clear();
    if memchr::memchr(b'"', line).is_none() {
        let mut start = 0;
        for end in memchr::memchr_iter(b',', line).chain([line.len()]).take(MAX_FIELDS) {
            ranges.push(start..end);
            start = end + 1;
        }
        return line;
    }
    unquoted.clear();
    unquoted.resize(line.len() + 1, 0);
    let mut ends = vec![0; (line.len() + 2).min(MAX_FIELDS)];
    // A carriage return within a line is nothing special, as it is without quotes.
    let mut reader = csv_core::ReaderBuilder::new().terminator(csv_core::Terminator::Any(b'\n')).build();
    // The output is as long as the input and the fields fewer than its bytes: one call reads it all, a
    // second, empty one ends the last field.
    let (_, _, written, fields) = reader.read_record(line, unquoted, &mut ends);
    let (_, _, _, last) = reader.read_record(b"", &mut unquoted[written..], &mut ends[fields..]);
    let mut start = 0;
    for &end in &ends[..fields + last] {
        ranges.push(start..end);
        start = end;
    }
    unquoted
}

/// Where a long CSV has its columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongColumns {
    /// The time's place.
    pub t: usize,
    vm: usize,
    cpu: usize,
    host: Option<usize>,
    all: usize,
}

impl LongColumns {
    /// From a header: `t`, `vm`, `cpu` and perhaps `host`, in any order, and nothing else.
    pub fn find(line: &[u8], ranges: &[Range<usize>]) -> Option<Self> {
        let at = |name: &[u8]| ranges.iter().position(|range| line[range.clone()].trim_ascii() == name);
        let (t, vm, cpu, host) = (at(b"t")?, at(b"vm")?, at(b"cpu")?, at(b"host"));
        let all = 3 + usize::from(host.is_some());
        (ranges.len() == all).then_some(LongColumns { t, vm, cpu, host, all })
    }
}

/// What a format has to remember from line to line.
#[derive(Debug)]
pub enum Parser {
    /// Before a long CSV's header.
    Long(Csv, Option<LongColumns>),
    /// A wide CSV: the columns' VMs, once the header was read; `None` for one that is left out.
    Wide(Csv, Option<Vec<Option<usize>>>),
    /// xentop.
    Xentop(Box<Xentop>),
    /// Sample messages.
    Ndjson,
}

/// What both forms of CSV share.
#[derive(Debug, Default)]
pub struct Csv {
    counters: bool,
    unquoted: Vec<u8>,
    ranges: Vec<Range<usize>>,
    time_text: Vec<u8>,
    time: Option<Result<i64, Reason>>,
}

/// What xentop's blocks are held against.
#[derive(Debug, Default)]
pub struct Xentop {
    /// Whether the lines have times; else a block is one period.
    timed: bool,
    blocks: Blocks,
    ended: Vec<Block>,
    count: u64,
    last_ns: Option<i64>,
    /// Name -> (its last block, its CPU seconds then).
    seen: HashMap<String, (u64, u64)>,
}

impl Xentop {
    /// Before the first line.
    pub fn new(timed: bool) -> Self {
        Xentop { timed, blocks: Blocks::new(), ..Xentop::default() }
    }
}

impl Parser {
    /// Takes line `number`; what it says goes to the table, what it does not to `out.dead`.
    pub fn line(&mut self, line: &[u8], number: u64, table: &mut Table, out: &mut Batch) {
        let taken = match self {
            Parser::Long(csv, columns) => csv.long(columns, line, table, out),
            Parser::Wide(csv, columns) => csv.wide(columns, (line, number), table, out),
            Parser::Xentop(xentop) => xentop.line(line, number, table, out),
            Parser::Ndjson => ndjson(line, number, table, out),
        };
        if let Err(reason) = taken {
            table.refuse(reason, (number, ""), line, out);
        }
    }

    /// The trace has ended; nothing may follow what it left open.
    pub fn finish(&mut self, table: &mut Table, out: &mut Batch) {
        if let Parser::Xentop(xentop) = self {
            xentop.blocks.finish(&mut xentop.ended);
            xentop.take(table, out);
        }
    }
}

/// The time of a row; rows of one time follow each other, so it is read once.
fn cached(text: &[u8], cache: (&mut Vec<u8>, &mut Option<Result<i64, Reason>>)) -> Result<i64, Reason> {
    match cache.1 {
        Some(time) if *cache.0 == text => *time,
        _ => {
            cache.0.clear();
            cache.0.extend_from_slice(text);
            *cache.1.insert(time_ns(text))
        }
    }
}

fn value(cell: &[u8], counters: bool, own_ns: i64) -> Result<Value, Reason> {
    if counters {
        counter_ns(cell).map(Value::Counter)
    } else {
        percent_ppm(cell).map(|ppm| Value::Level(ppm, own_ns))
    }
}

impl Csv {
    /// Before the header; cells are counters in nanoseconds, else percent.
    pub fn new(counters: bool) -> Self {
        Csv { counters, ..Csv::default() }
    }

    fn long(
        &mut self,
        columns: &mut Option<LongColumns>,
        line: &[u8],
        table: &mut Table,
        out: &mut Batch,
    ) -> Result<(), Reason> {
        let text = split(line, &mut self.unquoted, &mut self.ranges);
        let Some(at) = columns else {
            *columns = Some(LongColumns::find(text, &self.ranges).ok_or(Reason::Malformed)?);
            return Ok(());
        };
        if self.ranges.len() != at.all {
            return Err(Reason::Malformed);
        }
        let field = |at: usize| &text[self.ranges[at].clone()];
        let t_ns = cached(field(at.t), (&mut self.time_text, &mut self.time))?;
        let value = value(field(at.cpu), self.counters, table.grid().own_ns())?;
        let vm = match at.host {
            Some(host) if field(host).trim_ascii().is_empty() => return Err(Reason::BadName),
            Some(host) => table.find(field(host), field(at.vm))?,
            None => table.find(b"", field(at.vm))?,
        };
        table.read(vm, t_ns, value, out)
    }

    fn wide(
        &mut self,
        columns: &mut Option<Vec<Option<usize>>>,
        (line, number): (&[u8], u64),
        table: &mut Table,
        out: &mut Batch,
    ) -> Result<(), Reason> {
        let text = split(line, &mut self.unquoted, &mut self.ranges);
        let fields = || self.ranges.iter().map(|range| &text[range.clone()]);
        let Some(vms) = columns else {
            if self.ranges.len() == MAX_FIELDS {
                *columns = Some(Vec::new());
                return Err(Reason::TooLong);
            }
            let found: Vec<_> = fields().skip(1).map(|name| (name, table.find(b"", name))).collect();
            let mut named = HashMap::<usize, usize>::new();
            found.iter().flat_map(|(_, vm)| vm).for_each(|vm| *named.entry(*vm).or_default() += 1);
            let alone = |vm| if named[&vm] == 1 { Ok(vm) } else { Err(Reason::Ambiguous) };
            let mut place = |(name, vm): (&[u8], Result<usize, Reason>)| {
                let refuse = |reason| table.refuse(reason, (number, ", a column's name"), name, out);
                vm.and_then(alone).map_err(refuse).ok()
            };
            *columns = Some(found.into_iter().map(&mut place).collect());
            return Ok(());
        };
        if self.ranges.len() != vms.len() + 1 {
            return Err(Reason::Malformed);
        }
        let t_ns = cached(&text[self.ranges[0].clone()], (&mut self.time_text, &mut self.time))?;
        let own_ns = table.grid().own_ns();
        for (at, (cell, vm)) in fields().skip(1).zip(vms).enumerate() {
            // An empty cell is a VM that was not there.
            let Some(vm) = vm.filter(|_| !cell.trim_ascii().is_empty()) else {
                out.skipped += 1;
                continue;
            };
            let taken = value(cell, self.counters, own_ns).and_then(|value| table.read(vm, t_ns, value, out));
            if let Err(reason) = taken {
                table.refuse(reason, (number, &format!(", column {}", at + 2)), cell, out);
            }
        }
        Ok(())
    }
}

impl Xentop {
    fn line(&mut self, line: &[u8], number: u64, table: &mut Table, out: &mut Batch) -> Result<(), Reason> {
        let taken = self.blocks.push(line, number, &mut self.ended);
        self.take(table, out);
        taken.map(|_| ())
    }

    fn take(&mut self, table: &mut Table, out: &mut Batch) {
        for block in std::mem::take(&mut self.ended) {
            self.block(&block, table, out);
        }
    }

    fn block(&mut self, block: &Block, table: &mut Table, out: &mut Batch) {
        self.count += 1;
        let own_ns = table.grid().own_ns();
        let time_ns = if self.timed { block.time_ns } else { Some(self.count as i64 * own_ns) };
        for domain in &block.domains {
            if domain.name == DOMAIN_0 {
                out.skipped += u64::from(domain.lines);
                continue;
            }
            let taken = time_ns.ok_or(Reason::BadTime).and_then(|t_ns| self.domain(domain, t_ns, table, out));
            if let Err(reason) = taken {
                for _ in 0..domain.lines {
                    table.refuse(reason, (domain.line_number, ", a domain"), domain.name.as_bytes(), out);
                }
            }
        }
        self.last_ns = time_ns.or(self.last_ns);
        let count = self.count;
        self.seen.retain(|_, (block, _)| *block == count);
    }

    /// Measured is what was there in the block before, and has not been created anew since.
    fn domain(
        &mut self,
        domain: &Reading,
        t_ns: i64,
        table: &mut Table,
        out: &mut Batch,
    ) -> Result<(), Reason> {
        let ppm = domain.cpu_ppm?;
        let before = self.seen.insert(domain.name.clone(), (self.count, domain.cpu_s));
        let same = before.is_some_and(|(block, cpu_s)| block + 1 == self.count && cpu_s <= domain.cpu_s);
        let value = match self.last_ns.filter(|_| same) {
            Some(last_ns) => Value::Level(ppm, t_ns - last_ns),
            None => Value::Unmeasured,
        };
        // xentop knows no host; a name with `/` is one name all the same.
        let vm = table.find_id("", &domain.name, 1)?;
        table.read(vm, t_ns, value, out)
    }
}

fn ndjson(line: &[u8], number: u64, table: &mut Table, out: &mut Batch) -> Result<(), Reason> {
    let message = read_message(line)?;
    let own_ns = message.period_ms as i64 * 1_000_000;
    let grain = grain(message.period_ms, table.grid().period_ns())?;
    for vm in &message.vms {
        let id = vm.id.as_deref().map_or_else(|| format!("{}/{}", message.host, vm.name), str::to_owned);
        let values = vm.cpu_ppm.values();
        let first_ns = message.t_ms as i64 * 1_000_000 - (values.len() as i64 - 1) * own_ns;
        for (i, &ppm) in values.iter().enumerate() {
            let level = Value::Level(u32::try_from(ppm).unwrap_or(u32::MAX), own_ns);
            let at = table.find_id(&message.host, &id, grain);
            let taken = at.and_then(|at| table.read(at, first_ns + i as i64 * own_ns, level, out));
            if let Err(reason) = taken {
                table.refuse(reason, (number, ", a VM"), id.as_bytes(), out);
            }
        }
    }
    Ok(())
}

/// Ticks of a sample of a host that samples every `own_ms`: 1 if it does so more finely than the grid.
///
/// # Errors
/// `TooCoarse` if they are no whole number, or longer than anything is looked at.
fn grain(own_ms: u64, period_ns: i64) -> Result<usize, Reason> {
    let (own_ns, period_ns) = (own_ms * 1_000_000, period_ns as u64);
    match own_ns / period_ns {
        _ if own_ns <= period_ns => Ok(1),
        grain if own_ms <= MAX_GRAIN_MS && own_ns.is_multiple_of(period_ns) => Ok(grain as usize),
        _ => Err(Reason::TooCoarse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_samples_are_whole_ticks() {
        for (own_ms, period_ms, want) in [
            (100, 100, Ok(1)),
            (100, 1000, Ok(1)),
            (1000, 100, Ok(10)),
            (5000, 100, Ok(50)),
            (5100, 100, Err(Reason::TooCoarse)),
            (250, 100, Err(Reason::TooCoarse)),
            (60_000, 60_000, Ok(1)),
        ] {
            assert_eq!(grain(own_ms, period_ms * 1_000_000), want, "{own_ms} {period_ms}");
        }
    }

    #[test]
    fn lines_are_split() {
        let rows: [(&str, &[&str]); 5] = [
            ("a,b", &["a", "b"]),
            ("\"a,\"\"b\",c,", &["a,\"b", "c", ""]),
            ("", &[""]),
            ("a\rb,c", &["a\rb", "c"]),
            ("\"a\"\rb,c", &["a\rb", "c"]),
        ];
        for (line, want) in rows {
            let (mut unquoted, mut ranges) = (Vec::new(), Vec::new());
            let text = split(line.as_bytes(), &mut unquoted, &mut ranges);
            let fields: Vec<&str> =
                ranges.iter().map(|r| str::from_utf8(&text[r.clone()]).unwrap()).collect();
            assert_eq!(fields, want, "{line:?}");
        }
    }

    #[test]
    fn fields_are_bounded() {
        for quote in ["", "\"\""] {
            let line = format!("{quote}{}", ",".repeat(MAX_FIELDS + 9));
            let (mut unquoted, mut ranges) = (Vec::new(), Vec::new());
            split(line.as_bytes(), &mut unquoted, &mut ranges);
            assert_eq!(ranges.len(), MAX_FIELDS);
        }
    }
}
