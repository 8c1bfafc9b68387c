//! Documented calls, held against the dependencies that were found to be direct.

use std::collections::BTreeSet;

use serde::Serialize;

use super::result::FoundDependency;
use super::truth::{CsvError, Names, two_columns};

/// Who calls whom, as documented; for the comparison the direction does not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edges {
    names: Names,
    pairs: BTreeSet<(usize, usize)>,
}

/// How well direct dependencies match documented calls. A ratio 0/0 is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct EdgeScore {
    /// Pairs of VMs of which one calls the other.
    pub documented: usize,
    /// Pairs found to be directly dependent, both VMs of which occur in the documented calls.
    pub found: usize,
    /// Pairs that are both.
    pub right: usize,
}

impl Edges {
    /// Reads `caller,callee`: a header, then a row for each call; a call of oneself is left out.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let rows = two_columns(text, ["caller", "callee"], "caller,callee")?;
        let mut vms = BTreeSet::new();
        for (line, ends) in &rows {
            for (end, column) in ends.iter().zip(["caller", "callee"]) {
                if end.is_empty() {
                    return Err(CsvError::NoName { line: *line, column });
                }
                vms.insert(end.as_str());
            }
        }
        let names = Names::new(vms.into_iter());
        let pairs = rows.iter().filter_map(|(_, [a, b])| pair(&names, a, b)).collect();
        Ok(Edges { names, pairs })
    }

    /// Holds the dependencies with `direct: true` against the documented calls. That says something only of
    /// an engine that tells direct from indirect ones ([`FoundDependency::direct`]).
    pub fn score(&self, dependencies: &[FoundDependency]) -> EdgeScore {
        let direct = dependencies.iter().filter(|dependency| dependency.direct == Some(true));
        let found: BTreeSet<_> =
            direct.filter_map(|d| pair(&self.names, d.a.as_str(), d.b.as_str())).collect();
        let right = found.intersection(&self.pairs).count();
        EdgeScore { documented: self.pairs.len(), found: found.len(), right }
    }
}

impl EdgeScore {
    /// The share of the found pairs that are documented.
    pub fn precision(&self) -> Option<f64> {
        super::ratio(self.right as u64, self.found as u64)
    }

    /// The share of the documented pairs that were found.
    pub fn recall(&self) -> Option<f64> {
        super::ratio(self.right as u64, self.documented as u64)
    }
}

/// Mean precision and recall over several windows, each over those in which it is defined.
pub fn mean_edges(scores: &[EdgeScore]) -> [Option<f64>; 2] {
    [EdgeScore::precision, EdgeScore::recall].map(|measure| super::mean_of(scores.iter().filter_map(measure)))
}

/// The pair of two different known VMs, in one order.
fn pair(names: &Names, a: &str, b: &str) -> Option<(usize, usize)> {
    let (a, b) = (names.find(a)?, names.find(b)?);
    (a != b).then(|| (a.min(b), a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::VmId;

    fn found(a: &str, b: &str, direct: Option<bool>) -> FoundDependency {
        FoundDependency { a: VmId::new(a), b: VmId::new(b), direct }
    }

    #[test]
    fn direct_dependencies_are_held_against_calls_in_either_direction() {
        let edges = Edges::parse("caller,callee\nweb,app\napp,db\napp,app\n").unwrap();
        let unknown = edges.score(&[found("app", "web", None)]);
        assert_eq!((unknown.precision(), unknown.recall()), (None, Some(0.0)));
        let dependencies = [
            found("h1/app", "h2/web", Some(true)),
            found("web", "db", Some(true)),
            found("app", "db", Some(false)),
            found("other", "db", Some(true)),
        ];
        let score = edges.score(&dependencies);
        assert_eq!(score, EdgeScore { documented: 2, found: 2, right: 1 });
        assert_eq!((score.precision(), score.recall()), (Some(0.5), Some(0.5)));
    }

    #[test]
    fn a_mean_leaves_out_what_is_not_defined() {
        let score = |found, right| EdgeScore { documented: 4, found, right };
        assert_eq!(mean_edges(&[score(0, 0), score(4, 3), score(1, 1)]), [Some(0.875), Some(1.0 / 3.0)]);
        assert_eq!(mean_edges(&[]), [None, None]);
    }

    #[test]
    fn a_call_needs_two_ends() {
        let error = Edges::parse("caller,callee\na,b\na,\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: the callee is empty");
    }
}
