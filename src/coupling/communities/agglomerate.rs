//! The first step: every VM in one cluster, by average linkage.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::{ABSENT, Graph, PRICE};

/// All links between two clusters.
#[derive(Clone, Copy, Default)]
struct Between {
    /// Their support, over what it would be without them.
    excess: i64,
    /// The sum of their z-scores, millionths.
    z: i64,
    /// Whether one of them is significant.
    significant: bool,
    /// The mean z that waits in the queue for this pair of clusters; kept with the lower of the two.
    queued: u64,
}

struct Clusters<'a> {
    graph: &'a Graph,
    members: Vec<Vec<u32>>,
    /// The cluster of each VM.
    owner: Vec<u32>,
    /// For each cluster those that have links to it.
    others: Vec<BTreeMap<u32, Between>>,
    /// (mean z as the bits of an `f64`, the two clusters, lower first). A mean that is out of date is too high,
    /// never too low: that of two joined clusters to a third is no higher than the higher of the former two.
    queue: BinaryHeap<(u64, Reverse<u32>, Reverse<u32>)>,
}

/// Clusters that have no VM in common and together hold all, loners included. As long as there are any, those
/// two become one, among the pairs with a significant link and for which that is worth more than nothing
/// and more than to let one VM be in both, whose mean z over all pairs of their members is the highest.
pub(super) fn agglomerate(graph: &Graph) -> Vec<Vec<u32>> {
    let mut clusters = Clusters::new(graph);
    while let Some((key, Reverse(a), Reverse(b))) = clusters.queue.pop() {
        let current = clusters.others[a as usize].get(&b).filter(|between| between.queued == key).copied();
        let Some(between) = current else { continue };
        if clusters.mean(a, b, between.z) < key {
            clusters.enqueue(a, b);
        } else if clusters.belong_together(a, b, between.excess) {
            clusters.unite(a, b);
        }
    }
    clusters.members.retain(|members| !members.is_empty());
    clusters.members
}

impl<'a> Clusters<'a> {
    fn new(graph: &'a Graph) -> Self {
        let all = 0..graph.vms() as u32;
        let between = |v: u32| {
            graph.ties(v).iter().map(|tie| {
                let (excess, significant) = (tie.support - ABSENT, tie.support > 0);
                (tie.to, Between { excess, z: tie.z, significant, queued: 0 })
            })
        };
        let mut clusters = Clusters {
            graph,
            members: all.clone().map(|v| vec![v]).collect(),
            owner: all.clone().collect(),
            others: all.clone().map(|v| between(v).collect()).collect(),
            queue: BinaryHeap::new(),
        };
        for a in all {
            for tie in graph.ties(a).iter().filter(|tie| tie.to > a) {
                clusters.enqueue(a, tie.to);
            }
        }
        clusters
    }

    fn size(&self, cluster: u32) -> i64 {
        self.members[cluster as usize].len() as i64
    }

    /// `z` over the number of pairs, as bits: those of floats that are not negative are in the floats' order.
    fn mean(&self, a: u32, b: u32, z: i64) -> u64 {
        (z as f64 / (self.size(a) * self.size(b)) as f64).to_bits()
    }

    fn enqueue(&mut self, a: u32, b: u32) {
        let (a, b) = (a.min(b), a.max(b));
        let Some(&Between { z, significant: true, .. }) = self.others[a as usize].get(&b) else { return };
        let key = self.mean(a, b, z);
        if let Some(between) = self.others[a as usize].get_mut(&b) {
            between.queued = key;
        }
        self.queue.push((key, Reverse(a), Reverse(b)));
    }

    fn belong_together(&self, a: u32, b: u32, excess: i64) -> bool {
        let united = excess + ABSENT * self.size(a) * self.size(b);
        united > 0 && united >= self.best_shared(a, b)
    }

    /// What it is worth, at best, that one VM of a cluster of several is in the other one as well.
    fn best_shared(&self, a: u32, b: u32) -> i64 {
        let links = |c: u32| self.others[c as usize].len();
        let (few, many) = if links(a) < links(b) { (a, b) } else { (b, a) };
        let (mut of_few, mut of_many) = (i64::MIN, BTreeMap::new());
        for &v in &self.members[few as usize] {
            let mut excess = 0;
            for tie in self.graph.ties(v).iter().filter(|tie| self.owner[tie.to as usize] == many) {
                excess += tie.support - ABSENT;
                *of_many.entry(tie.to).or_insert(0) += tie.support - ABSENT;
            }
            of_few = of_few.max(excess);
        }
        let shared = |excess: i64, from: u32, to: u32| {
            if self.size(from) > 1 { excess + ABSENT * self.size(to) - PRICE } else { i64::MIN }
        };
        let of_many = of_many.into_values().max().unwrap_or(0);
        shared(of_few, few, many).max(shared(of_many, many, few))
    }

    /// The one with fewer members and neighbours goes into the other: nothing is moved more than log n times.
    fn unite(&mut self, a: u32, b: u32) {
        let weight = |c: u32| self.members[c as usize].len() + self.others[c as usize].len();
        let (gone, kept) = if weight(a) < weight(b) { (a, b) } else { (b, a) };
        let members = std::mem::take(&mut self.members[gone as usize]);
        members.iter().for_each(|&v| self.owner[v as usize] = kept);
        self.members[kept as usize].extend(members);
        for (other, between) in std::mem::take(&mut self.others[gone as usize]) {
            self.others[other as usize].remove(&gone);
            if other == kept {
                continue;
            }
            for (x, y) in [(kept, other), (other, kept)] {
                let sum = self.others[x as usize].entry(y).or_default();
                sum.excess += between.excess;
                sum.z += between.z;
                sum.significant |= between.significant;
            }
            self.enqueue(kept, other);
        }
    }
}
