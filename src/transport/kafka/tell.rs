//! What people say, a record at a time: it is said once the brokers have it, or not at all.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::client::{Client, ClientError};
use super::delivery::Delivery;

/// How long the brokers may take: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);

/// Writes to one topic.
pub struct Teller {
    client: Client,
    topic: String,
    producer: BaseProducer<Delivery>,
}

impl Teller {
    /// To `topic`. Connects in the background.
    ///
    /// # Errors
    /// When no producer can be made of the settings.
    pub fn new(client: &Client, topic: &str) -> Result<Self, ClientError> {
        let own = [
            // A record that is there twice says the same; and an idempotent producer that lacks the right to write does not say so.
            ("enable.idempotence", "false"),
            ("acks", "all"),
            ("message.timeout.ms", "10000"),
            ("linger.ms", "0"),
            ("reconnect.backoff.max.ms", "1000"),
        ];
        let producer: BaseProducer<Delivery> = client.create_with(&own, Delivery::default())?;
        // It may want a token first.
        producer.poll(Duration::ZERO);
        Ok(Teller { client: client.clone(), topic: topic.into(), producer })
    }

    /// Writes a record, without a value a tombstone, and waits until the brokers have it, 10 s at most.
    ///
    /// # Errors
    /// When they refuse it, or do not answer: then it is not written, or nobody knows.
    pub fn tell(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ClientError> {
        self.write(key, value)
            .map_err(|error| self.client.failed(&format!("write the topic {}", self.topic), error))
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), KafkaError> {
        let delivery = self.producer.context();
        delivery.take();
        // One at a time: its number says nothing.
        let record = BaseRecord::with_opaque_to(&self.topic, 0).key(key);
        let record = if let Some(value) = value { record.payload(value) } else { record };
        self.producer.send(record).map_err(|(error, _)| error)?;
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            self.producer.poll(STEP);
            if let Some((_, wrong)) = delivery.take().pop() {
                return wrong.map_or(Ok(()), |code| Err(KafkaError::MessageProduction(code)));
            }
        }
        // It must not be written later, when nobody waits for it any more.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(STEP);
        Err(KafkaError::MessageProduction(Code::OperationTimedOut))
    }
}
