//! Any bytes as a sample message: what is read can be written, and is then read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::transport::wire::{MAX_MESSAGE_BYTES, read_message, write_dead_letter, write_message};
use lwt::types::{DeadLetter, MAX_CPU_PPM};

fuzz_target!(|bytes: &[u8]| {
    match read_message(bytes) {
        Ok(message) => {
            let written = write_message(&message).expect("what was read can be written");
            assert!(written.len() <= MAX_MESSAGE_BYTES && !written.contains(&b'\n'));
            assert_eq!(read_message(&written).as_ref(), Ok(&message));
            let values = message.vms.iter().flat_map(|vm| vm.cpu_ppm.values());
            assert!(values.max().is_none_or(|&ppm| ppm <= u64::from(MAX_CPU_PPM)));
        }
        Err(reason) => {
            let letter = DeadLetter { reason, origin: "fuzz".into(), bytes: bytes.to_vec() };
            let line: serde_json::Value = serde_json::from_slice(&write_dead_letter(&letter)).expect("JSON");
            let exact = line.get("hex").is_none();
            assert_eq!(exact, line["text"].as_str().map(str::as_bytes) == Some(bytes));
        }
    }
});
