//! The text of `xentop -b` -> blocks of domain readings. Pure.
//!
//! A line is understood from the right: names may hold blanks, so the state (six characters) is looked for
//! where the header's number of columns puts it (17 in old versions, 19 in new ones; `no limit` is one
//! column of two words). Each line may have a time before it: epoch seconds or RFC 3339.
//!
//! A block ends at the next header. With `-r` a header stands before *every* domain; so after a header that
//! was followed by at most one domain, a block ends only where a domain comes again. xentop sorts by name,
//! ignoring case: a name that comes twice in a row is two domains printed alike (only Domain-0 may be alone
//! in its block, and then begins the next). Those are marked, and neither may be used.

use std::collections::HashMap;

use crate::collect::number::{percent_ppm, time_ns};
use crate::types::{MAX_NAME_BYTES, Reason};

/// The control domain: it serves all others, and is none of them.
pub const DOMAIN_0: &str = "Domain-0";

/// The longest line: 19 columns of 20 digits, a name, a time, and `-v` rows of 512 vCPUs of 20 characters.
pub const MAX_LINE_BYTES: usize = 16_384;

/// The most domains of a block: Xen has domain numbers up to 32,751.
pub const MAX_DOMAINS: usize = 32_768;

/// What a line is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    /// The names of the columns; how many there are.
    Header(usize),
    /// One domain.
    Domain(Domain<'a>),
    /// Blank, or a row of `-n`, `-v` or `-x`.
    Extra,
}

/// One domain's line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain<'a> {
    /// As printed, 1 to [`MAX_NAME_BYTES`] bytes; cut to 10 characters without `-f`.
    pub name: &'a str,
    /// CPU(sec): whole seconds since the domain was created.
    pub cpu_s: u64,
    /// CPU(%) in ppm of one core, since the block before; 0 if there was none. Or why it cannot be used.
    pub cpu_ppm: Result<u32, Reason>,
}

/// Takes a time off the beginning of a line, if one stands there.
pub fn split_time(line: &[u8]) -> (Option<i64>, &[u8]) {
    let end = line.iter().position(|&byte| byte == b' ' || byte == b'\t').unwrap_or(line.len());
    match time_ns(&line[..end]) {
        Ok(ns) => (Some(ns), &line[end..]),
        Err(_) => (None, line),
    }
}

/// Whether a line (without its time) is a header.
pub fn is_header(line: &[u8]) -> bool {
    let mut words = words(line);
    words.next() == Some(b"NAME") && words.next() == Some(b"STATE")
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Understands one line (without its time) under a header of `columns`.
///
/// # Errors
/// `Malformed`, `NotANumber` (CPU seconds), `BadName`: a line that cannot be used at all.
pub fn read_line(line: &[u8], columns: usize) -> Result<Line<'_>, Reason> {
    if is_header(line) {
        return Ok(Line::Header(words(line).count()));
    }
    let words: Vec<&[u8]> = words(line).collect();
    let Some(state) = state_at(&words, columns) else {
        return if is_extra(line, &words) { Ok(Line::Extra) } else { Err(Reason::Malformed) };
    };
    let name_end = words[state].as_ptr() as usize - line.as_ptr() as usize;
    let name = std::str::from_utf8(line[..name_end].trim_ascii()).map_err(|_| Reason::BadName)?;
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Err(Reason::BadName);
    }
    let seconds = std::str::from_utf8(words[state + 1]).ok();
    let cpu_s = seconds.and_then(|text| text.parse().ok()).ok_or(Reason::NotANumber)?;
    Ok(Line::Domain(Domain { name, cpu_s, cpu_ppm: percent_ppm(words[state + 2]) }))
}

/// The word that is the state: as many words behind it as the header says, and one more for `no limit`.
fn state_at(words: &[&[u8]], columns: usize) -> Option<usize> {
    let at = |behind: usize| {
        let at = words.len().checked_sub(behind + 1).filter(|&at| at > 0)?;
        let unlimited = words.get(at + 5).zip(words.get(at + 6));
        let wanted = unlimited == Some((&b"no".as_slice(), &b"limit".as_slice()));
        (is_state(words[at]) && wanted == (behind + 2 > columns)).then_some(at)
    };
    let behind = columns.checked_sub(2).filter(|&behind| behind >= 6)?;
    at(behind).or_else(|| at(behind + 1))
}

fn is_state(word: &[u8]) -> bool {
    word.len() == 6 && word.iter().zip(b"dsbcpr").all(|(&byte, &letter)| byte == letter || byte == b'-')
}

fn is_extra(line: &[u8], words: &[&[u8]]) -> bool {
    let Some(&first) = words.first() else { return true };
    let numbered = |word: &[u8], end: u8| {
        word.len() > 1 && word[word.len() - 1] == end && word[..word.len() - 1].iter().all(u8::is_ascii_digit)
    };
    let net = first.strip_prefix(b"Net").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
    first == b"VCPUs(sec):"
        || (first == b"VBD" && words.len() > 1)
        || (net && words.get(1) == Some(&b"RX:".as_slice()))
        || first == b"Tmem:"
        || (line.starts_with(b"        ") && numbered(first, b':'))
}

