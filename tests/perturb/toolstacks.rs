//! Stand-ins for xl and virsh: what is asked of them, and what they answer.

use std::fs;
use std::time::Duration;

use lwt::perturb::report::Done;

use crate::agent::{Agent, command, key, rules};
use crate::machine::{BEFORE_PPM, Kind, Machine};

#[test]
fn xen() {
    let machine = Machine::new(Kind::Xl).unwrap();
    let set = [&machine.set[..], &rules(&machine.folder.path().join("state"))[..]].concat();
    let mut agent = Agent::start(&set);
    agent.order(1, "1111").unwrap();
    let applied = agent.hear(1, |done| matches!(done, Done::Applied { .. }));
    let applied = applied.unwrap_or_else(|| panic!("{:?} {}", agent.reports, agent.said()));
    assert!(matches!(applied.done, Done::Applied { cap_ppm: 220_000..=280_000, .. }), "{applied:?}");
    agent.hear(1, |done| *done == Done::Ended).unwrap();
    assert!(agent.end(), "{}", agent.said());
    drop(agent);
    assert_eq!(machine.caps.all(), BEFORE_PPM.map(Some));
}

#[test]
fn libvirt() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, quota) = (folder.path(), folder.path().join("global_quota"));
    fs::write(&quota, "-1").unwrap();
    let stand_in = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/perturb/virsh");
    let mut set = rules(&folder.join("state"));
    set.extend([
        "perturb.actuator=libvirt".into(),
        format!("perturb.command={stand_in} {}", folder.display()),
        "perturb.allow=web".into(),
    ]);
    let mut agent = Agent::start(&set);
    let mut capped = String::new();
    for _ in 0..100 {
        let mut command = command(0, "1111");
        command.vm = lwt::types::VmId::new("6efb8ffc-1d6c-44d9-bfad-524919a56c0a");
        agent.tell(&command.sign(&key(1)).unwrap());
        for _ in 0..20 {
            agent.listen(Duration::from_millis(10));
            capped = fs::read_to_string(&quota).unwrap();
            if !capped.starts_with("-1") && !capped.is_empty() {
                break;
            }
        }
        if agent.reports.iter().any(|report| matches!(report.done, Done::Applied { .. })) {
            break;
        }
    }
    let quota_us: i64 = capped.parse().unwrap();
    assert!((22_000..=28_000).contains(&quota_us), "{quota_us} {}", agent.said());
    for _ in 0..200 {
        agent.listen(Duration::from_millis(20));
        if agent.reports.iter().any(|report| report.done == Done::Ended) {
            break;
        }
    }
    assert_eq!(fs::read_to_string(&quota).unwrap(), "-1");
    assert!(agent.end(), "{}", agent.said());
}
