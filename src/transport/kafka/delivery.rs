//! What becomes of records that a producer was given.

use std::error::Error;
use std::sync::Mutex;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::trouble::Context;

/// What became of a record, by its number: nothing went wrong, or this.
pub type Outcome = (usize, Option<Code>);

/// Hears what becomes of records, and what is wrong with the brokers. A record's opaque is its number.
#[derive(Default)]
pub struct Delivery {
    /// What is wrong with the brokers.
    pub trouble: Context,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Delivery {
    /// Takes note of a record that went wrong, or did not.
    pub fn note(&self, number: usize, wrong: Option<&KafkaError>) {
        let wrong = wrong.map(|error| error.rdkafka_error_code().unwrap_or(Code::Unknown));
        if let Ok(mut outcomes) = self.outcomes.lock() {
            outcomes.push((number, wrong));
        }
    }

    /// What happened since it was last asked.
    pub fn take(&self) -> Vec<Outcome> {
        self.outcomes.lock().map(|mut outcomes| std::mem::take(&mut *outcomes)).unwrap_or_default()
    }
}

impl ClientContext for Delivery {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.trouble.generate_oauth_token(config)
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error(error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        self.note(number, result.as_ref().err().map(|(error, _)| error));
    }
}
