//! Pipelines of `lwt run` with topics of their own, and what they publish.

use std::process::Command;
use std::thread;
use std::time::Duration;

use lwt::transport::kafka::client::Client;

use crate::common::kafka::{Broker, unique};
use crate::fleet::Fleet;
use crate::world::{committed, now_ms};

/// The topics of a pipeline, but for the samples.
const TOPICS: [&str; 7] =
    ["assignments", "dependencies", "events", "deadletter", "state", "decisions", "perturbations"];

/// Its windows.
#[derive(Clone, Copy)]
pub struct Windows {
    pub length_ms: i64,
    pub hop_ms: i64,
}

/// One pipeline.
pub struct Pipeline {
    /// Its name.
    pub name: String,
    settings: Vec<String>,
    topics: Vec<(&'static str, String)>,
    hop_ms: i64,
}

impl Pipeline {
    /// With topics that `lwt topics create` makes, but for those of the samples if they are there.
    pub fn new(broker: &Broker, samples: &str, fleet: Fleet, windows: Windows) -> Self {
        Self::over(broker, (samples, &[]), fleet, windows)
    }

    /// The same, with some of the topics that others have, too.
    pub fn over(
        broker: &Broker,
        (samples, shared): (&str, &[(&str, &str)]),
        fleet: Fleet,
        windows: Windows,
    ) -> Self {
        let own = |name: &'static str| {
            let shared = shared.iter().find(|(of, _)| *of == name);
            shared.map_or_else(|| unique(name), |(_, topic)| topic.to_string())
        };
        let topics = TOPICS.map(|name| (name, own(name))).to_vec();
        let name = unique("pipeline");
        let settings = vec![
            format!("kafka.brokers={}", broker.address("PLAINTEXT")),
            format!("kafka.pipeline={name}"),
            format!("topics.samples={samples}"),
            format!("topics.partitions={}", fleet.partitions),
            format!("window.period={}ms", fleet.period_ms),
            format!("window.length={}ms", windows.length_ms),
            format!("window.hop={}ms", windows.hop_ms),
            "serve.listen=127.0.0.1:0".into(),
        ];
        let pipeline = Pipeline { name, settings, topics, hop_ms: windows.hop_ms };
        let mut lwt = Command::new(env!("CARGO_BIN_EXE_lwt"));
        lwt.args(["topics", "create"]).args(pipeline.arguments());
        let made = lwt.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pipeline
    }

    /// The pipeline file, and what is set beside.
    pub fn arguments(&self) -> Vec<String> {
        let topics = self.topics.iter().map(|(name, topic)| format!("topics.{name}={topic}"));
        let set = self.settings.iter().cloned().chain(topics).flat_map(|set| ["--set".to_string(), set]);
        ["pipelines/datacenter.toml".to_string()].into_iter().chain(set).collect()
    }

    /// The name of a topic.
    pub fn topic(&self, name: &str) -> &str {
        &self.topics.iter().find(|(of, _)| *of == name).unwrap().1
    }

    /// What a reader of whole transactions sees of a topic.
    pub fn published(&self, client: &Client, name: &str) -> Vec<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        committed(client, self.topic(name))
            .into_iter()
            .map(|(_, key, value)| (key, value.map(text)))
            .collect()
    }

    /// The ends of the windows that were completed.
    pub fn windows(&self, client: &Client) -> Vec<i64> {
        self.published(client, "events")
            .iter()
            .filter_map(|(_, value)| completed_window(value.as_ref()?))
            .collect()
    }

    /// Until the window that ends at `end_ms` is completed.
    pub fn wait_for(&self, client: &Client, end_ms: i64) {
        let until_ms = now_ms() + 120_000;
        while self.windows(client).last().is_none_or(|last| *last < end_ms) {
            assert!(now_ms() < until_ms, "no window {end_ms}: {:?}", self.windows(client));
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// The end of the last window that is due at `ms`.
    pub fn due(&self, ms: i64) -> i64 {
        ms / self.hop_ms * self.hop_ms
    }

    /// That it said, record by record, what `undisturbed` says of the same log, each window once; whoever ended later
    /// may have gone further. Gives the number of windows.
    pub fn is_as(&self, undisturbed: &Pipeline, client: &Client) -> usize {
        let windows = undisturbed.windows(client);
        let expected: Vec<i64> = (0..windows.len() as i64).map(|i| windows[0] + i * self.hop_ms).collect();
        assert_eq!(windows, expected, "each window once, in order");
        for name in ["assignments", "dependencies", "events", "deadletter"] {
            let (one, other) = (self.published(client, name), undisturbed.published(client, name));
            let common = one.len().min(other.len());
            for (one, other) in one.iter().zip(&other) {
                assert_eq!(one, other, "{name}");
            }
            println!("{name}: {common} records are the same");
            assert!(common > 0, "{name}: {} and {}", one.len(), other.len());
        }
        self.windows(client).len().min(windows.len())
    }
}

/// The end of the window that an event says is completed.
pub fn completed_window(event: &str) -> Option<i64> {
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    (event["type"] == "lwt.window.completed").then(|| event["data"]["window_end_ms"].as_i64().unwrap())
}
