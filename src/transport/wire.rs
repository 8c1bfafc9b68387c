//! Bytes <-> records: the only forms that leave the process. Pure.
//!
//! A sample message is one JSON object: what one host's VMs used in one or several sampling periods.
//! Unknown fields are ignored; an unknown version is refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::collect::grid::MAX_PERIOD_MS;
use crate::collect::number::END_NS;
use crate::types::{DeadLetter, MAX_CPU_PPM, MAX_NAME_BYTES, Reason};

/// The version that is written, and the only one that is read.
pub const VERSION: u64 = 1;

/// The largest message: room for 10,000 VMs with names of 60 bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// What one host's VMs used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message<'a> {
    /// [`VERSION`].
    pub v: u64,
    /// The host's name, 1 to [`MAX_NAME_BYTES`] bytes.
    #[serde(borrow)]
    pub host: Cow<'a, str>,
    /// The end of the last sampling period, in ms since the Unix epoch.
    pub t_ms: u64,
    /// The sampling period, 1 to [`MAX_PERIOD_MS`].
    pub period_ms: u64,
    /// The VMs, each with equally many periods.
    #[serde(borrow)]
    pub vms: Vec<VmUse<'a>>,
}

/// What one VM used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmUse<'a> {
    /// Its identity; left out, it is `host/name`.
    #[serde(borrow, default, deserialize_with = "borrowed", skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Its name on the host, 1 to [`MAX_NAME_BYTES`] bytes.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// What it used.
    pub cpu_ppm: CpuPpm,
}

/// By itself serde borrows what a [`Cow`] holds only where it stands alone.
fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::deserialize(from)?.map(|Text(text)| text))
}

/// CPU use in ppm of one core, each at most [`MAX_CPU_PPM`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum CpuPpm {
    /// In the one period that ends at `t_ms`.
    One(u64),
    /// In consecutive periods, the last of which ends at `t_ms`; at least one.
    Many(Vec<u64>),
}

impl CpuPpm {
    /// One value a period.
    pub fn values(&self) -> &[u64] {
        match self {
            CpuPpm::One(value) => std::slice::from_ref(value),
            CpuPpm::Many(values) => values,
        }
    }
}

impl<'de> Deserialize<'de> for CpuPpm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = CpuPpm;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number of ppm or a list of them")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<CpuPpm, E> {
                Ok(CpuPpm::One(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CpuPpm, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(CpuPpm::Many(values))
            }
        }
        from.deserialize_any(OneOrMany)
    }
}

/// Reads a message; its texts are borrowed from `bytes` where they hold no escapes.
///
/// # Errors
/// `TooLong`, `UnknownVersion`, `BadName`, `BadTime`, `Implausible`, and `Malformed` for everything else.
pub fn read_message(bytes: &[u8]) -> Result<Message<'_>, Reason> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(Reason::TooLong);
    }
    let message: Message = serde_json::from_slice(bytes).map_err(|_| why_broken(bytes))?;
    check(&message)?;
    Ok(message)
}

/// Writes a message as one line without its end.
///
/// # Errors
/// Those of [`read_message`]: what could not be read back is not written.
pub fn write_message(message: &Message) -> Result<Vec<u8>, Reason> {
    check(message)?;
    let bytes = serde_json::to_vec(message).map_err(|_| Reason::Malformed)?;
    if bytes.len() > MAX_MESSAGE_BYTES { Err(Reason::TooLong) } else { Ok(bytes) }
}

/// Writes a dead letter as one line of JSON without its end: reason, origin and text; what is not UTF-8
/// also as hexadecimal digits, since its text is then not exact.
pub fn write_dead_letter(letter: &DeadLetter) -> Vec<u8> {
    let text = String::from_utf8_lossy(&letter.bytes);
    let mut line = serde_json::json!({
        "v": VERSION, "reason": letter.reason.as_str(), "origin": letter.origin, "text": text,
    });
    if matches!(text, Cow::Owned(_)) {
        let hex: String = letter.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        line["hex"] = hex.into();
    }
    line.to_string().into_bytes()
}

/// Another version may have another shape: only its number is looked at.
fn why_broken(bytes: &[u8]) -> Reason {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    match serde_json::from_slice(bytes) {
        Ok(Versioned { v }) if v != VERSION => Reason::UnknownVersion,
        _ => Reason::Malformed,
    }
}

