//! Whatever the page is made of, it is whole, and nothing in it is more than text.

use super::*;
use crate::report::graph::tests::graph;
use crate::report::recorded::tests::recorded;

const HOSTILE: &str = "</script><img src=x onerror=\"alert('1')\">\u{202e}&amp;";

fn report(graph: &Graph, recorded: &[Recorded]) -> String {
    let measures = Measures { tp: 3.0, f1: Some(0.5), ..Measures::default() };
    page(&Report {
        recording: HOSTILE,
        facts: vec![("windows".into(), "4".into())],
        parameters: vec![["engine.kind".into(), "coupling".into(), "which".into()]],
        refused: vec![("malformed", 7, HOSTILE.into())],
        graph,
        idle: &BTreeSet::new(),
        sure: [("e1".to_string(), 0.98)].into(),
        recorded,
        period_s: 1.0,
        scores: vec![("at the end".into(), measures)],
        orders: vec![(5, measures), (10, measures)],
        untried: "",
    })
}

/// Tags that open, without their attributes.
fn tags(html: &str) -> BTreeSet<&str> {
    let name = |(at, _): (usize, &str)| html[at + 1..].split([' ', '>', '/', '\n']).next().unwrap();
    html.match_indices('<').map(name).filter(|name| !name.is_empty()).collect()
}

fn check(html: &str) {
    let known = [
        "!doctype",
        "bdi",
        "body",
        "circle",
        "div",
        "figcaption",
        "figure",
        "g",
        "h1",
        "h2",
        "head",
        "html",
        "li",
        "line",
        "meta",
        "nav",
        "a",
        "p",
        "path",
        "polyline",
        "rect",
        "style",
        "svg",
        "table",
        "tbody",
        "td",
        "text",
        "th",
        "thead",
        "title",
        "tr",
        "ul",
    ];
    let unknown: Vec<_> = tags(html).into_iter().filter(|tag| !known.contains(tag)).collect();
    assert_eq!(unknown, Vec::<&str>::new());
    for word in ["<img", "url(", "@import", "style=\"", "\u{202e}", "href=\"h", " onerror=\""] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("content=\"default-src 'none'; style-src 'sha256-"));
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
}

#[test]
fn every_figure_is_there() {
    let mut all = graph(&[("e1", 4), ("e2", 3)], 2);
    all.vms.insert(VmId::new("hub"), vec!["e1".into(), "e2".into()]);
    all.pairs[0].cause = Some("a".into());
    let recorded = recorded(&all, 100);
    let html = report(&all, &recorded);
    for (id, _) in HEADINGS {
        assert!(html.contains(&format!("<h2 id=\"{id}\">")), "{id}");
    }
    for about in [
        "The dependency graph",
        "CPU use of members of e1",
        "CPU use of members of e2",
        "Correlation of 10 VMs",
        "AR coefficients of two ensembles",
        "The models of all VMs in a plane",
        "Accuracy and F1 by the order of the models",
    ] {
        assert!(html.contains(&format!("aria-label=\"{about}\"")), "{about}");
    }
    assert!(html.contains("hub*"));
    check(&html);
    assert_eq!(html, report(&all, &recorded));
}

#[test]
fn names_are_only_text() {
    let mut all = graph(&[("<e1 onload=x>", 3)], 0);
    for name in [HOSTILE, "'\"<svg/onload=alert(1)>", "a\u{0}\u{7}b", &"x".repeat(10_000)] {
        let pair = Dependency::bare(VmId::new("<e1 onload=x>-vm0"), VmId::new(name), 1);
        all.vms.insert(VmId::new(name), vec!["<e1 onload=x>".into()]);
        all.pairs.push(pair);
    }
    check(&report(&all, &recorded(&all, 60)));
}

#[test]
fn a_report_of_nothing_says_so() {
    let html = report(&Graph::default(), &[]);
    check(&html);
    assert!(html.contains("No two VMs were found") && html.contains("No VM has a whole window"));
}

#[test]
fn of_2000_vms_it_stays_small() {
    let names: Vec<String> = (1..=250).map(|i| format!("e{i}")).collect();
    let sizes: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 8)).collect();
    let all = graph(&sizes, 0);
    let html = report(&all, &recorded(&all, 60));
    check(&html);
    assert!(html.len() < 1_500_000, "{}", html.len());
    assert!(html.contains("Of 250 ensembles the 25 largest are drawn."));
    assert!(html.contains("The first 1000 of 1750 dependencies"));
    assert!(html.contains("120 of 500 VMs"));
}
