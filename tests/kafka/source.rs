//! Samples from the log: partitions shared out, late and bad records, idle partitions, rewinds.

use std::thread;
use std::time::Duration;

use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::source::{Batch, Grid, Source, SourceError};
use lwt::transport::kafka::trouble::Context;
use lwt::types::Reason;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::kafka::{Broker, broker, unique};
use crate::world::{client, grow, message, now_ms, produce, samples};

const GRID: Grid = Grid { period_ms: 1000, hop_ticks: 2, scales: vec![] };

/// All that has been read.
#[derive(Default)]
struct Got {
    /// Host and value of each sample.
    samples: Vec<(String, u32)>,
    /// Reason, origin and the first bytes of each dead letter.
    dead: Vec<(Reason, String, String)>,
    open: u64,
    lag: u64,
}

/// Reads until `enough`, for at most a minute.
fn read(source: &mut Source, got: &mut Got, enough: impl Fn(&Got) -> bool) {
    let (mut batch, until_ms) = (Batch::default(), now_ms() + 60_000);
    while !enough(got) {
        source.read(&mut batch, now_ms()).unwrap();
        assert!(batch.open >= got.open, "it never goes back");
        for samples in &batch.samples {
            assert!(samples.first >= got.open as i64 * GRID.hop_ticks, "nothing of a complete pane comes");
            got.samples.extend(samples.cpu_ppm.iter().map(|ppm| (samples.host.to_string(), *ppm)));
        }
        let letters = batch.dead.drain(..).map(|(letter, _)| {
            let text = String::from_utf8_lossy(&letter.bytes[..letter.bytes.len().min(40)]).into_owned();
            assert!(letter.bytes.len() <= 4096);
            (letter.reason, letter.origin, text)
        });
        got.dead.extend(letters);
        (got.open, got.lag) = (batch.open, batch.lag);
        assert!(now_ms() < until_ms, "{:?} {:?} {}", got.samples.len(), got.dead, got.open);
        if batch.records == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn open(client: &Client, topic: &str, share: (usize, usize), from_ms: Option<i64>) -> Source {
    Source::open(client, topic, share, GRID, from_ms).unwrap()
}

/// Writes one message a host, host `hP` to partition P, with samples of now; gives their time.
fn speak(client: &Client, topic: &str, partitions: i32, ppm: u32) -> i64 {
    let t_ms = now_ms();
    for partition in 0..partitions {
        produce(client, topic, &[(partition, &message(&format!("h{partition}"), t_ms, ppm))]);
    }
    t_ms
}

fn hosts(got: &Got) -> Vec<&str> {
    let mut hosts: Vec<&str> = got.samples.iter().map(|(host, _)| host.as_str()).collect();
    hosts.sort_unstable();
    hosts
}

#[test]
fn workers_share_partitions() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "shared", 5);
    speak(&client, &topic, 5, 7);
    for (worker, want) in [(0, vec!["h0", "h2", "h4"]), (1, vec!["h1", "h3"])] {
        let (mut source, mut got) = (open(&client, &topic, (worker, 2), None), Got::default());
        read(&mut source, &mut got, |got| got.samples.len() == want.len());
        assert_eq!(hosts(&got), want);
    }
    let (mut source, mut batch) = (open(&client, &topic, (5, 6), None), Batch::default());
    source.read(&mut batch, now_ms()).unwrap();
    assert_eq!(batch.open, u64::MAX, "without partitions it holds nobody up");
    let missing = Source::open(&client, "nowhere", (0, 1), GRID, None).err().unwrap();
    assert_eq!(missing.to_string(), "there is no topic nowhere: lwt topics create makes it");
}

#[test]
fn time_is_rewound() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "rewound", 3);
    speak(&client, &topic, 3, 1);
    thread::sleep(Duration::from_millis(50));
    let from_ms = now_ms();
    thread::sleep(Duration::from_millis(50));
    // Partition 2 has nothing so young.
    speak(&client, &topic, 2, 2);
    let (mut source, mut got) = (open(&client, &topic, (0, 1), Some(from_ms)), Got::default());
    speak(&client, &topic, 3, 3);
    read(&mut source, &mut got, |got| got.samples.len() == 5);
    got.samples.sort();
    let want = [("h0", 2), ("h0", 3), ("h1", 2), ("h1", 3), ("h2", 3)];
    assert_eq!(got.samples, want.map(|(host, ppm)| (host.to_string(), ppm)));
}