fn check(message: &Message) -> Result<(), Reason> {
    let Message { v, host, t_ms, period_ms, vms } = message;
    let named = |name: &str| (1..=MAX_NAME_BYTES).contains(&name.len());
    if *v != VERSION {
        return Err(Reason::UnknownVersion);
    }
    if *t_ms >= END_NS as u64 / 1_000_000 {
        return Err(Reason::BadTime);
    }
    let periods = vms.first().map_or(1, |vm| vm.cpu_ppm.values().len());
    if !(1..=MAX_PERIOD_MS).contains(period_ms) || periods == 0 {
        return Err(Reason::Malformed);
    }
    // Periods that would end before 1970; without overflow: 2^20 bytes hold fewer than 2^20 periods.
    if (periods as u64 - 1) * period_ms > *t_ms {
        return Err(Reason::BadTime);
    }
    for VmUse { id, name, cpu_ppm } in vms {
        if !named(name) || !id.as_deref().is_none_or(named) {
            return Err(Reason::BadName);
        }
        if cpu_ppm.values().len() != periods {
            return Err(Reason::Malformed);
        }
        if cpu_ppm.values().iter().any(|&ppm| ppm > u64::from(MAX_CPU_PPM)) {
            return Err(Reason::Implausible);
        }
    }
    if named(host) { Ok(()) } else { Err(Reason::BadName) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads() {
        let name = "x".repeat(256);
        let vm = r#"{"v":1,"host":"h","t_ms":5,"period_ms":1000,"vms":[VM]}"#;
        let with = |text: &str| vm.replace("VM", text);
        let rows = [
            (with(r#"{"id":"i","name":"n","cpu_ppm":7,"new":[1]}"#), Ok(vec![vec![7]])),
            (with(r#"{"name":"n","cpu_ppm":[7,8]}"#).replace(":5", ":1000"), Ok(vec![vec![7, 8]])),
            (with(r#"{"name":"n","cpu_ppm":[7,8]}"#).replace(":5", ":999"), Err(Reason::BadTime)),
            (with(""), Ok(vec![])),
            (with(r#"{"name":"a","cpu_ppm":[7]},{"name":"b","cpu_ppm":[7,8]}"#), Err(Reason::Malformed)),
            (with(r#"{"name":"n","cpu_ppm":[]}"#), Err(Reason::Malformed)),
            (with(r#"{"name":"n","cpu_ppm":-1}"#), Err(Reason::Malformed)),
            (with(r#"{"name":"n","cpu_ppm":1.5}"#), Err(Reason::Malformed)),
            (with(r#"{"name":"n","cpu_ppm":536870912}"#), Err(Reason::Implausible)),
            (with(r#"{"name":"","cpu_ppm":1}"#), Err(Reason::BadName)),
            (with(&format!(r#"{{"name":"{name}","cpu_ppm":1}}"#)), Err(Reason::BadName)),
            (with("").replace(":5", ":7289654400000"), Err(Reason::BadTime)),
            (with("").replace(":1000", ":0"), Err(Reason::Malformed)),
            (with("").replace(r#""v":1"#, r#""v":2"#), Err(Reason::UnknownVersion)),
            (r#"{"v":2,"hosts":[]}"#.into(), Err(Reason::UnknownVersion)),
            (r#"{"host":"#.into(), Err(Reason::Malformed)),
            (" ".repeat(MAX_MESSAGE_BYTES + 1), Err(Reason::TooLong)),
        ];
        for (text, want) in rows {
            let got = read_message(text.as_bytes())
                .map(|m| m.vms.iter().map(|vm| vm.cpu_ppm.values().to_vec()).collect::<Vec<_>>());
            assert_eq!(got, want, "{}", &text[..text.len().min(200)]);
        }
    }

    #[test]
    fn dead_letters_are_exact() {
        let letter = |bytes: &[u8]| DeadLetter {
            reason: Reason::Malformed,
            origin: "a.csv:3".into(),
            bytes: bytes.to_vec(),
        };
        let text = |bytes| String::from_utf8(write_dead_letter(&letter(bytes))).unwrap();
        assert_eq!(text(b"a\"b"), r#"{"origin":"a.csv:3","reason":"malformed","text":"a\"b","v":1}"#);
        assert!(text(b"\xffz").contains(r#""hex":"ff7a""#));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            host in ".{1,20}", t_ms in 100_000u64..7_000_000_000_000, period_ms in 1u64..100_000,
            vms in prop::collection::vec((prop::option::of("[^\\x00]{1,9}"), ".{1,20}", 0u64..1 << 29), 0..5),
        ) {
            let vms = vms.into_iter().map(|(id, name, ppm)| VmUse {
                id: id.map(Cow::Owned), name: name.into(), cpu_ppm: CpuPpm::Many(vec![ppm, ppm / 2]),
            }).collect();
            let message = Message { v: 1, host: host.into(), t_ms, period_ms, vms };
            let bytes = write_message(&message).unwrap();
            prop_assert_eq!(read_message(&bytes), Ok(message));
        }
    }
}
