//! A machine with VMs that use half a core each, as far as anybody can tell, and whose caps are watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::kafka::unique;

/// What each VM uses, ppm of one core.
pub const USED_PPM: i64 = 500_000;

/// Of three VMs the second has a cap already, and the third must not be touched.
pub const BEFORE_PPM: [i64; 3] = [-1, 800_000, -1];

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Control groups of this machine, version 1.
    V1,
    /// A folder with the files of version 2.
    V2,
    /// A stand-in for Xen.
    Xl,
}

/// Where caps are.
#[derive(Clone)]
pub struct Caps {
    kind: Kind,
    /// Of the VMs' folders, or files.
    folder: PathBuf,
}

impl Caps {
    /// A VM's cap in ppm of one core, -1 for none; nothing if it cannot be told at this moment.
    pub fn read(&self, vm: usize) -> Option<i64> {
        let text = fs::read_to_string(self.path(vm)).ok()?;
        let (text, factor) = match self.kind {
            Kind::V1 => (text.trim(), 10),
            Kind::V2 => (text.split(' ').next()?, 10),
            Kind::Xl => (text.trim(), 10_000),
        };
        match text {
            "max" | "-1" => Some(-1),
            "0" if self.kind == Kind::Xl => Some(-1),
            number => number.parse::<i64>().ok().map(|number| number * factor),
        }
    }

    pub fn set(&self, vm: usize, ppm: i64) {
        let text = match (self.kind, ppm) {
            (Kind::V1, -1) => "-1".to_owned(),
            (Kind::V2, -1) => "max 100000\n".to_owned(),
            (Kind::Xl, -1) => "0".to_owned(),
            (Kind::V1, ppm) => (ppm / 10).to_string(),
            (Kind::V2, ppm) => format!("{} 100000\n", ppm / 10),
            (Kind::Xl, ppm) => (ppm / 10_000).to_string(),
        };
        fs::write(self.path(vm), text).unwrap();
    }

    pub fn path(&self, vm: usize) -> PathBuf {
        match self.kind {
            Kind::V1 => self.folder.join(format!("vm{vm}/cpu.cfs_quota_us")),
            Kind::V2 => self.folder.join(format!("vm{vm}/cpu.max")),
            Kind::Xl => self.folder.join((vm + 1).to_string()),
        }
    }

    pub fn all(&self) -> Vec<Option<i64>> {
        (0..BEFORE_PPM.len()).map(|vm| self.read(vm)).collect()
    }
}

/// What was seen of a cap: from when on, and what.
pub type History = Vec<(Instant, i64)>;

pub struct Machine {
    pub caps: Caps,
    pub folder: TempDir,
    /// Settings of the agent.
    pub set: Vec<String>,
    /// The longest time for which the VMs' counters stood still, ms: what they used cannot be told better than so.
    pub late_ms: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
    watch: Option<JoinHandle<Vec<History>>>,
    count: Option<JoinHandle<()>>,
}

