//! The records of a topic as they are committed, for those who watch.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, ClientError};
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
}

impl<'a> Follower<'a> {
    /// Begins with the first record of `topic` that was appended at or after `from_ms`, without it with the
    /// next one.
    ///
    /// # Errors
    /// A topic that is not there, brokers that do not answer, or refuse.
    pub fn open(client: &'a Client, topic: &str, from_ms: Option<i64>) -> Result<Self, ClientError> {
        let follower = Follower { client, consumer: client.create(&PROPERTIES)?, topic: topic.into() };
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
        match self.consumer.poll(patience) {
            Some(Ok(message)) => Ok(message.payload().map(<[u8]>::to_vec)),
            Some(Err(error)) if !may_pass(&error) => Err(self.failed(error)),
            Some(Err(_)) | None => Ok(None),
        }
    }

    fn failed(&self, error: KafkaError) -> ClientError {
        self.client.failed(&format!("read the topic {}", self.topic), error)
    }
}
