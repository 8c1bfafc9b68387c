//! `lwt watch`: what holds, and what changes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lwt::transport::kafka::sink::{Out, Sink};

use crate::common::kafka::{broker, unique};
use crate::world::{NOWHERE, client, topic};

fn joined(topic: &str, vm: &str, ensemble: &str) -> Out {
    let event = format!(
        r#"{{"type":"lwt.ensemble.joined","time":"2026-11-23T08:00:00Z","data":{{"vm":"{vm}","ensemble":"{ensemble}"}}}}"#
    );
    Out { topic: topic.into(), key: vm.into(), value: Some(event.into()) }
}

/// Ends with the test.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_tells_what_holds_and_what_changes() {
    let Some(broker) = broker() else { return };
    let client = client(broker);
    let compact = [("cleanup.policy", "compact")];
    let (assignments, dependencies) =
        (topic(&client, "assignments", 1, &compact), topic(&client, "dependencies", 1, &compact));
    let events = topic(&client, "events", 1, &[]);
    let mut sink = Sink::open(&client, &unique("watch"), Box::new(|| false)).unwrap();
    let held = |vm: &str, ensemble: &str| Out {
        topic: assignments.clone(),
        key: vm.into(),
        value: Some(format!(r#"{{"v":1,"vm":"{vm}","ensemble":"{ensemble}"}}"#).into()),
    };
    let pair = Out {
        topic: dependencies.clone(),
        key: r#"["h/a","h/b"]"#.into(),
        value: Some(r#"{"v":1,"a":"h/a","b":"h/b","strength":0.9}"#.into()),
    };
    let before =
        [held("h/a", "e1"), held("h/b", "e1"), held("h/c", "e2"), pair, joined(&events, "h/a", "e1")];
    sink.commit(&before, NOWHERE).unwrap();
    let watch = |more: &[&str]| {
        let set = [("assignments", &assignments), ("dependencies", &dependencies), ("events", &events)];
        let child = Command::new(env!("CARGO_BIN_EXE_lwt"))
            .args(["watch", "--brokers", broker.address("PLAINTEXT")])
            .args(set.map(|(name, topic)| format!("--set=topics.{name}={topic}")))
            .args(more)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (Watch(child), lines.map(Result::unwrap))
    };
    let (_one, mut lines) = watch(&["--snapshot", "--vm", "a"]);
    assert_eq!(lines.next().unwrap(), "h/a is in e1");
    assert_eq!(lines.next().unwrap(), "h/a and h/b depend on each other, strength 0.900");
    let (_two, mut old) = watch(&["--since", "2020-01-01T00:00:00Z", "--ensemble", "e1", "--format", "json"]);
    assert!(old.next().unwrap().contains(r#""vm":"h/a""#));
    sink.commit(&[joined(&events, "h/c", "e1"), joined(&events, "h/a", "e3")], NOWHERE).unwrap();
    assert_eq!(lines.next().unwrap(), "2026-11-23T08:00:00Z h/a joined e3");
    assert!(old.next().unwrap().contains(r#""vm":"h/c""#));
}
