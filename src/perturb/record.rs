//! What the topic `lwt.perturbations` holds: what was asked, what was done, and what was learned. Pure.

use serde::{Deserialize, Serialize};

use super::code;
use super::command::{Command, VERSION};
use super::report::Report;
use super::verdict::{Finding, Judgement, Open};
use crate::types::VmId;

/// What was learned of two VMs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// [`VERSION`].
    pub v: u64,
    /// When it was judged, Unix milliseconds.
    pub at_ms: i64,
    /// The VM that was capped.
    pub cause: VmId,
    /// The VM that was watched: does it depend on the other one?
    pub vm: VmId,
    /// The share of pairs that do not depend, and are confirmed all the same.
    pub alpha: f64,
    /// What was found; undecided until anything else is.
    #[serde(flatten)]
    pub judgement: Judgement,
}

impl Verdict {
    /// A verdict of now.
    pub fn new(cause: VmId, vm: VmId, alpha: f64, judgement: Judgement, at_ms: i64) -> Self {
        Verdict { v: VERSION, at_ms, cause, vm, alpha, judgement }
    }

    /// The pair, the smaller bytewise first.
    pub fn pair(&self) -> (VmId, VmId) {
        let (a, b) = (self.cause.clone(), self.vm.clone());
        if a < b { (a, b) } else { (b, a) }
    }

    /// In words, for people.
    pub fn told(&self) -> String {
        let Judgement { verdict, open, blocks, chance, fall, response, .. } = &self.judgement;
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let found = match (verdict, open) {
            (Finding::Confirmed, _) => "depends on",
            (Finding::Refuted, _) => "does not depend on",
            (Finding::Undecided, _) => "may depend on",
        };
        let why = match open {
            None => "",
            Some(Open::Blocks) => ": not decided yet",
            Some(Open::Noise) => ": its own noise is too large",
            Some(Open::NoBite) => ": the cap did not slow the other one down",
            Some(Open::Idle) => ": it does nothing",
            Some(Open::Rises) => ": it takes what the other one leaves, CPU or work",
            Some(Open::NotDone) => ": the agent did not do it",
        };
        let (vm, cause) = (&self.vm, &self.cause);
        let change = |fall: f64| {
            if fall >= 0.0 {
                format!("falls by {}", percent(fall))
            } else {
                format!("rises by {}", percent(-fall))
            }
        };
        format!(
            "{vm} {found} {cause}{why} ({blocks} blocks: {cause} {}, {vm} {}, by chance {chance:.4})",
            change(*fall),
            change(*response)
        )
    }
}

/// A record of the topic.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// What was asked.
    Command(Command),
    /// What was done.
    Report(Report),
    /// What was learned.
    Verdict(Verdict),
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of one of the three shapes.
    #[error("neither a command nor a report nor a verdict")]
    Shape(#[source] serde_json::Error),
    /// Of another version.
    #[error("of version {0}, not {VERSION}")]
    Version(u64),
}

/// The shapes. A command is looked at without its signature: to know what was asked, never to obey.
#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Signed { command: String },
    Command(Command),
    Verdict(Verdict),
    Report(Report),
}

impl Record {
    /// Reads a record. Nobody vouches for a command that is read so: only an agent's `Command::verify` does.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(bytes: &[u8]) -> Result<Record, RecordError> {
        let record = match serde_json::from_slice(bytes).map_err(RecordError::Shape)? {
            Raw::Signed { command } => {
                Record::Command(serde_json::from_str(&command).map_err(RecordError::Shape)?)
            }
            Raw::Command(command) => Record::Command(command),
            Raw::Verdict(verdict) => Record::Verdict(verdict),
            Raw::Report(report) => Record::Report(report),
        };
        let (Record::Command(Command { v, .. })
        | Record::Report(Report { v, .. })
        | Record::Verdict(Verdict { v, .. })) = &record;
        if *v == VERSION { Ok(record) } else { Err(RecordError::Version(*v)) }
    }
}

/// The blocks of one VM that were done, in all its commands, in their order; they must be those of one victim.
pub fn blocks(commands: &[Command], reports: &[Report]) -> Vec<code::Block> {
    let mut blocks: Vec<_> = commands.iter().flat_map(|command| code::done(command, reports)).collect();
    blocks.sort_unstable_by_key(|block| block.start_ms);
    blocks.dedup();
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perturb::report::Done;
    use crate::types::HostId;

    #[test]
    fn each_shape_is_told_from_the_others() {
        let command = r#"{"v":1,"serial":7,"host":"h","vm":"h/a","start_ms":1,"slot_ms":2000,"code":"01","share":0.5,"issued_ms":0,"expires_ms":9}"#;
        let signed = serde_json::json!({ "command": command, "signature": "00" }).to_string();
        let asked = Record::read(command.as_bytes()).unwrap();
        assert!(matches!(&asked, Record::Command(command) if command.serial == 7));
        assert_eq!(Record::read(signed.as_bytes()).unwrap(), asked);
        let report = Report {
            v: 1,
            serial: 7,
            host: HostId::new("h"),
            vm: VmId::new("h/a"),
            at_ms: 3,
            done: Done::Refused { why: "quiet hours".into() },
        };
        let read = Record::read(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read, Record::Report(report));
        let judgement = Judgement { response: -0.25, fall: 0.5, blocks: 12, ..Judgement::open(Open::Rises) };
        let verdict = Verdict::new(VmId::new("h/b"), VmId::new("h/a"), 0.01, judgement, 5);
        let read = Record::read(&serde_json::to_vec(&verdict).unwrap()).unwrap();
        assert_eq!(read, Record::Verdict(verdict.clone()));
        assert_eq!(
            verdict.told(),
            "h/a may depend on h/b: it takes what the other one leaves, CPU or work (12 blocks: h/b falls by 50 %, h/a rises by 25 %, by chance 1.0000)"
        );
        assert_eq!(verdict.pair(), (VmId::new("h/a"), VmId::new("h/b")));
        assert!(matches!(
            Record::read(command.replace(r#""v":1"#, r#""v":2"#).as_bytes()),
            Err(RecordError::Version(2))
        ));
        assert!(matches!(Record::read(b"{}"), Err(RecordError::Shape(_))));
    }
}
