//! TLS, SASL/SCRAM and OAUTHBEARER: who is let in, and what those are told who are not.

use std::process::{Command, Output};

use crate::common::kafka::{Broker, broker};

/// Properties of a user who logs in with a password.
fn scram(broker: &Broker, user: &str, password: &str) -> Vec<(String, String)> {
    [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", &broker.tls("ca.pem")),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", user),
        ("sasl.password", password),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .into()
}

/// Properties of a user who shows a certificate.
fn certificate(broker: &Broker, name: &str) -> Vec<(String, String)> {
    [
        ("security.protocol", "SSL".to_string()),
        ("ssl.ca.location", broker.tls("ca.pem")),
        ("ssl.certificate.location", broker.tls(&format!("{name}.pem"))),
        ("ssl.key.location", broker.tls(&format!("{name}.key"))),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// Properties of a user who shows a token.
fn token(broker: &Broker, name: &str) -> Vec<(String, String)> {
    [
        ("security.protocol", "SASL_SSL".to_string()),
        ("ssl.ca.location", broker.tls("ca.pem")),
        ("sasl.mechanism", "OAUTHBEARER".into()),
        ("sasl.oauthbearer.config", format!("file={}", broker.tls(&format!("{name}.token")))),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

fn with(mut properties: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    properties.retain(|(known, _)| known != name);
    properties.push((name.into(), value.into()));
    properties
}

/// Runs `lwt topics check` at `address`. Nothing of a password may be printed.
fn run(address: &str, properties: &[(String, String)]) -> Output {
    let set = properties.iter().map(|(name, value)| format!("--set=kafka.properties.{name}={value}"));
    let done = Command::new(env!("CARGO_BIN_EXE_lwt"))
        .args(["topics", "check", "--brokers", address])
        .args(set)
        .env("PASSWORD", "alice-secret")
        .output()
        .unwrap();
    let printed = format!("{done:?}");
    assert!(!printed.contains("-secret"), "{printed}");
    done
}

/// Whoever is let in is told about the topics, which nobody made here.
fn let_in(address: &str, properties: &[(String, String)]) {
    let done = run(address, properties);
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(text.contains("lwt.samples: is not there: lwt topics create makes it"), "{text}");
}

fn refused(address: &str, properties: &[(String, String)], expected: &[&str]) {
    let done = run(address, properties);
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{text}");
    for words in expected {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
}

#[test]
fn the_right_ones_are_let_in() {
    let Some(broker) = broker() else { return };
    let address = broker.address("SCRAM");
    let alice = scram(broker, "alice", "alice-secret");
    let_in(address, &alice);
    let_in(address, &with(alice.clone(), "sasl.mechanism", "SCRAM-SHA-256"));
    let_in(broker.address("MTLS"), &certificate(broker, "client"));
    let_in(broker.address("OAUTH"), &token(broker, "alice"));
    // The password from the environment, and from a file.
    let_in(address, &with(alice.clone(), "sasl.password", "{ env = \"PASSWORD\" }"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "alice-secret\n").unwrap();
    let_in(address, &with(alice, "sasl.password", &format!("{{ file = {file:?} }}")));
}

#[test]
fn wrong_passwords_are_named() {
    let Some(broker) = broker() else { return };
    let address = broker.address("SCRAM");
    let words = ["the broker does not accept this user and password: check sasl.username, sasl.password"];
    refused(address, &scram(broker, "alice", "bob-secret"), &words);
    refused(address, &scram(broker, "nobody", "alice-secret"), &words);
    let alice = scram(broker, "alice", "alice-secret");
    refused(
        address,
        &with(alice.clone(), "sasl.mechanism", "PLAIN"),
        &["the broker speaks another protocol: check security.protocol and sasl.mechanism"],
    );
    refused(
        address,
        &with(alice, "sasl.password", "{ env = \"NOWHERE\" }"),
        &["kafka.properties.sasl.password: the environment variable NOWHERE is not set"],
    );
}

#[test]
fn whoever_may_nothing_is_told_so() {
    let Some(broker) = broker() else { return };
    let words = "may not look at the topic lwt.samples: give them the right (kafka-acls.sh --add)";
    let scram = scram(broker, "mallory", "mallory-secret");
    refused(broker.address("SCRAM"), &scram, &[&format!("the user mallory {words}")]);
    refused(broker.address("OAUTH"), &token(broker, "mallory"), &[&format!("we {words}")]);
}

#[test]
fn wrong_tokens_are_named() {
    let Some(broker) = broker() else { return };
    let address = broker.address("OAUTH");
    let words = "there is no token (OAUTHBEARER), or the broker does not accept it: check the file that";
    // For somewhere else, of yesterday, signed by somebody else, not there.
    for name in ["astray", "expired", "forged"] {
        refused(address, &token(broker, name), &[words]);
    }
    refused(address, &token(broker, "nobody"), &[words, "cannot read the token"]);
    let said = "lwt sets it itself: the token is in a file: sasl.oauthbearer.config = \"file=PATH\"";
    let unsigned = with(token(broker, "alice"), "enable.sasl.oauthbearer.unsecure.jwt", "true");
    let done = run(address, &unsigned);
    assert!(String::from_utf8_lossy(&done.stderr).contains(said), "{done:?}");
    // What needs a library that is not linked in.
    let asks = with(token(broker, "alice"), "sasl.oauthbearer.method", "oidc");
    let done = run(address, &asks);
    assert!(
        String::from_utf8_lossy(&done.stderr)
            .contains("\"sasl.oauthbearer.method\" not supported in this build"),
        "{done:?}"
    );
}

#[test]
fn wrong_certificates_are_named() {
    let Some(broker) = broker() else { return };
    let alice = scram(broker, "alice", "alice-secret");
    let words = [
        "the broker's certificate is not to be trusted: check its dates and names (openssl s_client -connect shows them), and that ssl.ca.location",
    ];
    let other = with(alice.clone(), "ssl.ca.location", &broker.tls("other-ca.pem"));
    refused(broker.address("SCRAM"), &other, &words);
    refused(broker.address("EXPIRED"), &alice, &words);
    let words = ["the broker does not accept our certificate: check ssl.certificate.location"];
    for name in ["client-other", "client-expired"] {
        refused(broker.address("MTLS"), &certificate(broker, name), &words);
    }
    let none: Vec<_> = certificate(broker, "client").into_iter().take(2).collect();
    refused(broker.address("MTLS"), &none, &words);
    let missing = with(alice, "ssl.ca.location", "/nowhere/ca.pem");
    refused(broker.address("SCRAM"), &missing, &["cannot make a Kafka client: ssl.ca.location failed"]);
}

#[test]
fn the_wrong_door_is_named() {
    let Some(broker) = broker() else { return };
    let alice = scram(broker, "alice", "alice-secret");
    let words = ["the broker speaks another protocol: check security.protocol"];
    refused(broker.address("PLAINTEXT"), &alice, &words);
    refused(broker.address("SCRAM"), &[], &["the broker hangs up: check security.protocol"]);
    refused("127.0.0.1:1", &[], &["no broker answers: check kafka.brokers"]);
    refused("nobody.invalid:9092", &[], &["there is no address for a broker's name: check kafka.brokers"]);
}
