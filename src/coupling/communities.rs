//! Ensembles from evidence about pairs: communities of the dependency graph, in which a hub has several.
//!
//! Every pair of VMs *supports* a common ensemble or opposes it: a significant link by `CAP`, whatever
//! its size (one link that is wrong must not outvote several that are missing), any other pair by minus
//! `1 - (z / threshold)^2`, less `DOUBT`: what is nearly significant opposes little, what shows nothing most.
//! A cover by ensembles is worth the support of all pairs that share one, each counted once, less
//! `PRICE` for each further ensemble that a VM is in. We look for a cover that is worth much:
//!
//! 1. `agglomerate`: average linkage. Of two clusters with a significant link between them, the strongest
//!    mean z first, one is made where that is worth more than nothing, and more than letting one VM be in both.
//! 2. `split`: a cluster comes apart again where that is worth more.
//! 3. `refine`: VMs join further ensembles, or leave, as long as that makes the cover worth more.
//!
//! Hence: a chain of four stays whole, one of six does not; a member may lack three quarters of its links. One wrong
//! link can bring a VM that has no other to a group of three at most (of a larger one, one member is with it in an
//! ensemble of two), and two pairs together, but no larger groups. A hub is in each ensemble with two of whose
//! four members, three of ten it is linked.
//!
//! Limits: a local optimum, not the best cover (that is NP-hard); VMs of two applications that are all
//! linked to each other are one ensemble. All sums are integers, so their order does not matter;
//! ties go to the stronger z, then to the smaller index. An ensemble has no fewer than a fifth of its pairs
//! linked, so going through all pairs of its members costs no more than going through the links.

mod agglomerate;
#[cfg(test)]
mod naive;
mod refine;
mod split;
#[cfg(test)]
mod tests;

/// What supports and prices are counted in: parts of a million.
const MICRO: f64 = 1e6;
/// How much one significant link speaks for a common ensemble.
const CAP: i64 = 3_500_000;
/// What the least doubtful pair without a significant link still speaks against one.
const DOUBT: i64 = 50_000;
/// The support of a pair about which nothing is known.
const ABSENT: i64 = -1_000_000 - DOUBT;
/// What a VM's second, third ... ensemble costs: little less than one link, so that a VM that has no other
/// link can be with its hub.
const PRICE: i64 = 3_000_000;
/// Larger z-scores count as this: 10^3 x 10^6 millionths x 10^9 links fit an `i64`.
const HIGHEST_Z: f64 = 1e3;

/// What is known of a pair of VMs, a < b, indices among the window's VMs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// The one.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// The evidence, whatever its sign, as the z-score that it amounts to after correction for how many
    /// tests were made.
    pub z: f64,
    /// Whether we hold the two dependent.
    pub significant: bool,
}

/// The ensembles of `vms` VMs: sets of at least two, each sorted, none a part of another, in order of their
/// members. A VM may be in several (a hub) or in none. A pair that is not among `links` has z = 0, of one that is there
/// twice the stronger counts, a link to itself or to a VM that there is not is passed over.
/// `threshold`: the z from which on a link is significant.
///
/// For n links about n log n: 6 s and 330 MB for 10^5 VMs with 1.4 x 10^6 links, 1.2 x 10^6 of them significant
/// (a core of an EPYC that others used too).
pub fn ensembles(vms: usize, links: &[Link], threshold: f64) -> Vec<Vec<u32>> {
    let graph = Graph::new(vms, &within_reach(vms, links), threshold);
    let mut found = refine::refine(&graph, split::split(&graph, agglomerate::agglomerate(&graph)));
    found.sort_unstable();
    found
}

/// The links between VMs that significant ones tie together, directly or over others. Nobody is ever in an ensemble with
/// a VM out of this reach, so of all other links, which are most, nothing is asked.
fn within_reach(vms: usize, links: &[Link]) -> Vec<Link> {
    // Who leads to whom; the last of such a way stands for all on it.
    let mut next: Vec<u32> = (0..vms as u32).collect();
    fn last(next: &mut [u32], mut v: u32) -> u32 {
        while next[v as usize] != v {
            next[v as usize] = next[next[v as usize] as usize];
            v = next[v as usize];
        }
        v
    }
    let known = || links.iter().filter(|link| (link.a.max(link.b) as usize) < vms);
    for link in known().filter(|link| link.significant) {
        let (a, b) = (last(&mut next, link.a), last(&mut next, link.b));
        next[a.max(b) as usize] = a.min(b);
    }
    known().filter(|link| last(&mut next, link.a) == last(&mut next, link.b)).copied().collect()
}

/// One direction of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tie {
    to: u32,
    /// How much it speaks for a common ensemble, millionths; positive if, and only if, it is significant.
    support: i64,
    /// Millionths.
    z: i64,
}

/// The links of each VM, in order of the other end.
struct Graph {
    first: Vec<usize>,
    ties: Vec<Tie>,
}

impl Graph {
    fn new(vms: usize, links: &[Link], threshold: f64) -> Self {
        let mut all = Vec::with_capacity(2 * links.len());
        for link in links.iter().filter(|l| l.a != l.b && (l.a.max(l.b) as usize) < vms) {
            let opposes = 1.0 - (link.z / threshold).clamp(0.0, 1.0).powi(2);
            let support = if link.significant { CAP } else { -((opposes * MICRO) as i64) - DOUBT };
            let z = (link.z.clamp(0.0, HIGHEST_Z) * MICRO) as i64;
            all.push((link.a, Tie { to: link.b, support, z }));
            all.push((link.b, Tie { to: link.a, support, z }));
        }
        all.sort_unstable_by_key(|(from, tie)| (*from, tie.to, -tie.support, -tie.z));
        all.dedup_by_key(|(from, tie)| (*from, tie.to));
        let first = (0..=vms).map(|v| all.partition_point(|(from, _)| (*from as usize) < v)).collect();
        Graph { first, ties: all.into_iter().map(|(_, tie)| tie).collect() }
    }

    fn vms(&self) -> usize {
        self.first.len() - 1
    }

    /// The links of `v`.
    fn ties(&self, v: u32) -> &[Tie] {
        &self.ties[self.first[v as usize]..self.first[v as usize + 1]]
    }

    /// What is known of `v` and `u`.
    fn tie(&self, v: u32, u: u32) -> Tie {
        let ties = self.ties(v);
        let absent = Tie { to: u, support: ABSENT, z: 0 };
        ties.binary_search_by_key(&u, |tie| tie.to).map_or(absent, |at| ties[at])
    }
}
