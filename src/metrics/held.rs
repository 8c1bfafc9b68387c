//! What holds, as metrics: for rules and panels of a Prometheus that scrapes it. As many series as there are dependencies.

use prometheus_client::metrics::family::Family;

use super::{List, Real, Registry, page};

/// The two VMs of a dependency.
type Pair = [(&'static str, String); 2];

/// The page of what holds, filled pair by pair.
pub struct Held {
    list: List,
    since: Family<Pair, Real>,
    strength: Family<Pair, Real>,
    confidence: Family<Pair, Real>,
}

impl Held {
    /// Of so many VMs in so many ensembles, of a window that ended then, Unix milliseconds.
    pub fn new(vms: usize, ensembles: usize, end_ms: Option<i64>) -> Self {
        let mut list = List(Registry::default());
        let count = |list: &mut List, name, help, n: usize| list.add::<Real>(name, help).set(n as f64);
        count(&mut list, "lwt_held_vms", "VMs that exist", vms);
        count(&mut list, "lwt_held_ensembles", "Ensembles of VMs that work together", ensembles);
        let end = Real::default();
        end.set(end_ms.map_or(f64::NAN, |ms| ms as f64 / 1e3));
        list.seconds(
            "lwt_held_window_end_timestamp",
            "Unix time of the end of the window that this is of",
            end,
        );
        let since = Family::default();
        list.seconds(
            "lwt_dependency_since_timestamp",
            "Unix time of the end of the window in which the dependency appeared",
            since.clone(),
        );
        let strength =
            list.add("lwt_dependency_strength", "Correlation of what the two VMs' models did not predict");
        let confidence = list.add("lwt_dependency_confidence", "1 - local false discovery rate");
        Held { list, since, strength, confidence }
    }

    /// Adds a dependency that has held since then, Unix milliseconds.
    pub fn add(&self, (a, b): (&str, &str), since_ms: i64, strength: Option<f64>, confidence: Option<f64>) {
        let pair = [("a", a.to_string()), ("b", b.to_string())];
        self.since.get_or_create(&pair).set(since_ms as f64 / 1e3);
        for (family, value) in [(&self.strength, strength), (&self.confidence, confidence)] {
            if let Some(value) = value {
                family.get_or_create(&pair).set(value);
            }
        }
    }

    /// The page, as OpenMetrics text.
    pub fn encode(&self) -> String {
        page(&self.list.0)
    }
}
