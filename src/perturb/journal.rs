//! What is written down before a cap is changed, so that whoever comes after us can put back what was there. Pure:
//! entries <-> lines; `agent::store` has the files.
//!
//! Each line has its CRC-32 before it and its number in it: what is cut off or damaged is no line, and what two copies
//! have between them is all there. A line opens with a line's end, too: what was cut off before it stays alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rules::Past;
use crate::types::VmId;

/// How many of the last entries are kept for `lwt perturb history` when a journal is written anew: some hours' worth.
const KEEP: usize = 4_000;

/// A cap: what was there, and what we make of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cap {
    /// Whose.
    pub vm: VmId,
    /// What the actuator calls it.
    pub handle: String,
    /// The cap before, in the actuator's words.
    pub before: String,
    /// Ours.
    pub set: String,
    /// Ours, ppm of one core.
    pub cap_ppm: u32,
    /// What the VM used lately, ppm of one core.
    pub used_ppm: u32,
    /// Of which command.
    pub serial: u64,
    /// When, Unix ms.
    pub at_ms: i64,
    /// When it is over, by the clock that nobody can set, ms since this machine started.
    pub until_boot_ms: i64,
}

/// How a cap ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// What was before is there again.
    Lifted,
    /// It was never set.
    Not,
    /// Somebody else changed it.
    Foreign(String),
    /// The VM is not there any more.
    Gone,
}

/// An entry of the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The journal was begun: of what was before nothing is known.
    Begun {
        /// When, Unix ms.
        at_ms: i64,
    },
    /// A command was taken up.
    Taken {
        /// Of which VM.
        vm: VmId,
        /// Its serial.
        serial: u64,
        /// The day, days since 1970.
        day: i64,
        /// How much of the day's budget is used, ms.
        used_ms: u64,
        /// When, Unix ms.
        at_ms: i64,
    },
    /// A VM is going to be capped.
    Cap(Cap),
    /// That is over.
    Closed {
        /// The number of the entry that began it.
        cap: u64,
        /// How.
        how: How,
        /// When, Unix ms.
        at_ms: i64,
    },
}

/// A line's content.
#[derive(Serialize, Deserialize)]
struct Numbered {
    n: u64,
    #[serde(flatten)]
    entry: Entry,
}

/// An entry as it is written.
///
/// # Errors
/// Never: its fields are numbers and text.
pub fn line(n: u64, entry: &Entry) -> Result<Vec<u8>, serde_json::Error> {
    let text = serde_json::to_string(&Numbered { n, entry: entry.clone() })?;
    Ok(format!("\n{:08x} {text}\n", crc32fast::hash(text.as_bytes())).into_bytes())
}

/// The entries of a journal, by number. What is no line is left out.
pub fn read(bytes: &[u8]) -> BTreeMap<u64, Entry> {
    let entry = |line: &[u8]| {
        let (crc, text) = line.split_at_checked(8)?;
        let text = text.strip_prefix(b" ")?;
        let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
        let whole = crc32fast::hash(text) == crc;
        let Numbered { n, entry } = whole.then(|| serde_json::from_slice(text).ok())??;
        Some((n, entry))
    };
    bytes.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

/// What holds after some entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// The number of the next entry.
    pub next: u64,
    /// The caps that are not over, by their numbers.
    pub caps: BTreeMap<u64, Cap>,
    past: BTreeMap<VmId, Past>,
    /// When the journal was begun, if it was.
    pub since_ms: Option<i64>,
}

impl Held {
    /// What holds after `entries`.
    pub fn of(entries: &BTreeMap<u64, Entry>) -> Held {
        let mut held = Held::default();
        entries.iter().for_each(|(n, entry)| held.take(*n, entry));
        held
    }

    /// Takes one more.
    pub fn take(&mut self, n: u64, entry: &Entry) {
        self.next = self.next.max(n.saturating_add(1));
        match entry {
            // Later than the first: a part of the journal was lost.
            Entry::Begun { at_ms } => self.since_ms = self.since_ms.max(Some(*at_ms)),
            Entry::Taken { vm, serial, day, used_ms, .. } => {
                let past = self.past.entry(vm.clone()).or_default();
                past.serial = past.serial.max(*serial);
                if *day >= past.day {
                    (past.day, past.used_ms) = (*day, *used_ms);
                }
            }
            Entry::Cap(cap) => drop(self.caps.insert(n, cap.clone())),
            Entry::Closed { cap, .. } => drop(self.caps.remove(cap)),
        }
    }

    /// What was done to a VM.
    pub fn past(&self, vm: &VmId) -> Past {
        let past = self.past.get(vm).copied().unwrap_or_default();
        Past { since_ms: self.since_ms.unwrap_or(0), ..past }
    }
}

