//! The host side of perturbation: does what a command asks if the host's rules allow it, and puts back what was before,
//! whatever happens. The only module that changes anything on a host.
//!
//! Before a cap is changed three things hold it: the journal (two copies, synced), the agent, and the **keeper**, a
//! process of its own that has acknowledged what it is to put back and by when. Who puts back in which case:
//!
//! | what happens | who puts back | when |
//! |---|---|---|
//! | a slot ends, the last one too | agent | at once |
//! | SIGTERM, stop switch, no broker for 5 s, a clock that is set | agent: every cap; drops all orders | at once |
//! | the agent dies (kill -9, panic, out of memory) | keeper: its pipe is closed | at once |
//! | the agent hangs (SIGSTOP, an actuator that does not answer) | keeper: kills it, once a cap is past its end by 2 s | within the lease |
//! | the keeper dies or hangs | agent: every cap; caps nothing until another keeper answers | at the next sign of life it misses, 1 s |
//! | both die | the next agent, or `lwt perturb restore` (systemd's ExecStopPost), from the journal | when it starts |
//! | the machine starts anew | the next agent, from the journal; most caps have gone with it | when it starts |
//! | the actuator fails or hangs | whoever puts back tries again until it succeeds, and says so | every second |
//! | the disk is full, or the journal cannot be written | nothing is capped; what is capped is lifted without it | |
//! | one copy of the journal is cut off, damaged or gone | as ever: the other copy has it | |
//! | somebody else changed the cap | nobody: it is theirs, and reported | |
//!
//! What it does not cover: both processes killed *and* both copies of the journal gone; a machine whose scheduler runs
//! neither process.
//!
//! Only what holds the lock of the state folder changes caps: the agent as long as it lives, then the keeper, or the next
//! agent; but that a keeper first puts back what it holds in memory, whoever has the lock by then. A command (`xl`, `virsh`) that a dead agent had begun may still act: every command ends after 6 s
//! (`timeout`), and for 7 s whoever puts back looks again.

pub mod store;
pub mod actuator;
pub mod restore;
pub mod keeper;
pub mod guard;
pub mod work;

/// An error with its cause.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
