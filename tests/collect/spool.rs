//! No broker: messages wait on disk, through SIGTERM and kill -9.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use lwt::transport::spool::Spool;

use crate::{end, signal, start};

/// A collector of one simulated host whose broker is not there.
fn collector(spool: &Path) -> Child {
    let spool = spool.display().to_string();
    let args = ["--source", "simulate", "--vms", "3", "--brokers", "127.0.0.1:9", "--spool", &spool];
    start(&args, &[])
}

/// The times of the messages that wait.
fn waiting(folder: &Path) -> Vec<u64> {
    let mut spool = Spool::open(folder, 1 << 30).unwrap();
    let message = || {
        let (message, _) = spool.hand_out().unwrap()?;
        assert_eq!(message.key, b"h0000");
        Some(lwt::transport::wire::read_message(&message.value).unwrap().t_ms)
    };
    std::iter::from_fn(message).collect()
}

fn are_seconds(times: &[u64]) -> bool {
    times.windows(2).all(|pair| pair[1] == pair[0] + 1000)
}

#[test]
fn what_is_not_delivered_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    // A clean end keeps all, also the youngest.
    let child = collector(&path);
    std::thread::sleep(Duration::from_millis(8_500));
    let (_, said) = end(child);
    assert!(said.contains("Kafka at 127.0.0.1:9 takes nothing"), "{said}");
    let first = waiting(&path);
    assert!(first.len() >= 4 && are_seconds(&first), "{first:?}");
    // kill -9 loses what is younger than 2 s, but nothing before it.
    let mut child = collector(&path);
    std::thread::sleep(Duration::from_millis(7_500));
    signal(&child, "KILL");
    child.wait().unwrap();
    let second = waiting(&path);
    assert_eq!(second[..first.len()], first);
    let new = &second[first.len()..];
    assert!(new.len() >= 3 && are_seconds(new), "{new:?}");
}

#[test]
fn a_spool_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let child = collector(folder.path());
    std::thread::sleep(Duration::from_millis(1_000));
    let mut other = collector(folder.path());
    assert!(!other.wait().unwrap().success());
    end(child);
}
