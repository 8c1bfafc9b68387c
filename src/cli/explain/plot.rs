//! Small plots for a terminal.

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A plot of `values`, `width` columns by `height` lines, the top one first: each column shows the mean of its
/// values, from 0 to `most`.
pub fn area(values: &[f64], most: f64, width: usize, height: usize) -> Vec<String> {
    let columns = columns(values, width);
    let eighths = |x: &f64| (x / most.max(1e-9) * 8.0 * height as f64).round().max(0.0) as usize;
    let line =
        |above: usize| columns.iter().map(|x| EIGHTHS[eighths(x).saturating_sub(8 * above).min(8)]).collect();
    (0..height).rev().map(line).collect()
}

/// The largest mean of a column, for [`area`].
pub fn most(values: &[f64], width: usize) -> f64 {
    columns(values, width).into_iter().fold(0.0, f64::max)
}

fn columns(values: &[f64], width: usize) -> Vec<f64> {
    let width = width.min(values.len());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    (0..width).map(|c| mean(&values[c * values.len() / width..(c + 1) * values.len() / width])).collect()
}

/// A bar for `value` of `most`, with a mark where `enough` is; what is negative is grey.
pub fn bar(value: f64, enough: f64, most: f64, width: usize) -> String {
    let at = |x: f64| (x.abs() / most.max(1e-9) * width as f64).round().min(width as f64) as usize;
    let fill = if value < 0.0 { '▒' } else { '█' };
    let one = |column| match column {
        _ if column < at(value) => fill,
        _ if column == at(enough) => '┊',
        _ => ' ',
    };
    (0..=width).map(one).collect::<String>().trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_has_eighths() {
        let values = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0];
        assert_eq!(most(&values, 3), 12.0);
        assert_eq!(area(&values, 16.0, 6, 2), ["     █", " ▁▂▄██"]);
        assert_eq!(area(&values, 16.0, 3, 1), [" ▂▆"]);
        assert_eq!(area(&[], 1.0, 6, 1), [""]);
    }

    #[test]
    fn a_bar_marks_what_is_enough() {
        assert_eq!(bar(2.0, 5.0, 10.0, 10), "██   ┊");
        assert_eq!(bar(-6.0, 5.0, 10.0, 10), "▒▒▒▒▒▒");
        assert_eq!(bar(0.0, 5.0, 5.0, 10), "          ┊");
    }
}
