//! Blocks of xentop -> samples of each domain, with the time that really passed between blocks. Pure.
//!
//! Domain-0 serves all others: what it uses is the host's overhead.

use std::collections::BTreeMap;

use super::frames::Frames;
use super::grid::{Grid, Value};
use super::meter::Meter;
use super::xentop::{Block, DOMAIN_0, Reading};
use crate::types::{HostId, Reason};

/// Name -> UUID; names that two domains share are not in it.
pub type Uuids = BTreeMap<String, String>;

/// The domains of the last block.
#[derive(Debug)]
pub struct Domains {
    host: HostId,
    grid: Grid,
    /// When the last block was.
    last_ns: Option<i64>,
    known: BTreeMap<String, Domain>,
    overhead: Domain,
    refused: BTreeMap<Reason, u64>,
}

#[derive(Debug)]
struct Domain {
    meter: Meter,
    /// When it was last in a block, and its CPU seconds then.
    last: Option<(i64, u64)>,
}

impl Domains {
    /// Before the first block.
    pub fn new(host: HostId, grid: Grid) -> Self {
        let overhead = Domain { meter: Meter::overhead(&host), last: None };
        let (known, refused) = (BTreeMap::new(), BTreeMap::new());
        Domains { host, grid, last_ns: None, known, overhead, refused }
    }

    /// Whether the block has a domain of which we do not know which it is: a new one, or one that has been
    /// created anew (its CPU seconds went down).
    pub fn has_news(&self, block: &Block) -> bool {
        let news = |reading: &Reading| reading.name != DOMAIN_0 && self.same(reading).is_none();
        block.domains.iter().any(news)
    }

    /// xentop has been started anew: in its first block nothing is measured.
    pub fn begin_run(&mut self) {
        self.last_ns = None;
    }

    /// Takes a block at `t_ns`; the samples that it completes, and all of those that are gone, go to `frames`.
    pub fn take(&mut self, block: &Block, t_ns: i64, uuids: &Uuids, frames: &mut Frames) {
        for reading in &block.domains {
            let done = if reading.name == DOMAIN_0 {
                self.overhead.read(reading, t_ns, self.last_ns, &self.grid)
            } else {
                self.domain(reading, t_ns, uuids, frames)
            };
            if let Err(reason) = done {
                *self.refused.entry(reason).or_default() += u64::from(reading.lines);
            }
        }
        self.last_ns = Some(t_ns);
        self.known.retain(|_, domain| {
            domain.meter.flush(frames);
            domain.last.is_some_and(|(last_ns, _)| last_ns == t_ns)
        });
        self.overhead.meter.flush(frames);
    }

    /// Lines that could not be used since this was last asked, by reason.
    pub fn take_refused(&mut self) -> BTreeMap<Reason, u64> {
        std::mem::take(&mut self.refused)
    }

    /// The domain that a reading is of, if it was there before.
    fn same(&self, reading: &Reading) -> Option<&Domain> {
        let known = self.known.get(&reading.name)?;
        known.last.is_none_or(|(_, cpu_s)| cpu_s <= reading.cpu_s).then_some(known)
    }

    fn domain(
        &mut self,
        reading: &Reading,
        t_ns: i64,
        uuids: &Uuids,
        frames: &mut Frames,
    ) -> Result<(), Reason> {
        if self.same(reading).is_none() {
            let uuid = uuids.get(&reading.name).map(String::as_str);
            let meter = Meter::new(&self.host, uuid, &reading.name)?;
            if let Some(mut before) = self.known.insert(reading.name.clone(), Domain { meter, last: None }) {
                before.meter.flush(frames);
            }
        }
        match self.known.get_mut(&reading.name) {
            Some(domain) => domain.read(reading, t_ns, self.last_ns, &self.grid),
            None => Ok(()),
        }
    }
}

impl Domain {
    /// Measured is what was there in the block before.
    fn read(
        &mut self,
        reading: &Reading,
        t_ns: i64,
        last_ns: Option<i64>,
        grid: &Grid,
    ) -> Result<(), Reason> {
        let before = self.last.replace((t_ns, reading.cpu_s)).map(|(before_ns, _)| before_ns);
        let ppm = reading.cpu_ppm?;
        let value = match before.filter(|_| last_ns.is_some() && before == last_ns) {
            Some(before_ns) => Value::Level(ppm, t_ns - before_ns),
            None => Value::Unmeasured,
        };
        self.meter.read(grid, t_ns, value)
    }
}

/// Understands what `xl vm-list` or `virsh list --all --uuid --name` prints: lines that begin with a UUID and end
/// with a name, xl's with the domain's number between them.
pub fn uuids(text: &str, numbered: bool) -> Uuids {
    let (mut uuids, mut twice) = (Uuids::new(), vec![]);
    for line in text.lines() {
        let Some((uuid, rest)) = line.trim().split_once(char::is_whitespace) else { continue };
        let named = if numbered { number_and_name(rest.trim()) } else { Some(rest.trim()) };
        let Some(name) = named.filter(|name| is_uuid(uuid) && !name.is_empty()) else { continue };
        if uuids.insert(name.to_owned(), uuid.to_owned()).is_some() {
            twice.push(name.to_owned());
        }
    }
    twice.iter().for_each(|name| drop(uuids.remove(name)));
    uuids
}