/// A partition that has nothing is waited for, but not for ever, and not while its broker is away.
#[test]
fn idle_partitions_are_idle_when_the_broker_says_so() {
    let Some(broker) = Broker::start(&[]) else { return };
    let client = client(&broker);
    let topic = samples(&client, "idle", 2);
    let t_ms = now_ms();
    // It has spoken further, so that only the other partition is waited for.
    produce(&client, &topic, &[(0, &message("h0", t_ms + 4_000, 1))]);
    let (mut source, mut got) = (open(&client, &topic, (0, 1), None), Got::default());
    let pane = (t_ms / 2_000) as u64;
    read(&mut source, &mut got, |got| got.open > pane);
    let waited_ms = now_ms() - t_ms;
    assert!((6_000..12_000).contains(&waited_ms), "{waited_ms}");
    assert_eq!((got.samples.len(), got.lag), (1, 0));
    // Frozen: what is appended just before cannot be known, so nothing closes.
    broker.tell("pause");
    let (until_ms, mut batch) = (now_ms() + 9_000, Batch::default());
    let mut last = 0;
    while now_ms() < until_ms {
        source.read(&mut batch, now_ms()).unwrap();
        last = batch.open;
        thread::sleep(Duration::from_millis(5));
    }
    assert!((last as i64) <= (until_ms - 9_000 - 5_000) / 2_000, "{last}");
    broker.tell("resume");
    let t_ms = speak(&client, &topic, 2, 2);
    read(&mut source, &mut got, |got| got.samples.len() == 3);
    assert_eq!(got.dead, [], "{t_ms}");
}

#[test]
fn the_marks_of_transactions_are_no_lag() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "marks", 1);
    let producer: BaseProducer<Context> = client.create(&[("transactional.id", &unique("marks"))]).unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    let payload = message("h", now_ms() + 4_000, 1);
    let record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&payload);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let pane = (now_ms() / 2_000) as u64;
    let (mut source, mut got) = (open(&client, &topic, (0, 1), None), Got::default());
    read(&mut source, &mut got, |got| got.open > pane);
    assert_eq!((got.samples.len(), got.lag), (1, 0));
}

#[test]
fn new_partitions_are_found() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "grown", 2);
    let (mut source, mut lone) = (open(&client, &topic, (0, 2), None), open(&client, &topic, (2, 3), None));
    let (mut got, mut batch) = (Got::default(), Batch::default());
    speak(&client, &topic, 2, 1);
    read(&mut source, &mut got, |got| got.samples.len() == 1);
    grow(&client, &topic, 3);
    speak(&client, &topic, 3, 2);
    read(&mut source, &mut got, |got| got.samples.len() == 3);
    assert_eq!(hosts(&got), ["h0", "h0", "h2"]);
    let grown = loop {
        if let Err(error) = lone.read(&mut batch, now_ms()) {
            break error;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(grown, SourceError::Grown { partitions: 3, .. }), "{grown:?}");
}

