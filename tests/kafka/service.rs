//! `lwt run` over a real broker: killed again and again, with other numbers of workers, it publishes what one that is
//! never disturbed publishes, each window once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lwt::simulate::{Params, Reading, Simulator};
use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::trouble::Context;
use lwt::transport::wire::{self, CpuPpm, VmUse};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::common::kafka::{Broker, broker, unique};
use crate::world::{client, committed, now_ms};

mod seen;

const VMS: usize = 24;
const PARTITIONS: usize = 3;
/// Windows of 30 s that slide by 3 s, of samples of 100 ms.
const HOP_MS: i64 = 3_000;

/// Simulated hosts that send what their VMs use, every second, until `done`.
fn fleet(broker: &'static Broker, topic: String, done: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let producer: BaseProducer<Context> = client(broker).create(&[("linger.ms", "0")]).unwrap();
        let start_ms = now_ms() / 1000 * 1000;
        let params = Params { vms: VMS, seed: 3, period_ms: 100, start_ms, churn_per_hour: 30.0 };
        let mut simulator = Simulator::new(params).unwrap();
        let mut readings: Vec<Reading> = vec![];
        while !done.load(Ordering::Relaxed) {
            let (mut hosts, mut t_ms) = (std::collections::BTreeMap::<_, Vec<(String, Vec<u64>)>>::new(), 0);
            for _ in 0..10 {
                t_ms = simulator.tick(&mut readings);
                for reading in &readings {
                    let sample = simulator.sample(*reading, t_ms);
                    let of_host = hosts.entry(sample.host.to_string()).or_default();
                    let name = sample.vm.to_string();
                    let value = u64::from(sample.cpu_ppm[0]);
                    match of_host.iter_mut().find(|(vm, _)| *vm == name) {
                        Some((_, values)) => values.push(value),
                        None => of_host.push((name, vec![value])),
                    }
                }
            }
            while now_ms() < t_ms {
                thread::sleep(Duration::from_millis(5));
            }
            for (i, (host, vms)) in hosts.into_iter().enumerate() {
                let vms = vms.into_iter().filter(|(_, values)| values.len() == 10);
                let vms = vms.map(|(name, values)| VmUse {
                    id: Some(name.clone().into()),
                    name: name.into(),
                    cpu_ppm: CpuPpm::Many(values),
                });
                let (v, period_ms) = (wire::VERSION, 100);
                let message =
                    wire::Message { v, host: host.into(), t_ms: t_ms as u64, period_ms, vms: vms.collect() };
                let bytes = wire::write_message(&message).unwrap();
                let record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&bytes);
                producer.send(record.partition((i % PARTITIONS) as i32)).map_err(|(e, _)| e).unwrap();
                if i == 0 && t_ms % 7000 == 0 {
                    let bad = BaseRecord::<[u8], [u8]>::to(&topic).payload(b"{\"v\":9}").partition(1);
                    producer.send(bad).map_err(|(e, _)| e).unwrap();
                }
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    })
}

const TOPICS: [&str; 7] =
    ["assignments", "dependencies", "events", "deadletter", "state", "decisions", "perturbations"];

/// One pipeline: its topics begin with `prefix`.
struct Pipeline<'a> {
    broker: &'a Broker,
    samples: &'a str,
    topics: Vec<(&'static str, String)>,
    name: String,
}

