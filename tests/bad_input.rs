//! Bad input is data: whatever stands between the good rows of a trace is refused, counted by reason and
//! kept, and the good rows give the same result as without it. End to end, with real files and pipes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

/// The most memory that any of these may take: well under the 100 MB and more that they read.
const MAX_RSS_KB: u64 = 64 << 10;

fn lwt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lwt"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// 6 VMs for 6 minutes.
fn simulated(format: &str) -> String {
    let output =
        lwt(&["simulate", "--vms", "6", "--seconds", "360", "--seed", "5", "--format", format]).output();
    text(&output.unwrap().stdout)
}

const ANALYZE: [&str; 2] = ["analyze", "-"];

/// What a thread writes while the program reads.
fn feed(mut input: ChildStdin, bytes: Vec<u8>) {
    // It may end before it has read everything.
    std::thread::spawn(move || drop(input.write_all(&bytes)));
}

fn analyze(bytes: &[u8], more: &[&str]) -> Output {
    let mut child = lwt(&[&ANALYZE[..], more].concat()).spawn().unwrap();
    feed(child.stdin.take().unwrap(), bytes.to_vec());
    child.wait_with_output().unwrap()
}

/// The table of a trace in which everything is good.
fn good(bytes: &[u8]) -> String {
    let output = analyze(bytes, &[]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("2 windows of 5m") && !out.contains("refused"), "{out}");
    out
}

/// `bytes` give the table `good`; `refused` is said, and in the dead letters.
fn check(bytes: &[u8], good: &str, refused: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (trace, dead) = (folder.path().join("trace"), folder.path().join("dead"));
    fs::write(&trace, bytes).unwrap();
    let mut args = ANALYZE.to_vec();
    args.pop();
    let (trace, dead_arg) = (trace.to_str().unwrap(), dead.to_str().unwrap());
    args.extend([trace, "--dead-letter", dead_arg]);
    let output = lwt(&args).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{refused}: {out}");
    let want = if refused.is_empty() { good.to_string() } else { format!("{good}refused: {refused}\n") };
    assert_eq!(out, want);
    check_dead_letters(&dead, trace, refused);
}

/// One line of JSON for each, with its reason and where it came from.
fn check_dead_letters(dead: &Path, trace: &str, refused: &str) {
    let letters = fs::read_to_string(dead).unwrap();
    let mut counted = std::collections::BTreeMap::<String, u64>::new();
    for line in letters.lines() {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        *counted.entry(letter["reason"].as_str().unwrap().to_string()).or_default() += 1;
        assert!(line.contains(trace) || line.contains("VM "), "{line}");
    }
    let mut said: Vec<&str> = refused.split(", ").filter(|count| !count.is_empty()).collect();
    said.sort_by_key(|count| count.split(' ').next_back());
    let counted: Vec<String> = counted.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    assert_eq!(counted, said, "{letters}");
}

/// `trace` with `line` behind its `after`-th line.
fn insert(trace: &str, after: usize, line: &[u8]) -> Vec<u8> {
    let at: usize = trace.split_inclusive('\n').take(after).map(str::len).sum();
    [&trace.as_bytes()[..at], line, b"\n", &trace.as_bytes()[at..]].concat()
}

#[test]
fn bad_rows_of_a_long_trace() {
    let trace = simulated("long");
    let good = good(trace.as_bytes());
    let row = trace.lines().nth(600).unwrap();
    let (t, old) = (row.split(',').next().unwrap(), trace.lines().nth(300).unwrap());
    let with = |vm: &str, cpu: &str| format!("{t},h0000,{vm},{cpu}").into_bytes();
    let rows: [(Vec<u8>, &str); 16] = [
        (with("ghost", "NaN"), "1 not_a_number"),
        (with("ghost", "inf"), "1 not_a_number"),
        (with("ghost", "-Infinity"), "1 not_a_number"),
        (with("ghost", "12%"), "1 not_a_number"),
        (with("ghost", "-3"), "1 negative"),
        (with("ghost", "1e30"), "1 implausible"),
        (with("", "3"), "1 bad_name"),
        (with(&"x".repeat(256), "3"), "1 bad_name"),
        (b"yesterday,h0000,ghost,3".to_vec(), "1 bad_time"),
        (b"-5,h0000,ghost,3".to_vec(), "1 bad_time"),
        (t.as_bytes().to_vec(), "1 malformed"),
        (b"\xff\xfe\x00\x01,\x80,\x90,\x91".to_vec(), "1 bad_time"),
        (with("ghost", &"3".repeat(5000)), "1 too_long"),
        (row.as_bytes().to_vec(), "1 duplicate"),
        (old.as_bytes().to_vec(), "1 out_of_order"),
        (with("ghost", ""), "1 not_a_number"),
    ];
    for (line, refused) in &rows {
        check(&insert(&trace, 600 + 1, line), &good, refused);
    }
}