#[test]
fn what_was_deleted_unread_is_said() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "deleted", 1);
    let (mut source, mut batch) = (open(&client, &topic, (0, 1), None), Batch::default());
    // More than is kept before it is read: 27 MB that no codec makes smaller.
    let mut seed = 1u64;
    let noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    let large: Vec<u8> = std::iter::repeat_with(noise).take(900_000).collect();
    for _ in 0..30 {
        produce(&client, &topic, &[(0, &large)]);
    }
    let admin: AdminClient<Context> = client.create(&[]).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(28)).unwrap();
    let deleted = admin.delete_records(&list, &AdminOptions::new());
    crate::world::wait(deleted).unwrap();
    let until_ms = now_ms() + 30_000;
    let error = loop {
        match source.read(&mut batch, now_ms()) {
            Err(error) => break error,
            Ok(()) => assert!(now_ms() < until_ms, "not said"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(error, SourceError::Deleted { partition: 0, .. }), "{error:?}");
}

/// The bad ones, each with its reason.
pub fn bad(now_ms: i64) -> Vec<(Vec<u8>, Reason)> {
    let good = String::from_utf8(message("h", now_ms, 7)).unwrap();
    let with = |from: &str, to: &str| good.replace(from, to).into_bytes();
    let time = now_ms.to_string();
    let two = r#"{"name":"a","cpu_ppm":1},{"name":"b","cpu_ppm":[1,2]}"#;
    let long = format!(r#""host":"{}""#, "x".repeat(10_000));
    vec![
        (good.as_bytes()[..good.len() - 9].to_vec(), Reason::Malformed),
        (vec![], Reason::Malformed),
        (b"\0\xff\xfe".to_vec(), Reason::Malformed),
        (b"null".to_vec(), Reason::Malformed),
        (b"[[[[[[[[".repeat(1_000), Reason::Malformed),
        (with("\"v\":1", "\"v\":2"), Reason::UnknownVersion),
        (with(":7", ":NaN"), Reason::Malformed),
        (with(":7", ":-7"), Reason::Malformed),
        (with(":7", ":7.5"), Reason::Malformed),
        (with(":7", ":\"7\""), Reason::Malformed),
        (with(":7", ":9223372036854775808"), Reason::Implausible),
        (with(":7", ":[7,8,9"), Reason::Malformed),
        (with(":7", ":[]"), Reason::Malformed),
        (with(r#"{"name":"a","cpu_ppm":7}"#, two), Reason::Malformed),
        (with(&time, "0"), Reason::Late),
        (with(&time, &(now_ms - 600_000).to_string()), Reason::Late),
        (with(&time, "32503680000000"), Reason::BadTime),
        (with(&time, &(now_ms + 60_000).to_string()), Reason::AheadOfClock),
        (with(r#""host":"h""#, &long), Reason::BadName),
        (with(r#""host":"h""#, r#""host":"""#), Reason::BadName),
        (with(r#""period_ms":1000"#, r#""period_ms":0"#), Reason::Malformed),
        (with(r#""period_ms":1000"#, r#""period_ms":60000"#), Reason::TooCoarse),
        (with(r#""period_ms":1000"#, r#""period_ms":300"#), Reason::Unaligned),
        ([&good.as_bytes()[..9], b"\xc3\x28", &good.as_bytes()[9..]].concat(), Reason::Malformed),
    ]
}

#[test]
fn bad_records_do_no_harm() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let topic = samples(&client, "bad", 1);
    let long = [9_000_000, 100_000_000].map(|bytes| (b"x".repeat(bytes), Reason::TooLong));
    let time_ms = now_ms();
    let mut records = vec![];
    for (text, reason) in (0..400).flat_map(|_| bad(time_ms)).chain(long) {
        records.push((text, Some(reason)));
        records.push((message(&format!("g{}", records.len() % 1_000), time_ms, 5), None));
    }
    let all: Vec<(i32, &[u8])> = records.iter().map(|(text, _)| (0, text.as_slice())).collect();
    // The first one opens a pane: what is of long ago is late.
    produce(&client, &topic, &all);
    let (mut source, mut got) = (open(&client, &topic, (0, 1), None), Got::default());
    let good = records.iter().filter(|(_, reason)| reason.is_none()).count();
    read(&mut source, &mut got, |got| got.samples.len() + got.dead.len() >= records.len());
    assert_eq!(got.samples.len(), good);
    let want = records.iter().enumerate().filter_map(|(at, (text, reason))| {
        let text = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
        // Of what was not even unpacked nothing is kept.
        let text = if all[at].1.len() > 20_000_000 { String::new() } else { text };
        Some(((*reason)?, format!("{topic}/0@{at}"), text))
    });
    let want: Vec<_> = want.collect();
    assert_eq!(got.dead, want);
}
