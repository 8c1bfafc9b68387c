//! A pair of VMs between which data streams, as with iperf or a backup: the rate drifts, and the stream
//! stops and starts again.

use rand_chacha::ChaCha8Rng;

use super::Clock;
use super::draw::{drift, exponential, log_uniform, uniform};
use super::plan::Vm;

pub struct Stream {
    on: bool,
    left_s: f64,
    on_s: f64,
    off_s: f64,
    /// The drift of the rate's logarithm: its value, and its size and memory.
    rate: f64,
    drifting: (f64, f64),
    /// What sending and receiving at the usual rate costs, in cores.
    send: f64,
    receive: f64,
}

impl Stream {
    /// A stream from the first of two VMs to the second.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let send = log_uniform(rng, 0.05, 0.6);
        Stream {
            on: true,
            left_s: exponential(rng, 60.0),
            on_s: uniform(rng, 20.0, 120.0),
            off_s: uniform(rng, 2.0, 20.0),
            rate: 0.0,
            drifting: (uniform(rng, 0.15, 0.5), uniform(rng, 2.0, 15.0)),
            send,
            receive: send * uniform(rng, 0.5, 2.0),
        }
    }

    pub fn step(&mut self, rng: &mut ChaCha8Rng, clock: Clock, vms: &mut [Vm]) {
        self.left_s -= clock.dt_s;
        if self.left_s <= 0.0 {
            self.on = !self.on;
            self.left_s = exponential(rng, if self.on { self.on_s } else { self.off_s });
        }
        self.rate = drift(rng, self.rate, self.drifting, clock.dt_s);
        let flowing = self.on && vms.iter().all(|vm| vm.alive);
        let [sender, receiver] = vms else { return };
        // The slower end sets the pace.
        let pace = (f64::from(sender.cores) / self.send).min(f64::from(receiver.cores) / self.receive);
        let rate = if flowing { self.rate.exp().min(pace) } else { 0.0 };
        sender.used = rate * self.send;
        receiver.used = rate * self.receive;
    }
}
