//! Active perturbation: how often a verdict is wrong, on drawn series and on real programs. And `lwt perturb agent` on what
//! this machine has: real control groups (version 1), a folder with the files of version 2, stand-ins for xl and virsh; and
//! whatever goes wrong: afterwards every cap is as before.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may, and has no other clock")]

#[path = "../common/mod.rs"]
mod common;
mod agent;
mod fault;
mod faults;
mod gain;
mod groups;
mod machine;
mod park;
mod rates;
mod real;
mod rules;
mod toolstacks;
