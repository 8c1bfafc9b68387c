//! A cluster that we can talk to: makes producers, consumers and admin clients of the same settings, and
//! says in plain words why a broker does not let us in.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer};

use super::settings::{Settings, SettingsError, without};
use super::trouble::{Context, Trouble};

/// How long a first answer is waited for, in steps of [`STEP`]: DNS, TLS and SASL need four round trips,
/// 1 s around the globe, and a broker that restarts answers after 3 to 5 s.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);

/// What is set unless [kafka.properties] says otherwise.
///
/// When a leader dies librdkafka asks at once who leads now, mostly before there is a new one, and then not again for
/// five minutes. A question takes a millisecond.
const DEFAULTS: [(&str, &str); 1] = [("topic.metadata.refresh.interval.ms", "3000")];

/// Something about a cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings are wrong by themselves.
    #[error("the settings of Kafka are wrong")]
    Settings(#[from] SettingsError),
    /// librdkafka does not make a client of these settings.
    #[error("cannot make a Kafka client: {what}; look at [kafka.properties]")]
    Make {
        /// Why.
        what: String,
    },
    /// No broker lets us in.
    #[error("cannot talk to Kafka at {brokers}: {}: {}\n  librdkafka: {reason}", trouble.what(), trouble.advice())]
    Reach {
        /// Where it was tried.
        brokers: String,
        /// What is wrong.
        trouble: Trouble,
        /// librdkafka's words.
        reason: String,
    },
    /// The user may not do it.
    #[error(
        "Kafka at {brokers}: {who} may not {what}: give them the right (kafka-acls.sh --add), or use another user"
    )]
    Denied {
        /// Where.
        brokers: String,
        /// As whom.
        who: String,
        /// Do what, to what.
        what: String,
    },
    /// Anything else.
    #[error("cannot {what} at Kafka {brokers}")]
    Failed {
        /// Where.
        brokers: String,
        /// Do what, to what.
        what: String,
        /// Why.
        source: Box<KafkaError>,
    },
}

/// The settings of a cluster, proved and with their secrets. Prints nothing of them.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
    brokers: String,
    secrets: Vec<String>,
}

impl Client {
    /// Proves the settings: reads files of secrets and makes a client for trial, but connects to nothing.
    ///
    /// # Errors
    /// [`ClientError::Settings`] and [`ClientError::Make`]; what the build lacks is named.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        let (properties, secrets) = settings.resolve()?;
        let mut config = ClientConfig::new();
        config.extend(DEFAULTS.map(|(name, value)| (name.to_string(), value.to_string())));
        config.extend(properties);
        config.set_log_level(RDKafkaLogLevel::Error);
        let client = Client { config, brokers: settings.brokers.clone(), secrets };
        // Without a broker to start from: it would begin to connect.
        client.make::<_, BaseProducer<Context>>(&client.config, Context::default())?;
        Ok(Client { config: client.with(&[("bootstrap.servers", &settings.brokers)]), ..client })
    }

    /// Where the cluster is, as configured.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A producer, consumer or admin client (`BaseProducer<Context>`, `BaseConsumer<Context>`,
    /// `AdminClient<Context>`) with some properties `own` of its own. It connects in the background.
    ///
    /// # Errors
    /// [`ClientError::Make`].
    pub fn create<T: FromClientConfigAndContext<Context>>(
        &self,
        own: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        self.create_with(own, Context::hiding(&self.secrets))
    }

    /// A consumer, which has its token if it needs one.
    ///
    /// # Errors
    /// [`ClientError::Make`].
    pub fn consumer(&self, own: &[(&str, &str)]) -> Result<BaseConsumer<Context>, ClientError> {
        let consumer: BaseConsumer<Context> = self.create(own)?;
        // It asks for a token at once, but us only when it is polled; nothing else can come yet.
        drop(consumer.poll(Duration::ZERO));
        Ok(consumer)
    }

    /// The same as [`Client::create`] with a context that hears more.
    ///
    /// # Errors
    /// [`ClientError::Make`].
    pub fn create_with<C: ClientContext, T: FromClientConfigAndContext<C>>(
        &self,
        own: &[(&str, &str)],
        context: C,
    ) -> Result<T, ClientError> {
        self.make(&self.with(own), context)
    }

    /// What brokers and topics there are. Waits up to 10 s, but not for what does not pass by itself.
    ///
    /// # Errors
    /// [`ClientError::Reach`] with what is wrong and what to do, [`ClientError::Make`].
    pub fn connect(&self) -> Result<Metadata, ClientError> {
        // Of all clients a producer alone needs nothing else to be told what goes wrong.
        let probe: BaseProducer<Context> = self.create(&[])?;
        let context = probe.client().context();
        let steps = PATIENCE.as_millis() / STEP.as_millis();
        for _ in 0..steps {
            if let Ok(metadata) = probe.client().fetch_metadata(None, STEP) {
                return Ok(metadata);
            }
            // For a moment, not just for one event: the first is seldom the telling one.
            probe.poll(STEP / 5);
            if context.trouble().is_some_and(|(trouble, _)| !trouble.may_pass()) {
                break;
            }
        }
        let silent = || (Trouble::Unreachable, format!("no answer within {} s", PATIENCE.as_secs()));
        let (trouble, reason) = context.trouble().unwrap_or_else(silent);
        Err(ClientError::Reach { brokers: self.brokers.clone(), trouble, reason: self.hide(&reason) })
    }

    /// What the failure of doing `what` means: `what` is said as in `may not WHAT`.
    pub fn failed(&self, what: &str, source: KafkaError) -> ClientError {
        let (brokers, what) = (self.brokers.clone(), what.to_string());
        let denied = [
            Code::TopicAuthorizationFailed,
            Code::GroupAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
        ];
        let code = match &source {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        if code.is_some_and(|code| denied.contains(&code)) {
            return ClientError::Denied { brokers, who: self.who(), what };
        }
        ClientError::Failed { brokers, what, source: Box::new(source) }
    }

    /// As whom we come.
    fn who(&self) -> String {
        let user = self.config.get("sasl.username").map(|user| format!("the user {}", self.hide(user)));
        user.unwrap_or_else(|| "we".into())
    }

    fn hide(&self, text: &str) -> String {
        without(text, &self.secrets.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn with(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config.clone();
        config.extend(own.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        config
    }

    fn make<C: ClientContext, T: FromClientConfigAndContext<C>>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<T, ClientError> {
        config.create_with_context(context).map_err(|error| {
            let what = match error {
                KafkaError::ClientCreation(what) => what,
                // Its own words would show the value.
                KafkaError::ClientConfig(_, what, ..) => what,
                other => other.to_string(),
            };
            ClientError::Make { what: self.hide(what.trim()) }
        })
    }
}
