//! `lwt collect` to a real broker: real programs in control groups are found to work together, and a broker that
//! dies costs no message.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lwt::collect::cgroup::find_root;
use lwt::transport::kafka::client::Client;
use lwt::transport::wire::read_message;

use crate::common::kafka::{Broker, broker, unique};
use crate::world::{alone, client, committed, now_ms, samples};

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

/// Groups of ours, and the programs of `load.py` in them.
struct Load {
    root: PathBuf,
    program: Child,
}

impl Load {
    fn start(root: &Path) -> Option<Load> {
        let root = root.join(unique("lwt-load"));
        if let Err(error) = std::fs::create_dir(&root) {
            let hint = format!("SKIPPED: cannot make {}: {error}", root.display());
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/load.py");
        let program = Command::new("python3").arg(script).arg(&root).stdin(Stdio::piped()).spawn().unwrap();
        Some(Load { root, program })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The end of its input ends it, and all that it started.
        drop(self.program.stdin.take());
        let _ = self.program.wait();
        for _ in 0..100 {
            let groups = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
            groups
                .filter(|group| group.path().is_dir())
                .for_each(|group| drop(std::fs::remove_dir(group.path())));
            if std::fs::remove_dir(&self.root).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The ensembles of the last assignments, as sets of names.
fn ensembles(client: &Client, topic: &str) -> BTreeSet<BTreeSet<String>> {
    let mut of_vm: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (_, vm, value) in committed(client, topic) {
        let value: serde_json::Value =
            value.map_or_else(Default::default, |value| serde_json::from_slice(&value).unwrap());
        of_vm.insert(vm, value["ensemble"].as_str().map(str::to_owned));
    }
    let mut ensembles: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (vm, ensemble) in of_vm {
        let name = vm.rsplit('/').next().unwrap_or_default().to_owned();
        ensemble.map(|ensemble| ensembles.entry(ensemble).or_default().insert(name));
    }
    ensembles.into_values().collect()
}

#[test]
fn programs_in_control_groups_are_found_to_work_together() {
    let _alone = alone();
    let (Some(broker), Ok(root)) = (broker(), find_root()) else { return };
    let Some(load) = Load::start(&root) else { return };
    let client = client(broker);
    let address = format!("kafka.brokers={}", broker.address("PLAINTEXT"));
    let mut set = vec![address, format!("kafka.pipeline={}", unique("collect"))];
    let topics: BTreeMap<&str, String> = [
        "samples",
        "assignments",
        "dependencies",
        "events",
        "deadletter",
        "state",
        "decisions",
        "perturbations",
    ]
    .map(|name| (name, unique(name)))
    .into();
    set.extend(topics.iter().map(|(name, topic)| format!("topics.{name}={topic}")));
    set.extend(
        ["window.period=100ms", "window.length=20s", "window.hop=4s", "topics.partitions=2"]
            .map(String::from),
    );
    let lwt = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.args(args).args(set.iter().flat_map(|pair| ["--set", pair])).stdin(Stdio::null());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    assert!(lwt(&["topics", "create", "pipelines/datacenter.toml"]).output().unwrap().status.success());
    let pattern = format!("{}/*", load.root.file_name().unwrap().to_string_lossy());
    let began_ms = now_ms();
    let collector = ["collect", "--source", "cgroup", "--groups", &pattern, "--spool", "none"];
    let mut collector = lwt(&collector).spawn().unwrap();
    let mut service = lwt(&["run", "pipelines/datacenter.toml"]).spawn().unwrap();
    let pair = |name: &str| BTreeSet::from([format!("{name}-back"), format!("{name}-front")]);
    let want = BTreeSet::from(["shop", "wiki", "mail"].map(pair));
    let mut found = BTreeSet::new();
    while found != want && now_ms() < began_ms + 90_000 {
        wait(2);
        found = ensembles(&client, &topics["assignments"]);
    }
    println!("found after {} s", (now_ms() - began_ms) / 1000);
    signal(&mut collector, "TERM");
    signal(&mut service, "KILL");
    drop(load);
    assert_eq!(found, want);
    assert_eq!(committed(&client, &topics["deadletter"]), []);
}
