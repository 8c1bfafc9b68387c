//! A real Prometheus that scrapes real exporters: what is collected is what is read from its counters by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lwt::collect::cgroup::{find_root, usage_ns};

mod server;
mod stand_in;

use crate::cgroup::Tree;
use crate::{cores, end, samples, start};
use server::{Prometheus, free, http, serve};

/// Each VM's samples by their ends in ms.
type Samples = BTreeMap<String, BTreeMap<u64, u64>>;

/// What an exporter of cAdvisor's kind says about the groups of a folder: each CPU by itself where the kernel says so.
fn exposition(folder: &Path) -> String {
    let mut page = "# TYPE container_cpu_usage_seconds_total counter\n".to_owned();
    for group in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let (name, read) = (group.file_name(), |file: &str| fs::read_to_string(group.path().join(file)));
        let cpus: Vec<f64> = match (read("cpuacct.usage_percpu"), read("cpu.stat")) {
            (Ok(text), _) => text.split_whitespace().map(|ns| ns.parse().unwrap()).collect(),
            (_, Ok(text)) => vec![usage_ns(text.as_bytes()).unwrap() as f64],
            _ => continue,
        };
        for (cpu, ns) in cpus.iter().enumerate() {
            let labels = format!("cpu=\"cpu{cpu:02}\",name={name:?},id=\"/lwt/{}\"", name.display());
            page.push_str(&format!("container_cpu_usage_seconds_total{{{labels}}} {}\n", ns / 1e9));
        }
    }
    http("200 OK\r\nContent-Type: text/plain", &page)
}

/// By hand: the sum of the series at each time, and between two times a straight line.
fn by_hand(raw: Vec<(serde_json::Value, Vec<(i64, f64)>)>) -> BTreeMap<u64, f64> {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    raw.iter().flat_map(|(_, values)| values).for_each(|(t_ms, s)| *sums.entry(*t_ms).or_default() += s);
    let at = |t_ms: i64| {
        let (before, after) = (sums.range(..=t_ms).next_back()?, sums.range(t_ms..).next()?);
        let share =
            if after.0 == before.0 { 0.0 } else { (t_ms - before.0) as f64 / (after.0 - before.0) as f64 };
        (after.0 - before.0 <= 3000).then_some(before.1 + share * (after.1 - before.1))
    };
    let first = sums.first_key_value().map_or(0, |(t_ms, _)| *t_ms);
    let last = sums.last_key_value().map_or(0, |(t_ms, _)| *t_ms);
    let ends = (first / 1000 + 1..=last / 1000).map(|s| s * 1000);
    ends.filter_map(|end| Some((end as u64, at(end)? - at(end - 1000)?))).collect()
}

/// All samples are as by hand, and there are enough of them.
fn check(samples: &BTreeMap<u64, u64>, hand: &BTreeMap<u64, f64>, least: usize) {
    assert!(samples.len() >= least, "{samples:?} by hand {hand:?}");
    for (t_ms, ppm) in samples {
        let want = hand.get(t_ms).unwrap_or_else(|| panic!("nothing at {t_ms}: {hand:?}"));
        assert!((*ppm as f64 / 1e6 - want).abs() < 3e-6, "{t_ms}: {ppm}, by hand {want}");
    }
}

/// The CPU seconds that this machine used.
fn used_s() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let ticks: Vec<f64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    [0, 1, 2, 5, 6].into_iter().map(|at| ticks[at]).sum::<f64>() / 100.0
}

