//! Active perturbation (paper, Section 3.3): which VM to cap, when, how far; what the answer means; and what an agent
//! on a host may be asked to do at all. Pure.
//!
//! A plan asks: it signs [`command::Command`]s, one a VM, and sends them to the topic `lwt.perturbations`. The agent on
//! the VM's host judges each by its own [`rules`], does it, and tells in [`report::Report`]s what was really done. The
//! plan compares what the other VMs used while the VM was capped with what they used while it was not, and gives a
//! verdict.

pub mod code;
pub mod command;
pub mod keys;
pub mod rules;
pub mod lately;
pub mod orders;
pub mod journal;
mod lots;
pub mod merge;
pub mod plan;
pub mod record;
pub mod report;
mod response;
pub mod series;
pub mod standing;
pub mod verdict;

pub use lots::Lots;
