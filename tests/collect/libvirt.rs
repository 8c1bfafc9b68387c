//! A stand-in for virsh, and the real one with libvirt's test driver (which counts no CPU time).

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::{are_whole, collect, cores, samples};

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/collect/virsh");
const UUID: &str = "6efb8ffc-1d6c-44d9-bfad-524919a56c0a";

#[test]
fn counters_are_read_ten_times_a_second() {
    let args = ["--source", "libvirt", "--host", "kvm1", "--command", STAND_IN];
    let (messages, said) = collect(&args, &[], Duration::from_secs(6));
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
    let (messages, said) = collect(&args, &[("DIE", "6")], Duration::from_secs(9));
    assert!(said.contains("starting it again in 1 s"), "{said}");
    let times: Vec<u64> = samples(&messages)[UUID].keys().copied().collect();
    assert!(times[times.len() - 1] - times[0] >= 4_000, "{times:?}");
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
    let (messages, said) = collect(&args, &[], Duration::from_secs(4));
    // Its one domain has no counter: answers are found whole, again and again, and hold nothing.
    assert_eq!((messages.len(), said.as_str()), (0, ""));
    assert!(are_whole(&[].into(), 500));
}
