//! The host side: what a hypervisor tells -> readings -> samples on the grid -> frames. Pure, but for `cgroup`, which
//! reads files, and `program`, which runs those that tell.

pub mod number;
pub mod grid;
pub mod frames;
pub mod meter;
pub mod pace;
pub mod program;
pub mod cgroup;
pub mod xentop;
pub mod domains;
pub mod domstats;
pub mod series;
