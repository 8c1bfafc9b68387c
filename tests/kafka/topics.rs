//! `lwt topics create|check`.

use std::time::Duration;

use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::settings::Settings;
use lwt::transport::kafka::trouble::Context;
use rdkafka::Message;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Timestamp;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::common::kafka::{Broker, broker, unique};
use crate::common::lwt;

const NAMES: [&str; 8] =
    ["samples", "assignments", "dependencies", "events", "state", "decisions", "perturbations", "deadletter"];

/// Runs `lwt topics WHAT` for topics that begin with `prefix`; gives the exit code, what it printed, and
/// what it complained about.
fn topics(broker: &Broker, what: &str, prefix: &str, more: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let mut args: Vec<String> =
        ["topics", what, "--brokers", broker.address("PLAINTEXT")].map(String::from).into();
    args.extend(NAMES.iter().map(|name| format!("--set=topics.{name}={prefix}.{name}")));
    args.extend(more.iter().map(ToString::to_string));
    let done = lwt(&args.iter().map(String::as_str).collect::<Vec<_>>());
    // What differs from run to run is left out.
    let lines = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap().replace(&format!("{prefix}."), "");
        text.lines().map(String::from).collect()
    };
    (done.status.code().unwrap(), lines(done.stdout), lines(done.stderr))
}

fn each(word: &str) -> Vec<String> {
    NAMES.iter().map(|name| format!("{name}: {word}")).collect()
}

#[test]
fn what_is_missing_is_made_once() {
    let Some(broker) = broker() else { return };
    let prefix = unique("made");
    let (code, out, wrong) = topics(broker, "check", &prefix, &[]);
    assert_eq!((code, out), (1, vec![]));
    assert_eq!(wrong[..8], each("is not there: lwt topics create makes it"));
    assert_eq!(wrong[8], "lwt: 8 of 8 topics are not right");
    assert_eq!(
        topics(broker, "create", &prefix, &["--partitions", "3"]),
        (0, [each("made"), each("ok")].concat(), vec![])
    );
    assert_eq!(topics(broker, "create", &prefix, &["--partitions", "3"]), (0, each("ok"), vec![]));
    assert_eq!(topics(broker, "check", &prefix, &["--partitions", "2"]), (0, each("ok"), vec![]));
    // What was right for a short outage is not for a long one, and nothing is changed by `create`.
    for what in ["check", "create"] {
        let (code, out, wrong) =
            topics(broker, what, &prefix, &["--partitions", "4", "--set", "topics.outage=72h"]);
        assert_eq!((code, out.len()), (1, 6), "{wrong:?}");
        // Twice 5 minutes, 1 minute and 24 or 72 hours.
        let (day, long) = (24 * 3600 * 1000, 72 * 3600 * 1000);
        let (is, needs) = ((660 + 24 * 3600) * 1000, (660 + 72 * 3600) * 1000);
        let name = format!("{prefix}.samples").replace(&format!("{prefix}."), "");
        assert_eq!(
            wrong,
            [
                format!(
                    "{name}: has 3 partitions, needs 4: kafka-topics.sh --alter --topic samples --partitions 4"
                ),
                format!(
                    "{name}: retention.ms is {is}, needs at least {needs}: \
                     kafka-configs.sh --alter --topic samples --add-config retention.ms={needs}"
                ),
                // Else whoever comes back after three days never hears what was undone.
                format!(
                    "decisions: delete.retention.ms is {day}, needs at least {long}: \
                     kafka-configs.sh --alter --topic decisions --add-config delete.retention.ms={long}"
                ),
                "lwt: 2 of 8 topics are not right".into(),
            ]
        );
    }
}

#[test]
fn more_copies_than_brokers_are_refused() {
    let Some(broker) = broker() else { return };
    let (code, _, wrong) = topics(broker, "create", &unique("copies"), &["--replicas", "2"]);
    assert_eq!(code, 1);
    assert!(wrong[0].contains("cannot make the topic samples with 2 replicas"), "{wrong:?}");
}

fn client(broker: &Broker) -> Client {
    let settings = Settings { brokers: broker.address("PLAINTEXT").into(), properties: [].into() };
    Client::new(&settings).unwrap()
}

/// A recording of long ago that is replayed is not deleted at once, nor taken for late.
#[test]
fn samples_have_the_time_at_which_they_were_appended() {
    let Some(broker) = broker() else { return };
    let prefix = unique("times");
    topics(broker, "create", &prefix, &["--partitions", "1"]);
    let (client, topic) = (client(broker), format!("{prefix}.samples"));
    let producer: BaseProducer<Context> = client.create(&[]).unwrap();
    let record = BaseRecord::to(&topic).key("host").payload("{}").timestamp(1_000);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let consumer: BaseConsumer<Context> = client.create(&[("group.id", &prefix)]).unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(&topic, 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let message = consumer.poll(Duration::from_secs(10)).unwrap().unwrap();
    assert!(matches!(message.timestamp(), Timestamp::LogAppendTime(ms) if ms > 1_600_000_000_000));
}

#[test]
fn topics_outlive_their_broker() {
    let Some(broker) = Broker::start(&[]) else { return };
    let prefix = unique("outlive");
    assert_eq!(topics(&broker, "create", &prefix, &[]).0, 0);
    broker.tell("kill");
    let (code, _, wrong) = topics(&broker, "check", &prefix, &[]);
    assert_eq!(code, 1);
    assert!(wrong[0].contains("no broker answers: check kafka.brokers"), "{wrong:?}");
    broker.tell("start");
    assert_eq!(topics(&broker, "check", &prefix, &[]), (0, each("ok"), vec![]));
    broker.tell("stop");
}

/// Samples and state under each other's names: every kind of fault but that of being missing.
#[test]
fn what_is_wrong_is_said_a_line_each() {
    let Some(broker) = broker() else { return };
    let prefix = unique("broken");
    let three = ["--partitions", "3"];
    assert_eq!(topics(broker, "create", &prefix, &three).0, 0);
    let swapped =
        [format!("--set=topics.samples={prefix}.state"), format!("--set=topics.state={prefix}.samples")];
    let more = [three[0], three[1], &swapped[0], &swapped[1]];
    for what in ["check", "create"] {
        let (code, out, wrong) = topics(broker, what, &prefix, &more);
        assert_eq!((code, out.len()), (1, 6));
        assert_eq!(
            wrong,
            [
                "state: has 1 partitions, needs 3: kafka-topics.sh --alter --topic state --partitions 3",
                "state: cleanup.policy is compact, must be delete: \
                 kafka-configs.sh --alter --topic state --add-config cleanup.policy=delete",
                "samples: has 3 partitions, must have 1: \
                 kafka-topics.sh --delete --topic samples, then lwt topics create",
                "samples: cleanup.policy is delete, must be compact: \
                 kafka-configs.sh --alter --topic samples --add-config cleanup.policy=compact",
                "lwt: 2 of 8 topics are not right",
            ]
        );
    }
}
