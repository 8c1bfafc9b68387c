//! What a user says about a Kafka cluster, and what librdkafka says to each of it by itself. No network.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to start: `host:port,…`.
    pub brokers: String,
    /// What else librdkafka is told, by the name of its property.
    pub properties: BTreeMap<String, Value>,
}

/// The value of a property.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// As it was typed.
    Plain(Hidden),
    /// Not to be shown to anybody.
    Secret(Hidden),
    /// What a file holds, without the end of its last line. Not to be shown either.
    File(PathBuf),
    /// What an environment variable holds that is not set.
    Variable(String),
}

/// A text that debugging output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A property has no value, or one that librdkafka refuses.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Its file cannot be read.
    #[error("kafka.properties.{name}: cannot read {}", path.display())]
    File {
        /// The property.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its environment variable is not set.
    #[error("kafka.properties.{name}: the environment variable {variable} is not set")]
    Variable {
        /// The property.
        name: String,
        /// The variable.
        variable: String,
    },
    /// librdkafka does not take it.
    #[error("kafka.properties.{name}: {what}")]
    Refused {
        /// The property.
        name: String,
        /// Why.
        what: String,
    },
}

/// What lwt itself decides: set otherwise, results could be lost or said twice.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers instead"),
    ("metadata.broker.list", "set kafka.brokers instead"),
    ("allow.auto.create.topics", "lwt topics create makes the topics"),
    ("auto.offset.reset", "lwt knows where to read on"),
    ("enable.auto.commit", "lwt commits what a window has used"),
    ("enable.auto.offset.store", "lwt commits what a window has used"),
    ("enable.idempotence", "lwt writes in transactions"),
    ("isolation.level", "lwt reads what was committed"),
    (
        "enable.sasl.oauthbearer.unsecure.jwt",
        "the token is in a file: sasl.oauthbearer.config = \"file=PATH\"",
    ),
];

/// Whether a property's value must never be shown, however it was given.
fn is_sensitive(name: &str) -> bool {
    ["password", "secret", "private.key", ".pem", "oauthbearer.config"].iter().any(|part| name.contains(part))
}

/// Why lwt or librdkafka refuses the property `name`, or its `value` if that is known: what this build
/// lacks is refused here, by name. Looks at nothing but these two.
pub fn refusal(name: &str, value: Option<&str>) -> Option<String> {
    if let Some((_, instead)) = OURS.iter().find(|(ours, _)| *ours == name) {
        return Some(format!("lwt sets it itself: {instead}"));
    }
    if let Some(what) = value.and_then(|value| lacks(&features(), name, value)) {
        return Some(what);
    }
    // Any value tells whether there is such a property.
    match ClientConfig::new().set(name, value.unwrap_or("1")).create_native_config() {
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some("librdkafka has no such property; its CONFIGURATION.md lists all".into())
        }
        Err(KafkaError::ClientConfig(_, what, ..)) => {
            let secret = value.filter(|_| is_sensitive(name));
            value.map(|_| without(what.trim(), secret.as_slice()))
        }
        Err(error) => Some(error.to_string()),
        Ok(_) => None,
    }
}

/// What this build of librdkafka can do.
fn features() -> String {
    let native = ClientConfig::new().create_native_config();
    native.and_then(|native| native.get("builtin.features")).unwrap_or_default()
}

/// The SASL mechanisms, with the feature of librdkafka that each needs.
const MECHANISMS: &[(&str, &str)] = &[
    ("GSSAPI", "sasl_gssapi"),
    ("PLAIN", "sasl_plain"),
    ("SCRAM-SHA-256", "sasl_scram"),
    ("SCRAM-SHA-512", "sasl_scram"),
    ("OAUTHBEARER", "sasl_oauthbearer"),
];

/// What this build, which has `features`, lacks for the property `name` to be `value`. librdkafka says so
/// itself for codecs, but for mechanisms only when it connects.
fn lacks(features: &str, name: &str, value: &str) -> Option<String> {
    if name != "sasl.mechanism" && name != "sasl.mechanisms" {
        return None;
    }
    let has = |feature: &str| features.split(',').any(|f| f == feature);
    let known = MECHANISMS.iter().filter(|(_, feature)| has(feature)).map(|(mechanism, _)| *mechanism);
    let known: Vec<&str> = known.collect();
    let what = || format!("this build has no SASL mechanism {value}: it has {}", known.join(", "));
    (!known.contains(&value)).then(what)
}

