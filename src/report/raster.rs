//! A picture as PNG: the same shapes as in SVG, in light colours, twice as fine as on a screen.

use tiny_skia::{FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::drawing::{Anchor, CORNER, DASH, DOT, Drawing, LETTERS, Point, RING, Shape};
use super::tone::{self, Tone};

/// Pixels for each unit of a picture, if that is not too many.
const FINE: f64 = 2.0;
/// Pixels of a file: 4 bytes each while it is drawn, so 128 MiB. Larger pictures are drawn less finely.
const PIXELS: f64 = (1 << 25) as f64;

/// A picture cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// There is nothing in it.
    #[error("there is nothing to draw")]
    Empty,
    /// The font that is built in cannot be read.
    #[error("the letters cannot be read")]
    Font(#[source] ttf_parser::FaceParsingError),
    /// It cannot be written as PNG.
    #[error("cannot write the picture: {0}")]
    Encode(String),
}

/// The picture as a PNG file.
///
/// # Errors
/// When there is nothing in it.
pub fn png(drawing: &Drawing) -> Result<Vec<u8>, PngError> {
    let (w, h) = (drawing.width, drawing.height);
    let scale = FINE.min((PIXELS / (w * h).max(1.0)).sqrt());
    let pixels = |length: f64| (length * scale).floor() as u32;
    let mut canvas = Canvas {
        pixmap: Pixmap::new(pixels(w), pixels(h)).ok_or(PngError::Empty)?,
        transform: Transform::from_scale(scale as f32, scale as f32),
        face: Face::parse(dejavu::sans::regular(), 0).map_err(PngError::Font)?,
    };
    let (red, green, blue) = tone::PAPER.rgb();
    canvas.pixmap.fill(tiny_skia::Color::from_rgba8(red, green, blue, 255));
    drawing.shapes.iter().for_each(|shape| canvas.draw(shape));
    canvas.pixmap.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}

struct Canvas {
    pixmap: Pixmap,
    transform: Transform,
    face: Face<'static>,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Box { at, size, fill, frame } => {
                let Some(path) = rounded(*at, *size) else { return };
                self.fill(&path, *fill);
                frame.iter().for_each(|tone| self.stroke(&path, *tone, &Stroke::default()));
            }
            Shape::Line { from, to, width, dashed, tone } => {
                let mut path = PathBuilder::new();
                path.move_to(from.0 as f32, from.1 as f32);
                path.line_to(to.0 as f32, to.1 as f32);
                let dash = dashed.then(|| StrokeDash::new(vec![DASH as f32; 2], 0.0)).flatten();
                let stroke =
                    Stroke { width: *width as f32, line_cap: LineCap::Butt, dash, ..Stroke::default() };
                if let Some(path) = path.finish() {
                    self.stroke(&path, *tone, &stroke);
                }
            }
            Shape::Dot { at, ring, tone } => {
                let circle = |radius: f64| PathBuilder::from_circle(at.0 as f32, at.1 as f32, radius as f32);
                circle(DOT).iter().for_each(|path| self.fill(path, *tone));
                let around = ring.then(|| circle(RING)).flatten();
                around.iter().for_each(|path| self.stroke(path, *tone, &Stroke::default()));
            }
            Shape::Text { at, anchor, text, tone } => {
                if let Some(path) = self.letters(text, *at, *anchor) {
                    self.fill(&path, *tone);
                }
            }
        }
    }

    fn fill(&mut self, path: &Path, tone: Tone) {
        self.pixmap.fill_path(path, &paint(tone), FillRule::Winding, self.transform, None);
    }

    fn stroke(&mut self, path: &Path, tone: Tone, stroke: &Stroke) {
        self.pixmap.stroke_path(path, &paint(tone), stroke, self.transform, None);
    }

    /// The outlines of a text; a box where the font has no letter.
    fn letters(&self, text: &str, at: Point, anchor: Anchor) -> Option<Path> {
        let scale = LETTERS as f32 / f32::from(self.face.units_per_em());
        let glyphs: Vec<GlyphId> =
            text.chars().map(|c| self.face.glyph_index(c).unwrap_or_default()).collect();
        let advance = |glyph: &GlyphId| f32::from(self.face.glyph_hor_advance(*glyph).unwrap_or(0)) * scale;
        let wide: f32 = glyphs.iter().map(advance).sum();
        let before = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => wide / 2.0,
            Anchor::End => wide,
        };
        let mut pen = Pen { path: PathBuilder::new(), at: (at.0 as f32 - before, at.1 as f32), scale };
        for glyph in glyphs {
            self.face.outline_glyph(glyph, &mut pen);
            pen.at.0 += advance(&glyph);
        }
        pen.path.finish()
    }
}

fn paint(tone: Tone) -> Paint<'static> {
    let (red, green, blue) = tone.rgb();
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

fn rounded((x, y): Point, (w, h): Point) -> Option<Path> {
    let rect = Rect::from_xywh(x as f32, y as f32, w as f32, h as f32)?;
    let (left, top, right, bottom) = (rect.left(), rect.top(), rect.right(), rect.bottom());
    let r = (CORNER as f32).min(rect.width() / 2.0).min(rect.height() / 2.0);
    let mut path = PathBuilder::new();
    path.move_to(left + r, top);
    path.line_to(right - r, top);
    path.quad_to(right, top, right, top + r);
    path.line_to(right, bottom - r);
    path.quad_to(right, bottom, right - r, bottom);
    path.line_to(left + r, bottom);
    path.quad_to(left, bottom, left, bottom - r);
    path.line_to(left, top + r);
    path.quad_to(left, top, left + r, top);
    path.close();
    path.finish()
}

/// Draws a letter at a place; fonts count upwards.
struct Pen {
    path: PathBuilder,
    at: (f32, f32),
    scale: f32,
}

impl Pen {
    fn to(&self, x: f32, y: f32) -> (f32, f32) {
        (self.at.0 + x * self.scale, self.at.1 - y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.to(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.to(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.to(x1, y1), self.to(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.to(x1, y1), self.to(x2, y2), self.to(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::graph::Graph;
    use crate::report::graph::tests::graph;
    use crate::report::layout::picture;

    #[test]
    fn the_picture_is_drawn_and_the_same_each_time() {
        let (drawing, _) = picture(&graph(&[("e1", 3), ("e2", 2)], 0), 10);
        let file = png(&drawing).unwrap();
        let decoded = Pixmap::decode_png(&file).unwrap();
        assert_eq!(f64::from(decoded.width()), (drawing.width * FINE).floor());
        let ink = decoded.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(ink > 500, "{ink}");
        assert_eq!(file, png(&drawing).unwrap());
    }

    #[test]
    fn a_large_picture_is_less_fine_and_an_empty_one_none() {
        let large = Drawing { width: 1000.0, height: 100_000.0, shapes: vec![] };
        let decoded = Pixmap::decode_png(&png(&large).unwrap()).unwrap();
        assert!(f64::from(decoded.width() * decoded.height()) <= PIXELS);
        assert!(matches!(png(&Drawing::default()), Err(PngError::Empty)));
        assert!(png(&picture(&Graph::default(), 10).0).is_ok());
    }
}
