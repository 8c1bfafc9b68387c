//! The dashboard and the API as one site, and who may come in.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::ask::Refusal;
use super::board::Board;
use super::{alive, answer, api, assets};

/// Nothing but what comes from here: VMs' names are written by strangers.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Who may come in.
#[derive(Clone)]
pub enum Door {
    /// Whoever is on this machine, and asks for it by a name of this machine: a page from elsewhere, whose name is made
    /// to mean us, does not.
    Loopback,
    /// Whoever shows this token.
    Token(Arc<str>),
}

/// The site.
pub fn router(board: Arc<Board>, door: Door) -> Router {
    let api = api::router().with_state(board.clone());
    // What the page is made of is no secret: it asks for the token.
    let inside =
        Router::new().nest("/api/v1", api).layer(middleware::from_fn_with_state(door.clone(), ask_for_token));
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{file}", get(assets::file))
        .route("/api/v1/openapi.json", get(assets::openapi))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(board)
        .merge(inside)
        .layer(middleware::from_fn_with_state(door, look_at_host))
        .layer(middleware::map_response(mark))
}

/// Whether there is something to be seen.
async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, String) {
    answer(board.history(|history| history.now().end_ms.is_some()), "starting: no window yet")
}

async fn look_at_host(State(door): State<Door>, request: Request, next: Next) -> Response {
    let ours = matches!(door, Door::Token(_)) || is_local(request.headers());
    if ours {
        return next.run(request).await;
    }
    let error =
        "asked for by a name that is not this machine's: use http://localhost or http://127.0.0.1".into();
    Refusal { status: StatusCode::FORBIDDEN, error }.into_response()
}

/// Whether the request names this machine. HTTP 1.0 need not name any.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().unwrap_or("?");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn ask_for_token(State(door): State<Door>, request: Request, next: Next) -> Response {
    let shown =
        request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let may = match &door {
        Door::Loopback => true,
        Door::Token(token) => shown.is_some_and(|shown| same(shown, token)),
    };
    if may {
        return next.run(request).await;
    }
    let error = "show the token: Authorization: Bearer TOKEN".into();
    Refusal { status: StatusCode::UNAUTHORIZED, error }.into_response()
}

/// Takes as long whatever is different.
fn same(shown: &str, token: &str) -> bool {
    let different = shown.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    shown.len() == token.len() && std::hint::black_box(different) == 0
}

/// What every answer says to a browser.
async fn mark(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_local(&headers), local, "{host}");
        }
    }

    #[test]
    fn a_token_is_the_same_or_not() {
        assert!(same("secret", "secret"));
        assert!(!same("secre", "secret") && !same("secrets", "secret") && !same("Secret", "secret"));
    }
}
