//! HTML that is safe whatever it is made of: text is escaped where it is put in, and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::drawing::{escaped, seen};
use super::tone::{self, Tone};

/// A page under way.
pub struct Html(String);

impl Html {
    /// The head: nothing is fetched from anywhere, nothing runs, and only this style sheet counts.
    pub fn new(title: &str) -> Self {
        let style = format!("{}{}", include_str!("page.css"), tone::dark());
        let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
        let policy =
            format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
        Html(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            plain(title)
        ))
    }

    /// The largest heading.
    pub fn title(&mut self, text: &str) {
        self.0 += &format!("<h1>{}</h1>\n", plain(text));
    }

    /// A heading that others can point to by `id`, a word of ours.
    pub fn heading(&mut self, id: &str, text: &str) {
        self.0 += &format!("<h2 id=\"{id}\">{}</h2>\n", plain(text));
    }

    /// Where the headings are.
    pub fn contents(&mut self, headings: &[(&str, &str)]) {
        let link = |(id, text): &(&str, &str)| format!("<a href=\"#{id}\">{}</a>\n", plain(text));
        self.0 += &format!("<nav>{}</nav>\n", headings.iter().map(link).collect::<String>());
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.0 += &format!("<p>{}</p>\n", plain(text));
    }

    /// A picture, with its key and what there is to say of it.
    pub fn figure(&mut self, svg: &str, key: &[(&str, Tone)], caption: &str) {
        let entry = |(name, tone): &(&str, Tone)| {
            let tone = tone.hex();
            format!(
                "<li><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><circle cx=\"6\" cy=\"6\" r=\"5\" fill=\"{tone}\"/></svg> {}</li>\n",
                name_of(name)
            )
        };
        let key: String = key.iter().map(entry).collect();
        let key = if key.is_empty() { key } else { format!("<ul class=\"key\">{key}</ul>\n") };
        let caption = plain(caption);
        self.0 +=
            &format!("<figure tabindex=\"0\">\n{svg}</figure>\n{key}<figcaption>{caption}</figcaption>\n");
    }

    /// A table; columns that begin with `#` hold numbers.
    pub fn table(&mut self, columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let class = |i: usize| {
            if columns.get(i).is_some_and(|name| name.starts_with('#')) { " class=\"n\"" } else { "" }
        };
        self.0 += "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>";
        for (i, name) in columns.iter().enumerate() {
            self.0 += &format!("<th scope=\"col\"{}>{}</th>", class(i), plain(name.trim_start_matches('#')));
        }
        self.0 += "</tr></thead>\n<tbody>\n";
        for row in rows {
            self.0 += "<tr>";
            for (i, cell) in row.iter().enumerate() {
                self.0 += &format!("<td{}>{}</td>", class(i), name_of(cell));
            }
            self.0 += "</tr>\n";
        }
        self.0 += "</tbody>\n</table></div>\n";
    }

    /// The whole page.
    pub fn finish(self) -> String {
        self.0 + "</body>\n</html>\n"
    }
}

/// Text of ours, or that one can see.
fn plain(text: &str) -> String {
    escaped(&text.chars().map(seen).collect::<String>())
}

/// What others wrote: whichever way it is written, what stands beside it is not turned.
fn name_of(text: &str) -> String {
    format!("<bdi>{}</bdi>", plain(text))
}
