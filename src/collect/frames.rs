//! Samples -> frames: what the VMs of one host used in one second, or in one period if that is longer. Pure.
//!
//! A frame becomes one message, so all its VMs have the same ticks. A VM that came, went or has a gap within
//! the second has fewer, and so a frame of its own: nothing is filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::{HostId, Samples, Tick, VmId};

/// How many ticks a frame has: a second's, at least one.
pub fn ticks_per_frame(period_ms: u64) -> Tick {
    (1000 / period_ms.max(1)).max(1) as Tick
}

/// What one host's VMs used in some consecutive ticks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Whose VMs.
    pub host: &'a HostId,
    /// The first tick behind the last: the samples end at `end` periods since the epoch.
    pub end: Tick,
    /// The VMs, by identity.
    pub rows: Vec<Row<'a>>,
    /// What the host itself used in these ticks, ppm of one core, if it is known.
    pub overhead_ppm: Option<&'a [u32]>,
}

/// One VM in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// Its identity.
    pub vm: &'a VmId,
    /// What it is called on the host.
    pub name: &'a str,
    /// What it used, one value a tick.
    pub cpu_ppm: &'a [u32],
}

/// Samples that wait for their second to be over. A VM without samples is forgotten with the next frame, so a
/// collector holds 8 bytes a sample of one second and some 200 a VM.
#[derive(Debug)]
pub struct Frames {
    /// In a frame.
    ticks: Tick,
    hosts: BTreeMap<HostId, Host>,
}

#[derive(Debug, Default)]
struct Host {
    overhead: Runs,
    vms: BTreeMap<VmId, (Arc<str>, Runs)>,
}

/// Consecutive samples, each run with the tick of its first; in order, and apart from each other. The last one may be
/// empty: then it says where the next samples are expected, and has room for them.
#[derive(Debug, Default)]
struct Runs(Vec<(Tick, Vec<u32>)>);

impl Runs {
    /// Appends samples; those of ticks that are there already are left out.
    fn push(&mut self, first: Tick, cpu_ppm: &[u32]) {
        let end = self.0.last().map_or(Tick::MIN, |(first, run)| first + run.len() as Tick);
        let known = end.saturating_sub(first).clamp(0, cpu_ppm.len() as Tick);
        let (first, new) = (first + known, &cpu_ppm[known as usize..]);
        match self.0.last_mut() {
            _ if new.is_empty() => {}
            Some((_, run)) if first == end => run.extend_from_slice(new),
            _ => self.0.push((first, new.to_vec())),
        }
    }

    fn first(&self) -> Option<Tick> {
        self.0.iter().find(|(_, run)| !run.is_empty()).map(|(first, _)| *first)
    }

    /// The pieces that lie before `end`: where each ends, and its samples.
    fn before(&self, end: Tick) -> impl Iterator<Item = (Tick, &[u32])> {
        let piece = move |(first, run): &'_ (Tick, Vec<u32>)| (end - first).clamp(0, run.len() as Tick);
        self.0.iter().filter(move |run| piece(run) > 0).map(move |run| {
            let length = piece(run);
            (run.0 + length, &run.1[..length as usize])
        })
    }

    fn drop_before(&mut self, end: Tick) {
        for (first, run) in &mut self.0 {
            let gone = (end - *first).clamp(0, run.len() as Tick);
            run.drain(..gone as usize);
            *first += gone;
        }
        let full = self.0.iter().position(|(_, run)| !run.is_empty());
        self.0.drain(..full.unwrap_or(self.0.len().saturating_sub(1)));
    }
}

impl Frames {
    /// Of samples every `period_ms`.
    pub fn new(period_ms: u64) -> Self {
        Frames { ticks: ticks_per_frame(period_ms), hosts: BTreeMap::new() }
    }

    /// Takes samples of a VM called `name`.
    pub fn push(&mut self, samples: &Samples, name: &Arc<str>) {
        let Samples { vm, host, first, cpu_ppm, .. } = samples;
        let host = self.hosts.entry(host.clone()).or_default();
        let new = || (name.clone(), Runs::default());
        host.vms.entry(vm.clone()).or_insert_with(new).1.push(*first, cpu_ppm);
    }

    /// Takes samples of what a host itself used; their VM counts for nothing.
    pub fn push_overhead(&mut self, samples: &Samples) {
        let host = self.hosts.entry(samples.host.clone()).or_default();
        host.overhead.push(samples.first, &samples.cpu_ppm);
    }

    /// The first frame that has samples, as its number since the epoch.
    pub fn first(&self) -> Option<Tick> {
        let of_host = |host: &Host| host.vms.values().filter_map(|(_, runs)| runs.first()).min();
        self.hosts.values().filter_map(of_host).min().map(|tick| tick.div_euclid(self.ticks))
    }

    /// Hands on the frames that lie whole before the tick `until`, the oldest first, and forgets them.
    pub fn cut(&mut self, until: Tick, mut each: impl FnMut(&Frame)) {
        // Most will have samples again at once.
        for host in self.hosts.values_mut() {
            host.vms.retain(|_, (_, runs)| runs.first().is_some());
        }
        self.hosts.retain(|_, host| !host.vms.is_empty());
        while let Some(frame) = self.first()
            && frame < until.div_euclid(self.ticks)
        {
            let end = (frame + 1) * self.ticks;
            for (host, content) in &self.hosts {
                content.frames(host, end).iter().for_each(&mut each);
            }
            for host in self.hosts.values_mut() {
                host.overhead.drop_before(end);
                host.vms.values_mut().for_each(|(_, runs)| runs.drop_before(end));
            }
        }
    }

