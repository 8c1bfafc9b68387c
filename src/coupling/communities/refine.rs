//! The third step: VMs join further ensembles and leave those that they do not belong to.

use std::cmp::Reverse;

use super::{Graph, PRICE};

/// Each round makes the cover worth more, so it ends; on the recordings after two or three.
pub(super) const MOST_ROUNDS: usize = 8;

struct Cover<'a> {
    graph: &'a Graph,
    /// The ensembles, each sorted; one that has a single member is none yet, but can become one.
    sets: Vec<Vec<u32>>,
    /// The ensembles of at least two that each VM is in, sorted.
    of: Vec<Vec<usize>>,
    /// The set that a VM started alone in.
    alone: Vec<Option<usize>>,
}

/// Ensembles of at least two, each sorted, none a part of another, from a partition of the VMs.
pub(super) fn refine(graph: &Graph, mut partition: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    partition.iter_mut().for_each(|set| set.sort_unstable());
    partition.sort_by_cached_key(|set| (Reverse(inside(graph, set)), set.clone()));
    let mut cover =
        Cover { graph, sets: partition, of: vec![vec![]; graph.vms()], alone: vec![None; graph.vms()] };
    for (c, set) in cover.sets.iter().enumerate() {
        match set[..] {
            [v] => cover.alone[v as usize] = Some(c),
            _ => set.iter().for_each(|&v| cover.of[v as usize].push(c)),
        }
    }
    for _ in 0..MOST_ROUNDS {
        let candidates = cover.candidates();
        let joined = candidates.chunk_by(|(c, _), (d, _)| c == d).filter(|found| cover.joins(found)).count();
        let left = (0..cover.sets.len()).filter(|&c| cover.leaves(c)).count();
        if joined + left == 0 {
            break;
        }
    }
    cover.maximal()
}

/// How many members, and how strong: the support and the z-scores of all pairs of a set; of a loner its
/// strongest link.
fn inside(graph: &Graph, set: &[u32]) -> (usize, i64, i64) {
    if let [v] = set {
        return (1, 0, graph.ties(*v).iter().map(|tie| tie.z).max().unwrap_or(0));
    }
    let pairs = set.iter().enumerate().flat_map(|(i, &v)| set[..i].iter().map(move |&u| graph.tie(v, u)));
    pairs.fold((set.len(), 0, 0), |(n, support, z), tie| (n, support + tie.support, z + tie.z))
}

impl Cover<'_> {
    fn elsewhere(&self, v: u32, c: usize) -> bool {
        self.of[v as usize].iter().any(|&other| other != c)
    }

    /// Whether an ensemble other than `c` has both.
    fn share(&self, v: u32, u: u32, c: usize) -> bool {
        let (v, u) = (&self.of[v as usize], &self.of[u as usize]);
        let (few, many) = if v.len() < u.len() { (v, u) } else { (u, v) };
        few.iter().any(|&other| other != c && many.binary_search(&other).is_ok())
    }

    /// How much more the cover is worth if `v` is in `c` than if it is not; and, between equals, the sum of
    /// the z-scores that say so.
    fn worth(&self, v: u32, c: usize) -> (i64, i64) {
        let elsewhere = self.elsewhere(v, c);
        let fresh = self.sets[c].iter().filter(|&&u| u != v && !(elsewhere && self.share(v, u, c)));
        let start = (if elsewhere { -PRICE } else { 0 }, 0);
        fresh.fold(start, |(support, z), &u| {
            let tie = self.graph.tie(v, u);
            (support + tie.support, z + tie.z)
        })
    }

    /// (ensemble, VM) where the VM has a significant link to a member with which it shares no ensemble yet:
    /// without one there is nothing to gain. Sorted.
    fn candidates(&self) -> Vec<(usize, u32)> {
        let mut found = vec![];
        for v in 0..self.graph.vms() as u32 {
            for tie in self.graph.ties(v).iter().filter(|tie| tie.support > 0) {
                if !self.share(v, tie.to, usize::MAX) {
                    let alone = self.alone[v as usize].filter(|_| self.of[v as usize].is_empty());
                    let own = self.of[v as usize].iter().chain(&alone);
                    found.extend(own.map(|&c| (c, tie.to)));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Lets join who makes the cover worth more, the best first; whether anyone did. `candidates` are all of one
    /// ensemble.
    fn joins(&mut self, candidates: &[(usize, u32)]) -> bool {
        let c = candidates[0].0;
        if let [v] = self.sets[c][..]
            && !self.of[v as usize].is_empty()
        {
            return false;
        }
        let mut found: Vec<_> = candidates.iter().map(|&(_, v)| (Reverse(self.worth(v, c)), v)).collect();
        found.retain(|(worth, _)| worth.0.0 > 0);
        found.sort_unstable();
        let before = self.sets[c].len();
        for (_, v) in found {
            if self.worth(v, c).0 > 0 {
                self.join(v, c);
            }
        }
        self.sets[c].len() > before
    }

    fn join(&mut self, v: u32, c: usize) {
        let at = self.sets[c].partition_point(|&u| u < v);
        self.sets[c].insert(at, v);
        let new = if self.sets[c].len() == 2 { self.sets[c].clone() } else { vec![v] };
        for u in new {
            let at = self.of[u as usize].partition_point(|&other| other < c);
            self.of[u as usize].insert(at, c);
        }
    }

    /// Lets leave who makes the cover worth more that way, the most doubtful first; whether anyone did.
    fn leaves(&mut self, c: usize) -> bool {
        if self.sets[c].len() < 2 {
            return false;
        }
        let mut found: Vec<_> = self.sets[c].iter().map(|&v| (self.worth(v, c), v)).collect();
        found.sort_unstable();
        let before = self.sets[c].len();
        for (_, v) in found {
            if self.sets[c].len() > 2 && self.worth(v, c).0 < 0 {
                self.sets[c].retain(|&u| u != v);
                self.of[v as usize].retain(|&other| other != c);
            }
        }
        if let [v, u] = self.sets[c][..] {
            let other = if self.elsewhere(u, c) { PRICE } else { 0 };
            if self.worth(v, c).0 < other {
                self.sets[c].clear();
                [v, u].iter().for_each(|&w| self.of[w as usize].retain(|&other| other != c));
            }
        }
        self.sets[c].len() < before
    }

    /// The ensembles, without those that are a part of another, or a copy of an earlier one.
    fn maximal(self) -> Vec<Vec<u32>> {
        let part = |c: usize, of: usize| {
            let (set, other) = (&self.sets[c], &self.sets[of]);
            (other.len(), c) > (set.len(), of) && set.iter().all(|u| other.binary_search(u).is_ok())
        };
        let kept = |&c: &usize| {
            let set = &self.sets[c];
            set.len() > 1 && !self.of[set[0] as usize].iter().any(|&of| of != c && part(c, of))
        };
        let kept: Vec<usize> = (0..self.sets.len()).filter(kept).collect();
        kept.into_iter().map(|c| self.sets[c].clone()).collect()
    }
}
