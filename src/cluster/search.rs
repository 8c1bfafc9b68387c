//! The search for a partition of small inertia: single moves, then exchanges of whole clusters. Which centre is nearest to
//! each point, most of the work, may be asked of others; all else needs the exact sums, and is done in turn.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::nearest::{Columns, NONE, Query, Rows, nearest};
use super::partition::{NOISE, Partition};
use super::points::{Points, UNIT};
use super::seeding::seeds;
use super::share::{Hands, Question};
use crate::simd::Simd;

/// Points that a start looks at, at least. Drawing 1,000 centres from 8,192 points of 50 coordinates takes 20 ms.
const SAMPLE: usize = 8192;

/// Sweeps over the points until they are held to be settled. Every move lets the inertia fall; 10 to 20
/// sweeps are usual, the later of which look at few clusters.
const SWEEPS: usize = 100;

/// Rounds of exchanges. The first brings four fifths of what all together bring (0.3 to 0.7 % of the inertia
/// of 1,200 points in 340 clusters) and takes, with the settling after it, a quarter of the time.
const ROUNDS: usize = 1;

/// Sweeps over the two halves of a cluster that is split, which has a handful of points.
const SPLIT_SWEEPS: usize = 10;

/// A slot, the weight of its distances, its centre.
pub(super) type Centre = (u32, f32, Vec<f32>);

/// Questions of so many products or more are asked of others: half a millisecond of work, some times what asking costs.
const WORTH_ASKING: usize = 1 << 24;

/// The points as the kernels want them, and what they write to.
pub(super) struct Search<'a> {
    points: &'a Points,
    rows: Rows,
    columns: Columns,
    found: Vec<u32>,
    hands: Hands<'a>,
}

impl<'a> Search<'a> {
    /// Over these points.
    pub fn new(points: &'a Points, hands: Hands<'a>) -> Self {
        let columns = Columns::new(points.dims(), hands.simd);
        Search { points, rows: rows(points), columns, found: Vec::new(), hands }
    }

    /// One search from one start: `k` clusters and an empty slot after them. There are at least as many
    /// different points.
    pub fn partition(&mut self, k: usize, rng: &mut ChaCha8Rng) -> Partition<'a> {
        let start = self.start(k, rng);
        let none = vec![NONE; self.points.len()];
        let owner = self.nearest((&self.all(), &none), &start).to_vec();
        let mut partition = Partition::new(self.points, owner, k + 1);
        partition.fill(k as u32);
        self.settle(&mut partition);
        for _ in 0..ROUNDS {
            if !self.exchange(&mut partition, k as u32) {
                break;
            }
            self.settle(&mut partition);
        }
        partition
    }

    /// Centres to start from: at least one, at most `k`.
    fn start(&self, k: usize, rng: &mut ChaCha8Rng) -> Vec<Centre> {
        let enough = SAMPLE.max(8 * k);
        if self.points.len() <= enough {
            let seeds = seeds(&self.rows, k, rng, self.hands.simd);
            return seeds
                .into_iter()
                .zip(0..)
                .map(|(x, slot)| (slot, 1.0, self.rows.row(x).to_vec()))
                .collect();
        }
        let drawn = self.points.select(&sample(self.points.len(), enough, rng));
        let k = k.min(drawn.distinct());
        let rough = Search::new(&drawn, self.hands.simd.into()).partition(k, rng);
        centres(&rough, |_| 1.0, |_| true)
    }

    fn all(&self) -> Vec<u32> {
        (0..self.points.len() as u32).collect()
    }

    /// The simplified silhouette of each point.
    pub fn silhouette(&mut self, partition: &Partition) -> Vec<f64> {
        let all = self.all();
        let found = self.nearest((&all, partition.owner()), &centres(partition, |_| 1.0, |_| true));
        let value = |x: u32, other: u32| {
            let own = partition.owner()[x as usize];
            if other == NONE || partition.count(own) < 2 {
                return 0.0;
            }
            let (a, b) = (partition.distance2(x, own).sqrt(), partition.distance2(x, other).sqrt());
            if a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
        };
        all.iter().zip(found).map(|(&x, &other)| value(x, other)).collect()
    }

    /// For each point of the first list the slot of the nearest centre, or `NONE`; the second says, for every
    /// point there is, which slot does not count.
    fn nearest(&mut self, (which, skip): (&[u32], &[u32]), centres: &[Centre]) -> &[u32] {
        if let Some(ask) = self.hands.ask
            && which.len() * centres.len() * self.points.dims() >= WORTH_ASKING
        {
            self.found = ask(Question::new(which, skip, centres));
            return &self.found;
        }
        self.columns.pack(centres.iter().map(|(slot, weight, row)| (*slot, *weight, row.as_slice())));
        nearest(&Query { rows: &self.rows, which, skip }, &self.columns, &mut self.found);
        &self.found
    }

    /// Moves single points while that lets the inertia fall (Hartigan and Wong, 1979): no point is left
    /// that another cluster would gain more from than its own would lose, so none is nearer to another
    /// centre either (a fixed point of Lloyd's).
    ///
    /// What neither touches a cluster that changed nor has changed itself need not be looked at again.
    fn settle(&mut self, partition: &mut Partition) {
        for _ in 0..SWEEPS {
            let stirred = partition.settle();
            if !stirred.contains(&true) {
                return;
            }
            let all = centres(partition, joining_weight, |_| true);
            let some = centres(partition, joining_weight, |slot| stirred[slot as usize]);
            let (moved, calm): (Vec<u32>, Vec<u32>) =
                (0..self.rows.len() as u32).partition(|&x| stirred[partition.owner()[x as usize] as usize]);
            for (which, centres) in [(moved, &all), (calm, &some)] {
                let found = self.nearest((&which, partition.owner()), centres);
                for (&x, &slot) in which.iter().zip(found).filter(|(_, slot)| **slot != NONE) {
                    partition.improve(x, slot);
                }
            }
        }
    }

    /// Dissolves clusters that cost little and splits others that gain more by it, cheapest and most
    /// gainful first, each at most once; says whether there were any. The slot `spare` is empty, and stays so.
    fn exchange(&mut self, partition: &mut Partition, spare: u32) -> bool {
        let every = centres(partition, joining_weight, |_| true);
        let others = self.nearest((&self.all(), partition.owner()), &every).to_vec();
        if others.contains(&NONE) {
            return false;
        }
        let members = partition.members();
        let mut used = vec![false; spare as usize];
        let (losses, gains) = trials(partition, &members, (&others, spare));
        let mut gains = gains.into_iter();
        for (loss, gone) in losses {
            if used[gone as usize] {
                continue;
            }
            let Some((gain, big)) = gains.find(|&(_, big)| !used[big as usize] && big != gone) else { break };
            if loss + gain >= -NOISE * loss {
                break;
            }
            let mark = partition.mark();
            let rise = dissolve(partition, &members[gone as usize], &others)
                + split(partition, &members[big as usize], (big, gone));
            if rise < -NOISE * loss {
                (used[gone as usize], used[big as usize]) = (true, true);
            } else {
                partition.undo(mark);
            }
        }
        used.contains(&true)
    }
}

