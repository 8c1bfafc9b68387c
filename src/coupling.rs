//! Evidence, from nothing but their innovations, that two VMs move together: what an AR model could not
//! predict happens at the same moment in the VMs that work with one another. Pure.
//!
//! window -> [`scores`] (by VM) -> [`moments`] (of the park, by its [`voices`]) -> [`vector`] (by VM) -> [`compare`] (all of them) ->
//! [`evidence`] (over time) -> [`communities`], [`structure`]
//!
//! Every time scale of a VM's window gives normal scores of its innovations' ranks; moments that move everybody are
//! weighted down; all scales, one after the other, make one vector of small integers, and the evidence for a
//! pair is the inner product of its two vectors: exact, the same at every vector level and with any number of
//! workers. What a product says is judged by the bulk of all products: the pairs that have nothing to do with
//! each other share load, clocks and contention too.

pub mod communities;
pub mod compare;
pub mod enough;
pub mod evidence;
pub mod explain;
pub mod jumps;
pub mod moments;
pub mod null;
mod params;
pub mod product;
mod schedule;
pub mod scores;
mod seen;
pub mod search;
pub mod significance;
pub mod structure;
pub mod vector;
pub mod voices;

pub use params::{ORDER, Params, ParamsError, Scale};
pub use seen::Seen;
