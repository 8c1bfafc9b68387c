//! Where a collector's messages go: to Kafka, or to standard output.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::SPOOL;
use crate::collect::frames::{Frame, Frames};
use crate::config::{Config, Source};
use crate::transport::kafka::client::Client;
use crate::transport::kafka::publish::{Full, Publisher};
use crate::transport::kafka::settings::{Hidden, Settings, Value};
use crate::transport::outgoing;
use crate::transport::spool::Spool;
use crate::types::Tick;

/// What may be on its way of one host: a frame of 30,000 VMs, four of the largest messages.
const HOST_BYTES: usize = 4 << 20;

/// And of a fleet: half a second of 33,000 messages of 2 kB.
const FLEET_BYTES: usize = 32 << 20;

/// What has happened is said at most so often.
const SAY_NS: i64 = 60_000_000_000;

/// Where messages go.
pub enum Outlet<'a> {
    /// To standard output, a line each.
    Print(&'a mut dyn Write),
    /// To Kafka.
    Kafka(Box<Kafka>),
}

/// Kafka, and what is to be said about it.
pub struct Kafka {
    publisher: Publisher,
    delivered: u64,
    lost: u64,
    /// When something was last said.
    said_ns: i64,
}

impl Outlet<'_> {
    /// Makes a producer, and opens the spool.
    ///
    /// # Errors
    /// Settings that are wrong, a spool that cannot be opened.
    pub fn publish(config: &Config) -> anyhow::Result<Self> {
        // Who reads the past can wait.
        let fleet = match config.collect.source {
            Source::Prometheus => config.collect.history.is_some(),
            source => matches!(source, Source::Replay | Source::Simulate),
        };
        let spool = match (&config.collect.spool, fleet) {
            (Some(said), _) => said.clone(),
            (None, true) => None,
            (None, false) => Some(PathBuf::from(SPOOL)),
        };
        let full = match spool {
            Some(folder) => Full::Spool(Box::new(open(&folder, config.collect.spool_bytes)?)),
            None => Full::Drop,
        };
        let Settings { brokers, mut properties } = config.kafka.clone();
        // Names repeat from message to message: a tenth is left.
        let zstd = || Value::Plain(Hidden("zstd".into()));
        if !properties.contains_key("compression.type") {
            properties.entry("compression.codec".into()).or_insert_with(zstd);
        }
        let client = Client::new(&Settings { brokers, properties })?;
        let limit_bytes = if fleet { FLEET_BYTES } else { HOST_BYTES };
        let publisher = Publisher::new(client, &config.topics.samples, limit_bytes, full)?;
        Ok(Outlet::Kafka(Box::new(Kafka { publisher, delivered: 0, lost: 0, said_ns: 0 })))
    }

    /// Sends the messages of the frames that lie before the tick `until`.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn frames(
        &mut self,
        frames: &mut Frames,
        until: Tick,
        period_ms: u64,
        now_ns: i64,
    ) -> anyhow::Result<()> {
        let mut sent = Ok(());
        frames.cut(until, |frame| {
            if sent.is_ok() {
                sent = self.frame(frame, period_ms, now_ns);
            }
        });
        sent
    }

    /// Sends the messages of a frame.
    ///
    /// # Errors
    /// Output that cannot be written.
    pub fn frame(&mut self, frame: &Frame, period_ms: u64, now_ns: i64) -> anyhow::Result<()> {
        let mut sent = Ok(());
        outgoing::messages(frame, period_ms, |message| {
            if sent.is_ok() {
                sent = self.message(frame.host.as_str(), message, now_ns);
            }
        });
        sent
    }

    /// Sends one message of a host. A spool that cannot be written costs messages, but does not end us.
    ///
    /// # Errors
    /// Standard output that cannot be written.
    pub fn message(&mut self, host: &str, message: Vec<u8>, now_ns: i64) -> anyhow::Result<()> {
        match self {
            Outlet::Print(out) => {
                out.write_all(&message)?;
                out.write_all(b"\n")?;
            }
            Outlet::Kafka(kafka) => {
                let sent = kafka.publisher.send(host.as_bytes(), message, now_ns);
                kafka.complain(sent, now_ns);
            }
        }
        Ok(())
    }

    /// Whether there is room for another message without dropping or spooling one.
    pub fn has_room(&self) -> bool {
        match self {
            Outlet::Print(_) => true,
            Outlet::Kafka(kafka) => kafka.publisher.has_room(),
        }
    }

    /// Waits some ms for room.
    pub fn wait(&mut self, now_ns: i64) {
        if let Outlet::Kafka(kafka) = self {
            let waited = kafka.publisher.wait(now_ns);
            kafka.complain(waited, now_ns);
        }
    }

    /// How long we may wait before [`Outlet::turn`].
    pub fn patience_ns(&self) -> u64 {
        match self {
            Outlet::Kafka(kafka) if kafka.publisher.is_behind() => 5_000_000,
            _ => 1_000_000_000,
        }
    }

    /// Hears what became of messages, and sends what waits.
    ///
    /// # Errors
    /// Standard output that cannot be written.
    pub fn turn(&mut self, now_ns: i64) -> anyhow::Result<()> {
        match self {
            Outlet::Print(out) => out.flush()?,
            Outlet::Kafka(kafka) => {
                let turned = kafka.publisher.turn(now_ns);
                kafka.complain(turned, now_ns);
                kafka.count(now_ns);
            }
        }
        Ok(())
    }

    /// Waits for what is on its way; what is left goes to the spool.
    ///
    /// # Errors
    /// What could not be sent, and could not be kept.
    pub fn finish(&mut self, now_ns: i64) -> anyhow::Result<()> {
        match self {
            Outlet::Print(out) => Ok(out.flush()?),
            Outlet::Kafka(kafka) => {
                let left = kafka.publisher.finish(now_ns)?;
                kafka.said_ns = i64::MIN / 2;
                kafka.count(now_ns);
                tracing::info!("{} messages delivered", kafka.delivered);
                anyhow::ensure!(
                    left == 0 || kafka.publisher.has_spool(),
                    "{left} messages were not delivered"
                );
                Ok(())
            }
        }
    }
}

fn open(folder: &Path, limit_bytes: u64) -> anyhow::Result<Spool> {
    Spool::open(folder, limit_bytes).context("say another folder with --spool, or --spool none")
}

impl Kafka {
    /// Says what went wrong with the spool, once a minute.
    fn complain<E: std::error::Error + Send + Sync + 'static>(&mut self, done: Result<(), E>, now_ns: i64) {
        if let Err(error) = done
            && now_ns - self.said_ns > SAY_NS
        {
            self.said_ns = now_ns;
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
    }

    /// Says what was lost, once a minute.
    fn count(&mut self, now_ns: i64) {
        let counts = self.publisher.take_counts();
        self.delivered += counts.delivered;
        self.lost += counts.lost;
        if self.lost > 0 && now_ns.saturating_sub(self.said_ns) > SAY_NS {
            self.said_ns = now_ns;
            tracing::warn!("{} messages lost: no room for them, or Kafka does not take them", self.lost);
            self.lost = 0;
        }
    }
}
