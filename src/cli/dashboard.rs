//! The dashboard of whatever is being analysed: the board that it shows, and the port that it is at.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use super::explain::{self, Asked};
use super::session;
use crate::config::Config;
use crate::events;
use crate::pipeline::{Feed, Method, Plan, Window};
use crate::serve::board::{About, Board, Explain};
use crate::serve::{Door, Pages, Server};
use crate::simd::Simd;
use crate::transport::file::{Batch, Progress};
use crate::types::{Samples, VmId, lcm};

/// The shortest token that cannot be guessed: 16 letters and digits are 80 bits.
const MIN_TOKEN: usize = 16;

/// A board for what `config` finds in samples every `period_ms`.
///
/// # Errors
/// Windows that do not fit the period.
pub fn board(config: &Config, period_ms: u64, note: Option<String>) -> anyhow::Result<Arc<Board>> {
    let plan = session::plan(config, period_ms, false, Simd::detect())?;
    let ms = |ticks: usize| ticks as u64 * period_ms;
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        engine: config.engine.as_str(),
        window_ms: ms(plan.window.length()),
        hop_ms: ms(plan.window.hop()),
        period_ms,
        note,
    };
    let explain = matches!(plan.method, Method::Coupling(_)).then(|| explainer(plan, period_ms));
    Ok(Arc::new(Board::new(about, explain)))
}

/// Explains pairs, one at a time: it takes a core for a moment.
fn explainer(plan: Plan, period_ms: u64) -> Explain {
    let plan = Mutex::new(Plan { workers: 1, ..plan });
    Arc::new(move |runs: Vec<Samples>, [a, b]: [VmId; 2]| {
        let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
        let Method::Coupling(params) = plan.method.clone() else { return Err("nothing to explain".into()) };
        let asked = Asked { names: [a.as_str(), b.as_str()], at_ms: None };
        let explained = explain::follow(&mut plan, &params, once(runs), period_ms, asked);
        let object = explained.and_then(|(explained, ..)| Ok(serde_json::to_value(explained)?));
        object.map_err(|error| format!("{error:#}"))
    })
}

/// All samples at once.
fn once(mut runs: Vec<Samples>) -> Feed {
    Box::new(move |batch: &mut Batch| {
        batch.watermark = runs.iter().map(Samples::end).max();
        batch.aligned = runs.iter().fold(1, |all, run| lcm(all, run.grain as u64)) as i64;
        batch.samples.append(&mut runs);
        Ok(Progress::End)
    })
}

/// Shows `board` at `address`, or, if that is taken and `or_any`, at another port; gives the address.
///
/// # Errors
/// A port that is not free, a token that is missing or too short.
pub fn open(
    board: Arc<Board>,
    address: SocketAddr,
    or_any: bool,
    config: &Config,
) -> anyhow::Result<SocketAddr> {
    let door = match &config.token_file {
        Some(file) => {
            let place = file.display();
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
            let token = text.trim();
            anyhow::ensure!(token.len() >= MIN_TOKEN, "{place}: a token has at least {MIN_TOKEN} characters");
            Door::Token(token.into())
        }
        None if address.ip().is_loopback() => Door::Loopback,
        None => anyhow::bail!(
            "whoever reaches {address} would see everything: say serve.token_file, a file with a secret that they \
             must show, or listen at 127.0.0.1"
        ),
    };
    let server = match Server::bind(address, 0) {
        Err(_) if or_any => Server::bind(SocketAddr::new(address.ip(), 0), 0)?,
        bound => bound?,
    };
    let address = server.address()?;
    server.start(Pages::of_board(board, door))?;
    Ok(address)
}

/// Shows samples as they pass.
pub fn tapped(mut feed: Feed, board: Arc<Board>) -> Feed {
    Box::new(move |batch: &mut Batch| {
        let before = batch.samples.len();
        let progress = feed(batch)?;
        board.samples(&batch.samples[before..]);
        Ok(progress)
    })
}

/// Shows a window.
pub fn show(board: &Board, window: &Window, end_ms: i64) {
    events::events(&window.changes, end_ms).iter().for_each(|event| board.push(event));
}
