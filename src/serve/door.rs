//! Who may come in, and who may decide. Whoever looks needs a token, or to be on this machine; whoever decides needs to be one of
//! those who may, and must not be a page from elsewhere that a browser asks for.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ask::Refusal;

/// The header that only a page from here, or a program, sends: for one from elsewhere a browser would ask first, and we do not
/// answer.
const ASKED_BY: (&str, &str) = ("x-requested-with", "lwt");

/// Who decides where nobody shows a token.
const SOMEBODY: &str = "somebody on this machine";

/// Who may come in, and who may decide.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// The token of those who may look. Without one whoever is on this machine may, and asks for it by a name of this machine: a
    /// page from elsewhere, whose name is made to mean us, does not.
    pub read: Option<Arc<str>>,
    /// Those who may decide, too: name and token. Without any, and without the other token, whoever is on this machine.
    pub write: Vec<(Arc<str>, Arc<str>)>,
}

/// Who decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Writer(pub Arc<str>);

/// What somebody may do.
#[derive(PartialEq, Eq, Debug)]
enum Role {
    Nobody,
    Reader,
    Writer(Writer),
}

impl Door {
    fn role(&self, shown: Option<&str>) -> Role {
        let is = |token: &str| shown.is_some_and(|shown| same(shown, token));
        let writer = self.write.iter().find(|(_, token)| is(token));
        match (writer, &self.read) {
            (Some((who, _)), _) => Role::Writer(Writer(who.clone())),
            (None, None) if self.write.is_empty() => Role::Writer(Writer(SOMEBODY.into())),
            (None, None) => Role::Reader,
            (None, Some(token)) if is(token) => Role::Reader,
            (None, Some(_)) => Role::Nobody,
        }
    }
}

/// Whether a request names this machine, where that is asked for.
pub async fn look_at_host(State(door): State<Door>, request: Request, next: Next) -> Response {
    if door.read.is_some() || is_local(request.headers()) {
        return next.run(request).await;
    }
    refuse(
        StatusCode::FORBIDDEN,
        "asked for by a name that is not this machine's: use http://localhost or http://127.0.0.1",
    )
}

/// Whether a request may look; and, if it changes something, decide.
pub async fn look_at_token(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let (role, changes) = (door.role(shown), !request.method().is_safe());
    match role {
        Role::Nobody => refuse(StatusCode::UNAUTHORIZED, "show the token: Authorization: Bearer TOKEN"),
        Role::Reader if changes && door.read.is_none() => {
            refuse(StatusCode::UNAUTHORIZED, "show a token that may decide: Authorization: Bearer TOKEN")
        }
        Role::Reader if changes && door.write.is_empty() => {
            refuse(StatusCode::FORBIDDEN, "nobody may decide here: serve.write_token_file says who may")
        }
        Role::Reader if changes => refuse(StatusCode::FORBIDDEN, "this token may look, but not decide"),
        Role::Writer(_) if changes && !is_from_here(headers) => refuse(
            StatusCode::FORBIDDEN,
            "a page from elsewhere may not decide: say X-Requested-With: lwt, and an Origin, if any, that is the Host",
        ),
        Role::Writer(writer) => {
            request.extensions_mut().insert(writer);
            next.run(request).await
        }
        Role::Reader => next.run(request).await,
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    Refusal { status, error: error.into() }.into_response()
}

/// Whether the request names this machine. HTTP 1.0 need not name any.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().unwrap_or("?");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether it was a page of ours, or no page, that asks.
fn is_from_here(headers: &HeaderMap) -> bool {
    let (name, value) = ASKED_BY;
    let ours = headers.get(name).is_some_and(|asked| asked == value);
    let Some(origin) = headers.get(ORIGIN) else { return ours };
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, from)| from);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    ours && from.zip(host).is_some_and(|(from, host)| from.eq_ignore_ascii_case(host))
}

/// Takes as long whatever is different.
fn same(shown: &str, token: &str) -> bool {
    let different = shown.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    shown.len() == token.len() && std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let one = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn only_names_of_this_machine() {
        for (host, local) in [
            ("localhost", true),
            ("localhost:7890", true),
            ("127.0.0.1:7890", true),
            ("[::1]:7890", true),
            ("evil.example:7890", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.0.7", false),
        ] {
            assert_eq!(is_local(&headers(&[("host", host)])), local, "{host}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        assert!(same("secret", "secret"));
        assert!(!same("secre", "secret") && !same("secrets", "secret") && !same("Secret", "secret"));
    }

    #[test]
    fn a_page_from_elsewhere_is_told_apart() {
        let (asked, host) = (("x-requested-with", "lwt"), ("host", "127.0.0.1:7890"));
        for (all, here) in [
            (&[asked, host][..], true),
            (&[asked, host, ("origin", "http://127.0.0.1:7890")], true),
            (&[asked, ("host", "lwt.example"), ("origin", "https://lwt.example")], true),
            (&[host], false),
            (&[host, ("origin", "http://127.0.0.1:7890")], false),
            (&[host, ("x-requested-with", "XMLHttpRequest")], false),
            (&[asked, host, ("origin", "http://evil.example")], false),
            (&[asked, host, ("origin", "http://127.0.0.1:7891")], false),
            (&[asked, host, ("origin", "null")], false),
            (&[asked, ("origin", "http://127.0.0.1:7890")], false),
        ] {
            assert_eq!(is_from_here(&headers(all)), here, "{all:?}");
        }
    }

    #[test]
    fn who_may_do_what() {
        let token = |text: &str| Some(Arc::<str>::from(text));
        let eve = || (Arc::<str>::from("eve"), Arc::<str>::from("writes"));
        let writer = |who: &str| Role::Writer(Writer(who.into()));
        let (free, both) = (Door::default(), Door { read: token("reads"), write: vec![eve()] });
        let (local, looks) =
            (Door { read: None, write: vec![eve()] }, Door { read: token("reads"), write: vec![] });
        for (door, shown, role) in [
            (&free, None, writer(SOMEBODY)),
            (&free, Some("anything"), writer(SOMEBODY)),
            (&both, None, Role::Nobody),
            (&both, Some("wrong"), Role::Nobody),
            (&both, Some("reads"), Role::Reader),
            (&both, Some("writes"), writer("eve")),
            (&local, None, Role::Reader),
            (&local, Some("wrong"), Role::Reader),
            (&local, Some("writes"), writer("eve")),
            (&looks, None, Role::Nobody),
            (&looks, Some("reads"), Role::Reader),
        ] {
            assert_eq!(door.role(shown), role, "{door:?} {shown:?}");
        }
    }
}
