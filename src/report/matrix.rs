//! The correlation of what VMs used, all with all (the paper's Figure 4).

use std::fmt::Write;

use super::drawing::{LETTERS, escaped, label, width};
use super::recorded::Recorded;
use super::tone::{self, series};

/// How many steps of colour there are to a correlation of 1, and as many to -1.
const STEPS: i8 = 8;
/// How wide the matrix is, about.
const SIDE: f64 = 660.0;
/// Rows narrower than a line of text have no names.
const NAMED: f64 = 11.0;

/// Draws the correlations of the members of `groups`, each with its name, in this order.
pub fn matrix(groups: &[(&str, Vec<&Recorded>)]) -> String {
    let vms: Vec<&Recorded> = groups.iter().flat_map(|(_, vms)| vms.iter().copied()).collect();
    let cell = (SIDE / vms.len().max(1) as f64).floor().clamp(4.0, 22.0);
    let named = cell >= NAMED;
    let longest = vms.iter().map(|vm| width(&label(vm.vm.as_str()))).fold(0.0, f64::max);
    let (left, top) = (if named { longest + 10.0 } else { 10.0 }, 22.0);
    let side = cell * vms.len() as f64;
    let (wide, high) = (left + side.max(200.0) + 10.0, top + side + 46.0);
    let mut out = format!(
        "<svg role=\"img\" aria-label=\"Correlation of {} VMs\" width=\"{wide:.0}\" height=\"{high:.0}\" viewBox=\"0 0 {wide:.0} {high:.0}\" \
         font-family=\"DejaVu Sans,Verdana,sans-serif\" font-size=\"{LETTERS}\">\n",
        vms.len()
    );
    let (frame, ink) = (tone::RULE.hex(), tone::INK.hex());
    let _ = writeln!(
        out,
        "<g transform=\"translate({left:.1} {top:.1}) scale({cell})\" shape-rendering=\"crispEdges\">{}</g>",
        paths(&levels(&vms))
    );
    for (i, vm) in vms.iter().enumerate().filter(|_| named) {
        let (y, name) = (top + cell * (i as f64 + 0.5) + 4.0, escaped(&label(vm.vm.as_str())));
        let (x, size) = (left - 6.0, LETTERS.min(cell - 1.0));
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" font-size=\"{size}\" fill=\"{ink}\">{name}</text>"
        );
    }
    let mut begin = 0;
    for (name, vms) in groups {
        let (at, size) = (cell * begin as f64, cell * vms.len() as f64);
        let (x, y, name) = (left + at, top + at, label(name));
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{size:.1}\" height=\"{size:.1}\" fill=\"none\" stroke=\"{ink}\"/>"
        );
        if width(&name) <= size {
            let (x, y, name) = (x + size / 2.0, top - 6.0, escaped(&name));
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"{ink}\">{name}</text>"
            );
        }
        begin += vms.len();
    }
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" fill=\"none\" stroke=\"{frame}\"/>"
    );
    out + &key(left, top + side + 16.0) + "</svg>\n"
}

/// What the colours mean.
fn key(x: f64, y: f64) -> String {
    const BOX: f64 = 10.0;
    let levels: Vec<i8> = (-STEPS..=STEPS).collect();
    let (wide, quiet) = (BOX * levels.len() as f64, tone::QUIET.hex());
    let mut out = format!(
        "<g transform=\"translate({x:.1} {y:.1}) scale({BOX})\" shape-rendering=\"crispEdges\">{}</g>\n",
        paths(&[levels])
    );
    for (text, share, anchor) in [("-1", 0.0, "start"), ("0", 0.5, "middle"), ("1", 1.0, "end")] {
        let (x, y) = (x + wide * share, y + BOX + 14.0);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{quiet}\">{text}</text>"
        );
    }
    out
}

/// A path for each level, with all cells that have it; equal neighbours are one. What is near 0 has no colour.
fn paths(rows: &[Vec<i8>]) -> String {
    let mut out = String::new();
    for level in (-STEPS..=STEPS).filter(|level| *level != 0) {
        let mut cells = String::new();
        for (y, row) in rows.iter().enumerate() {
            let mut x = 0;
            for same in row.chunk_by(|one, other| one == other) {
                if same[0] == level {
                    let n = same.len();
                    let _ = write!(cells, "M{x} {y}h{n}v1h-{n}z");
                }
                x += same.len();
            }
        }
        if !cells.is_empty() {
            let (fill, share) =
                (series(usize::from(level < 0)).hex(), f64::from(level.abs()) / f64::from(STEPS));
            let _ = write!(out, "<path fill=\"{fill}\" fill-opacity=\"{share}\" d=\"{cells}\"/>");
        }
    }
    out
}

/// The correlations, in steps.
fn levels(vms: &[&Recorded]) -> Vec<Vec<i8>> {
    let unit = |vm: &&Recorded| {
        let mean = vm.samples.iter().map(|x| f64::from(*x)).sum::<f64>() / vm.samples.len() as f64;
        let off: Vec<f64> = vm.samples.iter().map(|x| f64::from(*x) - mean).collect();
        let length = off.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        off.into_iter().map(|x| x / length).collect::<Vec<f64>>()
    };
    let units: Vec<Vec<f64>> = vms.iter().map(unit).collect();
    let level = |a: &[f64], b: &[f64]| {
        let correlation = a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        (correlation * f64::from(STEPS)).round().clamp(f64::from(-STEPS), f64::from(STEPS)) as i8
    };
    units.iter().map(|a| units.iter().map(|b| level(a, b)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::tests::graph;
    use crate::report::recorded::tests::recorded;

    #[test]
    fn members_of_an_ensemble_correlate() {
        let all = recorded(&graph(&[("e1", 3), ("e2", 2)], 0), 100);
        let levels = levels(&all.iter().collect::<Vec<_>>());
        assert!((0..5).all(|i| levels[i][i] == STEPS));
        assert!(levels[0][1] >= 5 && levels[3][4] >= 5 && levels[0][3].abs() <= 3, "{levels:?}");
    }

    #[test]
    fn equal_neighbours_are_one_path() {
        let drawn = paths(&[vec![8, 8, 0, -4]]);
        assert!(
            drawn.contains("d=\"M0 0h2v1h-2z\"") && drawn.contains("fill-opacity=\"0.5\" d=\"M3 0h1v1h-1z\"")
        );
        assert_eq!(drawn.matches("<path").count(), 2);
        assert!(matrix(&[]).ends_with("</svg>\n"));
    }
}
