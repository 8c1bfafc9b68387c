//! The dashboard's files: part of the program, so that it works wherever it runs.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::ask::Refusal;

/// Each file by its name.
const FILES: &[(&str, &[u8])] = &[
    ("api.js", include_bytes!("assets/api.js")),
    ("app.js", include_bytes!("assets/app.js")),
    ("charts.js", include_bytes!("assets/charts.js")),
    ("decide.js", include_bytes!("assets/decide.js")),
    ("dom.js", include_bytes!("assets/dom.js")),
    ("draw.js", include_bytes!("assets/draw.js")),
    ("events.js", include_bytes!("assets/events.js")),
    ("format.js", include_bytes!("assets/format.js")),
    ("icon.svg", include_bytes!("assets/icon.svg")),
    ("layout.js", include_bytes!("assets/layout.js")),
    ("lists.js", include_bytes!("assets/lists.js")),
    ("map.js", include_bytes!("assets/map.js")),
    ("model.js", include_bytes!("assets/model.js")),
    ("panel.js", include_bytes!("assets/panel.js")),
    ("route.js", include_bytes!("assets/route.js")),
    ("scene.js", include_bytes!("assets/scene.js")),
    ("style.css", include_bytes!("assets/style.css")),
    ("theme.js", include_bytes!("assets/theme.js")),
    ("timeline.js", include_bytes!("assets/timeline.js")),
];

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
