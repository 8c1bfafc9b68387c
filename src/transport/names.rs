//! The names that one partition of the log has spoken of lately: each is kept once, and no host may invent
//! them without end. Pure.

use std::collections::HashMap;
use std::fmt::Write;

use crate::types::{HostId, Reason, VmId};

/// The most VMs that one host may have had within an hour: the largest hosts run 1,000, and each of them
/// may be made anew every six minutes.
pub const MAX_HOST_VMS: usize = 10_000;

/// The most names of hosts and VMs of one partition within an hour. Each costs its text twice and 100
/// bytes: 44 MB with names of 60 bytes, 120 MB with the longest. Parks of 100,000 VMs fit twice.
const MAX_NAMES: usize = 200_000;

/// For how long names are kept, by the log's clock: so that those of VMs that are gone do not pile up.
const KEPT_MS: i64 = 3_600_000;

/// The names of one partition.
#[derive(Default, Debug)]
pub struct Names {
    /// Which span of [`KEPT_MS`] they are of.
    span: i64,
    hosts: HashMap<Box<str>, Host>,
    count: usize,
    /// The number of the message that is being read.
    message: u64,
    key: String,
}

#[derive(Debug)]
struct Host {
    id: HostId,
    /// By identity.
    vms: HashMap<Box<str>, Known>,
}

#[derive(Debug)]
struct Known {
    vm: VmId,
    /// The last message that spoke of it.
    message: u64,
    /// What its host calls it, if its identity does not say.
    name: Option<Box<str>>,
}

/// The host of a message, and its VMs.
pub struct Speaker<'a> {
    host: &'a mut Host,
    count: &'a mut usize,
    key: &'a mut String,
    message: u64,
}

impl Names {
    /// The next message is of `host`, appended at `append_ms`.
    ///
    /// # Errors
    /// `TooMany` when there is no room for a new host.
    pub fn speaker(&mut self, host: &str, append_ms: i64) -> Result<Speaker<'_>, Reason> {
        let span = append_ms.div_euclid(KEPT_MS);
        if span > self.span {
            (self.span, self.count) = (span, 0);
            self.hosts.clear();
        }
        self.message += 1;
        if !self.hosts.contains_key(host) {
            if self.count >= MAX_NAMES {
                return Err(Reason::TooMany);
            }
            self.count += 1;
            self.hosts.insert(host.into(), Host { id: HostId::new(host), vms: HashMap::new() });
        }
        let host = self.hosts.get_mut(host).ok_or(Reason::TooMany)?;
        Ok(Speaker { host, count: &mut self.count, key: &mut self.key, message: self.message })
    }
}

impl Speaker<'_> {
    /// Who speaks.
    pub fn host(&self) -> &HostId {
        &self.host.id
    }

    /// The VM called `name`, whose identity is `id` if it has one of its own, else `host/name`. A name that is not part of the
    /// identity is added to `named` when it is new.
    ///
    /// # Errors
    /// `Duplicate` for a VM that the message has spoken of before, `TooMany` where there is no room.
    pub fn vm(
        &mut self,
        id: Option<&str>,
        name: &str,
        named: &mut Vec<(VmId, Box<str>)>,
    ) -> Result<VmId, Reason> {
        self.key.clear();
        match id {
            Some(id) => self.key.push_str(id),
            None => drop(write!(self.key, "{}/{name}", self.host.id)),
        }
        if let Some(known) = self.host.vms.get_mut(self.key.as_str()) {
            if std::mem::replace(&mut known.message, self.message) == self.message {
                return Err(Reason::Duplicate);
            }
            if id.is_some() && known.name.as_deref() != Some(name) {
                known.name = Some(name.into());
                named.push((known.vm.clone(), name.into()));
            }
            return Ok(known.vm.clone());
        }
        if self.host.vms.len() >= MAX_HOST_VMS || *self.count >= MAX_NAMES {
            return Err(Reason::TooMany);
        }
        *self.count += 1;
        let vm = VmId::new(self.key);
        named.extend(id.map(|_| (vm.clone(), name.into())));
        let known = Known { vm: vm.clone(), message: self.message, name: id.map(|_| name.into()) };
        self.host.vms.insert(self.key.as_str().into(), known);
        Ok(vm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_is_spoken_of_once_a_message() {
        let mut names = Names::default();
        let mut named = vec![];
        for name in ["a", "a", "A"] {
            let mut speaker = names.speaker("h", 5).unwrap();
            assert_eq!(speaker.vm(None, "a", &mut named).unwrap().as_str(), "h/a");
            assert_eq!(speaker.vm(Some("b"), name, &mut named).unwrap().as_str(), "b");
            assert_eq!(speaker.vm(Some("h/a"), "c", &mut named), Err(Reason::Duplicate));
            assert_eq!(speaker.host().as_str(), "h");
        }
        assert_eq!(
            named,
            ["a", "A"].map(|name| (VmId::new("b"), name.into())),
            "told once, and when it has another"
        );
    }

    #[test]
    fn who_invents_names_is_held() {
        let mut names = Names::default();
        for host in 0..MAX_NAMES / (MAX_HOST_VMS + 1) {
            let mut speaker = names.speaker(&host.to_string(), 0).unwrap();
            for vm in 0..MAX_HOST_VMS {
                assert!(speaker.vm(None, &vm.to_string(), &mut vec![]).is_ok());
            }
            assert_eq!(speaker.vm(None, "one more", &mut vec![]), Err(Reason::TooMany));
            assert_eq!(
                speaker.vm(None, "0", &mut vec![]),
                Err(Reason::Duplicate),
                "who is known stays known"
            );
        }
        for host in names.count..MAX_NAMES {
            assert!(names.speaker(&format!("h{host}"), KEPT_MS - 1).is_ok());
        }
        assert!(names.speaker("new", KEPT_MS - 1).is_err());
        assert!(names.speaker("1", KEPT_MS - 1).is_ok());
        assert!(names.speaker("new", KEPT_MS).is_ok(), "an hour later all is forgotten");
        assert_eq!(names.count, 1);
    }
}
