//! Direct or indirect.