/// What was collected with some arguments of `lwt collect`.
fn history(url: &str, query: &str) -> Samples {
    let args = ["--source", "prometheus", "--url", url, "--query", query, "--history", "40s", "--dry-run"];
    let done = crate::common::lwt_ok(&[&["collect"], &args[..]].concat());
    samples(&done.lines().map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn what_is_scraped_is_what_the_counters_say() {
    let Ok(root) = find_root() else { return };
    let Some(mut tree) = Tree::new(&root) else { return };
    tree.run("busy", "while :; do :; done");
    tree.run("idle", "while :; do sleep 0.05; done");
    let folder: PathBuf = tree.group("goes").parent().unwrap().into();
    let (node, exporter) = (free(), serve(move |_| exposition(&folder)));
    let args = [format!("--web.listen-address={node}")];
    let Some(_node) = server::start("prometheus-node-exporter", &args) else { return };
    let jobs = |_: &str| {
        format!("  - {{ job_name: a, static_configs: [{{ targets: [{exporter:?}, {node:?}] }}] }}\n")
    };
    let Some(prometheus) = Prometheus::start(jobs, None) else { return };
    let url = format!("http://{}/", prometheus.address);
    for (selector, least) in [("container_cpu_usage_seconds_total", 5), ("node_cpu_seconds_total", 10)] {
        let is_there =
            || prometheus.raw(selector).iter().map(|(_, values)| values.len()).sum::<usize>() > 3 * least;
        (0..300).take_while(|_| !is_there()).for_each(|_| std::thread::sleep(Duration::from_millis(200)));
    }
    let before_s = used_s();
    let args = ["--source", "prometheus", "--url", &url, "--query", "cadvisor", "--dry-run"];
    let live = start(&args, &[]);
    let pattern = tree.pattern();
    let groups = start(
        &["--source", "cgroup", "--groups", &pattern, "--host", "h", "--period", "1s", "--dry-run"],
        &[],
    );
    std::thread::sleep(Duration::from_secs(5));
    tree.remove("goes");
    tree.group("comes");
    std::thread::sleep(Duration::from_secs(10));
    let ((live, said), (groups, _)) = (end(live), end(groups));
    let used = (used_s() - before_s) / 15.0;
    let (live, groups, past) = (samples(&live), samples(&groups), history(&url, "cadvisor"));
    for (name, least) in [("busy", 10), ("idle", 10), ("goes", 1), ("comes", 6)] {
        let vm = format!("{exporter}/{name}");
        let hand = by_hand(prometheus.raw(&format!("container_cpu_usage_seconds_total{{name={name:?}}}")));
        check(live.get(&vm).unwrap_or_else(|| panic!("no {vm}: {live:?} {said}")), &hand, least);
        check(&past[&vm], &hand, least);
        // The kernel's own counters, read once a second by another collector.
        let (scraped, read) = (cores(&past[&vm]), cores(&groups[&format!("h/{name}")]));
        assert!((scraped - read).abs() < 0.15 * read + 0.01, "{name}: {scraped} {read}");
    }
    let machine = &history(&url, "node")[&format!("{node}/{node}")];
    check(machine, &by_hand(prometheus.raw("node_cpu_seconds_total{mode!~\"idle|iowait|steal\"}")), 10);
    assert!((cores(machine) - used).abs() < 0.2 * used + 0.05, "{} {used}", cores(machine));
}

/// A certificate for 127.0.0.1, and a password.
fn web(folder: &Path) -> String {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    assert!(made.unwrap().status.success());
    // bcrypt of `open sesame`.
    let hash = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";
    format!(
        "tls_server_config: {{ cert_file: cert.pem, key_file: key.pem }}\nbasic_auth_users: {{ lwt: {hash:?} }}\n"
    )
}

#[test]
fn a_prometheus_behind_tls_and_a_password() {
    let jobs = |own: &str| {
        format!(
            "  - {{ job_name: itself, scheme: https, tls_config: {{ insecure_skip_verify: true }}, \
             basic_auth: {{ username: lwt, password: open sesame }}, static_configs: [{{ targets: [{own:?}] }}] }}\n"
        )
    };
    let Some(prometheus) = Prometheus::start(jobs, Some(&web)) else { return };
    let (right, wrong) = (prometheus.folder.join("right"), prometheus.folder.join("wrong"));
    fs::write(&right, "open sesame\n").unwrap();
    fs::write(&wrong, "open barley").unwrap();
    let url = format!("https://{}", prometheus.address);
    let ca = format!("prometheus.ca_file={}", prometheus.folder.join("cert.pem").display());
    let ask = |password: &Path, ca: &str| {
        let password = format!("prometheus.password_file={}", password.display());
        let own = [
            "collect",
            "--source",
            "prometheus",
            "--url",
            &url,
            "--query",
            "process_cpu_seconds_total{job!=\"\"}",
        ];
        let set =
            ["--set", "prometheus.vm=job", "--set", "prometheus.user=lwt", "--set", &password, "--set", ca];
        let done = crate::common::lwt(&[&own[..], &set, &["--history", "1m", "--dry-run"]].concat());
        (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let (mut messages, mut said) = ask(&right, &ca);
    for _ in 0..30 {
        std::thread::sleep(Duration::from_secs(1));
        if !messages.is_empty() {
            break;
        }
        (messages, said) = ask(&right, &ca);
    }
    let all = samples(&messages.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(all.keys().collect::<Vec<_>>(), [&format!("{}/itself", prometheus.address)], "{said}");
    for (password, ca, want) in [
        (&wrong, &*ca, "answers 401: Unauthorized"),
        (&right, "prometheus.ca_file=none", "certificate verify failed"),
        (&prometheus.folder.join("none"), &ca, "cannot read"),
        (&right, "prometheus.ca_file=/proc/version", "no certificates (PEM) in it"),
    ] {
        let (messages, said) = ask(password, ca);
        assert!(messages.is_empty() && said.contains(want) && !said.contains("open "), "{want}: {said}");
    }
}
