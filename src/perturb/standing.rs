//! The verdicts that count in a flow that never ends. Pure.
//!
//! A verdict counts from the window on with which it is heard, until it is too old, another one of the same direction takes its
//! place, or one of its VMs is gone: a VM that comes again may be another one.

use std::collections::{BTreeMap, BTreeSet};

use super::merge::replaces;
use super::record::Verdict;
use crate::types::VmId;

/// The most verdicts that count at a time, at 300 bytes each: 3 MB, gone through in each window. A plan that never rests asks about
/// 50 pairs in 3 minutes, so these are of the last ten hours then; those that end first go first.
const MOST: usize = 10_000;

/// A verdict, and the last window in which it counts.
pub type Until = (Verdict, u64);

/// The verdicts that count, by direction: the capped VM and the watched one.
#[derive(Default, Debug)]
pub struct Verdicts(BTreeMap<(VmId, VmId), Until>);

impl Verdicts {
    /// Hears a verdict, which counts until that window.
    pub fn hear(&mut self, verdict: Verdict, until: u64) {
        let direction = (verdict.cause.clone(), verdict.vm.clone());
        if self.0.get(&direction).is_none_or(|(earlier, _)| replaces(&verdict, earlier)) {
            self.0.insert(direction, (verdict, until));
        }
        if self.0.len() > MOST {
            let first = self.0.iter().min_by_key(|(_, (_, until))| *until);
            let first = first.map(|(direction, _)| direction.clone());
            first.iter().for_each(|direction| drop(self.0.remove(direction)));
        }
    }

    /// Forgets those that do not count any more in this window, in which these VMs are gone.
    pub fn forget(&mut self, number: u64, gone: &BTreeSet<&VmId>) {
        self.0.retain(|(cause, vm), (_, until)| {
            *until >= number && !gone.contains(cause) && !gone.contains(vm)
        });
    }

    /// All of them, each with the last window in which it counts.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Until> {
        self.0.values()
    }
}

impl FromIterator<Until> for Verdicts {
    fn from_iter<T: IntoIterator<Item = Until>>(verdicts: T) -> Self {
        let direction = |until: Until| ((until.0.cause.clone(), until.0.vm.clone()), until);
        Verdicts(verdicts.into_iter().map(direction).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perturb::verdict::{Finding, Judgement, Open};

    #[test]
    fn the_number_of_verdicts_is_bounded() {
        let mut verdicts = Verdicts::default();
        for i in 0..MOST + 5 {
            let judgement =
                Judgement { verdict: Finding::Refuted, open: None, ..Judgement::open(Open::Noise) };
            let (cause, vm) = (VmId::new("a"), VmId::new(&format!("v{i}")));
            verdicts.hear(Verdict::new(cause, vm, 0.01, judgement, 1), 1_000_000 - i as u64);
        }
        let last = verdicts.iter().map(|(_, until)| *until).min();
        assert_eq!((verdicts.iter().len(), last), (MOST, Some(1_000_001 - MOST as u64)));
    }
}
