//! Disks that are full. A broker whose disk is full ends; what it is asked waits, and nothing is lost or said twice. A
//! collector whose spool has no room says so, loses messages, and goes on.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::kafka::{Broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::{end, run_to, start};
use crate::world::{client, committed, now_ms, samples};

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    /// Without root there is none: that is said loudly, and where `CI` is set it is a failure.
    fn new(size: &str) -> Option<Disk> {
        let path = std::env::temp_dir().join(unique("lwt-disk"));
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "lwt"]).arg(&path);
        if !mount.output().is_ok_and(|done| done.status.success()) {
            let hint = "SKIPPED: no disk to fill without root, who may mount one";
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        Some(Disk(path))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join("rubbish")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("rubbish")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still writes there may do so: it goes when nobody does.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_broker_whose_disk_is_full_is_waited_for() {
    let Some(disk) = Disk::new("200m") else { return };
    let folder = format!("log.dirs={}/data", disk.0.display());
    let Some(broker) = Broker::start(&[&folder]) else { return };
    let broker: &'static Broker = Box::leak(Box::new(broker));
    let (client, log) = (client(broker), unique("full"));
    let fleet = Fleet { vms: 24, period_ms: 100, partitions: 2, grain: 1 };
    let windows = Windows { length_ms: 30_000, hop_ms: 1_000 };
    let pipeline = Pipeline::new(broker, &log, fleet, windows);
    let done = Arc::new(AtomicBool::new(false));
    let sender = fleet.send(broker, log.clone(), done.clone());
    let mut running = start(&pipeline, 1, 2);
    // Until there are dependencies.
    let judged_ms = windows.length_ms + 5_000;
    pipeline.wait_for(&client, pipeline.due(now_ms() + judged_ms));
    let full_ms = now_ms();
    disk.fill();
    // Shorter than a window: of one in which nobody said anything nothing is said.
    thread::sleep(Duration::from_secs(8));
    assert!(running[0].try_wait().unwrap().is_none(), "it waits");
    disk.free();
    // It has ended by itself; if not, it would not write to this disk again.
    broker.tell("kill");
    broker.tell("start");
    let back_ms = now_ms();
    let last = pipeline.due(back_ms + judged_ms);
    pipeline.wait_for(&client, last);
    println!("full for {} ms, caught up {} ms after", back_ms - full_ms, now_ms() - back_ms);
    let before = pipeline.windows(&client);
    assert!(before.windows(2).all(|two| two[1] - two[0] == windows.hop_ms), "{before:?}");
    assert!(running[0].try_wait().unwrap().is_none(), "it was never started again");
    end(running, 0);
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let undisturbed = Pipeline::new(broker, &log, fleet, windows);
    run_to(&undisturbed, 2, &client, last);
    println!("{} windows the same", pipeline.is_as(&undisturbed, &client));
}

#[test]
fn a_spool_whose_disk_is_full_costs_messages_but_not_the_collector() {
    let Some(disk) = Disk::new("64k") else { return };
    let Some(broker) = Broker::start(&[]) else { return };
    let client = client(&broker);
    let topic = samples(&client, "full", 1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
    command.args(["collect", "--source", "simulate", "--vms", "60", "--period", "100ms", "--spool"]);
    command.arg(disk.0.join("spool")).args(["--brokers", broker.address("PLAINTEXT")]);
    command.arg(format!("--set=topics.samples={topic}"));
    let mut collector = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(collector.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = thread::spawn(move || lines.inspect(|line| println!("{line}")).collect::<Vec<_>>());
    thread::sleep(Duration::from_secs(4));
    broker.tell("kill");
    // Two hosts of 30 VMs, ten values each: some 6 kB a second.
    thread::sleep(Duration::from_secs(25));
    assert!(collector.try_wait().unwrap().is_none(), "it goes on");
    broker.tell("start");
    let back_ms = now_ms();
    thread::sleep(Duration::from_secs(8));
    assert!(Command::new("kill").arg(collector.id().to_string()).status().unwrap().success());
    assert!(collector.wait().unwrap().success());
    let said = said.join().unwrap();
    assert!(said.iter().any(|line| line.contains("spool") && line.contains("No space left")), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("messages lost")), "{said:#?}");
    let last: i64 = committed(&client, &topic)
        .iter()
        .filter_map(|(_, _, value)| serde_json::from_slice::<serde_json::Value>(value.as_ref()?).ok())
        .filter_map(|message| message["t_ms"].as_i64())
        .max()
        .unwrap();
    assert!(last > back_ms + 3_000, "it delivers again");
}
