//! Which point belongs to which cluster, with the exact sums of the clusters, and what moving a point costs.

use super::points::Points;

/// What may be rounding, as a share: the centres are exact to 2^-53, a sum of a hundred squares to 1e-14.
pub(super) const NOISE: f64 = 1e-9;

/// Clusters of points. A slot without points is no cluster; it may be filled.
///
/// Lengths are in units of the points. All costs are changes of the inertia, exact but for rounding.
pub(super) struct Partition<'a> {
    points: &'a Points,
    owner: Vec<u32>,
    count: Vec<u32>,
    sum: Vec<i64>,
    centre: Vec<f64>,
    stirred: Vec<bool>,
    journal: Vec<(u32, u32)>,
}

impl<'a> Partition<'a> {
    /// Point `i` in slot `owner[i] < slots`.
    pub fn new(points: &'a Points, owner: Vec<u32>, slots: usize) -> Self {
        let dims = points.dims();
        let (mut count, mut sum) = (vec![0; slots], vec![0; slots * dims]);
        for (&slot, row) in owner.iter().zip(points.rows()) {
            count[slot as usize] += 1;
            add(&mut sum[slot as usize * dims..][..dims], row, 1);
        }
        let (centre, stirred) = (vec![0.0; slots * dims], vec![true; slots]);
        let mut new = Partition { points, owner, count, sum, centre, stirred, journal: Vec::new() };
        (0..slots as u32).for_each(|slot| new.recentre(slot));
        new
    }

    /// The slot of each point.
    pub fn owner(&self) -> &[u32] {
        &self.owner
    }

    /// How many points a slot has.
    pub fn count(&self, slot: u32) -> u32 {
        self.count[slot as usize]
    }

    /// The slots that are clusters.
    pub fn clusters(&self) -> impl Iterator<Item = u32> {
        (0..self.count.len() as u32).filter(|&slot| self.count(slot) > 0)
    }

    /// The mean of a slot's points.
    pub fn centre(&self, slot: u32) -> &[f64] {
        &self.centre[slot as usize * self.points.dims()..][..self.points.dims()]
    }

