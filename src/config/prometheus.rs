//! The keys of a collector that reads from Prometheus.

use super::value::{self, Reader, or};
use super::{Key, RawConfig, Wrong, key};
use crate::collect::series::query::{Query, Unit, list, templates};
use crate::transport::prometheus::{Login, Settings};

/// Its keys.
pub(super) const KEYS: [Key; 11] = [
    key("prometheus.url", "http://127.0.0.1:9090", "where Prometheus is, or whatever speaks its HTTP API"),
    key(
        "prometheus.query",
        "libvirt",
        "counters of CPU time: cadvisor, kubernetes, libvirt or node; or a selector of your own: vm_cpu_seconds_total{dc=\"a\"}",
    ),
    key(
        "prometheus.vm",
        "auto",
        "the label with a VM's name, or several with commas, joined by dots; auto is the template's",
    ),
    key("prometheus.id", "auto", "the label with a VM's UUID, or none"),
    key("prometheus.host", "auto", "the label with a VM's host, or none; auto is instance"),
    key(
        "prometheus.sum",
        "auto",
        "labels in which the parts of one VM differ, such as cpu,mode: they are added; or none",
    ),
    key("prometheus.unit", "s", "what the counters count: s or ns of CPU time"),
    key("prometheus.token_file", "none", "the file with the bearer token"),
    key("prometheus.user", "none", "the user's name, with prometheus.password_file"),
    key("prometheus.password_file", "none", "the file with the password"),
    key("prometheus.ca_file", "none", "certificates to trust instead of the system's, PEM"),
];

/// What is read from where.
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// Where.
    pub settings: Settings,
    /// What.
    pub query: Query,
}

impl Prometheus {
    pub(super) fn read(read: &mut Reader<'_>) -> Prometheus {
        let mut query = read.get("prometheus.query", query);
        let labels = |text: &str| or("auto", text, |text| Ok(list(if text == "none" { "" } else { text })));
        let label = |text: &str| {
            or("auto", text, |text| Ok(if text == "none" { String::new() } else { text.into() }))
        };
        set(&mut query.vm, read.get("prometheus.vm", labels));
        set(&mut query.id, read.get("prometheus.id", label));
        set(&mut query.host, read.get("prometheus.host", label));
        set(&mut query.sum, read.get("prometheus.sum", labels));
        query.unit = read.get("prometheus.unit", unit);
        let (token, user) =
            (read.get("prometheus.token_file", value::file), read.get("prometheus.user", user));
        let login = match (token, user, read.get("prometheus.password_file", value::file)) {
            (Some(token), ..) => Login::Token(token),
            (None, Some(user), Some(password)) => Login::Password(user, password),
            _ => Login::None,
        };
        let (url, ca_file) = (read.get("prometheus.url", url), read.get("prometheus.ca_file", value::file));
        Prometheus { settings: Settings { url, login, ca_file }, query }
    }
}

fn set<T>(to: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *to = said;
    }
}

/// What does not fit together.
pub(super) fn check(query: &Query, raw: &RawConfig) -> Vec<Wrong> {
    let said = |name: &'static str| raw.typed(name).0 != "none";
    let wrong = |name, what: &str| Wrong { place: raw.typed(name).1, what: format!("{name}: {what}") };
    let (user, password) = (said("prometheus.user"), said("prometheus.password_file"));
    let mut all = vec![];
    if query.vm.is_empty() {
        all.push(wrong("prometheus.query", "say with prometheus.vm which label of it is the VM's name"));
    }
    if user != password {
        all.push(wrong("prometheus.user", "a user needs prometheus.password_file, and a password a user"));
    }
    if user && said("prometheus.token_file") {
        all.push(wrong("prometheus.user", "either a user or prometheus.token_file"));
    }
    all
}

/// The name of a template, or a selector; a function or an operator cannot be asked for what was scraped.
fn query(text: &str) -> Result<Query, String> {
    let known = templates().contains(&text);
    let text = text.trim();
    let selector =
        text.ends_with('}') || text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
    if known || (selector && !text.is_empty()) {
        return Ok(Query::new(text));
    }
    Err(format!(
        "`{text}` is no selector such as vm_cpu_seconds_total{{dc=\"a\"}}, and none of {}",
        templates().join(", ")
    ))
}

fn unit(text: &str) -> Result<Unit, String> {
    match text {
        "s" => Ok(Unit::Seconds),
        "ns" => Ok(Unit::Nanoseconds),
        _ => Err(format!("`{text}` is neither s nor ns")),
    }
}

fn user(text: &str) -> Result<Option<String>, String> {
    // A colon ends the name where it is sent.
    let right = |text: &str| !text.is_empty() && !text.contains(':');
    or("none", text, |text| {
        right(text).then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is no name"))
    })
}

/// Without a user in it, who would be shown.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let right = |rest: &&str| {
        !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || "@?#".contains(c))
    };
    let wrong =
        || "write http://host:port or https://host/path; who asks is said with prometheus.user".to_owned();
    rest.filter(right).map(|_| text.to_owned()).ok_or_else(wrong)
}
