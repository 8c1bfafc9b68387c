//! The samples of one VM in a pane that is still open: they may come in any order and from several hosts.

use std::ops::Range;

use crate::types::{HostId, MAX_CPU_PPM, Reason, lcm};

/// Stands for a tick without a sample; no sample is as large.
pub const MISSING: u32 = u32::MAX;
const _: () = assert!(MAX_CPU_PPM < MISSING);

/// One VM's samples in an open pane, by host: nearly always one, during a migration two.
#[derive(Clone, Debug)]
pub struct Pane {
    hop: usize,
    /// See [`Closed::grain`].
    grain: usize,
    hosts: Vec<OnHost>,
}

/// What a pane holds once it is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// One value a tick, [`MISSING`] where there is none, summed over hosts.
    pub ticks: Vec<u32>,
    /// The host of the latest sample (of several the first by name), none if there is no sample.
    pub host: Option<HostId>,
    /// Ticks of a sample; of samples of several lengths their least common multiple.
    pub grain: usize,
}

#[derive(Clone, Debug)]
struct OnHost {
    host: HostId,
    /// One value a tick from the pane's first tick to the last one seen, [`MISSING`] where there is none.
    ticks: Vec<u32>,
}

impl Pane {
    /// A pane of `hop` ticks, without samples.
    pub fn new(hop: usize) -> Self {
        Pane { hop, grain: 1, hosts: vec![] }
    }

    /// Adds consecutive samples of `grain` ticks each, the first `at` ticks into the pane, that end within it; hands
    /// `refuse` those that cannot be used, as positions in `cpu_ppm`.
    pub fn add(
        &mut self,
        host: &HostId,
        (at, grain): (usize, usize),
        cpu_ppm: &[u32],
        mut refuse: impl FnMut(Reason, Range<usize>),
    ) {
        let ticks = self.ticks_on(host);
        if grain == 1 && at >= ticks.len() && cpu_ppm.iter().fold(0, |most, &x| most.max(x)) <= MAX_CPU_PPM {
            ticks.resize(at, MISSING);
            ticks.extend_from_slice(cpu_ppm);
            return;
        }
        if ticks.len() < at + cpu_ppm.len() * grain {
            ticks.resize(at + cpu_ppm.len() * grain, MISSING);
        }
        let mut taken = false;
        for (i, (ticks, &x)) in ticks[at..].chunks_exact_mut(grain).zip(cpu_ppm).enumerate() {
            if x > MAX_CPU_PPM {
                refuse(Reason::Implausible, i..i + 1);
            } else if ticks.iter().any(|&tick| tick != MISSING) {
                refuse(Reason::Duplicate, i..i + 1);
            } else {
                ticks.fill(x);
                taken = true;
            }
        }
        if taken {
            // All divide the hop, so this does, too.
            self.grain = lcm(self.grain as u64, grain as u64) as usize;
        }
    }

    fn ticks_on(&mut self, host: &HostId) -> &mut Vec<u32> {
        let i = self.hosts.iter().position(|on| on.host == *host).unwrap_or_else(|| {
            self.hosts.push(OnHost { host: host.clone(), ticks: Vec::with_capacity(self.hop) });
            self.hosts.len() - 1
        });
        &mut self.hosts[i].ticks
    }