/// The kernel by itself: which centre is nearest to each point.
pub struct Assignment<'a>(Search<'a>);

impl<'a> Assignment<'a> {
    /// Of these points.
    pub fn new(points: &'a Points, simd: Simd) -> Self {
        Assignment(Search::new(points, simd.into()))
    }

    /// For each point the index of the nearest of `centres`, which have the same coordinates, the lowest
    /// of equals; `u32::MAX` without centres.
    pub fn nearest(&mut self, centres: &Points) -> &[u32] {
        let row = |row: &[i32]| row.iter().map(|&x| single(f64::from(x))).collect();
        let centres: Vec<Centre> = centres.rows().zip(0..).map(|(x, slot)| (slot, 1.0, row(x))).collect();
        let none = vec![NONE; self.0.points.len()];
        self.0.nearest((&self.0.all(), &none), &centres)
    }
}

/// By how much the inertia would rise, with the slot: the least first.
type Rises = Vec<(f64, u32)>;

/// What it would cost to dissolve each cluster, and to split it into itself and the slot `spare`.
fn trials(partition: &mut Partition, members: &[Vec<u32>], (others, spare): (&[u32], u32)) -> (Rises, Rises) {
    let (mut losses, mut gains) = (Rises::new(), Rises::new());
    partition.settle();
    for (members, slot) in members.iter().zip(0..spare) {
        losses.push((dissolve(partition, members, others), slot));
        partition.undo(0);
        gains.push((split(partition, members, (slot, spare)), slot));
        partition.undo(0);
    }
    partition.settle();
    for rises in [&mut losses, &mut gains] {
        rises.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    (losses, gains)
}

/// Moves the members of a cluster to the next best each; says by how much the inertia rises.
fn dissolve(partition: &mut Partition, members: &[u32], others: &[u32]) -> f64 {
    members.iter().map(|&x| partition.shift(x, others[x as usize])).sum()
}

/// Splits a cluster: its farthest point founds another in an empty slot, then members move between the
/// two while the inertia falls. Says by how much it rises (never: 0 or less).
fn split(partition: &mut Partition, members: &[u32], (slot, free): (u32, u32)) -> f64 {
    let Some(founder) = partition.farthest(members).filter(|_| members.len() > 1) else { return 0.0 };
    let mut rise = partition.shift(founder, free);
    for _ in 0..SPLIT_SWEEPS {
        let before = partition.mark();
        for &x in members {
            let to = if partition.owner()[x as usize] == slot { free } else { slot };
            rise += partition.improve(x, to);
        }
        if partition.mark() == before {
            break;
        }
    }
    rise
}

/// `n` of the numbers below `len`, ascending, each set of them equally likely.
pub(super) fn sample(len: usize, n: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(n);
    for i in 0..len {
        let (left, wanted) = ((len - i) as u64, (n - chosen.len()) as u64);
        if rng.next_u64() % left < wanted {
            chosen.push(i as u32);
        }
    }
    chosen
}

/// Points as the kernels want them.
pub(super) fn rows(points: &Points) -> Rows {
    Rows::new(points.dims(), points.rows().flatten().map(|&x| single(f64::from(x))).collect())
}

/// A coordinate as the kernels want it.
fn single(coordinate: f64) -> f32 {
    (coordinate / UNIT) as f32
}

/// n / (n + 1): what a cluster's growing by a point costs, beside the squared distance.
fn joining_weight(n: u32) -> f32 {
    n as f32 / (n as f32 + 1.0)
}

/// The centres of the clusters that `admit` admits, with the weights of their sizes.
fn centres(partition: &Partition, weight: impl Fn(u32) -> f32, admit: impl Fn(u32) -> bool) -> Vec<Centre> {
    let slots = partition.clusters().filter(|&slot| admit(slot));
    let row = |slot| partition.centre(slot).iter().map(|&x| single(x)).collect();
    slots.map(|slot| (slot, weight(partition.count(slot)), row(slot))).collect()
}
