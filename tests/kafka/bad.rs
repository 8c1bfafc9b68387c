//! Bad input, from end to end: 10,080 messages of 24 kinds that cannot be used, one of 100 MB, and a tenant who invents a
//! million names, between as many good ones.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::seen::{get, logged, run, said, value, wait};
use crate::source::bad;
use crate::world::{client, message, now_ms, produce};

/// A good message and a bad one for each host, tick after tick.
const HOSTS: i64 = 1_008;
const TICKS: i64 = 10;

/// A million names, in messages of 10,000: as many as one host may have.
fn invented(t_ms: i64) -> Vec<Vec<u8>> {
    let name = |n: usize| format!(r#"{{"name":"x{n}","cpu_ppm":1}}"#);
    let message = |from: usize| {
        let vms: Vec<String> = (from..from + 10_000).map(name).collect();
        let vms = vms.join(",");
        format!(r#"{{"v":1,"host":"tenant","t_ms":{t_ms},"period_ms":1000,"vms":[{vms}]}}"#).into_bytes()
    };
    (0..1_000_000).step_by(10_000).map(message).collect()
}

fn resident_mb(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// How often each reason was given, and the dead letters that name somebody.
fn dead(
    pipeline: &Pipeline,
    client: &lwt::transport::kafka::client::Client,
) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut counts, mut origins) = (BTreeMap::new(), vec![]);
    for (_, letter) in pipeline.published(client, "deadletter") {
        let letter: Value = serde_json::from_str(&letter.unwrap()).unwrap();
        *counts.entry(letter["reason"].as_str().unwrap().to_string()).or_default() += 1;
        origins.push(letter["origin"].as_str().unwrap().to_string());
    }
    (counts, origins)
}

#[test]
fn bad_input_is_told_apart_and_does_no_harm() {
    let Some(broker) = broker() else { return };
    let (client, log) = (client(broker), unique("mixed"));
    let fleet = Fleet { vms: 1, period_ms: 1000, partitions: 1, grain: 1 };
    let windows = Windows { length_ms: 30_000, hop_ms: 1_000 };
    let pipeline = Pipeline::new(broker, &log, fleet, windows);
    let (running, lines) = logged(run(&pipeline).args(["-w", "2"]));
    let address = said(&lines, "metrics and health are served")["address"].as_str().unwrap().to_string();
    let samples = |page: &str| {
        [0, 1].map(|w| value(page, &format!("lwt_samples_total{{worker=\"{w}\"}}"))).iter().sum::<f64>()
    };
    let count = || samples(&get(&address, "/metrics").unwrap().1) as i64;
    wait("it is never ready", || get(&address, "/readyz").filter(|(status, _)| *status == 200));

    let (mut want, mut memory) = (BTreeMap::<String, usize>::new(), vec![]);
    for tick in 0..TICKS {
        // Whoever is new must not be late.
        thread::sleep(Duration::from_millis(1000 - now_ms() as u64 % 1000));
        let t_ms = now_ms() / 1000 * 1000;
        let kinds = bad(now_ms());
        let mut records = vec![];
        for host in 0..HOSTS {
            records.push(message(&format!("g{host}"), t_ms, 5));
            let (bytes, reason) = &kinds[host as usize % kinds.len()];
            *want.entry(reason.as_str().into()).or_default() += 1;
            records.push(bytes.clone());
        }
        produce(&client, &log, &records.iter().map(|record| (0, record.as_slice())).collect::<Vec<_>>());
        wait("good ones are missing", || (count() >= HOSTS * (tick + 1)).then_some(()));
        memory.push(resident_mb(running.0.id()));
    }
    produce(&client, &log, &[(0, &b"x".repeat(100_000_000))]);
    // A little ahead: nobody knows this host, and it takes its time.
    let names = invented(now_ms() / 1000 * 1000 + 3_000);
    produce(&client, &log, &names.iter().map(|names| (0, names.as_slice())).collect::<Vec<_>>());
    *want.entry("too_long".into()).or_default() += 1;
    *want.entry("too_many".into()).or_default() += 99;
    let all: usize = want.values().sum();
    wait("dead letters are missing", || {
        (dead(&pipeline, &client).0.values().sum::<usize>() >= all).then_some(())
    });
    memory.push(resident_mb(running.0.id()));

    let (counts, origins) = dead(&pipeline, &client);
    assert_eq!(counts, want);
    assert_eq!(count(), HOSTS * TICKS + 10_000, "each good one, and what a tenant may have");
    let named = r#", host "tenant", VM "x990000" and 9999 more"#;
    assert!(origins.iter().any(|origin| origin.ends_with(named)), "{:?}", origins.last());
    println!("{all} bad ones of {} reasons, memory in MB: {memory:?}", want.len());
    assert!(memory[TICKS as usize - 1] < memory[0] + 32, "{memory:?}");
    assert!(memory[TICKS as usize] < memory[0] + 256, "{memory:?}");
}
