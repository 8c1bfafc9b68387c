//! Runs of samples decoded from any bytes, through a sliding window: its sums are those of its samples, and every
//! vector level gives the same.

#![no_main]

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use lwt::simd::Simd;
use lwt::types::{HostId, MAX_CPU_PPM, Reason};
use lwt::window::{Params, Run, Shape, Status, View, VmWindow};

#[derive(Arbitrary, Debug)]
struct Input {
    hop: u8,
    panes: u8,
    max_lag: u8,
    origin: i64,
    scales: u16,
    closed: i8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Near the window: `first` counts from the origin.
    Push {
        host: bool,
        first: i16,
        grain: u8,
        values: Vec<Value>,
    },
    /// Anywhere, the ends of time included.
    PushAnywhere {
        first: i64,
        value: u32,
    },
    Close {
        panes: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum Value {
    Small(u8),
    Any(u32),
    Run(u8, u8),
    Top,
}

impl Input {
    /// At most 64 ticks a pane and 16 panes, origins to both ends of time but for a few thousand windows.
    fn params(&self) -> Option<Params> {
        let hop = usize::from(self.hop % 64) + 1;
        let length = hop * (usize::from(self.panes % 16) + 1);
        let scales =
            (1..=16).filter(|&s| hop % s == 0 && (s == 1 || self.scales >> (s - 1) & 1 == 1)).collect();
        let (max_lag, origin) = (usize::from(self.max_lag), self.origin / 4);
        Params::new(Shape { max_lag, origin, scales, ..Shape::new(length, hop, 0) }).ok()
    }
}

fn values(coded: &[Value]) -> Vec<u32> {
    let of = |value: &Value| match *value {
        Value::Small(x) => vec![u32::from(x)],
        Value::Any(x) => vec![x],
        Value::Run(x, n) => vec![u32::from(x) << 12; usize::from(n)],
        Value::Top => vec![MAX_CPU_PPM],
    };
    coded.iter().flat_map(of).collect()
}

fn check_view(view: &View, params: &Params, scale: usize) {
    let View { samples, total, lagged } = *view;
    assert_eq!(samples.len(), params.length() / scale);
    assert_eq!(lagged.len(), params.max_lag(scale) + 1);
    assert!(samples.iter().all(|&x| x <= MAX_CPU_PPM));
    assert_eq!(total, samples.iter().map(|&x| u64::from(x)).sum::<u64>());
    for (k, &sum) in lagged.iter().enumerate() {
        let products = samples[k..].iter().zip(samples).map(|(&a, &b)| i128::from(a) * i128::from(b));
        assert_eq!(sum, products.sum::<i128>(), "lag {k} at scale {scale}");
    }
}

fn check(vm: &VmWindow, params: &Params, status: Status) {
    assert_eq!(status, vm.status(params));
    assert_eq!(status == Status::Gone, vm.view(0).is_none());
    if let Status::Partial { missing_ticks } = status {
        assert!((params.max_missing_ticks() + 1..params.length()).contains(&missing_ticks));
    }
    assert!(params.hop().is_multiple_of(vm.grain()), "no pane cuts a sample");
    for (at, &scale) in params.scales().iter().enumerate() {
        let Some(view) = vm.view(at) else { continue };
        check_view(&view, params, scale);
    }
}

fuzz_target!(|input: Input| {
    let Some(params) = input.params() else { return };
    let levels = Simd::available();
    let mut closed = i64::from(input.closed);
    let mut vms: Vec<VmWindow> = levels.iter().map(|_| VmWindow::new(closed)).collect();
    for step in &input.steps {
        let (host, first, grain, values) = match step {
            Step::Push { host, first, grain, values: coded } => {
                let name = if *host { "a" } else { "b" };
                (name, params.pane_start(0) + i64::from(*first), usize::from(*grain % 20), values(coded))
            }
            Step::PushAnywhere { first, value } => ("a", *first, 1, vec![*value; 2]),
            Step::Close { panes } => {
                closed += i64::from(*panes);
                let close = |(vm, &simd): (&mut VmWindow, &Simd)| vm.close(&params, closed, simd);
                let statuses: Vec<Status> = vms.iter_mut().zip(&levels).map(close).collect();
                for (vm, &status) in vms.iter().zip(&statuses) {
                    check(vm, &params, status);
                    assert_eq!((status, vm.view(0)), (statuses[0], vms[0].view(0)), "every vector level");
                }
                continue;
            }
        };
        for vm in &mut vms {
            let run = Run { first, grain, cpu_ppm: &values };
            let refused = vm.push_run(&params, &HostId::new(host), run);
            assert!(refused.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
            for part in refused.iter().filter(|part| part.reason == Reason::Implausible) {
                assert!(values[part.range.clone()].iter().all(|&x| x > MAX_CPU_PPM));
            }
        }
    }
});
