//! Moments that move everybody say little; a moment that moves two says much. Sums over the park (and over each
//! host) of what its VMs did at each moment, from which each VM's weights follow: integers, added up in any
//! order and on any worker.

use serde::{Deserialize, Serialize};

use super::null::median;
use super::params::{Params, Scale, UNIT};
use super::seen::Seen;

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
    /// Those that take part, for each scale.
    at: Vec<At>,
    /// A whole vote; 0 for 1.
    whole: u32,
    /// The sum of their clipped scores times votes: of 2^24 VMs with one vote each it stays below 2^31, of 512
    /// with 4,096 each below 2^28.
    clipped: Vec<i32>,
    /// How many of them were active, times votes.
    active: Vec<u32>,
}

/// Who takes part in a scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct At {
    vms: u32,
    /// The sum of their votes.
    votes: u64,
}

impl Sums {
    /// Of nobody yet, for VMs that can have a part of a vote.
    pub fn shared(whole: u32) -> Self {
        Sums { whole, ..Sums::default() }
    }

    /// Adds one VM's scores, for which it has so many votes.
    pub fn add(&mut self, scores: Seen<'_>, vote: u32, params: &Params) {
        self.vms += 1;
        self.at.resize(params.scales().len(), At::default());
        for (at, _) in self.at.iter_mut().zip(params.scales()).filter(|(_, scale)| scores.is_at(scale)) {
            at.vms += 1;
            at.votes += u64::from(vote);
        }
        let scores = scores.values;
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
        self.at.resize(others.at.len().max(self.at.len()), At::default());
        for (at, other) in self.at.iter_mut().zip(&others.at) {
            at.vms += other.vms;
            at.votes += other.votes;
        }
        self.clipped.resize(others.clipped.len().max(self.clipped.len()), 0);
        self.active.resize(self.clipped.len(), 0);
        self.clipped.iter_mut().zip(&others.clipped).for_each(|(sum, other)| *sum += other);
        self.active.iter_mut().zip(&others.active).for_each(|(sum, other)| *sum += other);
    }

    /// Who takes part in the scale with this index.
    fn at(&self, of: usize) -> At {
        self.at.get(of).copied().unwrap_or_default()
    }

    /// The votes of the others at that scale.
    fn others(&self, of: usize, vote: u32) -> f64 {
        self.at(of).votes.saturating_sub(u64::from(vote)).max(1) as f64
    }

    /// The mean of the others, who have so many votes, at `at`, in standard deviations.
    fn mean(&self, at: usize, (own, vote): (i8, u32), others: f64) -> f64 {
        let own = i32::from(own.clamp(-CLIP, CLIP)) * vote as i32;
        f64::from(self.clipped[at] - own) / others / UNIT
    }

    /// By how many standard deviations the mean must move to halve a moment's weight, at the scale with this index. VMs that
    /// share a vote move together: chance makes of them what it makes of one.
    fn moved(&self, of: usize) -> f64 {
        let voices = self.at(of).votes as f64 / f64::from(self.whole.max(1));
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
        let share = |(of, scale): (usize, &Scale)| {
            let active = park.active.get(scale.range()).unwrap_or_default();
            let mut active: Vec<f64> = active.iter().map(|&votes| f64::from(votes)).collect();
            median(&mut active) / park.at(of).votes.max(1) as f64
        };
        let usual = params.scales().iter().enumerate().map(share).collect();
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
    /// for the share of active VMs beyond the usual; each of the VMs that take part in the moment's scale.
    pub fn weights<'a>(
        &'a self,
        (scores, vote): (&'a [i8], u32),
        host: Option<&'a Sums>,
        params: &'a Params,
    ) -> impl Iterator<Item = f64> + 'a {
        let told =
            move |of: usize| move |host: &&Sums| (LEAST_VMS..self.park.at(of).vms).contains(&host.at(of).vms);
        params.scales().iter().zip(&self.usual).enumerate().flat_map(move |(of, (scale, usual))| {
            let host = host.filter(told(of));
            let (park_moved, host_moved) = (self.park.moved(of), host.map_or(1.0, |host| host.moved(of)));
            let (others, others_here) =
                (self.park.others(of, vote), host.map_or(1.0, |host| host.others(of, 1)));
            scale.range().map(move |at| {
                let own = scores[at];
                let park = self.park.mean(at, (own, vote), others);
                let beyond = host.map_or(0.0, |host| host.mean(at, (own, 1), others_here) - park);
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

    fn park(rows: &[&[i8]], params: &Params) -> Sums {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(Seen::fine(row), 1, params));
        sums
    }

    #[test]
    fn what_moves_everybody_counts_little_and_what_moves_one_counts() {
        let params = Params::new(1000, 30, 30, 0.01).unwrap();
        let mut rows = vec![vec![0i8; 20]; 30];
        rows.iter_mut().for_each(|row| row[3] = 80);
        rows[0][7] = 120;
        let refs: Vec<&[i8]> = rows.iter().map(Vec::as_slice).collect();
        let moments = Moments::new(park(&refs, &params), &params);
        let weights: Vec<f64> = moments.weights((&rows[0], 1), None, &params).collect();
        assert!(weights[3] < 0.02 && weights[7] == 1.0 && weights[0] == 1.0, "{weights:?}");
    }

    #[test]
    fn who_takes_no_part_in_a_scale_has_no_vote_there() {
        let params = Params::new(1000, 300, 60, 0.01).unwrap();
        let (finest, coarsest) = (params.scales()[0].start, params.scales()[2].start);
        let mut busy = vec![0i8; params.values()];
        busy[finest] = 60;
        busy[coarsest] = 60;
        let mut calm = vec![0i8; params.values()];
        let weigh = |grain: usize, calm: &[i8]| {
            let mut sums = park(&[&busy[..]; 10], &params);
            (0..90).for_each(|_| sums.add(Seen { values: calm, grain }, 1, &params));
            let moments = Moments::new(sums, &params);
            let weights: Vec<f64> = moments.weights((&busy, 1), None, &params).collect();
            (weights[finest], weights[coarsest])
        };
        // 10 of 100 move: hardly worth mentioning. If they are all that are sampled so finely, everybody moves.
        let (fine, coarse) = (weigh(1, &calm), weigh(5, &calm));
        assert!(fine.0 > 0.5 && coarse.0 < 0.1, "{fine:?} {coarse:?}");
        assert_eq!(fine.1, coarse.1);
        calm[coarsest] = 60;
        assert!(weigh(5, &calm).1 < 0.1);
    }

    #[test]
    fn a_host_moves_beyond_the_park() {
        let params = Params::new(1000, 30, 30, 0.01).unwrap();
        let (calm, busy) = (vec![0i8; 20], {
            let mut row = vec![0i8; 20];
            row[5] = -60;
            row
        });
        let host = park(&[&busy[..]; 10], &params);
        let mut all = park(&[&calm[..]; 90], &params);
        all.merge(&host);
        let moments = Moments::new(all, &params);
        let weigh = |host| moments.weights((&busy, 1), host, &params).collect::<Vec<_>>();
        assert!(weigh(None)[5] > 0.8);
        assert!(weigh(Some(&host))[5] < 0.2 && weigh(Some(&host))[4] == 1.0);
    }
}