    /// The points of each slot, ascending.
    pub fn members(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.count.len()];
        self.owner.iter().zip(0..).for_each(|(&slot, x)| members[slot as usize].push(x));
        members
    }

    /// The squared distance of point `x` and the centre of `slot`.
    pub fn distance2(&self, x: u32, slot: u32) -> f64 {
        distance2(self.points.row(x as usize), self.centre(slot))
    }

    /// The squared distance of each point and its own centre, summed.
    pub fn inertia(&self) -> f64 {
        self.owner.iter().zip(0..).map(|(&slot, x)| self.distance2(x, slot)).sum()
    }

    /// By how much the inertia falls when `x` leaves its cluster: n / (n - 1) d^2.
    fn leaving(&self, x: u32) -> f64 {
        let slot = self.owner[x as usize];
        match f64::from(self.count(slot)) {
            n if n < 2.0 => 0.0,
            n => n / (n - 1.0) * self.distance2(x, slot),
        }
    }

    /// By how much the inertia rises when `x` joins `slot`, where it is not: n / (n + 1) d^2.
    fn joining(&self, x: u32, slot: u32) -> f64 {
        let n = f64::from(self.count(slot));
        if n == 0.0 { 0.0 } else { n / (n + 1.0) * self.distance2(x, slot) }
    }

    /// Moves `x` to `slot`, where it is not, and says by how much the inertia rises.
    pub fn shift(&mut self, x: u32, slot: u32) -> f64 {
        let rise = self.joining(x, slot) - self.leaving(x);
        self.journal.push((x, self.owner[x as usize]));
        self.put(x, slot);
        rise
    }

    /// Moves `x` to `slot` if the inertia falls, by more than rounding could feign, and `x` is not alone.
    pub fn improve(&mut self, x: u32, slot: u32) -> f64 {
        let own = self.owner[x as usize];
        if own == slot || self.count(own) < 2 {
            return 0.0;
        }
        let leaving = self.leaving(x);
        let rise = self.joining(x, slot) - leaving;
        if rise >= -NOISE * leaving {
            return 0.0;
        }
        self.journal.push((x, own));
        self.put(x, slot);
        rise
    }

    /// Forgets how to undo, and what has been stirred. Gives back which slots were.
    pub fn settle(&mut self) -> Vec<bool> {
        self.journal.clear();
        std::mem::replace(&mut self.stirred, vec![false; self.count.len()])
    }

    /// How many moves can be undone.
    pub fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Undoes the moves since `mark`.
    pub fn undo(&mut self, mark: usize) {
        for (x, slot) in self.journal.split_off(mark).into_iter().rev() {
            self.put(x, slot);
        }
    }

    /// The point, of these, farthest from the centre of its cluster, the first of equals.
    pub fn farthest(&self, which: &[u32]) -> Option<u32> {
        let distance = |x: u32| self.distance2(x, self.owner[x as usize]);
        let farther = |a: (f64, u32), b: (f64, u32)| if b.0 > a.0 { b } else { a };
        which.iter().map(|&x| (distance(x), x)).reduce(farther).map(|(_, x)| x)
    }

    /// Gives each empty slot below `k` a point: those that are farthest from their centres, one of a
    /// cluster at a time, the lowest of equals. There are at least `k` different points.
    pub fn fill(&mut self, k: u32) {
        loop {
            let empty: Vec<u32> = (0..k).filter(|&slot| self.count(slot) == 0).collect();
            if empty.is_empty() {
                return;
            }
            let distance = |(&slot, x): (&u32, u32)| (self.distance2(x, slot), x);
            let mut far: Vec<(f64, u32)> = self.owner.iter().zip(0..).map(distance).collect();
            far.retain(|&(d, _)| d > 0.0);
            far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut taken = vec![false; self.count.len()];
            far.retain(|&(_, x)| !std::mem::replace(&mut taken[self.owner[x as usize] as usize], true));
            if far.is_empty() {
                return;
            }
            far.iter().zip(empty).for_each(|(&(_, x), slot)| self.put(x, slot));
        }
    }

    fn put(&mut self, x: u32, slot: u32) {
        let (dims, row) = (self.points.dims(), self.points.row(x as usize));
        let own = std::mem::replace(&mut self.owner[x as usize], slot);
        add(&mut self.sum[own as usize * dims..][..dims], row, -1);
        add(&mut self.sum[slot as usize * dims..][..dims], row, 1);
        self.count[own as usize] -= 1;
        self.count[slot as usize] += 1;
        for changed in [own, slot] {
            self.recentre(changed);
            self.stirred[changed as usize] = true;
        }
    }

    fn recentre(&mut self, slot: u32) {
        let (dims, n) = (self.points.dims(), f64::from(self.count(slot)).max(1.0));
        let sums = &self.sum[slot as usize * dims..][..dims];
        let centre = &mut self.centre[slot as usize * dims..][..dims];
        centre.iter_mut().zip(sums).for_each(|(centre, &sum)| *centre = sum as f64 / n);
    }
}

fn add(sums: &mut [i64], row: &[i32], sign: i64) {
    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += sign * i64::from(x));
}

/// Summed in eight lanes, then pairwise: a fixed order that compiles to vector code.
fn distance2(row: &[i32], centre: &[f64]) -> f64 {
    let ((xs, x_rest), (cs, c_rest)) = (row.as_chunks::<8>(), centre.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (x, c) in xs.iter().zip(cs) {
        for i in 0..8 {
            lanes[i] += (f64::from(x[i]) - c[i]) * (f64::from(x[i]) - c[i]);
        }
    }
    let rest: f64 = x_rest.iter().zip(c_rest).map(|(&x, c)| (f64::from(x) - c) * (f64::from(x) - c)).sum();
    fold(lanes) + rest
}

/// The sum of eight lanes, pairwise.
pub(super) fn fold([a, b, c, d, e, f, g, h]: [f64; 8]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
