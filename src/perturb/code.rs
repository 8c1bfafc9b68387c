//! The codes by which VMs are capped, and the blocks that were really done. Pure.
//!
//! A code is made of blocks of two slots, in one of which the VM is capped; in which, a coin decides. So
//! - a VM is capped for half of the time, in any minute as in any other: what drifts, drifts out of the comparison;
//! - it is never capped for more than two slots on end (4 s at slots of 2 s), which a lease bounds;
//! - each VM has coins of its own: what several VMs capped at once do to a third can be told apart;
//! - if a VM does not care whether another one is capped, all outcomes of the coins are equally likely, whatever else
//!   happens in the park. That is the whole null hypothesis of a verdict, and nothing is assumed to get it.
//!
//! The coins follow from the command's serial number and the VM: whoever reads a command later can tell that its code was
//! drawn, not chosen.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::command::Command;
use super::report::{Done, Report};
use crate::types::VmId;

/// Two slots, in one of which a VM was capped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// When the first of its slots began, Unix milliseconds.
    pub start_ms: i64,
    /// How long a slot is.
    pub slot_ms: u64,
    /// Whether it was capped in the first of them.
    pub first: bool,
}

impl Block {
    /// When its second slot ended, Unix milliseconds.
    pub fn end_ms(&self) -> i64 {
        self.start_ms.saturating_add(2 * self.slot_ms as i64)
    }
}

/// For so many blocks of the command `serial` for `vm`: whether it is capped in the first slot.
fn draw(serial: u64, vm: &VmId, blocks: usize) -> impl Iterator<Item = bool> {
    // FNV-1a: a stream of its own for each VM (Fowler, Noll, Vo; RFC 9923).
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mut coins = ChaCha8Rng::seed_from_u64(serial);
    coins.set_stream(vm.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, mix));
    (0..blocks).map(move |_| coins.next_u32() & 1 == 1)
}

/// The code of so many blocks of the command `serial` for `vm`: two characters a block.
pub fn code(serial: u64, vm: &VmId, blocks: usize) -> String {
    draw(serial, vm, blocks).map(|first| if first { "10" } else { "01" }).collect()
}

/// The blocks of a command, if its code was drawn by lot ([`code`]); a chosen one says nothing that can be trusted.
pub fn blocks(command: &Command) -> Vec<Block> {
    let (count, Command { serial, vm, slot_ms, .. }) = (command.code.len() / 2, command);
    if code(*serial, vm, count) != command.code {
        return vec![];
    }
    let block = |(i, first)| Block { start_ms: command.slot_start_ms(2 * i), slot_ms: *slot_ms, first };
    draw(*serial, vm, count).enumerate().map(block).collect()
}

/// The blocks that the agent did: of a command that it took up, those that had ended when it gave up, if it did. What is
/// left out must not depend on the coins: so a block counts even if the agent was late with its cap.
pub fn done(command: &Command, reports: &[Report]) -> Vec<Block> {
    let of_it = |report: &&Report| report.serial == command.serial && report.vm == command.vm;
    let (mut taken_up, mut until_ms) = (false, i64::MAX);
    for report in reports.iter().filter(of_it) {
        match report.done {
            Done::Accepted | Done::Applied { .. } => taken_up = true,
            Done::Refused { .. } => return vec![],
            // It ends with the last slot, too; and an end that comes a little early is no early end.
            Done::Ended => until_ms = until_ms.min(report.at_ms + command.slot_ms as i64 / 2),
            Done::Foreign { .. } | Done::Failed { .. } => until_ms = until_ms.min(report.at_ms),
            Done::Lifted => {}
        }
    }
    let blocks = blocks(command).into_iter();
    blocks.filter(|block| taken_up && block.end_ms() <= until_ms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::HostId;

    fn command(serial: u64, code: String) -> Command {
        Command {
            v: 1,
            serial,
            host: HostId::new("h"),
            vm: VmId::new("h/a"),
            start_ms: 10_000,
            slot_ms: 2_000,
            code,
            share: 0.5,
            issued_ms: 9_000,
            expires_ms: 1_000_000,
        }
    }

    #[test]
    fn codes_are_balanced_and_their_runs_are_short() {
        let mut firsts = 0;
        for serial in 0..200 {
            let command = command(serial, code(serial, &VmId::new("h/a"), 50));
            assert_eq!((command.code.len(), command.capped_ms()), (100, 100_000));
            assert!(command.longest_ms() <= 4_000, "{}", command.code);
            firsts += blocks(&command).iter().filter(|block| block.first).count();
        }
        // 10,000 fair coins: 5 standard deviations are 250.
        assert!(firsts.abs_diff(5_000) < 250, "{firsts}");
    }

    #[test]
    fn each_vm_and_each_serial_has_coins_of_its_own() {
        let drawn = |serial, vm| draw(serial, &VmId::new(vm), 1_000).collect::<Vec<_>>();
        assert_eq!(drawn(1, "a"), drawn(1, "a"));
        for (a, b) in [(drawn(1, "a"), drawn(1, "b")), (drawn(1, "a"), drawn(2, "a"))] {
            let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
            assert!(same.abs_diff(500) < 80, "{same}");
        }
    }

    #[test]
    fn a_code_that_was_chosen_has_no_blocks() {
        let drawn = command(7, code(7, &VmId::new("h/a"), 4));
        assert_eq!(blocks(&drawn).len(), 4);
        assert_eq!(blocks(&drawn)[3].start_ms, 10_000 + 6 * 2_000);
        assert_eq!(blocks(&command(7, "0101".repeat(8))), []);
    }

    #[test]
    fn what_was_not_done_does_not_count() {
        let command = command(7, code(7, &VmId::new("h/a"), 10));
        let report = |at_ms, done| Report {
            v: 1,
            serial: 7,
            host: HostId::new("h"),
            vm: VmId::new("h/a"),
            at_ms,
            done,
        };
        let accepted = || report(9_500, Done::Accepted);
        let why = String::new;
        let rows = [
            (vec![], 0),
            (vec![report(9_500, Done::Refused { why: why() })], 0),
            (vec![accepted()], 10),
            (vec![accepted(), report(50_001, Done::Ended)], 10),
            (vec![accepted(), report(30_100, Done::Ended)], 5),
            (vec![accepted(), report(29_900, Done::Foreign { found: why() })], 4),
            (vec![accepted(), Report { serial: 8, ..report(20_000, Done::Ended) }], 10),
        ];
        for (reports, count) in rows {
            assert_eq!(done(&command, &reports).len(), count, "{reports:?}");
        }
    }
}