impl<'a> Pipeline<'a> {
    /// With topics that `lwt topics create` makes, but for those of the samples if they are there.
    fn new(broker: &'a Broker, samples: &'a str) -> Self {
        let topics = TOPICS.map(|name| (name, unique(name))).into();
        let pipeline = Pipeline { broker, samples, topics, name: unique("pipeline") };
        let mut made = pipeline.command(&["topics", "create", "pipelines/datacenter.toml"]);
        let made = made.args(["--partitions", &PARTITIONS.to_string()]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pipeline
    }

    /// Some processes of some workers each.
    fn start(&self, processes: usize, workers: usize) -> Vec<Child> {
        // Ports that are free now; whoever takes one in between makes the test fail, not pass.
        let free: Vec<TcpListener> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let hosts: Vec<String> = free.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
        let file = std::env::temp_dir().join(unique("lwt-hosts"));
        std::fs::write(&file, hosts.join("\n")).unwrap();
        drop(free);
        let one = |process: usize| {
            let workers = workers.to_string();
            let mut command = self.command(&["run", "pipelines/datacenter.toml", "-w", &workers]);
            if processes > 1 {
                command.args(["-n", &processes.to_string(), "-p", &process.to_string(), "-H"]).arg(&file);
            }
            command.spawn().unwrap()
        };
        (0..processes).map(one).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.args(args);
        let set = [
            format!("kafka.brokers={}", self.broker.address("PLAINTEXT")),
            format!("kafka.pipeline={}", self.name),
            format!("topics.samples={}", self.samples),
            "window.period=100ms".into(),
            "window.length=30s".into(),
            format!("window.hop={HOP_MS}ms"),
            format!("topics.partitions={PARTITIONS}"),
            "serve.listen=127.0.0.1:0".into(),
        ];
        for pair in set {
            command.args(["--set", &pair]);
        }
        for (name, topic) in &self.topics {
            command.args(["--set", &format!("topics.{name}={topic}")]);
        }
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command
    }

    /// What a reader of whole transactions sees of a topic.
    fn published(&self, client: &Client, name: &str) -> Vec<(String, Option<String>)> {
        let topic = &self.topics.iter().find(|(of, _)| *of == name).unwrap().1;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        committed(client, topic).into_iter().map(|(_, key, value)| (key, value.map(text))).collect()
    }

    /// The ends of the windows that were completed.
    fn windows(&self, client: &Client) -> Vec<i64> {
        let events = self.published(client, "events").into_iter().filter_map(|(_, value)| value);
        let events = events.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
        let completed = events.filter(|event| event["type"] == "lwt.window.completed");
        completed.map(|event| event["data"]["window_end_ms"].as_i64().unwrap()).collect()
    }

    fn wait_for(&self, client: &Client, window: i64) {
        let until_ms = now_ms() + 120_000;
        while self.windows(client).last().is_none_or(|last| *last < window) {
            assert!(now_ms() < until_ms, "no window {window}: {:?}", self.windows(client));
            thread::sleep(Duration::from_millis(300));
        }
    }
}

/// Kills one of the processes (SIGKILL): the others end by themselves.
fn end(mut processes: Vec<Child>, which: usize) {
    let which = which % processes.len();
    processes[which].kill().unwrap();
    let until_ms = now_ms() + 10_000;
    while processes.iter_mut().any(|process| process.try_wait().unwrap().is_none()) {
        assert!(now_ms() < until_ms, "a process goes on without its peer");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn whoever_is_killed_goes_on_as_if_nothing_had_happened() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let log = unique("fleet");
    let pipeline = Pipeline::new(broker, &log);
    let done = Arc::new(AtomicBool::new(false));
    let fleet = fleet(broker, log.clone(), done.clone());
    let (mut rng, kills) = (ChaCha8Rng::seed_from_u64(1), 4);
    for (kill, (processes, workers)) in [(1, 2), (2, 2), (1, 3), (2, 1)].into_iter().enumerate() {
        let running = pipeline.start(processes, workers);
        if kill == 0 {
            pipeline.wait_for(&client, now_ms() / HOP_MS * HOP_MS);
        }
        thread::sleep(Duration::from_millis(rng.random_range(4_000..12_000)));
        end(running, kill / 2);
    }
    let running = pipeline.start(1, 2);
    let last = now_ms() / HOP_MS * HOP_MS + 2 * HOP_MS;
    pipeline.wait_for(&client, last);
    end(running, 0);
    let undisturbed = Pipeline::new(broker, &log);
    let running = undisturbed.start(1, 4);
    undisturbed.wait_for(&client, last);
    end(running, 0);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();

    let windows = undisturbed.windows(&client);
    let expected: Vec<i64> = (0..windows.len() as i64).map(|i| windows[0] + i * HOP_MS).collect();
    assert_eq!(windows, expected, "each window once, in order");
    println!("{} windows, {kills} kills", windows.len());
    for name in ["assignments", "dependencies", "events", "deadletter"] {
        let (one, other) = (pipeline.published(&client, name), undisturbed.published(&client, name));
        // The one that ended later may have gone further.
        let common = one.len().min(other.len());
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one, other, "{name}");
        }
        println!("{name}: {common} records are the same");
        assert!(common > 0, "{name}: {} and {}", one.len(), other.len());
    }
}
