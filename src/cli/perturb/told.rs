//! Where an agent's commands come from, and where its reports go.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use crate::agent::actuator::{Actuator, Seen};
use crate::agent::keeper::Clocks;
use crate::config::Config;
use crate::perturb::report::Report;
use crate::transport::kafka::client::Client;
use crate::transport::kafka::follow::Follower;
use crate::transport::kafka::publish::{Full, Publisher};
use crate::types::HostId;

/// How long the next command is waited for, and the broker asked whether it is there.
const PATIENCE: Duration = Duration::from_millis(100);
const CONTACT: Duration = Duration::from_secs(1);

/// Reports that may be on their way: a day's.
const REPORT_BYTES: usize = 16 << 20;

/// The same failure is said every so many times.
const SAY_EVERY: u32 = 60;

/// Something that an agent is told.
pub enum Event {
    /// To end.
    Stop,
    /// A command, or what somebody takes for one.
    Command(Vec<u8>),
    /// The broker is there.
    Contact,
    /// The VMs that are here, and when, ms since this machine's start.
    Seen(i64, Vec<Seen>),
    /// No more commands will come; why, if that is wrong.
    Ended(Option<anyhow::Error>),
}

/// Lists the VMs again and again, in a thread of its own: a toolstack that hangs must not hold up who lifts caps.
pub fn list(actuator: Actuator, host: HostId, clocks: Clocks, tell: SyncSender<Event>) {
    let mut failures = 0;
    thread::spawn(move || {
        loop {
            match actuator.list(&host) {
                // The counters were read just before.
                Ok(seen) => {
                    failures = 0;
                    if tell.send(Event::Seen((clocks.boot_ms)(), seen)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if failures % SAY_EVERY == 0 {
                        eprintln!("lwt: cannot list the VMs: {error}");
                    }
                    failures += 1;
                }
            }
            thread::sleep(actuator.pause());
        }
    });
}

/// Commands from standard input, a line each.
pub fn stdin(tell: SyncSender<Event>) {
    thread::spawn(move || {
        let lines = io::stdin().lock().split(b'\n').map_while(Result::ok);
        // Who is gone does not listen.
        drop(lines.map(Event::Command).try_for_each(|command| tell.send(command)));
        drop(tell.send(Event::Ended(None)));
    });
}

/// Commands from Kafka: those that are sent from now on. What was sent before is for who was there.
pub fn kafka(client: Client, topic: String, clocks: Clocks, tell: SyncSender<Event>) {
    thread::spawn(move || {
        let followed = follow(&client, &topic, clocks, &tell);
        drop(tell.send(Event::Ended(followed.err())));
    });
}

fn follow(client: &Client, topic: &str, clocks: Clocks, tell: &SyncSender<Event>) -> anyhow::Result<()> {
    client.connect()?;
    let follower = Follower::open(client, topic, None)?;
    let mut asked_ms = i64::MIN / 2;
    loop {
        if let Some(bytes) = follower.next(PATIENCE)? {
            tell.send(Event::Command(bytes))?;
        }
        let now_ms = (clocks.boot_ms)();
        if now_ms - asked_ms >= CONTACT.as_millis() as i64 {
            asked_ms = now_ms;
            if follower.is_reached(CONTACT) {
                tell.send(Event::Contact)?;
            }
        }
    }
}

/// Where reports go.
pub enum Reports<'a> {
    /// To standard output, a line each.
    Print(&'a mut (dyn Write + Send)),
    /// To the topic from which commands come, key: the VM.
    Kafka(Box<Publisher>),
}

impl Reports<'_> {
    /// To Kafka; what it does not take for long is lost: the journal has it.
    ///
    /// # Errors
    /// Settings that are wrong.
    pub fn publish(client: Client, config: &Config) -> anyhow::Result<Self> {
        let publisher = Publisher::new(client, &config.topics.perturbations, REPORT_BYTES, Full::Drop)?;
        Ok(Reports::Kafka(Box::new(publisher)))
    }

    /// Tells. Never waits, never fails: caps are to be lifted.
    pub fn tell(&mut self, reports: Vec<Report>, clocks: Clocks) {
        let now_ns = (clocks.boot_ms)() * 1_000_000;
        for report in reports {
            let Ok(text) = serde_json::to_vec(&report) else { continue };
            match self {
                Reports::Print(out) => {
                    drop(out.write_all(&text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()));
                }
                Reports::Kafka(publisher) => {
                    drop(publisher.send(report.vm.as_str().as_bytes(), text, now_ns));
                }
            }
        }
        if let Reports::Kafka(publisher) = self {
            drop(publisher.turn(now_ns));
        }
    }

    /// Waits for what is on its way.
    pub fn finish(&mut self, clocks: Clocks) {
        if let Reports::Kafka(publisher) = self {
            drop(publisher.finish((clocks.boot_ms)() * 1_000_000));
        }
    }
}

/// Signals that end others do not end a keeper: it ends when there is nothing left to put back.
///
/// # Errors
/// When signals cannot be caught.
pub fn outlive_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM]
        .into_iter()
        .try_for_each(|signal| signal_hook::flag::register(signal, flag.clone()).map(drop))
}
