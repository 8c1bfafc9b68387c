//! The keys of an agent: what its host allows, and how it caps.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{self, Reader, number, or};
use crate::perturb::rules::{Names, Quiet, Rules};

/// What an agent caps with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Actuates {
    /// Control groups.
    Cgroup,
    /// Xen's credit2 scheduler.
    Credit2,
    /// Xen's credit scheduler.
    Credit,
    /// virsh.
    Libvirt,
}

/// What an agent does.
#[derive(Clone, Debug)]
pub struct Perturb {
    /// What the host allows.
    pub rules: Rules,
    /// Public keys, or the path of a file with them.
    pub trusted: String,
    /// The state folder.
    pub state: PathBuf,
    /// What caps.
    pub actuator: Actuates,
    /// Where the cpu controller is mounted, if it was said.
    pub root: Option<PathBuf>,
    /// What to run, if it was said.
    pub command: Option<Vec<String>>,
    /// Over how long a VM's use is averaged.
    pub lately: Duration,
}

impl Perturb {
    pub(super) fn read(read: &mut Reader<'_>) -> Perturb {
        let rules = Rules {
            on: read.get("perturb.enabled", value::flag),
            allow: read.get("perturb.allow", Names::parse),
            deny: read.get("perturb.deny", Names::parse),
            // A cap that leaves nothing is none that a VM survives.
            floor: read.get("perturb.floor", |text| number(text, "share", 0.05, 0.99)),
            // With less than the shortest slot and 2 s of grace there is nothing to ask; a minute is what a load
            // balancer's patience is at most.
            lease_ms: read.get("perturb.lease", |text| within(text, (2_500, 60_000))),
            at_once: read.get("perturb.at_once", |text| number(text, "number of VMs", 1, 1_000)),
            groups: read.get("perturb.groups", groups),
            budget_ms: read.get("perturb.budget", |text| within(text, (1, 86_400_000))),
            quiet: read.get("perturb.quiet", Quiet::parse),
        };
        Perturb {
            rules,
            trusted: read.get("perturb.trusted", |text| Ok(text.to_owned())),
            state: read.get("perturb.state", value::path),
            actuator: read.get("perturb.actuator", actuator),
            root: read.get("perturb.root", |text| or("auto", text, value::path)),
            command: read.get("perturb.command", |text| or("auto", text, value::words)),
            lately: Duration::from_millis(read.get("perturb.lately", |text| within(text, (1_000, 600_000)))),
        }
    }
}

/// A duration in ms, between two.
fn within(text: &str, (least_ms, most_ms): (u64, u64)) -> Result<u64, String> {
    let ms = value::duration(text)?.as_millis();
    let fits = (u128::from(least_ms)..=u128::from(most_ms)).contains(&ms);
    let spell = |ms| value::spell(Duration::from_millis(ms));
    let wrong = || format!("`{text}` is not between {} and {}", spell(least_ms), spell(most_ms));
    fits.then_some(ms as u64).ok_or_else(wrong)
}

fn groups(text: &str) -> Result<Vec<Names>, String> {
    if text == "none" { Ok(vec![]) } else { text.split(';').map(Names::parse).collect() }
}

fn actuator(text: &str) -> Result<Actuates, String> {
    match text {
        "cgroup" => Ok(Actuates::Cgroup),
        "credit2" => Ok(Actuates::Credit2),
        "credit" => Ok(Actuates::Credit),
        "libvirt" => Ok(Actuates::Libvirt),
        _ => Err(format!("there is no actuator `{text}`: cgroup, credit2, credit or libvirt")),
    }
}
