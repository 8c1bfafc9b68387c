//! Reads what `analyze --format json` printed: JSON objects, one a line.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::types::VmId;

/// A line that is no result.
#[derive(Debug, Error)]
pub enum ResultError {
    /// Not the JSON object that `analyze --format json` prints.
    #[error("line {line}: not a result as `lwt analyze --format json` prints it")]
    Line {
        /// Where, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

/// What was found in one window, or is held in the end.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Where the window ends; `None` for the final state.
    pub window_end_ms: Option<i64>,
    /// The ensembles of every VM, none for one that is in none.
    pub assignments: BTreeMap<VmId, Vec<String>>,
    /// The dependencies.
    pub dependencies: Vec<FoundDependency>,
}

/// Two VMs that were found to depend on each other.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct FoundDependency {
    /// One of them.
    pub a: VmId,
    /// The other.
    pub b: VmId,
    /// Whether one calls the other; `None` if not known.
    #[serde(default)]
    pub direct: Option<bool>,
}

#[derive(Deserialize)]
struct RawFound {
    window_end_ms: Option<i64>,
    assignments: Vec<RawAssignment>,
    #[serde(default)]
    dependencies: Vec<FoundDependency>,
}

#[derive(Deserialize)]
struct RawAssignment {
    vm: VmId,
    ensemble: Option<RawEnsemble>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawEnsemble {
    One(String),
    Several(Vec<String>),
}

impl Found {
    /// Reads line number `line` (from 1); `None` for a blank one.
    ///
    /// # Errors
    /// A line that is not such an object.
    pub fn parse_line(line: usize, text: &str) -> Result<Option<Self>, ResultError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let raw = serde_json::from_str(text).map_err(|cause| ResultError::Line { line, cause })?;
        let RawFound { window_end_ms, assignments: raw, dependencies } = raw;
        let mut assignments: BTreeMap<VmId, Vec<String>> = BTreeMap::new();
        for RawAssignment { vm, ensemble } in raw {
            assignments.entry(vm).or_default().extend(match ensemble {
                None => Vec::new(),
                Some(RawEnsemble::One(name)) => vec![name],
                Some(RawEnsemble::Several(names)) => names,
            });
        }
        Ok(Some(Found { window_end_ms, assignments, dependencies }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_is_nothing_a_name_or_a_list() {
        let line = r#"{"windows":1,"assignments":[{"vm":"a","ensemble":null},{"vm":"b","ensemble":"x"},
            {"vm":"c","ensemble":["x","y"]}],"dependencies":[{"a":"b","b":"c","lag_ms":null,"direct":true}]}"#;
        let found = Found::parse_line(1, line).unwrap().unwrap();
        let ensembles: Vec<usize> = found.assignments.values().map(Vec::len).collect();
        assert_eq!(ensembles, [0, 1, 2]);
        assert_eq!(found.dependencies[0].direct, Some(true));
        assert_eq!(found.window_end_ms, None);
    }

    #[test]
    fn what_is_no_result_is_refused_with_its_line() {
        assert!(Found::parse_line(1, "  ").unwrap().is_none());
        for text in
            ["x", "[]", "{}", "{\"assignments\":[{\"vm\":\"a\",\"ensemble\":7}]}", "{\"assignments\":[]"]
        {
            let error = Found::parse_line(7, text).unwrap_err();
            assert_eq!(
                error.to_string(),
                "line 7: not a result as `lwt analyze --format json` prints it",
                "{text}"
            );
        }
    }
}
