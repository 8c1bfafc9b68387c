//! The metrics that dashboards and alerts name, and those that a page of `/metrics` has.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// All expressions of `docker/`: where each stands, and its text.
pub fn expressions() -> Vec<(String, String)> {
    let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let read = |file: &str| std::fs::read_to_string(docker.join(file)).unwrap();
    let alerts = read("alerts.yml");
    let lines = alerts.lines().enumerate();
    let exprs = lines.filter_map(|(n, line)| Some((n, line.trim().strip_prefix("expr: ")?)));
    let mut found: Vec<_> = exprs.map(|(n, expr)| (format!("alerts.yml:{}", n + 1), expr.into())).collect();
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/lwt.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((format!("panel {}", panel["title"]), target["expr"].as_str().unwrap().into()));
        }
    }
    found
}

/// The metrics that an expression names.
pub fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("lwt_") || word.starts_with("process_")).map(String::from).collect()
}

/// The metrics of which a page has a value.
pub fn present(page: &str) -> BTreeSet<String> {
    let values = page.lines().filter(|line| !line.starts_with('#'));
    values.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_string()).collect()
}

/// Whether everything that dashboards and alerts name is on one of `pages`.
pub fn check(pages: &[String]) {
    let present: BTreeSet<String> = pages.iter().flat_map(|page| present(page)).collect();
    let expressions = expressions();
    assert!(expressions.len() > 25, "{}", expressions.len());
    for (place, expression) in expressions {
        let named = named(&expression);
        assert!(!named.is_empty() || expression.contains("up{"), "{place}: {expression}");
        let missing: Vec<_> = named.difference(&present).collect();
        assert!(missing.is_empty(), "{place} names {missing:?}, which /metrics does not have: {present:#?}");
    }
}
