//! Any bytes as what somebody decides: a key and a value, with a line break between them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::decisions::record::{Decision, Entry};

fuzz_target!(|bytes: &[u8]| {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (key, value) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    if let Ok(entry) = Entry::read(key, value) {
        // What was understood is written, and read again.
        let written = entry.value().unwrap_or_default();
        assert_eq!(Entry::read(entry.about.key().as_bytes(), &written).unwrap(), entry);
    }
    let _ = Decision::read(bytes);
});
