//! Prometheus' HTTP API, and whatever speaks it: what was scraped, at the times at which it was.
//!
//! Raw readings are asked for (an instant query for `selector[range]`). `query_range` would repeat the last reading
//! at each step until there is a new one, for up to five minutes: times and counters that never were.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

pub mod answer;

use crate::collect::series::query::Query;
use answer::{Answer, AnswerError};

/// The longest answer: 450,000 readings of 35 bytes. Who has more is asked for less time at once.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// How long an answer may take: a collector that is told to end has 20 s. Prometheus gives up a little earlier.
const PATIENCE: Duration = Duration::from_secs(15);
const PATIENCE_OF_PROMETHEUS: &str = "12s";
const CONNECT: Duration = Duration::from_secs(5);

/// How much time is asked for at once, at first and at least: a quarter of an hour of 7,000 VMs scraped every 15 s
/// is the longest answer.
const PIECE_MS: i64 = 900_000;
const LEAST_PIECE_MS: i64 = 60_000;

/// How much is shown of an answer that is none of Prometheus'.
const SHOWN_CHARS: usize = 200;

/// How to reach Prometheus.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What stands before `/api/v1`.
    pub url: String,
    /// Who asks.
    pub login: Login,
    /// The certificates that are trusted instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Who asks. Secrets are in files, which are read each time: they may be renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// Nobody in particular.
    None,
    /// Who has the token in this file.
    Token(PathBuf),
    /// Who knows the password in this file.
    Password(String, PathBuf),
}

/// What was asked for was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file with a secret or with certificates.
    #[error("cannot read {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that holds no certificates.
    #[error("{}: no certificates (PEM) in it", .0.display())]
    NoCertificates(PathBuf),
    /// There was no answer, or no whole one.
    #[error("no answer from {url}")]
    Unanswered {
        /// Whom we asked.
        url: String,
        /// Why.
        source: ureq::Error,
    },
    /// An answer that is too long.
    #[error("{url}: more than {} MiB for a minute: let prometheus.query select less", MAX_ANSWER_BYTES >> 20)]
    TooLong {
        /// Whom we asked.
        url: String,
    },
    /// Prometheus, or somebody before it, does not do what we ask for.
    #[error("{url} answers {status}: {what}")]
    Refused {
        /// Whom we asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        what: String,
    },
    /// What was answered is no series.
    #[error("{url}")]
    Answer {
        /// Whom we asked.
        url: String,
        /// Why.
        source: AnswerError,
    },
}

impl ReadError {
    /// Whether it may be well if less is asked for.
    fn is_too_much(&self) -> bool {
        match self {
            ReadError::TooLong { .. } => true,
            ReadError::Unanswered { source, .. } => matches!(source, ureq::Error::Timeout(_)),
            // Prometheus': too many samples, its own patience; a proxy's.
            ReadError::Refused { status, .. } => matches!(status, 422 | 503 | 504),
            _ => false,
        }
    }

    /// Whether it will be so until somebody changes something: a wrong query, a wrong password.
    pub fn is_lasting(&self) -> bool {
        match self {
            // A certificate that is not trusted, no TLS at all.
            ReadError::Unanswered { source, .. } => {
                matches!(source, ureq::Error::BadUri(_) | ureq::Error::NativeTls(_))
            }
            ReadError::Refused { status, .. } => !matches!(status, 408 | 429 | 500..),
            _ => true,
        }
    }
}

/// Asks one Prometheus.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    settings: Settings,
    piece_ms: i64,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(settings: Settings) -> Result<Client, ReadError> {
        let roots = match &settings.ca_file {
            Some(path) => RootCerts::Specific(std::sync::Arc::new(certificates(path)?)),
            None => RootCerts::PlatformVerifier,
        };
        // OpenSSL, which is there for Kafka: one implementation of TLS, one set of trusted certificates.
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(CONNECT))
            .http_status_as_error(false)
            // A login goes to nobody else, and the environment is not ours to read.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("lwt/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls);
        Ok(Client { agent: config.build().new_agent(), settings, piece_ms: PIECE_MS })
    }

    /// What was scraped from `from_ms` to `to_ms` (Unix ms), or in the beginning of that time: until when, too.
    ///
    /// # Errors
    /// What is not answered.
    pub fn read(&mut self, query: &Query, (from_ms, to_ms): (i64, i64)) -> Result<(Answer, i64), ReadError> {
        loop {
            let end_ms = to_ms.min(from_ms + self.piece_ms);
            match self.ask(query, from_ms, end_ms) {
                Err(error) if error.is_too_much() && end_ms - from_ms > LEAST_PIECE_MS => {
                    self.piece_ms = ((end_ms - from_ms) / 2).max(LEAST_PIECE_MS);
                }
                asked => return asked.map(|answer| (answer, end_ms)),
            }
        }
    }

    fn ask(&self, query: &Query, from_ms: i64, to_ms: i64) -> Result<Answer, ReadError> {
        let url = || self.settings.url.clone();
        let unanswered = |source| match source {
            ureq::Error::BodyExceedsLimit(_) => ReadError::TooLong { url: url() },
            source => ReadError::Unanswered { url: url(), source },
        };
        let mut request = self
            .agent
            .get(format!("{}/api/v1/query", self.settings.url.trim_end_matches('/')))
            .query("query", format!("{}[{}ms]", query.selector, (to_ms - from_ms).max(1)))
            .query("time", format!("{}.{:03}", to_ms / 1000, to_ms % 1000))
            .query("timeout", PATIENCE_OF_PROMETHEUS);
        if let Some(login) = self.settings.login.header()? {
            request = request.header("Authorization", login);
        }
        let mut response = request.call().map_err(unanswered)?;
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(unanswered)?;
        let read = answer::read(&body, query.unit);
        match (response.status().as_u16(), read) {
            (200, Ok(answer)) => Ok(answer),
            (200, Err(source)) => Err(ReadError::Answer { url: url(), source }),
            (status, read) => {
                Err(ReadError::Refused { url: url(), status, what: why(&response, &body, read) })
            }
        }
    }
}

/// Why a request was refused: in Prometheus' words, or in those of whoever stands before it.
fn why<T>(response: &Response<T>, body: &[u8], read: Result<Answer, AnswerError>) -> String {
    let moved = response.headers().get("location").and_then(|to| to.to_str().ok());
    match (read, moved) {
        (Err(AnswerError::Failed(what)), _) => what,
        (_, Some(to)) => format!("it has moved to {to}"),
        _ => String::from_utf8_lossy(body).trim().chars().take(SHOWN_CHARS).collect(),
    }
}

impl Login {
    fn header(&self) -> Result<Option<String>, ReadError> {
        Ok(match self {
            Login::None => None,
            Login::Token(path) => Some(format!("Bearer {}", secret(path)?)),
            Login::Password(user, path) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{}", secret(path)?))))
            }
        })
    }
}

/// What a file holds, without the end of its last line.
fn secret(path: &Path) -> Result<String, ReadError> {
    let text = fs::read_to_string(path).map_err(|source| ReadError::File { path: path.into(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn certificates(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>, ReadError> {
    let pem = fs::read(path).map_err(|source| ReadError::File { path: path.into(), source })?;
    let certificate = |item| if let Ok(PemItem::Certificate(one)) = item { Some(one) } else { None };
    let all: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    if all.is_empty() { Err(ReadError::NoCertificates(path.into())) } else { Ok(all) }
}
