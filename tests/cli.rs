//! The command line as a user meets it: each `.trycmd` file is a session, recorded with what was printed
//! and the exit code. `TRYCMD=overwrite cargo test --test cli` records them anew.
#![allow(clippy::unwrap_used, reason = "a test may")]

/// What lwt prints, when all goes well.
fn lwt(args: &[&str]) -> Vec<u8> {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_lwt")).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

#[test]
fn sessions() {
    trycmd::TestCases::new()
        // Help is as wide as the terminal, or as this says.
        .env("COLUMNS", "100")
        .case("tests/cli/*.trycmd");
}

/// Its text is clap's, so it is not recorded; that it is a script with our commands in it is.
#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(lwt(&["completions", shell])).unwrap();
        assert!(script.contains("analyze") && script.contains("dead-letter"), "{shell}: {script}");
    }
}

/// Every command has a page, with its examples.
#[test]
fn manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    lwt(&["man", pages.to_str().unwrap()]);
    for command in ["analyze", "run", "perturb-plan", "topics-create", "decide", "decide-confirm", "man"] {
        let page = std::fs::read_to_string(pages.join(format!("lwt-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Example"), "{command}: {page}");
    }
    assert!(pages.join("lwt.1").exists() && !pages.join("lwt-perturb-keeper.1").exists());
}

/// The keys with their defaults are a pipeline file.
#[test]
fn keys() {
    let done =
        std::process::Command::new(env!("CARGO_BIN_EXE_lwt")).args(["check", "--keys"]).output().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, done.stdout).unwrap();
    let checked =
        std::process::Command::new(env!("CARGO_BIN_EXE_lwt")).arg("check").arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The pipeline files that we ship: a file a topic, each of JSON lines.
#[test]
fn replay() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    lwt(&["simulate", "--vms", "9", "--seconds", "420", "--output", trace.to_str().unwrap()]);
    for pipeline in ["replay", "kmeans"] {
        let file = format!("{}/pipelines/{pipeline}.toml", env!("CARGO_MANIFEST_DIR"));
        let out = folder.path().join(pipeline);
        let (source, sink) =
            (format!("source.path={}", trace.display()), format!("sink.path={}", out.display()));
        lwt(&["run", &file, "--set", &source, "--set", &sink]);
        for topic in ["assignments", "dependencies", "events", "deadletter"] {
            let text = std::fs::read_to_string(out.join(format!("lwt.{topic}.ndjson"))).unwrap();
            assert_eq!(text.is_empty(), topic == "deadletter", "{pipeline}: {topic}");
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

/// The graph as a picture: the same bytes with any number of workers.
#[test]
fn pictures() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    let trace = trace.to_str().unwrap();
    lwt(&["simulate", "--vms", "16", "--seconds", "480", "--seed", "5", "--output", trace]);
    for (format, begins) in [("svg", &b"<svg xmlns="[..]), ("png", b"\x89PNG\r\n")] {
        let picture = lwt(&["analyze", trace, "--format", format]);
        assert!(picture.starts_with(begins), "{format}");
        assert_eq!(picture, lwt(&["analyze", trace, "--format", format, "--workers", "4"]), "{format}");
    }
}

/// What people decided stands above what is found: the same bytes with any number of workers, in every window.
#[test]
fn decisions() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.csv");
    let trace = trace.to_str().unwrap();
    lwt(&["simulate", "--vms", "16", "--seconds", "480", "--seed", "5", "--output", trace]);
    let decided = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/decisions.in/decisions.ndjson");
    for engine in ["coupling", "kmeans"] {
        let analyze = [
            "analyze",
            trace,
            "--engine",
            engine,
            "--decisions",
            decided,
            "--format",
            "json",
            "--each-window",
        ];
        let one = lwt(&analyze);
        assert_eq!(one, lwt(&[&analyze[..], &["--workers", "4"]].concat()), "{engine}");
        let one = String::from_utf8(one).unwrap();
        for line in one.lines() {
            let state: serde_json::Value = serde_json::from_str(line).unwrap();
            let pairs = state["dependencies"].as_array().unwrap();
            let held = |a: &str, b: &str| pairs.iter().find(|pair| pair["a"] == a && pair["b"] == b);
            assert!(held("h0000/shop0-db", "h0000/shop0-web").is_none(), "{engine}: rejected");
            let confirmed = held("h0000/hadoop3-master", "h0000/hadoop3-n1").unwrap();
            assert_eq!(confirmed["decided"], "confirmed", "{engine}");
            let vms = state["assignments"].as_array().unwrap();
            let ignored = vms.iter().find(|vm| vm["vm"] == "h0000/auction1-cache").unwrap();
            assert!(ignored["decided"] == "ignored" && ignored["ensemble"].is_null(), "{engine}");
        }
    }
}

/// The report: one file, the same bytes with any number of workers, and nothing is fetched.
#[test]
fn report() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (trace, truth) = (file("trace.csv"), file("truth.csv"));
    let size = ["--vms", "16", "--seconds", "480", "--seed", "5"];
    lwt(&[&["simulate", "--truth", &truth, "--output", &trace][..], &size].concat());
    let report = |name: &str, more: &[&str]| {
        let path = file(name);
        let said = lwt(&[&["analyze", &trace, "--truth", &truth, "--report", &path][..], more].concat());
        assert_eq!(said, lwt(&[&["analyze", &trace, "--truth", &truth][..], more].concat()));
        std::fs::read_to_string(path).unwrap()
    };
    let html = report("one.html", &[]);
    assert_eq!(html, report("four.html", &["--workers", "4"]));
    for text in [
        "Content-Security-Policy",
        "CPU use of members of e1",
        "Correlation of 16 VMs",
        "engine.fdr",
        "Accuracy and F1",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script") && !html.contains("engine.clusters"));
    assert!(report("kmeans.html", &["--engine", "kmeans"]).contains("engine.clusters"));
}
