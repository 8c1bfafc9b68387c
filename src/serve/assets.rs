//! The dashboard's files: part of the program, so that it works wherever it runs.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::ask::Refusal;

/// Each file by its name.
const FILES: &[(&str, &[u8])] =
    &[("app.js", include_bytes!("assets/app.js")), ("style.css", include_bytes!("assets/style.css"))];

/// The page.
pub async fn index() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], include_bytes!("assets/index.html"))
}

/// The description of the API.
pub async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], include_bytes!("assets/openapi.json"))
}

/// A file of the page.
pub async fn file(Path(name): Path<String>) -> Result<impl IntoResponse, Refusal> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let (_, bytes) = found.ok_or_else(|| Refusal::missing("there is no such file"))?;
    let form = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    Ok(([(CONTENT_TYPE, form)], *bytes))
}
