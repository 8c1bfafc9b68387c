//! Hosts that sample every 20 ms and hosts that sample every 100 ms, in one pipeline.

use std::collections::BTreeSet;

use super::*;

const MIXED: Fleet = Fleet { vms: 24, period_ms: 20, partitions: 3, grain: 5 };
/// The scales are then 20, 100 and 200 ms.
const SHORT: Windows = Windows { length_ms: 12_000, hop_ms: 3_000 };

#[test]
fn hosts_that_sample_differently_are_analysed_together() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let log = unique("mixed");
    let pipeline = Pipeline::new(broker, &log, MIXED, SHORT);
    let done = Arc::new(AtomicBool::new(false));
    let fleet = MIXED.send(broker, log.clone(), done.clone());
    let running = start(&pipeline, 1, 2);
    pipeline.wait_for(&client, pipeline.due(now_ms()) + 2 * SHORT.hop_ms);
    end(running, 0);
    let running = start(&pipeline, 1, 3);
    let last = pipeline.due(now_ms()) + SHORT.length_ms;
    pipeline.wait_for(&client, last);
    stop(running);
    let undisturbed = Pipeline::new(broker, &log, MIXED, SHORT);
    run_to(&undisturbed, 1, &client, last);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
    println!("{} windows, 1 kill", pipeline.is_as(&undisturbed, &client));
    let letters = pipeline.published(&client, "deadletter");
    assert!(
        letters.iter().flat_map(|(_, letter)| letter).all(|letter| !letter.contains("coarse")),
        "{letters:?}"
    );
    // All are judged, those of the hosts h0001 and h0003 too.
    let assigned = pipeline.published(&client, "assignments");
    let vms: BTreeSet<&String> = assigned.iter().map(|(vm, _)| vm).collect();
    let held = pipeline.published(&client, "dependencies").len();
    println!("{} VMs assigned, {held} records of dependencies", vms.len());
    assert!(vms.len() >= 20, "{vms:?}");
}
