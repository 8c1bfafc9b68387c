//! Records -> Kafka, a transaction at a time: all of them are seen, or none.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, ClientError};
use super::trouble::Context;

/// How long one step may take before it is said and tried again.
const STEP: Duration = Duration::from_secs(10);

/// How often an abort is tried. When the coordinator's leader changes librdkafka may never finish it.
const ABORTS: usize = 2;

/// How long the answers to records are waited for at a time.
const TURN: Duration = Duration::from_millis(5);

/// The pauses between attempts: at first a broker has just lost its leadership, later it is down.
const PAUSES_MS: [u64; 6] = [100, 200, 500, 1_000, 2_000, 5_000];

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Out {
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Nothing can be written any more: the process must end.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The cluster does not let us write.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Somebody younger writes under the same name.
    #[error("another lwt has taken over: it writes under the same transactional.id {id}")]
    Fenced {
        /// The name.
        id: String,
    },
    /// A record that Kafka will never take.
    #[error("Kafka refuses what is to be written")]
    Refused(#[source] Box<KafkaError>),
    /// librdkafka gives up.
    #[error("the transaction cannot go on")]
    Fatal(#[source] Box<KafkaError>),
    /// It was told to stop while it waited for brokers; nothing was left half written.
    #[error("stopped")]
    Stopped,
}

/// How far a topic has been read: its name, and each partition with the offset that comes next.
pub type Read<'a> = (&'a str, &'a [(i32, i64)]);

/// What to do about an error.
enum Remedy {
    /// Do the same again.
    Again,
    /// Abort, and begin anew.
    Abort,
    /// End.
    End(SinkError),
}

/// Writes transactions, one after the other.
pub struct Sink {
    client: Client,
    producer: BaseProducer<Context>,
    /// Says, in the name of a group that nobody joins, how far samples have been read: tools that show lag look there.
    reader: BaseConsumer<Context>,
    id: String,
    retries: Arc<AtomicU64>,
    stop: Box<dyn Fn() -> bool>,
}

impl Sink {
    /// The only one who writes as `transactional_id`, from now on: whoever did so before is fenced off, and
    /// what it left open is aborted. Brokers that are away are waited for, until `stop` says so.
    ///
    /// # Errors
    /// When we are not let in, or may not write so.
    pub fn open(
        client: &Client,
        transactional_id: &str,
        stop: Box<dyn Fn() -> bool>,
    ) -> Result<Sink, SinkError> {
        let producer = producer(client, transactional_id)?;
        let reader = client.create(&[("group.id", transactional_id), ("enable.auto.commit", "false")])?;
        let (client, id) = (client.clone(), transactional_id.into());
        let sink = Sink { client, producer, reader, id, retries: Arc::default(), stop };
        sink.begin()?;
        Ok(sink)
    }

    /// Fences off whoever wrote before, and aborts what was left open.
    fn begin(&self) -> Result<(), SinkError> {
        let mut attempts = 0;
        // It may want a token first; and without a connection librdkafka would look for one half a second later.
        self.producer.poll(Duration::ZERO);
        drop(self.producer.client().fetch_metadata(None, STEP / 10));
        while let Err(error) = self.producer.init_transactions(STEP) {
            if let Remedy::End(end) = self.judge(&error) {
                let what = format!("write as the transactional.id {}", self.id);
                return Err(if let SinkError::Fatal(_) = end {
                    self.client.failed(&what, error).into()
                } else {
                    end
                });
            }
            // What does not pass by itself: a wrong password is no broker that is away.
            match self.client.connect() {
                Err(ClientError::Reach { trouble, .. }) if trouble.may_pass() => {}
                Err(other) => return Err(other.into()),
                Ok(_) => {}
            }
            self.pause(&mut attempts, "begin to write", &error)?;
        }
        Ok(())
    }

    /// How often a step had to be tried again so far; it counts on while a commit waits.
    pub fn retries(&self) -> Arc<AtomicU64> {
        self.retries.clone()
    }

    /// Writes `records` in one transaction, and then says how far a topic has been `read`. What may pass is waited for,
    /// however long it takes.
    ///
    /// # Errors
    /// When nothing can be written any more: whether the records were written or not, the process must end.
    pub fn commit(&mut self, records: &[Out], read: Read<'_>) -> Result<(), SinkError> {
        let mut attempts = 0;
        while let Err(error) = self.attempt(records, &mut attempts) {
            match self.judge(&error) {
                Remedy::End(SinkError::Refused(error)) => return Err(self.refused(records, *error)),
                Remedy::End(end) => return Err(end),
                Remedy::Again | Remedy::Abort => self.abort(&mut attempts)?,
            }
            self.pause(&mut attempts, "write", &error)?;
        }
        self.tell(read);
        Ok(())
    }

    /// Of what Kafka does not take: whoever may not write is told where.
    fn refused(&self, records: &[Out], error: KafkaError) -> SinkError {
        if error.rdkafka_error_code() != Some(Code::TopicAuthorizationFailed) {
            return SinkError::Refused(Box::new(error));
        }
        let topics: BTreeSet<&str> = records.iter().map(|record| record.topic.as_str()).collect();
        let topics = Vec::from_iter(topics).join(", ");
        self.client.failed(&format!("write to all of the topics {topics}"), error).into()
    }

    /// Says how far a topic has been read: for those who look, not for us, so nothing waits for it. In the transaction it
    /// would be waited for: librdkafka 2.12 does so for ever when the group's coordinator dies.
    fn tell(&self, (topic, read): Read<'_>) {
        let mut offsets = TopicPartitionList::new();
        let added = read.iter().try_for_each(|&(partition, next)| {
            offsets.add_partition_offset(topic, partition, Offset::Offset(next))
        });
        if added.is_ok() && offsets.count() > 0 {
            let _ = self.reader.commit(&offsets, CommitMode::Async);
        }
        // Hears the answers to what was said before, or that the group's coordinator gives none.
        let heard = iter::from_fn(|| self.reader.poll(Duration::ZERO)).filter_map(Result::err);
        let denied = |error: &KafkaError| error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed);
        let denied = heard.filter(denied).last();
        if let Some(error) = self.reader.context().take_uncommitted().or(denied) {
            let what = format!("commit offsets of the group {}", self.id);
            tracing::warn!("tools that show lag see nothing: {}", self.client.failed(&what, error));
        }
    }

    /// One transaction.
    ///
    /// # Errors
    /// What calls for an abort, or for the end.
    fn attempt(&self, records: &[Out], attempts: &mut usize) -> Result<(), KafkaError> {
        if records.is_empty() {
            return Ok(());
        }
        self.producer.begin_transaction()?;
        for record in records {
            self.send(record)?;
        }
        // Flushing would wait in steps of 100 ms.
        for _ in 0..STEP.as_millis() / TURN.as_millis() {
            if self.producer.in_flight_count() == 0 {
                break;
            }
            self.producer.poll(TURN);
        }
        // Whether a commit that was not answered holds, only another one tells: no abort here.
        while let Err(error) = self.producer.commit_transaction(STEP) {
            match self.judge(&error) {
                // Told to stop: whoever comes next finds out whether it holds.
                Remedy::Again if self.pause(attempts, "commit", &error).is_ok() => {}
                _ => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&self, Out { topic, key, value }: &Out) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(key);
        record.payload = value.as_deref();
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(error);
            }
            record = back;
            self.producer.poll(TURN);
        }
        Ok(())
    }

    /// Takes back what was begun, if need be with a new producer: to begin anew is to abort, too.
    fn abort(&mut self, attempts: &mut usize) -> Result<(), SinkError> {
        // Before librdkafka 2.16 an abort of which the brokers know nothing yet is fatal.
        let _ = self.producer.flush(STEP);
        for _ in 0..ABORTS {
            let Err(error) = self.producer.abort_transaction(STEP) else { return Ok(()) };
            match self.judge(&error) {
                Remedy::Again | Remedy::Abort => self.pause(attempts, "abort a transaction", &error)?,
                Remedy::End(end) => return Err(end),
            }
        }
        self.producer = producer(&self.client, &self.id)?;
        self.begin()
    }

    fn judge(&self, error: &KafkaError) -> Remedy {
        let boxed = || Box::new(error.clone());
        let fatal = self.producer.client().fatal_error();
        let code = fatal.map(|(code, _)| code).or(error.rdkafka_error_code());
        match (error, code) {
            (_, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)) => {
                Remedy::End(SinkError::Fenced { id: self.id.clone() })
            }
            (
                _,
                Some(
                    Code::MessageSizeTooLarge
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::UnknownTopic,
                ),
            ) => Remedy::End(SinkError::Refused(boxed())),
            (KafkaError::Transaction(inner), _) if inner.txn_requires_abort() => Remedy::Abort,
            (KafkaError::Transaction(inner), _) if inner.is_retriable() => Remedy::Again,
            // Before the commit itself: not all is there yet.
            (KafkaError::Flush(_), _) => Remedy::Again,
            // The transaction failed while records were still being handed over.
            (KafkaError::MessageProduction(code), _) if *code != Code::Fatal => Remedy::Abort,
            _ => Remedy::End(SinkError::Fatal(boxed())),
        }
    }

    /// Says what went wrong, and waits a little longer each time.
    ///
    /// # Errors
    /// When it is time to stop.
    fn pause(&self, attempts: &mut usize, what: &str, error: &KafkaError) -> Result<(), SinkError> {
        self.retries.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, attempts, "cannot {what} yet, trying again");
        let pause_ms = PAUSES_MS[(*attempts).min(PAUSES_MS.len() - 1)];
        *attempts += 1;
        for _ in 0..pause_ms / 100 {
            if (self.stop)() {
                return Err(SinkError::Stopped);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// A producer of transactions.
fn producer(client: &Client, transactional_id: &str) -> Result<BaseProducer<Context>, ClientError> {
    // A broker that is back is found within a second, not within ten.
    let reconnect = ("reconnect.backoff.max.ms", "1000");
    client.create(&[("transactional.id", transactional_id), ("linger.ms", "5"), reconnect])
}
