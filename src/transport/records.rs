//! The records that leave the process: what the output topics and `lwt analyze` carry. Plain data; the
//! contract is in the README.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::types::VmId;

/// The ensembles that a VM is in: none (`null`), one (its name) or several (a list).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Membership {
    /// In no ensemble.
    None,
    /// In this one.
    One(String),
    /// In all of these: a hub.
    Many(Vec<String>),
}

impl Membership {
    /// The shortest form of a list of names.
    pub fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<String> = names.map(str::to_string).collect();
        match names.len() {
            0 => Membership::None,
            1 => Membership::One(names.remove(0)),
            _ => Membership::Many(names),
        }
    }
}

/// Which ensemble a VM is in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The VM.
    pub vm: VmId,
    /// Its ensembles.
    pub ensemble: Membership,
    /// `ignored`, if somebody decided that it takes part in nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
}

/// A pair of VMs that are held dependent. What the engine does not know is `null`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Dependency {
    /// One VM, the smaller bytewise.
    pub a: VmId,
    /// The other.
    pub b: VmId,
    /// -1 to 1, negative for VMs of which one rests while the other works.
    pub strength: Option<f64>,
    /// False discovery rate at which the pair would just be reported.
    pub q: Option<f64>,
    /// 1 - local false discovery rate.
    pub confidence: Option<f64>,
    /// By how much `b` follows `a`, milliseconds.
    pub lag_ms: Option<i64>,
    /// Whether they talk to each other, not only through others.
    pub direct: Option<bool>,
    /// Which of the two drives the other: `"a"` or `"b"`.
    pub cause: Option<String>,
    /// 1 - the probability that it is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_confidence: Option<f64>,
    /// How many seconds of samples the confidence stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_s: Option<u32>,
    /// What was found when one of them was capped, if somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Answer>,
    /// `confirmed`, if it is held because somebody decided so; all else is what use alone says, `null` if that is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// For how many windows the pair has been held.
    pub windows: u64,
}

/// What was found when one VM of a pair was capped, and the other watched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the other one depends on it: `confirmed`, `refuted` or `undecided`.
    pub verdict: String,
    /// Which of the two was capped: `"a"` or `"b"`.
    pub capped: String,
    /// How much the other one falls, relatively, for each part that the capped one falls by.
    pub effect: f64,
}

impl Dependency {
    /// A pair of which nothing is known but that it is one.
    pub fn bare(a: VmId, b: VmId, windows: u64) -> Self {
        Dependency {
            a,
            b,
            strength: None,
            q: None,
            confidence: None,
            lag_ms: None,
            direct: None,
            cause: None,
            cause_confidence: None,
            evidence_s: None,
            asked: None,
            decided: None,
            windows,
        }
    }
}

/// A change event: a CloudEvent 1.0 in JSON.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// A function of the window and the content: a replay gives the same.
    pub id: String,
    /// Who says so.
    pub source: String,
    /// What changed.
    #[serde(rename = "type")]
    pub kind: String,
    /// The VM or pair that it is about; absent for a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The end of the window, RFC 3339.
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The particulars.
    pub data: EventData,
}

/// What an event says, beside its type.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EventData {
    /// The record's version.
    pub v: u32,
    /// The end of the window, Unix milliseconds.
    pub window_end_ms: i64,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmId>,
    /// The ensemble that it joined or left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<String>,
    /// The first VM of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a: Option<VmId>,
    /// The second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b: Option<VmId>,
    /// The pair's strength, if it is held and the engine knows it: -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The pair's confidence, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// By how much `b` follows `a`, milliseconds, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// Whether the two talk to each other, not only through others, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<bool>,
    /// Which of the two drives the other, likewise: `"a"` or `"b"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What was found when one of the two was capped, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Answer>,
    /// `confirmed`, if the pair is held because somebody decided so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
}

/// A record of an output topic: which topic, its key, and its value, `None` a tombstone.
#[derive(Debug, Serialize)]
pub struct Record {
    /// The topic's default name.
    pub topic: Topic,
    /// The key, by which a compacted topic keeps the last value.
    pub key: String,
    /// The value.
    pub value: Option<Box<RawValue>>,
}

/// The output topics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Topic {
    /// VM -> its ensembles.
    #[serde(rename = "lwt.assignments")]
    Assignments,
    /// Pair -> the dependency.
    #[serde(rename = "lwt.dependencies")]
    Dependencies,
    /// Change events.
    #[serde(rename = "lwt.events")]
    Events,
    /// What was refused.
    #[serde(rename = "lwt.deadletter")]
    DeadLetter,
}

impl Topic {
    /// The topic's default name.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Assignments => "lwt.assignments",
            Topic::Dependencies => "lwt.dependencies",
            Topic::Events => "lwt.events",
            Topic::DeadLetter => "lwt.deadletter",
        }
    }
}

/// A record's value, as of a window.
#[derive(Serialize)]
pub struct Versioned<T> {
    /// The version of the format: 1.
    pub v: u32,
    /// The end of the window that it was first true in, Unix milliseconds.
    pub window_end_ms: i64,
    /// What it says.
    #[serde(flatten)]
    pub record: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_contract_are_always_there() {
        let bare = Dependency::bare(VmId::new("a"), VmId::new("b"), 3);
        assert_eq!(
            serde_json::to_string(&bare).unwrap(),
            r#"{"a":"a","b":"b","strength":null,"q":null,"confidence":null,"lag_ms":null,"direct":null,"cause":null,"windows":3}"#
        );
        let more = Dependency { cause_confidence: Some(0.97), evidence_s: Some(300), ..bare };
        let text = serde_json::to_string(&more).unwrap();
        assert!(
            text.contains(r#""cause":null,"cause_confidence":0.97,"evidence_s":300,"windows":3"#),
            "{text}"
        );
    }
}
