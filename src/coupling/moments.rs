//! Moments that move everybody say little; a moment that moves two says much. Sums over the park (and over each
//! host) of what its VMs did at each moment, from which each VM's weights follow: integers, added up in any
//! order and on any worker.

use serde::{Deserialize, Serialize};

use super::null::median;
use super::params::{Params, UNIT};

/// Scores count up to two standard deviations: the mean of the park is then not that of its wildest VM.
const CLIP: i8 = 64;
/// A VM is active at a moment if its score is 1.5 standard deviations from 0.
const ACTIVE: u8 = 48;
/// A park that moves by this many standard deviations halves the weight of the moment.
const MOVE: f64 = 0.5;
/// The standard deviation that the park's mean has by chance is `1 / sqrt(VMs)`; small parks are given almost twice that.
const CHANCE: f64 = 1.875;
/// A share of active VMs that is this much above the usual halves the weight of the moment.
const UNUSUAL: f64 = 0.2;
/// A host needs so many VMs for its own moments to be told from those of each.
const LEAST_VMS: u32 = 8;

/// What some VMs did at each moment of a window, of every scale.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// How many VMs.
    pub vms: u32,
    /// The sum of their votes.
    votes: u64,
    /// A whole vote; 0 for 1.
    whole: u32,
    /// The sum of their clipped scores times votes: of 2^24 VMs with one vote each it stays below 2^31, of 512
    /// with 4,096 each below 2^28.
    clipped: Vec<i32>,
    /// How many of them were active, times votes.
    active: Vec<u32>,
}

impl Sums {
    /// Of nobody yet, for VMs that can have a part of a vote.
    pub fn shared(whole: u32) -> Self {
        Sums { whole, ..Sums::default() }
    }

    /// Adds one VM's scores, for which it has so many votes.
    pub fn add(&mut self, scores: &[i8], vote: u32) {
        self.vms += 1;
        self.votes += u64::from(vote);
        self.clipped.resize(scores.len(), 0);
        self.active.resize(scores.len(), 0);
        for ((clipped, active), &score) in self.clipped.iter_mut().zip(&mut self.active).zip(scores) {
            *clipped += i32::from(score.clamp(-CLIP, CLIP)) * vote as i32;
            *active += u32::from(score.unsigned_abs() >= ACTIVE) * vote;
        }
    }

    /// Adds the sums of other VMs.
    pub fn merge(&mut self, others: &Sums) {
        self.vms += others.vms;
        self.votes += others.votes;
        self.clipped.resize(others.clipped.len().max(self.clipped.len()), 0);
        self.active.resize(self.clipped.len(), 0);
        self.clipped.iter_mut().zip(&others.clipped).for_each(|(sum, other)| *sum += other);
        self.active.iter_mut().zip(&others.active).for_each(|(sum, other)| *sum += other);
    }

    /// The votes of the others.
    fn others(&self, vote: u32) -> f64 {
        self.votes.saturating_sub(u64::from(vote)).max(1) as f64
    }

    /// The mean of the others at `at`, in standard deviations.
    fn mean(&self, at: usize, (own, vote): (i8, u32)) -> f64 {
        let own = i32::from(own.clamp(-CLIP, CLIP)) * vote as i32;
        f64::from(self.clipped[at] - own) / self.others(vote) / UNIT
    }

    /// By how many standard deviations the mean must move to halve a moment's weight. VMs that share a vote move
    /// together: chance makes of them what it makes of one.
    fn moved(&self) -> f64 {
        let voices = self.votes as f64 / f64::from(self.whole.max(1));
        MOVE.max(CHANCE / voices.max(1.0).sqrt())
    }
}

/// The park's moments, as every VM weighs them.
#[derive(Clone, Debug)]
pub struct Moments {
    park: Sums,
    /// The usual share of active VMs, for each scale.
    usual: Vec<f64>,
}

impl Moments {
    /// Of the whole park.
    pub fn new(park: Sums, params: &Params) -> Self {
        let share = |active: &[u32]| {
            let mut active: Vec<f64> = active.iter().map(|&votes| f64::from(votes)).collect();
            median(&mut active) / park.votes.max(1) as f64
        };
        let usual =
            params.scales().iter().map(|scale| park.active.get(scale.range()).map_or(0.0, share)).collect();
        Moments { park, usual }
    }

    /// How many VMs the park has.
    pub fn vms(&self) -> u32 {
        self.park.vms
    }

    /// The weight, 0 to 1, of each moment for a VM with these scores and that vote, on a host with those sums, in
    /// which each VM has one: what the *others* do counts, so that no VM weighs itself down.
    ///
    /// `1 / (1 + |m / s|^3)` for the mean `m` of the park, and again for how much the host moves beyond it, and
    /// for the share of active VMs beyond the usual.
    pub fn weights<'a>(
        &'a self,
        (scores, vote): (&'a [i8], u32),
        host: Option<&'a Sums>,
        params: &'a Params,
    ) -> impl Iterator<Item = f64> + 'a {
        let host = host.filter(|host| host.vms >= LEAST_VMS && host.vms < self.park.vms);
        let (park_moved, host_moved) = (self.park.moved(), host.map_or(1.0, Sums::moved));
        let others = self.park.others(vote);
        params.scales().iter().zip(&self.usual).flat_map(move |(scale, usual)| {
            scale.range().map(move |at| {
                let own = scores[at];
                let park = self.park.mean(at, (own, vote));
                let beyond = host.map_or(0.0, |host| host.mean(at, (own, 1)) - park);
                let active = self.park.active[at] - u32::from(own.unsigned_abs() >= ACTIVE) * vote;
                let unusual = (f64::from(active) / others - usual).max(0.0) / UNUSUAL;
                let halved = |x: f64| 1.0 / (1.0 + x.abs().powi(3));
                halved(park / park_moved) * halved(beyond / host_moved) * halved(unusual)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn park(rows: &[&[i8]]) -> Sums {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(row, 1));
        sums
    }

    #[test]
    fn what_moves_everybody_counts_little_and_what_moves_one_counts() {
        let params = Params::new(1000, 30, 30, 0.01).unwrap();
        let mut rows = vec![vec![0i8; 20]; 30];
        rows.iter_mut().for_each(|row| row[3] = 80);
        rows[0][7] = 120;
        let refs: Vec<&[i8]> = rows.iter().map(Vec::as_slice).collect();
        let moments = Moments::new(park(&refs), &params);
        let weights: Vec<f64> = moments.weights((&rows[0], 1), None, &params).collect();
        assert!(weights[3] < 0.02 && weights[7] == 1.0 && weights[0] == 1.0, "{weights:?}");
    }

    #[test]
    fn a_host_moves_beyond_the_park() {
        let params = Params::new(1000, 30, 30, 0.01).unwrap();
        let (calm, busy) = (vec![0i8; 20], {
            let mut row = vec![0i8; 20];
            row[5] = -60;
            row
        });
        let host = park(&[&busy[..]; 10]);
        let mut all = park(&[&calm[..]; 90]);
        all.merge(&host);
        let moments = Moments::new(all, &params);
        let weigh = |host| moments.weights((&busy, 1), host, &params).collect::<Vec<_>>();
        assert!(weigh(None)[5] > 0.8);
        assert!(weigh(Some(&host))[5] < 0.2 && weigh(Some(&host))[4] == 1.0);
    }
}
