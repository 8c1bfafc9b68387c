//! A picture as a list of shapes, and what it is in SVG.

use std::fmt::Write;

use super::tone::{self, Tone};

/// A picture: shapes, the first at the back.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Drawing {
    /// Pixels.
    pub width: f64,
    /// Pixels.
    pub height: f64,
    /// What it shows.
    pub shapes: Vec<Shape>,
}

/// A point, pixels from the upper left corner.
pub type Point = (f64, f64);

/// A part of a picture.
#[derive(Clone, PartialEq, Debug)]
pub enum Shape {
    /// A rectangle with round corners, with or without a frame.
    Box {
        /// Its upper left corner.
        at: Point,
        /// Its width and height.
        size: Point,
        /// What it is filled with.
        fill: Tone,
        /// Its frame.
        frame: Option<Tone>,
    },
    /// A straight line.
    Line {
        /// Where it begins.
        from: Point,
        /// Where it ends.
        to: Point,
        /// How thick it is.
        width: f64,
        /// Whether it has gaps.
        dashed: bool,
        /// Its colour.
        tone: Tone,
    },
    /// A dot, in a ring or not.
    Dot {
        /// Its centre.
        at: Point,
        /// Whether it has a ring.
        ring: bool,
        /// Its colour.
        tone: Tone,
    },
    /// One line of text.
    Text {
        /// Where it stands: a point on its base line.
        at: Point,
        /// Which part of it is there.
        anchor: Anchor,
        /// The text, as it is: whoever writes it escapes it.
        text: String,
        /// Its colour.
        tone: Tone,
    },
}

/// Which part of a text is at its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// The height of letters.
pub const LETTERS: f64 = 12.0;
/// The radius of a dot.
pub const DOT: f64 = 4.5;
/// The radius of its ring.
pub const RING: f64 = 7.5;
/// The radius of round corners.
pub const CORNER: f64 = 6.0;
/// How long dashes are, and the gaps between them.
pub const DASH: f64 = 5.0;

/// A name as a picture shows it: of a long one the end, which tells VMs of one host apart. Characters that are not seen, or
/// that turn the direction of writing, are shown as such.
pub fn label(name: &str) -> String {
    const LONGEST: usize = 28;
    let n = name.chars().count();
    let cut = if n > LONGEST { "…" } else { "" };
    cut.chars()
        .chain(name.chars().skip((n + cut.chars().count()).saturating_sub(LONGEST)).map(seen))
        .collect()
}

/// The character, or a mark where it cannot be seen.
pub fn seen(c: char) -> char {
    let turns =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    // XML has no such characters.
    let none = matches!(c, '\u{fffe}' | '\u{ffff}');
    if c.is_control() || turns || none { '\u{fffd}' } else { c }
}

/// About how wide a text is.
pub fn width(text: &str) -> f64 {
    let of = |c: char| if c < '\u{1100}' { 0.6 } else { 1.0 };
    text.chars().map(of).sum::<f64>() * LETTERS
}

/// Text in which nothing means anything to a browser.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

impl Drawing {
    /// The picture as a part of a page; `about` says what it shows to those who do not see it.
    pub fn svg(&self, about: &str) -> String {
        self.written(about, "")
    }

    /// The picture as a file.
    pub fn svg_file(&self, about: &str) -> String {
        let (w, h, paper) = (self.width, self.height, tone::PAPER.hex());
        let ground = format!("<rect width=\"{w:.0}\" height=\"{h:.0}\" fill=\"{paper}\"/>\n");
        self.written(about, &format!("<style>{}</style>\n{ground}", tone::dark()))
    }

    /// Writes lines of text below the picture.
    pub fn add_notes(&mut self, notes: &[String]) {
        const LINE: f64 = 18.0;
        const LEFT: f64 = 28.0;
        for note in notes {
            let text: String = note.chars().map(seen).collect();
            self.width = self.width.max(width(&text) + LEFT);
            let at = (LEFT, self.height);
            self.shapes.push(Shape::Text { at, anchor: Anchor::Start, text, tone: tone::QUIET });
            self.height += LINE;
        }
    }

    fn written(&self, about: &str, first: &str) -> String {
        let (w, h, about) = (self.width, self.height, escaped(about));
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{about}\" width=\"{w:.0}\" height=\"{h:.0}\" \
             viewBox=\"0 0 {w:.0} {h:.0}\" font-family=\"DejaVu Sans,Verdana,sans-serif\" font-size=\"{LETTERS}\">\n{first}"
        );
        self.shapes.iter().for_each(|shape| shape.write(&mut out));
        out + "</svg>\n"
    }
}

impl Shape {
    fn write(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Shape::Box { at: (x, y), size: (w, h), fill, frame } => {
                let (fill, frame) = (fill.hex(), frame.map_or("none".into(), Tone::hex));
                writeln!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{CORNER}\" fill=\"{fill}\" stroke=\"{frame}\"/>"
                )
            }
            Shape::Line { from: (x1, y1), to: (x2, y2), width, dashed, tone } => {
                let (dashes, tone) = (if *dashed { " stroke-dasharray=\"5\"" } else { "" }, tone.hex());
                writeln!(
                    out,
                    "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{tone}\" stroke-width=\"{width:.1}\"{dashes}/>"
                )
            }
            Shape::Dot { at: (x, y), ring, tone } => {
                let tone = tone.hex();
                let around = if *ring {
                    format!(
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RING}\" fill=\"none\" stroke=\"{tone}\"/>"
                    )
                } else {
                    String::new()
                };
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT}\" fill=\"{tone}\"/>{around}")
            }
            Shape::Text { at: (x, y), anchor, text, tone } => {
                let (anchor, text, tone) = (anchor.as_str(), escaped(text), tone.hex());
                writeln!(
                    out,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{tone}\">{text}</text>"
                )
            }
        };
    }
}

impl Anchor {
    fn as_str(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_but_for_what_is_not_seen() {
        let cases = [
            ("web", "web"),
            ("a\u{202e}b\u{1}\u{ffff}", "a\u{fffd}b\u{fffd}\u{fffd}"),
            ("h0000/a-name-that-is-longer-than-others", "…-that-is-longer-than-others"),
            ("", ""),
        ];
        for (name, shown) in cases {
            assert_eq!(label(name), shown);
        }
        assert_eq!(label(&"x".repeat(10_000)).chars().count(), 28);
        assert_eq!(escaped("<b a=\"'&\">"), "&lt;b a=&quot;&#39;&amp;&quot;&gt;");
    }
}
