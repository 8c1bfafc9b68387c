//! `lwt perturb agent` on a real broker: commands come from the topic, reports go there, and when the broker is away
//! everything is lifted.

use std::fs;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use lwt::perturb::command::Command;
use lwt::perturb::keys::hex;
use lwt::perturb::report::{Done, Report};
use lwt::transport::kafka::client::Client;
use lwt::types::{HostId, VmId};

use crate::common::kafka::Broker;
use crate::world::{alone, client, committed, now_ms, produce, topic};

fn reports(client: &Client, topic: &str) -> Vec<Report> {
    let all = committed(client, topic).into_iter();
    all.filter_map(|(_, key, value)| serde_json::from_slice(&value?).ok().map(|report: Report| (key, report)))
        .inspect(|(key, report)| assert_eq!(key, report.vm.as_str()))
        .map(|(_, report)| report)
        .collect()
}

/// A folder with the files of one control group, version 2, whose VM uses half a core.
fn folder(root: &Path) -> std::path::PathBuf {
    let group = root.join("root/t/web");
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join("cpu.max"), "max 100000\n").unwrap();
    fs::write(group.join("cpu.stat"), "usage_usec 0\n").unwrap();
    let (stat, began_ms) = (group.clone(), now_ms());
    std::thread::spawn(move || {
        loop {
            let text = format!("usage_usec {}\n", (now_ms() - began_ms) * 500);
            // It ends with the folder.
            if fs::write(stat.join("new"), text)
                .and_then(|()| fs::rename(stat.join("new"), stat.join("cpu.stat")))
                .is_err()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    group.join("cpu.max")
}

fn command(key: &SigningKey, code: &str) -> Vec<u8> {
    let now_ms = now_ms();
    let (slot_ms, start_ms) = (500, now_ms + 200);
    let command = Command {
        v: 1,
        serial: now_ms as u64,
        host: HostId::new("h"),
        vm: VmId::new("h/web"),
        start_ms,
        slot_ms,
        code: code.into(),
        share: 0.5,
        issued_ms: now_ms,
        expires_ms: start_ms + code.len() as i64 * slot_ms as i64,
    };
    command.sign(key).unwrap()
}

fn agent(root: &Path, broker: &Broker, topic: &str, key: &SigningKey) -> Child {
    let own = [
        format!("kafka.brokers={}", broker.address("PLAINTEXT")),
        format!("topics.perturbations={topic}"),
        format!("perturb.root={}", root.join("root").display()),
        format!("collect.root={}", root.join("root").display()),
        format!("perturb.state={}", root.join("state").display()),
        format!("perturb.trusted={}", hex(key.verifying_key().as_bytes())),
    ];
    let rules = ["enabled=true", "allow=web", "lease=3s", "lately=1s"].map(|rule| format!("perturb.{rule}"));
    let rest = ["collect.groups=t/*", "collect.host=h"].map(String::from);
    let set: Vec<String> = own.into_iter().chain(rules).chain(rest).collect();
    Program::new(env!("CARGO_BIN_EXE_lwt"))
        .args(["perturb", "agent"])
        .args(set.iter().flat_map(|pair| ["--set", pair]))
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let until_ms = now_ms() + 60_000;
    while !holds() {
        assert!(now_ms() < until_ms, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_broker_that_is_away_lifts_everything() {
    let _alone = alone();
    let Some(broker) = Broker::start(&[]) else { return };
    let client = client(&broker);
    let topic = topic(&client, "perturbations", 1, &[]);
    let root = tempfile::tempdir().unwrap();
    let (root, key) = (root.path(), SigningKey::from_bytes(&[5; 32]));
    let cap = folder(root);
    let read = || fs::read_to_string(&cap).unwrap_or_default();
    // What was sent before is for who was there.
    produce(&client, &topic, &[(0, &command(&key, "1101"))]);
    let mut agent = agent(root, &broker, &topic, &key);
    let code = "110".repeat(60);
    wait("no command is taken", || {
        produce(
            &client,
            &topic,
            &[
                (0, &command(&key, &code)),
                (0, b"rubbish"),
                (0, &command(&SigningKey::from_bytes(&[6; 32]), "1")),
            ],
        );
        std::thread::sleep(Duration::from_millis(700));
        reports(&client, &topic).iter().any(|report| matches!(report.done, Done::Applied { .. }))
    });
    wait("it is not capped", || read().starts_with('2'));
    let killed_ms = now_ms();
    broker.tell("kill");
    wait("it is still capped", || {
        (0..30).all(|_| {
            std::thread::sleep(Duration::from_millis(60));
            read().starts_with("max")
        })
    });
    let took_ms = now_ms() - killed_ms - 1_800;
    println!("lifted for good {took_ms} ms after the broker was killed");
    assert!(took_ms < 12_000, "{took_ms}");
    broker.tell("start");
    let ended = |report: &Report| report.done == Done::Ended;
    wait("nothing is told of it", || reports(&client, &topic).iter().any(ended));
    // It goes on when the broker is back.
    let before = reports(&client, &topic).len();
    wait("no command is taken again", || {
        produce(&client, &topic, &[(0, &command(&key, "10"))]);
        std::thread::sleep(Duration::from_millis(700));
        reports(&client, &topic)[before..].iter().any(|report| report.done == Done::Accepted)
    });
    assert!(Program::new("kill").arg(agent.id().to_string()).status().unwrap().success());
    assert!(agent.wait().unwrap().success());
    assert_eq!(read().trim(), "max 100000");
}