/// A clock that leaps for one row, forward or back, moves nothing.
#[test]
fn leaps_of_the_clock() {
    let trace = simulated("long");
    let good = good(trace.as_bytes());
    check(&insert(&trace, 600, b"2000000000,h0000,ghost,3"), &good, "1 bad_time");
    check(&insert(&trace, 600, b"1000000000,h0000,shop0-web,3"), &good, "1 out_of_order");
}

#[test]
fn bad_rows_of_a_wide_trace() {
    let trace = simulated("wide");
    let good = good(trace.as_bytes());
    let row = trace.lines().nth(100).unwrap();
    check(&insert(&trace, 101, row.as_bytes()), &good, "6 duplicate");
    check(&insert(&trace, 101, &row.as_bytes()[..10]), &good, "1 malformed");
    // A column more that has nothing to say.
    let with = |names: &str, cells: &str| -> String {
        let more = |line: &str| if line.starts_with('t') { names.to_string() } else { cells.to_string() };
        trace.lines().map(|line| line.to_string() + &more(line) + "\n").collect()
    };
    // An empty cell is a VM that was not there.
    check(with(",ghost", ",").as_bytes(), &good, "");
    check(with(",ghost", ",x").as_bytes(), &good, "360 not_a_number");
    check(with(",ghost", ",-1").as_bytes(), &good, "360 negative");
    // Of two columns of one name nobody knows which is which: neither counts.
    check(with(",twin,twin", ",3,4").as_bytes(), &good, "2 ambiguous");
}

#[test]
fn bad_messages() {
    let trace = simulated("ndjson");
    let good = good(trace.as_bytes());
    let message = trace.lines().nth(100).unwrap();
    let rows = [
        (message.replacen("\"v\":1", "\"v\":2", 1), "1 unknown_version"),
        (message[..message.len() / 2].to_string(), "1 malformed"),
        (message.replacen("\"host\":\"h0000\"", "\"host\":\"\"", 1), "1 bad_name"),
        (message.to_string(), "6 duplicate"),
        ("[1,2,3]".to_string(), "1 malformed"),
        (" ".repeat(1 << 20) + "{}", "1 too_long"),
    ];
    for (line, refused) in &rows {
        check(&insert(&trace, 101, line.as_bytes()), &good, refused);
    }
}

