//! Puts back what was before, and nothing else: what somebody else has set meanwhile is theirs.

use std::io;

use super::actuator::Actuator;
use crate::perturb::journal::{Cap, How};

/// Puts back what was before `cap`, if ours is what is there; says how it ended. Nothing, if it is to be looked at
/// again: `in_doubt` says that somebody may still be setting it.
///
/// # Errors
/// When the actuator fails: to be tried again.
pub fn restore(actuator: &Actuator, cap: &Cap, in_doubt: bool) -> io::Result<Option<How>> {
    let Some(mut found) = actuator.read(&cap.handle)? else { return Ok(Some(How::Gone)) };
    if found == cap.set {
        actuator.set(&cap.handle, &cap.before)?;
        found = match actuator.read(&cap.handle)? {
            None => return Ok(Some(How::Gone)),
            Some(found) if found == cap.set => {
                return Err(io::Error::other(format!("{found} is still there")));
            }
            Some(found) => found,
        };
    }
    Ok(match in_doubt {
        true => None,
        false if found == cap.before => Some(How::Lifted),
        false => Some(How::Foreign(found)),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::agent::actuator::cgroup::Cgroups;
    use crate::types::VmId;

    #[test]
    fn only_ours_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let actuator =
            Actuator::Cgroup(Cgroups { root: root.clone(), counters: root.clone(), patterns: vec![] });
        let text = |text: &str| text.to_owned();
        let cap = Cap {
            vm: VmId::new("h/a"),
            handle: text("a"),
            before: text("max 100000"),
            set: text("5000 100000"),
            cap_ppm: 0,
            used_ppm: 0,
            serial: 1,
            at_ms: 0,
            until_boot_ms: 0,
        };
        assert_eq!(restore(&actuator, &cap, false).unwrap(), Some(How::Gone));
        fs::create_dir(root.join("a")).unwrap();
        assert!(restore(&actuator, &cap, false).is_err());
        for (found, in_doubt, after, how) in [
            ("5000 100000", false, "max 100000", Some(How::Lifted)),
            ("5000 100000", true, "max 100000", None),
            ("max 100000", false, "max 100000", Some(How::Lifted)),
            ("max 100000", true, "max 100000", None),
            ("7000 100000", false, "7000 100000", Some(How::Foreign(text("7000 100000")))),
            ("7000 100000", true, "7000 100000", None),
        ] {
            fs::write(root.join("a/cpu.max"), found).unwrap();
            assert_eq!(restore(&actuator, &cap, in_doubt).unwrap(), how, "{found}");
            assert_eq!(fs::read_to_string(root.join("a/cpu.max")).unwrap().trim(), after);
        }
    }
}
