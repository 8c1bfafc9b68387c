//! Chaos: two processes of two workers, each under `lwt supervise` and on a network of its own, as on two machines. At
//! random moments one is killed, stopped for a while or loses the connection to its peer (which is a panic in one of its
//! threads), is cut off from the broker or from its peer, or the broker itself is killed and started again. What they
//! publish is, record by record, what one process publishes that nobody disturbs.
//!
//! `CHAOS_RUNS` faults (6: one of each kind), drawn with the seed `CHAOS_SEED` (1), of a fleet of `CHAOS_VMS` (40):
//! `tests/long/chaos` does more of it. Needs root and iproute2, for networks.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::trouble::Context;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::common::kafka::{Broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows, completed_window};
use crate::service::run_to;
use crate::service::seen::wait;
use crate::world::{alone, client, now_ms};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL of a process.
    Kill,
    /// SIGSTOP of a process for 10 s.
    Stop,
    /// Its connection to the peer is destroyed: one of its threads panics.
    Panic,
    /// The broker is killed and started again.
    Broker,
    /// Whatever it sends to the broker is lost, for 8 s.
    CutFromBroker,
    /// Whatever it sends to its peer is lost, and the other way round, for 8 s.
    CutFromPeer,
}

const FAULTS: [Fault; 6] =
    [Fault::Kill, Fault::CutFromPeer, Fault::Panic, Fault::Broker, Fault::Stop, Fault::CutFromBroker];

fn run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{program} {arguments:?}: {}", said(&done.stderr));
    said(&done.stdout)
}

fn ip(arguments: &str) -> String {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

/// Two network namespaces with an address each, and a bridge between them and us, which has one, too.
struct Net {
    number: u32,
}

impl Net {
    /// Without root or iproute2 there is none: that is said loudly, and where `CI` is set it is a failure.
    fn new() -> Option<Net> {
        let number = std::process::id() % 250;
        let probe =
            Command::new("ip").args(["link", "add", &format!("lwt{number}"), "type", "bridge"]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            let hint = "SKIPPED: no networks to cut without root and iproute2: apt-get install iproute2, and run as root";
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        let net = Net { number };
        ip(&format!("addr add {}/24 dev lwt{number}", net.address(1)));
        ip(&format!("link set lwt{number} up"));
        for process in 0..2 {
            let (space, ours) = (net.space(process), format!("lwt{number}v{process}"));
            ip(&format!("netns add {space}"));
            ip(&format!("link add {ours} type veth peer name eth0 netns {space}"));
            ip(&format!("link set {ours} master lwt{number}"));
            ip(&format!("link set {ours} up"));
            ip(&format!("-n {space} addr add {}/24 dev eth0", net.address(2 + process)));
            ip(&format!("-n {space} link set eth0 up"));
            ip(&format!("-n {space} link set lo up"));
        }
        Some(net)
    }

    /// 1 is ours and the broker's, 2 and 3 those of the processes.
    fn address(&self, host: usize) -> String {
        format!("10.77.{}.{host}", self.number)
    }

    fn space(&self, process: usize) -> String {
        format!("lwt{}n{process}", self.number)
    }

    /// `word` is add or del: whatever the process sends to the host is lost, or not any more.
    fn lose(&self, word: &str, process: usize, host: usize) {
        ip(&format!("-n {} route {word} blackhole {}", self.space(process), self.address(host)));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for process in 0..2 {
            let _ = Command::new("ip").args(["netns", "del", &self.space(process)]).status();
        }
        let _ = Command::new("ip").args(["link", "del", &format!("lwt{}", self.number)]).status();
    }
}

/// A process under its supervisor.
struct Supervised(Child);

impl Supervised {
    fn start(net: &Net, process: usize, pipeline: &Pipeline, hosts: &str) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net.space(process), env!("CARGO_BIN_EXE_lwt"), "supervise"]);
        command.args(pipeline.arguments()).args([
            "-w",
            "2",
            "-n",
            "2",
            "-p",
            &process.to_string(),
            "-H",
            hosts,
        ]);
        Supervised(command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).spawn().unwrap())
    }

    /// The process that runs now, if one does.
    fn signal(&self, signal: &str) {
        let supervisor = self.0.id();
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
        let _ = Command::new("kill").arg(signal).args(children.split_whitespace()).status();
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let status = self.0.wait();
        if !thread::panicking() {
            assert!(status.unwrap().success(), "whoever is asked to end has not failed");
        }
    }
}

/// When which window was seen by somebody who reads whole transactions.
type Seen = Arc<Mutex<Vec<(i64, i64)>>>;

