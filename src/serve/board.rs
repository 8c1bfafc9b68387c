//! What the dashboard and the API show, and who is told when it changes. Written by the thread that follows the
//! pipeline, read by requests; the writer waits for no reader longer than it takes to copy a picture.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::broadcast;

use super::history::{History, Picture};
use super::recent::Recent;
use crate::transport::records::Event;
use crate::types::{Samples, VmId};

/// How many events a reader of the stream may be behind: the first window of 1,000 VMs. Whoever is further behind is told
/// that something is lost, and loads everything anew.
const BEHIND: usize = 8_192;

/// Says why two VMs are held dependent, or not, from the samples of a window: an object, or what is wrong. Takes its time.
pub type Explain = Arc<dyn Fn(Vec<Samples>, [VmId; 2]) -> Result<serde_json::Value, String> + Send + Sync>;

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
    history: RwLock<History>,
    recent: RwLock<Recent>,
    bell: broadcast::Sender<Arc<str>>,
    /// Whether more may come.
    live: AtomicBool,
}

impl Board {
    /// Nothing yet. Pairs can be explained if `explain` can.
    pub fn new(about: About, explain: Option<Explain>) -> Self {
        let ticks = (about.window_ms / about.period_ms.max(1)).max(1) as usize;
        let recent = RwLock::new(Recent::new(ticks, about.period_ms));
        Board {
            about,
            explain,
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
            let _ = self.bell.send(text.into());
        }
        if completed {
            self.recent.write().unwrap_or_else(PoisonError::into_inner).forget();
        }
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
    pub fn listen(&self) -> broadcast::Receiver<Arc<str>> {
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

    /// Who explains pairs, if anybody does.
    pub fn explain(&self) -> Option<Explain> {
        self.explain.clone()
    }
}
