//! What became of a command, as the agent tells it on the topic `lwt.perturbations`, key: the VM.

use serde::{Deserialize, Serialize};

use crate::types::{HostId, VmId};

/// One thing that was done, or not done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`super::command::VERSION`].
    pub v: u64,
    /// Of which command.
    pub serial: u64,
    /// The host.
    pub host: HostId,
    /// The VM.
    pub vm: VmId,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What.
    #[serde(flatten)]
    pub done: Done,
}

/// What was done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// The command was taken up.
    Accepted,
    /// The rules of the host do not allow it; nothing was done.
    Refused {
        /// Why.
        why: String,
    },
    /// The VM is capped from now on.
    Applied {
        /// To so much, ppm of one core.
        cap_ppm: u32,
        /// What it used lately, ppm of one core.
        used_ppm: u32,
    },
    /// The VM is as before from now on.
    Lifted,
    /// Somebody else has changed the cap meanwhile: it is theirs, and was left alone.
    Foreign {
        /// What was found, in the actuator's words.
        found: String,
    },
    /// The actuator failed; it is tried again until the VM is as before.
    Failed {
        /// Why.
        why: String,
    },
    /// The last slot has ended, or the rest is not done; the VM is as before.
    Ended,
}
