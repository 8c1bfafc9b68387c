//! Any text as what the hosts' programs and files say: virsh, xl, control groups.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::collect::cgroup::name::name_of;
use lwt::collect::cgroup::usage_ns;
use lwt::collect::domains::{is_uuid, uuids};
use lwt::collect::domstats;
use lwt::collect::xentop::Blocks;
use lwt::types::HostId;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for used in domstats::read(&text) {
        assert!(!used.name.is_empty() && text.contains(used.name));
    }
    for numbered in [false, true] {
        for (name, uuid) in uuids(&text, numbered) {
            assert!(is_uuid(&uuid) && name == name.trim() && text.contains(&uuid) && text.contains(&name));
        }
    }
    if let Some(ns) = usage_ns(bytes) {
        assert_eq!(ns % 1000, 0);
    }
    let name = name_of(&text);
    assert!(
        name.len() <= text.len() && !name.contains('/') || text.contains("\\x2f") || text.contains("\\x2F")
    );
    live(bytes);
});

/// The live collector's way: lines with the time at which they came, and blocks that end when it is quiet.
fn live(bytes: &[u8]) {
    use lwt::collect::domains::{Domains, Uuids};
    use lwt::collect::frames::Frames;
    use lwt::collect::grid::Grid;
    let (mut blocks, mut ended, mut frames) = (Blocks::new(), Vec::new(), Frames::new(1000));
    let mut domains = Domains::new(HostId::new("h"), Grid::new(1000, 2000));
    for (line, n) in bytes.split(|&byte| byte == b'\n').zip(1..) {
        let stamped = [format!("{}.{:03} ", 1000 + n / 9, n % 1000).as_bytes(), line].concat();
        let _ = blocks.push(&stamped, n, &mut ended);
        if n % 7 == 0 {
            blocks.finish(&mut ended);
        }
        for block in ended.drain(..) {
            let Some(t_ns) = block.time_ns else { continue };
            domains.take(&block, t_ns, &Uuids::new(), &mut frames);
            assert!(!domains.has_news(&block));
        }
    }
    frames.finish(|frame| assert!(frame.rows.iter().all(|row| !row.cpu_ppm.is_empty())));
}
