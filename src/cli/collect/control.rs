//! What a collector waits for: the end of a tick, what a program that it runs says, or to be told to end.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use super::super::stop::Stop;

/// How many lines of a program wait: some blocks of the largest host. Who writes more is made to wait.
const QUEUE: usize = 4096;

/// How long a collector may take to end: what is in flight is waited for, and written to the spool.
const GRACE: Duration = Duration::from_secs(20);

/// Something to be dealt with.
#[derive(Debug)]
pub enum Event {
    /// We are told to end.
    Stop,
    /// A line without its end, when it came, and from which run of the program.
    Line { run: u32, at_ns: i64, line: Vec<u8> },
    /// The program has ended.
    Ended { run: u32 },
}

/// The one place where a collector waits.
pub struct Control {
    stop: Stop,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
}

impl Control {
    /// From now on SIGTERM and SIGINT are events.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn new() -> anyhow::Result<Control> {
        let (sender, events) = mpsc::sync_channel(QUEUE);
        let tell = sender.clone();
        // A full queue is being read: the flag will be seen.
        let stop = Stop::on_signals(GRACE, move || drop(tell.try_send(Event::Stop)))?;
        Ok(Control { stop, events, sender })
    }

    /// Whether we have been told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_told()
    }

    /// Waits for an event for so long.
    pub fn wait(&self, ns: u64) -> Option<Event> {
        // We hold a sender ourselves: the only error is that the time is over.
        self.events.recv_timeout(Duration::from_nanos(ns)).ok()
    }

    /// For those who have something to tell.
    pub fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }
}
