//! What librdkafka says when a cluster cannot be reached -> what is wrong, and what to do.

use std::error::Error;
use std::sync::Mutex;

use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tracing::{debug, info, warn};

use super::settings::without;
use super::token;

/// Why a cluster does not let us in, the most telling last: what comes later in this list says more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    /// All brokers are gone, and none said why: that is how a TLS listener treats those without TLS.
    HungUp,
    /// Nobody answers.
    Unreachable,
    /// A broker's name has no address.
    Name,
    /// No common language: one side speaks TLS, the other does not, or no common mechanism.
    Protocol,
    /// The broker's certificate is not believed.
    Certificate,
    /// The broker wants a certificate from us, or does not believe ours.
    OurCertificate,
    /// The user or the password is wrong.
    Login,
    /// Nobody gives us a token, or the broker does not believe it.
    Token,
}

impl Trouble {
    /// What it is, as the begin of a sentence that goes on with `at BROKER`.
    pub fn what(self) -> &'static str {
        match self {
            Trouble::HungUp => "the broker hangs up",
            Trouble::Unreachable => "no broker answers",
            Trouble::Name => "there is no address for a broker's name",
            Trouble::Protocol => "the broker speaks another protocol",
            Trouble::Certificate => "the broker's certificate is not to be trusted",
            Trouble::OurCertificate => "the broker does not accept our certificate",
            Trouble::Login => "the broker does not accept this user and password",
            Trouble::Token => "there is no token (OAUTHBEARER), or the broker does not accept it",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Trouble::Unreachable | Trouble::Name => {
                "check kafka.brokers, that a broker runs there, and what it advertises"
            }
            Trouble::HungUp | Trouble::Protocol => {
                "check security.protocol and sasl.mechanism in [kafka.properties], and the port in kafka.brokers"
            }
            Trouble::Certificate => {
                "check its dates and names (openssl s_client -connect shows them), and that ssl.ca.location in [kafka.properties] is the authority that signed it"
            }
            Trouble::OurCertificate => {
                "check ssl.certificate.location and ssl.key.location in [kafka.properties]: dates, and who signed it"
            }
            Trouble::Login => "check sasl.username, sasl.password and sasl.mechanism in [kafka.properties]",
            Trouble::Token => {
                "check the file that sasl.oauthbearer.config in [kafka.properties] names: its dates, and who it is for"
            }
        }
    }

    /// Whether waiting may help.
    pub fn may_pass(self) -> bool {
        self <= Trouble::Name
    }

    /// What an error of librdkafka means, if it is about reaching a broker.
    fn of(code: Option<Code>, reason: &str) -> Option<Self> {
        let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        // With TLS 1.3 the broker looks at our certificate when for us the handshake is over.
        if says(&["alert"]) && says(&["certificate", "unknown ca"]) {
            return Some(Trouble::OurCertificate);
        }
        match code? {
            Code::Authentication if says(&["Unsupported SASL mechanism"]) => Some(Trouble::Protocol),
            Code::Authentication if says(&["OAUTHBEARER", "invalid_token"]) => Some(Trouble::Token),
            Code::Authentication | Code::SaslAuthenticationFailed => Some(Trouble::Login),
            Code::Resolve => Some(Trouble::Name),
            Code::SSL if says(&["certificate verify failed", "certificate could not be verified"]) => {
                Some(Trouble::Certificate)
            }
            Code::SSL => Some(Trouble::Protocol),
            Code::BrokerTransportFailure if says(&["SSL_HANDSHAKE"]) => Some(Trouble::Protocol),
            Code::BrokerTransportFailure => Some(Trouble::Unreachable),
            Code::AllBrokersDown => Some(Trouble::HungUp),
            _ => None,
        }
    }
}

/// What every client of ours tells librdkafka to call: keeps the most telling trouble since the last good
/// word, and hands on what librdkafka logs, without what is to be hidden.
#[derive(Default)]
pub struct Context {
    secrets: Vec<String>,
    seen: Mutex<Option<(Trouble, String)>>,
    uncommitted: Mutex<Option<KafkaError>>,
}

impl Context {
    /// Of a client that has these secrets.
    pub fn hiding(secrets: &[String]) -> Self {
        Context { secrets: secrets.to_vec(), ..Context::default() }
    }

    /// What of librdkafka's words may be shown.
    fn shown(&self, message: &str) -> String {
        without(message, &self.secrets.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The most telling trouble so far, and librdkafka's words for it (which may hold what is to be hidden).
    pub fn trouble(&self) -> Option<(Trouble, String)> {
        self.seen.lock().map_or(None, |seen| seen.clone())
    }

    /// Why the last offsets that a consumer wanted to commit were not, once.
    pub fn take_uncommitted(&self) -> Option<KafkaError> {
        self.uncommitted.lock().ok()?.take()
    }

    fn note(&self, trouble: Trouble, reason: &str) {
        let Ok(mut seen) = self.seen.lock() else { return };
        if seen.as_ref().is_none_or(|(before, _)| *before < trouble) {
            *seen = Some((trouble, reason.to_string()));
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        Ok(token::read(config)?)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.shown(message);
        match level {
            // Producers and consumers are made of the same properties.
            RDKafkaLogLevel::Warning if facility == "CONFWARN" => debug!(facility, "librdkafka: {message}"),
            // What ends us we say ourselves: librdkafka tries again for ever.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(facility, "librdkafka: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(facility, "librdkafka: {message}"),
            RDKafkaLogLevel::Debug => debug!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(trouble) = Trouble::of(error.rdkafka_error_code(), reason) {
            self.note(trouble, reason);
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Ok(mut uncommitted) = self.uncommitted.lock() {
            *uncommitted = result.err();
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_get_into_the_log() {
        let context = Context::hiding(&["s3cret".into(), "s3cret2".into()]);
        assert_eq!(context.shown("user bob, password s3cret2/s3cret"), "user bob, password …/…");
    }
}
