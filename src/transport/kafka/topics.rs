//! The eight topics: what each must be, computed from the configuration, and what is wrong with one that
//! is there. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::transport::told::VALID_MS;
use crate::transport::wire::MAX_MESSAGE_BYTES;

/// The topics' names, and what an operator decides about them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topics {
    /// What collectors send.
    pub samples: String,
    /// VM -> its ensembles.
    pub assignments: String,
    /// Pair -> the dependency.
    pub dependencies: String,
    /// Change events.
    pub events: String,
    /// What a restart needs beyond the samples.
    pub state: String,
    /// What operators confirmed, rejected or named.
    pub decisions: String,
    /// Which VM was capped, when and how far.
    pub perturbations: String,
    /// What was refused, and why.
    pub deadletter: String,
    /// Partitions of the samples: as many workers can read at once.
    pub partitions: u32,
    /// Copies of each partition; `None` is 3, or as many as there are brokers.
    pub replicas: Option<u32>,
    /// The longest that lwt may stand still without losing samples.
    pub outage: Duration,
}

impl Topics {
    /// The names, in the order of [`wanted`], each with its key in the configuration.
    pub fn names(&self) -> [(&'static str, &str); 8] {
        [
            ("topics.samples", &self.samples),
            ("topics.assignments", &self.assignments),
            ("topics.dependencies", &self.dependencies),
            ("topics.events", &self.events),
            ("topics.state", &self.state),
            ("topics.decisions", &self.decisions),
            ("topics.perturbations", &self.perturbations),
            ("topics.deadletter", &self.deadletter),
        ]
    }
}

/// What the value of a topic's property must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Just this.
    Is(&'static str),
    /// This number or a larger one; -1 is without limit.
    AtLeast(i64),
    /// This is best, another one is not wrong.
    Best(i64),
}

impl Rule {
    /// The value that a new topic gets.
    pub fn value(&self) -> String {
        match self {
            Rule::Is(value) => (*value).into(),
            Rule::AtLeast(number) | Rule::Best(number) => number.to_string(),
        }
    }

    fn allows(&self, value: &str) -> bool {
        match self {
            Rule::Is(wanted) => value == *wanted,
            Rule::AtLeast(least) => value.parse().is_ok_and(|number: i64| number == -1 || number >= *least),
            Rule::Best(_) => true,
        }
    }
}

/// What a topic must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// Whether more partitions are as good.
    pub or_more: bool,
    /// How many copies of each, at least.
    pub replicas: u32,
    /// Its properties.
    pub rules: Vec<(&'static str, Rule)>,
}

/// What a topic is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// How many partitions.
    pub partitions: u32,
    /// The copies of the partition that has the fewest.
    pub replicas: u32,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
}

