//! What a worker does: builds its part of the dataflow and feeds it. Of a trace the first worker reads everything,
//! and decides which pane a sample belongs to and when a pane is closed; of a log each worker has its share, which
//! says so itself.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use timely::dataflow::operators::probe::Handle as Probe;
use timely::worker::Worker;

use super::asked;
use super::flow::{self, Inputs, Note};
use super::{Feed, Message, Open, Plan};
use crate::transport::file::{Batch, Progress};
use crate::transport::kafka::source::Batch as Tailed;
use crate::types::{DeadLetter, Reason, Samples, Tick};

/// Builds the dataflow, and feeds it if this is the worker that was given the port. The others return, and
/// timely runs them until the flow is complete.
pub fn read(worker: &mut Worker, plan: &Plan, port: Option<(Feed, SyncSender<Message>)>) {
    let (mut inputs, probe) = (Inputs::default(), Probe::new());
    let sender = port.as_ref().map(|(_, sender)| sender.clone());
    worker.dataflow(|scope| flow::build(scope, &mut inputs, plan, sender, &probe));
    if let Some((feed, sender)) = port {
        let panes = Panes::new(plan);
        Driver { inputs, probe, panes, sender, samples: 0 }.drive(worker, feed);
    }
}

/// An idle worker looks for new records so often: 200 times a second costs about 1 % of a core.
const IDLE: Duration = Duration::from_millis(5);

/// What a worker that feeds itself has to do with the world.
pub struct Port<'a> {
    /// Opens its share of the log.
    pub tail: &'a Open,
    /// Hears of windows, from the first worker, and of what fails.
    pub sender: &'a SyncSender<Message>,
    /// Takes note that the worker has got further.
    pub beat: &'a dyn Fn(),
}

/// Builds the dataflow and feeds it with this worker's share of a log, for ever. A share that fails stops the
/// worker, but not by ending its input: that would close panes that are not complete.
pub fn tail(worker: &mut Worker, plan: &Plan, port: &Port<'_>) {
    let Port { tail, sender, beat } = port;
    let share = (worker.index(), worker.peers());
    let failed = |error| {
        // Nobody listens any more only when the process is about to end.
        let _ = sender.send(Message::Broken(error));
        loop {
            std::thread::park();
        }
    };
    let mut next = match tail(share, plan) {
        Ok(next) => next,
        Err(error) => return failed(error),
    };
    let (mut inputs, probe) = (Inputs::default(), Probe::new());
    let to = (worker.index() == 0).then(|| (*sender).clone());
    worker.dataflow(|scope| flow::build(scope, &mut inputs, plan, to, &probe));
    let mut batch = Tailed::default();
    loop {
        beat();
        if let Err(error) = next(&mut batch) {
            return failed(error);
        }
        let quiet = batch.samples.is_empty();
        batch.samples.drain(..).for_each(|run| inputs.samples.send(run));
        for (letter, pane) in batch.dead.drain(..) {
            inputs.notes.send((Note::Refused(letter), pane.max(inputs.open())));
        }
        for told in batch.told.drain(..) {
            let pane = told.from.max(inputs.open());
            asked::note(told).into_iter().for_each(|note| inputs.notes.send((note, pane)));
        }
        for told in batch.decided.drain(..) {
            let pane = told.from.max(inputs.open());
            inputs.notes.send((asked::decided(told), pane));
        }
        if batch.open > inputs.open() {
            for (partition, offset) in batch.read.drain(..) {
                inputs.notes.send((Note::Read(partition, offset), batch.open - 1));
            }
            inputs.advance_to(batch.open);
            // The flow is at most one window behind: that bounds what is queued to two panes of samples.
            let behind = batch.open - 1;
            // Whoever has no share at all waits for nobody.
            let mut before = None;
            while batch.open < u64::MAX && probe.less_than(&behind) {
                worker.step_or_park(Some(IDLE));
                let done = probe.with_frontier(|frontier| frontier.first().copied());
                if done != before {
                    beat();
                    before = done;
                }
            }
        }
        worker.step_or_park(if quiet { Some(IDLE) } else { Some(Duration::ZERO) });
    }
}

