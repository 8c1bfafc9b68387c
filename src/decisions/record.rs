//! One decision: its record in the topic `lwt.decisions`, and in files a line. Whoever reads one proves it: it may come from anybody.
//!
//! The key says what it is about, in JSON: `["a","b"]` a pair (a < b bytewise), `["a"]` a VM, `{"ensemble":"e1"}` an ensemble. The
//! value is `{"v":1,"decision":"confirmed","a":"…","b":"…","at_ms":…,"who":"…","why":"…"}`, or `rejected` of a pair, `ignored`
//! with `vm`, `named` with `ensemble` and `name`; without a value (a tombstone) the decision is undone.

use serde::{Deserialize, Serialize};

use crate::types::{MAX_NAME_BYTES, Reason, VmId};

/// The version of the format.
pub const VERSION: u64 = 1;

/// The longest record: two names of 255 bytes, an ensemble's, and a note, with every character escaped, are less than 8 KiB.
pub const MAX_BYTES: usize = 8 << 10;

/// The longest identity of an ensemble: one that is named after two VMs.
const MAX_ENSEMBLE_BYTES: usize = 2 * MAX_NAME_BYTES + 1;

/// The longest name that is given, in bytes: it is shown beside others.
pub const MAX_GIVEN_BYTES: usize = 64;

/// The longest name of who decides.
pub const MAX_WHO_BYTES: usize = 100;

/// The longest note of why.
pub const MAX_WHY_BYTES: usize = 500;

/// What a decision is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum About {
    /// Two VMs, the smaller bytewise first.
    Pair(VmId, VmId),
    /// A VM.
    Vm(VmId),
    /// An ensemble, by the name that it has by itself.
    Ensemble(String),
}

/// What is decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum What {
    /// The two depend on each other.
    Confirmed {
        /// One VM; the smaller bytewise once it is proved.
        a: VmId,
        /// The other.
        b: VmId,
    },
    /// They do not.
    Rejected {
        /// One VM; the smaller bytewise once it is proved.
        a: VmId,
        /// The other.
        b: VmId,
    },
    /// The VM takes part in nothing.
    Ignored {
        /// The VM.
        vm: VmId,
    },
    /// The ensemble gets a name.
    Named {
        /// The ensemble, by the name that it has by itself.
        ensemble: String,
        /// The name that it gets.
        name: String,
    },
}

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// [`VERSION`].
    pub v: u64,
    /// What is decided.
    #[serde(flatten)]
    pub what: What,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who says so: whatever they call themselves.
    pub who: String,
    /// And why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A record of the topic: what it is about, and the decision, none if it is undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is about.
    pub about: About,
    /// What is decided.
    pub decision: Option<Decision>,
}

/// Why something is no decision.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is longer than [`MAX_BYTES`].
    #[error("longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON of that form.
    #[error("no decision")]
    Shape(#[from] serde_json::Error),
    /// Of another version.
    #[error("of version {0}, not {VERSION}")]
    Version(u64),
    /// A text that is empty, too long, or has characters that nobody sees.
    #[error("{field} must have 1 to {most} bytes{more}")]
    Text {
        /// Which.
        field: &'static str,
        /// The most bytes.
        most: usize,
        /// What else it must not have.
        more: &'static str,
    },
    /// A name such as `e7`.
    #[error("{0} is how ensembles are called that nobody named: choose another name")]
    Taken(String),
    /// A VM and itself.
    #[error("nobody depends on himself")]
    Same,
    /// The key says something else than the value.
    #[error("the key is not what the decision is about")]
    Key,
}

impl Unfit {
    /// As dead letters have it.
    pub fn reason(&self) -> Reason {
        match self {
            Unfit::TooLong => Reason::TooLong,
            Unfit::Version(_) => Reason::UnknownVersion,
            Unfit::Text { .. } | Unfit::Taken(_) => Reason::BadName,
            Unfit::Shape(_) | Unfit::Same | Unfit::Key => Reason::Malformed,
        }
    }
}

impl About {
    /// The pair of two VMs, in whichever order.
    pub fn pair(a: VmId, b: VmId) -> Self {
        if a <= b { About::Pair(a, b) } else { About::Pair(b, a) }
    }

    /// The key of its record.
    pub fn key(&self) -> String {
        match self {
            About::Pair(a, b) => serde_json::json!([a, b]),
            About::Vm(vm) => serde_json::json!([vm]),
            About::Ensemble(ensemble) => serde_json::json!({ "ensemble": ensemble }),
        }
        .to_string()
    }

    fn read(key: &[u8]) -> Result<Self, Unfit> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Vms(Vec<VmId>),
            Ensemble { ensemble: String },
        }
        let about = match serde_json::from_slice(key)? {
            Raw::Ensemble { ensemble } => About::Ensemble(ensemble),
            Raw::Vms(mut vms) => match (vms.pop(), vms.pop(), vms.pop()) {
                (Some(b), Some(a), None) if a < b => About::Pair(a, b),
                (Some(vm), None, None) => About::Vm(vm),
                _ => return Err(Unfit::Key),
            },
        };
        about.prove()?;
        Ok(about)
    }

    fn prove(&self) -> Result<(), Unfit> {
        match self {
            About::Pair(a, b) if a == b => Err(Unfit::Same),
            About::Pair(a, b) => named(a).and_then(|()| named(b)),
            About::Vm(vm) => named(vm),
            About::Ensemble(ensemble) => text("ensemble", ensemble, MAX_ENSEMBLE_BYTES),
        }
    }
}

