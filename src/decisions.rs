//! What people decide, who know more than CPU use says: a dependency is confirmed (or added: confirmed though it was not found) or
//! rejected, a VM is ignored, an ensemble gets a name. A decision stands until it is undone. Pure.
//!
//! What is decided ([`record`]) stands in a [`book`], one decision about each thing; [`amend`] says what that changes in what is
//! held, and [`standing`] does so in a flow that never ends, above what use says and above what was found by asking (`perturb`).

pub mod amend;
pub mod book;
pub mod record;
pub mod standing;
