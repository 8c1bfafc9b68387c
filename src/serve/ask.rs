//! What a request asks for: its parameters, each known, each of the right form; and what it is answered.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

/// The moments that can be asked for, Unix milliseconds: to the last days of the year 9999, as the API's description says.
const MOMENTS_MS: RangeInclusive<i64> = 0..=253_402_207_199_999;

/// How many items an answer has if nothing is said.
const LIMIT: usize = 1_000;

/// The most items: 20,000 dependencies are 4 MB.
pub const MAX_LIMIT: usize = 20_000;

/// Why a request cannot be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong, as HTTP says it.
    pub status: StatusCode,
    /// And in words.
    pub error: String,
}

impl Refusal {
    /// What was asked for makes no sense.
    pub fn bad(error: impl Into<String>) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, error: error.into() }
    }

    /// It is not there.
    pub fn missing(error: impl Into<String>) -> Self {
        Refusal { status: StatusCode::NOT_FOUND, error: error.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

/// The parameters of a request, in order.
#[derive(Debug, Default)]
pub struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let found: Result<Query<_>, QueryRejection> = Query::try_from_uri(&parts.uri);
        found.map(|Query(pairs)| Asked(pairs)).map_err(|error| Refusal::bad(error.body_text()))
    }
}

impl Asked {
    /// Only these may be asked for.
    ///
    /// # Errors
    /// An unknown parameter, one that is there twice and may not be.
    pub fn only(self, known: &[&str]) -> Result<Self, Refusal> {
        for (i, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let there = if known.is_empty() {
                    "there are none".into()
                } else {
                    format!("there are {}", known.join(", "))
                };
                return Err(Refusal::bad(format!("unknown parameter {name:?}: {there}")));
            }
            if name != "vm" && self.0[..i].iter().any(|(before, _)| before == name) {
                return Err(Refusal::bad(format!("parameter {name:?} is there twice")));
            }
        }
        Ok(self)
    }

    /// A parameter's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// All of that name.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn needed(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::bad(format!("parameter {name:?} is missing")))
    }

    /// A moment, Unix milliseconds: said so, or as RFC 3339.
    ///
    /// # Errors
    /// Something that is neither.
    pub fn time_ms(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| {
            let time = || text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
            let ms = text.parse::<i64>().ok().filter(|ms| MOMENTS_MS.contains(ms));
            ms.or_else(time).ok_or_else(|| {
                let example = "2026-03-01T12:05:00Z";
                Refusal::bad(format!(
                    "{name}={text:?} is neither a time such as {example} nor Unix milliseconds"
                ))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// A number.
    ///
    /// # Errors
    /// Something else.
    pub fn number(&self, name: &str) -> Result<Option<f64>, Refusal> {
        let parse = |text: &str| {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| Refusal::bad(format!("{name}={text:?} is no number")))
        };
        self.text(name).map(parse).transpose()
    }

    /// How many items, and after which one.
    ///
    /// # Errors
    /// A limit that is none, a cursor that is not from here.
    pub fn page(&self) -> Result<Page, Refusal> {
        let limit = match self.text("limit") {
            None => LIMIT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                    Refusal::bad(format!("limit={text:?} is no number from 1 to {MAX_LIMIT}"))
                })?
            }
        };
        let after = match self.text("after") {
            None => None,
            Some(text) => {
                let (end_ms, offset) = text.split_once('.').unwrap_or_default();
                let cursor = end_ms.parse().ok().zip(offset.parse().ok());
                Some(
                    cursor
                        .ok_or_else(|| Refusal::bad(format!("after={text:?} is no \"next\" of an answer")))?,
                )
            }
        };
        Ok(Page { limit, after })
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many items.
    pub limit: usize,
    /// From there on: a moment, and how many items of it were before.
    pub after: Option<(i64, usize)>,
}

/// A list, or a part of it.
#[derive(Serialize)]
pub struct List<T> {
    /// The end of the last window that it knows of.
    pub window_end_ms: Option<i64>,
    /// How many items there are in all.
    pub total: usize,
    /// Those of this part.
    pub items: Vec<T>,
    /// What to ask for next: `after`.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// The part of `items`, which are of one moment, that `page` asks for.
    pub fn cut(window_end_ms: Option<i64>, items: impl IntoIterator<Item = T>, page: Page) -> Self {
        let skip = page.after.map_or(0, |(_, offset)| offset);
        let (mut total, mut kept) = (0, vec![]);
        for item in items {
            if (skip..skip.saturating_add(page.limit)).contains(&total) {
                kept.push(item);
            }
            total += 1;
        }
        let end = skip.saturating_add(kept.len());
        let next = window_end_ms.filter(|_| end < total && !kept.is_empty());
        List { window_end_ms, total, items: kept, next: next.map(|end_ms| format!("{end_ms}.{end}")) }
    }

    /// The same part, its items said in another way: what is not in it need not be said.
    pub fn map<U>(self, say: impl FnMut(T) -> U) -> List<U> {
        let List { window_end_ms, total, items, next } = self;
        List { window_end_ms, total, items: items.into_iter().map(say).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        let uri = format!("http://x/y?{query}").parse().unwrap();
        Asked(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn parameters_are_known_and_right() {
        let all = asked("at=1700000000000&since=2023-11-14T22:13:20Z&q=a%26b&vm=x&vm=y&min_strength=0.5");
        let all = all.only(&["at", "since", "q", "vm", "min_strength"]).unwrap();
        assert_eq!(all.time_ms("at"), Ok(Some(1_700_000_000_000)));
        assert_eq!(all.time_ms("since"), all.time_ms("at"));
        assert_eq!(all.text("q"), Some("a&b"));
        assert_eq!(all.texts("vm").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(all.number("min_strength"), Ok(Some(0.5)));
        assert_eq!(all.number("at2"), Ok(None));
        for (query, error) in [
            ("x=1", "unknown parameter \"x\": there are at, limit, after"),
            ("at=1&at=2", "parameter \"at\" is there twice"),
        ] {
            assert_eq!(asked(query).only(&["at", "limit", "after"]).unwrap_err().error, error);
        }
        assert!(asked("at=yesterday").time_ms("at").unwrap_err().error.contains("neither a time"));
        assert!(asked("at=253402207201000").time_ms("at").is_err());
        assert!(asked("n=NaN").number("n").is_err());
        for query in ["limit=0", "limit=20001", "limit=x", "after=1", "after=x.1", "after=1.-1"] {
            assert!(asked(query).page().is_err(), "{query}");
        }
    }

    #[test]
    fn pages_are_the_list() {
        let (mut page, mut all) = (asked("limit=3").page().unwrap(), vec![]);
        loop {
            let list = List::cut(Some(7), 0..10, page);
            assert_eq!(list.total, 10);
            all.extend(list.items);
            let Some(next) = list.next else { break };
            page = asked(&format!("limit=3&after={next}")).page().unwrap();
            assert_eq!(page.after, Some((7, all.len())));
        }
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}
