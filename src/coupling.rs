//! Innovations -> evidence about pairs of VMs -> ensembles.

pub mod communities;
pub mod structure;
