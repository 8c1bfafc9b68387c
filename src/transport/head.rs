//! The beginning of a trace -> its format, how often it was sampled, and whether its cells are counters. Pure.

use std::collections::BTreeSet;

use crate::collect::number::{counter_ns, time_ns};
use crate::collect::xentop::{is_header, split_time};
use crate::transport::parse::{LongColumns, split};
use crate::transport::wire::{Message, read_message};
use crate::types::{MAX_GRAIN_MS, lcm};

/// The forms that a trace comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// CSV with columns `t`, `vm`, `cpu` and perhaps `host`.
    Long,
    /// CSV with a column `t` and one for each VM.
    Wide,
    /// The text of `xentop -b`.
    Xentop,
    /// One sample message a line.
    Ndjson,
}

impl Format {
    /// The longest line: of a wide CSV, a million cells of 64 bytes; of a long one, two names, a time and
    /// a number, generously.
    pub fn max_line_bytes(self) -> usize {
        match self {
            Format::Long => 4096,
            Format::Wide => 64 << 20,
            Format::Xentop => crate::collect::xentop::MAX_LINE_BYTES,
            Format::Ndjson => crate::transport::wire::MAX_MESSAGE_BYTES,
        }
    }
}

/// So many different times are looked at to find the period: the median of 64 steps.
const HEAD_TIMES: usize = 65;

/// Of sample messages so long a stretch is looked at: every host whose samples can be used speaks in it, if it is on time.
const HEAD_MS: u64 = MAX_GRAIN_MS + 1_000;

/// Hosts whose samples begin together more rarely than this are not brought together: they do twice a minute.
const MAX_ALIGNED_MS: u64 = 30_000;

/// From so much of a head on, two steps are enough; 64 times that (a row of 30 million bytes) is all.
pub const HEAD_BYTES: usize = 1 << 20;

/// How many times are wanted of a head of so many bytes. No more are looked at, though the head may have
/// more: how the trace arrives, in what pieces, must make no difference.
pub fn wanted(bytes: usize) -> usize {
    if bytes < HEAD_BYTES { HEAD_TIMES } else { 3 }
}

/// The same, at a line of the head: where it ends decides.
fn wanted_at(head: &[u8], line: &[u8]) -> usize {
    wanted(line.as_ptr() as usize + line.len() - head.as_ptr() as usize)
}

/// What the head tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Head {
    /// How many times differ in it; of xentop without times, how many headers it has.
    pub times: usize,
    /// How often the trace was sampled: the median time between readings, made round; of sample messages the shortest
    /// period.
    pub own_ms: Option<u64>,
    /// Every so often samples of all periods begin together; none if there is one period only.
    pub aligned_ms: Option<u64>,
    /// Whether all messages were seen that are looked at: more of the head would say nothing new.
    pub settled: bool,
    /// Whether the cells are cumulative counters.
    pub counters: bool,
    /// Whether lines have times (xentop's may have none).
    pub timed: bool,
}

/// The lines of a head that say something; an unfinished last line is left out.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = memchr::memrchr(b'\n', head).map_or(head, |end| &head[..end]);
    let whole = whole.strip_prefix(b"\xef\xbb\xbf").unwrap_or(whole);
    whole.split(|&byte| byte == b'\n').filter(|line| !says_nothing(line))
}

/// Whether a line is blank or a comment.
pub fn says_nothing(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_none_or(|&byte| byte == b'#')
}

/// The format, from the first line that says something.
pub fn recognise(head: &[u8]) -> Option<Format> {
    let first = lines(head).next()?;
    let (mut unquoted, mut ranges) = (Vec::new(), Vec::new());
    if first.trim_ascii_start().starts_with(b"{") {
        return Some(Format::Ndjson);
    }
    if is_header(split_time(first).1) {
        return Some(Format::Xentop);
    }
    let line = split(first.trim_ascii(), &mut unquoted, &mut ranges);
    if LongColumns::find(line, &ranges).is_some() {
        return Some(Format::Long);
    }
    let is_wide = ranges.len() > 1 && line[ranges[0].clone()] == *b"t";
    is_wide.then_some(Format::Wide)
}

