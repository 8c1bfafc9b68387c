//! What an agent does: judges commands, caps and lifts by the clock, and keeps the books. Decisions are those of
//! `perturb::rules` and `perturb::orders`; here they are carried out, in the one order that is safe.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use ed25519_dalek::VerifyingKey;

use super::actuator::{Actuator, Seen};
use super::guard::Guard;
use super::keeper::{Charge, Clocks, Word, put_back};
use super::restore::restore;
use super::store::{Store, is_stopped};
use super::whole;
use crate::perturb::command::{Command, CommandError, VERSION};
use crate::perturb::journal::{Cap, Entry, How};
use crate::perturb::lately::Lately;
use crate::perturb::orders::{Order, Step, steps};
use crate::perturb::record::Record;
use crate::perturb::report::{Done, Report};
use crate::perturb::rules::{Rules, Situation};
use crate::types::{HostId, VmId};

/// Without a sign of the broker for so long, all is lifted.
const CONTACT_MS: i64 = 5_000;

/// How often the keeper is asked whether it is there, and how long another one is not tried.
const PING_MS: i64 = 1_000;

/// A lift that failed is tried again after so long; one that is in doubt is looked at.
const AGAIN_MS: i64 = 1_000;
const LOOK_MS: i64 = 200;

/// From reading a cap to setting it: who was kept from it for longer leaves it.
const STALE_MS: i64 = 2_000;

/// What was refused without an answer is said at most so often.
const SAY_MS: i64 = 10_000;

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This host.
    pub host: HostId,
    /// What it allows.
    pub rules: Rules,
    /// Whose commands it takes.
    pub trusted: Vec<VerifyingKey>,
    /// Its state folder.
    pub folder: PathBuf,
    /// How caps are set.
    pub actuator: Actuator,
    /// Over how long a VM's use is averaged, ms.
    pub lately_ms: u64,
}

/// A cap that may be on.
struct Open {
    /// Its number in the journal.
    n: u64,
    cap: Cap,
    /// From when on nobody may still be setting it.
    sure_ms: i64,
    /// Not lifted again before; 0 if that was not tried.
    retry_ms: i64,
}

/// An agent at work. Whoever drops it without [`Work::end`] leaves what is capped to the keeper.
pub struct Work {
    setup: Setup,
    clocks: Clocks,
    store: Store,
    guard: Option<Guard>,
    /// When the keeper is asked, or another one tried.
    ping_ms: i64,
    /// When the broker was last heard of.
    contact_ms: i64,
    here: BTreeMap<VmId, (Seen, Lately)>,
    orders: BTreeMap<VmId, Order>,
    open: BTreeMap<VmId, Open>,
    reports: Vec<Report>,
    refused: u64,
    said_ms: i64,
}

impl Work {
    /// Puts back what a predecessor left, and waits for that until it has succeeded.
    pub fn begin(setup: Setup, clocks: Clocks, mut store: Store) -> Work {
        let left = put_back(&setup.actuator, BTreeMap::new(), Some(&mut store), clocks, || true);
        let now_ms = (clocks.boot_ms)();
        let mut work = Work {
            setup,
            clocks,
            store,
            guard: None,
            ping_ms: 0,
            contact_ms: now_ms,
            here: BTreeMap::new(),
            orders: BTreeMap::new(),
            open: BTreeMap::new(),
            reports: vec![],
            refused: 0,
            said_ms: i64::MIN / 2,
        };
        for (cap, how) in left {
            work.ended(&cap.vm, cap.serial, how);
        }
        if work.store.held().since_ms.is_none() {
            let at_ms = (clocks.wall_ms)();
            // Where that fails nothing is taken either.
            if let Err(error) = work.store.append(&Entry::Begun { at_ms }) {
                eprintln!("lwt: {}; nothing is capped", whole(&error));
            }
        }
        work
    }

    /// What there is to tell since this was last asked.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The broker was heard of.
    pub fn contact(&mut self) {
        self.contact_ms = (self.clocks.boot_ms)();
    }

    /// The VMs that were here at `at_ms` since this machine's start.
    pub fn seen(&mut self, at_ms: i64, seen: Vec<Seen>) {
        let mut before = std::mem::take(&mut self.here);
        for vm in seen {
            let known = before.remove(&vm.vm).filter(|(other, _)| other.handle == vm.handle);
            let mut lately = known.map_or_else(|| Lately::new(self.setup.lately_ms), |(_, lately)| lately);
            lately.read(at_ms, vm.used_ns);
            if self.open.contains_key(&vm.vm) {
                lately.capped();
            }
            self.here.insert(vm.vm.clone(), (vm, lately));
        }
    }

