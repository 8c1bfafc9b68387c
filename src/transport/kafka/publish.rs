//! A collector's messages -> Kafka, those of a host in order, each once while this process lives. While the
//! broker is away they wait on disk.
//!
//! Messages that are on their way are kept until the broker has them. When the oldest has waited for
//! two seconds, all of them go to the spool, and so does whatever follows, until the broker is back: so
//! kill -9 loses at most what is younger than that, and a process that is started again goes on with what
//! is in the spool. What was written but not confirmed when a process was killed is written again.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tracing::{info, warn};

use super::client::{Client, ClientError};
use super::delivery::Delivery;
use crate::transport::spool::{Message, Position, Spool, SpoolError};

/// From when on a broker that does not answer is away. One that is well answers within 0.1 s, a change of
/// leader takes 0.2 to 3 s.
const AWAY_NS: i64 = 2_000_000_000;

/// From when on that is worth a line: a busy machine makes messages wait for some seconds, again and again.
const SAY_NS: i64 = 5_000_000_000;

/// The pause before a producer that failed is replaced.
const PAUSE_NS: i64 = 2_000_000_000;

/// The most messages that are on their way: librdkafka takes 100,000.
const MAX_FLYING: usize = 50_000;

/// How long is waited at a time for the broker to take something.
const TURN: Duration = Duration::from_millis(5);

/// How long an end waits for what is on its way: a broker that is there takes 0.1 s.
const LAST_TURNS: u32 = 400;

/// What is done with a message for which there is no room.
pub enum Full {
    /// It is written to a spool.
    Spool(Box<Spool>),
    /// It is dropped, and counted; who can wait asks [`Publisher::has_room`] first.
    Drop,
}

/// What happened since it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Messages that the broker has.
    pub delivered: u64,
    /// Messages for which there was no room, or which Kafka does not take.
    pub lost: u64,
}

/// Writes messages to one topic.
pub struct Publisher {
    client: Client,
    topic: String,
    producer: Option<BaseProducer<Delivery>>,
    /// When a new producer is made, if there is none.
    retry_ns: i64,
    /// On their way, the oldest first; the first has the number `first`.
    flying: VecDeque<Flying>,
    first: usize,
    flying_bytes: usize,
    limit_bytes: usize,
    full: Full,
    away: bool,
    /// What was said of it, until it is back.
    said: Option<String>,
    counts: Counts,
}

struct Flying {
    message: Message,
    since_ns: i64,
    /// Where it ends in the spool, if it is there.
    at: Option<Position>,
    done: bool,
}

impl Publisher {
    /// To `topic`, with at most `limit_bytes` on their way (and as many in librdkafka). Connects to nothing yet.
    ///
    /// # Errors
    /// When no producer can be made of the settings.
    pub fn new(client: Client, topic: &str, limit_bytes: usize, full: Full) -> Result<Self, ClientError> {
        let mut publisher = Publisher {
            client,
            topic: topic.into(),
            producer: None,
            retry_ns: 0,
            flying: VecDeque::new(),
            first: 0,
            flying_bytes: 0,
            limit_bytes,
            full,
            away: false,
            said: None,
            counts: Counts::default(),
        };
        publisher.producer = Some(publisher.make()?);
        Ok(publisher)
    }