    /// Hands on everything, the last frame as far as it goes.
    pub fn finish(&mut self, each: impl FnMut(&Frame)) {
        self.cut(Tick::MAX, each);
        self.hosts.clear();
    }
}

impl Host {
    /// What it has before `end`: one frame for all VMs with the same ticks.
    fn frames<'a>(&'a self, host: &'a HostId, end: Tick) -> Vec<Frame<'a>> {
        let mut alike: BTreeMap<(Tick, usize), Vec<Row>> = BTreeMap::new();
        for (vm, (name, runs)) in &self.vms {
            for (end, cpu_ppm) in runs.before(end) {
                alike.entry((end, cpu_ppm.len())).or_default().push(Row { vm, name, cpu_ppm });
            }
        }
        let overhead = |at: (Tick, usize)| {
            let same = self.overhead.before(end).find(|(end, cpu_ppm)| (*end, cpu_ppm.len()) == at);
            same.map(|(_, cpu_ppm)| cpu_ppm)
        };
        let frame = |(at, rows): ((Tick, usize), Vec<Row<'a>>)| Frame {
            host,
            end: at.0,
            rows,
            overhead_ppm: overhead(at),
        };
        alike.into_iter().map(frame).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(vm: &str, first: Tick, cpu_ppm: &[u32]) -> Samples {
        Samples { vm: VmId::new(vm), host: HostId::new("h"), first, grain: 1, cpu_ppm: cpu_ppm.to_vec() }
    }

    fn push(frames: &mut Frames, vm: &str, first: Tick, cpu_ppm: &[u32]) {
        frames.push(&samples(vm, first, cpu_ppm), &vm.into());
    }

    fn cut(frames: &mut Frames, until: Tick) -> Vec<String> {
        let mut said = vec![];
        frames.cut(until, |frame| {
            let row = |row: &Row| format!("{}{:?}", row.name, row.cpu_ppm);
            let rows: Vec<String> = frame.rows.iter().map(row).collect();
            let own = frame.overhead_ppm.map_or(String::new(), |own| format!(" own{own:?}"));
            said.push(format!("{}: {}{own}", frame.end, rows.join(" ")));
        });
        said
    }

    #[test]
    fn a_second_is_a_frame_and_gaps_have_their_own() {
        let mut frames = Frames::new(250);
        push(&mut frames, "a", 4, &[1, 2, 3, 4, 5]);
        push(&mut frames, "b", 4, &[6, 7, 8, 9]);
        push(&mut frames, "new", 6, &[1, 1]);
        push(&mut frames, "gap", 4, &[1]);
        push(&mut frames, "gap", 6, &[3, 3]);
        frames.push_overhead(&samples("", 4, &[9, 9, 9, 9, 9, 9]));
        assert_eq!(cut(&mut frames, 7), [""; 0]);
        assert_eq!(
            cut(&mut frames, 9),
            ["5: gap[1]", "8: gap[3, 3] new[1, 1]", "8: a[1, 2, 3, 4] b[6, 7, 8, 9] own[9, 9, 9, 9]"]
        );
        push(&mut frames, "a", 8, &[7, 6]);
        assert_eq!(cut(&mut frames, 11), [""; 0]);
        let mut said = vec![];
        frames.finish(|frame| said.push((frame.end, frame.rows[0].cpu_ppm.to_vec())));
        assert_eq!(said, [(10, vec![5, 6])], "a tick is told once");
        assert!(frames.hosts.is_empty());
    }

    #[test]
    fn the_oldest_comes_first_and_a_leap_costs_nothing() {
        let mut frames = Frames::new(1000);
        push(&mut frames, "a", 5, &[1, 2]);
        push(&mut frames, "b", 4_000_000_000_000, &[7]);
        frames.push(&Samples { host: HostId::new("g"), ..samples("c", 6, &[3]) }, &"c".into());
        assert_eq!(cut(&mut frames, Tick::MAX), ["6: a[1]", "7: c[3]", "7: a[2]", "4000000000001: b[7]"]);
        assert_eq!(ticks_per_frame(60_000), 1);
        assert_eq!(ticks_per_frame(300), 3);
    }

    proptest! {
        #[test]
        fn every_sample_is_told_once(
            pushes in prop::collection::vec((0usize..3, 0i64..4, 1usize..30, 0i64..20), 1..40),
            period_ms in prop::sample::select(vec![100u64, 250, 1000]),
        ) {
            let (mut frames, mut ends, mut want) = (Frames::new(period_ms), [0i64; 3], vec![]);
            let mut got = vec![];
            let ticks = ticks_per_frame(period_ms);
            let mut take = |frame: &Frame| {
                for row in &frame.rows {
                    assert!(row.cpu_ppm.len() as Tick <= ticks);
                    let first = frame.end - row.cpu_ppm.len() as Tick;
                    assert_eq!(first.div_euclid(ticks), (frame.end - 1).div_euclid(ticks));
                    let tick = |(i, &x): (usize, &u32)| (row.name.to_string(), first + i as Tick, x);
                    got.extend(row.cpu_ppm.iter().enumerate().map(tick));
                }
            };
            for (vm, gap, length, lag) in pushes {
                let first = ends[vm] + gap;
                let values: Vec<u32> = (0..length as u32).map(|i| first as u32 * 7 + i).collect();
                let name = vm.to_string();
                want.extend(values.iter().enumerate().map(|(i, &x)| (name.clone(), first + i as Tick, x)));
                push(&mut frames, &name, first, &values);
                ends[vm] = first + length as Tick;
                frames.cut(ends.iter().min().unwrap() - lag, &mut take);
            }
            frames.finish(&mut take);
            got.sort();
            want.sort();
            prop_assert_eq!(got, want);
        }
    }
}
