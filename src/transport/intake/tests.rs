//! Rows of records, and what becomes of each.

use super::*;

fn grid() -> Grid {
    Grid { period_ms: 1000, hop_ticks: 10, scales: vec![1, 2, 5] }
}

/// VM, first tick and values of samples; reason and origin of dead letters.
type Taken = (Vec<(String, Tick, Vec<u32>)>, Vec<(Reason, String)>);

/// A message of one VM.
fn message(t_ms: u64, period_ms: u64, cpu: &str) -> String {
    format!(
        r#"{{"v":1,"host":"h","t_ms":{t_ms},"period_ms":{period_ms},"vms":[{{"name":"a","cpu_ppm":{cpu}}}]}}"#
    )
}

/// What becomes of one record that was appended at `append_ms`, after one at 100 s.
fn take(append_ms: i64, text: &str) -> Taken {
    let (mut intake, mut batch) = (Intake::new(grid(), 0), Batch::default());
    intake.take(
        &Record { topic: "s", partition: 2, offset: 6, append_ms: 100_000, key: &[], bytes: b"?" },
        &mut batch,
    );
    batch.clear();
    intake.take(
        &Record { topic: "s", partition: 2, offset: 7, append_ms, key: &[], bytes: text.as_bytes() },
        &mut batch,
    );
    assert_eq!(batch.records, 1);
    let values: usize = batch.samples.iter().map(|samples| samples.cpu_ppm.len()).sum();
    assert_eq!(batch.values, values as u64);
    let samples = batch.samples.into_iter().map(|s| (s.vm.to_string(), s.first, s.cpu_ppm)).collect();
    let dead = batch.dead.into_iter().map(|(letter, open)| {
        assert_eq!(open, intake.open());
        (letter.reason, letter.origin)
    });
    (samples, dead.collect())
}

#[test]
fn each_record_has_its_rule() {
    let good = |first: Tick, values: &[u32]| (vec![("h/a".to_string(), first, values.to_vec())], vec![]);
    let bad = |reason: Reason| (vec![], vec![(reason, "s/2@7".to_string())]);
    let ten = "[1,2,2,2,2,2,2,2,2,2]";
    let rows = [
        // At 101 s pane 10 is the first open one: it begins with tick 100.
        (message(101_000, 1000, "7"), good(100, &[7])),
        (message(101_499, 1000, "7"), good(100, &[7])),
        (
            message(100_500, 1000, "[6,7]"),
            (good(100, &[7]).0, vec![(Reason::Late, "s/2@7, up to tick 99".into())]),
        ),
        (message(100_000, 1000, "7"), bad(Reason::Late)),
        (message(0, 1000, "7"), bad(Reason::Late)),
        (message(106_000, 1000, "7"), good(105, &[7])),
        (message(106_001, 1000, "7"), bad(Reason::AheadOfClock)),
        (message(7_000_000_000_000, 1000, "7"), bad(Reason::AheadOfClock)),
        // Finer: means, halves up.
        (message(101_000, 100, ten), good(100, &[2])),
        (message(101_000, 500, "[1,2]"), good(100, &[2])),
        (message(101_500, 500, "[1,2]"), bad(Reason::Unaligned)),
        (message(101_000, 500, "[1,2,3]"), bad(Reason::Unaligned)),
        (message(101_000, 300, "[1,2]"), bad(Reason::Unaligned)),
        (message(102_000, 500, "[1,3,4,4]"), good(100, &[2, 4])),
        // Coarser: whole ticks that a scale is made of; a sample is never late in part.
        (message(102_000, 2000, "7"), good(100, &[7])),
        (message(105_100, 5000, "7"), good(100, &[7])),
        (
            message(104_000, 2000, "[5,6,7]"),
            (good(100, &[6, 7]).0, vec![(Reason::Late, "s/2@7, up to tick 99".into())]),
        ),
        (message(100_000, 5000, "7"), bad(Reason::Late)),
        (message(102_000, 1500, "1"), bad(Reason::TooCoarse)),
        (message(103_000, 3000, "1"), bad(Reason::TooCoarse)),
        (message(100_000, 10_000, "1"), bad(Reason::TooCoarse)),
        ("{".into(), bad(Reason::Malformed)),
        (String::new(), bad(Reason::Malformed)),
        (" ".repeat(1 << 21), bad(Reason::TooLong)),
    ];
    for (text, want) in rows {
        assert_eq!(take(101_000, &text), want, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn a_coarse_message_is_as_long_as_it_says() {
    let (mut intake, mut batch) = (Intake::new(grid(), 0), Batch::default());
    let list = format!("[{}]", vec!["7"; 20].join(","));
    let text = message(105_000, 5000, &list);
    let record =
        Record { topic: "s", partition: 0, offset: 0, append_ms: 105_000, key: &[], bytes: text.as_bytes() };
    intake.take(&record, &mut batch);
    // 100 s, of which all but the open pane is late: nothing is repeated for each tick.
    let told: Vec<_> = batch.samples.iter().map(|one| (one.first, one.grain, one.cpu_ppm.len())).collect();
    assert_eq!(told, [(100, 5, 1)]);
    // A host that speaks every five seconds is waited for until it has spoken past the pane's end.
    for (append_ms, open) in [(110_900, 10), (112_000, 10), (112_001, 11)] {
        if open == 11 {
            let text = message(110_000, 5000, "7");
            let record =
                Record { topic: "s", partition: 0, offset: 1, append_ms, key: &[], bytes: text.as_bytes() };
            intake.take(&record, &mut batch);
        }
        intake.idle(append_ms + AHEAD_MS);
        assert_eq!(intake.open(), open, "{append_ms}");
    }
}

#[test]
fn a_message_has_a_letter_a_reason() {
    let vms = r#"{"name":"a","cpu_ppm":1},{"name":"b","cpu_ppm":2},{"name":"a","cpu_ppm":3},{"name":"a","cpu_ppm":4}"#;
    let text = format!(r#"{{"v":1,"host":"h","t_ms":101000,"period_ms":1000,"vms":[{vms}]}}"#);
    let (samples, dead) = take(101_000, &text);
    assert_eq!(samples, [("h/a".into(), 100, vec![1]), ("h/b".into(), 100, vec![2])]);
    assert_eq!(dead, [(Reason::Duplicate, r#"s/2@7, host "h", VM "a" and 1 more"#.into())]);
}

/// A host whose messages cannot be used is not waited for, one with no VMs is.
#[test]
fn who_is_waited_for() {
    for (host_says, open) in
        [("{", 11), (r#"{"v":1,"host":"h","t_ms":105000,"period_ms":1000,"vms":[]}"#, 10)]
    {
        let (mut intake, mut batch) = (Intake::new(grid(), 0), Batch::default());
        for (append_ms, text) in [(105_000, host_says), (111_000, "?")] {
            let record =
                Record { topic: "s", partition: 0, offset: 0, append_ms, key: &[], bytes: text.as_bytes() };
            intake.take(&record, &mut batch);
        }
        assert_eq!(intake.open(), open, "{host_says}");
    }
}

#[test]
fn what_was_complete_stays_complete() {
    let (mut intake, mut batch) = (Intake::new(grid(), 12), Batch::default());
    let text = br#"{"v":1,"host":"h","t_ms":101000,"period_ms":1000,"vms":[{"name":"a","cpu_ppm":1}]}"#;
    intake.take(
        &Record { topic: "s", partition: 0, offset: 0, append_ms: 101_000, key: &[], bytes: text },
        &mut batch,
    );
    assert_eq!((intake.open(), batch.dead[0].1, batch.dead[0].0.reason), (12, 12, Reason::Late));
}