fn number_and_name(text: &str) -> Option<&str> {
    let (number, name) = text.split_once(char::is_whitespace)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.trim())
}

/// Whether a text is a UUID as everybody writes it.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;
    const UUID: &str = "6efb8ffc-1d6c-44d9-bfad-524919a56c0a";

    fn reading(name: &str, cpu_s: u64, cpu_ppm: Result<u32, Reason>) -> Reading {
        let lines = if cpu_ppm == Err(Reason::Ambiguous) { 2 } else { 1 };
        Reading { name: name.into(), cpu_s, cpu_ppm, lines, line_number: 1 }
    }

    fn block(domains: &[(&str, u64, u32)]) -> Block {
        let domains = domains.iter().map(|(name, cpu_s, ppm)| reading(name, *cpu_s, Ok(*ppm))).collect();
        Block { time_ns: None, domains }
    }

    /// Every sample of blocks at some times: the tick, whose, and how much.
    fn samples(blocks: &[(i64, Block)], uuids: &Uuids) -> Vec<(i64, String, u32)> {
        let mut domains = Domains::new(HostId::new("xen1"), Grid::new(1000, 2000));
        let (mut frames, mut all) = (Frames::new(1000), vec![]);
        for (t_ns, block) in blocks {
            domains.take(block, *t_ns, uuids, &mut frames);
        }
        frames.finish(|frame| {
            let own = frame.overhead_ppm.map(|own| (frame.end - 1, "host".into(), own[0]));
            let row = |row: &crate::collect::frames::Row| (frame.end - 1, row.vm.to_string(), row.cpu_ppm[0]);
            all.extend(frame.rows.iter().map(row).chain(own));
        });
        all
    }

    #[test]
    fn time_is_what_really_passed() {
        let both = |ppm| block(&[("web", 5, ppm), (DOMAIN_0, 9, 7)]);
        let uuids = Uuids::from([("web".to_string(), UUID.to_string())]);
        // Blocks 1.5 s apart: 10 for the first, 40 for the second.
        let got = samples(&[(S, both(0)), (5 * S / 2, both(10)), (4 * S, both(40))], &uuids);
        let of = |tick, ppm| [(tick, UUID.to_string(), ppm), (tick, "host".into(), 7)];
        assert_eq!(got, [of(1, 10), of(2, 25), of(3, 40)].concat());
    }

    #[test]
    fn who_goes_or_is_created_anew_begins_anew() {
        let web = |cpu_s, ppm| block(&[("web", cpu_s, ppm)]);
        let blocks = [(S, web(5, 0)), (2 * S, web(5, 10)), (3 * S, web(0, 0)), (4 * S, web(0, 30))];
        let of = |tick, ppm| (tick, "xen1/web".to_string(), ppm);
        assert_eq!(samples(&blocks, &Uuids::new()), [of(1, 10), of(3, 30)]);
        let blocks = [
            (S, web(5, 0)),
            (2 * S, web(5, 10)),
            (3 * S, block(&[("db", 1, 0)])),
            (4 * S, web(5, 20)),
            (5 * S, web(5, 30)),
        ];
        assert_eq!(samples(&blocks, &Uuids::new()), [of(1, 10), of(4, 30)]);
    }

    #[test]
    fn the_first_block_of_a_run_measures_nothing() {
        let mut domains = Domains::new(HostId::new("h"), Grid::new(1000, 2000));
        let mut frames = Frames::new(1000);
        for (second, ppm) in [(1, 0), (2, 10), (3, 0), (4, 30)] {
            if second == 3 {
                domains.begin_run();
            }
            domains.take(&block(&[("web", 5, ppm)]), second * S, &Uuids::new(), &mut frames);
        }
        let mut said = vec![];
        frames.finish(|frame| said.push((frame.end, frame.rows[0].cpu_ppm.to_vec())));
        assert_eq!(said, [(2, vec![10]), (4, vec![30])]);
    }

    #[test]
    fn what_cannot_be_used_is_counted() {
        let mut domains = Domains::new(HostId::new("xen1"), Grid::new(1000, 2000));
        let mut frames = Frames::new(1000);
        let twins = Block { time_ns: None, domains: vec![reading("web", 5, Err(Reason::Ambiguous))] };
        assert!(domains.has_news(&twins));
        domains.take(&twins, S, &Uuids::new(), &mut frames);
        assert!(!domains.has_news(&twins));
        assert_eq!(domains.take_refused(), [(Reason::Ambiguous, 2)].into());
        let anew = block(&[("web", 4, 0)]);
        assert!(domains.has_news(&anew) && !domains.has_news(&block(&[(DOMAIN_0, 1, 1)])));
    }

    #[test]
    fn names_have_uuids() {
        let xl =
            format!("UUID                                  ID    name\n{UUID}  1    my web (2)   \nx 2 y\n");
        let want = Uuids::from([("my web (2)".to_string(), UUID.to_string())]);
        assert_eq!(uuids(&xl, true), want);
        assert_eq!(uuids(&format!("{UUID} my web (2)\n\n"), false), want);
        assert_eq!(uuids(&format!("{UUID} 1 a\n{} 2 a\n", UUID.replace('6', "7")), true), Uuids::new());
        assert_eq!(uuids(&format!("{UUID} x a\n{UUID}\n"), true), Uuids::new());
    }
}