/// One iteration of xentop.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// When: the time before its (first) header.
    pub time_ns: Option<i64>,
    /// The domains in the order in which they came.
    pub domains: Vec<Reading>,
}

/// One name of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// As printed.
    pub name: String,
    /// CPU(sec).
    pub cpu_s: u64,
    /// CPU(%), or why it cannot be used; `Ambiguous` if the name came twice.
    pub cpu_ppm: Result<u32, Reason>,
    /// How many lines of the block have this name.
    pub lines: u32,
    /// The number of its (last) line, from 1.
    pub line_number: u64,
}

/// Puts lines together to blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    columns: usize,
    header_ns: Option<i64>,
    /// Domains since the last header.
    since_header: usize,
    /// Name -> its place in the open block.
    index: HashMap<String, usize>,
    open: Block,
}

impl Blocks {
    /// Before the first line.
    pub fn new() -> Self {
        Blocks { columns: 19, ..Blocks::default() }
    }

    /// Takes a line; the block that it ends, if it ends one, is appended to `ended`. Tells whether it was
    /// a domain's line. A name may begin with digits: a line has a time only if its header has one.
    ///
    /// # Errors
    /// Those of [`read_line`], or `Malformed` if the block is full; the line is left out.
    pub fn push(&mut self, line: &[u8], line_number: u64, ended: &mut Vec<Block>) -> Result<bool, Reason> {
        let (time_ns, behind) = split_time(line);
        if is_header(line) || is_header(behind) {
            self.header(time_ns, words(behind).count(), ended);
            return Ok(false);
        }
        let line = if self.header_ns.is_some() { behind } else { line };
        match read_line(line, self.columns)? {
            Line::Domain(domain) => self.domain(&domain, line_number, ended).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Ends the text: the block still open is appended to `ended`.
    pub fn finish(&mut self, ended: &mut Vec<Block>) {
        self.close(ended);
    }

    fn header(&mut self, time_ns: Option<i64>, columns: usize, ended: &mut Vec<Block>) {
        if self.since_header > 1 {
            self.close(ended);
        }
        (self.header_ns, self.columns, self.since_header) = (time_ns, columns, 0);
    }

    fn domain(&mut self, domain: &Domain, line_number: u64, ended: &mut Vec<Block>) -> Result<(), Reason> {
        if self.since_header == 0 && self.begins_anew(domain.name) {
            self.close(ended);
        }
        self.since_header += 1;
        if self.open.domains.is_empty() {
            self.open.time_ns = self.header_ns;
        }
        if let Some(&at) = self.index.get(domain.name) {
            let seen = &mut self.open.domains[at];
            (seen.cpu_ppm, seen.lines, seen.line_number) =
                (Err(Reason::Ambiguous), seen.lines + 1, line_number);
            return Ok(());
        }
        if self.open.domains.len() == MAX_DOMAINS {
            return Err(Reason::Malformed);
        }
        let Domain { name, cpu_s, cpu_ppm } = *domain;
        self.index.insert(name.to_owned(), self.open.domains.len());
        self.open.domains.push(Reading { name: name.to_owned(), cpu_s, cpu_ppm, lines: 1, line_number });
        Ok(())
    }

    /// Whether a domain right behind a header comes again, and so begins the next block.
    fn begins_anew(&self, name: &str) -> bool {
        let alike = |last: &Reading| last.name.eq_ignore_ascii_case(name);
        let twice_in_a_row = self.open.domains.last().is_some_and(alike);
        self.index.contains_key(name) && (name == DOMAIN_0 || !twice_in_a_row)
    }

    fn close(&mut self, ended: &mut Vec<Block>) {
        self.index.clear();
        let block = std::mem::take(&mut self.open);
        if !block.domains.is_empty() {
            ended.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "NAME STATE CPU(sec) CPU(%) MEM(k) MEM(%) MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) \
                        VBDS VBD_OO VBD_RD VBD_WR VBD_RSECT VBD_WSECT SSID";

    fn line(name: &str, cpu: &str) -> String {
        format!("{name:>10} --b--- 59 {cpu} 98304 3.1 99328 3.2 1 1 2 2 0 0 0 0 0 0 0")
    }

    #[test]
    fn lines() {
        let old = " a b --b--- 5 1.5 9 3.1 9 3.2 1 1 2 2 0 0 0 0 0";
        type Said = Option<(&'static str, Result<u32, Reason>)>;
        let long = "x".repeat(256);
        let rows: Vec<(String, usize, Result<Said, Reason>)> = vec![
            (line("web-a", "12.3"), 19, Ok(Some(("web-a", Ok(123_000))))),
            (line("my web (2)", "0.0"), 19, Ok(Some(("my web (2)", Ok(0))))),
            (line("x ------", "0.0"), 19, Ok(Some(("x ------", Ok(0))))),
            (line("a", "0.0").replace("99328 3.2", "no limit n/a"), 19, Ok(Some(("a", Ok(0))))),
            (line("a", "0.0").replace("1 2 2 0 0 0 0", "1 2 2 0 - - -"), 19, Ok(Some(("a", Ok(0))))),
            (line("a", "1e15"), 19, Ok(Some(("a", Err(Reason::Implausible))))),
            (line("a", "-1.0"), 19, Ok(Some(("a", Err(Reason::Negative))))),
            (line("a", "nan"), 19, Ok(Some(("a", Err(Reason::NotANumber))))),
            (line("", "0.0"), 19, Err(Reason::Malformed)),
            (line("a", "0.0").replace(" 59 ", " x "), 19, Err(Reason::NotANumber)),
            (old.into(), 17, Ok(Some(("a b", Ok(15_000))))),
            (old.into(), 19, Err(Reason::Malformed)),
            (line(&long, "0.0"), 19, Err(Reason::BadName)),
            ("VCPUs(sec):   0:         63s".into(), 19, Ok(None)),
            ("              2:         63s  3:    1s".into(), 19, Ok(None)),
            ("VBD BlkBack 51712 [ca: 0]  OO: 0 RD: 243".into(), 19, Ok(None)),
            ("Net0 RX:     9328bytes      118pkts".into(), 19, Ok(None)),
            ("".into(), 19, Ok(None)),
            ("something else".into(), 19, Err(Reason::Malformed)),
        ];
        for (text, columns, want) in rows {
            let got = read_line(text.as_bytes(), columns).map(|line| match line {
                Line::Domain(domain) => Some((domain.name, domain.cpu_ppm)),
                _ => None,
            });
            assert_eq!(got, want, "{text}");
        }
    }

    /// The blocks of lines that are headers (`-`, or a time and `-`) or domains; `!` marks the ambiguous.
    fn blocks(text: &[&str]) -> Vec<String> {
        let (mut blocks, mut ended) = (Blocks::new(), Vec::new());
        for (at, word) in text.iter().enumerate() {
            let text = match word.strip_suffix('-') {
                Some(time) => format!("{time} {HEAD}"),
                None => line(word, "1.0"),
            };
            blocks.push(text.as_bytes(), at as u64 + 1, &mut ended).unwrap();
        }
        blocks.finish(&mut ended);
        let name = |r: &Reading| format!("{}{}", r.name, if r.cpu_ppm.is_err() { "!" } else { "" });
        ended.iter().map(|b| b.domains.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn blocks_end() {
        let d = DOMAIN_0;
        let rows: Vec<(&str, Vec<&str>, Vec<&str>)> = vec![
            ("plain", vec!["-", "a", d, "-", "a", d], vec!["a Domain-0", "a Domain-0"]),
            (
                "each with a header",
                vec!["-", "a", "-", d, "-", "a", "-", d],
                vec!["a Domain-0", "a Domain-0"],
            ),
            ("one domain", vec!["-", d, "-", d], vec![d, d]),
            ("alike", vec!["-", "a", "a", d], vec!["a! Domain-0"]),
            (
                "alike, each with a header",
                vec!["-", "a", "-", "a", "-", d, "-", "a", "-", "a", "-", d],
                vec!["a! Domain-0", "a! Domain-0"],
            ),
            (
                "alike at the end",
                vec!["-", d, "-", "w", "-", "w", "-", d, "-", "w", "-", "w"],
                vec!["Domain-0 w!", "Domain-0 w!"],
            ),
            ("no Domain-0 yet", vec!["-", "a", "-", "b", "-", "a", "-", "b"], vec!["a b", "a b"]),
            ("alike but for case", vec!["-", "a", "-", "A", "-", "a", "-", "b"], vec!["a! A b"]),
            ("no domains", vec!["-", "-", "a", d], vec!["a Domain-0"]),
        ];
        for (name, text, want) in rows {
            assert_eq!(blocks(&text), want, "{name}");
        }
    }

    #[test]
    fn the_time_is_the_headers() {
        let (mut blocks, mut ended) = (Blocks::new(), Vec::new());
        for text in
            [format!("7.5 {HEAD}"), format!("7.6 {}", line("a", "1.0")), format!("7.7 {}", line("b", "2.0"))]
        {
            blocks.push(text.as_bytes(), 1, &mut ended).unwrap();
        }
        blocks.finish(&mut ended);
        assert_eq!((ended[0].time_ns, ended[0].domains.len()), (Some(7_500_000_000), 2));
        assert_eq!(ended[0].domains[0].name, "a");
    }
}
