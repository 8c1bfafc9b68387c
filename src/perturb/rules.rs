//! What a host allows: its own rules, which no command can change, and the judgement of a command by them. Pure.

use glob::Pattern;

use super::command::{Command, MAX_VALID_MS};
use crate::types::{HostId, VmId};

/// The lowest cap: the kernel takes no quota below 1 ms of its periods of 100 ms.
pub const MIN_CAP_PPM: u32 = 10_000;

/// By so much less than the lease a cap is to last: then the keeper lifts it without fail before the lease is over,
/// if the agent does not. A scheduler's hiccup is 0.1 s; a lift is three commands of a toolstack, of 0.05 to 0.3 s.
pub const GRACE_MS: u64 = 2_000;

/// A plan's clock may be ahead of ours by so much: two hosts that know of NTP differ by some ms.
pub const AHEAD_MS: i64 = 2_000;

const DAY_MS: i64 = 24 * 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// VMs by what they are called: patterns with `*`, `?` and `[…]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names(Vec<Pattern>);

/// Times of the day, UTC, as minutes: from, and up to but without. Over midnight if the first is the later.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quiet(Vec<(i64, i64)>);

/// What a host allows.
#[derive(Clone, PartialEq, Debug)]
pub struct Rules {
    /// Whether anything is allowed at all.
    pub on: bool,
    /// These VMs only.
    pub allow: Names,
    /// These never.
    pub deny: Names,
    /// A cap is at least this share of what the VM used lately.
    pub floor: f64,
    /// A cap never lasts longer, ms.
    pub lease_ms: u64,
    /// So many VMs of this host at once.
    pub at_once: usize,
    /// Of each of these groups one VM at once. Whole ensembles, if their operator names them so: what a command says
    /// about it would not be trusted. VMs on other hosts are not known here.
    pub groups: Vec<Names>,
    /// How long a VM may be capped in a day (UTC), in all, ms.
    pub budget_ms: u64,
    /// When nothing is done.
    pub quiet: Quiet,
}

/// What is known of a command's VM, and of the host, when the command comes.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Wall clock, Unix ms.
    pub now_ms: i64,
    /// This host.
    pub host: &'a HostId,
    /// Why nothing may be done now, whatever it is.
    pub stopped: Option<&'a str>,
    /// Everything that the VM is called; nothing if there is no such VM, or two of one name.
    pub names: &'a [String],
    /// What it used lately, ppm of one core, if that is known.
    pub used_ppm: Option<u32>,
    /// What was done to it before.
    pub past: Past,
    /// What the other VMs are called for which there are commands under way, and their identities.
    pub busy: &'a [(&'a VmId, &'a [String])],
}

/// What was done to a VM before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Past {
    /// Commands issued before are not taken: we do not know whether we had them.
    pub since_ms: i64,
    /// The last serial that was taken.
    pub serial: u64,
    /// The day of which `used_ms` tells, days since 1970.
    pub day: i64,
    /// How long it was capped on that day.
    pub used_ms: u64,
}

/// What was allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// What the VM used lately, ppm of one core.
    pub used_ppm: u32,
    /// The cap, ppm of one core.
    pub cap_ppm: u32,
    /// What is to be remembered of the VM.
    pub past: Past,
}

/// Why a command is not obeyed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum Refusal {
    #[error("perturbation is off on this host (perturb.enabled)")]
    Off,
    #[error("{0}")]
    Stopped(String),
    #[error("it is for the host {0}")]
    OtherHost(HostId),
    #[error("its serial is not above {0}, the last one of this VM")]
    Replayed(u64),
    #[error("it was issued before this host began to keep its journal")]
    BeforeUs,
    #[error("it has expired")]
    Expired,
    #[error("it was issued in the future: a clock is wrong")]
    Ahead,
    #[error("there is no such VM here, or two of its name")]
    NoSuchVm,
    #[error("the VM is not on the list of those that may be capped (perturb.allow)")]
    NotAllowed,
    #[error("the VM must not be capped (perturb.deny)")]
    Denied,
    #[error("a share of {share} is below the floor of {floor} (perturb.floor)")]
    BelowFloor { share: String, floor: String },
    #[error("it caps for {longest_ms} ms without a break, the lease of {lease_ms} ms allows {} (perturb.lease)", lease_ms.saturating_sub(GRACE_MS))]
    TooLong { longest_ms: u64, lease_ms: u64 },
    #[error("a command for this VM is under way")]
    UnderWay,
    #[error("{0} VMs are perturbed already (perturb.at_once)")]
    TooMany(usize),
    #[error("a VM of the same group is perturbed already (perturb.groups)")]
    SameGroup,
    #[error("{used_ms} ms of {budget_ms} of this day are used, {asked_ms} are asked (perturb.budget)")]
    Budget { used_ms: u64, budget_ms: u64, asked_ms: u64 },
    #[error("it reaches into quiet hours (perturb.quiet)")]
    Quiet,
    #[error("what the VM used lately is not known yet")]
    UnknownUse,
    #[error("the VM hardly uses any CPU: a cap of {0} ppm of a core is below the lowest of {MIN_CAP_PPM}")]
    Idle(u32),
}

impl Names {
    /// Reads patterns with commas between them; `none` is none.
    ///
    /// # Errors
    /// What is wrong with the first wrong one.
    pub fn parse(text: &str) -> Result<Names, String> {
        let one = |text: &str| match text.trim() {
            "" => Err("a name or pattern is missing".to_owned()),
            text => Pattern::new(text).map_err(|error| format!("`{text}`: {}", error.msg)),
        };
        if text == "none" {
            return Ok(Names::default());
        }
        text.split(',').map(one).collect::<Result<_, _>>().map(Names)
    }

