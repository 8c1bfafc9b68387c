//! Any bytes as a segment and a cursor of a spool: what can be read is handed out, and what is appended follows.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use lwt::transport::spool::Spool;

fuzz_target!(|bytes: &[u8]| {
    let folder = PathBuf::from(format!("/dev/shm/lwt-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let (cursor, segment) = bytes.split_at(bytes.len().min(20));
    std::fs::write(folder.join("cursor"), cursor).expect("written");
    std::fs::write(folder.join("00000000000000000001.segment"), segment).expect("written");
    let mut spool = Spool::open(&folder, 1 << 24).expect("opened");
    let before = spool.len();
    spool.append(b"key", b"value").expect("appended");
    let mut last = None;
    for _ in 0..before + 1 {
        last = spool.hand_out().expect("read");
    }
    let (message, position) = last.expect("as many as it says");
    assert_eq!((message.key.as_slice(), message.value.as_slice()), (&b"key"[..], &b"value"[..]));
    assert!(spool.hand_out().expect("read").is_none());
    spool.commit(position).expect("committed");
    assert!(spool.is_delivered());
});