    /// What it holds.
    pub fn finish(self) -> Closed {
        let last = |on: &OnHost| on.ticks.iter().rposition(|&x| x != MISSING);
        let seen = self.hosts.iter().filter(|on| last(on).is_some());
        let latest = seen.max_by(|a, b| last(a).cmp(&last(b)).then_with(|| b.host.cmp(&a.host)));
        let host = latest.map(|on| on.host.clone());
        let mut hosts = self.hosts.into_iter().map(|on| on.ticks);
        let mut sum = hosts.next().unwrap_or_default();
        sum.resize(self.hop, MISSING);
        for ticks in hosts {
            for (sum, x) in sum.iter_mut().zip(ticks).filter(|&(_, x)| x != MISSING) {
                *sum = if *sum == MISSING { x } else { (*sum + x).min(MAX_CPU_PPM) };
            }
        }
        Closed { ticks: sum, host, grain: self.grain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: u32 = MISSING;
    const MAX: u32 = MAX_CPU_PPM;
    type Run<'a> = (&'a str, usize, &'a [u32]);

    #[test]
    fn samples_of_a_pane() {
        type Row<'a> = (&'a [Run<'a>], [u32; 4], Option<&'a str>, &'a [(Reason, usize)]);
        let rows: &[Row] = &[
            (&[], [NO; 4], None, &[]),
            (&[("a", 0, &[1, 2]), ("a", 2, &[3, 4])], [1, 2, 3, 4], Some("a"), &[]),
            (&[("a", 2, &[3, 4]), ("a", 0, &[1])], [1, NO, 3, 4], Some("a"), &[]),
            (
                &[("a", 0, &[1, 2, 3]), ("a", 1, &[8, 9, 4])],
                [1, 2, 3, 4],
                Some("a"),
                &[(Reason::Duplicate, 0), (Reason::Duplicate, 1)],
            ),
            (&[("b", 0, &[1, 2, 3]), ("a", 2, &[10, 20])], [1, 2, 13, 20], Some("a"), &[]),
            (&[("a", 1, &[1]), ("b", 1, &[1])], [NO, 2, NO, NO], Some("a"), &[]),
            (&[("b", 1, &[1]), ("a", 1, &[1])], [NO, 2, NO, NO], Some("a"), &[]),
            (&[("a", 1, &[MAX]), ("b", 1, &[MAX])], [NO, MAX, NO, NO], Some("a"), &[]),
            (
                &[("a", 0, &[1, MAX + 1, NO])],
                [1, NO, NO, NO],
                Some("a"),
                &[(Reason::Implausible, 1), (Reason::Implausible, 2)],
            ),
            (&[("z", 3, &[NO]), ("b", 0, &[1])], [1, NO, NO, NO], Some("b"), &[(Reason::Implausible, 0)]),
        ];
        for (runs, values, host, refused) in rows {
            let (mut pane, mut found) = (Pane::new(4), vec![]);
            for (host, at, cpu_ppm) in *runs {
                pane.add(&HostId::new(host), (*at, 1), cpu_ppm, |reason, range| {
                    found.push((reason, range.start));
                });
            }
            let expected = Closed { ticks: values.to_vec(), host: host.map(HostId::new), grain: 1 };
            assert_eq!((pane.finish(), &found[..]), (expected, *refused), "{runs:?}");
        }
    }

    #[test]
    fn coarse_samples_of_a_pane() {
        /// Host, first tick, grain and values.
        type Run<'a> = (&'a str, usize, usize, &'a [u32]);
        type Row<'a> = (&'a [Run<'a>], [u32; 12], usize, &'a [(Reason, usize)]);
        let rows: &[Row] = &[
            (&[("a", 3, 3, &[5, 6])], [NO, NO, NO, 5, 5, 5, 6, 6, 6, NO, NO, NO], 3, &[]),
            // One of whose ticks another sample has is refused as a whole.
            (
                &[("a", 3, 1, &[1]), ("a", 0, 2, &[7, 8, MAX + 1])],
                [7, 7, NO, 1, NO, NO, NO, NO, NO, NO, NO, NO],
                2,
                &[(Reason::Duplicate, 1), (Reason::Implausible, 2)],
            ),
            // Moved from a host that samples every two ticks to one that does every three.
            (
                &[("a", 0, 2, &[4]), ("b", 0, 3, &[9])],
                [13, 13, 9, NO, NO, NO, NO, NO, NO, NO, NO, NO],
                6,
                &[],
            ),
        ];
        for (runs, ticks, grain, refused) in rows {
            let (mut pane, mut found) = (Pane::new(12), vec![]);
            for (host, at, grain, cpu_ppm) in *runs {
                pane.add(&HostId::new(host), (*at, *grain), cpu_ppm, |reason, range| {
                    found.push((reason, range.start));
                });
            }
            let closed = pane.finish();
            assert_eq!(
                (&closed.ticks[..], closed.grain, &found[..]),
                (&ticks[..], *grain, *refused),
                "{runs:?}"
            );
        }
    }
}
