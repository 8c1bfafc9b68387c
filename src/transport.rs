//! Where samples come from and where records go.

pub mod records;
pub mod sink;
