//! What a worker does: builds its part of the dataflow and, the first one, feeds it. Decides which pane a
//! sample belongs to and when a pane is closed.

use std::sync::mpsc::SyncSender;

use timely::dataflow::operators::probe::Handle as Probe;
use timely::dataflow::operators::vec::input::Handle as Input;
use timely::worker::Worker;

use super::{Feed, Message, Plan, flow};
use crate::transport::file::{Batch, Progress};
use crate::types::{DeadLetter, Reason, Samples, Tick};

/// Builds the dataflow, and feeds it if this is the worker that was given the port. The others return, and
/// timely runs them until the flow is complete.
pub fn work(worker: &mut Worker, plan: &Plan, port: Option<(Feed, SyncSender<Message>)>) {
    let (mut input, probe) = (Input::new(), Probe::new());
    let sender = port.as_ref().map(|(_, sender)| sender.clone());
    worker.dataflow(|scope| flow::build(scope, &mut input, plan, sender, &probe));
    if let Some((feed, sender)) = port {
        let panes = Panes::new(plan);
        Driver { input, probe, panes, sender, samples: 0 }.drive(worker, feed);
    }
}

struct Driver {
    input: Input<u64, Samples>,
    probe: Probe<u64>,
    panes: Panes,
    sender: SyncSender<Message>,
    samples: u64,
}

impl Driver {
    fn drive(mut self, worker: &mut Worker, mut feed: Feed) {
        let mut batch = Batch::default();
        loop {
            let progress = feed(&mut batch);
            self.send(&mut batch);
            if !matches!(progress, Ok(Progress::More)) {
                let open = self.panes.closed_at_end();
                self.close(open, worker);
                // Only then may the input end: that closes no pane.
                worker.step_while(|| self.probe.less_than(&open));
                return progress.err().into_iter().for_each(|error| self.say(Message::Failed(error)));
            }
            if let Some(watermark) = batch.watermark {
                self.close(self.panes.closed_below(watermark), worker);
            }
        }
    }

    /// Sends a batch on, counted from the origin, without what is late.
    fn send(&mut self, batch: &mut Batch) {
        let (mut refused, open) = (std::mem::take(&mut batch.dead), *self.input.time());
        for mut run in batch.samples.drain(..) {
            if self.panes.origin.is_none() {
                let origin = self.panes.start(run.first);
                self.say(Message::Origin(origin));
            }
            self.samples += run.cpu_ppm.len() as u64;
            let late = self.panes.take(&mut run, open);
            refused.extend(late.map(|late| DeadLetter::samples(Reason::Late, &late)));
            if !run.cpu_ppm.is_empty() {
                self.input.send(run);
            }
        }
        if !refused.is_empty() {
            self.say(Message::Refused(refused));
        }
        self.say(Message::Read { bytes: batch.bytes_read, samples: self.samples });
    }

    /// Declares the panes below `open` complete, and waits until the flow is at most one window behind:
    /// that bounds what is queued to two panes of samples.
    fn close(&mut self, open: u64, worker: &mut Worker) {
        if open > *self.input.time() {
            self.input.advance_to(open);
            let behind = open - 1;
            worker.step_while(|| self.probe.less_than(&behind));
        }
    }

    /// Nobody listens any more only when the caller gave up: then the process is about to end.
    fn say(&self, message: Message) {
        let _ = self.sender.send(message);
    }
}

/// Which pane a tick belongs to. Panes are `hop` ticks long and counted from the origin: the first sample,
/// or the multiple of the hop at or before it.
struct Panes {
    hop: Tick,
    aligned: bool,
    /// Ticks that a window may lack: the pane at the end of a trace is judged if it lacks no more.
    spare: Tick,
    origin: Option<Tick>,
    /// The tick after the last one seen, counted from the origin.
    end: Tick,
}

impl Panes {
    fn new(plan: &Plan) -> Self {
        let (hop, spare) = (plan.window.hop() as Tick, plan.window.max_missing_ticks() as Tick);
        Panes { hop, aligned: plan.aligned, spare, origin: None, end: 0 }
    }

    fn start(&mut self, first: Tick) -> Tick {
        let origin = if self.aligned { first.div_euclid(self.hop) * self.hop } else { first };
        *self.origin.get_or_insert(origin)
    }

    /// Counts `run` from the origin, and takes off what lies before pane `open`.
    fn take(&mut self, run: &mut Samples, open: u64) -> Option<Samples> {
        run.first -= self.origin.unwrap_or(0);
        let late = (open as Tick * self.hop - run.first).clamp(0, run.cpu_ppm.len() as Tick);
        self.end = self.end.max(run.first + run.cpu_ppm.len() as Tick);
        if late == 0 {
            return None;
        }
        let rest = run.cpu_ppm.split_off(late as usize);
        let late = Samples { cpu_ppm: std::mem::replace(&mut run.cpu_ppm, rest), ..run.clone() };
        run.first += late.cpu_ppm.len() as Tick;
        Some(late)
    }

    /// The first pane that stays open when nothing before `watermark` can come any more.
    fn closed_below(&self, watermark: Tick) -> u64 {
        self.origin.map_or(0, |origin| ((watermark - origin) / self.hop).max(0) as u64)
    }

    /// The same at the end of the trace.
    fn closed_at_end(&self) -> u64 {
        if self.origin.is_none() { 0 } else { ((self.end + self.spare) / self.hop).max(0) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{HostId, VmId};

    fn run(first: Tick, n: u32) -> Samples {
        Samples { vm: VmId::new("v"), host: HostId::new("h"), first, cpu_ppm: (0..n).collect() }
    }

    fn panes(aligned: bool) -> Panes {
        Panes { hop: 10, aligned, spare: 3, origin: None, end: 0 }
    }

    #[test]
    fn what_is_late_is_taken_off() {
        for (first, n, open, late, rest) in [
            (100, 3, 0, 0..0, (0, 0..3)),
            (105, 10, 1, 0..5, (10, 5..10)),
            (125, 10, 1, 0..0, (25, 0..10)),
            (95, 7, 0, 0..5, (0, 5..7)),
            (100, 5, 1, 0..5, (5, 0..0)),
        ] {
            let mut panes = panes(false);
            panes.start(100);
            let mut run = run(first, n);
            let taken = panes.take(&mut run, open);
            assert_eq!(taken.map_or(vec![], |late| late.cpu_ppm), late.collect::<Vec<u32>>());
            assert_eq!((run.first, run.cpu_ppm), (rest.0, rest.1.collect::<Vec<u32>>()));
        }
    }

    #[test]
    fn the_origin_is_the_first_sample_or_the_hop_before_it() {
        assert_eq!(panes(false).start(107), 107);
        assert_eq!(panes(true).start(107), 100);
        assert_eq!(panes(true).start(-3), -10);
    }

    #[test]
    fn the_last_pane_counts_if_it_lacks_little() {
        for (n, closed) in [(6, 0), (7, 1), (10, 1), (16, 1), (17, 2)] {
            let mut panes = panes(false);
            panes.start(0);
            panes.take(&mut run(0, n), 0);
            assert_eq!(panes.closed_at_end(), closed, "{n} ticks");
        }
        assert_eq!(panes(false).closed_at_end(), 0, "nothing seen");
    }
}
