//! Verdicts of who asked, in `lwt run` over a real broker: each is held from one window on, whoever is killed meanwhile, and with
//! any number of workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lwt::perturb::record::Verdict;
use lwt::perturb::verdict::{Finding, Judgement, Open};
use lwt::transport::kafka::client::Client;
use lwt::types::VmId;
use serde_json::Value;

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::{end, run_to, start};
use crate::world::{client, now_ms, produce};

const FLEET: Fleet = Fleet { vms: 24, period_ms: 100, partitions: 3, grain: 1 };
const WINDOWS: Windows = Windows { length_ms: 30_000, hop_ms: 3_000 };

/// What holds of a compacted topic, by key.
pub fn holds(pipeline: &Pipeline, client: &Client, topic: &str) -> BTreeMap<String, Value> {
    let mut held = BTreeMap::new();
    for (key, value) in pipeline.published(client, topic) {
        match value {
            Some(value) => drop(held.insert(key, serde_json::from_str(&value).unwrap())),
            None => drop(held.remove(&key)),
        }
    }
    held
}

/// A pair that is held, and two VMs of different ensembles.
pub fn chosen(pipeline: &Pipeline, client: &Client) -> Option<([VmId; 2], [VmId; 2])> {
    let vm = |value: &Value| VmId::new(value.as_str().unwrap());
    let pairs = holds(pipeline, client, "dependencies");
    let (first, last) = (pairs.values().next()?, pairs.values().next_back()?);
    let apart = [vm(&first["a"]), vm(&last["b"])];
    let is_held = pairs.contains_key(&serde_json::json!(apart).to_string());
    (!is_held && apart[0] < apart[1]).then(|| ([vm(&last["a"]), vm(&last["b"])], apart))
}

fn verdict(cause: &VmId, vm: &VmId, finding: Finding) -> Vec<u8> {
    let judgement =
        Judgement { verdict: finding, open: None, fall: 0.5, response: 0.4, ..Judgement::open(Open::Noise) };
    serde_json::to_vec(&Verdict::new(cause.clone(), vm.clone(), 0.01, judgement, now_ms())).unwrap()
}

/// Waits until the pair is held with this verdict, or without any if that is none.
fn wait(pipeline: &Pipeline, client: &Client, pair: &[VmId; 2], want: Option<&str>) {
    let (key, until_ms) = (serde_json::json!(pair).to_string(), now_ms() + 60_000);
    loop {
        let held = holds(pipeline, client, "dependencies").remove(&key);
        let verdict = held.as_ref().and_then(|held| held["asked"]["verdict"].as_str());
        if verdict == want && held.is_some() == want.is_some() {
            return;
        }
        assert!(now_ms() < until_ms, "{key}: {want:?}, but {held:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn what_was_asked_is_held_whoever_is_killed() {
    let Some(broker) = broker() else { return };
    let (client, log, perturbations) = (client(broker), unique("fleet"), unique("perturbations"));
    let pipeline = Pipeline::over(broker, (&log, &[("perturbations", &perturbations)]), FLEET, WINDOWS);
    let done = Arc::new(AtomicBool::new(false));
    let fleet = FLEET.send(broker, log.clone(), done.clone());
    let tell = |records: &[Vec<u8>]| {
        let records: Vec<(i32, &[u8])> = records.iter().map(|bytes| (0, &bytes[..])).collect();
        produce(&client, &perturbations, &records);
    };
    let running = start(&pipeline, 1, 2);
    let until_ms = now_ms() + 120_000;
    let (held, apart) = loop {
        if let Some(found) = chosen(&pipeline, &client) {
            break found;
        }
        assert!(now_ms() < until_ms, "nothing is held");
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    // Told, and killed before it can count; taken up by two processes.
    tell(&[verdict(&apart[1], &apart[0], Finding::Confirmed), b"{}".to_vec()]);
    end(running, 0);
    let running = start(&pipeline, 2, 1);
    wait(&pipeline, &client, &apart, Some("confirmed"));
    let record = &holds(&pipeline, &client, "dependencies")[&serde_json::json!(apart).to_string()];
    assert_eq!(
        (&record["cause"], &record["asked"]["capped"], &record["asked"]["effect"]),
        (&"b".into(), &"b".into(), &0.8.into())
    );
    // Two directions, each in a window of its own perhaps, and a kill in between.
    tell(&[verdict(&held[0], &held[1], Finding::Refuted)]);
    end(running, 1);
    let running = start(&pipeline, 1, 3);
    tell(&[verdict(&held[1], &held[0], Finding::Refuted)]);
    wait(&pipeline, &client, &held, None);
    end(running, 0);
    let running = start(&pipeline, 1, 1);
    let last = pipeline.due(now_ms()) + 2 * WINDOWS.hop_ms;
    pipeline.wait_for(&client, last);
    end(running, 0);
    let undisturbed = Pipeline::over(broker, (&log, &[("perturbations", &perturbations)]), FLEET, WINDOWS);
    run_to(&undisturbed, 4, &client, last);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
    let refused = pipeline.published(&client, "deadletter");
    let told = |(_, value): &&(String, Option<String>)| value.as_ref().unwrap().contains(&perturbations);
    assert_eq!(refused.iter().filter(told).count(), 1, "what is no record is refused, once");
    println!("{} windows, 4 kills", pipeline.is_as(&undisturbed, &client));
}
