//! One worker's partitions of the samples, or of what is told beside them: read by hand, without a group, and without ever
//! waiting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, ClientError};
use super::nudge;
use super::probe::{Answer, Probe};
use super::trouble::Context;
use crate::transport::intake::{Intake, Record, Take};
use crate::transport::told::Tellings;

pub use crate::transport::intake::{Batch, Grid};

/// How long a broker may take for one request at the start.
const REQUEST: Duration = Duration::from_secs(30);

/// How soon a partition without a leader is asked again.
const HEADLESS: Duration = Duration::from_millis(100);

/// The most records that are read at a time: 2,000 messages of 30 VMs are 60,000 samples, 6 ms of work, and
/// 10 MB.
const MAX_RECORDS: u64 = 2_000;

/// The most bytes that are read at a time, but for one record: JSON becomes at most 8 times as large as
/// samples (24 bytes for the shortest VM, 200 for its sample), 32 MB.
const MAX_BYTES: usize = 4 << 20;

/// How many records are taken from a partition before the next one has its turn: few, so that partitions
/// stay together and a batch holds some of each.
const TURN: usize = 100;

/// What librdkafka keeps of each partition is bounded: 4 MB, and one answer of up to 1 MB, which was
/// compressed: JSON to a tenth. 24 partitions: 340 MB when all of them are behind.
const PROPERTIES: [(&str, &str); 14] = [
    // Needed to read at all. Nobody joins it; how far we are is committed with what we publish.
    ("group.id", "lwt"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // What was deleted before it was read must not be jumped over silently.
    ("auto.offset.reset", "error"),
    // A producer's open transaction must not hide what was appended after it until panes are complete.
    ("isolation.level", "read_uncommitted"),
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
    // An answer, and a batch that zstd unpacks: collectors send batches of 1 MB.
    ("receive.message.max.bytes", "20000000"),
    // A batch that cannot be unpacked is passed by an offset at a time.
    ("fetch.error.backoff.ms", "20"),
    // When a queue is full: 10 ms are 40 kB/ms, more than anybody reads.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "100"),
    // A broker that is back is found within a second, not within ten.
    ("reconnect.backoff.max.ms", "1000"),
];

/// Samples cannot be read, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The cluster cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The topic is not there.
    #[error("there is no topic {topic}: lwt topics create makes it")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// What is to be read next is not there any more.
    #[error(
        "{topic}/{partition}: the samples that are to be read next have been deleted: lwt stood still for longer than retention.ms keeps them (lwt topics check says how long that must be)"
    )]
    Deleted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The topic does not say when its records were appended.
    #[error(
        "{topic} does not stamp records itself: message.timestamp.type must be LogAppendTime (lwt topics check)"
    )]
    NoAppendTime {
        /// The topic.
        topic: String,
    },
    /// Workers that have told the others not to wait for them would have something to read.
    #[error("{topic} has now {partitions} partitions, also for workers that had none: start again")]
    Grown {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: usize,
    },
    /// The brokers refuse to let us read.
    #[error("cannot read {topic}")]
    Read {
        /// The topic.
        topic: String,
        /// Why.
        source: Box<KafkaError>,
    },
    /// The system has no thread left.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// One worker's partitions of the samples.
pub type Source = Reader<Intake>;

/// The partitions of what is told beside samples.
pub type Hearer = Reader<Tellings>;

/// One worker's partitions, each taken in by a `T`.
pub struct Reader<T> {
    // The first to go: what is below may only be closed after it.
    partitions: Vec<Partition<T>>,
    probe: Probe,
    consumer: Arc<BaseConsumer<Context>>,
    topic: String,
    worker: usize,
    workers: usize,
    grid: Grid,
    /// How many partitions the topic has.
    known: usize,
    /// The open pane that was last told.
    open: u64,
    /// Which partition has the first turn.
    first: usize,
}

