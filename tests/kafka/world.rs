//! What the tests of the log share: topics, records, and who reads and writes them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lwt::transport::kafka::client::Client;
use lwt::transport::kafka::settings::Settings;
use lwt::transport::kafka::sink::Read;
use lwt::transport::kafka::trouble::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::kafka::{Broker, unique};

/// For tests that keep both cores busy with brokers or programs of their own: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // One that failed is no reason for the others to fail.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing has been read.
pub const NOWHERE: Read<'static> = ("", &[]);

/// The clock of this machine, which is also the broker's.
pub fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "a test has no other clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn client(broker: &Broker) -> Client {
    let settings = Settings { brokers: broker.address("PLAINTEXT").into(), properties: [].into() };
    Client::new(&settings).unwrap()
}

/// Sleeps until the future is done.
pub fn wait<F: Future>(future: F) -> F::Output {
    let waker = std::task::Waker::noop();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Makes a topic with some properties; gives its name.
pub fn topic(client: &Client, name: &str, partitions: i32, properties: &[(&str, &str)]) -> String {
    let (name, admin) = (unique(name), client.create::<AdminClient<Context>>(&[]).unwrap());
    let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    topic.config = properties.to_vec();
    wait(admin.create_topics([&topic], &AdminOptions::new())).unwrap().remove(0).unwrap();
    name
}

/// Makes a topic of samples.
pub fn samples(client: &Client, name: &str, partitions: i32) -> String {
    topic(client, name, partitions, &[("message.timestamp.type", "LogAppendTime")])
}

/// Makes a topic have more partitions.
pub fn grow(client: &Client, topic: &str, partitions: usize) {
    let admin: AdminClient<Context> = client.create(&[]).unwrap();
    let more = NewPartitions::new(topic, partitions);
    wait(admin.create_partitions([&more], &AdminOptions::new())).unwrap().remove(0).unwrap();
}

/// Writes records without transactions, and waits until all are there.
pub fn produce(client: &Client, topic: &str, records: &[(i32, &[u8])]) {
    let producer: BaseProducer<Context> = client
        .create(&[("linger.ms", "0"), ("message.max.bytes", "200000000"), ("compression.codec", "zstd")])
        .unwrap();
    for (partition, payload) in records {
        // A compacted topic takes no record without a key.
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(*partition).key(b"key").payload(payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// The message of one host with one VM.
pub fn message(host: &str, t_ms: i64, ppm: u32) -> Vec<u8> {
    format!(
        r#"{{"v":1,"host":"{host}","t_ms":{t_ms},"period_ms":1000,"vms":[{{"name":"a","cpu_ppm":{ppm}}}]}}"#
    )
    .into_bytes()
}

/// What a record is: partition, key and value.
type Seen = (i32, String, Option<Vec<u8>>);

/// All records of a topic that a reader of committed ones sees.
pub fn committed(client: &Client, topic: &str) -> Vec<Seen> {
    // librdkafka may go to sleep over a change of leader.
    (0..4).find_map(|_| read_committed(client, topic)).expect("the broker answers")
}

fn read_committed(client: &Client, topic: &str) -> Option<Vec<Seen>> {
    let own =
        [("group.id", "reader"), ("isolation.level", "read_committed"), ("enable.partition.eof", "true")];
    let consumer: BaseConsumer<Context> = client.create(&own).unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let (mut list, mut open) = (TopicPartitionList::new(), metadata.topics()[0].partitions().len());
    for partition in 0..open {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut seen = vec![];
    while open > 0 {
        match consumer.poll(Duration::from_secs(15))? {
            Ok(message) => {
                let key = String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap();
                seen.push((message.partition(), key, message.payload().map(<[u8]>::to_vec)));
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(_) => {}
        }
    }
    Some(seen)
}

/// How many records of a topic are behind what a group has committed, for each partition: what lag tools show.
pub fn lag(client: &Client, topic: &str, group: &str) -> Vec<i64> {
    let consumer: BaseConsumer<Context> = client.create(&[("group.id", group)]).unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, metadata.topics()[0].partitions().len() as i32 - 1);
    let committed = consumer.committed_offsets(list, Duration::from_secs(30)).unwrap();
    let behind = |(partition, offset): (i32, Offset)| {
        let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)).unwrap();
        let Offset::Offset(offset) = offset else { panic!("nothing committed for {partition}: {offset:?}") };
        end - offset
    };
    committed.elements().iter().map(|one| behind((one.partition(), one.offset()))).collect()
}
