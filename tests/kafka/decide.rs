//! `lwt decide`, and what is decided over HTTP, in a pipeline over a real broker: it is held and seen, until it is undone, whoever is
//! killed meanwhile, and with any number of workers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lwt::types::VmId;
use serde_json::{Value, json};

use crate::common::kafka::{broker, unique};
use crate::fleet::Fleet;
use crate::pipeline::{Pipeline, Windows};
use crate::service::seen::{Running, wait};
use crate::service::{end, run_to, start};
use crate::verdicts::{chosen, holds};
use crate::world::{client, now_ms};

const FLEET: Fleet = Fleet { vms: 24, period_ms: 100, partitions: 3, grain: 1 };
const WINDOWS: Windows = Windows { length_ms: 30_000, hop_ms: 3_000 };

fn lwt(pipeline: &Pipeline, command: &str, more: &[&str]) -> Command {
    let mut lwt = Command::new(env!("CARGO_BIN_EXE_lwt"));
    lwt.arg(command).args(pipeline.arguments()).args(more).current_dir(env!("CARGO_MANIFEST_DIR"));
    lwt.env("USER", "eve").stdin(Stdio::null());
    lwt
}

/// What `lwt decide` says.
fn decide(pipeline: &Pipeline, words: &[&str]) -> String {
    let output = lwt(pipeline, "decide", words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server, and where it is.
fn serve(pipeline: &Pipeline) -> (Running, String) {
    let mut child = lwt(pipeline, "serve", &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("dashboard: http://").unwrap_or_else(|| panic!("{line}"));
    (Running(child), address.to_string())
}

/// Asks the API for its decisions, or changes them.
fn ask(address: &str, request: &str, body: &str) -> Value {
    let (mut stream, mut answer) = (TcpStream::connect(address).unwrap(), String::new());
    let n = body.len();
    write!(
        stream,
        "{request} HTTP/1.0\r\nHost: {address}\r\nX-Requested-With: lwt\r\nContent-Type: application/json\r\n\
         Content-Length: {n}\r\n\r\n{body}"
    )
    .unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.split(' ').nth(1), Some("200"), "{request}: {answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn what_is_decided_is_held_until_it_is_undone_whoever_is_killed() {
    let Some(broker) = broker() else { return };
    let (client, log, topic) = (client(broker), unique("fleet"), unique("decisions"));
    let shared = [("decisions", topic.as_str())];
    let pipeline = Pipeline::over(broker, (&log, &shared), FLEET, WINDOWS);
    let done = Arc::new(AtomicBool::new(false));
    let fleet = FLEET.send(broker, log.clone(), done.clone());
    let running = start(&pipeline, 1, 2);
    let (held, apart) = wait("nothing is held", || chosen(&pipeline, &client));
    let watched = {
        let mut child = lwt(&pipeline, "watch", &["--format=json"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (Running(child), lines)
    };
    let pair =
        |[a, b]: &[VmId; 2]| holds(&pipeline, &client, "dependencies").remove(&json!([a, b]).to_string());
    let [[a, b], [c, d]] = [&apart, &held].map(|[a, b]| [a.as_str(), b.as_str()]);
    // Said, and killed before it can count; taken up by two processes.
    assert_eq!(decide(&pipeline, &["list"]), "nothing is decided\n");
    assert_eq!(
        decide(&pipeline, &["confirm", b, a, "--why", "runbook"]),
        format!("{a} and {b}: confirmed\n")
    );
    end(running, 0);
    let running = start(&pipeline, 2, 1);
    let found = wait("it is not held", || pair(&apart).filter(|held| held["decided"] == "confirmed"));
    assert!(found["strength"].is_null(), "{found}");
    let appeared = watched.1.map_while(Result::ok).find(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["type"] == "lwt.dependency.appeared" && event["data"]["a"] == a && event["data"]["b"] == b
    });
    assert!(appeared.unwrap().contains(r#""decided":"confirmed""#));
    // Over HTTP.
    let (server, address) = serve(&pipeline);
    let listed = || ask(&address, "GET /api/v1/decisions", "");
    let first = wait("it is not listed", || listed()["items"].as_array()?.first().cloned());
    assert_eq!(
        (&first["decision"], &first["who"], &first["why"]),
        (&"confirmed".into(), &"eve".into(), &"runbook".into())
    );
    let decision = json!({"decision":"rejected","a":c,"b":d}).to_string();
    assert_eq!(ask(&address, "POST /api/v1/decisions", &decision)["who"], "somebody on this machine");
    ask(&address, "POST /api/v1/decisions", &json!({"decision":"ignored","vm":a}).to_string());
    assert_eq!(listed()["total"], 3);
    wait("it is held still", || pair(&held).is_none().then_some(()));
    let ignored =
        || holds(&pipeline, &client, "assignments").get(a).is_some_and(|vm| vm["decided"] == "ignored");
    wait("it is not ignored", || ignored().then_some(()));
    assert_eq!(decide(&pipeline, &["list", "--format", "json"]).lines().count(), 3);
    end(running, 1);
    let running = start(&pipeline, 1, 3);
    // And back.
    assert_eq!(decide(&pipeline, &["undo", a]), format!("{a}: undone\n"));
    decide(&pipeline, &["undo", a, b]);
    ask(&address, &format!("DELETE /api/v1/decisions?a={c}&b={d}"), "");
    wait("they are listed still", || (listed()["total"] == 0).then_some(()));
    wait("the confirmed one is held still", || pair(&apart).is_none().then_some(()));
    wait("the rejected one is not held again", || pair(&held));
    wait("it is ignored still", || (!ignored()).then_some(()));
    let twice = lwt(&pipeline, "decide", &["undo", a]).output().unwrap();
    assert!(String::from_utf8_lossy(&twice.stderr).contains("nothing is decided about"), "{twice:?}");
    drop(server);
    let last = pipeline.due(now_ms()) + 2 * WINDOWS.hop_ms;
    pipeline.wait_for(&client, last);
    end(running, 0);
    let undisturbed = Pipeline::over(broker, (&log, &shared), FLEET, WINDOWS);
    run_to(&undisturbed, 4, &client, last);
    done.store(true, Ordering::Relaxed);
    fleet.join().unwrap();
    println!("{} windows, 3 kills", pipeline.is_as(&undisturbed, &client));
}
