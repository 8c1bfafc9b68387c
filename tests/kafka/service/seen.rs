//! What a running service says of itself: its metrics as a real Prometheus sees them, its health, its log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::common::named;

/// The lines that a process logs, as JSON.
pub type Log = Arc<Mutex<Vec<Value>>>;

/// Ends a process with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn run(pipeline: &Pipeline) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
    command.arg("run").args(pipeline.arguments());
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

pub fn logged(command: &mut Command) -> (Running, Log) {
    let mut child = command.args(["--set", "log.format=json"]).stderr(Stdio::piped()).spawn().unwrap();
    let (lines, log) = (BufReader::new(child.stderr.take().unwrap()).lines(), Log::default());
    let to = log.clone();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            to.lock().unwrap().push(value);
        }
    });
    (Running(child), log)
}

/// What `find` finds within a minute.
fn found<T>(find: impl Fn() -> Option<T>) -> Option<T> {
    let until_ms = now_ms() + 60_000;
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if now_ms() >= until_ms {
            return None;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The same; `what` is wrong if there is nothing.
pub fn wait<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    found(find).unwrap_or_else(|| panic!("{what}"))
}

/// The first logged object with this message.
pub fn said(log: &Log, message: &str) -> Value {
    let find = || log.lock().unwrap().iter().find(|line| line["message"] == message).cloned();
    found(find).unwrap_or_else(|| panic!("{message:?} is never logged: {:?}", log.lock().unwrap()))
}

/// The status and the body of an answer; none if nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let (mut stream, mut answer) = (TcpStream::connect(address).ok()?, String::new());
    // Of 1.0: nothing is sent in chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
}

/// The value of a metric, labels included.
pub fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn a_service_shows_how_it_does() {
    let Some(broker) = broker() else { return };
    let (client, log_topic, done) = (client(broker), unique("seen"), Arc::new(AtomicBool::new(false)));
    let pipeline = Pipeline::new(broker, &log_topic, FLEET, WINDOWS);
    let fleet = FLEET.send(broker, log_topic.clone(), done.clone());
    let (running, log) = logged(run(&pipeline).args(["-w", "2"]));
    let address = said(&log, "metrics and health are served")["address"].as_str().unwrap().to_string();
    assert_eq!(get(&address, "/healthz"), Some((200, "ok\n".into())));
    wait("it is never ready", || get(&address, "/readyz").filter(|(status, _)| *status == 200));
    let prometheus = Prometheus::start(&address);
    pipeline.wait_for(&client, pipeline.due(now_ms()));
    let scrape = || get(&address, "/metrics").unwrap().1;
    let refused = r#"lwt_dead_letters_total{reason="unknown_version"}"#;
    let page = wait("no dead letter", || Some(scrape()).filter(|page| value(page, refused) > 0.0));
    named::check(std::slice::from_ref(&page));
    for worker in [0, 1] {
        assert!(value(&page, &format!("lwt_records_total{{worker=\"{worker}\"}}")) > 0.0, "{page}");
        assert!(value(&page, &format!("lwt_lag_seconds{{worker=\"{worker}\"}}")) < 20.0, "{page}");
    }
    for (name, low, high) in [
        ("lwt_ready", 1.0, 1.0),
        // 24 VMs on one host, 10 samples a second each, for some seconds.
        ("lwt_samples_total{worker=\"0\"}", 500.0, 50_000.0),
        ("lwt_windows_total", 1.0, 60.0),
        ("lwt_frontier_age_seconds", 0.0, 40.0),
        ("lwt_window_latency_seconds_sum", 0.001, 2_000.0),
        ("lwt_vms_held", 12.0, 48.0),
        ("process_resident_memory_bytes", 1e7, 2e9),
        ("process_cpu_seconds_total", 0.01, 600.0),
    ] {
        assert!((low..=high).contains(&value(&page, name)), "{name}: {page}");
    }
    let window = said(&log, "a window is written");
    assert_eq!(window["level"], "INFO");
    assert!(window["timestamp"].as_str().unwrap().ends_with('Z') && window["judged"].is_u64(), "{window}");
    // A second one finds the port taken, and says what to do.
    let taken = format!("serve.listen={address}");
    let second = run(&pipeline).args(["--set", &taken]).output().unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr.contains(&format!("lwt: cannot listen at {address}: set serve.listen to")), "{stderr}");
    if let Some(prometheus) = prometheus {
        prometheus.check();
    }
    drop(running);
    assert_eq!(get(&address, "/healthz"), None);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
}

/// A real Prometheus, with the project's rules.
struct Prometheus {
    _process: Running,
    folder: PathBuf,
    address: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// Scrapes `target` every second. Without Debian's prometheus this part is skipped, loudly; where `CI` is set it
    /// fails.
    fn start(target: &str) -> Option<Self> {
        let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
        let check = |what: &str, file: &str| {
            Command::new("promtool").args(["check", what, file]).current_dir(&docker).output()
        };
        let Ok(config) = check("config", "prometheus.yml") else {
            let hint = "SKIPPED: no Prometheus to look at lwt: apt-get install prometheus";
            assert!(std::env::var_os("CI").is_none(), "{hint}");
            // Not eprintln: the test harness would swallow it.
            let _ = writeln!(std::io::stderr(), "\n{hint}\n");
            return None;
        };
        assert!(config.status.success(), "{}", String::from_utf8_lossy(&config.stderr));
        let folder = std::env::temp_dir().join(unique("lwt-prometheus"));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("prometheus.yml");
        let rules = docker.join("alerts.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{rules:?}]\n\
             scrape_configs: [{{ job_name: lwt, static_configs: [{{ targets: [{target:?}] }}] }}]\n"
        );
        std::fs::write(&file, text).unwrap();
        // A port that is free now; whoever takes it in between makes the test fail, not pass.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        Some(Prometheus { _process: process, folder, address })
    }

    fn ask(&self, path: &str) -> Value {
        let (status, body) = wait("Prometheus does not answer", || get(&self.address, path));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Everything that the dashboard shows has a value, and no rule fails.
    fn check(&self) {
        for (place, expression) in named::expressions() {
            let expression = expression.replace("$__rate_interval", "30s");
            let escaped: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let query = format!("/api/v1/query?query={escaped}");
            // An alert that has a value fires. A rate needs two scrapes, and something between them.
            wait(&format!("{place}: {expression} has no value"), || {
                let answer = self.ask(&query);
                let found = answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty());
                (found || place.starts_with("alerts")).then_some(())
            });
        }
        // A rule may look at a moment at which nothing has come yet: that passes.
        wait("a rule fails, or finds something", || {
            let groups = self.ask("/api/v1/rules");
            let rules = groups["data"]["groups"][0]["rules"].as_array().unwrap();
            assert!(rules.len() > 5);
            let calm = |rule: &Value| rule["state"] == "inactive" || rule["name"] == "LwtDeadLetters";
            rules.iter().all(|rule| rule["health"] == "ok" && calm(rule)).then_some(())
        });
    }
}
