//! Any bytes as a journal, as a command, as what toolstacks print about caps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::agent::actuator::{cgroup, libvirt, xen};
use lwt::perturb::command::{Command, CommandError, MAX_COMMAND_BYTES};
use lwt::perturb::journal::{Held, kept, line, read};
use lwt::perturb::keys;
use lwt::perturb::rules::{Names, Quiet};

fuzz_target!(|bytes: &[u8]| {
    // What was understood is written as it was read, and read again, behind whatever stands there.
    let entries = read(bytes);
    let mut again = bytes.to_vec();
    for (n, entry) in &entries {
        again.extend(line(*n, entry).unwrap_or_default());
    }
    assert_eq!(read(&again), entries);
    assert_eq!(Held::of(&kept(entries.clone())), Held::of(&entries));

    let trusted =
        keys::public("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").into_iter();
    let trusted: Vec<_> = trusted.collect();
    match Command::verify(bytes, &trusted) {
        Ok(command) => panic!("nobody has signed {command:?}"),
        Err(CommandError::TooLong) => assert!(bytes.len() > MAX_COMMAND_BYTES),
        Err(_) => {}
    }

    let text = String::from_utf8_lossy(bytes);
    let _ = (keys::publics(&text), keys::secret(&text));
    for ppm in [0, 10_000, u32::MAX] {
        for tighter in [cgroup::tighter, xen::tighter, libvirt::tighter] {
            // What is tighter is not made so again.
            if let Some(ours) = tighter(&text, ppm) {
                assert_eq!(tighter(&ours, ppm), None, "{text:?} {ours:?}");
            }
        }
    }
    if let Ok(names) = Names::parse(&text) {
        let _ = names.has(&[text.to_string()]);
    }
    if let Ok(quiet) = Quiet::parse(&text) {
        // Every time of the day has a minute.
        let some = (0..24).any(|hour| quiet.touches(hour * 3_600_000, hour * 3_600_000 + 3_599_999));
        assert_eq!(some, quiet != Quiet::default(), "{text:?}");
    }
});
