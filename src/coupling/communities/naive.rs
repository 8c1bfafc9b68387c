//! The slow, obvious twin of `ensembles`: all pairs of VMs in a matrix, everything computed anew at each step.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{ABSENT, Graph, Link, PRICE};

type Set = BTreeSet<usize>;

/// Support and z of each pair.
struct Park {
    pairs: Vec<Vec<(i64, i64)>>,
}

pub(super) fn ensembles(vms: usize, links: &[Link], threshold: f64) -> Vec<Vec<u32>> {
    let graph = Graph::new(vms, links, threshold);
    let mut pairs = vec![vec![(ABSENT, 0); vms]; vms];
    for (v, row) in pairs.iter_mut().enumerate() {
        graph.ties(v as u32).iter().for_each(|tie| row[tie.to as usize] = (tie.support, tie.z));
    }
    let park = Park { pairs };
    let mut cover: Vec<Set> = park.partition().into_iter().flat_map(|set| park.split(set)).collect();
    cover.sort_by_key(|set| (Reverse(park.inside(set)), set.clone()));
    for _ in 0..super::refine::MOST_ROUNDS {
        let before = cover.clone();
        (0..cover.len()).for_each(|c| park.join(&mut cover, c));
        (0..cover.len()).for_each(|c| park.leave(&mut cover, c));
        if cover == before {
            break;
        }
    }
    let whole =
        |set: &&Set| set.len() > 1 && !cover.iter().any(|o| o.len() > set.len() && o.is_superset(set));
    let whole: BTreeSet<&Set> = cover.iter().filter(whole).collect();
    whole.into_iter().map(|set| set.iter().map(|&v| v as u32).collect()).collect()
}

impl Park {
    fn support(&self, a: &Set, b: &Set) -> i64 {
        a.iter().flat_map(|&v| b.iter().map(move |&u| self.pairs[v][u].0)).sum()
    }

    fn z(&self, a: &Set, b: &Set) -> i64 {
        a.iter().flat_map(|&v| b.iter().map(move |&u| self.pairs[v][u].1)).sum()
    }

    fn partition(&self) -> Vec<Set> {
        let mut sets: Vec<Set> = (0..self.pairs.len()).map(|v| Set::from([v])).collect();
        while let Some((_, Reverse(i), Reverse(j))) = self.strongest(&sets) {
            let set = sets.remove(j);
            sets[i].extend(set);
        }
        sets
    }

    fn split(&self, set: Set) -> Vec<Set> {
        let (mut stay, mut moved, mut best) = (set.clone(), Set::new(), (0, Set::new()));
        while stay.len() > 1 {
            let pull = |v: usize| {
                let (one, rest) = (Set::from([v]), stay.iter().copied().filter(|&u| u != v).collect());
                let support = self.support(&one, &rest) - self.support(&one, &moved);
                (support, self.z(&one, &rest) - self.z(&one, &moved), v)
            };
            let v = stay.iter().map(|&v| pull(v)).min().unwrap().2;
            stay.remove(&v);
            moved.insert(v);
            if self.support(&moved, &stay) < best.0 {
                best = (self.support(&moved, &stay), moved.clone());
            }
        }
        match best.0 {
            0 => vec![set],
            _ => [&set - &best.1, best.1].into_iter().flat_map(|part| self.split(part)).collect(),
        }
    }

