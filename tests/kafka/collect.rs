//! `lwt collect` to a real broker: one that dies costs no message.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lwt::transport::kafka::client::Client;
use lwt::transport::wire::read_message;

use crate::common::kafka::Broker;
use crate::world::{client, committed, now_ms, samples};

fn collect(broker: &Broker, topic: &str, args: &[&str]) -> Child {
    let topic = format!("topics.samples={topic}");
    let address = broker.address("PLAINTEXT");
    let own = ["collect", "--brokers", address, "--set", &topic];
    Command::new(env!("CARGO_BIN_EXE_lwt")).args(own).args(args).stdin(Stdio::null()).spawn().unwrap()
}

fn signal(child: &mut Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    child.wait().unwrap();
}

/// The times of each host's messages, in their order.
fn times(client: &Client, topic: &str) -> BTreeMap<String, Vec<i64>> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (_, key, value) in committed(client, topic) {
        let value = value.unwrap();
        let message = read_message(&value).unwrap();
        assert_eq!(message.host, key.as_str());
        times.entry(key).or_default().push(message.t_ms as i64);
    }
    times
}

/// Waits until every host has told of `t_ms`: then all that was told before is there, too.
fn arrived(client: &Client, topic: &str, t_ms: i64) -> BTreeMap<String, Vec<i64>> {
    let until_ms = now_ms() + 60_000;
    loop {
        let all = times(client, topic);
        if all.values().all(|times| times.iter().any(|time| *time >= t_ms)) {
            return all;
        }
        assert!(now_ms() < until_ms, "nothing of {t_ms}: {all:?}");
        wait(1);
    }
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

#[test]
fn a_broker_that_dies_costs_no_message() {
    let Some(broker) = Broker::start(&[]) else { return };
    let client = client(&broker);
    let (topic, folder) = (samples(&client, "spooled", 1), tempfile::tempdir().unwrap());
    let spool = folder.path().display().to_string();
    let args = ["--source", "simulate", "--vms", "60", "--period", "100ms", "--spool", &spool];
    let mut collector = collect(&broker, &topic, &args);
    wait(4);
    broker.tell("kill");
    let killed_ms = now_ms();
    wait(8);
    broker.tell("start");
    let started_ms = now_ms();
    arrived(&client, &topic, started_ms);
    println!("all delivered {} ms after the broker was back", now_ms() - started_ms);
    signal(&mut collector, "TERM");
    let (ended_ms, all) = (now_ms(), times(&client, &topic));
    assert_eq!(all.len(), 2);
    for (host, times) in &all {
        let want: Vec<i64> = (0..times.len() as i64).map(|i| times[0] + 1000 * i).collect();
        assert_eq!(times, &want, "{host}: each once, in order");
        assert!(times[0] < killed_ms && times[times.len() - 1] >= started_ms, "{host}: {times:?}");
    }
    println!("{} messages over a broker that was killed", all["h0000"].len());

    // Now the collector is killed, too, while the broker is away: what is on disk is delivered by its successor.
    let mut collector = collect(&broker, &topic, &args);
    wait(3);
    broker.tell("kill");
    wait(7);
    signal(&mut collector, "KILL");
    let mut collector = collect(&broker, &topic, &args);
    wait(4);
    broker.tell("start");
    let all = arrived(&client, &topic, now_ms());
    signal(&mut collector, "TERM");
    for (host, times) in all {
        let times: Vec<i64> = times.into_iter().filter(|t_ms| *t_ms > ended_ms).collect();
        let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (short, long): (Vec<i64>, Vec<i64>) = steps.iter().partition(|step| **step == 1000);
        // What was younger than two seconds, and the start of the next.
        assert!(long.len() <= 1 && long.iter().all(|step| (2000..=5000).contains(step)), "{host}: {steps:?}");
        assert!(short.len() >= 12, "{host}: {steps:?}");
    }
}