/// What of a journal is to be kept: all that still holds, and the last entries.
pub fn kept(entries: BTreeMap<u64, Entry>) -> BTreeMap<u64, Entry> {
    let (held, mut known) = (Held::of(&entries), BTreeSet::new());
    let recent = entries.len().saturating_sub(KEEP);
    let mut last: BTreeSet<u64> = BTreeSet::new();
    for (n, entry) in entries.iter().rev() {
        if let Entry::Taken { vm, serial, day, .. } = entry {
            let past = held.past(vm);
            // The highest serial and the last day may stand in two entries.
            let tells = (*serial == past.serial && known.insert((vm.clone(), true)))
                | (*day == past.day && known.insert((vm.clone(), false)));
            last.extend(tells.then_some(*n));
        }
    }
    let holds = |n: &u64, entry: &Entry| {
        held.caps.contains_key(n) || matches!(entry, Entry::Begun { .. }) || last.contains(n)
    };
    let tail = entries.keys().nth(recent).copied().unwrap_or(0);
    let newest = entries.keys().next_back().copied();
    entries.into_iter().filter(|(n, e)| *n >= tail || Some(*n) == newest || holds(n, e)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cap(vm: &str) -> Cap {
        let text = |text: &str| text.to_owned();
        Cap {
            vm: VmId::new(vm),
            handle: text("slice/ä b\n"),
            before: text("-1 100000"),
            set: text("5000 100000"),
            cap_ppm: 50_000,
            used_ppm: 100_000,
            serial: 3,
            at_ms: 1_700_000_000_000,
            until_boot_ms: 9,
        }
    }

    fn entries() -> impl Strategy<Value = BTreeMap<u64, Entry>> {
        let vm = || (0..4u8).prop_map(|n| VmId::new(&format!("h/{n}")));
        let entry = prop_oneof![
            (0..9i64).prop_map(|at_ms| Entry::Begun { at_ms }),
            (vm(), 0..9u64, 0..4i64, 0..9u64).prop_map(|(vm, serial, day, used_ms)| Entry::Taken {
                vm,
                serial,
                day,
                used_ms,
                at_ms: 1
            }),
            vm().prop_map(|vm| Entry::Cap(cap(vm.as_str()))),
            (0..40u64, "\\PC*").prop_map(|(cap, found)| Entry::Closed {
                cap,
                how: How::Foreign(found),
                at_ms: 2
            }),
        ];
        prop::collection::btree_map(0..60u64, entry, 0..40)
    }

    fn bytes(entries: &BTreeMap<u64, Entry>) -> Vec<u8> {
        entries.iter().flat_map(|(n, entry)| line(*n, entry).unwrap()).collect()
    }

    #[test]
    fn the_form_stays_readable() {
        let text = "\n15aae0a5 {\"n\":7,\"begun\":{\"at_ms\":5}}\n";
        assert_eq!(String::from_utf8(line(7, &Entry::Begun { at_ms: 5 }).unwrap()).unwrap(), text);
        assert_eq!(read(text.as_bytes()), [(7, Entry::Begun { at_ms: 5 })].into());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in entries()) {
            prop_assert_eq!(read(&bytes(&entries)), entries);
        }

        /// Whatever the byte at which one copy ends, the other has the rest; and what comes after is whole.
        #[test]
        fn a_copy_may_end_at_any_byte(entries in entries(), at: prop::sample::Index) {
            let whole = bytes(&entries);
            let mut cut = whole[..at.index(whole.len() + 1)].to_vec();
            let prefix = read(&cut);
            prop_assert!(prefix.iter().eq(entries.iter().take(prefix.len())));
            let mut both = prefix.clone();
            both.extend(read(&whole));
            prop_assert_eq!(&both, &entries);
            cut.extend(line(99, &Entry::Begun { at_ms: 1 }).unwrap());
            let after = read(&cut);
            prop_assert_eq!(after.len(), prefix.len() + 1);
        }

        #[test]
        fn a_damaged_line_is_no_other(entries in entries(), at: prop::sample::Index, bit in 0..8u8) {
            let mut damaged = bytes(&entries);
            if let Some(byte) = damaged.len().checked_sub(1).map(|last| at.index(last + 1)) {
                damaged[byte] ^= 1 << bit;
            }
            prop_assert!(read(&damaged).iter().all(|(n, entry)| entries.get(n) == Some(entry)));
        }

        #[test]
        fn what_is_kept_holds_the_same(entries in entries()) {
            let mut many = entries.clone();
            many.extend((1_000..1_000 + KEEP as u64).map(|n| (n, Entry::Closed { cap: 999, how: How::Gone, at_ms: 3 })));
            let short = kept(many.clone());
            prop_assert!(short.len() <= KEEP + entries.len());
            prop_assert_eq!(Held::of(&short), Held::of(&many));
        }
    }
}
