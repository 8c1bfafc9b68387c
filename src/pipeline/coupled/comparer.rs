//! One worker's pairs, window after window: those that are worth judging, and those that were recorded, are judged by
//! the window and by what was recorded of them.

use std::collections::HashMap;

use differential_dataflow::Hashable;

use super::division::{Groups, Place, blocks, compares};
use super::recorded::Recorded;
use super::{Found, Weighed};
use crate::coupling::compare::{self, Judged, Nulls, Which};
use crate::coupling::evidence::{Ledger, Record};
use crate::coupling::explain::{self, Pair};
use crate::coupling::null::Null;
use crate::coupling::search::{self, Block};
use crate::coupling::{Params, Seen};
use crate::dependencies::Driver;
use crate::pipeline::Plan;
use crate::pipeline::kept::Kept;
use crate::pipeline::watch::Sight;
use crate::types::VmId;

/// VMs all of whose pairs are followed over time, whatever they show: 64 have 2,016.
const CONTROLS: usize = 64;

/// A record with more evidence than this is kept, whatever the window says.
const WORTH_KEEPING: f64 = 2.0;

/// One worker's share of the pairs.
pub struct Comparer {
    plan: Plan,
    params: Params,
    worker: u64,
    workers: u64,
    ledger: Ledger<(VmId, VmId)>,
}

impl Comparer {
    /// That of `worker`: before the first window, or as it was kept.
    pub fn new(plan: &Plan, params: &Params, worker: u64, workers: u64) -> Self {
        let ours =
            |a: &VmId, b: &VmId| compares(worker, workers, Place::of(a, workers), Place::of(b, workers));
        let records =
            pairs(plan, |kept| if let Kept::Evidence(a, _, of) = kept { Some((a, of)) } else { None });
        let controls =
            pairs(plan, |kept| if let Kept::Control(a, _, of) = kept { Some((a, of)) } else { None });
        let records = records.filter(|((a, b), _)| ours(a, b));
        let ledger = Ledger { records: records.collect(), controls: controls.collect() };
        Comparer { plan: plan.clone(), params: params.clone(), worker, workers, ledger }
    }