    /// Publishes a message under `key`.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn send(&mut self, key: &[u8], value: Vec<u8>, now_ns: i64) -> Result<(), SpoolError> {
        // Into the spool, behind those that wait there.
        let waits = matches!(&self.full, Full::Spool(spool) if self.away || !spool.is_empty());
        let message = Message { key: key.to_vec(), value };
        if self.has_room() && !waits {
            self.fly(message, None, now_ns);
            return Ok(());
        }
        self.save()?;
        match &mut self.full {
            Full::Spool(spool) => {
                let Err(error) = spool.append(&message.key, &message.value) else { return Ok(()) };
                self.counts.lost += 1;
                Err(error)
            }
            Full::Drop => {
                self.counts.lost += 1;
                Ok(())
            }
        }
    }

    /// Whether there is room for another message on its way.
    pub fn has_room(&self) -> bool {
        self.producer.is_some() && self.flying.len() < MAX_FLYING && self.flying_bytes < self.limit_bytes
    }

    /// Waits for some ms for something to happen, and does as [`Publisher::turn`].
    ///
    /// # Errors
    /// As there.
    pub fn wait(&mut self, now_ns: i64) -> Result<(), SpoolError> {
        self.poll(TURN);
        self.turn(now_ns)
    }

    /// Hears what became of messages, and sends what waits; does not wait itself. To be called again and again.
    ///
    /// # Errors
    /// When the spool cannot be read or written.
    pub fn turn(&mut self, now_ns: i64) -> Result<(), SpoolError> {
        self.poll(Duration::ZERO);
        self.land(now_ns);
        let landed = self.pop_landed();
        self.revive(now_ns);
        let waits_ns = self.flying.front().map_or(0, |oldest| now_ns - oldest.since_ns);
        self.away |= waits_ns > AWAY_NS;
        if waits_ns > SAY_NS && self.said.is_none() {
            self.say(format!("takes nothing{}", self.trouble()));
        }
        if self.away && waits_ns <= AWAY_NS && landed > 0 {
            self.away = false;
            if self.said.take().is_some() {
                info!("Kafka at {} is back", self.client.brokers());
            }
        }
        if self.away { self.save() } else { self.refill(now_ns) }
    }

    /// Whether messages wait in the spool for their turn, and the broker is there.
    pub fn is_behind(&self) -> bool {
        !self.away && matches!(&self.full, Full::Spool(spool) if !spool.is_empty())
    }

    /// Whether what cannot be sent is kept.
    pub fn has_spool(&self) -> bool {
        matches!(self.full, Full::Spool(_))
    }

    /// What happened since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        if let Full::Spool(spool) = &mut self.full {
            self.counts.lost += spool.take_dropped();
        }
        std::mem::take(&mut self.counts)
    }

    /// Waits for what is on its way, 2 s at most if there is a spool: what is left goes there. Says how many
    /// messages are left.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn finish(&mut self, now_ns: i64) -> Result<usize, SpoolError> {
        let turns = if self.has_spool() { LAST_TURNS } else { 5 * LAST_TURNS };
        for _ in 0..turns {
            if self.flying.is_empty() || self.producer.is_none() || (self.has_spool() && self.away) {
                break;
            }
            self.poll(TURN);
            self.land(now_ns);
            self.pop_landed();
        }
        self.save()?;
        let left = self.flying.len();
        if let Full::Spool(spool) = &mut self.full {
            self.flying.clear();
            spool.sync()?;
        }
        Ok(left)
    }

    fn make(&self) -> Result<BaseProducer<Delivery>, ClientError> {
        // In order, each once, and no message is given up. A broker that is back is found within a second.
        let own = [
            ("enable.idempotence", "true"),
            ("message.timeout.ms", "0"),
            ("linger.ms", "5"),
            ("queue.buffering.max.kbytes", "2097151"),
            ("reconnect.backoff.max.ms", "1000"),
        ];
        self.client.create_with(&own, Delivery::default())
    }

    fn poll(&self, turn: Duration) {
        match &self.producer {
            Some(producer) => {
                producer.poll(turn);
            }
            None => std::thread::sleep(turn),
        }
    }

    fn fly(&mut self, message: Message, at: Option<Position>, since_ns: i64) {
        let number = self.first + self.flying.len();
        self.flying_bytes += message.value.len();
        self.hand_on(&message, number);
        self.flying.push_back(Flying { message, since_ns, at, done: false });
    }

    /// Gives a message to librdkafka. What it does not take fails like what the broker does not take.
    fn hand_on(&self, message: &Message, number: usize) {
        let Some(producer) = &self.producer else { return };
        let record =
            BaseRecord::with_opaque_to(&self.topic, number).key(&message.key).payload(&message.value);
        if let Err((error, _)) = producer.send(record) {
            producer.context().note(number, Some(&error));
        }
    }

    /// Notes what became of messages. One that fails may be followed by others that do not: the producer is
    /// given up, and all that have not arrived are sent again, in order, by another one.
    fn land(&mut self, now_ns: i64) {
        let outcomes = self.producer.as_ref().map(|producer| producer.context().take()).unwrap_or_default();
        let mut failed = None;
        for (number, wrong) in outcomes {
            let Some(flying) = number.checked_sub(self.first).and_then(|at| self.flying.get_mut(at)) else {
                continue;
            };
            match wrong {
                None => {
                    flying.done = true;
                    self.counts.delivered += 1;
                }
                // It will never be taken.
                Some(code @ (Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord)) => {
                    warn!("Kafka at {}: a message is lost: {code}", self.client.brokers());
                    flying.done = true;
                    self.counts.lost += 1;
                }
                Some(code) => failed = Some(code),
            }
        }
        if let Some(code) = failed {
            let what = match code {
                Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                    format!("there is no topic {}: lwt topics create makes it", self.topic)
                }
                Code::TopicAuthorizationFailed => format!("we may not write to {}", self.topic),
                code => code.to_string(),
            };
            self.say(format!("does not take what is sent, and is asked again: {what}"));
            self.away = true;
            self.producer = None;
            self.retry_ns = now_ns.saturating_add(PAUSE_NS);
        }
    }

    /// Makes a new producer in place of one that failed.
    fn revive(&mut self, now_ns: i64) {
        if self.producer.is_some() || now_ns < self.retry_ns {
            return;
        }
        match self.make() {
            Ok(producer) => {
                self.producer = Some(producer);
                for (at, flying) in self.flying.iter().enumerate().filter(|(_, flying)| !flying.done) {
                    self.hand_on(&flying.message, self.first + at);
                }
            }
            Err(error) => {
                self.say(format!("cannot be written to: {error}"));
                self.retry_ns = now_ns.saturating_add(PAUSE_NS);
            }
        }
    }

    /// Forgets the messages that arrived, up to the first that did not; says how many.
    fn pop_landed(&mut self) -> usize {
        let (before, mut last) = (self.flying.len(), None);
        while let Some(flying) = self.flying.pop_front_if(|flying| flying.done) {
            self.first += 1;
            self.flying_bytes -= flying.message.value.len();
            last = flying.at.or(last);
        }
        if let (Full::Spool(spool), Some(last)) = (&mut self.full, last)
            && let Err(error) = spool.commit(last)
        {
            warn!("{error}; after a restart messages are sent twice");
        }
        before - self.flying.len()
    }

    /// What is on its way goes to the spool: before all that is there, so there is nothing yet.
    fn save(&mut self) -> Result<(), SpoolError> {
        let Full::Spool(spool) = &mut self.full else { return Ok(()) };
        if self.flying.front().is_none_or(|oldest| oldest.at.is_some()) || !spool.is_delivered() {
            return Ok(());
        }
        for flying in self.flying.iter_mut().filter(|flying| !flying.done) {
            flying.at = Some(spool.append(&flying.message.key, &flying.message.value)?);
        }
        spool.hand_over();
        Ok(())
    }

    /// Sends what waits in the spool, as far as there is room.
    fn refill(&mut self, now_ns: i64) -> Result<(), SpoolError> {
        while self.has_room() {
            let Full::Spool(spool) = &mut self.full else { break };
            let Some((message, at)) = spool.hand_out()? else { break };
            self.fly(message, Some(at), now_ns);
        }
        Ok(())
    }

    /// Says what is wrong with Kafka, once.
    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            warn!("Kafka at {} {what}", self.client.brokers());
            self.said = Some(what);
        }
    }

    fn trouble(&self) -> String {
        let trouble = self.producer.as_ref().and_then(|producer| producer.context().trouble.trouble());
        trouble.map_or(String::new(), |(trouble, _)| format!(": {}: {}", trouble.what(), trouble.advice()))
    }
}
