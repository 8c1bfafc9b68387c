//! The words that every module shares. What they mean stands in the README; what is peculiar to one
//! stage stands in that stage's module.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most CPU that one VM can be said to use in a tick: 536 cores, in parts per million of one core.
///
/// The largest machine that a cloud rents has 448 virtual CPUs. The bound makes the product of two
/// samples fit 58 bits, so that 32 of them can be added in an `i64` before they are carried into an
/// `i128` (see `window`).
pub const MAX_CPU_PPM: u32 = (1 << 29) - 1;

/// The longest name of a host or VM, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Index of a sampling period since the Unix epoch (or since any fixed origin): the period that ends at
/// `t` is tick `t / period - 1`.
pub type Tick = i64;

/// The least common multiple of two numbers that are at least 1.
pub fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

/// The hypervisor that a sample came from. An attribute of a VM, not part of its identity: VMs migrate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct HostId(Arc<str>);

/// A VM: its UUID where the hypervisor gives one, else `host/name`, else its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct VmId(Arc<str>);

impl HostId {
    /// The host called `name`.
    pub fn new(name: &str) -> Self {
        HostId(name.into())
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VmId {
    /// The VM whose identity is `id`.
    pub fn new(id: &str) -> Self {
        VmId(id.into())
    }
    /// Its identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Its name: what follows the host in `host/name`; all of an identity without a host.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest sampling period of a host that is looked at together with hosts that sample more finely, ms: that of the
/// coarsest time scale.
pub const MAX_GRAIN_MS: u64 = 5_000;

/// Consecutive samples of one VM, read on one host: `cpu_ppm[i]` is its CPU use in the `grain` ticks that begin with tick
/// `first + i * grain`, in parts per million of one core, at most [`MAX_CPU_PPM`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Samples {
    /// Whose samples they are.
    pub vm: VmId,
    /// Where the VM ran.
    pub host: HostId,
    /// The tick with which the first one begins; a multiple of `grain` since the epoch.
    pub first: Tick,
    /// Ticks of each, at least 1: more where a host samples more coarsely than others.
    pub grain: usize,
    /// One value a sample.
    pub cpu_ppm: Vec<u32>,
}

impl Samples {
    /// The tick after the last one.
    pub fn end(&self) -> Tick {
        self.first.saturating_add((self.cpu_ppm.len() * self.grain) as Tick)
    }
}

/// Why a piece of input could not be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A line longer than its format allows.
    TooLong,
    /// A line that is not of the recognised format (too few fields, not UTF-8, broken JSON).
    Malformed,
    /// A field that should hold a number and does not (`NaN` and infinity are none).
    NotANumber,
    /// A negative CPU use or counter.
    Negative,
    /// More CPU than any machine has ([`MAX_CPU_PPM`]): a counter that underflowed, or cells of another unit.
    Implausible,
    /// A host or VM name that is empty or longer than [`MAX_NAME_BYTES`].
    BadName,
    /// A time that cannot be read or lies outside the years 1970 to 2200.
    BadTime,
    /// The version of a message that this program does not know.
    UnknownVersion,
    /// A second reading of the same VM, on the same host, for the same time.
    Duplicate,
    /// A reading older than the one before it of the same VM on the same host.
    OutOfOrder,
    /// A reading for a pane that is closed.
    Late,
    /// Two VMs printed under one name in one block: which is which cannot be known, neither is used.
    Ambiguous,
    /// Sampled more coarsely than the analysis' period.
    TooCoarse,
    /// Sampled more finely than the analysis' period, and not in whole periods of it.
    Unaligned,
    /// For a time that had not yet come when it was appended to the log: a clock is wrong.
    AheadOfClock,
    /// Of a host that has invented more VMs than one can have.
    TooMany,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 16] = [
        Reason::TooLong,
        Reason::Malformed,
        Reason::NotANumber,
        Reason::Negative,
        Reason::Implausible,
        Reason::BadName,
        Reason::BadTime,
        Reason::UnknownVersion,
        Reason::Duplicate,
        Reason::OutOfOrder,
        Reason::Late,
        Reason::Ambiguous,
        Reason::TooCoarse,
        Reason::Unaligned,
        Reason::AheadOfClock,
        Reason::TooMany,
    ];

    /// The name that counts and dead letters carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::TooLong => "too_long",
            Reason::Malformed => "malformed",
            Reason::NotANumber => "not_a_number",
            Reason::Negative => "negative",
            Reason::Implausible => "implausible",
            Reason::BadName => "bad_name",
            Reason::BadTime => "bad_time",
            Reason::UnknownVersion => "unknown_version",
            Reason::Duplicate => "duplicate",
            Reason::OutOfOrder => "out_of_order",
            Reason::Late => "late",
            Reason::Ambiguous => "ambiguous",
            Reason::TooCoarse => "too_coarse",
            Reason::Unaligned => "unaligned",
            Reason::AheadOfClock => "ahead_of_clock",
            Reason::TooMany => "too_many",
        }
    }
}

/// Input that was refused: kept apart and counted, so that nothing vanishes silently.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// Where it came from, for a person: `mix.csv:17, column web1`.
    pub origin: String,
    /// What was refused, as it came, at most [`DeadLetter::KEPT_BYTES`].
    pub bytes: Vec<u8>,
}

impl DeadLetter {
    /// How much of what was refused is kept.
    pub const KEPT_BYTES: usize = 4096;

    /// Of samples that no window could use; their ticks are counted from the flow's origin.
    pub fn samples(reason: Reason, refused: &Samples) -> Self {
        let origin =
            format!("VM {} on host {:?}, from tick {}", refused.vm, refused.host.as_str(), refused.first);
        let values: Vec<String> = refused.cpu_ppm.iter().map(u32::to_string).collect();
        let mut bytes = values.join(",").into_bytes();
        bytes.truncate(Self::KEPT_BYTES);
        DeadLetter { reason, origin, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_common_multiples() {
        for (a, b, want) in [(1, 1, 1), (1, 10, 10), (10, 10, 10), (4, 10, 20), (20, 50, 100), (7, 3, 21)] {
            assert_eq!((lcm(a, b), lcm(b, a)), (want, want));
        }
    }

    #[test]
    fn a_name_follows_the_host() {
        for (id, name) in [("h1/web", "web"), ("web", "web"), ("rack/h1/web", "web"), ("h1/", ""), ("", "")] {
            assert_eq!(VmId::new(id).name(), name, "{id}");
        }
    }
}