struct Partition<T> {
    number: i32,
    queue: PartitionQueue<Context>,
    /// The offset that is read next.
    next: i64,
    /// The end, as last heard of.
    end: i64,
    /// Whether there was nothing when it was looked at last, and how often the brokers have said since that there is.
    dry: bool,
    still: u32,
    intake: T,
}

impl<T: Take> Reader<T> {
    /// Opens those of the partitions of `topic` that fall to `worker` of `workers`, each from the first
    /// record that was appended at or after `from_ms`; without it from the first there is. Waits up to 30 s
    /// for each answer of the brokers.
    ///
    /// # Errors
    /// A topic that is not there, brokers that do not answer or refuse.
    pub fn open(
        client: &Client,
        topic: &str,
        (worker, workers): (usize, usize),
        grid: Grid,
        from_ms: Option<i64>,
    ) -> Result<Self, SourceError> {
        let consumer: Arc<BaseConsumer<Context>> = Arc::new(client.consumer(&PROPERTIES)?);
        let failed = |error| SourceError::Client(client.failed(&format!("read the topic {topic}"), error));
        let known = count(&consumer, topic, client)?;
        let mine: Vec<i32> = share(0..known, worker, workers).collect();
        let begins = begins(&consumer, topic, &mine, from_ms).map_err(failed)?;
        let probe = Probe::start(consumer.clone(), topic)?;
        let mut source = Reader {
            partitions: vec![],
            probe,
            consumer,
            topic: topic.into(),
            worker,
            workers,
            grid,
            known,
            open: 0,
            first: 0,
        };
        source.assign(&begins).map_err(failed)?;
        Ok(source)
    }

