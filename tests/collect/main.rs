//! `lwt collect` on what this machine has: control groups, stand-ins for xentop and virsh, a real Prometheus,
//! recordings.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod cgroup;
mod fleet;
mod libvirt;
mod prometheus;
mod spool;
mod xentop;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use lwt::transport::wire::read_message;

/// Runs `lwt collect` with its messages on standard output until there are `enough`; gives these, and what it
/// said. After a minute and a half whatever there is has to do: who tests says what is missing.
pub fn collect(
    args: &[&str],
    environment: &[(&str, &str)],
    enough: impl Fn(&[String]) -> bool,
) -> (Vec<String>, String) {
    let mut child = start(&[args, &["--dry-run"]].concat(), environment);
    let (sender, lines) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut messages = vec![];
    for _ in 0..900 {
        messages.extend(lines.recv_timeout(Duration::from_millis(100)));
        if enough(&messages) {
            break;
        }
    }
    signal(&child, "TERM");
    messages.extend(lines);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    (messages, said)
}

/// How many samples of a VM there are.
pub fn count(messages: &[String], vm: &str) -> usize {
    samples(messages).get(vm).map_or(0, BTreeMap::len)
}

/// Starts `lwt collect`.
pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lwt"))
        .arg("collect")
        .args(args)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tells it to end, which it does well.
pub fn end(mut child: Child) -> (Vec<String>, String) {
    signal(&child, "TERM");
    let (mut out, mut said) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    (out.lines().map(str::to_owned).collect(), said)
}

/// Sends a signal.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Each VM's samples by the time in ms at which they end. What is told twice fails.
pub fn samples(messages: &[String]) -> BTreeMap<String, BTreeMap<u64, u64>> {
    let mut all: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    for text in messages {
        let message = read_message(text.as_bytes()).unwrap_or_else(|reason| panic!("{reason:?}: {text}"));
        for vm in &message.vms {
            let id = vm.id.as_deref().map_or_else(|| format!("{}/{}", message.host, vm.name), str::to_owned);
            let values = vm.cpu_ppm.values();
            for (at, ppm) in values.iter().enumerate() {
                let t_ms = message.t_ms - (values.len() - 1 - at) as u64 * message.period_ms;
                let twice = all.entry(id.clone()).or_default().insert(t_ms, *ppm);
                assert_eq!(twice, None, "{id} at {t_ms} ms");
            }
        }
    }
    all
}

/// The mean, in cores.
pub fn cores(samples: &BTreeMap<u64, u64>) -> f64 {
    samples.values().sum::<u64>() as f64 / samples.len().max(1) as f64 / 1e6
}

/// Whether the times follow each other without a gap.
pub fn are_whole(samples: &BTreeMap<u64, u64>, period_ms: u64) -> bool {
    let times: Vec<u64> = samples.keys().copied().collect();
    times.windows(2).all(|pair| pair[1] - pair[0] == period_ms)
        && times.iter().all(|t_ms| t_ms % period_ms == 0)
}