/// Looks at a head of a known format.
pub fn look(head: &[u8], format: Format) -> Head {
    match format {
        Format::Ndjson => look_at_messages(head),
        Format::Xentop => {
            let headers = || lines(head).map(split_time).filter(|(_, line)| is_header(line));
            let timed = headers().next().is_some_and(|(time, _)| time.is_some());
            if !timed {
                return Head { times: headers().count(), timed, ..Head::default() };
            }
            let times = xentop_times(head, headers());
            // The delay is whole seconds, and xentop's own work comes on top.
            let own_ms = median_ms(&times).map(|ms| (ms / 1000 * 1000).max(1000));
            Head { times: times.len(), own_ms, timed, ..Head::default() }
        }
        Format::Long | Format::Wide => {
            let times = csv_times(head, format);
            let counters = format == Format::Wide && are_counters(head);
            let own_ms = median_ms(&times).map(round_ms);
            Head { times: times.len(), own_ms, counters, timed: true, ..Head::default() }
        }
    }
}

/// Looks at the periods of the hosts that speak in the first [`HEAD_MS`], or in the first [`HEAD_BYTES`].
fn look_at_messages(head: &[u8]) -> Head {
    let mut found = Head { timed: true, ..Head::default() };
    let (mut periods_ms, mut until_ms) = (BTreeSet::new(), None);
    for line in lines(head) {
        found.settled = line.as_ptr() as usize + line.len() - head.as_ptr() as usize > HEAD_BYTES;
        if found.settled {
            break;
        }
        let Ok(Message { t_ms, period_ms, .. }) = read_message(line) else { continue };
        periods_ms.insert(period_ms);
        found.times += 1;
        found.settled = t_ms >= *until_ms.get_or_insert(t_ms + HEAD_MS);
        if found.settled {
            break;
        }
    }
    found.own_ms = periods_ms.first().copied();
    found.aligned_ms = found.own_ms.map(|own_ms| aligned_ms(own_ms, &periods_ms));
    found
}

/// Every how many ms samples of all `periods_ms` that are whole multiples of `own_ms` begin together: their least common
/// multiple. A period with which that would be too rarely is left out, as is one that is too long to be used.
fn aligned_ms(own_ms: u64, periods_ms: &BTreeSet<u64>) -> u64 {
    let usable = periods_ms.iter().filter(|ms| **ms <= MAX_GRAIN_MS && ms.is_multiple_of(own_ms));
    usable.fold(own_ms, |all, ms| Some(lcm(all, *ms)).filter(|all| *all <= MAX_ALIGNED_MS).unwrap_or(all))
}

/// The different times of headers; with `-r`, each domain has one.
fn xentop_times<'a>(head: &[u8], headers: impl Iterator<Item = (Option<i64>, &'a [u8])>) -> Vec<i64> {
    let mut times = Vec::new();
    for (time, line) in headers {
        if times.len() >= wanted_at(head, line) {
            break;
        }
        times.extend(time.filter(|ns| times.last() != Some(ns)));
    }
    times
}

fn csv_times(head: &[u8], format: Format) -> Vec<i64> {
    let (mut unquoted, mut ranges) = (Vec::new(), Vec::new());
    let mut rows = lines(head);
    let Some(header) = rows.next() else { return Vec::new() };
    let header = split(header.trim_ascii(), &mut unquoted, &mut ranges);
    let at = match format {
        Format::Long => LongColumns::find(header, &ranges).map_or(0, |columns| columns.t),
        _ => 0,
    };
    let (mut times, mut last): (Vec<i64>, &[u8]) = (Vec::new(), b"");
    for row in rows {
        if times.len() >= wanted_at(head, row) {
            break;
        }
        let text = row.split(|&byte| byte == b',').nth(at).unwrap_or(b"").trim_ascii();
        if text != last {
            last = text;
            let unquoted = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
            times.extend(time_ns(unquoted.unwrap_or(text)).ok().filter(|ns| times.last() != Some(ns)));
        }
    }
    times
}

/// The median of the steps forward, in ms, to the nearest.
fn median_ms(times: &[i64]) -> Option<u64> {
    let mut steps: Vec<i64> = times.windows(2).map(|w| w[1] - w[0]).filter(|&step| step > 0).collect();
    steps.sort_unstable();
    let median_ns = *steps.get(steps.len() / 2)?;
    Some(((median_ns + 500_000) / 1_000_000).max(1) as u64)
}

/// The round number nearest to `ms` if it is within 15 % (jitter and a collector's own work), else `ms`.
fn round_ms(ms: u64) -> u64 {
    let tens = 10u64.pow(ms.ilog10());
    let decimal = [1, 2, 5, 10].map(|by| by * tens);
    let clock = [15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000];
    let near = |round: &u64| round.abs_diff(ms) * 100 <= ms * 15;
    let whole =
        |round: &u64| *round == ms || (near(round) && (*round < 60_000 || round.is_multiple_of(60_000)));
    let all = decimal.into_iter().chain(clock).filter(whole);
    all.min_by_key(|round| round.abs_diff(ms)).unwrap_or(ms)
}