    /// Reads what is there, and no more than some thousand records. Never waits. The wall clock says
    /// `now_ms`: it counts where partitions hold nothing.
    ///
    /// # Errors
    /// What was deleted unread, and what makes reading on impossible; brokers that are away are waited for.
    pub fn read(&mut self, batch: &mut Batch, now_ms: i64) -> Result<(), SourceError> {
        batch.clear();
        self.attend(now_ms)?;
        // Nothing but errors: partitions have queues of their own.
        while let Some(event) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = event {
                judge(&self.topic, error, None)?;
            }
        }
        let mut bytes = 0;
        loop {
            let before = batch.records;
            let slowest = self.slowest();
            for i in 0..self.partitions.len() {
                let at = (self.first + i) % self.partitions.len();
                // Who is ahead waits: else what the others have not closed would pile up.
                bytes += self.turn(at, slowest.saturating_add(1), batch)?;
                if batch.records >= MAX_RECORDS || bytes >= MAX_BYTES {
                    self.first = at + 1;
                    self.close(batch, now_ms);
                    return Ok(());
                }
            }
            if batch.records == before {
                self.close(batch, now_ms);
                return Ok(());
            }
        }
    }

    fn close(&mut self, batch: &mut Batch, now_ms: i64) {
        self.open = self.open.max(self.slowest());
        batch.open = self.open;
        batch.read.extend(self.partitions.iter().map(|p| (p.number, p.next)));
        for partition in self.partitions.iter().filter(|partition| partition.end > partition.next) {
            batch.lag += (partition.end - partition.next) as u64;
            let since_ms = partition.intake.read_ms().map_or(0, |read_ms| now_ms.saturating_sub(read_ms));
            batch.lag_ms = batch.lag_ms.max(since_ms);
        }
    }

    /// The smallest open pane; without partitions nobody waits.
    fn slowest(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.intake.open()).min().unwrap_or(u64::MAX)
    }

    /// Some records of the partition at `at`, until its open pane is past `last`; gives their bytes.
    fn turn(&mut self, at: usize, last: u64, batch: &mut Batch) -> Result<usize, SourceError> {
        let Reader { partitions, topic, consumer, .. } = self;
        let Partition { number, queue, next, intake, dry, .. } = &mut partitions[at];
        let (partition, mut bytes) = (*number, 0);
        for _ in 0..TURN {
            if intake.open() > last {
                break;
            }
            let event = queue.poll(Duration::ZERO);
            *dry = event.is_none();
            let Some(event) = event else { break };
            let message = match event {
                Ok(message) => message,
                Err(error) => {
                    if !judge(topic, error, Some(partition))? {
                        break;
                    }
                    // librdkafka would try the same batch for ever.
                    intake.unreadable(topic, partition, *next, batch);
                    *next += 1;
                    // Without a time it does not wait.
                    let _ = consumer.seek(topic, partition, Offset::Offset(*next), Duration::ZERO);
                    break;
                }
            };
            let Timestamp::LogAppendTime(append_ms) = message.timestamp() else {
                return Err(SourceError::NoAppendTime { topic: topic.clone() });
            };
            let (offset, payload) = (message.offset(), message.payload().unwrap_or_default());
            let key = message.key().unwrap_or_default();
            intake.take(&Record { topic, partition, offset, append_ms, key, bytes: payload }, batch);
            *next = offset + 1;
            bytes += key.len() + payload.len();
            if bytes >= MAX_BYTES {
                break;
            }
        }
        Ok(bytes)
    }

    /// Asks where the partitions end, and hears the answer: whoever had been read to the end held nothing
    /// more when we asked. New partitions are taken.
    fn attend(&mut self, now_ms: i64) -> Result<(), SourceError> {
        let numbers = self.partitions.iter().map(|partition| partition.number);
        let Some(Answer { asked_ms, ends, partitions }) = self.probe.next(now_ms, numbers) else {
            return Ok(());
        };
        for (number, end) in ends {
            let Some(partition) = self.partitions.iter_mut().find(|p| p.number == number) else { continue };
            partition.end = end;
            if end > partition.next {
                partition.next = partition.next.max(passed(&self.consumer, &self.topic, number));
            }
            if end <= partition.next {
                partition.intake.idle(asked_ms);
            }
            partition.still = if partition.dry && end > partition.next { partition.still + 1 } else { 0 };
            if partition.still >= nudge::PATIENCE {
                partition.still = 0;
                let begun = nudge::begin_anew(&self.consumer, &self.topic, number, partition.next);
                begun.map_err(|error| SourceError::Read {
                    topic: self.topic.clone(),
                    source: Box::new(error),
                })?;
            }
        }
        match partitions {
            Some(partitions) if partitions > self.known => self.grow(partitions),
            _ => Ok(()),
        }
    }

    /// The topic has `partitions` now: those that are new and ours are read from their beginning.
    fn grow(&mut self, partitions: usize) -> Result<(), SourceError> {
        // Who had none has told the others not to wait for it.
        if self.known < self.workers {
            return Err(SourceError::Grown { topic: self.topic.clone(), partitions });
        }
        let new: Vec<_> = share(self.known..partitions, self.worker, self.workers).map(|p| (p, 0)).collect();
        self.known = partitions;
        let topic = self.topic.clone();
        self.assign(&new).map_err(|error| SourceError::Read { topic, source: Box::new(error) })
    }

    /// Begins to read partitions, each at an offset.
    fn assign(&mut self, begins: &[(i32, i64)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for &(number, next) in begins {
            list.add_partition_offset(&self.topic, number, Offset::Offset(next))?;
            // Before it is assigned: from then on nothing of it comes in the common queue.
            let queue = self.consumer.split_partition_queue(&self.topic, number);
            let queue = queue.ok_or(KafkaError::ClientCreation("a partition has no queue".into()))?;
            let intake = T::new(self.grid.clone(), self.open);
            self.partitions.push(Partition { number, queue, next, end: next, dry: false, still: 0, intake });
        }
        if begins.is_empty() { Ok(()) } else { self.consumer.incremental_assign(&list) }
    }
}

