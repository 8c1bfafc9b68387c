//! `--window auto`: windows twice as long each time, until the answer no longer changes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::input::open;
use crate::cli::{output, session};
use crate::config::{Config, spell};
use crate::evaluate;
use crate::simd::Simd;
use crate::types::VmId;

/// The answer is stable if so much of it (F1 over pairs that share an ensemble) is what windows of half the length
/// found.
const STABLE: f64 = 0.95;

/// Windows hold so many samples at least: more than twice the default order of K-means, and enough for an AR(10).
const LEAST_SAMPLES: u32 = 100;

/// The first of one, two, four, ... hops whose answer at the end of the recording is the one that half the length
/// gave; else the longest of which the recording has one. Each is said on standard error.
///
/// # Errors
/// When the recording cannot be read again and again.
pub fn length(config: &Config, period_ms: u64, simd: Simd) -> anyhow::Result<Duration> {
    anyhow::ensure!(
        config.source.as_os_str() != "-",
        "--window auto reads the recording several times: give a file instead of standard input"
    );
    let period = Duration::from_millis(period_ms);
    let lengths = std::iter::successors(Some(config.hop), |length| length.checked_mul(2))
        .skip_while(|length| *length < period * LEAST_SAMPLES);
    let (mut before, mut longest) = (None, config.hop);
    for length in lengths {
        let Some(found) = answer(&Config { length: Some(length), ..config.clone() }, simd)? else { break };
        longest = length;
        let same = before.as_ref().and_then(|before| evaluate::agreement(before, &found));
        let of_half =
            same.map_or(String::new(), |same| format!(", {:.0} % as with half of it", 100.0 * same));
        let together = found.values().filter(|ensembles| !ensembles.is_empty()).count();
        eprintln!(
            "lwt: windows of {}: {together} of {} VMs in ensembles{of_half}",
            spell(length),
            found.len()
        );
        if same.is_some_and(|same| same >= STABLE) {
            return Ok(length);
        }
        before = Some(found);
    }
    eprintln!("lwt: the answer is not stable yet: a longer recording may say more");
    Ok(longest)
}

/// The ensembles at the end of the recording; none if it is too short for such a window, or the engine
/// cannot use one.
fn answer(config: &Config, simd: Simd) -> anyhow::Result<Option<BTreeMap<VmId, Vec<String>>>> {
    let mut trace = open(config)?;
    let period_ms = trace.period_ms();
    let Ok(plan) = session::plan(config, period_ms, false, simd) else { return Ok(None) };
    let feed = Box::new(move |batch: &mut _| trace.read(batch));
    // Why the source cannot be read to its end is said when the chosen length is run.
    let (state, _) = session::follow(&plan, feed, period_ms, |_| Ok(()))?;
    Ok((state.windows > 0).then(|| output::found(&state)))
}
