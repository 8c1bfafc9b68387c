//! The host side: what a hypervisor tells -> readings -> samples on the grid. Pure.

pub mod grid;
pub mod number;
pub mod xentop;
