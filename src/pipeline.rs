//! The dataflow that all commands run: samples in, windows of differences out. The only module that names
//! timely and differential-dataflow. [`run`] starts the workers, feeds the first of them and hands what
//! comes out to the caller, in order.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use timely::communication::WorkerGuards;

mod asked;
mod clustered;

mod coupled;
mod driver;
mod flow;
mod ignored;
pub mod kept;
mod operators;
mod pairs;
pub mod watch;
pub mod watchdog;
mod windows;

use crate::cluster;
use crate::coupling;
use crate::coupling::enough::Enough;
use crate::decisions::book::Decisions;
use crate::dependencies::{Engine, Fact, Hysteresis};
use crate::model::{Fit, Order};
use crate::simd::Simd;
use crate::transport::file::{Batch, Progress, ReadError};
use crate::transport::kafka::source;
use crate::types::{DeadLetter, Tick, VmId};
use crate::window;
use kept::{Change, Kept, Restored};
use watchdog::Pulse;

/// Where samples come from: each call appends some to the batch.
pub type Feed = Box<dyn FnMut(&mut Batch) -> Result<Progress, ReadError> + Send>;

/// What goes wrong outside the flow.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One worker's share of a log: each call refills the batch, without waiting.
pub type Tail = Box<dyn FnMut(&mut source::Batch) -> Result<(), Failure>>;

/// Reads back what was kept.
pub type Load = dyn Fn() -> Result<Restored, Failure> + Send + Sync;

/// Opens a worker's share: which worker of how many, and the plan.
pub type Open = dyn Fn((usize, usize), &Plan) -> Result<Tail, Failure> + Send + Sync;

/// A flow over a log, which never ends.
pub struct Service {
    /// Reads back what was kept; called once in each process, when all processes are there.
    pub load: Box<Load>,
    /// Opens the share of one worker of several, from where the plan goes on.
    pub tail: Box<Open>,
    /// The processes that work together, as `host:port`, and which of them this is.
    pub processes: Option<(usize, Vec<String>)>,
    /// How long the flow may stand still although input waits.
    pub patience: Duration,
    /// Where that is seen; for as many workers as the plan has.
    pub pulse: Arc<Pulse>,
    /// Whether it is to end.
    pub stop: Box<dyn Fn() -> bool>,
}

/// How the flow is run: each stage's parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How dependencies are found.
    pub method: Method,
    /// Windows.
    pub window: window::Params,
    /// When a change counts.
    pub hysteresis: Hysteresis,
    /// Whether windows end at multiples of the hop since the epoch, or since the first sample.
    pub aligned: bool,
    /// Worker threads.
    pub workers: usize,
    /// Vector instructions.
    pub simd: Simd,
    /// A pair that somebody wants to see judged, by the coupling engine.
    pub watch: Option<watch::Watch>,
    /// What people decided beforehand: whom to ignore.
    pub decisions: Decisions,
    /// Whether it hears of decisions while it runs, and heeds all of them. A flow over a log always does.
    pub listens: bool,
    /// What was known before, of a flow that never ends and is started again; none of one that reads a trace.
    pub resume: Option<Arc<Restored>>,
}

/// How dependencies are found.
#[derive(Clone, Debug)]
pub enum Method {
    /// As in the paper.
    Kmeans {
        /// Order of the AR models.
        order: Order,
        /// How they are fitted.
        fit: Fit,
        /// How they are clustered.
        cluster: cluster::Params,
    },
    /// By evidence from innovations.
    Coupling(coupling::Params),
}

impl Plan {
    /// The first pane whose window is judged: before it windows are not whole, or were judged before.
    fn judged_from(&self) -> u64 {
        match &self.resume {
            None => self.window.panes() as u64 - 1,
            Some(resume) => resume.last().map_or(0, |last| last.pane + 1),
        }
    }

    /// What was kept, as `what` sees it; nothing of a flow that keeps nothing.
    fn kept<'a, T: 'a>(&'a self, what: impl Fn(&Kept) -> Option<T> + 'a) -> impl Iterator<Item = T> + 'a {
        self.resume.iter().flat_map(move |resume| resume.of(&what).collect::<Vec<T>>())
    }

    /// Whether it heeds decisions.
    fn heeds(&self) -> bool {
        self.listens || self.resume.is_some()
    }

    /// Which engine finds the dependencies.
    pub fn engine(&self) -> Engine {
        match self.method {
            Method::Kmeans { .. } => Engine::Kmeans,
            Method::Coupling(_) => Engine::Coupling,
        }
    }
}

/// What the flow says.
#[derive(Debug)]
pub enum Message {
    /// The tick that windows are counted from.
    Origin(Tick),
    /// A window is complete.
    Window(Window),
    /// Input that was refused before it reached a window.
    Refused(Vec<DeadLetter>),
    /// How far reading has come.
    Read {
        /// Bytes of the file, as stored.
        bytes: u64,
        /// Samples so far.
        samples: u64,
    },
    /// The source could not be read on.
    Failed(ReadError),
    /// What was kept, of a flow over a log.
    Restored(Arc<Restored>),
    /// A worker cannot go on.
    Broken(Failure),
}

/// One window's outcome.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    /// The tick after its last, counted from the origin.
    pub end: Tick,
    /// What begins (+1) and ends (-1) to be true, consolidated and in order.
    pub changes: Vec<(Fact, isize)>,
    /// What there is to say of the window itself.
    pub summary: Summary,
    /// What changed of what is kept for the next start.
    pub kept: Vec<Change>,
    /// Partitions of the log, each with the offset up to which it had been read when the window was complete. Unlike the
    /// rest it differs from run to run.
    pub read: Vec<(i32, i64)>,
}