/// Something is wrong with a topic.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{topic}: {what}: {advice}")]
pub struct Fault {
    /// The topic.
    pub topic: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// The largest batch: the largest message, its key (255 bytes), and Kafka's own 61 bytes a batch and some
/// 20 a record; 4 KiB more is room for all of it, and for headers.
const MAX_BATCH_BYTES: i64 = MAX_MESSAGE_BYTES as i64 + 4096;

/// Some half a second's reading. Compressed, a window of 1,000 VMs is 0.2 MB of it.
const STATE_SEGMENT_BYTES: i64 = 16 << 20;

/// What the topics must be on so many `brokers`, for windows of `length` that slide by `hop`; in the
/// order of [`Topics::names`].
pub fn wanted(topics: &Topics, length: Duration, hop: Duration, brokers: usize) -> Vec<Wanted> {
    // Up to three: with one broker away for repair and another one that fails, one is left.
    let replicas = topics.replicas.unwrap_or_else(|| brokers.clamp(1, 3) as u32);
    // After an outage lwt reads again all samples of the last window that it wrote (length; and as many before it:
    // a gap at its beginning is filled with what was before), of the one that was not yet full (hop), and what
    // came meanwhile (outage). Kafka deletes whole segments, the youngest record of which is too old: never
    // less is kept than this.
    let samples_ms = (2 * length + hop + topics.outage).as_millis() as i64;
    // Who comes back after a week's holiday still sees what happened.
    let told_ms = samples_ms.max(VALID_MS);
    let kinds = [
        deleted(samples_ms),
        compacted(),
        compacted(),
        deleted(told_ms),
        state(),
        decisions(topics.outage.as_millis() as i64),
        deleted(told_ms),
        deleted(told_ms),
    ];
    let each = |((key, name), mut rules): ((&str, &str), Vec<(&'static str, Rule)>)| {
        rules.extend(common(replicas));
        let samples = key == "topics.samples";
        // Only samples are many. Results keep their order, window after window, in one partition.
        let partitions = if samples { topics.partitions } else { 1 };
        Wanted { name: name.into(), partitions, or_more: samples, replicas, rules }
    };
    topics.names().into_iter().zip(kinds).map(each).collect()
}

/// Topics that forget what is older than `retention_ms`.
fn deleted(retention_ms: i64) -> Vec<(&'static str, Rule)> {
    vec![
        ("cleanup.policy", Rule::Is("delete")),
        ("retention.ms", Rule::AtLeast(retention_ms)),
        // A limit in bytes could delete what a window still needs.
        ("retention.bytes", Rule::Is("-1")),
        // Deleted are whole segments: at most a 24th of a day's more than promised is kept.
        ("segment.ms", Rule::Best(HOUR_MS)),
    ]
}

/// Topics that keep the last value of each key.
fn compacted() -> Vec<(&'static str, Rule)> {
    vec![
        ("cleanup.policy", Rule::Is("compact")),
        // Who reads what holds now, and takes up to a day for it, still sees what was deleted meanwhile.
        ("delete.retention.ms", Rule::AtLeast(DAY_MS)),
        // The youngest segment is never compacted: with Kafka's week a restart would read a week.
        ("segment.ms", Rule::Best(HOUR_MS)),
    ]
}

/// What a restart reads from its beginning: the youngest segment, which is never compacted, is small.
fn state() -> Vec<(&'static str, Rule)> {
    [compacted(), vec![("segment.bytes", Rule::Best(STATE_SEGMENT_BYTES))]].concat()
}

/// What people decide.
fn decisions(outage_ms: i64) -> Vec<(&'static str, Rule)> {
    vec![
        ("cleanup.policy", Rule::Is("compact")),
        // So who comes back after an outage hears of each decision in its turn, not of the last one only.
        ("min.compaction.lag.ms", Rule::Best(outage_ms)),
        // Else whoever comes back never hears that it was undone.
        ("delete.retention.ms", Rule::AtLeast(outage_ms.max(DAY_MS))),
        ("segment.ms", Rule::Best(HOUR_MS)),
    ]
}

fn common(replicas: u32) -> [(&'static str, Rule); 4] {
    [
        // The clock of a pipeline is the log: what is late, and what is kept, goes by when it was appended,
        // so that a recording that is replayed is not deleted at once.
        ("message.timestamp.type", Rule::Is("LogAppendTime")),
        ("max.message.bytes", Rule::AtLeast(MAX_BATCH_BYTES)),
        // Written is what two brokers have, if there are three: one of them may be lost.
        ("min.insync.replicas", Rule::AtLeast(if replicas >= 3 { 2 } else { 1 })),
        // A broker that was behind must not become the leader and take back what was committed.
        ("unclean.leader.election.enable", Rule::Is("false")),
    ]
}

/// All that is wrong with a topic; `None` is one that is not there.
pub fn faults(wanted: &Wanted, found: Option<&Found>) -> Vec<Fault> {
    let Wanted { name, partitions, or_more, replicas, rules } = wanted;
    let fault = |what: String, advice: String| Fault { topic: name.clone(), what, advice };
    let Some(found) = found else {
        return vec![fault("is not there".into(), "lwt topics create makes it".into())];
    };
    let mut faults = vec![];
    if found.partitions < *partitions {
        let what = format!("has {} partitions, needs {partitions}", found.partitions);
        faults.push(fault(what, format!("kafka-topics.sh --alter --topic {name} --partitions {partitions}")));
    } else if found.partitions > *partitions && !or_more {
        let what = format!("has {} partitions, must have {partitions}", found.partitions);
        let advice = format!("kafka-topics.sh --delete --topic {name}, then lwt topics create");
        faults.push(fault(what, advice));
    }
    if found.replicas < *replicas {
        let what = format!("has {} replicas, needs {replicas}", found.replicas);
        let advice = "kafka-reassign-partitions.sh, or another topics.replicas (--replicas)";
        faults.push(fault(what, advice.into()));
    }
    for (property, rule) in rules {
        let value = found.properties.get(*property).map_or("unknown", String::as_str);
        if !rule.allows(value) {
            let least = if matches!(rule, Rule::AtLeast(_)) { "needs at least" } else { "must be" };
            let what = format!("{property} is {value}, {least} {}", rule.value());
            let alter =
                format!("kafka-configs.sh --alter --topic {name} --add-config {property}={}", rule.value());
            faults.push(fault(what, alter));
        }
    }
    if let Some(fault) = unwritable(wanted, found) {
        faults.push(fault);
    }
    faults
}

/// A topic whose records must be on more brokers than have it takes none.
fn unwritable(wanted: &Wanted, found: &Found) -> Option<Fault> {
    let needed: u32 = found.properties.get("min.insync.replicas")?.parse().ok()?;
    let what = format!("min.insync.replicas is {needed}, but it has {} replicas", found.replicas);
    let name = &wanted.name;
    let advice = format!(
        "nobody can write to it: kafka-configs.sh --alter --topic {name} --add-config min.insync.replicas={}",
        found.replicas
    );
    (needed > found.replicas).then(|| Fault { topic: name.clone(), what, advice })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        let [samples, assignments, dependencies, events, state, decisions, perturbations, deadletter] =
            ["s", "a", "d", "e", "st", "de", "p", "dl"].map(String::from);
        let (partitions, replicas, outage) = (6, None, Duration::from_secs(3600));
        #[rustfmt::skip]
        let topics = Topics {
            samples, assignments, dependencies, events, state, decisions, perturbations, deadletter,
            partitions, replicas, outage,
        };
        topics
    }

    fn all(brokers: usize) -> Vec<Wanted> {
        wanted(&topics(), Duration::from_secs(300), Duration::from_secs(60), brokers)
    }

    /// A topic just as wanted.
    fn right(wanted: &Wanted) -> Found {
        let properties = wanted.rules.iter().map(|(name, rule)| (name.to_string(), rule.value())).collect();
        Found { partitions: wanted.partitions, replicas: wanted.replicas, properties }
    }

    #[test]
    fn samples_last_for_window_hop_and_outage() {
        let samples = &all(1)[0];
        assert!(samples.rules.contains(&("retention.ms", Rule::AtLeast((600 + 60 + 3600) * 1000))));
        assert_eq!((samples.partitions, samples.replicas), (6, 1));
        assert_eq!(all(9)[0].replicas, 3);
    }

    #[test]
    fn decisions_are_not_compacted_before_they_are_heard() {
        let decisions = &all(1)[5];
        let lag = ("min.compaction.lag.ms", Rule::Best(3600 * 1000));
        assert!(decisions.name == "de" && decisions.rules.contains(&lag));
        assert!(lag.1.allows("0"), "a topic that was made before decisions could be made is as good");
        assert!(decisions.rules.contains(&("delete.retention.ms", Rule::AtLeast(DAY_MS))));
    }

    #[test]
    fn what_was_made_as_wanted_has_no_faults() {
        for wanted in [1, 2, 3, 9].into_iter().flat_map(all) {
            assert_eq!(faults(&wanted, Some(&right(&wanted))), []);
            assert_eq!(faults(&wanted, None).len(), 1);
        }
    }

    fn check(at: usize, change: impl Fn(&mut Found), expected: &[&str]) {
        let wanted = &all(3)[at];
        let mut found = right(wanted);
        change(&mut found);
        let faults: Vec<String> = faults(wanted, Some(&found)).iter().map(Fault::to_string).collect();
        assert_eq!(faults, expected);
    }

    fn set(name: &str, value: &str) -> impl Fn(&mut Found) {
        move |found| drop(found.properties.insert(name.into(), value.into()))
    }

    #[test]
    fn every_fault_says_what_to_do() {
        check(0, |found| found.partitions = 7, &[]);
        check(
            0,
            |found| found.partitions = 5,
            &["s: has 5 partitions, needs 6: kafka-topics.sh --alter --topic s --partitions 6"],
        );
        check(
            4,
            |found| found.partitions = 2,
            &[
                "st: has 2 partitions, must have 1: kafka-topics.sh --delete --topic st, then lwt topics create",
            ],
        );
        check(
            0,
            |found| found.replicas = 1,
            &[
                "s: has 1 replicas, needs 3: kafka-reassign-partitions.sh, or another topics.replicas (--replicas)",
                "s: min.insync.replicas is 2, but it has 1 replicas: nobody can write to it: kafka-configs.sh --alter --topic s --add-config min.insync.replicas=1",
            ],
        );
        check(0, set("retention.ms", "-1"), &[]);
        check(0, set("retention.ms", "9999999999"), &[]);
        check(0, set("segment.ms", "7"), &[]);
        check(
            0,
            set("retention.ms", "60000"),
            &[
                "s: retention.ms is 60000, needs at least 4260000: kafka-configs.sh --alter --topic s --add-config retention.ms=4260000",
            ],
        );
        check(
            1,
            set("cleanup.policy", "delete"),
            &[
                "a: cleanup.policy is delete, must be compact: kafka-configs.sh --alter --topic a --add-config cleanup.policy=compact",
            ],
        );
        check(
            0,
            set("message.timestamp.type", "CreateTime"),
            &[
                "s: message.timestamp.type is CreateTime, must be LogAppendTime: kafka-configs.sh --alter --topic s --add-config message.timestamp.type=LogAppendTime",
            ],
        );
    }
}
