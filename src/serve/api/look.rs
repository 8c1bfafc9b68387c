//! A closer look: what VMs used of late, and why two of them are held dependent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::super::ask::{Asked, Refusal};
use super::super::board::Board;
use super::Answer;
use crate::types::VmId;

/// The most VMs whose series are given at a time: of 3,000 values each, 2 MB.
const MAX_SERIES: usize = 100;

/// A pair is explained among so many VMs: what is usual in a park is seen well enough.
const AMONG: usize = 128;

/// What one VM used.
#[derive(Serialize)]
pub struct SeriesItem {
    vm: VmId,
    /// ppm of one core, one value a period; `null` where there is no sample.
    cpu_ppm: Vec<Option<u32>>,
}

/// What some VMs used in the last window.
#[derive(Serialize)]
pub struct Series {
    period_ms: u64,
    /// When the first period begins.
    from_ms: i64,
    items: Vec<SeriesItem>,
}

fn unknown(vm: &str) -> Refusal {
    Refusal::missing(format!("there are no samples of a VM {vm:?}"))
}

pub async fn series(State(board): State<Arc<Board>>, asked: Asked) -> Answer<Series> {
    let asked = asked.only(&["vm"])?;
    asked.needed("vm")?;
    if asked.texts("vm").count() > MAX_SERIES {
        return Err(Refusal::bad(format!("more than {MAX_SERIES} VMs at a time")));
    }
    let series = board.recent(|recent| {
        let item = |vm: &str| {
            let id = VmId::new(vm);
            let cpu_ppm = recent.cpu_ppm(&id).ok_or_else(|| unknown(vm))?;
            Ok(SeriesItem { vm: id, cpu_ppm })
        };
        let items = asked.texts("vm").map(item).collect::<Result<_, Refusal>>()?;
        Ok::<_, Refusal>(Series { period_ms: recent.period_ms(), from_ms: recent.begins_ms(), items })
    });
    Ok(Json(series?))
}

pub async fn explain(State(board): State<Arc<Board>>, asked: Asked) -> Answer<serde_json::Value> {
    let asked = asked.only(&["a", "b"])?;
    let pair = [asked.needed("a")?, asked.needed("b")?].map(VmId::new);
    let refuse = |status, error: String| Refusal { status, error };
    let explain =
        board.explain().ok_or_else(|| Refusal::missing("only the engine coupling can be explained"))?;
    let runs = board.recent(|recent| {
        if let Some(vm) = pair.iter().find(|vm| recent.host(vm).is_none()) {
            return Err(unknown(vm.as_str()));
        }
        // The two, and others from all over the park.
        let others = recent.vms().filter(|vm| !pair.contains(vm));
        let step = (recent.vms().len() / AMONG).max(1);
        let among: Vec<&VmId> = pair.iter().chain(others.step_by(step).take(AMONG - 2)).collect();
        Ok(recent.runs(&among))
    })?;
    let explained = tokio::task::spawn_blocking(move || explain(runs, pair)).await;
    let explained =
        explained.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    explained.map(Json).map_err(|error| refuse(StatusCode::CONFLICT, error))
}