    /// Whether any of a VM's names is meant.
    pub fn has(&self, names: &[String]) -> bool {
        self.0.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)))
    }
}

impl Quiet {
    /// Reads `22:00-06:30,12:00-13:00`; `none` is none.
    ///
    /// # Errors
    /// What is wrong with the first wrong one.
    pub fn parse(text: &str) -> Result<Quiet, String> {
        let digits = |text: &str, below: i64| {
            let right = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
            text.parse::<i64>().ok().filter(|number| right && *number < below)
        };
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            Some(digits(hour, 24)? * 60 + digits(minute, 60)?)
        };
        let one = |text: &str| {
            let (from, to) = text.split_once('-')?;
            Some((minute(from)?, minute(to)?))
        };
        if text == "none" {
            return Ok(Quiet::default());
        }
        let wrong = |text: &str| format!("`{text}` is not HH:MM-HH:MM (UTC)");
        text.split(',').map(|text| one(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>().map(Quiet)
    }

    /// Whether any moment from `from_ms` to `to_ms`, Unix ms, is in quiet hours. At most [`MAX_VALID_MS`] are looked at.
    pub fn touches(&self, from_ms: i64, to_ms: i64) -> bool {
        let last = to_ms.min(from_ms.saturating_add(MAX_VALID_MS)).div_euclid(MINUTE_MS);
        let quiet = |minute: i64| {
            let minute = minute.rem_euclid(24 * 60);
            let within = |&(from, to): &(i64, i64)| {
                if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
            };
            self.0.iter().any(within)
        };
        (from_ms.div_euclid(MINUTE_MS)..=last).any(quiet)
    }
}

impl Rules {
    /// Whether `command` may be done in this situation, and then how.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn judge(&self, command: &Command, here: &Situation<'_>) -> Result<Grant, Refusal> {
        if !self.on {
            return Err(Refusal::Off);
        }
        if let Some(why) = here.stopped {
            return Err(Refusal::Stopped(why.into()));
        }
        self.is_fresh(command, here)?;
        self.may_cap(command, here)?;
        self.is_room(command, here)?;
        let past = self.budget(command, here)?;
        let used_ppm = here.used_ppm.ok_or(Refusal::UnknownUse)?;
        // Rounded up: never below the floor. A share is below 1, a use below 2^29.
        let cap_ppm = (f64::from(used_ppm) * command.share).ceil() as u32;
        if cap_ppm < MIN_CAP_PPM {
            return Err(Refusal::Idle(cap_ppm));
        }
        Ok(Grant { used_ppm, cap_ppm, past })
    }

    /// Meant for us, now, and for the first time.
    fn is_fresh(&self, command: &Command, here: &Situation<'_>) -> Result<(), Refusal> {
        if command.host != *here.host {
            return Err(Refusal::OtherHost(command.host.clone()));
        }
        if command.serial <= here.past.serial {
            return Err(Refusal::Replayed(here.past.serial));
        }
        if command.issued_ms < here.past.since_ms {
            return Err(Refusal::BeforeUs);
        }
        if here.now_ms >= command.expires_ms.min(command.end_ms()) {
            return Err(Refusal::Expired);
        }
        if command.issued_ms.saturating_sub(here.now_ms) > AHEAD_MS {
            return Err(Refusal::Ahead);
        }
        Ok(())
    }

    /// This VM, so far, for so long, at this time.
    fn may_cap(&self, command: &Command, here: &Situation<'_>) -> Result<(), Refusal> {
        if here.names.is_empty() {
            return Err(Refusal::NoSuchVm);
        }
        if self.deny.has(here.names) {
            return Err(Refusal::Denied);
        }
        if !self.allow.has(here.names) {
            return Err(Refusal::NotAllowed);
        }
        // Not a number is below every floor.
        if !(command.share >= self.floor && command.share < 1.0) {
            let (share, floor) = (command.share.to_string(), self.floor.to_string());
            return Err(Refusal::BelowFloor { share, floor });
        }
        let (longest_ms, lease_ms) = (command.longest_ms(), self.lease_ms);
        if longest_ms.saturating_add(GRACE_MS) > lease_ms {
            return Err(Refusal::TooLong { longest_ms, lease_ms });
        }
        if self.quiet.touches(here.now_ms, command.end_ms()) {
            return Err(Refusal::Quiet);
        }
        Ok(())
    }

    /// Beside what is under way.
    fn is_room(&self, command: &Command, here: &Situation<'_>) -> Result<(), Refusal> {
        if here.busy.iter().any(|(vm, _)| **vm == command.vm) {
            return Err(Refusal::UnderWay);
        }
        if here.busy.len() >= self.at_once {
            return Err(Refusal::TooMany(here.busy.len()));
        }
        let shared =
            |group: &Names| group.has(here.names) && here.busy.iter().any(|(_, names)| group.has(names));
        if self.groups.iter().any(shared) { Err(Refusal::SameGroup) } else { Ok(()) }
    }

    /// What a command takes of the budget, it takes when it is accepted, and gives nothing back. A clock that is set
    /// back gives nothing back either.
    fn budget(&self, command: &Command, here: &Situation<'_>) -> Result<Past, Refusal> {
        let day = here.now_ms.div_euclid(DAY_MS).max(here.past.day);
        let used_ms = if day == here.past.day { here.past.used_ms } else { 0 };
        let (asked_ms, budget_ms) = (command.capped_ms(), self.budget_ms);
        if used_ms.saturating_add(asked_ms) > budget_ms {
            return Err(Refusal::Budget { used_ms, budget_ms, asked_ms });
        }
        Ok(Past { since_ms: here.past.since_ms, serial: command.serial, day, used_ms: used_ms + asked_ms })
    }
}

#[cfg(test)]
mod tests;