struct Driver {
    inputs: Inputs,
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
        let (mut refused, open) = (std::mem::take(&mut batch.dead), self.inputs.open());
        for mut run in batch.samples.drain(..) {
            if self.panes.origin.is_none() {
                let origin = self.panes.start(run.first, batch.aligned);
                self.say(Message::Origin(origin));
            }
            self.samples += run.cpu_ppm.len() as u64;
            let late = self.panes.take(&mut run, open);
            refused.extend(late.map(|late| DeadLetter::samples(Reason::Late, &late)));
            if !run.cpu_ppm.is_empty() {
                self.inputs.samples.send(run);
            }
        }
        for (key, value) in batch.decided.drain(..) {
            self.inputs.notes.send((Note::Decision(key, value), open));
        }
        if !refused.is_empty() {
            self.say(Message::Refused(refused));
        }
        self.say(Message::Read { bytes: batch.bytes_read, samples: self.samples });
    }

    /// Declares the panes below `open` complete, and waits until the flow is at most one window behind:
    /// that bounds what is queued to two panes of samples.
    fn close(&mut self, open: u64, worker: &mut Worker) {
        if open > self.inputs.open() {
            self.inputs.advance_to(open);
            let behind = open - 1;
            worker.step_while(|| self.probe.less_than(&behind));
        }
    }

    /// Nobody listens any more only when the caller gave up: then the process is about to end.
    fn say(&self, message: Message) {
        let _ = self.sender.send(message);
    }
}

/// Which pane a tick belongs to. Panes are `hop` ticks long and counted from the origin: the first sample, or the time at or
/// before it at which samples of all grains begin together; or the multiple of the hop at or before it.
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

    fn start(&mut self, first: Tick, together: Tick) -> Tick {
        let unit = if self.aligned { self.hop } else { together.max(1) };
        *self.origin.get_or_insert(first.div_euclid(unit) * unit)
    }

    /// Counts `run` from the origin, and takes off what lies before pane `open`.
    fn take(&mut self, run: &mut Samples, open: u64) -> Option<Samples> {
        run.first -= self.origin.unwrap_or(0);
        let late_ticks = (open as Tick * self.hop - run.first).max(0) as usize;
        let late = late_ticks.div_ceil(run.grain).min(run.cpu_ppm.len());
        self.end = self.end.max(run.end());
        if late == 0 {
            return None;
        }
        let rest = run.cpu_ppm.split_off(late);
        let late = Samples { cpu_ppm: std::mem::replace(&mut run.cpu_ppm, rest), ..run.clone() };
        run.first = late.end();
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
        Samples { vm: VmId::new("v"), host: HostId::new("h"), first, grain: 1, cpu_ppm: (0..n).collect() }
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
            panes.start(100, 0);
            let mut run = run(first, n);
            let taken = panes.take(&mut run, open);
            assert_eq!(taken.map_or(vec![], |late| late.cpu_ppm), late.collect::<Vec<u32>>());
            assert_eq!((run.first, run.cpu_ppm), (rest.0, rest.1.collect::<Vec<u32>>()));
        }
    }

    #[test]
    fn the_origin_is_the_first_sample_or_the_hop_before_it() {
        for (aligned, first, together, origin) in
            [(false, 107, 0, 107), (false, 107, 5, 105), (true, 107, 5, 100), (true, -3, 0, -10)]
        {
            assert_eq!(panes(aligned).start(first, together), origin);
        }
    }

    #[test]
    fn coarse_samples_are_late_as_a_whole() {
        let mut panes = panes(false);
        panes.start(100, 5);
        let mut coarse = Samples { grain: 5, ..run(115, 4) };
        let late = panes.take(&mut coarse, 2).unwrap();
        assert_eq!((late.first, late.cpu_ppm), (15, vec![0]));
        assert_eq!((coarse.first, coarse.cpu_ppm, panes.end), (20, vec![1, 2, 3], 35));
    }

    #[test]
    fn the_last_pane_counts_if_it_lacks_little() {
        for (n, closed) in [(6, 0), (7, 1), (10, 1), (16, 1), (17, 2)] {
            let mut panes = panes(false);
            panes.start(0, 0);
            panes.take(&mut run(0, n), 0);
            assert_eq!(panes.closed_at_end(), closed, "{n} ticks");
        }
        assert_eq!(panes(false).closed_at_end(), 0, "nothing seen");
    }
}
