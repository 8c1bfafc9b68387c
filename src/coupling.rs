//! The coupling engine: which VMs move together.

pub mod product;