impl What {
    /// What it is about.
    pub fn about(&self) -> About {
        match self {
            What::Confirmed { a, b } | What::Rejected { a, b } => About::pair(a.clone(), b.clone()),
            What::Ignored { vm } => About::Vm(vm.clone()),
            What::Named { ensemble, .. } => About::Ensemble(ensemble.clone()),
        }
    }

    /// In a few words.
    pub fn told(&self) -> String {
        match self {
            What::Confirmed { a, b } => format!("{a} and {b}: confirmed"),
            What::Rejected { a, b } => format!("{a} and {b}: rejected"),
            What::Ignored { vm } => format!("{vm}: ignored"),
            What::Named { ensemble, name } => format!("ensemble {ensemble}: named {name}"),
        }
    }
}

impl Decision {
    /// A decision of somebody, proved.
    ///
    /// # Errors
    /// Texts that are too long or have what nobody sees, a pair of one VM, a name that is none.
    pub fn new(what: What, who: &str, why: Option<&str>, at_ms: i64) -> Result<Self, Unfit> {
        let why = why.map(str::trim).filter(|why| !why.is_empty()).map(str::to_string);
        Decision { v: VERSION, what, at_ms, who: who.trim().to_string(), why }.proved()
    }

    /// Reads a decision.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unfit> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }
        if bytes.len() > MAX_BYTES {
            return Err(Unfit::TooLong);
        }
        let Versioned { v } = serde_json::from_slice(bytes)?;
        if v != VERSION {
            return Err(Unfit::Version(v));
        }
        serde_json::from_slice::<Decision>(bytes)?.proved()
    }

    fn proved(mut self) -> Result<Self, Unfit> {
        self.what.about().prove()?;
        match &mut self.what {
            What::Confirmed { a, b } | What::Rejected { a, b } if *a > *b => std::mem::swap(a, b),
            What::Named { name, .. } => {
                *name = name.trim().to_string();
                plain("name", name, MAX_GIVEN_BYTES)?;
                let number = name.strip_prefix('e').unwrap_or_default();
                if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Unfit::Taken(name.clone()));
                }
            }
            _ => {}
        }
        prove_who(&self.who)?;
        self.why.iter().try_for_each(|why| plain("why", why, MAX_WHY_BYTES))?;
        Ok(self)
    }
}

impl Entry {
    /// A decision is made.
    pub fn made(decision: Decision) -> Self {
        Entry { about: decision.what.about(), decision: Some(decision) }
    }

    /// What was decided about something is undone.
    pub fn undone(about: About) -> Self {
        Entry { about, decision: None }
    }

    /// Reads a record: its key, and its value, empty if it is a tombstone.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, Unfit> {
        if key.len() > MAX_BYTES {
            return Err(Unfit::TooLong);
        }
        let about = About::read(key)?;
        if value.is_empty() {
            return Ok(Entry::undone(about));
        }
        let entry = Entry::made(Decision::read(value)?);
        if entry.about == about { Ok(entry) } else { Err(Unfit::Key) }
    }

    /// The record's value: none is a tombstone.
    pub fn value(&self) -> Option<Vec<u8>> {
        self.decision.as_ref().and_then(|decision| serde_json::to_vec(decision).ok())
    }
}

/// Proves the name of who decides.
///
/// # Errors
/// One that is empty, too long, or has what nobody sees.
pub fn prove_who(who: &str) -> Result<(), Unfit> {
    plain("who", who, MAX_WHO_BYTES)
}

fn named(vm: &VmId) -> Result<(), Unfit> {
    text("a VM's name", vm.as_str(), MAX_NAME_BYTES)
}

fn text(field: &'static str, text: &str, most: usize) -> Result<(), Unfit> {
    let fits = (1..=most).contains(&text.len());
    if fits { Ok(()) } else { Err(Unfit::Text { field, most, more: "" }) }
}

