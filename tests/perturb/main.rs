//! Active perturbation, asked and judged: how often a verdict is wrong, on drawn series and on real programs.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod groups;
mod rates;