fn watch(client: &Client, topic: &str, done: Arc<AtomicBool>) -> Seen {
    let own = [("group.id", "chaos"), ("isolation.level", "read_committed"), ("fetch.wait.max.ms", "50")];
    let consumer: BaseConsumer<Context> = client.create(&own).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let seen = Seen::default();
    let ours = seen.clone();
    thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let text = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            ours.lock().unwrap().extend(completed_window(&text).map(|end_ms| (now_ms(), end_ms)));
        }
    });
    seen
}

fn wait_for_a_window(seen: &Seen, after_ms: i64) -> i64 {
    let until_ms = now_ms() + 120_000;
    loop {
        if let Some((at_ms, _)) = seen.lock().unwrap().iter().find(|(at_ms, _)| *at_ms > after_ms) {
            return *at_ms;
        }
        assert!(now_ms() < until_ms, "no window for two minutes");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Does it, and undoes what can be undone; gives when that was.
fn strike(fault: Fault, process: usize, net: &Net, processes: &[Supervised], broker: &Broker) -> i64 {
    let seconds = |n| thread::sleep(Duration::from_secs(n));
    match fault {
        Fault::Kill => processes[process].signal("-KILL"),
        Fault::Stop => {
            processes[process].signal("-STOP");
            seconds(10);
            processes[process].signal("-CONT");
        }
        Fault::Panic => {
            let peer = net.address(3 - process);
            run("ip", &["netns", "exec", &net.space(process), "ss", "-K", "dst", &peer]);
        }
        Fault::Broker => {
            broker.tell("kill");
            broker.tell("start");
        }
        Fault::CutFromBroker => {
            net.lose("add", process, 1);
            seconds(8);
            net.lose("del", process, 1);
        }
        Fault::CutFromPeer => {
            (0..2).for_each(|process| net.lose("add", process, 3 - process));
            seconds(8);
            (0..2).for_each(|process| net.lose("del", process, 3 - process));
        }
    }
    now_ms()
}

#[allow(clippy::disallowed_methods, reason = "a test is told so")]
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn chaos_changes_nothing() {
    let _alone = alone();
    let Some(net) = Net::new() else { return };
    let Some(broker) = Broker::start(&["--host", &net.address(1)]) else { return };
    let broker: &'static Broker = Box::leak(Box::new(broker));
    let (runs, seed, vms) =
        (number("CHAOS_RUNS", 6), number("CHAOS_SEED", 1), number("CHAOS_VMS", 40) as usize);
    let (client, log) = (client(broker), unique("chaos"));
    let fleet = Fleet { vms, period_ms: 1000, partitions: 4, grain: 1 };
    let windows = Windows { length_ms: 60_000, hop_ms: 1_000 };
    let pipeline = Pipeline::new(broker, &log, fleet, windows);
    let hosts = std::env::temp_dir().join(unique("lwt-hosts"));
    fs::write(&hosts, format!("{}:7801\n{}:7801\n", net.address(2), net.address(3))).unwrap();
    let (done, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let sender = fleet.send(broker, log.clone(), done.clone());
    let seen = watch(&client, pipeline.topic("events"), stop.clone());
    let start = |process| Supervised::start(&net, process, &pipeline, hosts.to_str().unwrap());
    let processes = [start(0), start(1)];
    wait_for_a_window(&seen, 0);

    let (mut rng, mut took) = (ChaCha8Rng::seed_from_u64(seed), vec![]);
    for round in 0..runs as usize {
        thread::sleep(Duration::from_millis(rng.random_range(0..4_000)));
        let (fault, process) = (FAULTS[round % FAULTS.len()], rng.random_range(0..2));
        let (struck_ms, over_ms) = (now_ms(), strike(fault, process, &net, &processes, broker));
        let next_ms = wait_for_a_window(&seen, over_ms);
        println!(
            "{fault:?} of process {process}: lasted {} ms, next result {} ms later",
            over_ms - struck_ms,
            next_ms - over_ms
        );
        took.push(next_ms - over_ms);
    }
    took.sort_unstable();
    // A quick machine is through before anything is found.
    wait("nothing is found", || pipeline.published(&client, "dependencies").first().map(drop));
    let last = pipeline.due(now_ms());
    pipeline.wait_for(&client, last);
    drop(processes);
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    stop.store(true, Ordering::Relaxed);

    let undisturbed = Pipeline::new(broker, &log, fleet, windows);
    run_to(&undisturbed, 2, &client, last);
    println!(
        "seed {seed}, {vms} VMs, {runs} faults, {} windows the same; from the end of a fault to the next result: median {} ms, longest {} ms",
        pipeline.is_as(&undisturbed, &client),
        took[took.len() / 2],
        took[took.len() - 1],
    );
}
