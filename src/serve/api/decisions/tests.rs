//! The API of decisions, asked over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::super::board;
use super::*;
use crate::serve::{Door, Pages, Server};

/// A site, and what was told to its desk.
struct Site {
    address: SocketAddr,
    told: Arc<Mutex<Vec<(String, String)>>>,
    board: Arc<Board>,
}

/// An answer: its status, its head, and what it says.
type Answered = (u16, String, String);

fn site(door: Door, desk: bool) -> Site {
    let told = Arc::new(Mutex::new(vec![]));
    let to = told.clone();
    let tell = move |entry: &Entry| {
        let value = String::from_utf8(entry.value().unwrap_or_default()).unwrap();
        if value.contains("broken") {
            return Err("the brokers are away".into());
        }
        to.lock().unwrap().push((entry.about.key(), value));
        Ok(())
    };
    let about = board::About {
        version: "v",
        engine: "coupling",
        window_ms: 300_000,
        hop_ms: 60_000,
        period_ms: 1_000,
        note: None,
    };
    let desk = desk.then(|| Desk::new(tell, || 1_700_000_000_000));
    let board = Arc::new(Board::new(about, None, desk));
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), 0).unwrap();
    let address = server.address().unwrap();
    server.start(Pages::of_board(board.clone(), door)).unwrap();
    Site { address, told, board }
}

impl Site {
    fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answered {
        let (mut stream, mut answer) = (TcpStream::connect(self.address).unwrap(), String::new());
        let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(
            stream,
            "{} /api/v1{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n{body}",
            line.split_once(' ').unwrap().0,
            line.split_once(' ').unwrap().1,
            self.address,
            body.len()
        )
        .unwrap();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_string())
    }

    fn post(&self, body: &Value) -> Answered {
        self.ask("POST /decisions", &[JSON, OURS], &body.to_string())
    }

    fn refuses(&self, (status, words): (u16, &str), asked: Answered) {
        let (found, _, body) = asked;
        let error: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{found}: {body:?}"));
        let error = error["error"].as_str().unwrap();
        assert!(found == status && error.contains(words), "{found}: {error}, not {status}: {words}");
    }

    fn listed(&self) -> Vec<Value> {
        let (status, _, body) = self.ask("GET /decisions", &[], "");
        assert_eq!(status, 200, "{body}");
        let list: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(list["total"], list["items"].as_array().unwrap().len());
        list["items"].as_array().unwrap().clone()
    }
}

const JSON: &str = "Content-Type: application/json; charset=utf-8";
const OURS: &str = "X-Requested-With: lwt";

