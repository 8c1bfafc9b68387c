//! `lwt demo`: a simulated datacenter, analysed live, in the terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::Duration;

use super::output::{self, Outcome};
use super::session::{self, Happened};
use crate::config::RawConfig;
use crate::dependencies::{Fact, State};
use crate::evaluate::{self, Truth};
use crate::pipeline::{Feed, Summary};
use crate::simd::Simd;
use crate::simulate::{Params, Simulator};
use crate::transport::file::{Batch, Progress};

/// Shows what lwt does: simulates a datacenter and finds out, live, which of its VMs work together.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  lwt demo\n  lwt demo --vms 200 --speed 600 --minutes 60")]
pub struct Args {
    /// How many VMs.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    vms: u32,
    /// How many minutes are simulated.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(6..=10_000))]
    minutes: u32,
    /// How much faster than in reality time passes.
    #[arg(long, default_value_t = 60.0)]
    speed: f64,
    /// Another seed is another datacenter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One sample a second, as xentop gives.
const PERIOD_MS: u64 = 1000;