    /// What is to be kept of it; the controls are the same for all workers.
    pub fn recorded(&self) -> impl Iterator<Item = Recorded> + '_ {
        let records = self.ledger.records.iter();
        let records = records.map(|((a, b), record)| Recorded::Evidence(a.clone(), b.clone(), *record));
        let controls = self.ledger.controls.iter().filter(|_| self.worker == 0);
        let controls = controls.map(|((a, b), record)| Recorded::Control(a.clone(), b.clone(), *record));
        let all = (0..self.workers).map(|to| Recorded::All { to });
        records.chain(controls).chain(all)
    }

    /// Judges this worker's pairs of a window; `weighed` in order of VM.
    pub fn compare(&mut self, pane: u64, weighed: &[Weighed]) -> Vec<Found> {
        let Some(vms) = weighed.first().map(|one| one.vms as usize) else { return vec![] };
        let mut sample: Vec<&Weighed> = weighed.iter().filter(|one| one.sampled).collect();
        sample.sort_by_cached_key(|one| (one.vm.hashed(), one.vm.clone()));
        sample.truncate(compare::SAMPLE);
        let vectors: Vec<Seen<'_>> = sample.iter().map(|one| one.seen()).collect();
        let nulls = Nulls::new(&vectors, vms, &self.params, self.plan.simd);
        let first = self.ledger.is_new();
        self.control(&sample[..sample.len().min(CONTROLS)], &nulls);
        let candidates = self.candidates(weighed, vms, &nulls);
        let window = Window { weighed, null: self.ledger.null(), nulls, first };
        self.show(pane, &window, &sample);
        let before = std::mem::take(&mut self.ledger.records);
        let positions: HashMap<&VmId, u32> = weighed.iter().map(|one| &one.vm).zip(0..).collect();
        let position = |vm: &VmId| positions.get(vm).copied();
        let recorded = before.into_iter().filter_map(|((a, b), record)| {
            let pair = (position(&a)?, position(&b)?);
            Some((pair, Some(record)))
        });
        let mut pairs: Vec<_> = candidates.iter().map(|pair| (*pair, None)).chain(recorded).collect();
        pairs.sort_unstable_by_key(|(pair, record)| (*pair, record.is_none()));
        pairs.dedup_by_key(|(pair, _)| *pair);
        let mut found = vec![];
        for ((i, j), record) in pairs {
            let (a, b) = (&weighed[i as usize], &weighed[j as usize]);
            let known = self.judge(&window, (a, b), record);
            let evident = known.record.beyond(&window.null).abs() > WORTH_KEEPING;
            if evident || candidates.binary_search(&(i, j)).is_ok() {
                self.ledger.records.push(((a.vm.clone(), b.vm.clone()), known.record));
            }
            found.push(known.found);
        }
        found
    }

    /// Shows how the watched pair is judged, whether or not it is worth judging.
    fn show(&self, pane: u64, window: &Window<'_>, sample: &[&Weighed]) {
        let Some(watch) = &self.plan.watch else { return };
        let Some((i, j)) = watch.find(window.weighed.iter().map(|one| &one.vm)) else { return };
        let (a, b) = (&window.weighed[i], &window.weighed[j]);
        let of = |(one, other): &(VmId, VmId)| *one == a.vm && *other == b.vm;
        let before = self.ledger.records.iter().find(|(pair, _)| of(pair)).map(|(_, record)| *record);
        let known = self.judge(window, (a, b), before);
        let pair = Pair {
            vectors: [a.vector.clone(), b.vector.clone()],
            sample: sample.iter().take(explain::SAMPLE).map(|one| (one.vector.clone(), one.grain)).collect(),
            nulls: window.nulls.clone(),
            skewed: a.host != b.host,
            judged: known.judged,
            recorded_z: known.record.beyond(&window.null),
            z: known.found.z,
            by: known.by,
        };
        let end = self.plan.window.pane_start(pane as i64 + 1);
        watch.tell(end, Sight::Pair(a.vm.clone(), b.vm.clone(), pair));
    }

    /// Follows all pairs of a few VMs.
    fn control(&mut self, sample: &[&Weighed], nulls: &Nulls) {
        let fresh = compare::pairs(sample).map(|(a, b)| {
            let z = nulls.fresh(a.seen(), b.seen(), 0, &self.params);
            ((a.vm.clone(), b.vm.clone()), z)
        });
        self.ledger.control(fresh, self.hop_s());
    }

    /// The pairs of this worker that are worth judging, as positions, the smaller first; in order.
    fn candidates(&self, weighed: &[Weighed], vms: usize, nulls: &Nulls) -> Vec<(u32, u32)> {
        let group = |group: u64, upper: Option<bool>| -> Vec<usize> {
            let of = |at: &usize| {
                let place = Place::of(&weighed[*at].vm, self.workers);
                place.group == group && upper.is_none_or(|upper| place.upper == upper)
            };
            (0..weighed.len()).filter(of).collect()
        };
        let mut found = vec![];
        for Groups { left, upper, right } in blocks(self.worker, self.workers) {
            let left = group(left, upper);
            let right = right.map(|right| group(right, None));
            let vectors = |of: &[usize]| of.iter().map(|at| &*weighed[*at].vector).collect::<Vec<&[i8]>>();
            let (lefts, rights) = (vectors(&left), right.as_deref().map(vectors));
            let block = Block { left: &lefts, right: rights.as_deref() };
            let right = right.as_ref().unwrap_or(&left);
            for (i, j) in search::candidates(block, vms, nulls, &self.params, self.plan.simd) {
                let (i, j) = (left[i as usize] as u32, right[j as usize] as u32);
                found.push((i.min(j), i.max(j)));
            }
        }
        found.sort_unstable();
        found
    }

    /// Judges one pair by the window and by what was recorded of it before.
    fn judge(&self, window: &Window<'_>, (a, b): (&Weighed, &Weighed), before: Option<Record>) -> Known {
        let (nulls, params, hop_s) = (&window.nulls, &self.params, self.hop_s());
        let judged = nulls.judge(a.seen(), b.seen(), a.host != b.host, params);
        let mut record = before.unwrap_or(Record::new(judged.by));
        if before.is_some() {
            record.add(nulls.fresh(a.seen(), b.seen(), record.by, params), hop_s);
        }
        let windows_s = self.plan.window.panes() as f64 * hop_s;
        let unsure = record.beyond(&window.null).abs() < WORTH_KEEPING && record.by != judged.by;
        if unsure || record.is_broken(judged.plain_z, self.plan.window.panes() as f64) {
            record = Record::new(judged.by);
        }
        let times = record.seconds(hop_s) / windows_s;
        let recorded =
            nulls.tempered((record.beyond(&window.null), times), (a.seen(), b.seen()), record.by, params);
        let lasting = recorded.abs() > judged.z.abs();
        let (z, by) = if lasting { (recorded, record.by) } else { (judged.z, judged.by) };
        // There are many lags, and we look again every hop: what is false is nearly always of that kind.
        let threshold = nulls.significance().threshold();
        let z = if nulls.lag_ms(by) == 0 { z } else { record.tried(z, threshold, window.first) };
        let significant = z.abs() >= threshold;
        let first = if significant { nulls.first(a.seen(), b.seen(), params) } else { None };
        let found = Found {
            a: a.vm.clone(),
            b: b.vm.clone(),
            z,
            window_z: judged.z,
            strength: compare::strength(a.seen(), b.seen(), z, params, self.plan.simd),
            lag_ms: nulls.lag_ms(by),
            cause: first.map(|(first, error)| (if first == Which::A { Driver::A } else { Driver::B }, error)),
            evidence_s: windows_s.max(record.seconds(hop_s)),
        };
        Known { judged, record, by, found }
    }

    fn hop_s(&self) -> f64 {
        self.params.hop_s()
    }
}

/// The pairs of entries as they were kept.
fn pairs(
    plan: &Plan,
    of: impl Fn(&Kept) -> Option<(&VmId, &Vec<(VmId, Record)>)>,
) -> impl Iterator<Item = ((VmId, VmId), Record)> {
    let all = plan.kept(move |kept| of(kept).map(|(a, of)| (a.clone(), of.clone())));
    let all: Vec<_> = all.collect();
    all.into_iter().flat_map(|(a, of)| of.into_iter().map(move |(b, record)| ((a.clone(), b), record)))
}

/// What is known of a pair.
struct Known {
    /// What the window says.
    judged: Judged,
    /// What was recorded, the window's new ticks with it.
    record: Record,
    /// The comparison that says the most.
    by: usize,
    /// What both come to.
    found: Found,
}

/// One window, as its pairs are judged.
struct Window<'a> {
    weighed: &'a [Weighed],
    nulls: Nulls,
    /// What records of independent pairs look like.
    null: Null,
    /// Whether it is the first of all.
    first: bool,
}
