//! Found against true: which of all pairs of VMs depend on each other and were found to, as the paper's
//! Table 1 counts them. Two VMs depend on each other if they share an ensemble.

mod count;
mod edges;
mod result;
mod truth;

use std::fmt::Write;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, LineStyle, Table};
use serde::Serialize;

pub use edges::{EdgeScore, Edges, mean_edges};
pub use result::{Found, FoundDependency, ResultError};
pub use truth::{CsvError, Judged, Truth, agreement};

/// How many of all pairs were judged rightly and wrongly.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Score {
    /// Dependent, and found.
    pub tp: u64,
    /// Independent, and not found.
    pub tn: u64,
    /// Independent, yet found.
    pub fp: u64,
    /// Dependent, yet not found.
    #[serde(rename = "fn")]
    pub fn_: u64,
}

/// What a table shows of one window, or of several on average. A ratio 0/0 is `None`.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Measures {
    /// Pairs: dependent, and found.
    pub tp: f64,
    /// Pairs: independent, and not found.
    pub tn: f64,
    /// Pairs: independent, yet found.
    pub fp: f64,
    /// Pairs: dependent, yet not found.
    #[serde(rename = "fn")]
    pub fn_: f64,
    /// The share of all pairs that were judged rightly.
    pub accuracy: Option<f64>,
    /// The share of the found pairs that are dependent.
    pub precision: Option<f64>,
    /// The share of the dependent pairs that were found.
    pub recall: Option<f64>,
    /// The harmonic mean of precision and recall.
    pub f1: Option<f64>,
}

impl Score {
    /// (TP + TN) / all pairs.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn_)
    }

    /// TP / (TP + FP).
    pub fn precision(&self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fp)
    }

    /// TP / (TP + FN).
    pub fn recall(&self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fn_)
    }

    /// 2 TP / (2 TP + FP + FN).
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn_)
    }

    /// The counts and ratios, as a table shows them.
    pub fn measures(&self) -> Measures {
        Measures {
            tp: self.tp as f64,
            tn: self.tn as f64,
            fp: self.fp as f64,
            fn_: self.fn_ as f64,
            accuracy: self.accuracy(),
            precision: self.precision(),
            recall: self.recall(),
            f1: self.f1(),
        }
    }
}

/// The mean of every measure over several windows; of a ratio, over the windows in which it is defined.
pub fn mean(scores: &[Score]) -> Measures {
    let of = |measure: fn(&Score) -> Option<f64>| mean_of(scores.iter().filter_map(measure));
    Measures {
        tp: of(|s| Some(s.tp as f64)).unwrap_or(0.0),
        tn: of(|s| Some(s.tn as f64)).unwrap_or(0.0),
        fp: of(|s| Some(s.fp as f64)).unwrap_or(0.0),
        fn_: of(|s| Some(s.fn_ as f64)).unwrap_or(0.0),
        accuracy: of(Score::accuracy),
        precision: of(Score::precision),
        recall: of(Score::recall),
        f1: of(Score::f1),
    }
}

/// The paper's Table 1, a row for each label; a ratio that is not defined prints as `-`. Ends with a newline.
pub fn table(rows: &[(String, Measures)]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(["", "TP", "TN", "FP", "FN", "accuracy", "precision", "recall", "F1"]);
    for (label, m) in rows {
        let mut cells = vec![label.clone()];
        cells.extend([m.tp, m.tn, m.fp, m.fn_].map(count));
        cells.push(m.accuracy.map_or("-".into(), |share| format!("{:.1} %", 100.0 * share)));
        cells.extend([m.precision, m.recall, m.f1].map(share));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt() + "\n"
}

/// A ratio as tables print it: three digits, or `-`.
pub fn share(ratio: Option<f64>) -> String {
    ratio.map_or("-".into(), |ratio| format!("{ratio:.3}"))
}

/// A number of pairs, its thousands set apart; with one digit after the point where a mean has one.
fn count(value: f64) -> String {
    let tenths = (value * 10.0).round() as u64;
    let digits = (tenths / 10).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if !tenths.is_multiple_of(10) {
        // Writing to a string does not fail.
        let _ = write!(text, ".{}", tenths % 10);
    }
    text
}

/// The mean of what there is, if anything.
fn mean_of(defined: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = defined.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    (n > 0.0).then(|| sum / n)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratios_of_the_paper() {
        let passive = Score { tp: 22, tn: 315, fp: 12, fn_: 2 };
        let text =
            table(&[("passive".into(), passive.measures()), ("none".into(), Score::default().measures())]);
        let row = |label: &str| {
            let line = text.lines().find(|line| line.contains(label)).unwrap();
            line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(row("passive"), "22 315 12 2 96.0 % 0.647 0.917 0.759");
        assert_eq!(row("none"), "0 0 0 0 - - - -");
    }

    #[test]
    fn a_mean_leaves_out_what_is_not_defined() {
        let nothing_found = Score { tp: 0, tn: 9, fp: 0, fn_: 1 };
        let all_right = Score { tp: 1, tn: 9, fp: 0, fn_: 0 };
        let mean = mean(&[nothing_found, all_right]);
        assert_eq!((mean.tp, mean.precision, mean.recall), (0.5, Some(1.0), Some(0.5)));
        assert_eq!(super::mean(&[]), Measures::default());
    }

    #[test]
    fn counts_are_read_in_thousands() {
        for (value, text) in [(0.0, "0"), (999.0, "999"), (719_400.0, "719,400"), (1234.56, "1,234.6")] {
            assert_eq!(count(value), text);
        }
    }
}
