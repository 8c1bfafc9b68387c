//! A stand-in for virsh, and the real one with libvirt's test driver (which counts no CPU time).

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::{collect, cores, count, end, samples, start};

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/collect/virsh");
const UUID: &str = "6efb8ffc-1d6c-44d9-bfad-524919a56c0a";

#[test]
fn counters_are_read_ten_times_a_second() {
    let args = ["--source", "libvirt", "--host", "kvm1", "--command", STAND_IN];
    let (messages, said) = collect(&args, &[], |said| count(said, UUID) > 30);
    let all = samples(&messages);
    assert_eq!(all.keys().collect::<Vec<_>>(), [UUID, "kvm1/db"], "{said}");
    assert!(messages[0].contains("\"name\":\"my web\""));
    for (vm, want) in [(UUID, 0.5), ("kvm1/db", 0.25)] {
        let samples = &all[vm];
        assert!(
            samples.len() > 20 && (cores(samples) - want).abs() < 0.05 * want,
            "{vm}: {samples:?} {said}"
        );
    }
}

#[test]
fn a_virsh_that_dies_is_started_again() {
    let args = ["--source", "libvirt", "--host", "kvm1", "--command", STAND_IN, "--period", "500ms"];
    let (messages, said) = collect(&args, &[("DIE", "6")], |said| count(said, UUID) > 12);
    assert!(said.contains("starting it again in 1 s"), "{said}");
    assert!(count(&messages, UUID) > 12, "{messages:?}");
}

#[test]
fn the_real_virsh_is_understood() {
    if Command::new("virsh").arg("--version").output().is_err() {
        let hint = "SKIPPED: no virsh: apt-get install libvirt-clients";
        assert!(std::env::var_os("CI").is_none(), "{hint}");
        let _ = writeln!(std::io::stderr(), "\n{hint}\n");
        return;
    }
    let virsh = "virsh --quiet --readonly --connect test:///default";
    let args = ["--source", "libvirt", "--host", "kvm1", "--command", virsh, "--period", "500ms"];
    let child = start(&[&args[..], &["--dry-run"]].concat(), &[]);
    std::thread::sleep(Duration::from_secs(8));
    // Its one domain has no counter: answers are found whole, again and again, and hold nothing.
    let (messages, said) = end(child);
    assert!(messages.is_empty() && !said.contains("starting it again"), "{messages:?} {said}");
}
