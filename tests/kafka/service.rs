//! `lwt run` over a real broker: killed again and again, with other numbers of workers and partitions, it publishes what one
//! that is never disturbed publishes, each window once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lwt::transport::kafka::client::Client;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::world::{alone, client, grow, lag, now_ms};

mod mixed;
pub mod seen;

const FLEET: Fleet = Fleet { vms: 24, period_ms: 100, partitions: 3, grain: 1 };
const WINDOWS: Windows = Windows { length_ms: 30_000, hop_ms: 3_000 };

/// Some processes of some workers each. Those of a test that fails would go on, and end by themselves after a while.
pub fn start(pipeline: &Pipeline, processes: usize, workers: usize) -> Vec<Child> {
    start_with(pipeline, (processes, workers), &[])
}

/// The same, with more settings.
fn start_with(pipeline: &Pipeline, (processes, workers): (usize, usize), more: &[&str]) -> Vec<Child> {
    // Ports that are free now; whoever takes one in between makes the test fail, not pass.
    let free: Vec<TcpListener> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let hosts: Vec<String> = free.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
    let file = std::env::temp_dir().join(unique("lwt-hosts"));
    std::fs::write(&file, hosts.join("\n")).unwrap();
    drop(free);
    let one = |process: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.arg("run").args(pipeline.arguments()).args(more).args(["-w", &workers.to_string()]);
        if processes > 1 {
            command.args(["-n", &processes.to_string(), "-p", &process.to_string(), "-H"]).arg(&file);
        }
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).spawn().unwrap()
    };
    (0..processes).map(one).collect()
}

/// Kills one of the processes (SIGKILL): the others end by themselves.
pub fn end(mut processes: Vec<Child>, which: usize) {
    let which = which % processes.len();
    processes[which].kill().unwrap();
    let until_ms = now_ms() + 10_000;
    while processes.iter_mut().any(|process| process.try_wait().unwrap().is_none()) {
        assert!(now_ms() < until_ms, "a process goes on without its peer");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs one process, which nobody disturbs, until the window that ends at `last` is completed.
pub fn run_to(pipeline: &Pipeline, workers: usize, client: &Client, last: i64) {
    let running = start(pipeline, 1, workers);
    pipeline.wait_for(client, last);
    end(running, 0);
}

/// Asks them to end (SIGTERM): they do so at once, and have not failed.
pub fn stop(processes: Vec<Child>) {
    for mut process in processes {
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let until_ms = now_ms() + 3_000;
        let status = loop {
            assert!(now_ms() < until_ms, "it does not end");
            match process.try_wait().unwrap() {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        assert!(status.success(), "{status}");
    }
}

#[test]
fn whoever_is_killed_goes_on_as_if_nothing_had_happened() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let log = unique("fleet");
    let pipeline = Pipeline::new(broker, &log, FLEET, WINDOWS);
    let done = Arc::new(AtomicBool::new(false));
    let fleet = FLEET.send(broker, log.clone(), done.clone());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (kill, (processes, workers)) in [(1, 2), (2, 2), (1, 3), (2, 1)].into_iter().enumerate() {
        let running = start(&pipeline, processes, workers);
        if kill == 0 {
            pipeline.wait_for(&client, pipeline.due(now_ms()));
        }
        if kill == 2 {
            // Whoever comes later finds it there from the beginning.
            grow(&client, &log, FLEET.partitions + 1);
        }
        thread::sleep(Duration::from_millis(rng.random_range(4_000..12_000)));
        end(running, kill / 2);
    }
    let running = start(&pipeline, 1, 2);
    let last = pipeline.due(now_ms()) + 2 * WINDOWS.hop_ms;
    pipeline.wait_for(&client, last);
    let lag = lag(&client, &log, &pipeline.name);
    stop(running);
    let undisturbed = Pipeline::new(broker, &log, FLEET, WINDOWS);
    run_to(&undisturbed, 4, &client, last);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
    // A window is said some seconds after its end, and with it how far the log has been read.
    assert!(lag.iter().all(|behind| (0..50).contains(behind)), "{lag:?}");
    println!("{} windows, 4 kills", pipeline.is_as(&undisturbed, &client));
}

/// A process that hangs keeps its connections: the other must find out by itself.
#[test]
fn whoever_stands_still_because_of_another_ends() {
    let _alone = alone();
    let Some(broker) = broker() else { return };
    let (client, log, done) = (client(broker), unique("still"), Arc::new(AtomicBool::new(false)));
    let pipeline = Pipeline::new(broker, &log, FLEET, WINDOWS);
    let fleet = FLEET.send(broker, log, done.clone());
    let mut running = start_with(&pipeline, (2, 1), &["--set", "engine.stall=4s"]);
    pipeline.wait_for(&client, pipeline.due(now_ms()));
    let hung = rustix::process::Pid::from_child(&running[1]);
    rustix::process::kill_process(hung, rustix::process::Signal::STOP).unwrap();
    let (stopped_ms, status) = (now_ms(), running[0].wait().unwrap());
    let took_ms = now_ms() - stopped_ms;
    println!("ended {took_ms} ms after the other hung");
    assert!(!status.success() && took_ms < 30_000, "{status} {took_ms}");
    end(running, 1);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
}
