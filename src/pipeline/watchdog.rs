//! Notices a flow that stands still although input waits: a peer that hangs, a network that swallows what it is
//! given. Nothing else would end such a process, and nobody would start it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use super::Message;

/// How often it looks. Looks are counted, not time: a process that was stopped and goes on has not stood still.
const LOOK: Duration = Duration::from_secs(1);

/// Nothing has moved for too long.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the flow has stood still for {} s although input waits (engine.stall): a peer hangs, or cannot be reached",
    patience.as_secs()
)]
pub struct Stalled {
    /// For how long.
    pub patience: Duration,
}

/// The signs of life of a process's workers.
pub struct Pulse {
    beats: Vec<AtomicU64>,
    /// Whether the caller has a window in its hands: then it may be a broker that everybody waits for.
    busy: AtomicBool,
}

impl Pulse {
    /// Of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Pulse { beats: (0..workers).map(|_| AtomicU64::new(0)).collect(), busy: AtomicBool::new(false) }
    }

    /// The worker, one of this process, has got further.
    pub fn beat(&self, worker: usize) {
        if let Some(beat) = self.beats.get(worker) {
            beat.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does `what` outside of the flow, which may have to wait for it.
    pub fn outside<T>(&self, what: impl FnOnce() -> T) -> T {
        self.busy.store(true, Ordering::Relaxed);
        let done = what();
        self.busy.store(false, Ordering::Relaxed);
        done
    }

    /// Whose last sign of life is `patience` looks old.
    fn watch(&self, mut look: impl FnMut() -> bool, patience: u64) -> bool {
        let read = |beat: &AtomicU64| beat.load(Ordering::Relaxed);
        let mut seen: Vec<(u64, u64)> = self.beats.iter().map(|beat| (read(beat), 0)).collect();
        while look() {
            let busy = self.busy.load(Ordering::Relaxed);
            for (beat, (last, still)) in self.beats.iter().zip(&mut seen) {
                let now = read(beat);
                *still = if busy || now != *last { 0 } else { *still + 1 };
                *last = now;
            }
            if seen.iter().any(|(_, still)| *still >= patience) {
                return true;
            }
        }
        false
    }
}

/// Tells `sender` when a worker has not got further for as long as `patience`.
///
/// # Errors
/// When the system has no thread left.
pub fn start(pulse: Arc<Pulse>, patience: Duration, sender: SyncSender<Message>) -> io::Result<()> {
    let look = || {
        thread::sleep(LOOK);
        true
    };
    let watch = move || {
        if pulse.watch(look, patience.as_secs().max(1)) {
            let _ = sender.send(Message::Broken(Box::new(Stalled { patience })));
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a process of two workers, with what happens before each look.
    fn barks(happens: &[fn(&Pulse)]) -> bool {
        let (pulse, mut next) = (Pulse::new(2), happens.iter());
        let look = || next.next().map(|happens| happens(&pulse)).is_some();
        pulse.watch(look, 3)
    }

    #[test]
    fn only_a_flow_that_stands_still_is_stuck() {
        const NOTHING: fn(&Pulse) = |_| {};
        const BOTH: fn(&Pulse) = |pulse| (0..2).for_each(|worker| pulse.beat(worker));
        const ONE: fn(&Pulse) = |pulse| pulse.beat(1);
        const HANDS: fn(&Pulse) = |pulse| pulse.busy.store(true, Ordering::Relaxed);
        const HANDED: fn(&Pulse) = |pulse| pulse.outside(|| ());
        for (happens, stuck) in [
            (&[NOTHING, NOTHING, NOTHING][..], true),
            (&[NOTHING, NOTHING], false),
            (&[NOTHING, NOTHING, BOTH, NOTHING, NOTHING], false),
            (&[BOTH, NOTHING, NOTHING, NOTHING], true),
            (&[ONE, ONE, ONE], true),
            (&[NOTHING, NOTHING, HANDS, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING], false),
            (&[HANDS, NOTHING, NOTHING, HANDED, NOTHING, NOTHING], true),
        ] {
            assert_eq!(barks(happens), stuck, "{}", happens.len());
        }
    }
}