/// `text` with every one of `secrets` taken out.
pub fn without(text: &str, secrets: &[&str]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    // The longest first: one may hold another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_string(), |text, secret| text.replace(secret, "…"))
}

/// The properties with their values, and those values that must not be shown.
type Resolved = (Vec<(String, String)>, Vec<String>);

impl Settings {
    /// Reads the files of secrets, and proves each property.
    ///
    /// # Errors
    /// A file or variable that is missing, a property or value that is refused.
    pub fn resolve(&self) -> Result<Resolved, SettingsError> {
        let (mut resolved, mut secrets) = (vec![], vec![]);
        for (name, value) in &self.properties {
            let name = name.clone();
            let (text, secret) = match value {
                Value::Plain(Hidden(text)) => (text.clone(), is_sensitive(&name)),
                Value::Secret(Hidden(text)) => (text.clone(), true),
                Value::File(path) => match std::fs::read_to_string(path) {
                    Ok(text) => (text.trim_end_matches(['\r', '\n']).to_string(), true),
                    Err(source) => return Err(SettingsError::File { name, path: path.clone(), source }),
                },
                Value::Variable(variable) => {
                    return Err(SettingsError::Variable { name, variable: variable.clone() });
                }
            };
            if let Some(what) = refusal(&name, Some(&text)) {
                let what = if secret { without(&what, &[&text]) } else { what };
                return Err(SettingsError::Refused { name, what });
            }
            if secret {
                secrets.push(text.clone());
            }
            resolved.push((name, text));
        }
        Ok((resolved, secrets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: Option<&str>, expected: Option<&str>) {
        assert_eq!(refusal(name, value).as_deref(), expected, "{name}={value:?}");
    }

    #[test]
    fn librdkafka_judges() {
        check("compression.codec", Some("zstd"), None);
        check("compression.codec", Some("lz4"), None);
        check("compression.codec", Some("gzip"), None);
        check("compression.codec", Some("snappy"), None);
        check("sasl.mechanism", Some("SCRAM-SHA-512"), None);
        check("sasl.mechanism", Some("OAUTHBEARER"), None);
        check("security.protocol", Some("sasl_ssl"), None);
        check("sasl.password", None, None);
        check("sasl.pasword", None, Some("librdkafka has no such property; its CONFIGURATION.md lists all"));
        check(
            "linger.ms",
            Some("-1"),
            Some(
                "Configuration property \"queue.buffering.max.ms\" value -1 is outside allowed range 0..900000",
            ),
        );
        check("enable.idempotence", Some("false"), Some("lwt sets it itself: lwt writes in transactions"));
        check(
            "sasl.mechanism",
            Some("GSSAPI"),
            Some(
                "this build has no SASL mechanism GSSAPI: it has PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
            ),
        );
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let value = |name: &str| match name {
            "ssl.key.password" => Value::File(file.clone()),
            "linger.ms" => Value::Secret(Hidden("s3cret".into())),
            _ => Value::Plain(Hidden("s3cret".into())),
        };
        let settings = |names: &[&str]| Settings {
            brokers: "b:1".into(),
            properties: names.iter().map(|name| (name.to_string(), value(name))).collect(),
        };
        let right = settings(&["sasl.password", "ssl.key.password", "sasl.username"]);
        let (_, secrets) = right.resolve().unwrap();
        assert_eq!(secrets, ["s3cret", "s3cret"]);
        let wrong = settings(&["linger.ms"]);
        let error = wrong.resolve().unwrap_err();
        for text in [format!("{right:?}"), format!("{wrong:?}"), format!("{error:?}"), error.to_string()] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = Value::File("/nowhere/password".into());
        for (value, expected) in [
            (missing, "kafka.properties.sasl.password: cannot read /nowhere/password"),
            (
                Value::Variable("PW".into()),
                "kafka.properties.sasl.password: the environment variable PW is not set",
            ),
        ] {
            let properties = BTreeMap::from([("sasl.password".to_string(), value)]);
            let error = Settings { brokers: "b".into(), properties }.resolve().unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