#[test]
fn what_is_decided_stands_until_it_is_undone() {
    let site = site(Door::default(), true);
    assert_eq!(site.listed(), [] as [Value; 0]);
    let (status, _, body) = site.post(&json!({"decision":"confirmed","a":"b","b":"a","why":" runbook "}));
    let decision = json!({"v":1,"decision":"confirmed","a":"a","b":"b","at_ms":1_700_000_000_000i64,
                          "who":"somebody on this machine","why":"runbook"});
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, decision.clone()));
    assert_eq!(site.listed(), [decision]);
    assert_eq!(site.post(&json!({"decision":"rejected","a":"a","b":"b"})).0, 200);
    assert_eq!(site.post(&json!({"decision":"ignored","vm":"h/\u{202e}<b>","why":null})).0, 200);
    assert_eq!(site.post(&json!({"decision":"named","ensemble":"e1","name":"shop"})).0, 200);
    // By the name that it has now.
    assert_eq!(site.post(&json!({"decision":"named","ensemble":"shop","name":"web shop"})).0, 200);
    let words: Vec<Value> = site.listed().iter().map(|one| one["decision"].clone()).collect();
    assert_eq!(words, ["rejected", "ignored", "named"]);
    assert_eq!(site.listed()[2]["ensemble"], "e1");
    for query in ["a=b&b=a", "vm=h%2F%E2%80%AE%3Cb%3E", "ensemble=web+shop"] {
        let undo = || site.ask(&format!("DELETE /decisions?{query}"), &[OURS], "");
        assert_eq!(undo().0, 200, "{query}");
        site.refuses((404, "nothing is decided"), undo());
    }
    assert_eq!(site.listed(), [] as [Value; 0]);
    let told = site.told.lock().unwrap();
    assert_eq!(
        (told.len(), told[0].0.as_str(), told[5].clone()),
        (8, r#"["a","b"]"#, (r#"["a","b"]"#.into(), String::new()))
    );
    assert!(told[4].1.contains(r#""ensemble":"e1","name":"web shop""#), "{told:?}");
}

#[test]
fn it_is_exported() {
    let site = site(Door::default(), true);
    site.post(&json!({"decision":"confirmed","a":"=1+1","b":"b\"c","why":"a, b"}));
    let (status, head, text) = site.ask("GET /decisions?format=ndjson", &[], "");
    assert!(status == 200 && head.contains("filename=\"decisions.ndjson\""), "{head}");
    assert_eq!(Decision::read(text.trim_end().as_bytes()).unwrap().what.told(), "=1+1 and b\"c: confirmed");
    let (_, head, text) = site.ask("GET /decisions?format=csv", &[], "");
    assert!(head.contains("text/csv") && head.contains("attachment"), "{head}");
    let line = "\"confirmed\",\"'=1+1\",\"b\"\"c\",,,,1700000000000,\"somebody on this machine\",\"a, b\"";
    assert_eq!(text, format!("decision,a,b,vm,ensemble,name,at_ms,who,why\n{line}\n"));
    site.refuses((400, "none of json"), site.ask("GET /decisions?format=xml", &[], ""));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = site(Door::default(), true);
    let why = "x".repeat(501);
    for (body, words) in [
        (json!({}), "missing field `decision`"),
        (json!([]), "no decision"),
        (json!({"decision":"maybe","a":"a","b":"b"}), "unknown variant `maybe`"),
        (json!({"decision":"confirmed","a":"a"}), "missing field `b`"),
        (json!({"decision":"confirmed","a":"a","b":"a"}), "nobody depends on himself"),
        (json!({"decision":"confirmed","a":"a","b":"b","who":"root"}), "unknown field \"who\""),
        (json!({"decision":"ignored","vm":"a","why":7}), "why is a text"),
        (json!({"decision":"ignored","vm":"a","why":why}), "why must have 1 to 500 bytes"),
        (json!({"decision":"ignored","vm":""}), "a VM's name must have"),
        (json!({"decision":"named","ensemble":"e1","name":"e2"}), "choose another name"),
        (json!({"decision":"named","ensemble":"e1","name":"a\u{202e}b"}), "no control characters"),
    ] {
        site.refuses((400, words), site.post(&body));
    }
    let post = |headers: &[&str], body: &str| site.ask("POST /decisions", headers, body);
    site.refuses((400, "no decision"), post(&[JSON, OURS], "{"));
    site.refuses((413, "at most 8192 bytes"), post(&[JSON, OURS], &" ".repeat(8193)));
    site.refuses((415, "Content-Type"), post(&[OURS, "Content-Type: text/plain"], "{}"));
    site.refuses((400, "unknown parameter"), site.ask("POST /decisions?a=b", &[JSON, OURS], "{}"));
    for query in ["", "?a=x", "?a=x&b=y&vm=z", "?vm=x&vm=y", "?a=x&ensemble=e"] {
        site.refuses(
            (400, "say what is to be undone"),
            site.ask(&format!("DELETE /decisions{query}"), &[OURS], ""),
        );
    }
    site.refuses((503, "the brokers are away"), site.post(&json!({"decision":"ignored","vm":"broken"})));
    assert!(site.listed().is_empty() && site.told.lock().unwrap().is_empty());
}

#[test]
fn there_is_an_end_to_it() {
    let site = site(Door::default(), true);
    for i in 0..MOST {
        let what = What::Ignored { vm: VmId::new(&format!("v{i}")) };
        site.board.hear(Entry::made(Decision::new(what, "w", None, 0).unwrap()));
    }
    site.refuses((409, "stand already"), site.post(&json!({"decision":"ignored","vm":"one more"})));
    assert_eq!(site.post(&json!({"decision":"ignored","vm":"v7"})).0, 200);
    let (_, _, body) = site.ask("GET /decisions?limit=3", &[], "");
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((list["total"].as_u64(), list["next"].as_str()), (Some(MOST as u64), Some("0.3")));
}

#[test]
fn of_a_recording_nothing_is_decided() {
    let site = site(Door::default(), false);
    site.refuses((409, "a pipeline that goes on"), site.post(&json!({"decision":"ignored","vm":"v"})));
    site.refuses((409, "a pipeline that goes on"), site.ask("DELETE /decisions?vm=v", &[OURS], ""));
    assert!(site.listed().is_empty());
}

#[test]
fn only_who_may_decides() {
    let token = |text: &str| Arc::<str>::from(text);
    let door = Door { read: Some(token("reads")), write: vec![(token("eve"), token("writes"))] };
    let (guarded, free) = (site(door, true), site(Door::default(), true));
    let body = json!({"decision":"ignored","vm":"v"}).to_string();
    let post = |site: &Site, headers: &[&str]| site.ask("POST /decisions", headers, &body);
    guarded.refuses((401, "show the token"), post(&guarded, &[JSON, OURS]));
    guarded
        .refuses((403, "look, but not decide"), post(&guarded, &[JSON, OURS, "Authorization: Bearer reads"]));
    guarded.refuses((403, "from elsewhere"), post(&guarded, &[JSON, "Authorization: Bearer writes"]));
    let undo = |token| guarded.ask("DELETE /decisions?vm=v", &[OURS, token], "");
    guarded.refuses((403, "look, but not decide"), undo("Authorization: Bearer reads"));
    let (status, _, said) = post(&guarded, &[JSON, OURS, "Authorization: Bearer writes"]);
    assert!(status == 200 && said.contains(r#""who":"eve""#), "{said}");
    assert_eq!(guarded.ask("GET /decisions", &["Authorization: Bearer reads"], "").0, 200);
    assert_eq!(undo("Authorization: Bearer writes").0, 200);
    // On this machine everybody may, but no page from elsewhere that a browser opened there.
    free.refuses((403, "from elsewhere"), post(&free, &[JSON]));
    let elsewhere = "Origin: http://evil.example";
    free.refuses((403, "from elsewhere"), post(&free, &[JSON, OURS, elsewhere]));
    free.refuses((403, "from elsewhere"), free.ask("DELETE /decisions?vm=v", &[OURS, elsewhere], ""));
    let (status, head, _) = free.ask("OPTIONS /decisions", &[elsewhere], "");
    assert!(status == 405 && !head.contains("access-control"), "{head}");
    let here = format!("Origin: http://{}", free.address);
    assert_eq!(post(&free, &[JSON, OURS, &here]).0, 200);
    assert_eq!(free.told.lock().unwrap().len(), 1);
}
