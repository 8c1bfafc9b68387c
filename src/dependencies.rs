//! What lwt holds true: which VMs are there, which ensembles each belongs to, and which pairs depend on each
//! other. A window only *proposes*; [`Held`] and [`HeldPairs`] decide, with hysteresis, what of it counts,
//! and say so as differences of relations ([`Fact`]). Everything after this stage ([`State`], events, tables)
//! is derived from those differences.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod evidence;
pub mod follow;
mod held;
mod state;

#[cfg(test)]
pub use evidence::tests::some as some_evidence;
pub use evidence::{Asked, Cause, Driver, Evidence, Finding, Probability, materially_different};
pub use held::{BadHysteresis, Held, HeldPair, HeldPairs, Hysteresis, PairWindow};
#[cfg(test)]
pub use state::tests::some_state;
pub use state::{Membered, Since, State};

use crate::types::VmId;

/// How dependencies are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// Clusters of AR models (the paper).
    Kmeans,
    /// Evidence, from what the models did not predict, that two VMs move together.
    Coupling,
}

impl Engine {
    /// Its name, as configured and published.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Kmeans => "kmeans",
            Engine::Coupling => "coupling",
        }
    }
}

/// The name of an ensemble, the same from window to window (see `cluster`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ensemble(Arc<str>);

impl Ensemble {
    /// The ensemble called `name`.
    pub fn new(name: &str) -> Self {
        Ensemble(name.into())
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one window says of one VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Not one sample in the whole window.
    Gone,
    /// Too many samples are missing for a model.
    Unjudged,
    /// It does nothing: there is nothing to compare.
    Idle,
    /// It works, alone.
    Alone,
    /// It works with the other members of these ensembles: one at least, sorted; several for a hub.
    In(Vec<Ensemble>),
}

/// One element of the relations that hold what is true now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// The VM exists.
    Alive(VmId),
    /// The VM does nothing.
    Idle(VmId),
    /// The VM is a member of the ensemble.
    Member(VmId, Ensemble),
    /// The two VMs depend on each other; the first is the smaller, bytewise. Of what engines that compare
    /// pairs know of it, the last that was published: a pair is held with one evidence at a time.
    Pair(VmId, VmId, Option<Evidence>),
    /// The same of a pair that is held because somebody decided so, whatever is known of it: in place of [`Fact::Pair`].
    Confirmed(VmId, VmId, Option<Evidence>),
    /// The VM takes part in nothing: somebody decided so.
    Ignored(VmId),
}

impl Fact {
    /// The VM, if this is about one.
    pub fn vm(&self) -> Option<&VmId> {
        match self {
            Fact::Alive(vm) | Fact::Idle(vm) | Fact::Member(vm, _) | Fact::Ignored(vm) => Some(vm),
            Fact::Pair(..) | Fact::Confirmed(..) => None,
        }
    }

    /// The pair that is held, if this is about one.
    pub fn pair(&self) -> Option<(&VmId, &VmId)> {
        match self {
            Fact::Pair(a, b, _) | Fact::Confirmed(a, b, _) => Some((a, b)),
            _ => None,
        }
    }
}
