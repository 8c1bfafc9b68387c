//! Real programs in control groups of this machine, and everything that `lwt` does with them over a real broker: they are found
//! to work together, and whoever comes or goes is an event.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lwt::collect::cgroup::find_root;
use serde_json::Value;

use crate::common::kafka::{Broker, broker, unique};
use crate::world::{alone, client, committed, now_ms};

/// Groups of ours, and the programs of a script in them.
pub struct Programs {
    /// The folder of the groups in each hierarchy.
    pub folders: Vec<PathBuf>,
    script: Child,
}

impl Programs {
    /// With these arguments and variables, below these roots; without the right to make groups the test is skipped,
    /// loudly; where `CI` is set it fails.
    pub fn start(
        script: &str,
        (arguments, variables): (&[&str], &[(&str, &str)]),
        roots: &[PathBuf],
    ) -> Option<Programs> {
        let name = unique("lwt-programs");
        let folders: Vec<PathBuf> = roots.iter().map(|root| root.join(&name)).collect();
        if let Err(error) = folders.iter().try_for_each(fs::create_dir) {
            let hint = format!("SKIPPED: cannot make {name} below {roots:?}: {error}");
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let mut python = Command::new("python3");
        python.arg(script).args(arguments).args(&folders).envs(variables.iter().copied());
        // What it says of programs that we kill is no news.
        let script = python.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        Some(Programs { folders, script })
    }

    /// What a collector must be told to find them.
    pub fn pattern(&self) -> String {
        format!("{}/*", self.folders[0].file_name().unwrap().to_string_lossy())
    }

    /// Starts a program in a group of its own.
    pub fn add(&self, group: &str, script: &str) -> Child {
        let moves = self.folders.iter().map(|folder| {
            let group = folder.join(group);
            fs::create_dir(&group).unwrap();
            format!("echo $$ > {}/cgroup.procs; ", group.display())
        });
        let script = moves.collect::<String>() + script;
        Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Kills what runs in a group, and removes it.
    pub fn kill(&self, group: &str) {
        for group in self.folders.iter().map(|folder| folder.join(group)) {
            let gone = || {
                let running = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                running.lines().for_each(|id| drop(Command::new("kill").args(["-9", id]).status()));
                fs::remove_dir(&group).is_ok() || !group.exists()
            };
            assert!((0..100).any(|_| gone() || pause(50)), "{}", group.display());
        }
    }
}

/// Nothing, after a while.
fn pause(ms: u64) -> bool {
    thread::sleep(Duration::from_millis(ms));
    false
}

impl Drop for Programs {
    fn drop(&mut self) {
        // The end of its input ends it, and all that it started.
        drop(self.script.stdin.take());
        let _ = self.script.wait();
        for folder in &self.folders {
            let empty = || {
                let groups = fs::read_dir(folder).into_iter().flatten().flatten();
                groups
                    .filter(|group| group.path().is_dir())
                    .for_each(|group| drop(fs::remove_dir(group.path())));
                fs::remove_dir(folder).is_ok()
            };
            let _ = (0..100).any(|_| empty() || pause(50));
        }
    }
}

/// A pipeline with topics of its own, and the processes of `lwt` that work on it.
pub struct Scene {
    set: Vec<String>,
    topics: BTreeMap<&'static str, String>,
    running: Vec<Child>,
}

impl Scene {
    /// With windows of 20 s, every 4 s, of samples of 100 ms.
    pub fn new(broker: &Broker) -> Scene {
        let names = ["samples", "assignments", "dependencies", "events"];
        let names = names.into_iter().chain(["deadletter", "state", "decisions", "perturbations"]);
        let topics: BTreeMap<_, _> = names.map(|name| (name, unique(name))).collect();
        let mut set = vec![
            format!("kafka.brokers={}", broker.address("PLAINTEXT")),
            format!("kafka.pipeline={}", unique("scene")),
        ];
        set.extend(topics.iter().map(|(name, topic)| format!("topics.{name}={topic}")));
        set.extend(["period=100ms", "length=20s", "hop=4s"].map(|window| format!("window.{window}")));
        set.extend(["topics.partitions=2", "serve.listen=127.0.0.1:0"].map(String::from));
        let scene = Scene { set, topics, running: vec![] };
        let made = scene.lwt(&["topics", "create", "pipelines/datacenter.toml"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        scene
    }

    /// A command about this pipeline.
    pub fn lwt(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.args(args).args(self.set.iter().flat_map(|pair| ["--set", pair])).stdin(Stdio::null());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// The name of a topic.
    pub fn topic(&self, name: &str) -> &str {
        &self.topics[name]
    }

    /// Runs a command until the end of the test.
    pub fn run(&mut self, args: &[&str]) {
        let child = self.lwt(args).spawn().unwrap();
        self.running.push(child);
    }

    /// Everything that `lwt watch` tells from now on, event by event.
    pub fn watch(&mut self) -> Arc<Mutex<Vec<Value>>> {
        let mut child = self.lwt(&["watch", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        self.running.push(child);
        let all = Arc::new(Mutex::new(vec![]));
        let into = all.clone();
        thread::spawn(move || {
            lines.for_each(|line| into.lock().unwrap().push(serde_json::from_str(&line).unwrap()))
        });
        all
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.running {
            let id = child.id().to_string();
            let _ = Command::new("kill").arg(id).status();
            let _ = child.wait();
        }
    }
}

/// Waits for at most so long until it holds; gives how long it took, ms.
pub fn wait(what: &str, most_ms: i64, holds: impl Fn() -> bool) -> i64 {
    let began_ms = now_ms();
    while !holds() {
        assert!(now_ms() < began_ms + most_ms, "{what}");
        pause(200);
    }
    now_ms() - began_ms
}

/// The ensembles that are the sum of what `lwt watch` told, as sets of names.
fn ensembles(events: &[Value]) -> BTreeSet<BTreeSet<String>> {
    let mut of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in events {
        let data = &event["data"];
        let (Some(vm), Some(ensemble)) = (data["vm"].as_str(), data["ensemble"].as_str()) else { continue };
        let (members, name) = (of.entry(ensemble.into()).or_default(), vm.rsplit('/').next().unwrap());
        match event["type"].as_str() {
            Some("lwt.ensemble.joined") => drop(members.insert(name.into())),
            Some("lwt.ensemble.left") => drop(members.remove(name)),
            _ => {}
        }
    }
    // Who works alone is found to depend on itself, counted by the other version.
    of.into_values().filter(|members| members.len() > 1).collect()
}

/// Every hierarchy that counts CPU time, by its version: its programs' host.
fn roots() -> Vec<(&'static str, PathBuf)> {
    let two = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let two = two.into_iter().find(|root| root.join("cgroup.controllers").exists());
    let one = find_root().ok().filter(|root| Some(root) != two.as_ref());
    one.map(|root| ("v1", root)).into_iter().chain(two.map(|root| ("v2", root))).collect()
}

#[test]
fn programs_in_control_groups_are_found_to_work_together() {
    let _alone = alone();
    let Some(broker) = broker() else { return };
    let (client, roots) = (client(broker), roots());
    let folders: Vec<PathBuf> = roots.iter().map(|(_, root)| root.clone()).collect();
    let Some(programs) = Programs::start("tests/kafka/load.py", (&[], &[]), &folders) else { return };
    let mut scene = Scene::new(broker);
    let (events, pattern) = (scene.watch(), programs.pattern());
    // The same programs are counted by both versions, as if on two hosts.
    for (host, root) in &roots {
        let root = root.display().to_string();
        let own = ["collect", "--source", "cgroup", "--root", &root, "--groups", &pattern, "--host", host];
        scene.run(&[&own[..], &["--spool", "none"]].concat());
    }
    scene.run(&["run", "pipelines/datacenter.toml"]);
    let pair = |name: &str| BTreeSet::from([format!("{name}-back"), format!("{name}-front")]);
    let want = BTreeSet::from(["shop", "wiki", "mail"].map(pair));
    let told = |kind: &str, vm: &str, after: usize| {
        let events = events.lock().unwrap();
        let of = |host: &str| {
            let vm = format!("{host}/{vm}");
            events[after..].iter().any(|event| event["type"] == kind && event["data"]["vm"] == vm.as_str())
        };
        roots.iter().all(|(host, _)| of(host))
    };
    let found_ms = wait("the services are not found", 120_000, || ensembles(&events.lock().unwrap()) == want);
    let before = events.lock().unwrap().len();
    let mut late =
        programs.add("late", "while :; do i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; sleep 0.3; done");
    let added_ms = wait("nobody tells of who came", 60_000, || told("lwt.vm.appeared", "late", before));
    let before = events.lock().unwrap().len();
    programs.kill("mail-back");
    let left_ms =
        wait("nobody tells of who is left alone", 90_000, || told("lwt.ensemble.left", "mail-front", before));
    let gone_ms =
        wait("nobody tells of who went", 60_000, || told("lwt.vm.gone", "mail-back", before)) + left_ms;
    println!(
        "on {} hosts: found after {found_ms} ms, who came after {added_ms}, who is left alone after {left_ms}, who went after {gone_ms}",
        roots.len()
    );
    programs.kill("late");
    late.wait().unwrap();
    assert_eq!(committed(&client, scene.topic("deadletter")), []);
}