    fn strongest(&self, sets: &[Set]) -> Option<(u64, Reverse<usize>, Reverse<usize>)> {
        let pairs = (0..sets.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let fit = pairs.filter(|&(i, j)| {
            let (a, b) = (&sets[i], &sets[j]);
            let linked = a.iter().any(|&v| b.iter().any(|&u| self.pairs[v][u].0 > 0));
            let shared = |a: &Set, b: &Set| {
                let one = a.iter().map(|&v| self.support(&Set::from([v]), b) - PRICE).max();
                if a.len() > 1 { one.unwrap() } else { i64::MIN }
            };
            let worth = self.support(a, b);
            linked && worth > 0 && worth >= shared(a, b) && worth >= shared(b, a)
        });
        let mean = |i: usize, j: usize| {
            (self.z(&sets[i], &sets[j]) as f64 / (sets[i].len() * sets[j].len()) as f64).to_bits()
        };
        fit.map(|(i, j)| (mean(i, j), Reverse(i), Reverse(j))).max()
    }

    fn inside(&self, set: &Set) -> (usize, i64, i64) {
        let strongest = |v: usize| self.pairs[v].iter().map(|pair| pair.1).max().unwrap_or(0);
        match set.len() {
            1 => (1, 0, strongest(*set.first().unwrap())),
            n => {
                let own: i64 = set.iter().map(|&v| self.pairs[v][v].0).sum();
                (n, (self.support(set, set) - own) / 2, self.z(set, set) / 2)
            }
        }
    }

    /// What the cover is worth.
    fn value(&self, cover: &[Set]) -> i64 {
        let ensembles: Vec<&Set> = cover.iter().filter(|set| set.len() > 1).collect();
        let mut sum = 0;
        for v in 0..self.pairs.len() {
            let n = ensembles.iter().filter(|set| set.contains(&v)).count() as i64;
            sum -= PRICE * (n - 1).max(0);
            for u in 0..v {
                if ensembles.iter().any(|set| set.contains(&v) && set.contains(&u)) {
                    sum += self.pairs[v][u].0;
                }
            }
        }
        sum
    }

    /// What changes when ensemble `c` becomes `set`.
    fn gain(&self, cover: &[Set], c: usize, set: &Set) -> i64 {
        let mut changed = cover.to_vec();
        changed[c] = set.clone();
        self.value(&changed) - self.value(cover)
    }

    fn z_of(&self, cover: &[Set], v: usize, c: usize) -> i64 {
        let met = |u: usize| {
            cover.iter().enumerate().any(|(o, set)| o != c && set.contains(&v) && set.contains(&u))
        };
        cover[c].iter().filter(|&&u| u != v && !met(u)).map(|&u| self.pairs[v][u].1).sum()
    }

    fn join(&self, cover: &mut [Set], c: usize) {
        let with = |set: &Set, v: usize| set.iter().copied().chain([v]).collect::<Set>();
        let alone = cover[c].len() == 1 && cover.iter().any(|o| o.len() > 1 && o.is_superset(&cover[c]));
        let linked = |&v: &usize| !cover[c].contains(&v) && cover[c].iter().any(|&u| self.pairs[v][u].0 > 0);
        let candidates = (0..self.pairs.len()).filter(linked);
        let worth = |v: usize| (self.gain(cover, c, &with(&cover[c], v)), self.z_of(cover, v, c));
        let mut order: Vec<_> = candidates.map(|v| (Reverse(worth(v)), v)).collect();
        order.retain(|(worth, _)| worth.0.0 > 0 && !alone);
        order.sort();
        for (_, v) in order {
            let set = with(&cover[c], v);
            if self.gain(cover, c, &set) > 0 {
                cover[c] = set;
            }
        }
    }

    fn leave(&self, cover: &mut [Set], c: usize) {
        let without = |set: &Set, v: usize| set.iter().copied().filter(|&u| u != v).collect::<Set>();
        let worth = |v: usize| (-self.gain(cover, c, &without(&cover[c], v)), self.z_of(cover, v, c), v);
        let mut order: Vec<_> =
            if cover[c].len() > 2 { cover[c].iter().map(|&v| worth(v)).collect() } else { vec![] };
        order.sort();
        for (_, _, v) in order {
            let set = without(&cover[c], v);
            if set.len() > 1 && self.gain(cover, c, &set) > 0 {
                cover[c] = set;
            }
        }
        if cover[c].len() == 2 && self.gain(cover, c, &Set::new()) > 0 {
            cover[c].clear();
        }
    }
}
