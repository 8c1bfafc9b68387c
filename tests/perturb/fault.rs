//! One run with one fault, all of it from a seed: what is asked, what goes wrong, and when.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lwt::agent::store::look;
use lwt::perturb::command::Command;
use lwt::perturb::journal::Entry;
use lwt::perturb::report::Done;

use crate::agent::{Agent, LEASE, command, is_there, key, now_ms, rules, signal};
use crate::machine::{BEFORE_PPM, History, Kind, Machine, USED_PPM};

/// Counters that stand still for so long make a VM that uses half a core look like one that rests.
const LATE_MS: i64 = 500;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    Nothing,
    Term,
    HangUp,
    StopSwitch,
    KillAgent,
    KillKeeper,
    KillBoth,
    /// At the so-and-so-many-th system call of some kind.
    KillAtCall,
    FreezeAgent,
    FreezeKeeper,
    FreezeKeeperKillAgent,
    FreezeBothThenKill,
    FullDisk,
    /// One copy of the journal ends at any byte, and nobody is left who knew.
    Truncate,
    Clock,
    ActuatorFails,
    ActuatorHangs,
    /// It acts, when nobody waits for it any more.
    ActuatorLate,
    Foreign,
}

use Fault::*;

/// On control groups, real or not.
pub const OF_GROUPS: [Fault; 16] = [
    Nothing,
    Term,
    HangUp,
    StopSwitch,
    KillAgent,
    KillKeeper,
    KillBoth,
    KillAtCall,
    FreezeAgent,
    FreezeKeeper,
    FreezeKeeperKillAgent,
    FreezeBothThenKill,
    FullDisk,
    Truncate,
    Clock,
    Foreign,
];

/// On a toolstack.
pub const OF_TOOLSTACKS: [Fault; 6] =
    [ActuatorFails, ActuatorHangs, ActuatorLate, KillAgent, KillBoth, FreezeAgent];

/// A generator of numbers (xorshift): a seed makes a run.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn ms(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    /// A code that begins with `1`, with at most three in a row: 1.5 s.
    fn code(&mut self) -> String {
        let mut code = String::from("1");
        while code.len() < 12 {
            let full = code.ends_with("111");
            code.push(if !full && self.below(2) == 1 { '1' } else { '0' });
        }
        code
    }
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Why it shows nothing, if nothing was done to harm: a machine so busy that an agent is taken for one that hangs.
    pub vain: Option<String>,
    /// How often a cap was seen to begin.
    pub caps: usize,
    /// The longest time that one was seen.
    pub longest: Duration,
}

