//! The records of a topic as they are committed, for those who watch.

use std::cell::Cell;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, ClientError};
use super::nudge;
use super::source::begins;
use super::state::{may_pass, partitions};
use super::trouble::Context;

const PROPERTIES: [(&str, &str); 5] = [
    // Needed to read at all. Nothing is committed, and nobody joins it.
    ("group.id", "lwt"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("reconnect.backoff.max.ms", "1000"),
];

/// Follows one topic.
pub struct Follower<'a> {
    client: &'a Client,
    consumer: BaseConsumer<Context>,
    topic: String,
    /// How often in a row nothing came.
    silent: Cell<u32>,
}

/// A record's key, and its value; without one it is a tombstone.
pub type KeyAndValue = (Vec<u8>, Option<Vec<u8>>);

/// How long a broker may take to say where a topic ends.
const REQUEST: Duration = Duration::from_secs(5);

impl<'a> Follower<'a> {
    /// Begins with the first record of `topic` that was appended at or after `from_ms`, without it with the
    /// next one.
    ///
    /// # Errors
    /// A topic that is not there, brokers that do not answer, or refuse.
    pub fn open(client: &'a Client, topic: &str, from_ms: Option<i64>) -> Result<Self, ClientError> {
        let consumer = client.consumer(&PROPERTIES)?;
        let follower = Follower { client, consumer, topic: topic.into(), silent: Cell::new(0) };
        follower.assign(from_ms).map_err(|error| follower.failed(error))?;
        Ok(follower)
    }

    fn assign(&self, from_ms: Option<i64>) -> Result<(), KafkaError> {
        let partitions = partitions(&self.consumer, &self.topic)?;
        let mut list = TopicPartitionList::new();
        // Nothing is so young: the end.
        for (partition, offset) in
            begins(&self.consumer, &self.topic, &partitions, from_ms.or(Some(i64::MAX)))?
        {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        self.consumer.assign(&list)
    }

    /// The value of the next record, if one comes within `patience`. Brokers that are away are waited for;
    /// tombstones are passed over.
    ///
    /// # Errors
    /// When there is nothing more to be read: deleted, or forbidden.
    pub fn next(&self, patience: Duration) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.next_entry(patience)?.and_then(|(_, value)| value))
    }

    /// The same with its key; without a value it is a tombstone.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub fn next_entry(&self, patience: Duration) -> Result<Option<KeyAndValue>, ClientError> {
        let polled = self.consumer.poll(patience);
        self.silent.set(if polled.is_none() { self.silent.get() + 1 } else { 0 });
        match polled {
            Some(Ok(message)) => {
                let key = message.key().unwrap_or_default().to_vec();
                Ok(Some((key, message.payload().map(<[u8]>::to_vec))))
            }
            Some(Err(error)) if !may_pass(&error) => Err(self.failed(error)),
            None if self.silent.get() >= nudge::PATIENCE => {
                self.silent.set(0);
                self.nudge().map_err(|error| self.failed(error))?;
                Ok(None)
            }
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// Whether the leader of the topic's first partition answers within `patience`.
    pub fn is_reached(&self, patience: Duration) -> bool {
        self.consumer.fetch_watermarks(&self.topic, 0, patience).is_ok()
    }

    /// Where there is more than we have got, begins anew.
    fn nudge(&self) -> Result<(), KafkaError> {
        for one in self.consumer.position()?.elements() {
            let (Offset::Offset(next), partition) = (one.offset(), one.partition()) else { continue };
            let end = self.consumer.fetch_watermarks(&self.topic, partition, REQUEST);
            if end.is_ok_and(|(_, end)| end > next) {
                nudge::begin_anew(&self.consumer, &self.topic, partition, next)?;
            }
        }
        Ok(())
    }

    fn failed(&self, error: KafkaError) -> ClientError {
        self.client.failed(&format!("read the topic {}", self.topic), error)
    }
}
