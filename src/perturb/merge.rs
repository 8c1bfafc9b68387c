//! What verdicts change in what is held true. Pure.
//!
//! A verdict stands above what correlation alone can say: who was confirmed is dependent, and the capped VM is the cause; who was
//! refuted in both directions is not. Ensembles follow as little as they must: the two share one, or no longer. Whatever was
//! found stays with the dependency, as far as it is held.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Verdict;
use super::verdict::Finding;
use crate::dependencies::{Asked, Cause, Driver, Ensemble, Evidence, Fact, Probability, State, follow};
use crate::types::VmId;

/// What the verdicts on a pair come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Settled<'a> {
    /// The later VM of this verdict depends on the capped one.
    Confirmed(&'a Verdict),
    /// Neither depends on the other.
    Refuted,
    /// The later VM of this verdict does not depend on the capped one; the other direction is open.
    Half(&'a Verdict),
    /// Nothing was found, in any direction.
    Open(&'a Verdict),
}

/// Whether a later verdict of the same direction takes the place of an earlier one: one that found nothing does not take that
/// of one that did.
pub fn replaces(later: &Verdict, earlier: &Verdict) -> bool {
    let undecided = |verdict: &Verdict| verdict.judgement.verdict == Finding::Undecided;
    !undecided(later) || undecided(earlier)
}

/// What each pair's verdicts come to: of each direction the last one that is not undecided counts.
pub fn settled<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> BTreeMap<(VmId, VmId), Settled<'a>> {
    let mut last: BTreeMap<(VmId, VmId), BTreeMap<&VmId, &Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        let directions = last.entry(verdict.pair()).or_default();
        if directions.get(&verdict.cause).is_none_or(|earlier| replaces(verdict, earlier)) {
            directions.insert(&verdict.cause, verdict);
        }
    }
    last.into_iter().filter_map(|(pair, directions)| Some((pair, settle(&directions)?))).collect()
}

fn settle<'a>(directions: &BTreeMap<&'a VmId, &'a Verdict>) -> Option<Settled<'a>> {
    let of = |finding| directions.values().filter(move |verdict| verdict.judgement.verdict == finding);
    let first = |finding| of(finding).next().copied();
    match (first(Finding::Confirmed), first(Finding::Refuted), of(Finding::Refuted).count()) {
        (Some(verdict), ..) => Some(Settled::Confirmed(verdict)),
        (None, Some(_), 2) => Some(Settled::Refuted),
        (None, Some(verdict), _) => Some(Settled::Half(verdict)),
        (None, None, _) => first(Finding::Undecided).map(Settled::Open),
    }
}