/// A text that people write: none that hides something, or turns around what stands beside it.
fn plain(field: &'static str, said: &str, most: usize) -> Result<(), Unfit> {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let more = ", and no control characters";
    if said.chars().any(|c| c.is_control() || turns(c)) {
        return Err(Unfit::Text { field, most, more });
    }
    text(field, said, most).map_err(|_| Unfit::Text { field, most, more })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vm(name: &str) -> VmId {
        VmId::new(name)
    }

    fn whats() -> impl Strategy<Value = What> {
        let name = || ".{1,60}".prop_map(|name| VmId::new(&name));
        prop_oneof![
            (name(), name()).prop_map(|(a, b)| What::Confirmed { a, b }),
            (name(), name()).prop_map(|(a, b)| What::Rejected { a, b }),
            name().prop_map(|vm| What::Ignored { vm }),
            (".{1,60}", ".{1,20}").prop_map(|(ensemble, name)| What::Named { ensemble, name }),
        ]
    }

    proptest! {
        /// Whatever names are: what was accepted once is accepted again, as it was, under its own key only.
        #[test]
        fn what_is_written_is_what_is_read(what in whats(), who in ".{1,30}", why in proptest::option::of(".{0,40}")) {
            let Ok(decision) = Decision::new(what, &who, why.as_deref(), 7) else { return Ok(()) };
            let entry = Entry::made(decision);
            let (key, value) = (entry.about.key(), entry.value().unwrap());
            prop_assert!(value.len() <= MAX_BYTES);
            prop_assert_eq!(Entry::read(key.as_bytes(), &value).unwrap(), entry.clone());
            prop_assert_eq!(Entry::read(key.as_bytes(), b"").unwrap(), Entry::undone(entry.about));
            prop_assert!(matches!(Entry::read(br#"["another"]"#, &value), Err(Unfit::Key)));
        }

        /// Whatever bytes come, they are a decision or not.
        #[test]
        fn any_bytes_are_survived(key: Vec<u8>, value: Vec<u8>) {
            drop(Entry::read(&key, &value));
            drop(Entry::read(br#"["a"]"#, &value));
        }
    }

    #[test]
    fn the_longest_decision_fits() {
        let [a, b] = ["\u{1}", "\u{2}"].map(|name| vm(&name.repeat(MAX_NAME_BYTES)));
        let (who, why) = ("\"".repeat(MAX_WHO_BYTES), "\\".repeat(MAX_WHY_BYTES));
        let longest = Decision::new(What::Confirmed { a, b }, &who, Some(&why), i64::MAX).unwrap();
        let entry = Entry::made(longest);
        let value = entry.value().unwrap();
        assert!(value.len() < MAX_BYTES, "{}", value.len());
        assert_eq!(Entry::read(entry.about.key().as_bytes(), &value).unwrap(), entry);
    }

    #[test]
    fn the_form_is_that_of_the_contract() {
        let decision = Decision::new(What::Confirmed { a: vm("b"), b: vm("a") }, "eve", Some(" runbook "), 5);
        let entry = Entry::made(decision.unwrap());
        assert_eq!(
            String::from_utf8(entry.value().unwrap()).unwrap(),
            r#"{"v":1,"decision":"confirmed","a":"a","b":"b","at_ms":5,"who":"eve","why":"runbook"}"#
        );
        assert_eq!(entry.about.key(), r#"["a","b"]"#);
        for (about, key) in [
            (About::Vm(vm("[\"a\",\"b\"]")), r#"["[\"a\",\"b\"]"]"#),
            (About::Ensemble("e1".into()), r#"{"ensemble":"e1"}"#),
        ] {
            assert_eq!(about.key(), key);
            assert_eq!(Entry::read(key.as_bytes(), b"").unwrap(), Entry::undone(about));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = "x".repeat(600);
        let ignored =
            |more: &str| format!(r#"{{"v":1,"decision":"ignored","vm":"a","at_ms":1,"who":"w"{more}}}"#);
        for (value, reason) in [
            ("{}".to_string(), Reason::Malformed),
            (r#"{"v":2,"whatever":1}"#.into(), Reason::UnknownVersion),
            (r#"{"v":1,"decision":"forgotten","vm":"a","at_ms":1,"who":"w"}"#.into(), Reason::Malformed),
            (r#"{"v":1,"decision":"ignored","vm":"","at_ms":1,"who":"w"}"#.into(), Reason::BadName),
            (
                r#"{"v":1,"decision":"rejected","a":"a","b":"a","at_ms":1,"who":"w"}"#.into(),
                Reason::Malformed,
            ),
            (
                r#"{"v":1,"decision":"named","ensemble":"e1","name":"e77","at_ms":1,"who":"w"}"#.into(),
                Reason::BadName,
            ),
            (
                r#"{"v":1,"decision":"named","ensemble":"e1","name":" ","at_ms":1,"who":"w"}"#.into(),
                Reason::BadName,
            ),
            (ignored(",\"why\":\"\\u202e\""), Reason::BadName),
            (ignored(&format!(",\"why\":\"{long}\"")), Reason::BadName),
            (" ".repeat(MAX_BYTES + 1), Reason::TooLong),
        ] {
            assert_eq!(Decision::read(value.as_bytes()).unwrap_err().reason(), reason, "{value:.80}");
        }
        assert!(
            Decision::read(ignored(",\"more\":[]").as_bytes()).is_ok(),
            "what is not known is passed over"
        );
        for key in
            ["", "a", "[]", r#"["b","a"]"#, r#"["a","a"]"#, r#"["a","b","c"]"#, r#"[""]"#, r#"{"vm":"a"}"#]
        {
            assert!(Entry::read(key.as_bytes(), b"").is_err(), "{key}");
        }
        let named = |name: &str| {
            Decision::new(What::Named { ensemble: "e1".into(), name: name.into() }, "w", None, 0)
        };
        assert!(["shop", "e", "e1x", "ö 2"].iter().all(|name| named(name).is_ok()));
    }
}
