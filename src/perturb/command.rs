//! What a plan asks of a host's agent: to cap one VM, on and off, by a code. Signed, so that whoever may write to the
//! topic may not thereby throttle machines.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::types::{HostId, MAX_NAME_BYTES, VmId};

/// The version that is written, and the only one that is read.
pub const VERSION: u64 = 1;

/// The most slots of a code: at the shortest slot, an hour.
pub const MAX_SLOTS: usize = 7_200;

/// The shortest slot: below it, a cap of the scheduler's 100 ms periods is no clean step.
pub const MIN_SLOT_MS: u64 = 500;

/// The longest slot.
pub const MAX_SLOT_MS: u64 = 60_000;

/// A command is good for so long after it was issued, at most: an hour's code, begun within a minute.
pub const MAX_VALID_MS: i64 = 3_660_000;

/// The largest message: the longest code, two names, and what is written around them.
pub const MAX_COMMAND_BYTES: usize = 16 << 10;

/// Cap one VM to a share of what it used lately, in those slots in which the code says so.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// [`VERSION`].
    pub v: u64,
    /// Rises from command to command of one VM; an agent never takes one that is not above the last: what is replayed
    /// is refused. Unix milliseconds of the moment of issue do well.
    pub serial: u64,
    /// The host whose agent is asked.
    pub host: HostId,
    /// The VM.
    pub vm: VmId,
    /// When the first slot begins, Unix milliseconds.
    pub start_ms: i64,
    /// How long a slot is, [`MIN_SLOT_MS`] to [`MAX_SLOT_MS`].
    pub slot_ms: u64,
    /// One character a slot: `1` capped, `0` not. 1 to [`MAX_SLOTS`].
    pub code: String,
    /// The cap: so much of what the VM used lately, above 0 and below 1. The agent measures that use itself.
    pub share: f64,
    /// Not to be begun before, Unix milliseconds.
    pub issued_ms: i64,
    /// Nothing of it may last beyond, Unix milliseconds.
    pub expires_ms: i64,
}

/// A command that cannot be trusted, or not be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// It is too long.
    #[error("longer than {MAX_COMMAND_BYTES} bytes")]
    TooLong,
    /// It is not what it should be.
    #[error("not a command: {0}")]
    Malformed(String),
    /// Nobody whom we trust has signed it.
    #[error("not signed with a key that is trusted here")]
    Forged,
}

/// What travels: the very bytes that were signed, and the signature, 128 hexadecimal digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    /// The command's JSON.
    #[serde(borrow)]
    command: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    signature: std::borrow::Cow<'a, str>,
}

impl Command {
    /// When slot `i` begins, Unix milliseconds.
    pub fn slot_start_ms(&self, i: usize) -> i64 {
        self.start_ms.saturating_add((i as i64).saturating_mul(self.slot_ms as i64))
    }

    /// When the last slot ends, Unix milliseconds.
    pub fn end_ms(&self) -> i64 {
        self.slot_start_ms(self.code.len())
    }

    /// Whether the VM should be capped at `now_ms`.
    pub fn is_on(&self, now_ms: i64) -> bool {
        let slot = now_ms.saturating_sub(self.start_ms).div_euclid(self.slot_ms as i64);
        usize::try_from(slot).ok().and_then(|slot| self.code.as_bytes().get(slot)) == Some(&b'1')
    }

    /// The longest time for which the VM stays capped without a break, in ms.
    pub fn longest_ms(&self) -> u64 {
        self.code.split('0').map(str::len).max().unwrap_or(0) as u64 * self.slot_ms
    }

    /// For how long the VM is capped in all, in ms.
    pub fn capped_ms(&self) -> u64 {
        self.code.bytes().filter(|&slot| slot == b'1').count() as u64 * self.slot_ms
    }

