//! Any text as truth, as call edges and as results, held against each other.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lwt::evaluate::{Edges, Found, Truth};

// Everything before a line `---` is truth or edges, everything behind it results.
fuzz_target!(|text: &str| {
    let (csv, results) = text.split_once("---\n").unwrap_or((text, text));
    let (truth, edges) = (Truth::parse(csv), Edges::parse(csv));
    // A byte order mark is no row, also where nothing else is on its line.
    let rows =
        csv.strip_prefix('\u{feff}').unwrap_or(csv).lines().filter(|line| !line.trim().is_empty()).count();
    if let Ok(truth) = &truth {
        assert_eq!(truth.len() + 1, rows, "each line is a row");
        assert_eq!(truth.score(&BTreeMap::new()).missing.len(), truth.len());
    }
    for (line, number) in results.lines().zip(1..) {
        let Ok(Some(found)) = Found::parse_line(number, line) else { continue };
        if let Ok(truth) = &truth {
            let judged = truth.score(&found.assignments);
            let known = found.assignments.len() - judged.unknown;
            assert!(truth.len() - judged.missing.len() <= known);
            let pairs = (truth.len() * truth.len().saturating_sub(1) / 2) as u64;
            let score = judged.score;
            assert_eq!(score.tp + score.tn + score.fp + score.fn_, pairs);
        }
        if let Some(score) = edges.as_ref().ok().map(|edges| edges.score(&found.dependencies)) {
            assert!(score.right <= score.documented.min(score.found));
            assert!(score.documented < rows.max(1));
        }
    }
});
