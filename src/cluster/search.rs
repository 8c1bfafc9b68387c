//! The search for a partition of small inertia: single moves, then exchanges of whole clusters.

use super::nearest::{Columns, NONE, Query, Rows, nearest};
use super::partition::Partition;
use super::points::{Points, UNIT};
use crate::simd::Simd;

/// Sweeps over the points until they are held to be settled. A sweep that moves a handful of points costs a
/// handful of comparisons, and every move lets the inertia fall; a few dozen are usual.
const SWEEPS: usize = 100;

/// Rounds of exchanges. The inertia falls with each; ten are usual.
const ROUNDS: usize = 30;

/// The points as the kernels want them, and what they write to.
pub(super) struct Search {
    rows: Rows,
    columns: Columns,
    found: Vec<u32>,
}

impl Search {
    /// Over these points.
    pub fn new(points: &Points, simd: Simd) -> Self {
        let coords = points.rows().flatten();
        let values = coords.map(|&x| (f64::from(x) / UNIT) as f32).collect();
        let rows = Rows::new(points.dims(), values);
        Search { rows, columns: Columns::new(points.dims(), simd), found: Vec::new() }
    }

    /// The points, as f32.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// For each point of `which` the slot of the nearest centre among those that `admit` holds; with `skip`,
    /// for every point the slot that does not count. `weight` of a centre's count scales its distances.
    pub fn nearest(
        &mut self,
        (which, skip): (&[u32], &[u32]),
        centres: &[(u32, f32, Vec<f32>)],
    ) -> &[u32] {
        self.columns.pack(centres.iter().map(|(slot, weight, row)| (*slot, *weight, row.as_slice())));
        nearest(&Query { rows: &self.rows, which, skip }, &self.columns, &mut self.found);
        &self.found
    }

    /// Moves single points while that lets the inertia fall (Hartigan and Wong, 1979): no point is left
    /// that another cluster would gain more from than its own would lose, so none is nearer to another
    /// centre either (a fixed point of Lloyd's).
    ///
    /// What neither touches a cluster that changed nor has changed itself need not be looked at again.
    pub fn settle(&mut self, partition: &mut Partition) {
        for _ in 0..SWEEPS {
            let stirred = partition.settle();
            if !stirred.contains(&true) {
                return;
            }
            let all = centres(partition, joining_weight, |_| true);
            let some = centres(partition, joining_weight, |slot| stirred[slot as usize]);
            let (moved, calm): (Vec<u32>, Vec<u32>) = (0..self.rows.len() as u32)
                .partition(|&x| stirred[partition.owner()[x as usize] as usize]);
            for (which, centres) in [(moved, &all), (calm, &some)] {
                let found = self.nearest((&which, partition.owner()), centres);
                for (&x, &slot) in which.iter().zip(found).filter(|(_, slot)| **slot != NONE) {
                    partition.improve(x, slot);
                }
            }
        }
    }

    /// Dissolves clusters that cost little and splits others that gain more by it, while that lets the
    /// inertia fall; the last slot must be free.
    pub fn exchange(&mut self, partition: &mut Partition, spare: u32) {
        for _ in 0..ROUNDS {
            if !self.exchange_once(partition, spare) {
                return;
            }
            self.settle(partition);
        }
    }

    pub fn exchange_once(&mut self, partition: &mut Partition, spare: u32) -> bool {
        let all: Vec<u32> = (0..self.rows.len() as u32).collect();
        let every = centres(partition, joining_weight, |_| true);
        let others = self.nearest((&all, partition.owner()), &every).to_vec();
        if others.contains(&NONE) {
            return false;
        }
        let members = partition.members();
        partition.settle();
        let mut losses: Vec<(f64, u32)> = Vec::new();
        let mut gains: Vec<(f64, u32)> = Vec::new();
        for slot in 0..spare {
            let members = &members[slot as usize];
            losses.push((dissolve(partition, members, &others), slot));
            partition.undo(0);
            gains.push((split(partition, members, (slot, spare)), slot));
            partition.undo(0);
        }
        partition.settle();
        losses.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        gains.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut any = false;
        let mut used = vec![false; spare as usize];
        let mut gains = gains.into_iter();
        for (loss, gone) in losses {
            if used[gone as usize] {
                continue;
            }
            let Some((gain, big)) = gains.find(|(_, big)| !used[*big as usize] && *big != gone) else { break };
            if loss + gain >= -1e-9 * loss {
                break;
            }
            let mark = partition.mark();
            let rise = dissolve(partition, &members[gone as usize], &others)
                + split(partition, &members[big as usize], (big, gone));
            if rise < -1e-9 * loss {
                (used[gone as usize], used[big as usize]) = (true, true);
                any = true;
            } else {
                partition.undo(mark);
            }
        }
        any
    }
}

/// Moves the members of a cluster to the next best each; says by how much the inertia rises.
fn dissolve(partition: &mut Partition, members: &[u32], others: &[u32]) -> f64 {
    members.iter().map(|&x| partition.shift(x, others[x as usize])).sum()
}

/// Splits a cluster: its farthest point founds another in an empty slot, then members move between the
/// two while the inertia falls. Says by how much it rises (a negative number).
fn split(partition: &mut Partition, members: &[u32], (slot, free): (u32, u32)) -> f64 {
    let farthest = members.iter().map(|&x| (partition.distance2(x, slot), x));
    let Some((_, founder)) = farthest.max_by(|a, b| a.0.total_cmp(&b.0)) else { return 0.0 };
    if partition.count(slot) < 2 {
        return 0.0;
    }
    let mut rise = partition.shift(founder, free);
    for _ in 0..10 {
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

/// n / (n + 1): what a cluster's growing by a point costs, beside the squared distance.
pub(super) fn joining_weight(n: u32) -> f32 {
    n as f32 / (n as f32 + 1.0)
}

/// The centres of the clusters that `admit` admits, with the weights of their sizes.
pub(super) fn centres(
    partition: &Partition,
    weight: impl Fn(u32) -> f32,
    admit: impl Fn(u32) -> bool,
) -> Vec<(u32, f32, Vec<f32>)> {
    let slots = partition.clusters().filter(|&slot| admit(slot));
    let row = |slot| partition.centre(slot).iter().map(|x| (x / UNIT) as f32).collect();
    slots.map(|slot| (slot, weight(partition.count(slot)), row(slot))).collect()
}
