//! The dashboard and the API as one site.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;

use super::board::Board;
use super::door::{Door, look_at_host, look_at_token};
use super::{alive, answer, api, assets};

/// Nothing but what comes from here: VMs' names are written by strangers.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The site.
pub fn router(board: Arc<Board>, door: Door) -> Router {
    let api = api::router().with_state(board.clone());
    // What the page is made of is no secret: it asks for the token.
    let inside = Router::new().nest("/api/v1", api).layer(from_fn_with_state(door.clone(), look_at_token));
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{file}", get(assets::file))
        .route("/api/v1/openapi.json", get(assets::openapi))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(board)
        .merge(inside)
        .layer(from_fn_with_state(door, look_at_host))
        .layer(map_response(mark))
}

/// Whether there is something to be seen.
async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, String) {
    answer(board.history(|history| history.now().end_ms.is_some()), "starting: no window yet")
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
