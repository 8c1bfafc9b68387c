//! The agent from outside: what it takes up, what it refuses, what it tells; the commands of an operator.

use std::fs;
use std::time::Duration;

use lwt::perturb::record::Verdict;
use lwt::perturb::report::Done;
use lwt::perturb::verdict::{Judgement, Open};
use lwt::types::VmId;

use crate::agent::{Agent, command, key, rules};
use crate::common::lwt;
use crate::machine::{BEFORE_PPM, Kind, Machine};

fn settings(machine: &Machine) -> Vec<String> {
    [&machine.set[..], &rules(&machine.folder.path().join("state"))[..]].concat()
}

fn refusal(agent: &mut Agent, vm: usize, serial: u64) -> String {
    let of = |report: &lwt::perturb::report::Report| report.serial == serial;
    for _ in 0..300 {
        agent.listen(Duration::from_millis(10));
        match agent.reports.iter().find(|report| of(report)).map(|report| &report.done) {
            Some(Done::Refused { why }) => return why.clone(),
            Some(done) => panic!("VM {vm}: {done:?}"),
            None => {}
        }
    }
    panic!("VM {vm}: no answer: {}", agent.said());
}

#[test]
fn a_command_is_done_as_it_says() {
    let machine = Machine::new(Kind::V2).unwrap();
    let mut agent = Agent::start(&settings(&machine));
    let order = agent.order(0, "1011").unwrap();
    agent.hear(0, |done| *done == Done::Ended).unwrap();
    let told: Vec<(i64, Done)> = agent
        .reports
        .iter()
        .filter(|report| report.serial == order.serial)
        .map(|r| (r.at_ms, r.done.clone()))
        .collect();
    let kinds: Vec<String> = told
        .iter()
        .map(|(_, done)| serde_json::to_value(done).unwrap()["done"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["accepted", "applied", "lifted", "applied", "lifted", "ended"], "{told:?}");
    let Done::Applied { cap_ppm, used_ppm } = told[1].1 else { panic!("{told:?}") };
    assert!(cap_ppm >= used_ppm / 2 && cap_ppm <= used_ppm / 2 + 1 && used_ppm.abs_diff(500_000) < 250_000);
    // The slots begin and end when they should; a busy machine is late.
    for (told, want_ms) in told[1..5].iter().zip([0, 500, 1_000, 2_000]) {
        let late_ms = told.0 - order.start_ms - want_ms;
        assert!((-5..400).contains(&late_ms), "{late_ms} ms: {told:?}");
    }
    // Again: its serial is not above the last.
    agent.reports.clear();
    agent.tell(&order.sign(&key(1)).unwrap());
    assert!(refusal(&mut agent, 0, order.serial).contains("serial"));
    // Nor in another life.
    assert!(agent.end(), "{}", agent.said());
    let mut agent = Agent::start(&settings(&machine));
    agent.listen(Duration::from_millis(1_500));
    agent.tell(&order.sign(&key(1)).unwrap());
    assert!(refusal(&mut agent, 0, order.serial).contains("serial"));
    assert!(agent.end());
    let set = settings(&machine);
    let args: Vec<&str> =
        ["perturb", "journal"].into_iter().chain(set.iter().flat_map(|pair| ["--set", pair])).collect();
    let history = String::from_utf8(lwt(&args).stdout).unwrap();
    assert_eq!(
        (history.matches("capped to").count(), history.matches("lifted").count()),
        (2, 2),
        "{history}"
    );
}

#[test]
fn what_the_rules_do_not_allow_is_refused() {
    let machine = Machine::new(Kind::V2).unwrap();
    let mut agent = Agent::start(&settings(&machine));
    agent.order(0, "10").unwrap();
    agent.hear(0, |done| *done == Done::Ended).unwrap();
    let mut serial = crate::agent::now_ms() as u64 + 1_000_000;
    type Change = fn(&mut lwt::perturb::command::Command);
    let rows: [(usize, Change, &str); 6] = [
        (2, |_| (), "must not be capped"),
        (7, |_| (), "no such VM"),
        (0, |c| c.share = 0.39, "below the floor of 0.4"),
        (0, |c| c.code = "11111".into(), "the lease of 4000 ms allows 2000"),
        (0, |c| c.code = "10".repeat(130), "65000 are asked"),
        (0, |c| c.issued_ms -= 3_600_000, "before this host began"),
    ];
    for (vm, change, want) in rows {
        let mut command = command(vm, "10");
        serial += 1;
        command.serial = serial;
        change(&mut command);
        command.expires_ms = command.end_ms();
        agent.tell(&command.sign(&key(1)).unwrap());
        let why = refusal(&mut agent, vm, serial);
        assert!(why.contains(want), "{why}");
    }
    // What was learned, and what others did, comes on the same topic, and is no command.
    let learned = Judgement::open(Open::Noise);
    let learned = Verdict::new(VmId::new("h/vm0"), VmId::new("h/vm1"), 0.01, learned, 5);
    agent.tell(&serde_json::to_vec(&learned).unwrap());
    agent.tell(&serde_json::to_vec(&agent.reports[0].clone()).unwrap());
    agent.listen(Duration::from_millis(300));
    assert_eq!(agent.said(), "");
    // Who is not trusted is not even answered.
    agent.reports.clear();
    agent.tell(&command(0, "10").sign(&key(2)).unwrap());
    agent.listen(Duration::from_millis(300));
    assert_eq!(agent.reports, []);
    assert!(agent.said().contains("not signed with a key that is trusted"), "{}", agent.said());
    assert!(agent.end());
    // Off unless switched on.
    let mut set = settings(&machine);
    set[machine.set.len()] = "perturb.enabled=false".into();
    let mut agent = Agent::start(&set);
    let command = command(0, "10");
    agent.tell(&command.sign(&key(1)).unwrap());
    assert!(refusal(&mut agent, 0, command.serial).contains("off on this host"));
    assert!(agent.end());
    drop(agent);
    assert_eq!(machine.caps.all(), BEFORE_PPM.map(Some));
}

#[test]
fn an_operator_stops_it() {
    let machine = Machine::new(Kind::V2).unwrap();
    let set = settings(&machine);
    let operator = |what: &str| {
        let args: Vec<&str> =
            ["perturb", what].into_iter().chain(set.iter().flat_map(|pair| ["--set", pair])).collect();
        let done = lwt(&args);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let mut agent = Agent::start(&set);
    agent.order(0, "111011101110").unwrap();
    agent.hear(0, |done| matches!(done, Done::Applied { .. })).unwrap();
    let status = operator("status");
    assert!(status.contains("runs: agent") && status.contains("capped: h/vm0 to 0.2"), "{status}");
    operator("stop");
    agent.hear(0, |done| *done == Done::Ended).unwrap();
    assert_eq!(machine.caps.all(), BEFORE_PPM.map(Some));
    assert!(operator("status").contains("stop switch: on"));
    let refused = command(0, "10");
    agent.tell(&refused.sign(&key(1)).unwrap());
    assert!(refusal(&mut agent, 0, refused.serial).contains("stop switch"));
    // It holds over restarts, until it is taken off.
    assert!(agent.end());
    let mut agent = Agent::start(&set);
    agent.listen(Duration::from_millis(300));
    operator("resume");
    agent.order(1, "10").unwrap();
    assert!(agent.end());
    assert!(operator("status").contains("runs: nobody"));
    assert_eq!(machine.caps.all(), BEFORE_PPM.map(Some));
}

#[test]
fn keys_are_made_for_one_person() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let public = String::from_utf8(lwt(&["perturb", "keys", file.to_str().unwrap()]).stdout).unwrap();
    let secret = lwt::perturb::keys::secret(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(lwt::perturb::keys::public(&public).unwrap(), secret.verifying_key());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!lwt(&["perturb", "keys", file.to_str().unwrap()]).status.success(), "never written over");
}
