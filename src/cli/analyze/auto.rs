//! `--window auto`: windows twice as long each time, until the answer no longer changes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cli::input::open;
use crate::cli::output;
use crate::cli::session::{self, Happened};
use crate::config::{Config, spell};
use crate::evaluate;
use crate::simd::Simd;
use crate::types::VmId;

/// The answer is stable if so much of it (F1 over pairs that share an ensemble, mean over time) is what windows of half
/// the length found.
const STABLE: f64 = 0.95;

/// Windows hold so many samples at least: more than twice the default order of K-means, and enough for an AR(10).
const LEAST_SAMPLES: u32 = 100;

/// Answers that are kept of a recording: of 10,000 VMs some 30 MB.
const KEPT: usize = 32;

/// The ensembles of each VM.
type Found = BTreeMap<VmId, Vec<String>>;

/// The first of one, two, four, ... hops whose answers are those of half the length; else the longest of which the
/// recording has a window. What each finds is said on standard error.
///
/// # Errors
/// When the recording cannot be read again and again.
pub fn length(config: &Config, period_ms: u64, simd: Simd) -> anyhow::Result<Duration> {
    let period = Duration::from_millis(period_ms);
    let lengths = std::iter::successors(Some(config.hop), |length| length.checked_mul(2))
        .skip_while(|length| *length < period * LEAST_SAMPLES);
    let (mut before, mut longest): (Option<Answers>, _) = (None, config.hop);
    for length in lengths {
        let Some(answers) = answers(config, length, simd)? else { break };
        longest = length;
        let same = before.as_ref().and_then(|before| answers.agreement(before));
        let of_half =
            same.map_or(String::new(), |same| format!(", {:.0} % as with half of it", 100.0 * same));
        let together = answers.last.values().filter(|ensembles| !ensembles.is_empty()).count();
        let (spelled, vms) = (spell(length), answers.last.len());
        eprintln!("lwt: windows of {spelled}: {together} of {vms} VMs in ensembles{of_half}");
        if same.is_some_and(|same| same >= STABLE) {
            return Ok(length);
        }
        before = Some(answers);
    }
    eprintln!("lwt: the answer is not stable yet: a longer recording may say more");
    Ok(longest)
}

/// What windows of `length` find; none if the recording is too short for one, or the engine cannot use it.
fn answers(config: &Config, length: Duration, simd: Simd) -> anyhow::Result<Option<Answers>> {
    let config = Config { length: Some(length), ..config.clone() };
    let mut trace = open(&config)?;
    let period_ms = trace.period_ms();
    let Ok(plan) = session::plan(&config, period_ms, false, simd) else { return Ok(None) };
    let mut answers = Answers { every: 1, ..Answers::default() };
    let mut windows = (length.as_nanos() / config.hop.as_nanos()) as u64;
    let feed = Box::new(move |batch: &mut _| trace.read(batch));
    // Why the source cannot be read to its end is said when the chosen length is run.
    let (state, _) = session::follow(&plan, feed, period_ms, |happened| {
        if let Happened::Window { state, .. } = happened {
            answers.keep(windows, || output::found(state));
            windows += 1;
        }
        Ok(())
    })?;
    answers.last = output::found(&state);
    Ok((state.windows > 0).then_some(answers))
}

/// What was found in the course of a recording.
#[derive(Default)]
struct Answers {
    /// After so many hops.
    kept: BTreeMap<u64, Found>,
    /// Those after a multiple of so many hops are kept.
    every: u64,
    /// At the end.
    last: Found,
}

impl Answers {
    fn keep(&mut self, hops: u64, found: impl FnOnce() -> Found) {
        if hops.is_multiple_of(self.every) {
            self.kept.insert(hops, found());
        }
        if self.kept.len() > KEPT {
            self.every *= 2;
            self.kept.retain(|hops, _| hops.is_multiple_of(self.every));
        }
    }

    /// How far they agree with `others`, on average over the times that both have.
    fn agreement(&self, others: &Answers) -> Option<f64> {
        let both = self.kept.iter().filter_map(|(hops, found)| Some((found, others.kept.get(hops)?)));
        let same: Vec<f64> = both.filter_map(|(one, other)| evaluate::agreement(one, other)).collect();
        (!same.is_empty()).then(|| same.iter().sum::<f64>() / same.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_recording_answers_at_common_times_are_kept() {
        let [mut short, mut long] = [1, 2].map(|_| Answers { every: 1, ..Answers::default() });
        let pair = |ensemble: &str| ["a", "b"].map(|vm| (VmId::new(vm), vec![ensemble.to_string()])).into();
        (1..=1000).for_each(|hops| short.keep(hops, || pair("e1")));
        (100..=1000).for_each(|hops| long.keep(hops, || pair(if hops < 500 { "e2" } else { "e3" })));
        assert!(short.kept.len() <= KEPT && long.kept.len() <= KEPT);
        assert!(short.kept.keys().filter(|hops| long.kept.contains_key(hops)).count() > 10);
        assert_eq!(long.agreement(&short), Some(1.0));
        assert_eq!(Answers::default().agreement(&short), None);
    }
}
