//! What a Prometheus, or whoever stands before it, may say instead of an answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{http, serve};
use crate::common::lwt;

const MATRIX: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"domain":"web","instance":"h"},
    "values":[[TIME,"1"],[LATER,"1.5"],[LAST,"2"]]}]},"warnings":["no answer from dc2"]}"#;

/// The last ten minutes of whom `url` names: messages, and what was said.
fn ask(url: &str, more: &[&str]) -> (String, String) {
    let args = ["collect", "--source", "prometheus", "--url", url, "--history", "10m", "--dry-run"];
    let done = lwt(&[&args[..], more].concat());
    (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
}

/// The readings that the end of a request's time makes right.
fn matrix(head: &str) -> String {
    let time = head.split("time=").nth(1).and_then(|rest| rest.split(['.', '&', ' ']).next());
    let end: i64 = time.unwrap().parse().unwrap();
    let at = |ago: i64| (end / 10 * 10 - ago).to_string();
    http("200 OK", &MATRIX.replace("TIME", &at(20)).replace("LATER", &at(10)).replace("LAST", &at(0)))
}

#[test]
fn what_is_wrong_is_said() {
    let error = |what: &str| format!(r#"{{"status":"error","errorType":"bad_data","error":{what:?}}}"#);
    for (answer, want) in [
        (http("400 Bad Request", &error("1:5: parse error")), "answers 400: 1:5: parse error"),
        (http("401 Unauthorized", "who are you?"), "answers 401: who are you?"),
        (
            http("302 Found\r\nLocation: https://elsewhere/", ""),
            "answers 302: it has moved to https://elsewhere/",
        ),
        (http("200 OK", "<html>please log in</html>"), "not an answer of Prometheus: expected value"),
        (http("200 OK", &error("no")), ": no"),
        (http("500 Internal Server Error", &error("on fire")), "given up: http://"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\"".into(), "no answer from http://"),
        ("nonsense\r\n\r\n".into(), "no answer from http://"),
        (http("200 OK", &" ".repeat((16 << 20) + 1)), "more than 16 MiB for a minute"),
        (http("200 OK", r#"{"status":"success","data":{"result":[]}}"#), "has no two readings of any series"),
    ] {
        let (messages, said) = ask(&format!("http://{}", serve(move |_| answer.clone())), &[]);
        assert!(messages.is_empty() && said.contains(want), "{want}: {said}");
    }
}

#[test]
fn who_has_too_much_is_asked_for_less_and_warnings_are_said() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let url = serve(|head| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        // 10m is too much, 5m is not.
        let long = head.contains("%5B600000ms%5D");
        let body = r#"{"status":"error","error":"query processing would load too many samples into memory"}"#;
        if long { http("422 Unprocessable Entity", body) } else { matrix(head) }
    });
    let (messages, said) = ask(&format!("http://{url}"), &[]);
    assert_eq!(ASKED.load(Ordering::Relaxed), 3, "{said}");
    assert!(said.contains("no answer from dc2") && said.contains("1 pauses longer than 30 s"), "{said}");
    assert_eq!(messages.matches("\"name\":\"web\",\"cpu_ppm\":50000").count(), 4, "{messages}");
}

#[test]
fn who_asks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "open sesame\r\n").unwrap();
    let (token, password) = (
        format!("prometheus.token_file={}", file.display()),
        format!("prometheus.password_file={}", file.display()),
    );
    for (set, want) in [
        (vec![&*token], "authorization: bearer open sesame\r\n"),
        (vec![&*password, "prometheus.user=lwt"], "authorization: basic bHd0Om9wZW4gc2VzYW1l\r\n"),
    ] {
        let url = serve(move |head| {
            let lower = head.split_once("uthorization: ").map_or(String::new(), |(_, rest)| {
                let (kind, secret) = rest.split_once(' ').unwrap();
                format!("authorization: {} {secret}", kind.to_lowercase())
            });
            if lower.contains(want) { matrix(head) } else { http("401 Unauthorized", head) }
        });
        let more: Vec<&str> = set.iter().flat_map(|pair| ["--set", pair]).collect();
        let (messages, said) = ask(&format!("http://{url}"), &more);
        assert!(messages.contains("\"name\":\"web\"") && !said.contains("sesame"), "{said}");
    }
    let both = ["--set", &token, "--set", &password, "--set", "prometheus.user=a"];
    let (_, said) = ask("http://127.0.0.1:9", &both);
    assert!(said.contains("either a user or prometheus.token_file"), "{said}");
    let (_, said) = ask("http://me:secret@127.0.0.1:9", &[]);
    assert!(said.contains("write http://host:port") && !said.contains("secret"), "{said}");
}
