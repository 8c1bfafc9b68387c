//! A real broker for a test binary: `tests/kafka/broker` starts it, and ends it when this process ends,
//! however it ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// A broker of our own.
pub struct Broker {
    addresses: BTreeMap<String, String>,
    folder: PathBuf,
    line: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    /// Ends by itself when `line` is closed.
    _script: Child,
}

/// The broker that all tests of a binary share, with every listener. Without Java the test is skipped,
/// loudly; where `CI` is set it fails.
pub fn broker() -> Option<&'static Broker> {
    static SHARED: OnceLock<Option<Broker>> = OnceLock::new();
    SHARED.get_or_init(|| Broker::start(&["--secure"])).as_ref()
}

/// Which of the programs that a broker needs are not here.
fn missing() -> Vec<&'static str> {
    let here = |program: &&str| Command::new(program).arg("-version").output().is_ok();
    ["java", "mvn", "openssl", "python3"].into_iter().filter(|program| !here(program)).collect()
}

impl Broker {
    /// Starts a broker with some options of `tests/kafka/broker`.
    pub fn start(options: &[&str]) -> Option<Broker> {
        let missing = missing();
        if !missing.is_empty() {
            let hint = format!(
                "SKIPPED: no Kafka broker without {}: apt-get install openjdk-17-jre-headless maven openssl python3",
                missing.join(", ")
            );
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            // Not eprintln: the test harness would swallow it.
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
        let folder = std::env::temp_dir().join(unique("lwt-kafka"));
        let mut script = Command::new(path)
            .arg("serve")
            .arg(&folder)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tell = script.stdin.take().unwrap();
        let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
        let addresses = addresses(&mut lines);
        Some(Broker { addresses, folder, line: Mutex::new((tell, lines)), _script: script })
    }

    /// Stops (SIGTERM), kills, pauses (SIGSTOP), resumes or starts it again, at the same addresses, gives a right or
    /// takes it away; returns when it is done.
    pub fn tell(&self, word: &str) {
        let mut line = self.line.lock().unwrap();
        writeln!(line.0, "{word}").unwrap();
        addresses(&mut line.1);
    }

    /// The address of a listener: PLAINTEXT, SCRAM, EXPIRED, MTLS or OAUTH.
    pub fn address(&self, listener: &str) -> &str {
        &self.addresses[listener]
    }

    /// A file of the certificates and tokens that it made.
    pub fn tls(&self, file: &str) -> String {
        self.folder.join("tls").join(file).display().to_string()
    }
}

/// The addresses that are printed before the word `ready`.
fn addresses(lines: &mut Lines<BufReader<ChildStdout>>) -> BTreeMap<String, String> {
    let mut addresses = BTreeMap::new();
    for line in lines {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some((listener, address)) => drop(addresses.insert(listener.into(), address.into())),
            None => return addresses,
        }
    }
    panic!("the broker did not start; what it said is above");
}

/// A name that nobody else has: of a topic, a group or a folder.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
