//! Where samples come from, and where records go.

pub mod wire;
pub mod outgoing;
pub mod lines;
pub mod head;
pub mod table;
pub mod parse;
pub mod file;
pub mod records;
pub mod spool;
pub mod sink;
pub mod watermark;
pub mod names;
pub mod intake;
pub mod told;
pub mod kafka;
pub mod prometheus;
