//! Recordings and simulated hosts, as if they were live.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{lwt, lwt_ok};
use crate::{are_whole, collect, samples};

fn now_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a test has no other clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn a_recording_is_replayed_as_if_it_were_live() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv").display().to_string();
    lwt_ok(&["simulate", "--vms", "40", "--seconds", "90", "--output", &trace]);
    let before_ms = now_ms();
    let args = [
        "collect",
        "--source",
        "replay",
        "--trace",
        &trace,
        "--history",
        "90s",
        "--speed",
        "30",
        "--dry-run",
    ];
    let done = lwt(&args);
    let took_ms = now_ms() - before_ms;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!((2_500..20_000).contains(&took_ms), "90 s at 30 times the speed took {took_ms} ms");
    let messages: Vec<String> = String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect();
    let all = samples(&messages);
    let recorded = std::fs::read_to_string(&trace).unwrap();
    let mut lines = recorded.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
    assert_eq!((all.len(), messages.len()), (40, 2 * 90));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').skip(1).collect()).collect();
    for (column, name) in names.iter().enumerate() {
        let told = &all[*name];
        let first_ms = *told.keys().next().unwrap();
        assert!(are_whole(told, 1000) && told.len() == 90, "{name}");
        assert!(first_ms.abs_diff(before_ms - 89_000) <= 2_000, "{first_ms} {before_ms}");
        for (row, ppm) in rows.iter().zip(told.values()) {
            assert_eq!(row[column].replace('.', "").parse::<u64>().unwrap(), *ppm, "{name}");
        }
    }
}

#[test]
fn a_simulated_fleet_catches_up_and_ends() {
    let args = [
        "collect", "--source", "simulate", "--vms", "90", "--hosts", "5", "--period", "100ms", "--seed", "4",
    ];
    let before_ms = now_ms();
    let done = lwt(&[&args[..], &["--history", "20s", "--speed", "max", "--dry-run"]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let messages: Vec<String> = String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect();
    let all = samples(&messages);
    assert_eq!(all.len(), 90);
    assert!(messages.len() >= 5 * 20 && messages.len().is_multiple_of(5));
    let last_ms = *all["shop0-db"].keys().last().unwrap();
    assert!(all.values().all(|told| are_whole(told, 100)) && last_ms <= now_ms(), "nothing is of the future");
    assert!(last_ms + 1_100 > before_ms);
}

#[test]
fn a_simulated_fleet_is_live() {
    let args = ["--source", "simulate", "--vms", "3", "--speed", "1"];
    let (messages, _) = collect(&args, &[], |said| said.len() >= 3);
    assert!((3..=5).contains(&messages.len()), "{messages:?}");
}
