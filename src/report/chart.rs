//! Lines and points with axes, drawn by plotters.

use std::fmt::Display;
use std::ops::Range;

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, Text};
use plotters::series::LineSeries;
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::drawing::{escaped, label};
use super::tone::{self, Tone};

/// How wide charts are.
const WIDE: u32 = 900;
/// How high one is.
const HIGH: u32 = 320;
/// How high one of several is.
const ROW: u32 = 78;
/// What an axis with its name needs.
const AXIS: u32 = 44;
/// What numbers beside an axis need.
const BESIDE: u32 = 64;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Points and what they are called.
pub struct Curve<'a> {
    /// A name of a VM or an ensemble, or a word of ours.
    pub name: &'a str,
    /// Its colour.
    pub tone: Tone,
    /// In order.
    pub points: Vec<(f64, f64)>,
}

/// What the axes say.
pub struct Axes<'a> {
    /// What the picture shows, for those who do not see it.
    pub about: &'a str,
    /// Below.
    pub x: &'a str,
    /// At the left.
    pub y: &'a str,
}

/// Curves over each other.
pub fn lines(axes: &Axes<'_>, curves: &[Curve<'_>]) -> String {
    drawn((WIDE, HIGH), axes.about, |area| {
        let mut chart = framed(area, axes, (span(curves, |p| p.0), span(curves, |p| p.1)))?;
        for Curve { tone, points, .. } in curves {
            chart.draw_series(LineSeries::new(points.iter().copied(), rgb(*tone).stroke_width(2)))?;
        }
        Ok(())
    })
}

/// Curves below each other, each from 0 to its own most, with its name.
pub fn stacked(axes: &Axes<'_>, curves: &[Curve<'_>]) -> String {
    let high = ROW * curves.len() as u32 + AXIS;
    drawn((WIDE, high), axes.about, |area| {
        let mut rest = area.clone();
        for (i, curve) in curves.iter().enumerate() {
            let last = i + 1 == curves.len();
            let (row, below) = rest.split_vertically(if last { ROW + AXIS } else { ROW });
            rest = below;
            let most = span(std::slice::from_ref(curve), |p| p.1).end;
            let named = Axes { x: if last { axes.x } else { "" }, y: "", ..*axes };
            let mut chart = framed(&row, &named, (span(curves, |p| p.0), 0.0..most))?;
            let line = rgb(curve.tone).stroke_width(1);
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), line))?;
            row.draw_text(&label(curve.name), &letters(tone::INK, 15), (BESIDE as i32 + 6, 2))?;
        }
        Ok(())
    })
}

/// Points of several kinds, the names of some of these among them.
pub fn scatter(axes: &Axes<'_>, kinds: &[Curve<'_>]) -> String {
    drawn((WIDE, 560), axes.about, |area| {
        let mut chart = framed(area, axes, (span(kinds, |p| p.0), span(kinds, |p| p.1)))?;
        for Curve { tone, points, .. } in kinds {
            let dot = |point: &(f64, f64)| Circle::new(*point, 4, rgb(*tone).filled());
            chart.draw_series(points.iter().map(dot))?;
        }
        let names = kinds.iter().filter(|kind| !kind.name.is_empty() && !kind.points.is_empty());
        chart.draw_series(names.map(|Curve { name, points, .. }| {
            let n = points.len() as f64;
            let middle = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n));
            Text::new(label(name), middle, letters(tone::INK, 15))
        }))?;
        Ok(())
    })
}

fn rgb(tone: Tone) -> RGBColor {
    let (red, green, blue) = tone.rgb();
    RGBColor(red, green, blue)
}

fn letters(tone: Tone, size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&rgb(tone))
}

/// Draws into a text; what went wrong stands there instead.
fn drawn(size: (u32, u32), about: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let done = draw(&area).and_then(|()| area.present());
    drop(area);
    let about = escaped(about);
    match done {
        Ok(()) => text.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{about}\" "), 1),
        Err(error) => format!("<p>{about} cannot be drawn: {}</p>\n", escaped(&error.to_string())),
    }
}

fn framed<'a, 'b>(
    area: &'a Area<'b>,
    axes: &Axes<'_>,
    (x, y): (Range<f64>, Range<f64>),
) -> Result<Chart<'a, 'b>, DrawingAreaErrorKind<std::io::Error>> {
    let below = if axes.x.is_empty() { 8 } else { AXIS };
    let mut chart = ChartBuilder::on(area)
        .margin_top(if axes.y.is_empty() { 20 } else { 10 })
        .margin_right(14)
        .x_label_area_size(below)
        .y_label_area_size(BESIDE)
        .build_cartesian_2d(x, y)?;
    let rows = (area.dim_in_pixel().1 / 40).clamp(3, 8) as usize;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .axis_style(rgb(tone::RULE))
        .bold_line_style(rgb(tone::RULE))
        .light_line_style(rgb(tone::RULE).mix(0.0))
        .label_style(letters(tone::QUIET, 14))
        .axis_desc_style(letters(tone::QUIET, 15))
        .x_labels(if axes.x.is_empty() { 0 } else { 10 })
        .y_labels(rows)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|x| short(x))
        .y_label_formatter(&|y| short(y))
        .draw()?;
    Ok(chart)
}

/// A number with no more digits than it needs.
fn short(x: &impl Display) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// From the least to the most, and a little more; never nothing.
fn span(curves: &[Curve<'_>], of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(&of)).filter(|x| x.is_finite());
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    match most - least {
        wide if wide.is_finite() && wide > 0.0 => least - wide * 0.02..most + wide * 0.02,
        _ if least.is_finite() => least - 1.0..least + 1.0,
        _ => 0.0..1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes<'_> = Axes { about: "A <b>", x: "x", y: "y" };

    fn curve(name: &str, points: Vec<(f64, f64)>) -> Curve<'_> {
        Curve { name, tone: tone::series(0), points }
    }

    #[test]
    fn charts_of_anything_are_drawn() {
        let cases = [
            vec![],
            vec![curve("", vec![])],
            vec![curve("<script>", vec![(0.0, 1.0)]), curve("b", vec![(0.0, 1.0), (0.0, 1.0)])],
            vec![curve("a", vec![(0.0, f64::NAN), (1.0, 2.0), (2.0, 1e300)])],
        ];
        for curves in &cases {
            for text in [lines(&AXES, curves), stacked(&AXES, curves), scatter(&AXES, curves)] {
                assert!(text.starts_with("<svg role=\"img\" aria-label=\"A &lt;b&gt;\""), "{text}");
                assert!(text.ends_with("</svg>\n") && !text.contains("<script") && !text.contains("style="));
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        for (x, text) in [(0.5, "0.5"), (100.0, "100"), (-0.0001, "0"), (1.23456, "1.235")] {
            assert_eq!(short(&x), text);
        }
    }
}
