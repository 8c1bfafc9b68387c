//! Tests of the whole way from what was typed to what was proved.

use super::*;
use crate::transport::kafka::settings::Hidden;

#[test]
fn the_defaults_are_proved() {
    RawConfig::default().prove().unwrap();
}

#[test]
fn later_says_win() {
    let mut raw = RawConfig::default();
    raw.set_file(
        "[window]\nlength = \"10m\"\nhop = \"2m\"\n[engine]\nkind = \"kmeans\"\norder = 7\n",
        "p.toml",
    )
    .unwrap();
    raw.set_environment(
        [("LWT_WINDOW_LENGTH".to_string(), "6m".to_string()), ("HOME".into(), "/".into())].into_iter(),
    )
    .unwrap();
    raw.set_pair("engine.order = 9").unwrap();
    let config = raw.prove().unwrap();
    assert_eq!((config.length.map(|length| length.as_secs()), config.hop.as_secs()), (Some(360), 120));
    assert_eq!(config.order, Order::Fixed(9));
}

fn check_file(text: &str, expected: &[&str]) {
    let mut raw = RawConfig::default();
    let error = raw.set_file(text, "p.toml").and_then(|()| raw.prove().map(drop)).unwrap_err();
    assert_eq!(error.to_string().lines().collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn errors_say_where_and_what_all_at_once() {
    check_file(
        "[window]\n\nlenght = \"5m\"\nx = [1]\n",
        &[
            "p.toml:3: there is no key window.lenght; the nearest is window.length",
            "p.toml:4: window.x takes a string, a number or true/false",
        ],
    );
    check_file("hop = 3\n", &["p.toml:1: hop stands outside of a [section]"]);
    check_file("[window\n", &["p.toml:1: unclosed table, expected `]`"]);
    check_file(
        "[window]\nlength = 300\nmissing = 0.7\n[engine]\nclusters = \"some\"\n",
        &[
            "p.toml:2: window.length: `300` is no duration: write 5m, 90s or 100ms, nor auto",
            "p.toml:3: window.missing: `0.7` is no share from 0 to 0.5",
            "p.toml:5: engine.clusters: `some` is no number of clusters from 1 to 1000000, nor auto",
        ],
    );
    check_file(
        "[engine]\nkind = \"kmean\"\nfdr = 0\n",
        &[
            "p.toml:2: engine.kind: there is no engine `kmean`: kmeans or coupling",
            "p.toml:3: engine.fdr: `0` is no share above 0 and up to 0.5",
        ],
    );
    check_file(
        "[window]\nperiod = \"25h\"\n",
        &["p.toml:2: window.period: `25h` is longer than a day, nor auto"],
    );
    check_file(
        "[serve]\nlisten = \"localhost:7890\"\n[log]\nformat = \"xml\"\nlevel = \"loud\"\n",
        &[
            "p.toml:2: serve.listen: `localhost:7890` is no address:port, such as 127.0.0.1:7890 or 0.0.0.0:7890, nor off",
            "p.toml:4: log.format: `xml` is neither text nor json",
            "p.toml:5: log.level: `loud` is none of error, warn, info, debug, trace",
        ],
    );
}

#[test]
fn an_unknown_environment_variable_is_an_error() {
    let error = RawConfig::default()
        .set_environment([("LWT_WINDOW_HOPP".to_string(), "1m".to_string())].into_iter())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable LWT_WINDOW_HOPP: there is no key window.hopp; the nearest is window.hop"
    );
}

#[test]
fn properties_are_taken_as_they_come() {
    let mut raw = RawConfig::default();
    raw.set_environment(
        [("LWT_KAFKA_PROPERTIES_SASL_PASSWORD", "s3cret"), ("PW", "other")]
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .into_iter(),
    )
    .unwrap();
    raw.set_file(
        "[kafka]\nbrokers = \"a:1,b:2\"\n[kafka.properties]\nsecurity.protocol = \"SASL_SSL\"\n\"linger.ms\" = 5\n\
         \"ssl.key.password\" = { env = \"PW\" }\nssl.keystore.password.file = \"pw\"\n",
        "p.toml",
    )
    .unwrap();
    raw.set_pair("kafka.properties.ssl.key.pem={ env = \"NONE\" }").unwrap();
    raw.set_pair("kafka.properties.sasl.username=bob=by").unwrap();
    let kafka = raw.prove().unwrap().kafka;
    assert_eq!(kafka.brokers, "a:1,b:2");
    let text = |text: &str| Hidden(text.to_string());
    let expected = [
        ("linger.ms", Value::Plain(text("5"))),
        ("sasl.password", Value::Secret(text("s3cret"))),
        ("sasl.username", Value::Plain(text("bob=by"))),
        ("security.protocol", Value::Plain(text("SASL_SSL"))),
        ("ssl.key.password", Value::Secret(text("other"))),
        ("ssl.key.pem", Value::Variable("NONE".into())),
        ("ssl.keystore.password", Value::File("pw".into())),
    ];
    assert_eq!(kafka.properties, expected.map(|(name, value)| (name.to_string(), value)).into());
    for text in ["s3cret", "other"] {
        assert!(!format!("{raw:?}{kafka:?}").contains(text), "{text}");
    }
}

#[test]
fn wrong_properties_are_named() {
    check_file(
        "[kafka]\nbrokers = \"a:b\"\n[kafka.properties]\n\"linger.mss\" = 5\nsasl.mechanism = \"GSSAPI\"\n\
         ssl.key.password = { file = 3 }\nacks = [1]\ngroup = { file = \"a\", env = \"b\" }\n",
        &[
            "p.toml:7: kafka.properties.acks: takes a string, a number, true/false, { file = \"PATH\" } or { env = \"NAME\" }",
            "p.toml:8: kafka.properties.group: takes a string, a number, true/false, { file = \"PATH\" } or { env = \"NAME\" }",
            "p.toml:4: kafka.properties.linger.mss: librdkafka has no such property; its CONFIGURATION.md lists all",
            "p.toml:5: kafka.properties.sasl.mechanism: this build has no SASL mechanism GSSAPI: it has PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
            "p.toml:6: kafka.properties.ssl.key.password: takes a string, a number, true/false, { file = \"PATH\" } or { env = \"NAME\" }",
        ],
    );
    check_file(
        "[topics]\nevents = \"lwt.state\"\n",
        &["p.toml:2: topics.events and topics.state are both lwt.state: each topic needs a name of its own"],
    );
}

#[test]
fn passwords_on_the_command_line_are_not_repeated() {
    for pair in ["kafka.propertys.sasl.password=s3cret", "kafka.properties.enable.idempotence=s3cret"] {
        let error = RawConfig::default().set_pair(pair).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
