//! A program that is busy in a control group of this machine gets as much of a core as the cap says, and no less.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lwt::perturb::report::Done;

use crate::agent::{Agent, command, key, rules};
use crate::common::kafka::unique;

fn used_ns(group: &Path) -> u64 {
    fs::read_to_string(group.join("cpuacct.usage")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_busy_program_is_slowed_down_for_a_moment() {
    let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"].map(Path::new);
    let name = unique("lwt-busy");
    let [cpu, counters] = roots.map(|root| root.join(&name).join("busy"));
    if let Err(error) = [&cpu, &counters].into_iter().try_for_each(fs::create_dir_all) {
        let hint = format!("SKIPPED: no control groups of our own, version 1: {error}");
        assert!(std::env::var_os("CI").is_none(), "{hint}");
        return eprintln!("\n{hint}\n");
    }
    let script = format!(
        "echo $$ > {0}/cgroup.procs; echo $$ > {1}/cgroup.procs; while :; do :; done",
        cpu.display(),
        counters.display()
    );
    let mut busy = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    let state = tempfile::tempdir().unwrap();
    let mut set = rules(state.path());
    set.extend([format!("collect.groups={name}/*"), "perturb.allow=busy".into(), "perturb.lately=2s".into()]);
    let mut agent = Agent::start(&set);
    let mut seen = None;
    for _ in 0..40 {
        let mut command = command(0, "1111");
        command.vm = lwt::types::VmId::new("h/busy");
        agent.tell(&command.sign(&key(1)).unwrap());
        agent.listen(Duration::from_millis(200));
        let mut reports = agent.reports.iter();
        if let Some(Done::Applied { cap_ppm, used_ppm }) = reports.find_map(|report| match &report.done {
            done @ Done::Applied { .. } => Some(done.clone()),
            _ => None,
        }) {
            let before_ns = used_ns(&counters);
            agent.listen(Duration::from_millis(1_000));
            seen = Some((cap_ppm, used_ppm, used_ns(&counters) - before_ns));
            break;
        }
    }
    assert!(agent.end());
    let quota = fs::read_to_string(cpu.join("cpu.cfs_quota_us")).unwrap();
    let _ = busy.kill();
    let _ = busy.wait();
    for _ in 0..50 {
        if [&cpu, &counters].into_iter().all(|group| fs::remove_dir(group).is_ok() || !group.exists()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    roots.iter().for_each(|root| drop(fs::remove_dir(root.join(&name))));
    let (cap_ppm, used_ppm, ns) = seen.unwrap_or_else(|| panic!("{:?} {}", agent.reports, agent.said()));
    let got_ppm = ns / 1_000;
    println!("used {used_ppm} ppm, capped to {cap_ppm}, got {got_ppm}");
    assert_eq!(quota.trim(), "-1");
    assert!(
        cap_ppm.abs_diff(used_ppm / 2) <= 1
            && got_ppm < u64::from(cap_ppm) * 13 / 10
            && got_ppm > u64::from(cap_ppm) / 2
    );
}