    /// Takes what came as a command.
    pub fn command(&mut self, bytes: &[u8]) {
        let command = match Command::verify(bytes, &self.setup.trusted) {
            Ok(command) => command,
            // Our own words come back to us, and we read what other agents say, and what was learned.
            Err(CommandError::Malformed(_))
                if matches!(Record::read(bytes), Ok(Record::Report(_) | Record::Verdict(_))) =>
            {
                return;
            }
            Err(error) => return self.suspect(&error),
        };
        if command.host != self.setup.host {
            return;
        }
        let (vm, serial) = (command.vm.clone(), command.serial);
        let done = match self.accept(command) {
            Ok(()) => Done::Accepted,
            Err(why) => Done::Refused { why },
        };
        self.report(&vm, serial, done);
    }

    fn accept(&mut self, command: Command) -> Result<(), String> {
        let (now_ms, boot_ms) = ((self.clocks.wall_ms)(), (self.clocks.boot_ms)());
        let stopped = self.obstacle(boot_ms).or_else(|| self.stuck());
        let here = self.here.get(&command.vm);
        let mut busy: BTreeMap<&VmId, &[String]> =
            self.orders.iter().map(|(vm, order)| (vm, &order.names[..])).collect();
        // Whose order was dropped may still be capped.
        for vm in self.open.keys() {
            busy.entry(vm).or_default();
        }
        let busy: Vec<(&VmId, &[String])> = busy.into_iter().collect();
        let situation = Situation {
            now_ms,
            host: &self.setup.host,
            stopped: stopped.as_deref(),
            names: here.map_or(&[], |(seen, _)| &seen.names),
            used_ppm: here.and_then(|(_, lately)| lately.used_ppm(boot_ms)),
            past: self.store.held().past(&command.vm),
            busy: &busy,
        };
        let grant = self.setup.rules.judge(&command, &situation).map_err(|refusal| refusal.to_string())?;
        let names = situation.names.to_vec();
        let vm = command.vm.clone();
        let (serial, day, used_ms) = (grant.past.serial, grant.past.day, grant.past.used_ms);
        let taken = Entry::Taken { vm: vm.clone(), serial, day, used_ms, at_ms: now_ms };
        self.store.append(&taken).map_err(|error| whole(&error))?;
        self.orders.insert(vm, Order::new(command, now_ms - boot_ms, names, grant));
        Ok(())
    }

    /// Does what is to be done now; says for how many ms there is nothing to do.
    pub fn turn(&mut self) -> u64 {
        let now_ms = (self.clocks.boot_ms)();
        if self.guard.is_some() && now_ms >= self.ping_ms {
            self.ping_ms = now_ms + PING_MS;
            self.tell(&Word::Ping);
        }
        if let Some(why) = self.obstacle(now_ms) {
            self.drop_orders(&why, |_| true);
        }
        let ahead_ms = (self.clocks.wall_ms)() - now_ms;
        self.drop_orders("the clock was set", |order| order.is_off(ahead_ms));
        let capped = self.open.iter().map(|(vm, open)| (vm.clone(), open.cap.until_boot_ms)).collect();
        for step in steps(&self.orders, &capped, true, now_ms) {
            match step {
                Step::Lift(vm) => self.lift(&vm),
                Step::End(vm) => self.forget(&vm),
                // What is to be lifted, and cannot be, comes first.
                Step::Cap(vm, until_ms) if self.stuck().is_none() => self.cap(&vm, until_ms),
                Step::Cap(..) => {}
            }
        }
        // Last: it takes its time, and whatever can be lifted without it is.
        self.start_keeper(now_ms);
        let after_ms = (self.clocks.boot_ms)();
        let next = self.orders.values().map(|order| order.next_ms(now_ms));
        let again = self.open.values().map(|open| open.retry_ms).filter(|retry_ms| *retry_ms > 0);
        let wait_ms = next.chain(again).min().map_or(i64::MAX, |next_ms| next_ms - after_ms);
        wait_ms.clamp(1, 250) as u64
    }

