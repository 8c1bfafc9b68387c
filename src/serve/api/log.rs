//! The events: those of the past, and each as it comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::super::ask::{Asked, List, Page, Refusal};
use super::super::board::Board;
use super::Answer;
use crate::events::event_of;
use crate::transport::records::{Event, EventData};

/// Something is said at least so often, so that both sides see whether the other is still there.
const ALIVE: Duration = Duration::from_secs(15);

pub async fn events(State(board): State<Arc<Board>>, asked: Asked) -> Answer<List<Event>> {
    let asked = asked.only(&["since", "until", "vm", "ensemble", "type", "limit", "after"])?;
    let page = asked.page()?;
    let (since_ms, until_ms) = (asked.time_ms("since")?, asked.time_ms("until")?);
    let wanted = |kind: &str, data: &EventData| {
        let of =
            |vm: &str| [&data.vm, &data.a, &data.b].into_iter().flatten().any(|known| known.as_str() == vm);
        asked.texts("vm").all(of)
            && asked.text("ensemble").is_none_or(|name| data.ensemble.as_deref() == Some(name))
            && asked.text("type").is_none_or(|name| kind == name)
    };
    let list = board.history(|history| {
        // The cursor names the window that the last item is of, and how many items of it have been told.
        let (from_ms, told) = page.after.unwrap_or((since_ms.unwrap_or(i64::MIN), 0));
        let found =
            history.events(from_ms, until_ms.unwrap_or(i64::MAX)).filter(|(kind, data)| wanted(kind, data));
        let part = Page { limit: page.limit, after: Some((from_ms, told)) };
        let list = List::cut(history.now().end_ms, found, part);
        let mut list = list.map(|(kind, data)| event_of(kind, data.into_owned()));
        list.next = list.next.and_then(|_| {
            let last_ms = list.items.last()?.data.window_end_ms;
            let of_last = list.items.iter().filter(|event| event.data.window_end_ms == last_ms).count();
            let before = if last_ms == from_ms { told } else { 0 };
            Some(format!("{last_ms}.{}", before + of_last))
        });
        list
    });
    Ok(Json(list))
}

pub async fn stream(State(board): State<Arc<Board>>, asked: Asked) -> Result<impl IntoResponse, Refusal> {
    asked.only(&[])?;
    let events = BroadcastStream::new(board.listen()).map(|heard| {
        let event = axum::response::sse::Event::default();
        Ok::<_, Infallible>(match heard {
            Ok((kind, text)) => event.event(kind).data(text),
            Err(_) => event.event("lost").data("{}"),
        })
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}
