//! The rights in Kafka that `docker/rights` lists: with them each command works, and without any one of them it says which.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use crate::common::kafka::{Broker, broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::world::{client, now_ms};

const USER: &str = "carol";

/// A right: operation, what kind of thing, and which.
type Right = (&'static str, &'static str, &'static str);

/// What a command needs.
fn needs(command: &str) -> Vec<Right> {
    let lines = include_str!("../../docker/rights").lines();
    let of = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of = of.filter(|words| words.first() == Some(&command));
    of.map(|words| (words[1], words[2], words.get(3).copied().unwrap_or_default())).collect()
}

/// A pipeline whose topics somebody else made, and who may do what with them.
struct World {
    broker: &'static Broker,
    pipeline: Pipeline,
    log: String,
}

impl World {
    /// The name here of what has this one by default.
    fn name<'a>(&'a self, default: &'a str) -> &'a str {
        match default.strip_prefix("lwt.") {
            Some("samples") => &self.log,
            Some(topic) => self.pipeline.topic(topic),
            None if default.is_empty() => "",
            None => &self.pipeline.name,
        }
    }

    /// Gives rights, or takes them away.
    fn tell(&self, word: &str, rights: &[Right]) {
        for (operation, kind, name) in rights {
            self.broker.tell(&format!("{word} {USER} {operation} {kind} {}", self.name(name)));
        }
    }

    /// Starts a command as the user.
    fn start(&self, command: &[&str], more: &[&str]) -> Running {
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &self.broker.tls("ca.pem")),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", USER),
            ("sasl.password", "carol-secret"),
        ]
        .map(|(name, value)| format!("--set=kafka.properties.{name}={value}"));
        let mut lwt = Command::new(env!("CARGO_BIN_EXE_lwt"));
        lwt.args(command).args(self.pipeline.arguments()).args(properties);
        lwt.arg(format!("--set=kafka.brokers={}", self.broker.address("SCRAM"))).args(more);
        Running::start(lwt.current_dir(env!("CARGO_MANIFEST_DIR")))
    }

    /// With all its rights the command says something, without any of them something else.
    fn check(&self, command: &str, says: &str, start: impl Fn(&World) -> Running) {
        let rights = needs(command);
        self.tell("allow", &rights);
        start(self).says(command, &[says]);
        for right in &rights {
            self.tell("forbid", std::slice::from_ref(right));
            let what = format!("{command} without {right:?}");
            start(self).says(&what, &["may not", self.name(right.2)]);
            self.tell("allow", std::slice::from_ref(right));
        }
        self.tell("forbid", &rights);
    }
}

/// A program, and the lines that it prints.
struct Running(Child, Receiver<String>);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, (tell, lines)) = (command.spawn().unwrap(), channel());
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also = tell.clone();
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|l| tell.send(l))
        });
        thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).try_for_each(|l| also.send(l))
        });
        Running(child, lines)
    }

    /// Waits for a line with all these words; if there are none, for its end.
    fn says(mut self, what: &str, words: &[&str]) {
        if words == [""] {
            assert!(self.0.wait().unwrap().success(), "{what}");
            return;
        }
        let (until_ms, mut said) = (now_ms() + 60_000, vec![]);
        while let Ok(line) = self.1.recv_timeout(Duration::from_millis((until_ms - now_ms()).max(0) as u64)) {
            if words.iter().all(|word| line.contains(word)) {
                println!("{what}: {line}");
                return;
            }
            said.push(line);
        }
        panic!("{what}: {words:?} is not said: {said:#?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

static WINDOWS: LazyLock<Windows> = LazyLock::new(|| Windows { length_ms: 20_000, hop_ms: 1_000 });

#[test]
fn who_lacks_a_right_is_told_which() {
    let Some(broker) = broker() else { return };
    let (client, log) = (client(broker), unique("rights"));
    let fleet = Fleet { vms: 24, period_ms: 100, partitions: 2, grain: 1 };
    let world = World { broker, pipeline: Pipeline::new(broker, &log, fleet, *WINDOWS), log };
    let done = Arc::new(AtomicBool::new(false));
    let sender = fleet.send(broker, world.log.clone(), done.clone());
    world.check("run", "a window is written", |world| world.start(&["run"], &[]));
    // All of it is there to be read.
    world.pipeline.wait_for(&client, 0);
    let simulate = ["--source", "simulate", "--vms", "3", "--history", "3s", "--speed", "max"];
    world.check("collect", "messages delivered", |world| world.start(&["collect"], &simulate));
    world.check("watch", " is in ", |world| world.start(&["watch"], &["--snapshot"]));
    world.check("serve", "dashboard: http", |world| world.start(&["serve"], &[]));
    let confirm = ["confirm", "a", "b", "--who", "eve"];
    world.check("decide", "confirmed", |world| world.start(&["decide"], &confirm));
    world.check("topics-check", ": ok", |world| world.start(&["topics", "check"], &[]));
    world.check("perturb-history", "", |world| world.start(&["perturb", "history"], &[]));
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
}
