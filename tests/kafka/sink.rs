//! Transactions: whole or not at all, by one writer at a time, over a broker that dies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lwt::transport::kafka::sink::{Out, Sink, SinkError};
use lwt::transport::kafka::state;
use lwt::transport::kafka::trouble::Context;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::common::kafka::{Broker, broker, unique};
use crate::world::{NOWHERE, client, committed, topic};

fn out(topic: &str, key: &str, value: Option<&str>) -> Out {
    Out { topic: topic.into(), key: key.into(), value: value.map(|value| value.as_bytes().to_vec()) }
}

/// A transaction that is begun and not ended; the records are on the broker.
fn begun(producer: &BaseProducer<Context>, topic: &str, key: &str) {
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(topic).key(key).payload("never")).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let (one, two, id) = (topic(&client, "one", 2, &[]), topic(&client, "two", 1, &[]), unique("whole"));
    // Somebody before us died in the middle.
    let before: BaseProducer<Context> = client.create(&[("transactional.id", &id)]).unwrap();
    begun(&before, &one, "before");
    let mut sink = Sink::open(&client, &id, Box::new(|| false)).unwrap();
    assert_eq!(committed(&client, &one), []);
    sink.commit(&[], NOWHERE).unwrap();
    let records = [out(&one, "a", Some("1")), out(&two, "a", None), out(&one, "b", Some("2"))];
    sink.commit(&records, NOWHERE).unwrap();
    sink.commit(&records[..1], NOWHERE).unwrap();
    let mut seen: Vec<_> = committed(&client, &one).into_iter().map(|(_, key, value)| (key, value)).collect();
    seen.sort();
    let value = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(seen, [("a".into(), value("1")), ("a".into(), value("1")), ("b".into(), value("2"))]);
    assert_eq!(committed(&client, &two), [(0, "a".into(), None)]);
    // The one before comes back to life: it is fenced.
    assert!(before.commit_transaction(Duration::from_secs(10)).is_err());
    // And so is a sink by its successor.
    let mut next = Sink::open(&client, &id, Box::new(|| false)).unwrap();
    let fenced = sink.commit(&records, NOWHERE).unwrap_err();
    assert!(matches!(fenced, SinkError::Fenced { .. }), "{fenced:?}");
    next.commit(&[out(&two, "b", Some("3"))], NOWHERE).unwrap();
    assert_eq!(committed(&client, &two).len(), 2);
    assert_eq!(committed(&client, &one).len(), 3);
}

#[test]
fn what_kafka_never_takes_ends_the_sink() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = topic(&client, "small", 1, &[("max.message.bytes", "1000")]);
    let mut sink = Sink::open(&client, &unique("small"), Box::new(|| false)).unwrap();
    let long: String = (0..5_000u32).map(|i| char::from(b'a' + (i * i % 25) as u8)).collect();
    let refused =
        sink.commit(&[out(&topic, "a", Some("1")), out(&topic, "b", Some(&long))], NOWHERE).unwrap_err();
    assert!(matches!(refused, SinkError::Refused(_)), "{refused:?}");
    assert_eq!(committed(&client, &topic), []);
}

/// kill -9 of the broker in the middle of transactions, three times.
#[test]
fn a_broker_that_dies_loses_nothing_and_doubles_nothing() {
    let Some(broker) = Broker::start(&[]) else { return };
    let client = client(&broker);
    let (topic, kills, written) = (topic(&client, "dies", 2, &[]), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut sink = Sink::open(&client, &unique("dies"), Box::new(|| false)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Each time in the middle of something, and only when it goes on again.
            for more in [5, 17, 31] {
                let enough = written.load(Ordering::Relaxed) + more;
                while written.load(Ordering::Relaxed) < enough {
                    thread::sleep(Duration::from_millis(1));
                }
                broker.tell("kill");
                broker.tell("start");
                kills.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut n, mut last) = (0, None);
        while last.is_none_or(|last| n < last) {
            if last.is_none() && kills.load(Ordering::Relaxed) == 3 {
                last = Some(n + 10);
            }
            let value = n.to_string();
            let records = ["a", "b", "c", "d"].map(|key| out(&topic, key, Some(&value)));
            sink.commit(&records, NOWHERE).unwrap();
            n += 1;
            written.store(n, Ordering::Relaxed);
        }
        let seen = committed(&client, &topic);
        for key in ["a", "b", "c", "d"] {
            let values = seen.iter().filter(|(_, k, _)| k == key);
            let values: Vec<String> =
                values.map(|(_, _, value)| String::from_utf8(value.clone().unwrap()).unwrap()).collect();
            assert_eq!(values, (0..n).map(|i| i.to_string()).collect::<Vec<_>>(), "{key}");
        }
    });
}

#[test]
fn a_state_is_the_last_of_each_key() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = topic(&client, "state", 3, &[("cleanup.policy", "compact")]);
    assert_eq!(state::load(&client, &topic).unwrap(), [].into());
    let mut sink = Sink::open(&client, &unique("state"), Box::new(|| false)).unwrap();
    sink.commit(&["a", "b", "c", "d"].map(|key| out(&topic, key, Some("old"))), NOWHERE).unwrap();
    sink.commit(&[out(&topic, "b", None), out(&topic, "c", Some("new")), out(&topic, "e", None)], NOWHERE)
        .unwrap();
    let other: BaseProducer<Context> = client.create(&[("transactional.id", &unique("aborted"))]).unwrap();
    begun(&other, &topic, "a");
    other.abort_transaction(Duration::from_secs(10)).unwrap();
    let held = || {
        let held = state::load(&client, &topic).unwrap();
        held.into_iter().map(|(key, value)| key + "=" + str::from_utf8(&value).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(held(), ["a=old", "c=new", "d=old"]);
    // Open transactions are not seen, and nothing waits for them.
    let other: BaseProducer<Context> = client.create(&[("transactional.id", &unique("open"))]).unwrap();
    begun(&other, &topic, "d");
    assert_eq!(held(), ["a=old", "c=new", "d=old"]);
    other.abort_transaction(Duration::from_secs(10)).unwrap();
    let missing = state::load(&client, "nowhere").unwrap_err();
    assert_eq!(missing.to_string(), format!("cannot read the topic nowhere at Kafka {}", client.brokers()));
}
