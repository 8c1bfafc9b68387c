//! Three brokers, each killed in turn: leaders change, and what `lwt run` publishes is what it publishes undisturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lwt::transport::kafka::client::Client;

use crate::common::kafka::{Broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::{end, run_to, start};
use crate::world::{alone, client, now_ms};

/// Until all have caught up: as long as one has not, no other may die.
fn wait_for_copies(client: &Client) {
    let until_ms = now_ms() + 120_000;
    loop {
        let metadata = client.connect().unwrap();
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        if partitions.all(|partition| partition.isr().len() == 3) {
            return;
        }
        assert!(now_ms() < until_ms, "a broker does not catch up");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn leaders_change_and_nothing_else_does() {
    let _alone = alone();
    let Some(brokers) = Broker::start(&["--nodes", "3"]) else { return };
    let brokers: &'static Broker = Box::leak(Box::new(brokers));
    let (client, log) = (client(brokers), unique("cluster"));
    let fleet = Fleet { vms: 24, period_ms: 1000, partitions: 3, grain: 1 };
    let windows = Windows { length_ms: 60_000, hop_ms: 1_000 };
    let pipeline = Pipeline::new(brokers, &log, fleet, windows);
    let done = Arc::new(AtomicBool::new(false));
    let sender = fleet.send(brokers, log.clone(), done.clone());
    let (running, begin_ms) = (start(&pipeline, 1, 2), now_ms());
    for node in 1..=3 {
        pipeline.wait_for(&client, pipeline.due(now_ms()));
        brokers.tell(&format!("kill {node}"));
        // The two that are left go on.
        pipeline.wait_for(&client, pipeline.due(now_ms()) + windows.hop_ms);
        brokers.tell(&format!("start {node}"));
        wait_for_copies(&client);
    }
    // Long enough for whole windows, and for what they say to count.
    let last = pipeline.due(now_ms().max(begin_ms + windows.length_ms + 20_000));
    pipeline.wait_for(&client, last);
    end(running, 0);
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let undisturbed = Pipeline::new(brokers, &log, fleet, windows);
    run_to(&undisturbed, 2, &client, last);
    println!("{} windows, 3 leaders lost", pipeline.is_as(&undisturbed, &client));
}
