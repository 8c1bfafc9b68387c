//! Keys as text: 64 hexadecimal digits, of the secret with which a plan signs, and of the public one that agents trust.

use ed25519_dalek::{SigningKey, VerifyingKey};

/// A text that is no key. It is not repeated: it may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a key is 64 hexadecimal digits")]
    NotHex,
    /// No point of the curve, or one with which anything could be signed.
    #[error("64 hexadecimal digits, but no public key")]
    NotPublic,
}

/// Reads a secret key.
///
/// # Errors
/// [`KeyError::NotHex`].
pub fn secret(text: &str) -> Result<SigningKey, KeyError> {
    bytes(text).map(|bytes| SigningKey::from_bytes(&bytes))
}

/// Reads a public key.
///
/// # Errors
/// As [`KeyError`] says.
pub fn public(text: &str) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(&bytes(text)?).map_err(|_| KeyError::NotPublic)?;
    if key.is_weak() { Err(KeyError::NotPublic) } else { Ok(key) }
}

/// Reads public keys, with commas or line ends between them; a line may end with a `# remark`.
///
/// # Errors
/// What is wrong with the first wrong one.
pub fn publics(text: &str) -> Result<Vec<VerifyingKey>, KeyError> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|key| !key.is_empty()).map(public).collect()
}

/// As text.
pub fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Result<[u8; 32], KeyError> {
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(KeyError::NotHex);
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| KeyError::NotHex)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let (secret_text, public_text) = (hex(&key.to_bytes()), hex(key.verifying_key().as_bytes()));
        assert_eq!(secret(&format!(" {secret_text}\n")).unwrap(), key);
        assert_eq!(public(&public_text), Ok(key.verifying_key()));
        let list = format!("# ours\n{public_text}, {public_text} # twice\n\n");
        assert_eq!(publics(&list), Ok(vec![key.verifying_key(); 2]));
        assert_eq!(publics(""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(secret(text).unwrap_err(), KeyError::NotHex, "{text}");
        }
        // The neutral element: a signature of zeroes would be right for every text.
        let neutral = format!("01{}", "0".repeat(62));
        assert_eq!(public(&neutral), Err(KeyError::NotPublic));
    }
}
