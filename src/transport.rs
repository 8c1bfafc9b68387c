//! Where samples come from and where records go.

pub mod file;
pub mod records;
pub mod sink;
pub mod wire;
