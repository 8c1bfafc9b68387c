//! Xen: `xl sched-credit2 -d ID -c CAP` (or `sched-credit`). A cap is in percent of one core, for all of a domain's
//! virtual CPUs together; 0 is none. Domains are called by their numbers, which are never given twice.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Seen, run};
use crate::collect::domains::is_uuid;
use crate::types::{HostId, VmId};

/// The toolstack.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Xen {
    /// `xl`, with what stands before its words.
    pub command: Vec<String>,
    /// `sched-credit2` or `sched-credit`.
    pub scheduler: String,
}

impl Xen {
    /// All domains but Domain-0.
    ///
    /// # Errors
    /// When `xl` fails.
    pub fn list(&self, host: &HostId) -> io::Result<Vec<Seen>> {
        let (listed, uuids) = (run(&self.command, &["list"])?, run(&self.command, &["vm-list"])?);
        Ok(domains(&listed, &uuids, host))
    }

    /// The present cap; nothing if there is no such domain.
    ///
    /// # Errors
    /// When `xl` fails.
    pub fn read(&self, id: &str) -> io::Result<Option<String>> {
        match run(&self.command, &[&self.scheduler, "-d", id]) {
            Ok(text) => {
                // Of a scheduler that does not run it prints nothing, and says that all is well.
                let other =
                    format!("xl {} prints no cap of {id}: does another scheduler run?", self.scheduler);
                let wrong = || io::Error::other(other);
                cap_of(&text, id).map(Some).ok_or_else(wrong)
            }
            Err(error) => {
                let listed = run(&self.command, &["list"])?;
                let there = listed.lines().any(|line| of_list(line).is_some_and(|(_, other, _)| other == id));
                if there { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Sets a cap.
    ///
    /// # Errors
    /// When `xl` fails.
    pub fn set(&self, id: &str, cap: &str) -> io::Result<()> {
        run(&self.command, &[&self.scheduler, "-d", id, "-c", cap]).map(drop)
    }
}

/// Name, number and CPU time in ns of a line of `xl list`: name (which may hold blanks), number, MiB, virtual CPUs,
/// state, seconds.
fn of_list(line: &str) -> Option<(&str, &str, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, .., id, _, _, _, seconds] = words[..] else { return None };
    let (whole, tenth) = seconds.split_once('.').filter(|(_, tenth)| tenth.len() == 1)?;
    let tenths: u64 = format!("{whole}{tenth}").parse().ok()?;
    id.parse::<u32>().ok()?;
    let name = line.get(..column(line, words.len() - 5)?)?;
    Some((name.trim(), id, tenths.checked_mul(100_000_000)?))
}

/// Where the word `n` of a line begins.
fn column(line: &str, n: usize) -> Option<usize> {
    let word = line.split_whitespace().nth(n)?;
    Some(word.as_ptr() as usize - line.as_ptr() as usize)
}

fn domains(listed: &str, uuids: &str, host: &HostId) -> Vec<Seen> {
    // UUID, number, name.
    let uuid = |line: &str| {
        let mut words = line.split_whitespace();
        let (uuid, id) = (words.next()?, words.next()?);
        is_uuid(uuid).then(|| (id.to_owned(), uuid.to_owned()))
    };
    let uuids: BTreeMap<String, String> = uuids.lines().filter_map(uuid).collect();
    let seen = |line: &str| {
        let (name, id, used_ns) = of_list(line)?;
        if id == "0" {
            return None;
        }
        let vm = uuids.get(id).cloned().unwrap_or_else(|| format!("{host}/{name}"));
        let names = vec![vm.clone(), name.to_owned(), format!("{host}/{name}")];
        Some(Seen { vm: VmId::new(&vm), handle: id.to_owned(), names, used_ns })
    };
    listed.lines().filter_map(seen).collect()
}

/// The cap in what `xl sched-credit2 -d ID` prints: a header, and a line with name, number, weight, cap.
fn cap_of(text: &str, id: &str) -> Option<String> {
    let words: Vec<&str> = text.lines().rfind(|line| !line.trim().is_empty())?.split_whitespace().collect();
    let [.., number, weight, cap] = words[..] else { return None };
    weight.parse::<u32>().ok()?;
    (number == id).then_some(cap.parse::<u32>().ok()?.to_string())
}

/// As [`super::Actuator::tighter`].
pub fn tighter(present: &str, ppm: u32) -> Option<String> {
    let present: u32 = present.parse().ok()?;
    // Rounded up: never below what was allowed.
    let ours = ppm.div_ceil(10_000);
    (ours > 0 && (present == 0 || present > ours)).then(|| ours.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0   512     1     r-----     123.4
web 1                                        3  1024     2     -b----      56.7
web                                         12  1024     2     ------ 1234567.8
";
    const UUIDS: &str = "UUID                                  ID    name
00000000-0000-0000-0000-000000000000  0    Domain-0
6efb8ffc-1d6c-44d9-bfad-524919a56c0a  3    web 1
";

    #[test]
    fn domains_and_their_use() {
        let seen: Vec<(String, String, u64)> = domains(LIST, UUIDS, &HostId::new("x"))
            .into_iter()
            .map(|seen| (seen.names.join(";"), seen.handle, seen.used_ns))
            .collect();
        let want = [
            ("6efb8ffc-1d6c-44d9-bfad-524919a56c0a;web 1;x/web 1", "3", 56_700_000_000),
            ("x/web;web;x/web", "12", 1_234_567_800_000_000),
        ];
        assert_eq!(seen, want.map(|(names, id, ns)| (names.to_owned(), id.to_owned(), ns)));
        assert_eq!(domains("", "", &HostId::new("x")), []);
    }

    #[test]
    fn caps() {
        let text = "Name                                ID Weight  Cap\nweb 1                                3    256   50\n";
        assert_eq!(cap_of(text, "3").as_deref(), Some("50"));
        assert_eq!(cap_of(text, "4"), None);
        assert_eq!(cap_of("Name ID Weight Cap\n", "3"), None);
        for (present, ppm, want) in [
            ("0", 123_456, Some("13")),
            ("14", 123_456, Some("13")),
            ("13", 123_456, None),
            ("0", 0, None),
            ("x", 500_000, None),
        ] {
            assert_eq!(tighter(present, ppm).as_deref(), want, "{present}");
        }
    }
}