/// The differences that make what is held agree with the verdicts. Pairs of VMs that are gone are passed over.
pub fn changes<'a>(state: &State, verdicts: impl IntoIterator<Item = &'a Verdict>) -> Vec<(Fact, isize)> {
    let mut out = vec![];
    let all = state.ensembles();
    let of: BTreeMap<&VmId, BTreeSet<&Ensemble>> =
        state.members().map(|(vm, ensembles)| (vm, ensembles.collect())).collect();
    let settled = settled(verdicts);
    let dropped: BTreeSet<&(VmId, VmId)> =
        settled.iter().filter(|(_, settled)| **settled == Settled::Refuted).map(|(pair, _)| pair).collect();
    let tied =
        |(a, b): (&VmId, &VmId)| !dropped.contains(&(a.clone(), b.clone())) && state.evidence(a, b).is_some();
    for (pair, settled) in &settled {
        let (Some(of_a), Some(of_b)) = (of.get(&pair.0), of.get(&pair.1)) else { continue };
        let held = state.evidence(&pair.0, &pair.1);
        let fact = |evidence| Fact::Pair(pair.0.clone(), pair.1.clone(), evidence);
        match settled {
            Settled::Confirmed(verdict) => {
                out.extend(held.map(|evidence| (fact(evidence), -1)));
                out.push((fact(Some(confirmed(verdict, held.flatten()))), 1));
                if of_a.is_disjoint(of_b) {
                    out.extend(follow::joined((&pair.0, &pair.1), (of_a, of_b)));
                }
            }
            Settled::Refuted => {
                out.extend(held.map(|evidence| (fact(evidence), -1)));
                for ensemble in of_a.intersection(of_b) {
                    let members = all.get(*ensemble).map_or(&[][..], |members| members);
                    out.extend(follow::left((&pair.0, &pair.1), (ensemble, members), tied));
                }
            }
            Settled::Half(verdict) | Settled::Open(verdict) => {
                let Some(Some(evidence)) = held else { continue };
                let evidence_now = Evidence { asked: Some(asked(verdict)), ..evidence };
                out.extend([(fact(Some(evidence)), -1), (fact(Some(evidence_now)), 1)]);
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The VM of the pair that was capped.
fn capped(verdict: &Verdict) -> Driver {
    if verdict.cause < verdict.vm { Driver::A } else { Driver::B }
}

/// What of a verdict stays with the dependency.
fn asked(verdict: &Verdict) -> Asked {
    let effect_ppm = Asked::effect_ppm(verdict.judgement.effect().unwrap_or(0.0));
    Asked { finding: verdict.judgement.verdict, capped: capped(verdict), effect_ppm }
}

/// What is known of a confirmed pair: what was known before, as sure as the verdict at least, and the cause.
fn confirmed(verdict: &Verdict, held: Option<Evidence>) -> Evidence {
    let driver = capped(verdict);
    let sure_ppm = Evidence::confidence_ppm(verdict.alpha);
    let lag_ms = i32::try_from(verdict.judgement.lag_ms).unwrap_or(i32::MAX);
    let new = Evidence {
        strength_ppm: Evidence::strength_ppm(verdict.judgement.effect().unwrap_or(0.0)),
        q: Probability::new(verdict.alpha),
        confidence_ppm: sure_ppm,
        lag_ms: if driver == Driver::A { lag_ms } else { -lag_ms },
        direct: None,
        cause: None,
        evidence_s: 0,
        asked: None,
    };
    let known = held.unwrap_or(new);
    Evidence {
        confidence_ppm: known.confidence_ppm.max(sure_ppm),
        q: Probability::new(known.q.get().min(verdict.alpha)),
        cause: Some(Cause { driver, confidence_ppm: sure_ppm }),
        asked: Some(asked(verdict)),
        ..known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::some_state;
    use crate::perturb::verdict::{Judgement, Open};

    fn verdict(cause: &str, vm: &str, finding: Finding) -> Verdict {
        let judgement = Judgement {
            verdict: finding,
            open: None,
            fall: 0.5,
            response: 0.4,
            ..Judgement::open(Open::Noise)
        };
        Verdict::new(VmId::new(cause), VmId::new(vm), 0.01, judgement, 1)
    }

    /// What is held after the verdicts: pairs, and ensembles.
    fn check(verdicts: &[Verdict], pairs: &str, ensembles: &str) {
        let mut state = some_state();
        state.amend(&changes(&state, verdicts));
        let found: Vec<String> = state.dependencies().map(|d| format!("{}{}", d.a, d.b)).collect();
        assert_eq!(found.join(" "), pairs, "{verdicts:?}");
        let all = state.ensembles();
        let found: Vec<String> =
            all.values().map(|members| members.iter().map(|vm| vm.as_str()).collect::<String>()).collect();
        assert_eq!(found.join(" "), ensembles, "{verdicts:?}");
        assert_eq!(state.windows, 2);
    }

    #[test]
    fn ensembles_follow_as_little_as_they_must() {
        use Finding::{Confirmed, Refuted, Undecided};
        check(&[], "ab bc de", "abc de");
        check(&[verdict("f", "a", Confirmed)], "ab af bc de", "abcf de");
        check(&[verdict("c", "d", Confirmed)], "ab bc cd de", "cd abc de");
        check(&[verdict("a", "c", Confirmed)], "ab ac bc de", "abc de");
        check(&[verdict("a", "b", Refuted)], "ab bc de", "abc de");
        check(&[verdict("a", "b", Refuted), verdict("b", "a", Refuted)], "bc de", "bc de");
        check(&[verdict("d", "e", Refuted), verdict("e", "d", Refuted)], "ab bc", "abc");
        check(&[verdict("d", "e", Refuted), verdict("e", "d", Confirmed)], "ab bc de", "abc de");
        check(
            &[verdict("d", "e", Confirmed), verdict("d", "e", Refuted), verdict("e", "d", Refuted)],
            "ab bc",
            "abc",
        );
        check(&[verdict("a", "f", Undecided), verdict("x", "a", Confirmed)], "ab bc de", "abc de");
    }

    #[test]
    fn what_was_found_stays_with_the_dependency() {
        use Finding::{Confirmed, Refuted, Undecided};
        let said = |verdicts: &[Verdict]| {
            let mut state = some_state();
            state.amend(&changes(&state, verdicts));
            let record = state.dependency(&VmId::new("a"), &VmId::new("b")).unwrap();
            record.asked.map(|asked| format!("{} {} {}", asked.verdict, asked.capped, asked.effect))
        };
        let [open, refuted, confirmed] = [Undecided, Refuted, Confirmed].map(|f| verdict("b", "a", f));
        assert_eq!(said(&[]), None);
        assert_eq!(said(std::slice::from_ref(&open)).unwrap(), "undecided b 0.8");
        assert_eq!(said(&[refuted.clone(), open.clone()]).unwrap(), "refuted b 0.8");
        assert_eq!(said(&[refuted, verdict("a", "b", Undecided)]).unwrap(), "refuted b 0.8");
        assert_eq!(said(&[confirmed, verdict("a", "b", Refuted), open]).unwrap(), "confirmed b 0.8");
        // Of a pair that is not held there is nothing to say.
        let mut state = some_state();
        state.amend(&changes(&state, &[verdict("a", "c", Undecided)]));
        assert_eq!(state, some_state());
    }

    #[test]
    fn the_capped_vm_is_the_cause() {
        let mut state = some_state();
        state.amend(&changes(&state, &[verdict("b", "a", Finding::Confirmed)]));
        let record = state.dependency(&VmId::new("a"), &VmId::new("b")).unwrap();
        assert_eq!(
            (record.cause.as_deref(), record.cause_confidence, record.confidence),
            (Some("b"), Some(0.99), Some(0.99))
        );
        assert_eq!(record.strength, Some(0.5), "what was known stays");
    }
}
