//! `lwt run` over a real broker: killed again and again, with other numbers of workers, it publishes what one that is
//! never disturbed publishes, each window once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::world::{client, lag, now_ms};

mod mixed;
mod seen;

const FLEET: Fleet = Fleet { vms: 24, period_ms: 100, partitions: 3, grain: 1 };
const WINDOWS: Windows = Windows { length_ms: 30_000, hop_ms: 3_000 };

/// Some processes of some workers each. Those of a test that fails would go on, and end by themselves after a while.
pub fn start(pipeline: &Pipeline, processes: usize, workers: usize) -> Vec<Child> {
    // Ports that are free now; whoever takes one in between makes the test fail, not pass.
    let free: Vec<TcpListener> = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let hosts: Vec<String> = free.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
    let file = std::env::temp_dir().join(unique("lwt-hosts"));
    std::fs::write(&file, hosts.join("\n")).unwrap();
    drop(free);
    let one = |process: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.arg("run").args(pipeline.arguments()).args(["-w", &workers.to_string()]);
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
        thread::sleep(Duration::from_millis(rng.random_range(4_000..12_000)));
        end(running, kill / 2);
    }
    let running = start(&pipeline, 1, 2);
    let last = pipeline.due(now_ms()) + 2 * WINDOWS.hop_ms;
    pipeline.wait_for(&client, last);
    let lag = lag(&client, &log, &pipeline.name);
    stop(running);
    let undisturbed = Pipeline::new(broker, &log, FLEET, WINDOWS);
    let running = start(&undisturbed, 1, 4);
    undisturbed.wait_for(&client, last);
    end(running, 0);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
    // A window is said some seconds after its end, and with it how far the log has been read.
    assert!(lag.iter().all(|behind| (0..50).contains(behind)), "{lag:?}");
    println!("{} windows, 4 kills", pipeline.is_as(&undisturbed, &client));
}
