//! Wakes a consumer that has gone to sleep over a change of leader: librdkafka then may wait for ever for an answer about
//! the leader's epoch (its issue #4492), says nothing, and reads nothing. Beginning anew helps.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::trouble::Context;

/// How many times in a row, a second or more apart, somebody must have found nothing although there is something before
/// that is done. A broker's restart takes 3 to 20 s; beginning anew costs one request.
pub const PATIENCE: u32 = 10;

/// Reads a partition that is assigned anew from offset `next` on. Its queue stays the same.
///
/// # Errors
/// What librdkafka says of an assignment that it does not take.
pub fn begin_anew(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    next: i64,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(next))?;
    consumer.incremental_unassign(&list)?;
    consumer.incremental_assign(&list)
}
