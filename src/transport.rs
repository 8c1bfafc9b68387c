//! Where samples come from: files of every trace format, and the sample message. Only `file` does I/O.

pub mod wire;
pub mod lines;
pub mod head;
pub mod table;
pub mod parse;
pub mod file;
