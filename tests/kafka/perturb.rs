//! `lwt perturb plan` and `history` on a real broker, with a stand-in for the hosts: it sends samples of VMs of which one
//! depends on another, and does and reports what a signed command says, as an agent would.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lwt::perturb::command;
use lwt::perturb::keys::{hex, secret};
use lwt::perturb::report::{Done, Report};
use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::follow::Follower;
use serde_json::Value;

use crate::common::kafka::broker;
use crate::world::{alone, client, now_ms, produce, samples, topic};

const TURN_MS: i64 = 500;
const TICK_MS: i64 = 100;

/// Numbers without a pattern, 0 to 1.
fn noise(t: i64, vm: i64) -> f64 {
    let mut x = (t * 4 + vm) as u64;
    for _ in 0..3 {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    (x >> 40) as f64 / f64::from(1 << 24)
}

/// The host: samples every half second, and commands obeyed, until `plan` has ended.
fn host(client: &Client, topics: [&str; 2], secret_text: &str, plan: &mut Child) {
    let trusted = [secret(secret_text).unwrap().verifying_key()];
    let [samples, perturbations] = topics;
    let asked = Follower::open(client, perturbations, Some(0)).unwrap();
    let (mut commands, mut next_ms) = (Vec::<command::Command>::new(), now_ms() / TURN_MS * TURN_MS);
    while plan.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis((next_ms + TURN_MS - now_ms()).max(0) as u64));
        let mut told = vec![];
        while let Some(bytes) = asked.next(Duration::from_millis(5)).unwrap() {
            // What is no command is a report of ours, or a verdict.
            let Ok(command) = command::Command::verify(&bytes, &trusted) else { continue };
            let (serial, host, vm) = (command.serial, command.host.clone(), command.vm.clone());
            let report =
                |at_ms, done| Report { v: 1, serial, host: host.clone(), vm: vm.clone(), at_ms, done };
            told.push(report(now_ms(), Done::Accepted));
            commands.push(command);
        }
        let told: Vec<Vec<u8>> = told.iter().map(|report| serde_json::to_vec(report).unwrap()).collect();
        let mut use_ppm = [vec![], vec![], vec![]];
        for t_ms in (next_ms..next_ms + TURN_MS).step_by(TICK_MS as usize) {
            let capped = commands.iter().any(|command| command.is_on(t_ms + TICK_MS / 2));
            let web = (0.5 + noise(t_ms, 0)) * if capped { 150_000.0 } else { 300_000.0 };
            let all = [web, 0.5 * web + 50_000.0 * noise(t_ms, 1), 200_000.0 * (0.8 + 0.4 * noise(t_ms, 2))];
            use_ppm.iter_mut().zip(all).for_each(|(of_vm, ppm)| of_vm.push(ppm as u32));
        }
        next_ms += TURN_MS;
        let vms: Vec<Value> = ["web", "db", "lone"]
            .iter()
            .zip(use_ppm)
            .map(|(name, cpu_ppm)| serde_json::json!({ "name": name, "cpu_ppm": cpu_ppm }))
            .collect();
        let message =
            serde_json::json!({ "v": 1, "host": "h", "t_ms": next_ms, "period_ms": TICK_MS, "vms": vms });
        produce(client, samples, &[(0, message.to_string().as_bytes())]);
        produce(client, perturbations, &told.iter().map(|bytes| (0, &bytes[..])).collect::<Vec<_>>());
    }
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_plan_asks_and_hears_and_tells() {
    let _alone = alone();
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let compact = [("cleanup.policy", "compact")];
    let [assignments, dependencies] =
        ["assignments", "dependencies"].map(|name| topic(&client, name, 1, &compact));
    let (heard, perturbations) = (samples(&client, "heard", 1), samples(&client, "perturbations", 1));
    let held = r#"{"v":1,"window_end_ms":0,"a":"h/db","b":"h/web","strength":0.2,"q":0.01,"confidence":0.9,"lag_ms":0,"direct":null,"cause":null,"windows":3}"#;
    produce(&client, &dependencies, &[(0, held.as_bytes())]);
    let folder = tempfile::tempdir().unwrap();
    let (path, text) = (folder.path().join("key"), hex(&[7; 32]));
    std::fs::write(&path, &text).unwrap();
    let set = [
        format!("topics.samples={heard}"),
        format!("topics.assignments={assignments}"),
        format!("topics.dependencies={dependencies}"),
        format!("topics.perturbations={perturbations}"),
    ];
    let address = broker.address("PLAINTEXT");
    let start = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
        command.args(["perturb"]).args(args).args(["--brokers", address]);
        command.args(set.iter().flat_map(|pair| ["--set", pair]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // Nobody sends anything: said, not waited for.
    let nobody = said(&start(&["plan", "--dry-run"]).wait_with_output().unwrap());
    assert!(nobody.1.contains("no samples of the last 20 s"), "{nobody:?}");

    let key = path.to_str().unwrap();
    let asks = ["--ask", "web,db", "--ask", "web,lone"];
    let args = [&["plan", "--slot", "500ms", "--share", "0.5", "--key", key][..], &asks].concat();
    let began_ms = now_ms();
    // The host must have spoken before it is asked.
    let mut first = start(&["plan", "--dry-run", "--slot", "500ms"]);
    host(&client, [&heard, &perturbations], &text, &mut first);
    let dry = said(&first.wait_with_output().unwrap());
    assert!(dry.0.contains("h: h/db is capped to 50 % of what it uses, for 20 s of 40 s at most"), "{dry:?}");
    assert!(
        dry.0.contains("does h/web depend on it? (confidence 0.900, cause unknown; 1 of 2 VMs hold it)"),
        "{dry:?}"
    );
    let mut plan = start(&args);
    host(&client, [&heard, &perturbations], &text, &mut plan);
    let (out, err) = said(&plan.wait_with_output().unwrap());
    println!("{} s\n{out}{err}", (now_ms() - began_ms) / 1000);
    assert!(out.contains("h/db depends on h/web (12 blocks"), "{out} {err}");
    assert!(!out.contains("h/lone depends on"), "{out}");
    assert!(
        out.contains("h/lone does not depend on h/web") || out.contains("h/lone may depend on h/web"),
        "{out} {err}"
    );

    let history = said(&start(&["history", "--vm", "db"]).wait_with_output().unwrap()).0;
    assert_eq!(history.lines().count(), 1, "{history}");
    assert!(history.contains("h/db depends on h/web"), "{history}");
    let history = said(&start(&["history", "--format", "json"]).wait_with_output().unwrap()).0;
    let signed = history.lines().filter(|line| line.contains("signature")).count();
    let accepted = history.lines().filter(|line| line.contains("accepted")).count();
    assert!(signed >= 1 && accepted == signed, "{history}");
}
