//! A real Prometheus of Debian's, and somebody whom it scrapes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::kafka::unique;

/// Ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that is free now; whoever takes it in between makes a test fail, not pass.
pub fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts a program, if it is here; else says so, and where `CI` is set fails.
pub fn start(program: &str, args: &[String]) -> Option<Running> {
    let started = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(child) = started else {
        let hint = format!("SKIPPED: no {program}: apt-get install {program}");
        assert!(std::env::var_os("CI").is_none(), "{hint}");
        let _ = writeln!(std::io::stderr(), "\n{hint}\n");
        return None;
    };
    Some(Running(child))
}

/// Answers every request with what `answer` makes of its head.
pub fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head, mut part) = (stream.unwrap(), vec![], [0; 4096]);
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(read @ 1..) => head.extend_from_slice(&part[..read]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&head)).as_bytes());
        }
    });
    address
}

/// An answer with a body.
pub fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A real Prometheus, with a folder of its own.
pub struct Prometheus {
    _process: Running,
    pub folder: PathBuf,
    pub address: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Prometheus {
    /// Scrapes each second what `jobs` (YAML) says, which is told its own address; with a file of its own about TLS
    /// and passwords, if that is wanted.
    pub fn start(jobs: impl Fn(&str) -> String, web: Option<&dyn Fn(&Path) -> String>) -> Option<Prometheus> {
        let (folder, address) = (std::env::temp_dir().join(unique("lwt-prometheus")), free());
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("prometheus.yml");
        let text = format!("global: {{ scrape_interval: 1s }}\nscrape_configs:\n{}", jobs(&address));
        std::fs::write(&file, text).unwrap();
        let mut args = vec![
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        if let Some(web) = web {
            let file = folder.join("web.yml");
            std::fs::write(&file, web(&folder)).unwrap();
            args.push(format!("--web.config.file={}", file.display()));
        }
        let process = start("prometheus", &args)?;
        for _ in 0..300 {
            if TcpStream::connect(&address).is_ok() {
                return Some(Prometheus { _process: process, folder, address });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("Prometheus does not start: {}", folder.display());
    }

    /// What it has of a selector, in the last minute: labels, and values at their times in ms.
    pub fn raw(&self, selector: &str) -> Vec<(Value, Vec<(i64, f64)>)> {
        let escaped: String = format!("{selector}[1m]").bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (mut stream, mut answer) = (TcpStream::connect(&self.address).unwrap(), String::new());
        let path = format!("/api/v1/query?query={escaped}");
        // Of 1.0: nothing is sent in chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        // Until it has read its own files, it says so, and not in JSON.
        if answer.starts_with("HTTP/1.0 503") {
            return vec![];
        }
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let point = |point: &Value| {
            let t_ms = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
            (t_ms, point[1].as_str().unwrap().parse().unwrap())
        };
        let series = |one: &Value| {
            (one["metric"].clone(), one["values"].as_array().unwrap().iter().map(point).collect())
        };
        answer["data"]["result"].as_array().unwrap().iter().map(series).collect()
    }
}