impl Machine {
    /// Nothing where there are no control groups of ours.
    pub fn new(kind: Kind) -> Option<Machine> {
        let folder = tempfile::tempdir().unwrap();
        let (name, counters) = (unique("lwt-perturb"), folder.path().join("counters"));
        let (root, caps) = match kind {
            Kind::V1 => {
                let root = PathBuf::from("/sys/fs/cgroup/cpu");
                if let Err(error) = fs::create_dir(root.join(&name)) {
                    let hint =
                        format!("SKIPPED: no control groups of our own below {}: {error}", root.display());
                    assert!(std::env::var_os("CI").is_none(), "{hint}");
                    eprintln!("\n{hint}\n");
                    return None;
                }
                (root.clone(), Caps { kind, folder: root.join(&name) })
            }
            Kind::V2 => {
                let root = folder.path().join("root");
                (root.clone(), Caps { kind, folder: root.join(&name) })
            }
            Kind::Xl => (folder.path().into(), Caps { kind, folder: folder.path().join("xen") }),
        };
        fs::create_dir_all(&caps.folder).unwrap();
        for (vm, before_ppm) in BEFORE_PPM.into_iter().enumerate() {
            if kind != Kind::Xl {
                fs::create_dir_all(caps.folder.join(format!("vm{vm}"))).unwrap();
            }
            fs::create_dir_all(counters.join(&name).join(format!("vm{vm}"))).unwrap();
            caps.set(vm, before_ppm);
        }
        let set = match kind {
            Kind::Xl => {
                fs::write(caps.folder.join("mood"), "well").unwrap();
                let stand_in = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/perturb/xl");
                vec![
                    "perturb.actuator=credit2".into(),
                    format!("perturb.command={stand_in} {}", caps.folder.display()),
                ]
            }
            _ => vec![
                format!("perturb.root={}", root.display()),
                format!("collect.root={}", counters.display()),
                format!("collect.groups={name}/*"),
            ],
        };
        let stop = Arc::new(AtomicBool::new(false));
        let late_ms = Arc::new(AtomicI64::new(0));
        let count = (kind != Kind::Xl).then(|| count(counters.join(&name), (stop.clone(), late_ms.clone())));
        while kind != Kind::Xl && !counters.join(&name).join("vm2/cpuacct.usage").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let watch = Some(watch(caps.clone(), stop.clone()));
        Some(Machine { caps, folder, set, late_ms, stop, watch, count })
    }

    /// How a stand-in is.
    pub fn mood(&self, word: &str) {
        fs::write(self.caps.folder.join("mood.new"), word).unwrap();
        fs::rename(self.caps.folder.join("mood.new"), self.caps.folder.join("mood")).unwrap();
    }

    /// What was seen of each cap.
    pub fn end(mut self) -> Vec<History> {
        self.stop.store(true, Ordering::Relaxed);
        self.watch.take().unwrap().join().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.count.take().map(JoinHandle::join);
        if self.caps.kind == Kind::V1 {
            for vm in 0..BEFORE_PPM.len() {
                let _ = fs::remove_dir(self.caps.folder.join(format!("vm{vm}")));
            }
            let _ = fs::remove_dir(&self.caps.folder);
        }
    }
}

/// Makes every VM use half a core, in files like those of `cpuacct`.
fn count(folder: PathBuf, (stop, late_ms): (Arc<AtomicBool>, Arc<AtomicI64>)) -> JoinHandle<()> {
    let (began, mut last) = (Instant::now(), Instant::now());
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            late_ms.fetch_max(last.elapsed().as_millis() as i64, Ordering::Relaxed);
            last = Instant::now();
            let ns = began.elapsed().as_nanos() as i64 * USED_PPM / 1_000_000;
            for vm in 0..BEFORE_PPM.len() {
                let path = folder.join(format!("vm{vm}"));
                let write = |path: &Path| fs::write(path.join("new"), format!("{ns}\n"));
                // At the end the folder goes first.
                let _ = write(&path).and_then(|()| fs::rename(path.join("new"), path.join("cpuacct.usage")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Looks at every cap every 2 ms, or as often as this machine lets us.
fn watch(caps: Caps, stop: Arc<AtomicBool>) -> JoinHandle<Vec<History>> {
    std::thread::spawn(move || {
        let mut seen: Vec<History> = vec![vec![]; BEFORE_PPM.len()];
        while !stop.load(Ordering::Relaxed) {
            for (vm, history) in seen.iter_mut().enumerate() {
                // A file that is being written is empty for a moment.
                let Some(ppm) = caps.read(vm) else { continue };
                if history.last().is_none_or(|(_, last)| *last != ppm) {
                    history.push((Instant::now(), ppm));
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        for history in &mut seen {
            let last = history.last().map_or(-1, |(_, last)| *last);
            history.push((Instant::now(), last));
        }
        seen
    })
}
