//! The commands that were accepted: which VM is to be capped at this moment, and until when. Pure.
//!
//! An order runs by a clock that nobody can set: its slots are fixed on it when it is accepted. When the wall clock and
//! that clock part, somebody has set one of them, and all orders end.

use std::collections::BTreeMap;

use super::command::Command;
use super::rules::Grant;
use crate::types::VmId;

/// So far the clocks may part while an order runs: an hour of a clock that is being slewed (500 ppm) is 1.8 s.
pub const MAX_DRIFT_MS: i64 = 2_000;

/// A command that was accepted.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// What was asked; its times are on the clock that nobody can set.
    command: Command,
    /// Wall clock - that clock, when it was accepted.
    ahead_ms: i64,
    /// What the VM is called.
    pub names: Vec<String>,
    /// What was allowed.
    pub grant: Grant,
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Put back what was before.
    Lift(VmId),
    /// The order is over: forget it.
    End(VmId),
    /// Cap, until that time of the clock that nobody can set, ms.
    Cap(VmId, i64),
}

impl Order {
    /// An order for `command`, accepted when the wall clock was `ahead_ms` ahead of the other one.
    pub fn new(mut command: Command, ahead_ms: i64, names: Vec<String>, grant: Grant) -> Order {
        command.start_ms = command.start_ms.saturating_sub(ahead_ms);
        Order { command, ahead_ms, names, grant }
    }

    /// Of which VM.
    pub fn vm(&self) -> &VmId {
        &self.command.vm
    }

    /// Of which command.
    pub fn serial(&self) -> u64 {
        self.command.serial
    }

    /// Whether the clocks have parted.
    pub fn is_off(&self, ahead_ms: i64) -> bool {
        ahead_ms.abs_diff(self.ahead_ms) > MAX_DRIFT_MS as u64
    }

    /// If the VM is to be capped at `now_ms`: until when without a break.
    pub fn until_ms(&self, now_ms: i64) -> Option<i64> {
        let (start_ms, slot_ms) = (self.command.start_ms, self.command.slot_ms as i64);
        let first = usize::try_from(now_ms.saturating_sub(start_ms).div_euclid(slot_ms)).ok()?;
        let rest = self.command.code.as_bytes().get(first..)?;
        let run = rest.iter().take_while(|slot| **slot == b'1').count();
        (run > 0).then(|| self.command.slot_start_ms(first + run))
    }

    /// When something changes after `now_ms`: a slot's border.
    pub fn next_ms(&self, now_ms: i64) -> i64 {
        let (start_ms, slot_ms) = (self.command.start_ms, self.command.slot_ms as i64);
        let slot = now_ms.saturating_sub(start_ms).div_euclid(slot_ms).max(-1);
        start_ms.saturating_add((slot + 1).saturating_mul(slot_ms))
    }

    fn is_over(&self, now_ms: i64) -> bool {
        now_ms >= self.command.end_ms()
    }
}

/// What there is to do at `now_ms`. `capped` are the VMs whose caps are ours now, with their ends; nothing new is capped
/// unless `may_cap`. What is lifted comes first.
pub fn steps(
    orders: &BTreeMap<VmId, Order>,
    capped: &BTreeMap<VmId, i64>,
    may_cap: bool,
    now_ms: i64,
) -> Vec<Step> {
    let until = |vm: &VmId| orders.get(vm).and_then(|order| order.until_ms(now_ms));
    let late = |(vm, end_ms): &(&VmId, &i64)| now_ms >= **end_ms || until(vm).is_none();
    let lifts: Vec<Step> = capped.iter().filter(late).map(|(vm, _)| Step::Lift(vm.clone())).collect();
    let ends =
        orders.values().filter(|order| order.is_over(now_ms)).map(|order| Step::End(order.vm().clone()));
    let new = orders.values().filter(|order| may_cap && !capped.contains_key(order.vm()));
    let caps = new.filter_map(|order| Some(Step::Cap(order.vm().clone(), order.until_ms(now_ms)?)));
    lifts.into_iter().chain(ends).chain(caps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perturb::rules::Past;
    use crate::types::HostId;
    use proptest::prelude::*;

    fn order(vm: &str, start_ms: i64, slot_ms: u64, code: &str) -> Order {
        let (host, vm) = (HostId::new("h"), VmId::new(vm));
        let (issued_ms, expires_ms) = (0, i64::MAX);
        let (serial, share, code) = (1, 0.5, code.to_owned());
        let command =
            Command { v: 1, serial, host, vm, start_ms, slot_ms, code, share, issued_ms, expires_ms };
        let grant = Grant { used_ppm: 2, cap_ppm: 1, past: Past::default() };
        Order::new(command, 1_000_000, vec![], grant)
    }

    #[test]
    fn slots_are_on_the_other_clock() {
        let order = order("a", 1_010_000, 1_000, "0110");
        let row = |now_ms| (order.until_ms(now_ms), order.next_ms(now_ms));
        assert_eq!(row(0), (None, 10_000));
        assert_eq!(row(10_999), (None, 11_000));
        assert_eq!(row(11_000), (Some(13_000), 12_000));
        assert_eq!(row(12_999), (Some(13_000), 13_000));
        assert_eq!(row(13_000), (None, 14_000));
        assert!(!order.is_off(1_002_000) && order.is_off(1_002_001) && order.is_off(997_999));
    }

    proptest! {
        /// Whatever is done late or not at all in between: who follows the steps caps as the code says, and no longer.
        #[test]
        fn who_follows_the_steps_obeys_the_code(
            code in "[01]{1,20}", slot_ms in 500u64..3_000, turns in prop::collection::vec(1i64..2_000, 1..60),
        ) {
            let order = order("a", 1_000_000, slot_ms, &code);
            let vm = order.vm().clone();
            let mut orders = BTreeMap::from([(vm.clone(), order)]);
            let (mut capped, mut now_ms) = (BTreeMap::new(), -1_000);
            for turn in turns {
                now_ms += turn;
                let slot = usize::try_from(now_ms.div_euclid(slot_ms as i64)).ok();
                let on = slot.and_then(|slot| code.as_bytes().get(slot)) == Some(&b'1');
                // A run that was begun anew within a turn is done in the next one.
                for step in steps(&orders, &capped.clone(), true, now_ms) {
                    match step {
                        Step::Lift(_) => capped.clear(),
                        Step::End(_) => {
                            orders.clear();
                            prop_assert!(now_ms >= code.len() as i64 * slot_ms as i64);
                        }
                        Step::Cap(_, until_ms) => {
                            capped.insert(vm.clone(), until_ms);
                            prop_assert!(on && until_ms > now_ms);
                            let run = (until_ms - now_ms) as u64;
                            prop_assert!(run <= code.split('0').map(str::len).max().unwrap_or(0) as u64 * slot_ms);
                        }
                    }
                }
                prop_assert!(!capped.values().any(|until_ms| now_ms >= *until_ms));
                prop_assert!(capped.is_empty() || on);
                prop_assert!(steps(&orders, &capped, false, now_ms + 100_000).len() >= capped.len() + orders.len());
            }
        }
    }
}
