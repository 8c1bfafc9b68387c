//! The host side: what a hypervisor tells -> readings -> samples on the grid. Pure.

pub mod cgroup;
pub mod frames;
pub mod grid;
pub mod meter;
pub mod number;
pub mod pace;
pub mod xentop;