    /// Lifts everything, and ends the keeper. Waits until that has succeeded.
    pub fn end(&mut self) {
        self.drop_orders("the agent ends", |_| true);
        while !self.open.is_empty() {
            let vms: Vec<VmId> = self.open.keys().cloned().collect();
            vms.iter().for_each(|vm| self.lift(vm));
            if !self.open.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        if let Some(guard) = self.guard.take() {
            guard.end();
        }
    }

    /// Why nothing may be capped now, whatever it is.
    fn obstacle(&self, now_ms: i64) -> Option<String> {
        if let Some(why) = is_stopped(&self.setup.folder) {
            return Some(why);
        }
        if self.guard.is_none() {
            return Some("there is no keeper that would put back what was before".into());
        }
        let silent = now_ms - self.contact_ms > CONTACT_MS;
        silent.then(|| "the broker is away".into())
    }

    /// What is to be lifted, and is not yet.
    fn stuck(&self) -> Option<String> {
        let (vm, _) = self.open.iter().find(|(_, open)| open.retry_ms > 0)?;
        Some(format!("{vm} is still capped, and cannot be lifted"))
    }

    /// Starts a keeper, if there is none.
    fn start_keeper(&mut self, now_ms: i64) {
        if self.guard.is_some() || now_ms < self.ping_ms {
            return;
        }
        self.ping_ms = now_ms + PING_MS;
        let charge = Charge {
            folder: self.setup.folder.clone(),
            actuator: self.setup.actuator.clone(),
            agent: std::process::id() as i32,
        };
        let told = Guard::start(&charge).and_then(|mut guard| {
            // What could not be lifted yet is its, too.
            let mut caps = self.open.values().map(|open| Word::Cap(open.n, open.cap.clone()));
            caps.try_for_each(|word| guard.tell(&word)).map(|()| guard)
        });
        match told {
            Ok(guard) => self.guard = Some(guard),
            Err(error) => eprintln!("lwt: there is no keeper: {error}; nothing is capped"),
        }
    }

    /// Tells the keeper; one that does not answer is given up.
    fn tell(&mut self, word: &Word) {
        let told = self.guard.as_mut().map_or(Ok(()), |guard| guard.tell(word));
        if let Err(error) = told {
            eprintln!("lwt: {error}; lifting everything");
            self.guard = None;
            self.ping_ms = 0;
        }
    }

    fn drop_orders(&mut self, why: &str, which: impl Fn(&Order) -> bool) {
        let vms: Vec<VmId> =
            self.orders.iter().filter(|(_, order)| which(order)).map(|(vm, _)| vm.clone()).collect();
        for vm in vms {
            eprintln!("lwt: {vm}: the rest is not done: {why}");
            self.forget(&vm);
        }
    }

    /// Drops the order of a VM; if it is capped, it is lifted next.
    fn forget(&mut self, vm: &VmId) {
        let Some(order) = self.orders.remove(vm) else { return };
        if self.open.contains_key(vm) {
            self.lift(vm);
        } else {
            self.report(vm, order.serial(), Done::Ended);
        }
    }

    /// Caps a VM as its order says; whatever goes wrong ends the order.
    fn cap(&mut self, vm: &VmId, until_ms: i64) {
        let Some((serial, grant)) = self.orders.get(vm).map(|order| (order.serial(), order.grant)) else {
            return;
        };
        match self.try_cap(vm, until_ms) {
            Ok(true) => {
                let (cap_ppm, used_ppm) = (grant.cap_ppm, grant.used_ppm);
                self.report(vm, serial, Done::Applied { cap_ppm, used_ppm });
            }
            // Its slot is over: the next one will do.
            Ok(false) => {}
            Err(error) => {
                self.report(vm, serial, Done::Failed { why: error.to_string() });
                self.forget(vm);
            }
        }
    }

    /// Writes down what is there, tells the keeper, looks again, and only then sets the cap. Says whether it did.
    fn try_cap(&mut self, vm: &VmId, until_ms: i64) -> io::Result<bool> {
        let gone = || io::Error::other("the VM is gone");
        let order = self.orders.get(vm).ok_or_else(gone)?;
        let (grant, serial) = (order.grant, order.serial());
        let (seen, lately) = self.here.get_mut(vm).ok_or_else(gone)?;
        let (actuator, handle) = (&self.setup.actuator, seen.handle.clone());
        let began_ms = (self.clocks.boot_ms)();
        let before = actuator.read(&handle)?.ok_or_else(gone)?;
        let tight = || io::Error::other(format!("its cap, {before}, is not one that could be made tighter"));
        let set = actuator.tighter(&before, grant.cap_ppm).ok_or_else(tight)?;
        lately.capped();
        let (cap_ppm, used_ppm, at_ms) = (grant.cap_ppm, grant.used_ppm, (self.clocks.wall_ms)());
        let (vm, until_boot_ms) = (vm.clone(), until_ms);
        let cap = Cap { vm, handle, before, set, cap_ppm, used_ppm, serial, at_ms, until_boot_ms };
        let n = self.store.append(&Entry::Cap(cap.clone())).map_err(io::Error::other)?;
        self.tell(&Word::Cap(n, cap.clone()));
        let now_ms = (self.clocks.boot_ms)();
        let present = self.setup.actuator.read(&cap.handle)?;
        let guarded = self.guard.is_some() && present.as_ref() == Some(&cap.before);
        if !guarded || now_ms >= until_ms || now_ms - began_ms > STALE_MS {
            self.close(n, How::Not);
            let changed = io::Error::other("its cap was changed at this moment, or there is no keeper");
            return if guarded { Ok(false) } else { Err(changed) };
        }
        self.set(n, cap)
    }

    fn set(&mut self, n: u64, cap: Cap) -> io::Result<bool> {
        let (actuator, handle) = (&self.setup.actuator, cap.handle.clone());
        let done = actuator.set(&handle, &cap.set).and_then(|()| actuator.read(&handle));
        let doubt_ms = (self.clocks.boot_ms)() + actuator.settle_ms();
        let sure_ms = if done.is_ok() { 0 } else { doubt_ms };
        let (vm, set) = (cap.vm.clone(), cap.set.clone());
        self.open.insert(vm, Open { n, cap, sure_ms, retry_ms: 0 });
        match done? {
            Some(found) if found == set => Ok(true),
            found => Err(io::Error::other(format!("{set} was set, and {found:?} is there"))),
        }
    }

    fn lift(&mut self, vm: &VmId) {
        let now_ms = (self.clocks.boot_ms)();
        let Some(open) = self.open.get_mut(vm).filter(|open| now_ms >= open.retry_ms) else { return };
        let (serial, n) = (open.cap.serial, open.n);
        match restore(&self.setup.actuator, &open.cap, now_ms < open.sure_ms) {
            Ok(Some(how)) => {
                self.open.remove(vm);
                self.close(n, how.clone());
                self.ended(&vm.clone(), serial, how);
            }
            Ok(None) => open.retry_ms = now_ms + LOOK_MS,
            Err(error) => {
                let first = open.retry_ms == 0;
                open.retry_ms = now_ms + AGAIN_MS;
                eprintln!("lwt: {vm} IS STILL CAPPED: {error}; trying again until it is not");
                if first {
                    self.report(vm, serial, Done::Failed { why: error.to_string() });
                }
            }
        }
    }

    /// A cap is over: the journal and the keeper may forget it.
    fn close(&mut self, cap: u64, how: How) {
        let closed = Entry::Closed { cap, how, at_ms: (self.clocks.wall_ms)() };
        if let Err(error) = self.store.append(&closed) {
            // Whoever reads the journal finds that it was put back.
            eprintln!("lwt: {}", whole(&error));
        }
        self.tell(&Word::Closed(cap));
    }

    /// Tells how a cap ended; what somebody else has changed, or is gone, is not touched again.
    fn ended(&mut self, vm: &VmId, serial: u64, how: How) {
        let done = match how {
            How::Lifted | How::Not => Done::Lifted,
            How::Foreign(found) => Done::Foreign { found },
            How::Gone => Done::Failed { why: "the VM is gone".into() },
        };
        if done != Done::Lifted {
            self.orders.remove(vm);
        }
        self.report(vm, serial, done);
        if !self.orders.contains_key(vm) {
            self.report(vm, serial, Done::Ended);
        }
    }

    fn report(&mut self, vm: &VmId, serial: u64, done: Done) {
        let (host, at_ms) = (self.setup.host.clone(), (self.clocks.wall_ms)());
        self.reports.push(Report { v: VERSION, serial, host, vm: vm.clone(), at_ms, done });
    }

    /// Somebody has written what is not to be trusted: said, but not answered.
    fn suspect(&mut self, error: &CommandError) {
        self.refused += 1;
        let now_ms = (self.clocks.boot_ms)();
        if now_ms - self.said_ms >= SAY_MS {
            self.said_ms = now_ms;
            eprintln!("lwt: not obeyed, {} until now: {error}", self.refused);
        }
    }
}