/// What one window looked like, before hysteresis.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// VMs with a whole window that do something.
    pub judged: usize,
    /// VMs that do nothing.
    pub idle: usize,
    /// VMs with too few samples.
    pub unjudged: usize,
    /// What K-means found, if it looked.
    pub clusters: Option<Clusters>,
    /// How much of the window would have been enough, if the coupling engine found anything.
    pub enough: Option<Enough>,
    /// Samples that a window refused.
    pub refused: Vec<DeadLetter>,
}

/// What K-means made of one window.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Clusters {
    /// How many.
    pub k: usize,
    /// Sum of squared distances to the centroids.
    pub inertia: f64,
    /// For each judged VM, how much nearer its own centroid is than the next (simplified silhouette, -1 to 1).
    pub silhouette: Vec<(VmId, f64)>,
}

impl Summary {
    fn count(&mut self, status: window::Status) {
        match status {
            window::Status::Idle => self.idle += 1,
            window::Status::Partial { .. } => self.unjudged += 1,
            window::Status::Whole | window::Status::Gone => (),
        }
    }
}

/// The flow could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The workers could not be started.
    #[error("cannot start the workers: {0}")]
    Start(String),
    /// A worker ended before its time; the panic's own message has been printed.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// Runs the flow to the end of `feed`, handing each message to `each`; stops early when that fails.
///
/// Messages come in the order in which things happened, and the windows are the same, bit by bit, for any
/// number of workers.
///
/// # Errors
/// When workers cannot be started or one fails, and whatever `each` returns.
pub fn run<E: From<RunError>>(
    plan: &Plan,
    feed: Feed,
    mut each: impl FnMut(Message) -> Result<(), E>,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel(QUEUE);
    let guards = start(plan, feed, sender)?;
    forward(receiver, &mut each)?;
    for outcome in guards.join() {
        outcome.map_err(RunError::Worker)?;
    }
    Ok(())
}

/// Runs the flow over a log until it is told to stop or something fails, handing each message to `each`. Only the first
/// process is told of windows. The workers still run afterwards: the process must end.
///
/// # Errors
/// When workers cannot be started or one cannot go on, and whatever `each` returns.
pub fn serve<E: From<RunError>>(
    plan: &Plan,
    service: Service,
    mut each: impl FnMut(Message) -> Result<(), E>,
) -> Result<(), E> {
    let (sender, receiver) = sync_channel(QUEUE);
    let (plan, restored) = (plan.clone(), OnceLock::<Option<Arc<Restored>>>::new());
    let Service { load, tail, processes, patience, pulse, stop } = service;
    let config = match processes {
        None => timely::CommunicationConfig::Process(plan.workers),
        Some((process, addresses)) => timely::CommunicationConfig::Cluster {
            threads: plan.workers,
            process,
            addresses,
            report: false,
            zerocopy: false,
        },
    };
    let (workers, alarm) = (plan.workers, sender.clone());
    let load = move |sender: &SyncSender<Message>| match load() {
        Ok(restored) => {
            let restored = Arc::new(restored);
            let _ = sender.send(Message::Restored(restored.clone()));
            Some(restored)
        }
        Err(error) => {
            let _ = sender.send(Message::Broken(error));
            None
        }
    };
    let life = pulse.clone();
    let work = move |worker: &mut timely::worker::Worker| {
        // Those who cannot go on wait for the end of the process.
        let resume = restored.get_or_init(|| load(&sender)).clone();
        while resume.is_none() {
            std::thread::park();
        }
        let place = worker.index() % workers;
        let port = driver::Port { tail: &tail, sender: &sender, beat: &|| life.beat(place) };
        driver::tail(worker, &Plan { resume, ..plan.clone() }, &port);
    };
    let guards = timely::execute(configured(config), work).map_err(RunError::Start)?;
    // Waiting for workers that never end would be for ever.
    std::mem::forget(guards);
    watchdog::start(pulse.clone(), patience, alarm).map_err(|error| RunError::Start(error.to_string()))?;
    while !stop() {
        match receiver.recv_timeout(LOOK_UP) {
            Ok(message) => pulse.outside(|| each(message))?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

/// How often somebody who waits looks up whether it is time to stop: a person takes that for at once.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Messages between the first worker and the caller: a window's differences each at most, so the worker may
/// be a few windows ahead of whoever prints them.
const QUEUE: usize = 4;

fn forward<E>(receiver: Receiver<Message>, each: &mut impl FnMut(Message) -> Result<(), E>) -> Result<(), E> {
    receiver.into_iter().try_for_each(each)
}

fn start(plan: &Plan, feed: Feed, sender: SyncSender<Message>) -> Result<WorkerGuards<()>, RunError> {
    let config = timely::CommunicationConfig::Process(plan.workers);
    let (plan, first) = (plan.clone(), Arc::new(Mutex::new(Some((feed, sender)))));
    let work = move |worker: &mut timely::worker::Worker| {
        let port =
            if worker.index() == 0 { first.lock().ok().and_then(|mut port| port.take()) } else { None };
        driver::read(worker, &plan, port);
    };
    timely::execute(configured(config), work).map_err(RunError::Start)
}

fn configured(communication: timely::CommunicationConfig) -> timely::Config {
    let mut config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    let merges = differential_dataflow::Config::default().idle_merge_effort(Some(1000));
    differential_dataflow::configure(&mut config.worker, &merges);
    config
}