/// What an error of librdkafka means, if it came in the queue of a partition: whether the batch that comes
/// next there cannot be unpacked. Most say that it tries again.
fn judge(topic: &str, error: KafkaError, partition: Option<i32>) -> Result<bool, SourceError> {
    let code = error.rdkafka_error_code();
    let ends = [
        Code::TopicAuthorizationFailed,
        Code::UnknownTopicOrPartition,
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::Fatal,
    ];
    let topic = topic.to_string();
    match (code, partition) {
        (Some(Code::AutoOffsetReset | Code::OffsetOutOfRange), Some(partition)) => {
            Err(SourceError::Deleted { topic, partition })
        }
        (Some(Code::BadCompression | Code::BadMessage | Code::InvalidMessage), Some(_)) => Ok(true),
        (Some(code), _) if ends.contains(&code) => Err(SourceError::Read { topic, source: Box::new(error) }),
        _ => Ok(false),
    }
}

/// Those of `partitions` that fall to `worker` of `workers`.
fn share(partitions: std::ops::Range<usize>, worker: usize, workers: usize) -> impl Iterator<Item = i32> {
    partitions.filter(move |partition| partition % workers.max(1) == worker).map(|partition| partition as i32)
}

/// How many partitions the topic has.
fn count(consumer: &BaseConsumer<Context>, topic: &str, client: &Client) -> Result<usize, SourceError> {
    let failed = |error| client.failed(&format!("look at the topic {topic}"), error);
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST).map_err(failed)?;
    let Some(found) = metadata.topics().first() else {
        return Err(SourceError::NoTopic { topic: topic.into() });
    };
    match found.error().map(Code::from) {
        None => Ok(found.partitions().len()),
        Some(Code::UnknownTopicOrPartition) => Err(SourceError::NoTopic { topic: topic.into() }),
        Some(code) => Err(failed(KafkaError::MetadataFetch(code)).into()),
    }
}

/// Each partition's offset to begin at: of the first record that was appended at or after `from_ms` (the end
/// if there is none), without it the first there is.
pub(super) fn begins(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: &[i32],
    from_ms: Option<i64>,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut begins = vec![];
    let mut times = TopicPartitionList::new();
    // The ends before the times: what is appended in between is then found by its time.
    for &number in partitions {
        let (low, high) = led(|| consumer.fetch_watermarks(topic, number, REQUEST))?;
        begins.push((number, if from_ms.is_some() { high } else { low }));
        times.add_partition_offset(topic, number, Offset::Offset(from_ms.unwrap_or(0).max(0)))?;
    }
    if from_ms.is_none() || partitions.is_empty() {
        return Ok(begins);
    }
    for found in led(|| consumer.offsets_for_times(times.clone(), REQUEST))?.elements() {
        found.error()?;
        // Another answer is the end: nothing so young was there.
        if let Offset::Offset(offset) = found.offset() {
            begins.iter_mut().filter(|(number, _)| *number == found.partition()).for_each(|b| b.1 = offset);
        }
    }
    Ok(begins)
}

/// What a partition answers, of a topic that is there: one that has just been made has no leader for a moment.
fn led<T>(ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let headless = [Code::UnknownPartition, Code::LeaderNotAvailable];
    for _ in 0..REQUEST.as_millis() / HEADLESS.as_millis() {
        match ask() {
            Err(error) if error.rdkafka_error_code().is_some_and(|code| headless.contains(&code)) => {
                std::thread::sleep(HEADLESS);
            }
            answer => return answer,
        }
    }
    ask()
}

/// Up to where the consumer has gone, what it does not hand out (the marks of transactions) included.
fn passed(consumer: &BaseConsumer<Context>, topic: &str, number: i32) -> i64 {
    let position = consumer.position().ok();
    let offset = position.and_then(|list| Some(list.find_partition(topic, number)?.offset()));
    if let Some(Offset::Offset(offset)) = offset { offset } else { 0 }
}
