//! The decisions that stand: one about each thing, the last.

use std::collections::BTreeMap;

use super::record::{About, Decision, Entry, What};
use crate::types::VmId;

/// The most decisions that stand at a time, at 1 kB each: 10 MB, gone through in each window.
pub const MOST: usize = 10_000;

/// The decisions that stand.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Decisions(BTreeMap<About, Decision>);

impl Decisions {
    /// Whether there is room for a decision about this: there is if one stands already.
    pub fn has_room(&self, about: &About) -> bool {
        self.0.len() < MOST || self.0.contains_key(about)
    }

    /// Takes in a record. Whether it counts: not a decision for which there is no room.
    pub fn hear(&mut self, entry: Entry) -> bool {
        let Entry { about, decision } = entry;
        match decision {
            None => drop(self.0.remove(&about)),
            Some(_) if !self.has_room(&about) => return false,
            Some(decision) => drop(self.0.insert(about, decision)),
        }
        true
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by what they are about.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Decision> {
        self.0.values()
    }

    /// The one about this.
    pub fn about(&self, about: &About) -> Option<&Decision> {
        self.0.get(about)
    }

    /// The records' values, a line each: what `lwt analyze --decisions` reads.
    pub fn lines(&self) -> String {
        self.iter().filter_map(|one| serde_json::to_string(one).ok()).map(|line| line + "\n").collect()
    }

    /// Whether the VM is ignored.
    pub fn ignores(&self, vm: &VmId) -> bool {
        matches!(self.0.get(&About::Vm(vm.clone())), Some(Decision { what: What::Ignored { .. }, .. }))
    }

    /// What an ensemble is called by itself that is shown by this name.
    pub fn original<'a>(&'a self, shown: &'a str) -> &'a str {
        let given = self.iter().find_map(|decision| match &decision.what {
            What::Named { ensemble, name } if name == shown => Some(ensemble.as_str()),
            _ => None,
        });
        given.unwrap_or(shown)
    }
}

impl FromIterator<Decision> for Decisions {
    fn from_iter<T: IntoIterator<Item = Decision>>(decisions: T) -> Self {
        let mut book = Decisions::default();
        for decision in decisions {
            book.hear(Entry::made(decision));
        }
        book
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(name: &str) -> Entry {
        let what = What::Ignored { vm: VmId::new(name) };
        Entry::made(Decision::new(what, "w", None, 0).unwrap())
    }

    #[test]
    fn the_last_one_stands_until_it_is_undone() {
        let mut book = Decisions::default();
        let pair = |confirmed: bool, a: &str, b: &str| {
            let (a, b) = (VmId::new(a), VmId::new(b));
            let what = if confirmed { What::Confirmed { a, b } } else { What::Rejected { a, b } };
            Entry::made(Decision::new(what, "w", None, 0).unwrap())
        };
        assert!(
            book.hear(pair(true, "a", "b")) && book.hear(pair(false, "b", "a")) && book.hear(ignored("a"))
        );
        let words: Vec<String> = book.iter().map(|decision| decision.what.told()).collect();
        assert_eq!(words, ["a and b: rejected", "a: ignored"]);
        assert!(book.ignores(&VmId::new("a")) && !book.ignores(&VmId::new("b")));
        book.hear(Entry::undone(About::Vm(VmId::new("a"))));
        book.hear(Entry::undone(About::Vm(VmId::new("x"))));
        assert!(!book.ignores(&VmId::new("a")) && book.iter().len() == 1);
    }

    #[test]
    fn a_given_name_leads_to_the_ensemble() {
        let what = What::Named { ensemble: "e7".into(), name: "shop".into() };
        let book: Decisions = [Decision::new(what, "w", None, 0).unwrap()].into_iter().collect();
        assert_eq!(["shop", "e7", "e8"].map(|shown| book.original(shown)), ["e7", "e7", "e8"]);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut book: Decisions = (0..MOST).filter_map(|i| ignored(&format!("v{i}")).decision).collect();
        assert!(!book.hear(ignored("one more")) && book.hear(ignored("v7")));
        assert!(book.hear(Entry::undone(About::Vm(VmId::new("v8")))) && book.hear(ignored("one more")));
        assert_eq!(book.iter().len(), MOST);
    }
}