/// A disk that can be full.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path) -> Disk {
        fs::create_dir_all(at).unwrap();
        let mounted =
            Program::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "lwt-test"]).arg(at).status();
        assert!(mounted.unwrap().success());
        Disk(at.into())
    }

    fn fill(&self, leave_bytes: usize) {
        // Page by page, until there is no more; then a little less.
        let path = self.0.join("filler");
        let _ = fs::write(&path, vec![0; 1 << 20]);
        let full = fs::metadata(&path).map_or(0, |file| file.len());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(full.saturating_sub(leave_bytes as u64)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Program::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs it, and checks what must hold after every run.
pub fn run(kind: Kind, fault: Fault, seed: u64) -> Option<Outcome> {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let machine = Machine::new(kind)?;
    let state = machine.folder.path().join("state");
    let disk = (fault == FullDisk).then(|| Disk::new(&state));
    let clock = machine.folder.path().join("clock");
    let set: Vec<String> = [&machine.set[..], &rules(&state)[..]].concat();
    let mut agent = start(fault, &mut draw, &set, &clock);
    let mut foreign = None;
    let began = Instant::now();
    let first = agent.order(0, &draw.code()).is_some();
    // Where it lives no more later, its keeper may be at work.
    let keeper = agent.keeper();
    let second = agent.order(1, &draw.code()).is_some();
    bad_commands(&mut agent, &mut draw);
    agent.listen(draw.ms(4_000));
    harm(fault, &mut agent, &mut draw, (&machine, disk.as_ref(), &state, &clock, &mut foreign));
    let what = format!(
        "{kind:?} {fault:?} seed {seed}: {:?} {:?}\n{}",
        agent.reports,
        began.elapsed(),
        agent.said()
    );
    // An agent that is killed at its first steps accepts nothing; one whose toolstack is slow, on a machine that is busy,
    // may have been taken for one that hangs.
    let done = fault == KillAtCall || first && (second || kind == Kind::Xl);
    let settled = settle(fault, &mut agent, &machine, (&set, keeper));
    let want: Vec<Option<i64>> = (0..3)
        .map(|vm| Some(foreign.filter(|(of, _)| *of == vm).map_or(BEFORE_PPM[vm], |(_, ppm)| ppm)))
        .collect();
    assert_eq!(machine.caps.all(), want, "{what}\nat the end: {settled}");
    for report in &agent.reports {
        let bad = report.serial % 10 == 7 || !["h/vm0", "h/vm1"].contains(&report.vm.as_str());
        assert!(!bad || matches!(report.done, Done::Refused { .. }), "{report:?} {what}");
    }
    let (announced, unlike) = announced(&state);
    // The counters of a stand-in that was not let run are not what it says.
    let late_ms = machine.late_ms.load(Ordering::Relaxed);
    assert!(unlike.is_none() || late_ms > LATE_MS, "late by {late_ms} ms at most: {unlike:?} {what}");
    let done = done && unlike.is_none();
    drop((agent, disk));
    let both_dead = matches!(fault, KillBoth | Truncate | FreezeBothThenKill | FreezeKeeperKillAgent);
    let unable = matches!(fault, ActuatorFails | ActuatorHangs | ActuatorLate);
    let checked = check(&machine.end(), &announced, foreign, both_dead || unable);
    let outcome = checked.unwrap_or_else(|wrong| panic!("{wrong}: {what}\nat the end: {settled}"));
    Some(Outcome { vain: (!done).then_some(what), ..outcome })
}

fn start(fault: Fault, draw: &mut Draw, set: &[String], clock: &Path) -> Agent {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<String>>();
    match fault {
        KillAtCall => {
            // Reading, opening, writing, syncing: every step of a cap is one of these.
            let calls = [
                ("openat", 250),
                ("write", 120),
                ("fdatasync", 24),
                ("read", 150),
                ("flock", 2),
                ("clone3", 3),
            ];
            let (call, most) = calls[draw.below(6) as usize];
            let inject = format!("inject={call}:signal=KILL:when={}", 1 + draw.below(most));
            Agent::start_with(
                &words(&["strace", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]),
                &[],
                set,
            )
        }
        Clock => {
            fs::write(clock, "+0").unwrap();
            let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
            assert!(Path::new(library).exists(), "apt-get install faketime");
            let environment = [
                ("LD_PRELOAD", PathBuf::from(library)),
                ("FAKETIME_TIMESTAMP_FILE", clock.into()),
                ("FAKETIME_NO_CACHE", "1".into()),
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ];
            Agent::start_with(&[], &environment, set)
        }
        _ => Agent::start(set),
    }
}

/// Commands that must not be obeyed; their serials end with a 7, or they are for other VMs.
fn bad_commands(agent: &mut Agent, draw: &mut Draw) {
    let serial = || now_ms() as u64 / 10 * 10 + 100_007;
    let mut good = command(0, "101");
    good.serial = serial();
    let mut all = vec![good.sign(&key(2)).unwrap(), b"{}".to_vec(), vec![0xff; 40]];
    let mut damaged = good.sign(&key(1)).unwrap();
    let at = draw.below(damaged.len() as u64 - 140) as usize + 12;
    damaged[at] ^= 1;
    all.push(damaged);
    let changes: [fn(&mut Command); 6] = [
        |c| c.vm = lwt::types::VmId::new("h/vm2"),
        |c| c.share = 0.3,
        |c| c.code = "111111".into(),
        |c| c.host = lwt::types::HostId::new("other"),
        |c| {
            (c.issued_ms, c.start_ms, c.expires_ms) =
                (c.issued_ms - 9_000, c.start_ms - 9_000, c.expires_ms - 9_000)
        },
        |c| c.serial = 7,
    ];
    for change in changes {
        let mut bad = good.clone();
        bad.expires_ms += 10_000;
        change(&mut bad);
        all.push(bad.sign(&key(1)).unwrap());
    }
    all.iter().for_each(|bytes| agent.tell(bytes));
}

type Scene<'a> = (&'a Machine, Option<&'a Disk>, &'a Path, &'a Path, &'a mut Option<(usize, i64)>);

fn harm(fault: Fault, agent: &mut Agent, draw: &mut Draw, (machine, disk, state, clock, foreign): Scene<'_>) {
    let keeper = agent.keeper();
    let to_keeper = |name: &str| keeper.into_iter().for_each(|keeper| signal(keeper, name));
    match fault {
        Nothing | KillAtCall => {}
        Term => agent.signal("TERM"),
        HangUp => agent.hang_up(),
        StopSwitch => fs::write(state.join("stop"), "").unwrap(),
        KillAgent => agent.signal("KILL"),
        KillKeeper => to_keeper("KILL"),
        FreezeAgent => agent.signal("STOP"),
        FreezeKeeper => to_keeper("STOP"),
        KillBoth | Truncate => {
            // In either order, and the first may have begun to act.
            to_keeper(if draw.below(2) == 0 { "KILL" } else { "STOP" });
            agent.signal("KILL");
            to_keeper("KILL");
        }
        FreezeKeeperKillAgent => {
            to_keeper("STOP");
            agent.signal("KILL");
        }
        FreezeBothThenKill => {
            to_keeper("STOP");
            agent.signal("STOP");
            agent.listen(draw.ms(1_000));
            agent.signal("KILL");
            to_keeper("KILL");
        }
        FullDisk => {
            disk.unwrap().fill(draw.below(4_096) as usize);
            agent.listen(draw.ms(2_000));
            if draw.below(2) == 0 {
                agent.signal("KILL");
            }
        }
        Clock => {
            fs::write(clock, ["+3600", "-3600", "+2.5", "-2.5", "+86400"][draw.below(5) as usize]).unwrap()
        }
        ActuatorFails => machine.mood("fail"),
        ActuatorHangs => machine.mood("hang"),
        ActuatorLate => machine.mood("late"),
        Foreign => {
            for _ in 0..2_000 {
                let vm = draw.below(2) as usize;
                if machine.caps.read(vm).is_some_and(|ppm| ppm != BEFORE_PPM[vm]) {
                    machine.caps.set(vm, 130_000);
                    *foreign = Some((vm, 130_000));
                    break;
                }
                agent.listen(Duration::from_millis(2));
            }
        }
    }
    if fault == Truncate {
        let copy = state.join(["journal.1", "journal.2"][draw.below(2) as usize]);
        let length = fs::metadata(&copy).unwrap().len();
        fs::OpenOptions::new().write(true).open(&copy).unwrap().set_len(draw.below(length + 1)).unwrap();
    }
}

/// Waits until everybody has done what they can, and starts a successor where that is what is needed. Says how it went.
fn settle(
    fault: Fault,
    agent: &mut Agent,
    machine: &Machine,
    (set, keeper): (&[String], Option<u32>),
) -> String {
    match fault {
        ActuatorFails | ActuatorHangs | ActuatorLate => {
            agent.listen(Duration::from_millis(3_500));
            machine.mood("well");
            // What hangs is ended after 6 s, and then looked at for 7.
            let all_well = || machine.caps.all() == BEFORE_PPM.map(Some);
            for _ in 0..250 {
                agent.listen(Duration::from_millis(100));
                let ended = agent.reports.last().is_some_and(|report| report.done == Done::Ended);
                if all_well() && (ended || agent.is_dead() && !keeper.is_some_and(is_there)) {
                    break;
                }
            }
        }
        KillBoth | Truncate | FreezeKeeperKillAgent | FreezeBothThenKill => {}
        // The code is over after 6 s, the keeper acts within the lease.
        _ => agent.listen(Duration::from_millis(if fault == Nothing { 7_000 } else { 4_500 })),
    }
    let dead = agent.is_dead();
    if !dead {
        // One that was frozen while nothing was capped was left alone, and goes on.
        agent.signal("CONT");
        agent.end();
    }
    // A keeper that works for a dead agent; one that was frozen is left to its successor.
    if !matches!(fault, FreezeKeeper | FreezeKeeperKillAgent) {
        for _ in 0..400 {
            if !keeper.is_some_and(is_there) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    if matches!(fault, KillBoth | Truncate | FreezeKeeperKillAgent | FreezeBothThenKill) {
        let pairs = set.iter().flat_map(|pair| ["--set", pair]);
        let restored = Program::new(env!("CARGO_BIN_EXE_lwt"))
            .args(["perturb", "restore"])
            .args(pairs)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&restored.stderr).into_owned();
        assert!(restored.status.success(), "{fault:?}: {said}");
        if let Some(keeper) = keeper {
            // It wakes up late, finds all done, and leaves.
            signal(keeper, "CONT");
            std::thread::sleep(Duration::from_millis(300));
            signal(keeper, "KILL");
        }
        return said;
    }
    keeper.into_iter().for_each(|keeper| signal(keeper, "KILL"));
    agent.said()
}

/// The caps that the journal announces, each half of what the VM used as the agent measured it. What it really used it
/// measures well where this machine lets it: the stand-in's counters are late when it does not. The second is a cap that follows
/// from something else.
fn announced(state: &Path) -> (BTreeSet<(usize, i64)>, Option<String>) {
    let (mut caps, mut unlike) = (BTreeSet::new(), None);
    for entry in look(state).unwrap().into_values() {
        let Entry::Cap(cap) = entry else { continue };
        assert!(cap.cap_ppm >= cap.used_ppm / 2 && cap.cap_ppm <= cap.used_ppm / 2 + 1, "{cap:?}");
        let used_ppm = i64::from(cap.used_ppm);
        if !(USED_PPM / 4..=USED_PPM * 4).contains(&used_ppm) {
            unlike = Some(format!("{cap:?}"));
        }
        let (quota, factor) = cap.set.split_once(' ').map_or((&*cap.set, 10_000), |(quota, _)| (quota, 10));
        caps.insert((cap.vm.as_str()[4..].parse().unwrap(), quota.parse::<i64>().unwrap() * factor));
    }
    (caps, unlike)
}

/// What was seen of each cap: nothing but what was there, what somebody else has set, and caps within the rules.
fn check(
    seen: &[History],
    announced: &BTreeSet<(usize, i64)>,
    foreign: Option<(usize, i64)>,
    may_last: bool,
) -> Result<Outcome, String> {
    let mut outcome = Outcome { vain: None, caps: 0, longest: Duration::ZERO };
    for (vm, history) in seen.iter().enumerate() {
        for pair in history.windows(2) {
            let ((from, ppm), (to, _)) = (pair[0], pair[1]);
            if ppm == BEFORE_PPM[vm] || foreign == Some((vm, ppm)) {
                continue;
            }
            outcome.caps += 1;
            outcome.longest = outcome.longest.max(to - from);
            if vm == 2 || !announced.contains(&(vm, ppm)) {
                return Err(format!("VM {vm} was capped to {ppm}"));
            }
            if to - from > LEASE + Duration::from_millis(700) && !may_last {
                return Err(format!("VM {vm} was capped for {:?}", to - from));
            }
        }
    }
    Ok(outcome)
}