    /// Its bytes, signed.
    ///
    /// # Errors
    /// Never: its fields are numbers and text.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, serde_json::Error> {
        let command = serde_json::to_string(self)?;
        let signature = key.sign(command.as_bytes()).to_string().to_lowercase();
        serde_json::to_vec(&Envelope { command: command.into(), signature: signature.into() })
    }

    /// Reads a command that one of `trusted` signed. Whether it may be obeyed is another question.
    ///
    /// # Errors
    /// Bytes that are no such command. Nothing is looked at before the signature is found to be right.
    pub fn verify(bytes: &[u8], trusted: &[VerifyingKey]) -> Result<Command, CommandError> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong);
        }
        let malformed = |error: serde_json::Error| CommandError::Malformed(error.to_string());
        let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(malformed)?;
        let signature: Signature = envelope.signature.parse().map_err(|_| CommandError::Forged)?;
        let signed = |key: &&VerifyingKey| key.verify_strict(envelope.command.as_bytes(), &signature).is_ok();
        trusted.iter().find(signed).ok_or(CommandError::Forged)?;
        let command: Command = serde_json::from_str(&envelope.command).map_err(malformed)?;
        command.check().map_err(|what| CommandError::Malformed(what.into()))?;
        Ok(command)
    }

    fn check(&self) -> Result<(), &'static str> {
        let named = |name: &str, parts: usize| !name.is_empty() && name.len() < parts * (MAX_NAME_BYTES + 1);
        let code = 1..=MAX_SLOTS;
        let checks = [
            (self.v == VERSION, "unknown version"),
            // An identity may be host/name.
            (named(self.host.as_str(), 1) && named(self.vm.as_str(), 2), "a name of no bytes or of too many"),
            ((MIN_SLOT_MS..=MAX_SLOT_MS).contains(&self.slot_ms), "slots too short or too long"),
            (code.contains(&self.code.len()), "a code of no slots or of too many"),
            (self.code.bytes().all(|slot| matches!(slot, b'0' | b'1')), "a code that is not of 0 and 1"),
            (self.share > 0.0 && self.share < 1.0, "a share that is not between 0 and 1"),
            (self.issued_ms >= 0 && self.start_ms >= self.issued_ms, "it starts before it is issued"),
            (self.end_ms() <= self.expires_ms, "it expires before it ends"),
            (self.expires_ms.saturating_sub(self.issued_ms) <= MAX_VALID_MS, "it is good for too long"),
        ];
        checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn command() -> Command {
        Command {
            v: 1,
            serial: 7,
            host: HostId::new("h1"),
            vm: VmId::new("h1/web"),
            start_ms: 10_000,
            slot_ms: 1_000,
            code: "0110100".into(),
            share: 0.5,
            issued_ms: 9_000,
            expires_ms: 17_000,
        }
    }

    #[test]
    fn what_is_signed_is_read_back() {
        let bytes = command().sign(&key(1)).unwrap();
        let trusted = [key(2).verifying_key(), key(1).verifying_key()];
        assert_eq!(Command::verify(&bytes, &trusted), Ok(command()));
        assert_eq!(Command::verify(&bytes, &trusted[..1]), Err(CommandError::Forged));
        assert_eq!(Command::verify(&bytes, &[]), Err(CommandError::Forged));
    }

    #[test]
    fn no_byte_can_be_changed() {
        let bytes = command().sign(&key(1)).unwrap();
        let trusted = [key(1).verifying_key()];
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            // An upper case digit of the signature is the same digit.
            if let Ok(read) = Command::verify(&changed, &trusted) {
                assert_eq!(read, command(), "byte {i}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_though_signed() {
        let trusted = [key(1).verifying_key()];
        type Change = fn(&mut Command);
        let rows: [(Change, &str); 10] = [
            (|c| c.v = 2, "unknown version"),
            (|c| c.host = HostId::new(""), "a name of no bytes or of too many"),
            (|c| c.vm = VmId::new(&"x".repeat(512)), "a name of no bytes or of too many"),
            (|c| c.slot_ms = 10, "slots too short or too long"),
            (|c| c.code = String::new(), "a code of no slots or of too many"),
            (|c| c.code = "012".into(), "a code that is not of 0 and 1"),
            (|c| c.share = 0.0, "a share that is not between 0 and 1"),
            (|c| c.issued_ms = 20_000, "it starts before it is issued"),
            (|c| c.expires_ms = 16_999, "it expires before it ends"),
            (|c| c.expires_ms = i64::MAX, "it is good for too long"),
        ];
        for (change, what) in rows {
            let mut command = command();
            change(&mut command);
            let bytes = command.sign(&key(1)).unwrap();
            assert_eq!(Command::verify(&bytes, &trusted), Err(CommandError::Malformed(what.into())));
        }
    }

    #[test]
    fn a_code_says_when() {
        let command = command();
        let on: Vec<i64> = (8..20).filter(|s| command.is_on(s * 1_000)).collect();
        assert_eq!(on, [11, 12, 14]);
        assert!(command.is_on(12_999) && !command.is_on(13_000));
        assert_eq!((command.end_ms(), command.longest_ms(), command.capped_ms()), (17_000, 2_000, 3_000));
    }
}
