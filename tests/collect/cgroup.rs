//! Control groups of this machine, with real programs in them. Needs root; says so where it is not.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lwt::collect::cgroup::{find_root, usage_ns};

use crate::common::kafka::unique;
use crate::{are_whole, cores, end, samples, start};

/// A folder of control groups of ours, removed at the end with all that runs in it.
pub struct Tree {
    root: PathBuf,
    name: String,
    programs: Vec<Child>,
}

impl Tree {
    pub fn new(root: &Path) -> Option<Tree> {
        let name = unique("lwt-test");
        if let Err(error) = fs::create_dir(root.join(&name)) {
            let hint = format!("SKIPPED: no control groups of our own below {}: {error}", root.display());
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        Some(Tree { root: root.into(), name, programs: vec![] })
    }

    pub fn group(&self, name: &str) -> PathBuf {
        let path = self.root.join(&self.name).join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs a shell's script in a group.
    pub fn run(&mut self, group: &str, script: &str) {
        let path = self.group(group).join("cgroup.procs");
        let script = format!("echo $$ > {}; {script}", path.display());
        let program =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.programs.push(program.unwrap());
    }

    pub fn pattern(&self) -> String {
        format!("{}/*", self.name)
    }

    pub fn remove(&self, name: &str) {
        let path = self.root.join(&self.name).join(name);
        // Nothing may be left running, and the dead leave a little later.
        let left = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        left.lines().for_each(|id| drop(Command::new("kill").args(["-9", id]).status()));
        for _ in 0..100 {
            if fs::remove_dir(&path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        let groups = fs::read_dir(self.root.join(&self.name)).into_iter().flatten().flatten();
        for group in groups.filter(|group| group.path().is_dir()) {
            self.remove(&group.file_name().to_string_lossy());
        }
        let _ = fs::remove_dir(self.root.join(&self.name));
    }
}

/// The CPU seconds that the kernel counted for a group.
fn used_s(group: &Path) -> f64 {
    let ns = match fs::read_to_string(group.join("cpuacct.usage")) {
        Ok(text) => text.trim().parse().unwrap(),
        Err(_) => usage_ns(&fs::read(group.join("cpu.stat")).unwrap()).unwrap(),
    };
    ns as f64 / 1e9
}

/// What a busy shell uses is what the kernel says it used.
fn check(root: &Path, period: &str, period_ms: u64) {
    let Some(mut tree) = Tree::new(root) else { return };
    tree.run("busy", "while :; do :; done");
    tree.run("idle", "exec sleep 60");
    let root = root.display().to_string();
    let args = [
        "--source",
        "cgroup",
        "--root",
        &root,
        "--groups",
        &tree.pattern(),
        "--host",
        "h",
        "--period",
        period,
    ];
    let child = start(&[&args[..], &["--dry-run"]].concat(), &[]);
    std::thread::sleep(Duration::from_millis(1500));
    tree.run("late", "exec sleep 60");
    std::thread::sleep(Duration::from_millis(3000));
    let (messages, said) = end(child);
    let all = samples(&messages);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["h/busy", "h/idle", "h/late"], "{said}");
    let (busy, idle, late) = (&all["h/busy"], &all["h/idle"], &all["h/late"]);
    // What was told is what the kernel counted, but for the moments before and after.
    let used_s = used_s(&tree.group("busy"));
    let told_s = cores(busy) * (busy.len() as u64 * period_ms) as f64 / 1000.0;
    assert!(told_s < used_s + 0.01 && told_s > 0.5 * used_s, "{told_s} {used_s}");
    assert!(cores(idle) < 0.2 * cores(busy), "{} {}", cores(idle), cores(busy));
    assert!(late.len() as u64 * period_ms > 1000 && late.len() < busy.len(), "{}", late.len());
    assert!(are_whole(busy, period_ms) || said.contains("busy"), "{busy:?} {said}");
    assert!(busy.len() as u64 * period_ms >= 3_000, "{}", busy.len());
}

#[test]
fn version_1() {
    let Ok(root) = find_root() else { return };
    check(&root, "100ms", 100);
    check(&root, "10ms", 10);
}

/// Where version 2 is mounted, it counts without its cpu controller, too.
#[test]
fn version_2() {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new) {
        if root.join("cgroup.controllers").exists() {
            return check(root, "100ms", 100);
        }
    }
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: no version 2 of the control groups here\n");
}

#[test]
fn a_group_that_goes_and_comes_again_begins_anew() {
    let Ok(root) = find_root() else { return };
    let Some(mut tree) = Tree::new(&root) else { return };
    let (stays, goes) = (tree.group("stays"), tree.group("goes"));
    tree.run("stays", "while :; do sleep 0.02; done");
    let args = ["--source", "cgroup", "--groups", &tree.pattern(), "--host", "h", "--dry-run"];
    let child = start(&args, &[]);
    std::thread::sleep(Duration::from_millis(1800));
    fs::remove_dir(&goes).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    tree.group("goes");
    std::thread::sleep(Duration::from_millis(2500));
    let (messages, said) = end(child);
    let all = samples(&messages);
    let (whole, parts) = (&all["h/stays"], &all["h/goes"]);
    assert!(stays.exists() && are_whole(whole, 100), "{whole:?} {said}");
    assert!(!are_whole(parts, 100) && parts.len() > 15 && parts.len() < whole.len() - 8, "{parts:?}");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    for (args, want) in [
        (vec!["--source", "cgroup", "--root", &root, "--dry-run"], "not the root of control groups"),
        (vec!["--source", "cgroup", "--groups", "a//b", "--dry-run"], "collect.groups: `a//b`"),
        (vec!["--source", "cgroup", "--period", "9ms", "--dry-run"], "collect.period: `9ms` is not between"),
        (vec!["--source", "hyperv", "--dry-run"], "there is no source `hyperv`"),
        (vec!["--source", "cgroup", "--spool", "/proc/no", "--host", "h"], "say another folder with --spool"),
        (vec!["--source", "simulate", "--speed", "max", "--dry-run"], "needs --history"),
        (vec!["--source", "libvirt", "--command", "/no/virsh", "--dry-run"], "cannot start /no/virsh"),
    ] {
        let done = crate::common::lwt(&[&["collect"], &args[..]].concat());
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.contains(want), "{args:?}: {said}");
    }
    let args = ["--source", "cgroup", "--groups", "no-such-group/*", "--host", "h", "--dry-run"];
    let child = start(&args, &[]);
    std::thread::sleep(Duration::from_millis(2000));
    let (messages, said) = end(child);
    assert!(messages.is_empty() && said.contains("0 control groups below"), "{said}");
}
