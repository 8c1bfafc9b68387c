//! The dashboard of whatever is being analysed: the board that it shows, and the port that it is at.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use super::explain::{self, Asked};
use super::{Clock, session};
use crate::config::Config;
use crate::decisions::record::{self, Entry};
use crate::events;
use crate::pipeline::{Feed, Method, Plan, Window};
use crate::serve::board::{About, Board, Desk, Explain};
use crate::serve::{Door, Pages, Server};
use crate::simd::Simd;
use crate::transport::file::{Batch, Decided, Progress};
use crate::types::{Samples, VmId, lcm};

/// The shortest token that cannot be guessed: 16 letters and digits are 80 bits.
const MIN_TOKEN: usize = 16;

/// Whoever decides and has no other name.
const NAMELESS: &str = "who has the token";

/// How many decisions may wait for the next samples: more than people make in a second.
const WAITING: usize = 1_000;

/// A board for what `config` finds in samples every `period_ms`, where something can be decided if there is a `desk`.
///
/// # Errors
/// Windows that do not fit the period.
pub fn board(
    config: &Config,
    period_ms: u64,
    note: Option<String>,
    desk: Option<Desk>,
) -> anyhow::Result<Arc<Board>> {
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
    Ok(Arc::new(Board::new(about, explain, desk)))
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
/// A port that is not free; tokens that are missing, too short, or the same.
pub fn open(
    board: Arc<Board>,
    address: SocketAddr,
    or_any: bool,
    config: &Config,
) -> anyhow::Result<SocketAddr> {
    let door = door(config)?;
    anyhow::ensure!(
        door.read.is_some() || address.ip().is_loopback(),
        "whoever reaches {address} would see everything: say serve.token_file, a file with a secret that they must \
         show, or listen at 127.0.0.1"
    );
    let server = match Server::bind(address, 0) {
        Err(_) if or_any => Server::bind(SocketAddr::new(address.ip(), 0), 0)?,
        bound => bound?,
    };
    let address = server.address()?;
    server.start(Pages::of_board(board, door))?;
    Ok(address)
}

/// Who may come in, and who may decide.
fn door(config: &Config) -> anyhow::Result<Door> {
    let read =
        config.token_file.as_deref().map(|file| Ok::<_, anyhow::Error>(token(&text(file)?, file)?.into()));
    let read: Option<Arc<str>> = read.transpose()?;
    let write = config.write_token_file.as_deref().map(writers).transpose()?.unwrap_or_default();
    if let Some((who, _)) = write.iter().find(|(_, token)| read.as_ref() == Some(token)) {
        anyhow::bail!("{who} has the token of those who may only look: serve.write_token_file needs others");
    }
    Ok(Door { read, write })
}

fn text(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn token<'a>(text: &'a str, file: &Path) -> anyhow::Result<&'a str> {
    let token = text.trim();
    let place = file.display();
    anyhow::ensure!(token.len() >= MIN_TOKEN, "{place}: a token has at least {MIN_TOKEN} characters");
    Ok(token)
}

/// Those who may decide, a line each: a name and a token, or the token alone.
fn writers(file: &Path) -> anyhow::Result<Vec<(Arc<str>, Arc<str>)>> {
    let (text, place) = (text(file)?, file.display());
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let writer = |line: &str| {
        let (who, secret) = line.rsplit_once(char::is_whitespace).unwrap_or((NAMELESS, line));
        let who = who.trim();
        record::prove_who(who).with_context(|| format!("{place}"))?;
        Ok((who.into(), token(secret, file)?.into()))
    };
    let writers = lines.map(writer).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!writers.is_empty(), "{place}: there is no token");
    Ok(writers)
}

/// A desk whose decisions the feed that hears of them ([`heard`]) takes along with the next samples.
pub fn desk(now_ms: Clock) -> (Desk, Receiver<Decided>) {
    let (sender, receiver) = sync_channel(WAITING);
    let tell = move |entry: &Entry| {
        let told = (entry.about.key().into_bytes(), entry.value().unwrap_or_default());
        sender.try_send(told).map_err(|error| match error {
            TrySendError::Full(_) => "too many decisions at once: try again".into(),
            TrySendError::Disconnected(_) => "nothing goes on any more".into(),
        })
    };
    (Desk::new(tell, now_ms), receiver)
}

/// Takes along what is decided meanwhile.
pub fn heard(mut feed: Feed, decided: Receiver<Decided>) -> Feed {
    Box::new(move |batch: &mut Batch| {
        let progress = feed(batch)?;
        batch.decided.extend(decided.try_iter());
        Ok(progress)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    /// What the files of tokens make of who may decide, or what is wrong with them.
    fn check(read: Option<&str>, write: Option<&str>) -> Result<Door, String> {
        let (folder, mut raw) = (tempfile::tempdir().unwrap(), RawConfig::default());
        for (key, text) in [("serve.token_file", read), ("serve.write_token_file", write)] {
            let Some(text) = text else { continue };
            let file = folder.path().join(key);
            fs::write(&file, text).unwrap();
            raw.set(key, file.to_str().unwrap(), "test").unwrap();
        }
        door(&raw.prove().unwrap()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn who_may_decide_is_in_a_file() {
        let (looks, decides) =
            ("0123456789abcdef\n", "eve  fedcba9876543210\n\n  Adam Smith\t0011223344556677\n");
        let door = check(Some(looks), Some(decides)).unwrap();
        assert_eq!(door.read.as_deref(), Some("0123456789abcdef"));
        let who: Vec<(&str, &str)> = door.write.iter().map(|(who, token)| (&**who, &**token)).collect();
        assert_eq!(who, [("eve", "fedcba9876543210"), ("Adam Smith", "0011223344556677")]);
        assert_eq!(&*check(None, Some(looks)).unwrap().write[0].0, NAMELESS);
        let nobody = check(None, None).unwrap();
        assert!(nobody.read.is_none() && nobody.write.is_empty());
        for (read, write, wrong) in [
            (Some("short"), None, "at least 16 characters"),
            (None, Some("eve short"), "at least 16 characters"),
            (None, Some("\n"), "there is no token"),
            (None, Some("e\u{202e}ve 0123456789abcdef"), "no control characters"),
            (Some(looks), Some("eve 0123456789abcdef"), "eve has the token of those who may only look"),
        ] {
            let error = check(read, write).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn what_is_decided_goes_along_with_the_next_samples() {
        let (desk, decided) = desk(|| 0);
        let entry = Entry::undone(record::About::Vm(VmId::new("a")));
        (desk.tell)(&entry).unwrap();
        let mut feed = heard(Box::new(|_| Ok(Progress::More)), decided);
        let mut batch = Batch::default();
        feed(&mut batch).unwrap();
        assert_eq!(batch.decided, [(br#"["a"]"#.to_vec(), vec![])]);
        (0..WAITING).for_each(|_| (desk.tell)(&entry).unwrap());
        assert!((desk.tell)(&entry).unwrap_err().contains("try again"));
        drop(feed);
        assert_eq!((desk.tell)(&entry).unwrap_err(), "nothing goes on any more");
    }
}
