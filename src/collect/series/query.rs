//! What is asked of a monitoring system: which counters, and which of their labels say whose they are. Pure.

use super::Labels;
use crate::collect::number::{counter_ns, seconds_ns};
use crate::types::Reason;

/// Which series are counters of CPU time, and whose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// A PromQL selector, such as `vm_cpu_seconds_total{dc="a"}`.
    pub selector: String,
    /// The labels that make up a VM's name, joined by dots: all of them are needed.
    pub vm: Vec<String>,
    /// The label with its identity, where it has one of its own.
    pub id: String,
    /// The label with its host.
    pub host: String,
    /// Series that differ in these labels alone are parts of one VM, such as its CPUs: they are added.
    pub sum: Vec<String>,
    /// What the counters count.
    pub unit: Unit,
}

/// What a counter counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Seconds of CPU time.
    Seconds,
    /// Nanoseconds of CPU time.
    Nanoseconds,
}

/// The exporters that are known: name, selector, and the labels `vm`, `id` and `sum`. The host is the `instance`
/// that was scraped.
///
/// - cAdvisor by itself names containers, and counts each of their CPUs.
/// - In a kubelet a pod is the series without container and image; its containers are scraped at other times.
/// - The libvirt exporters (kumina's, inovex' and what came of them) call a domain `domain`; some add its `uuid`.
/// - The node exporter, running in the guests, tells what each CPU did. Guests' own guests are in `user`; stolen
///   time was not given.
const TEMPLATES: [(&str, &str, [&str; 3]); 4] = [
    ("cadvisor", "container_cpu_usage_seconds_total{name!=\"\"}", ["name", "", "cpu"]),
    (
        "kubernetes",
        "container_cpu_usage_seconds_total{pod!=\"\",container=\"\",image=\"\"}",
        ["namespace,pod", "", "cpu"],
    ),
    ("libvirt", "libvirt_domain_info_cpu_time_seconds_total", ["domain", "uuid", ""]),
    ("node", "node_cpu_seconds_total{mode!~\"idle|iowait|steal\"}", ["instance", "", "cpu,mode"]),
];

/// The names of the templates.
pub fn templates() -> [&'static str; 4] {
    TEMPLATES.map(|(name, ..)| name)
}

impl Query {
    /// The template called `name`, or a selector of somebody's own, which does not say who is the VM.
    pub fn new(name: &str) -> Query {
        let known = TEMPLATES.iter().find(|(known, ..)| *known == name);
        let (selector, [vm, id, sum]) = known.map_or((name, [""; 3]), |(_, query, labels)| (*query, *labels));
        Query {
            selector: selector.into(),
            vm: list(vm),
            id: id.into(),
            host: "instance".into(),
            sum: list(sum),
            unit: Unit::Seconds,
        }
    }

    /// A VM's name; none if a label of it is missing.
    pub fn name(&self, labels: &Labels) -> Option<String> {
        let parts: Option<Vec<&str>> = self.vm.iter().map(|label| text(labels, label)).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("."))
    }

    /// A VM's own identity.
    pub fn id<'a>(&self, labels: &'a Labels) -> Option<&'a str> {
        text(labels, &self.id)
    }

    /// A VM's host.
    pub fn host<'a>(&self, labels: &'a Labels) -> Option<&'a str> {
        text(labels, &self.host)
    }

    /// Which counter a series is, or is a part of.
    pub(super) fn counter(&self, labels: &Labels) -> String {
        let own = labels.iter().filter(|(label, _)| !self.sum.contains(label));
        own.map(|(label, value)| format!("{label}={value:?},")).collect()
    }
}

/// Labels with commas between them.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

/// An empty label is none, as in PromQL.
fn text<'a>(labels: &'a Labels, label: &str) -> Option<&'a str> {
    labels.get(label).map(String::as_str).filter(|value| !value.is_empty())
}

impl Unit {
    /// A counter's value as text, in nanoseconds.
    ///
    /// # Errors
    /// `NotANumber` (also `NaN`, infinity), `Negative`, `Implausible` from 10^19 on.
    pub fn read(self, text: &[u8]) -> Result<u64, Reason> {
        match self {
            Unit::Seconds => seconds_ns(text),
            Unit::Nanoseconds => counter_ns(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(said: &[(&str, &str)]) -> Labels {
        said.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect()
    }

    #[test]
    fn labels_say_whose_a_series_is() {
        let pod = labels(&[("namespace", "shop"), ("pod", "web-0"), ("cpu", "total"), ("instance", "n1")]);
        let query = Query::new("kubernetes");
        assert_eq!(query.name(&pod).as_deref(), Some("shop.web-0"));
        assert_eq!((query.host(&pod), query.id(&pod)), (Some("n1"), None));
        assert_eq!(query.counter(&pod), "instance=\"n1\",namespace=\"shop\",pod=\"web-0\",");
        assert_eq!(query.name(&labels(&[("namespace", "shop"), ("pod", "")])), None);
        assert_eq!(Query::new("up").name(&pod), None, "a selector does not say which label is the name");
        let domain = labels(&[("domain", "a"), ("uuid", "u")]);
        assert_eq!((Query::new("libvirt").id(&domain), Query::new("node").id(&domain)), (Some("u"), None));
    }

    #[test]
    fn seconds_and_nanoseconds() {
        assert_eq!(Unit::Seconds.read(b"1.2345678901e+06"), Ok(1_234_567_890_100_000));
        assert_eq!(Unit::Nanoseconds.read(b"9007199254740993"), Ok(9_007_199_254_740_993));
        for (text, reason) in
            [("NaN", Reason::NotANumber), ("+Inf", Reason::NotANumber), ("-1", Reason::Negative)]
        {
            assert_eq!(Unit::Seconds.read(text.as_bytes()), Err(reason), "{text}");
        }
        assert_eq!(Unit::Seconds.read(b"1e10"), Err(Reason::Implausible));
    }
}
