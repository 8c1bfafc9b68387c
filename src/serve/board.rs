//! What the dashboard and the API show, and who is told when it changes. Written by the thread that follows the
//! pipeline, read by requests; the writer waits for no reader longer than it takes to copy a picture.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::broadcast;

use super::history::{History, Picture};
use super::recent::Recent;
use crate::decisions::book::Decisions;
use crate::decisions::record::Entry;
use crate::transport::records::Event;
use crate::types::{Samples, VmId};

/// How many events a reader of the stream may be behind: the first window of 1,000 VMs. Whoever is further behind is told
/// that something is lost, and loads everything anew.
const BEHIND: usize = 8_192;

/// Says why two VMs are held dependent, or not, from the samples of a window: an object, or what is wrong. Takes its time.
pub type Explain = Arc<dyn Fn(Vec<Samples>, [VmId; 2]) -> Result<serde_json::Value, String> + Send + Sync>;

/// Tells a decision to whom it counts for, or says what is wrong. Takes its time.
pub type Tell = dyn Fn(&Entry) -> Result<(), String> + Send + Sync;

/// Where decisions go.
pub struct Desk {
    /// Tells one.
    pub tell: Box<Tell>,
    /// The time, Unix milliseconds.
    pub now_ms: fn() -> i64,
    /// Whose turn it is.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    /// To `tell`.
    pub fn new(
        tell: impl Fn(&Entry) -> Result<(), String> + Send + Sync + 'static,
        now_ms: fn() -> i64,
    ) -> Self {
        Desk { tell: Box::new(tell), now_ms, turn: Arc::default() }
    }
}

/// What the readers of the stream are told: what it is, and its text.
pub type Told = (&'static str, Arc<str>);

/// How what is shown was found.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// The version of lwt.
    pub version: &'static str,
    /// Which engine.
    pub engine: &'static str,
    /// The window's length.
    pub window_ms: u64,
    /// How often there is a window.
    pub hop_ms: u64,
    /// The sampling period.
    pub period_ms: u64,
    /// Where it comes from, in words.
    pub note: Option<String>,
}

/// What is shown.
pub struct Board {
    /// How it was found.
    pub about: About,
    explain: Option<Explain>,
    desk: Option<Arc<Desk>>,
    decisions: RwLock<Decisions>,
    history: RwLock<History>,
    recent: RwLock<Recent>,
    bell: broadcast::Sender<Told>,
    /// Whether more may come.
    live: AtomicBool,
}

impl Board {
    /// Nothing yet. Pairs can be explained if `explain` can, and something be decided if there is a `desk`.
    pub fn new(about: About, explain: Option<Explain>, desk: Option<Desk>) -> Self {
        let ticks = (about.window_ms / about.period_ms.max(1)).max(1) as usize;
        let recent = RwLock::new(Recent::new(ticks, about.period_ms));
        Board {
            about,
            explain,
            desk: desk.map(Arc::new),
            decisions: RwLock::default(),
            history: RwLock::default(),
            recent,
            bell: broadcast::channel(BEHIND).0,
            live: true.into(),
        }
    }

    /// Begins with what is known from before.
    pub fn resume(&self, history: History) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history;
    }

    /// The next event.
    pub fn push(&self, event: &Event) {
        let completed = self.history.write().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        if self.bell.receiver_count() > 0
            && let Ok(text) = serde_json::to_string(event)
        {
            // Nobody listens any more: nobody is told.
            let _ = self.bell.send(("change", text.into()));
        }
        if completed {
            self.recent.write().unwrap_or_else(PoisonError::into_inner).forget();
        }
    }

    /// Somebody decided something, or undid it.
    pub fn hear(&self, entry: Entry) {
        self.decisions.write().unwrap_or_else(PoisonError::into_inner).hear(entry);
        // As above.
        let _ = self.bell.send(("decided", "{}".into()));
    }

    /// The next samples.
    pub fn samples<'a>(&self, samples: impl IntoIterator<Item = &'a Samples>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        samples.into_iter().for_each(|run| recent.push(run));
    }

    /// What hosts call VMs.
    pub fn named(&self, named: impl IntoIterator<Item = (VmId, Box<str>)>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        named.into_iter().for_each(|(vm, name)| recent.call(vm, name));
    }

    /// Nothing more comes: the recording has been read.
    pub fn end(&self) {
        self.live.store(false, Ordering::Relaxed);
    }

    /// Whether more may come.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// Every event from now on.
    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.bell.subscribe()
    }

    /// Asks the log.
    pub fn history<T>(&self, ask: impl FnOnce(&History) -> T) -> T {
        ask(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for what holds at `at_ms`, or now. None before the first window.
    pub fn picture<T>(&self, at_ms: Option<i64>, ask: impl FnOnce(&Picture) -> T) -> Option<T> {
        match at_ms {
            None => Some(self.history(|history| ask(history.now()))),
            // Outside of the lock: a copy.
            Some(at_ms) => self.history(|history| history.at(at_ms)).map(|picture| ask(&picture)),
        }
    }

    /// Asks what was used of late.
    pub fn recent<T>(&self, ask: impl FnOnce(&Recent) -> T) -> T {
        ask(&self.recent.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks what is decided.
    pub fn decisions<T>(&self, ask: impl FnOnce(&Decisions) -> T) -> T {
        ask(&self.decisions.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where decisions go, if they can.
    pub fn desk(&self) -> Option<Arc<Desk>> {
        self.desk.clone()
    }

    /// Who explains pairs, if anybody does.
    pub fn explain(&self) -> Option<Explain> {
        self.explain.clone()
    }
}
