//! What holds in a compacted topic: the last value of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Client, ClientError};
use super::trouble::Context;

/// How long a broker may take for one request.
const REQUEST: Duration = Duration::from_secs(30);

/// How long nothing at all may come before we begin anew, and how often we do: brokers that restart are back within 20 s.
const PATIENCE: Duration = Duration::from_secs(15);
const TIMES: usize = 4;

const PROPERTIES: [(&str, &str); 7] = [
    // Needed to read at all. Nothing is committed, and nobody joins it.
    ("group.id", "lwt"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    // At the end a broker waits for more before it says so.
    ("fetch.wait.max.ms", "10"),
    // A broker that is back is found within a second, not within ten.
    ("reconnect.backoff.max.ms", "1000"),
];

/// All that holds in `topic`, by key: every partition up to its end as it is now. What a transaction wrote
/// that is still open is not seen, nor what comes after it: call it when the one who writes there is ours
/// ([`super::sink::Sink::open`] ends what was left open).
///
/// # Errors
/// A topic that is not there, brokers that do not answer, or refuse.
pub fn load(client: &Client, topic: &str) -> Result<BTreeMap<String, Vec<u8>>, ClientError> {
    let last = |held: &mut BTreeMap<String, Vec<u8>>, key: String, value: Option<&[u8]>| {
        match value {
            Some(value) => held.insert(key, value.to_vec()),
            None => held.remove(&key),
        };
    };
    patiently(client, topic, last)
}

/// All records of `topic`, key and value, in their order within each partition, up to its end as it is now; tombstones are
/// passed over.
///
/// # Errors
/// As [`load`].
pub fn all(client: &Client, topic: &str) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
    let each = |all: &mut Vec<(String, Vec<u8>)>, key: String, value: Option<&[u8]>| {
        all.extend(value.map(|value| (key, value.to_vec())));
    };
    patiently(client, topic, each)
}

fn patiently<T: Default>(
    client: &Client,
    topic: &str,
    take: impl Fn(&mut T, String, Option<&[u8]>),
) -> Result<T, ClientError> {
    let silent = KafkaError::MessageConsumption(Code::OperationTimedOut);
    let mut read = (0..TIMES).map(|_| read(client, topic, &take));
    let read = read.find(|read| read.as_ref().err() != Some(&silent)).unwrap_or(Err(silent));
    read.map_err(|error| client.failed(&format!("read the topic {topic}"), error))?
}

fn read<T: Default>(
    client: &Client,
    topic: &str,
    take: impl Fn(&mut T, String, Option<&[u8]>),
) -> Result<Result<T, ClientError>, KafkaError> {
    let consumer: BaseConsumer<Context> = match client.consumer(&PROPERTIES) {
        Ok(consumer) => consumer,
        Err(error) => return Ok(Err(error)),
    };
    let mut open = assign(&consumer, topic)?;
    let mut held = T::default();
    while !open.is_empty() {
        match consumer.poll(PATIENCE) {
            None => return Err(KafkaError::MessageConsumption(Code::OperationTimedOut)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) if may_pass(&error) => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(message)) if open.contains(&message.partition()) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                take(&mut held, key, message.payload());
            }
            Some(Ok(_)) => {}
        }
    }
    Ok(Ok(held))
}

/// Begins to read every partition from its beginning; gives their numbers.
fn assign(consumer: &BaseConsumer<Context>, topic: &str) -> Result<BTreeSet<i32>, KafkaError> {
    let partitions = partitions(consumer, topic)?;
    let mut list = TopicPartitionList::new();
    for &partition in &partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(partitions.into_iter().collect())
}

/// The partitions of a topic, which must be there.
pub(super) fn partitions(consumer: &BaseConsumer<Context>, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
    let found = metadata.topics().first().ok_or(KafkaError::MetadataFetch(Code::UnknownTopic))?;
    match found.error().map(Code::from) {
        Some(code) => Err(KafkaError::MetadataFetch(code)),
        None => Ok(found.partitions().iter().map(|partition| partition.id()).collect()),
    }
}

/// Whether librdkafka goes on by itself.
pub(super) fn may_pass(error: &KafkaError) -> bool {
    let ends = [
        Code::AutoOffsetReset,
        Code::TopicAuthorizationFailed,
        Code::UnknownTopicOrPartition,
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::Fatal,
    ];
    !error.rdkafka_error_code().is_some_and(|code| ends.contains(&code))
}
