//! A stand-in for xentop that replays captures in real time, dies, hangs and prints garbage.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{are_whole, collect, count, samples, start};

const UUIDS: &str = "UUID                                  ID    name
00000000-0000-0000-0000-000000000000  0    Domain-0
6efb8ffc-1d6c-44d9-bfad-524919a56c0a  1    web-a
8b020d58-9880-4651-8058-8a3dd007f8f1  2    db-a
";

/// A folder in which xentop and xl are the stand-in, with a plan for its starts.
struct Host {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Host {
    fn new(plan: &str, pace: &str) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        for name in ["xentop", "xl"] {
            std::os::unix::fs::symlink(here.join("collect/xentop"), folder.path().join(name)).unwrap();
        }
        let file = |name: &str, text: &str| {
            let path: PathBuf = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.path().display());
        let capture = here.join("data/xentop/pairs-f-d1.ts.txt").display().to_string();
        let environment = vec![
            ("PATH", path),
            ("PLAN", file("plan", plan)),
            ("XL", file("uuids", UUIDS)),
            ("CAPTURE", capture),
            ("PACE", pace.to_string()),
        ];
        Host { folder, environment }
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

const XENTOP: [&str; 4] = ["--source", "xentop", "--host", "xen1"];

#[test]
fn captures_in_real_time() {
    // Blocks 1.2 s apart.
    let host = Host::new("play", "1.2");
    let (messages, said) = collect(&XENTOP, &host.environment(), |said| count(said, "xen1/web-b") >= 5);
    let all = samples(&messages);
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert!(names.contains(&"6efb8ffc-1d6c-44d9-bfad-524919a56c0a"), "{names:?} {said}");
    assert!(
        names.contains(&"xen1/web-b") && !names.iter().any(|name| name.contains("Domain-0")),
        "{names:?}"
    );
    for (vm, samples) in &all {
        assert!(samples.len() >= 4 && are_whole(samples, 1000), "{vm}: {samples:?} {said}");
    }
    assert!(messages.iter().all(|message| message.contains("\"overhead_ppm\":")), "{messages:?}");
    drop(host.folder);
}

#[test]
fn whoever_dies_hangs_or_raves_is_started_again() {
    let host = Host::new("die hang garbage play", "1");
    let (messages, said) = collect(&XENTOP, &host.environment(), |said| count(said, "xen1/web-b") >= 5);
    for what in ["it has ended", "no block of domains for 5 s", "in 1 s", "in 2 s", "in 5 s"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let last = samples(&messages).remove("xen1/web-b").expect(&said);
    let times: Vec<u64> = last.keys().copied().collect();
    assert!(times.len() >= 3, "{times:?} {said}");
    assert!(said.contains("cannot be used"), "{said}");
}

#[test]
fn without_a_toolstack_domains_have_names() {
    let mut host = Host::new("play", "1");
    host.environment.iter_mut().filter(|(name, _)| *name == "XL").for_each(|(_, value)| value.clear());
    let (messages, said) = collect(&XENTOP, &host.environment(), |said| count(said, "xen1/web-a") >= 2);
    assert!(said.contains("xl vm-list"), "{said}");
    assert!(samples(&messages).contains_key("xen1/web-a"), "{messages:?}");
}

#[test]
fn standard_input_is_followed_to_its_end() {
    let host = Host::new("play", "0.5");
    let stand_in = host.folder.path().join("xentop").display().to_string();
    let program = env!("CARGO_BIN_EXE_lwt");
    let line =
        format!("timeout 20 {stand_in} | {program} collect --source xentop --command - --host far --dry-run");
    let mut command = std::process::Command::new("sh");
    let done = command.args(["-c", &line]).envs(host.environment()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let messages: Vec<String> = String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(samples(&messages)["far/web-a"].len() >= 3, "{messages:?}");
}

/// The program that we run ends with us.
#[test]
fn nothing_is_left_behind() {
    let host = Host::new("play", "1");
    let child = start(&[&XENTOP[..], &["--dry-run"]].concat(), &host.environment());
    let id = child.id().to_string();
    let children = || std::process::Command::new("pgrep").args(["-P", &id]).output().unwrap().stdout;
    let mut before = String::new();
    while before.is_empty() {
        std::thread::sleep(Duration::from_millis(100));
        before = String::from_utf8(children()).unwrap();
    }
    // Until it waits for what the program says.
    std::thread::sleep(Duration::from_secs(1));
    crate::end(child);
    let alive = before.split_whitespace().filter(|id| Path::new(&format!("/proc/{id}")).exists());
    assert_eq!(alive.count(), 0);
}