/// Counters are whole numbers that never go down, and far above any percentage (100,000 cores).
fn are_counters(head: &[u8]) -> bool {
    let mut before: Vec<u64> = Vec::new();
    let mut rows = 0;
    let first = lines(head).skip(1).take(32).enumerate();
    for (_, row) in first.take_while(|&(at, row)| at < wanted_at(head, row)) {
        let cells = row.split(|&byte| byte == b',').skip(1).map(|cell| counter_text(cell).ok_or(()));
        let Ok(cells) = cells.collect::<Result<Vec<u64>, ()>>() else { return false };
        if before.iter().zip(&cells).any(|(before, now)| now < before) {
            return false;
        }
        (before, rows) = (cells, rows + 1);
    }
    rows > 1 && before.iter().any(|&cell| cell > 10_000_000)
}

fn counter_text(cell: &[u8]) -> Option<u64> {
    let cell = cell.trim_ascii();
    cell.iter().all(u8::is_ascii_digit).then(|| counter_ns(cell).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let rows = [
            ("t,vm,cpu\n", Some(Format::Long)),
            ("\u{feff}# made by hand\n\ncpu,host,vm,t\r\n", Some(Format::Long)),
            ("t,a,b\n", Some(Format::Wide)),
            ("\"t\",\"a,b\"\n", Some(Format::Wide)),
            ("  NAME  STATE   CPU(sec)\n", Some(Format::Xentop)),
            ("1795400809.300478   NAME  STATE\n", Some(Format::Xentop)),
            ("{\"v\":1}\n", Some(Format::Ndjson)),
            ("hello\n", None),
            ("", None),
        ];
        for (head, want) in rows {
            assert_eq!(recognise(head.as_bytes()), want, "{head}");
        }
    }

    #[test]
    fn periods() {
        for (ms, want) in
            [(100, 100), (97, 100), (1004, 1000), (75, 75), (990, 1000), (3000, 3000), (58_000, 60_000)]
        {
            assert_eq!(round_ms(ms), want, "{ms}");
        }
    }

    #[test]
    fn all_hosts_that_speak_at_the_beginning_are_heard() {
        let message = |t_ms: u64, period_ms: u64| {
            format!(r#"{{"v":1,"host":"h","t_ms":{t_ms},"period_ms":{period_ms},"vms":[]}}"#) + "\n"
        };
        let seconds = |periods_ms: &[u64]| -> String {
            let spoken = (1..=9).flat_map(|s| periods_ms.iter().map(move |ms| (s * 1000, *ms)));
            spoken
                .filter(|(t_ms, ms)| t_ms % ms.max(&1000) == 0)
                .map(|(t_ms, ms)| message(t_ms, ms))
                .collect()
        };
        for (periods_ms, own_ms, aligned_ms) in [
            (&[1000][..], 1000, 1000),
            (&[1000, 100], 100, 1000),
            (&[5000, 100, 2000], 100, 10_000),
            // What can never be used does not count.
            (&[100, 250, 6000], 100, 100),
            (&[4000, 3000, 1000, 5000], 1000, 12_000),
        ] {
            let text = seconds(periods_ms);
            let found = look(text.as_bytes(), Format::Ndjson);
            assert_eq!((found.own_ms, found.aligned_ms), (Some(own_ms), Some(aligned_ms)), "{periods_ms:?}");
            // Six seconds are enough, and no fewer are.
            let before = text.find(r#""t_ms":7000"#).unwrap_or_default();
            assert!(found.settled, "{periods_ms:?}");
            assert!(!look(&text.as_bytes()[..before], Format::Ndjson).settled, "{periods_ms:?}");
        }
    }

    #[test]
    fn looks() {
        let head = |text: &str, format| look(text.as_bytes(), format);
        let wide = head("t,a\n1.0,20000000\n1.1,20000001\n1.2,20000001\n", Format::Wide);
        let expected = Head { times: 3, own_ms: Some(100), counters: true, timed: true, ..Head::default() };
        assert_eq!(wide, expected);
        assert!(!head("t,a\n1,20000001\n2,20000000\n", Format::Wide).counters);
        assert!(!head("t,a\n1,20\n2,21\n", Format::Wide).counters);
        let long = head("vm,t,cpu\na,1,3\nb,1,3\na,2,3\nb,2,3\n", Format::Long);
        assert_eq!((long.times, long.own_ms), (2, Some(1000)));
    }
}