/// Two hosts that report the same VM in the same second: it migrated, and what it used is the sum.
#[test]
fn two_hosts_that_report_one_vm() {
    let message = |host: &str, t: usize, cpu: usize| {
        let vms: Vec<String> = (0..4)
            .map(|vm| {
                format!("{{\"id\":\"u{vm}\",\"name\":\"n\",\"cpu_ppm\":{}}}", cpu * (1 + (t * (vm + 3)) % 7))
            })
            .collect();
        let t_ms = 1_700_000_000_000 + 1000 * t;
        format!(
            "{{\"v\":1,\"host\":\"{host}\",\"t_ms\":{t_ms},\"period_ms\":1000,\"vms\":[{}]}}\n",
            vms.join(",")
        )
    };
    let one: String = (1..=360).map(|t| message("h1", t, 3000)).collect();
    let two: String = (1..=360).map(|t| message("h1", t, 1000) + &message("h2", t, 2000)).collect();
    let (one, two) = (analyze(one.as_bytes(), &[]), analyze(two.as_bytes(), &[]));
    let rest = |output: &Output| text(&output.stdout).lines().skip(1).map(String::from).collect::<Vec<_>>();
    assert!(one.status.success() && two.status.success());
    assert!(rest(&one)[0].starts_with("4 VMs"), "{:?}", rest(&one));
    assert_eq!(rest(&one), rest(&two));
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// However it is wrapped, it is the same trace; also when its parts were packed one by one.
#[test]
fn wrappings() {
    let trace = simulated("long");
    let good = good(trace.as_bytes());
    let (a, b) = trace.as_bytes().split_at(trace.len() / 3);
    let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let wrapped: [(&str, Vec<u8>); 7] = [
        ("CRLF", trace.replace('\n', "\r\n").into_bytes()),
        ("BOM", format!("\u{feff}{trace}").into_bytes()),
        ("no last newline", trace.trim_end().as_bytes().to_vec()),
        ("gz", gz(trace.as_bytes())),
        ("gz, two members", [gz(a), gz(b)].concat()),
        ("zst", zst(trace.as_bytes())),
        ("zst, two frames", [zst(a), zst(b)].concat()),
    ];
    for (name, bytes) in &wrapped {
        check(bytes, &good, "");
        assert_eq!(text(&analyze(bytes, &[]).stdout), good, "{name}, from standard input");
    }
}

/// What came before the cut is analysed and printed; then the failure is said.
#[test]
fn a_trace_that_is_cut_off() {
    let trace = simulated("long");
    let one = format!("{}\n", trace.lines().take(1 + 6 * 330).collect::<Vec<_>>().join("\n"));
    let zst = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    // Of one gz member all is read that can be unpacked; of two frames the first.
    let packed = gz(trace.as_bytes());
    let mut read = vec![];
    let _ = flate2::read::GzDecoder::new(&packed[..packed.len() - 20]).read_to_end(&mut read);
    let end = read.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for (packed, read) in
        [(packed, &read[..end]), ([zst(&one), zst(&trace[one.len()..])].concat(), one.as_bytes())]
    {
        let output = analyze(&packed[..packed.len() - 20], &["--format", "json"]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("cannot read - behind line") && err.contains("damaged or cut off"), "{err}");
        let want = analyze(read, &["--format", "json"]);
        assert_eq!(text(&output.stdout), text(&want.stdout));
        // So early that there is no window: the failure is said all the same.
        let output = analyze(&packed[..packed.len() / 2], &[]);
        let err = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("lwt: cannot read"), "{err}");
    }
}

#[test]
fn nothing_to_analyse() {
    let garbage: Vec<u8> =
        (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    let rows: [(&[u8], &str); 5] = [
        (b"", "nothing in it"),
        (b"\n\n# only a comment\n", "not a trace"),
        (&garbage, "not a trace"),
        (b"t,web,db\n", "no sample in the recording"),
        (b"t,web,db\nx,1,2\n", "no sample in the recording"),
    ];
    for (bytes, want) in rows {
        let output = analyze(bytes, &[]);
        let err = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(want) && !err.contains("panicked"), "{want}: {err}");
    }
}

/// The most memory that `child` has had, in kB; `None` when it has ended.
fn peak_kb(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Waits for the end of `child`, which reads what comes; gives its peak of memory on the way.
fn watch(child: &Child) -> u64 {
    let mut peak = 0;
    while let Some(kb) = peak_kb(child) {
        peak = kb;
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

/// A line of 100 MB is skipped in little memory.
#[test]
fn a_line_of_100_megabytes() {
    let trace = simulated("long");
    let good = good(trace.as_bytes());
    let bytes = insert(&trace, 601, &vec![b'x'; 100 << 20]);
    let mut child = lwt(&ANALYZE).spawn().unwrap();
    feed(child.stdin.take().unwrap(), bytes);
    let peak_kb = watch(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), good + "refused: 1 too_long (--dead-letter FILE keeps them)\n");
    assert!((1..MAX_RSS_KB).contains(&peak_kb), "{peak_kb} kB");
}

/// However long a trace is, memory stays small: 5 million rows of some 35 bytes, through a pipe.
#[test]
fn a_long_trace() {
    let simulate = ["simulate", "--vms", "50", "--seconds", "100000", "--format", "long"];
    let mut from = lwt(&simulate).spawn().unwrap();
    let child = lwt(&["analyze", "--hop", "5m", "-"]).stdin(from.stdout.take().unwrap()).spawn().unwrap();
    let (simulate_kb, analyze_kb) = std::thread::scope(|scope| {
        let simulate = scope.spawn(|| watch(&from));
        (watch(&child), simulate.join().unwrap())
    });
    let output = child.wait_with_output().unwrap();
    assert!(from.wait().unwrap().success() && output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.starts_with("333 windows of 5m, each 5m on; 5000000 samples"), "{out}");
    let bounds = 1..MAX_RSS_KB;
    assert!(bounds.contains(&simulate_kb) && bounds.contains(&analyze_kb), "{simulate_kb} {analyze_kb} kB");
}
