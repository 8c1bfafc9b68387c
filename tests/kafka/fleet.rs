//! Simulated hosts that send what their VMs use, as collectors do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lwt::simulate::{Params, Reading, Simulator};
use lwt::transport::kafka::trouble::Context;
use lwt::transport::wire::{self, CpuPpm, VmUse};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::common::kafka::Broker;
use crate::world::{client, now_ms};

/// How large, and how often it looks.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub vms: usize,
    pub period_ms: u32,
    pub partitions: usize,
    /// Every other host sends samples of so many periods each; with 1 all is as one host for 30 VMs sends it.
    pub grain: usize,
}

impl Fleet {
    /// Sends a message a host and second to `topic`, and something bad now and then, until `done`.
    pub fn send(
        self,
        broker: &'static Broker,
        topic: String,
        done: Arc<AtomicBool>,
    ) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            // As collectors do: a broker that is back is found within a second, not within ten.
            let own = [("linger.ms", "0"), ("reconnect.backoff.max.ms", "1000")];
            let producer: BaseProducer<Context> = client(broker).create(&own).unwrap();
            let start_ms = now_ms() / 1000 * 1000;
            let Fleet { vms, period_ms, partitions, grain } = self;
            let params = Params { vms, seed: 3, period_ms, start_ms, churn_per_hour: 30.0 };
            let mut simulator = Simulator::new(params).unwrap();
            if grain > 1 {
                simulator = simulator.on_hosts(4);
            }
            while !done.load(Ordering::Relaxed) {
                let (t_ms, hosts) = self.second(&mut simulator);
                while now_ms() < t_ms {
                    thread::sleep(Duration::from_millis(5));
                }
                for (i, (host, vms)) in hosts.into_iter().enumerate() {
                    let bytes = self.message(host, t_ms, vms);
                    let record = BaseRecord::<[u8], [u8]>::to(&topic).payload(&bytes);
                    producer.send(record.partition((i % partitions) as i32)).map_err(|(e, _)| e).unwrap();
                    if i == 0 && t_ms % 7000 == 0 {
                        let bad = BaseRecord::<[u8], [u8]>::to(&topic).payload(b"{\"v\":9}").partition(1);
                        producer.send(bad).map_err(|(e, _)| e).unwrap();
                    }
                }
                producer.poll(Duration::ZERO);
            }
            producer.flush(Duration::from_secs(30)).unwrap();
        })
    }

    /// What each host's VMs use in the next second, and when that ends.
    fn second(self, simulator: &mut Simulator) -> (i64, BTreeMap<String, BTreeMap<String, Vec<u64>>>) {
        let (mut hosts, mut t_ms) = (BTreeMap::<_, BTreeMap<_, Vec<u64>>>::new(), 0);
        let mut readings: Vec<Reading> = vec![];
        for _ in 0..1000 / self.period_ms {
            t_ms = simulator.tick(&mut readings);
            for reading in &readings {
                let sample = simulator.sample(*reading, t_ms);
                let vms = hosts.entry(sample.host.to_string()).or_default();
                vms.entry(sample.vm.to_string()).or_default().push(u64::from(sample.cpu_ppm[0]));
            }
        }
        (t_ms, hosts)
    }

    fn message(self, host: String, t_ms: i64, vms: BTreeMap<String, Vec<u64>>) -> Vec<u8> {
        // Those that came or went within the second are left out: a message has as much of each VM.
        let whole = vms.into_iter().filter(|(_, values)| values.len() as u32 == 1000 / self.period_ms);
        let grain = if host.ends_with(['1', '3']) { self.grain } else { 1 };
        let means = |values: &[u64]| {
            values.chunks(grain).map(|part| part.iter().sum::<u64>() / grain as u64).collect()
        };
        let vms = whole.map(|(name, values)| VmUse {
            id: Some(name.clone().into()),
            name: name.into(),
            cpu_ppm: CpuPpm::Many(means(&values)),
        });
        let (v, period_ms) = (wire::VERSION, u64::from(self.period_ms) * grain as u64);
        let message =
            wire::Message { v, host: host.into(), t_ms: t_ms as u64, period_ms, vms: vms.collect() };
        wire::write_message(&message).unwrap()
    }
}
