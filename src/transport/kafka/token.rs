//! The token that OAUTHBEARER shows: a JSON Web Token (RFC 7519) in a file, which whoever renews it writes anew, as Kubernetes
//! does with those of service accounts. Whether it is good the broker judges.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// What `sasl.oauthbearer.config` begins with; the file's path follows.
pub const FILE: &str = "file=";

/// No token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nobody said where it is.
    #[error("sasl.oauthbearer.config must say where the token is: {FILE}PATH")]
    NoFile,
    /// It is not there. With the cause: librdkafka takes one line.
    #[error("cannot read the token {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{path} holds no JSON Web Token that says for whom (sub) and until when (exp) it is")]
    Malformed {
        /// The file.
        path: String,
    },
}

/// What we need to know of a token.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
}

/// Reads the token that `sasl.oauthbearer.config` names.
///
/// # Errors
/// No file, or no token in it.
pub fn read(config: Option<&str>) -> Result<OAuthToken, TokenError> {
    let path = config.and_then(|config| config.strip_prefix(FILE)).ok_or(TokenError::NoFile)?;
    let text = fs::read_to_string(path).map_err(|source| TokenError::Read { path: path.into(), source })?;
    let token = text.trim();
    let Claims { sub, exp } = claims(token).ok_or_else(|| TokenError::Malformed { path: path.into() })?;
    Ok(OAuthToken { token: token.into(), principal_name: sub, lifetime_ms: (1000.0 * exp) as i64 })
}

/// The second of three parts, as JSON.
fn claims(token: &str) -> Option<Claims> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_for_whom_and_until_when_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let config = format!("{FILE}{}", file.display());
        let said = |text: &str| {
            fs::write(&file, text).unwrap();
            read(Some(&config)).map(|token| (token.principal_name, token.lifetime_ms))
        };
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"x","sub":"lwt","exp":1700000000}"#);
        assert_eq!(said(&format!("e30.{claims}.c2ln\n")).unwrap(), ("lwt".into(), 1_700_000_000_000));
        let path = file.display();
        for text in ["", "lwt", "e30.e30.c2ln"] {
            let wrong = said(text).unwrap_err().to_string();
            assert!(wrong.starts_with(&format!("{path} holds no JSON Web Token")), "{wrong}");
        }
        assert!(read(None).is_err() && read(Some("principal=lwt")).is_err());
        let wrong = read(Some("file=/nowhere/token")).err().unwrap().to_string();
        assert_eq!(wrong, "cannot read the token /nowhere/token: No such file or directory (os error 2)");
    }
}
