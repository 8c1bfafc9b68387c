//! The watermark beside a naive twin, and what reading live, late or again must not change.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const HOP_MS: i64 = 10_000;

/// The rule, word by word, with everything that was ever heard.
#[derive(Default)]
struct Naive {
    append_ms: i64,
    last_ms: BTreeMap<String, i64>,
    open: u64,
}

impl Naive {
    fn arrive(&mut self, append_ms: i64) -> u64 {
        self.append_ms = self.append_ms.max(append_ms);
        let waited = self.last_ms.values().filter(|&&t_ms| t_ms >= self.append_ms - BOUND_MS);
        let complete_ms = waited.copied().fold(self.append_ms - GRACE_MS, i64::min);
        self.open = self.open.max((complete_ms.max(0) / HOP_MS) as u64);
        self.open
    }

    fn heard(&mut self, host: &str, t_ms: i64) {
        let last_ms = self.last_ms.entry(host.into()).or_insert(t_ms);
        *last_ms = t_ms.max(*last_ms);
    }
}

/// A record: when it was appended, whose it is, and the time of its samples.
type Record = (i64, String, i64);

/// Logs of up to 300 records over some minutes: hosts that are punctual, slow, silent, ahead, or drain.
fn logs() -> impl Strategy<Value = Vec<Record>> {
    let behind = prop_oneof![
        6 => 0i64..1_500,
        2 => 0i64..35_000,
        1 => 0i64..100_000,
        1 => -AHEAD_MS..0,
    ];
    let step = prop_oneof![8 => 0i64..1_000, 1 => 0i64..40_000, 1 => -2_000i64..0];
    prop::collection::vec((step, 0u8..6, behind), 1..300).prop_map(|steps| {
        let mut now_ms = 1_000_000;
        let record = |(step_ms, host, behind_ms)| {
            now_ms += step_ms;
            (now_ms, format!("h{host}"), now_ms - behind_ms)
        };
        steps.into_iter().map(record).collect()
    })
}

/// The open pane at each record.
fn read(log: &[Record]) -> Vec<u64> {
    let mut mark = Watermark::new(HOP_MS);
    let read = |(append_ms, host, t_ms): &Record| {
        let open = mark.arrive(*append_ms);
        mark.heard(host, *t_ms);
        open
    };
    log.iter().map(read).collect()
}

#[test]
fn hosts_are_waited_for_within_bounds() {
    let mut mark = Watermark::new(HOP_MS);
    assert_eq!(mark.open(), 0);
    // At once up to the record's own time, less the grace.
    assert_eq!(mark.arrive(100_999), 9);
    mark.heard("slow", 100_000);
    assert_eq!(mark.arrive(101_000), 10);
    mark.heard("fast", 100_999);
    // The fast one goes on, the slow one is waited for: it has spoken up to the end of pane 9.
    for append_ms in (102_000..=130_000).step_by(1_000) {
        assert_eq!(mark.arrive(append_ms), 10, "{append_ms}");
        mark.heard("fast", append_ms);
    }
    // It is too slow, is no longer waited for, and is waited for again when it has caught up.
    assert_eq!(mark.arrive(130_001), 12);
    mark.heard("slow", 100_001);
    assert_eq!(mark.arrive(142_000), 13, "the fast one is waited for now");
    mark.heard("slow", 129_000);
    assert_eq!(mark.arrive(143_000), 13, "nothing goes back");
    mark.heard("fast", 143_000);
    assert_eq!(mark.arrive(150_000), 13);
    mark.heard("slow", 150_000);
    assert_eq!(mark.arrive(150_001), 14);
    assert_eq!(mark.last_ms.len(), 2);
}

#[test]
fn a_wrong_clock_of_the_log_overflows_nothing() {
    for append_ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut mark = Watermark::new(HOP_MS);
        mark.idle(append_ms);
        mark.arrive(append_ms);
        mark.heard("h", i64::MIN);
        mark.heard("h", i64::MAX);
        mark.arrive(append_ms);
    }
}

#[test]
fn the_number_of_hosts_is_bounded() {
    let mut mark = Watermark::new(HOP_MS);
    mark.arrive(1_000_000);
    for host in 0..MAX_HOSTS + 10 {
        mark.heard(&host.to_string(), 1_000_000);
    }
    assert_eq!((mark.last_ms.len(), mark.by_time.len()), (MAX_HOSTS, MAX_HOSTS));
    mark.arrive(1_000_001 + BOUND_MS);
    assert_eq!((mark.last_ms.len(), mark.by_time.len()), (0, 0));
}

proptest! {
    #[test]
    fn it_does_what_the_rule_says(log in logs()) {
        let (mut mark, mut naive) = (Watermark::new(HOP_MS), Naive::default());
        for (append_ms, host, t_ms) in &log {
            prop_assert_eq!(mark.arrive(*append_ms), naive.arrive(*append_ms));
            mark.heard(host, *t_ms);
            naive.heard(host, *t_ms);
            prop_assert_eq!(mark.by_time.len(), mark.last_ms.len());
        }
    }

    /// Whoever reads live and often finds nothing has the same panes open at each record.
    #[test]
    fn live_reading_is_a_catch_up(mut log in logs(), waits in prop::collection::vec(0.0f64..1.0, 300)) {
        // Idle is only said by whoever looked after everything appended before was read: in order of time.
        log.sort();
        let mut mark = Watermark::new(HOP_MS);
        let mut live = vec![];
        for (i, (append_ms, host, t_ms)) in log.iter().enumerate() {
            let before_ms = if i == 0 { 900_000 } else { log[i - 1].0 };
            // The wall clock is up to 5 s ahead of the broker's.
            mark.idle(before_ms + ((append_ms - before_ms) as f64 * waits[i]) as i64 + AHEAD_MS);
            live.push(mark.arrive(*append_ms));
            mark.heard(host, *t_ms);
        }
        prop_assert_eq!(live, read(&log));
    }

    /// Whoever begins later has the same panes open for all samples that end after the warm-up.
    #[test]
    fn a_rewind_forgets_nothing(mut log in logs(), from in 0usize..300) {
        log.sort();
        let from = from.min(log.len() - 1);
        let (whole, part) = (read(&log), read(&log[from..]));
        let since_ms = log[from].0 + WARM_UP_MS;
        for (i, (append_ms, _, t_ms)) in log.iter().enumerate().skip(from) {
            if *t_ms > since_ms {
                prop_assert_eq!(whole[i], part[i - from], "at {}", append_ms);
            }
        }
    }
}
