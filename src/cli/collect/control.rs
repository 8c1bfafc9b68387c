//! What a collector waits for: the end of a tick, what a program that it runs says, or to be told to end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How many lines of a program wait: some blocks of the largest host. Who writes more is made to wait.
const QUEUE: usize = 4096;

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
    stopped: Arc<AtomicBool>,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
}

impl Control {
    /// From now on SIGTERM and SIGINT are events; who sends a third one means it.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn new() -> io::Result<Control> {
        let (sender, events) = mpsc::sync_channel(QUEUE);
        let stopped = Arc::new(AtomicBool::new(false));
        let (tell, stop) = (sender.clone(), stopped.clone());
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        thread::spawn(move || {
            for count in signals.forever().scan(0, |count, _| {
                *count += 1;
                Some(*count)
            }) {
                stop.store(true, Ordering::Relaxed);
                // A full queue is being read: it will be seen.
                let _ = tell.try_send(Event::Stop);
                if count > 2 {
                    std::process::exit(1);
                }
            }
        });
        Ok(Control { stopped, events, sender })
    }

    /// Whether we have been told to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
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
