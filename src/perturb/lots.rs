//! The coins thrown again: what a statistic would have been, had other lots been drawn. Pure.
//!
//! If a VM does not respond to another one's cap, each outcome of that one's coins was as likely as the one that came (the
//! sharp null hypothesis; Fisher, *The Design of Experiments*, 1935, section 21). So the value of *any* statistic of the real coins
//! is one of equally likely values, of which we draw 3,999 more: the chance that it is among the `k` largest of all
//! 4,000 is `k / 4,000`, exactly: whether a series has bursts, memory, trends or company does not matter.
//!
//! We look several times while blocks come in, and each look may spend a part of the error that is allowed (Lan and DeMets,
//! *Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983). The boundary at each look is that of all 4,000
//! sequences of coins: those that have crossed it before are out, and so many of the others cross it as are left to be
//! spent. The real sequence is one of them, so it crosses at any look with a chance of at most what was allowed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How many sequences there are, with the real one: an error of 0.5 % that is spent at eight looks is six of them at the
/// first and two at each other.
pub const SEQUENCES: usize = 4_000;

/// Any number: the coins must only not depend on what is judged.
const SEED: u64 = 0x6c77_7421;

/// Other coins than the real ones.
#[derive(Clone, Debug)]
pub struct Lots {
    /// For each block, for each sequence but the real one, 1 or -1.
    coins: Vec<Vec<f32>>,
}

impl Lots {
    /// For up to so many blocks: 16 kB a block.
    pub fn new(blocks: usize) -> Self {
        let mut coins = ChaCha8Rng::seed_from_u64(SEED);
        let mut throw = |_| {
            let mut bits = 0;
            let coin = |i: usize| {
                bits = if i.is_multiple_of(64) { coins.next_u64() } else { bits >> 1 };
                if bits & 1 == 1 { 1.0 } else { -1.0 }
            };
            (1..SEQUENCES).map(|i| i - 1).map(coin).collect()
        };
        Lots { coins: (0..blocks).map(&mut throw).collect() }
    }

    /// For how many blocks.
    pub fn blocks(&self) -> usize {
        self.coins.len()
    }

    /// The sum of `differences`, one a block, each with the sign of its coin: first by the `real` coins, then by each other
    /// sequence. Added up block by block, so the same everywhere.
    pub fn sums(&self, differences: &[f32], real: &[bool]) -> Vec<f32> {
        let mut sums = vec![0.0; SEQUENCES];
        let blocks = differences.iter().zip(real).zip(&self.coins);
        for ((difference, first), coins) in blocks {
            sums[0] += if *first { *difference } else { -difference };
            sums[1..].iter_mut().zip(coins).for_each(|(sum, coin)| *sum += difference * coin);
        }
        sums
    }
}

/// Which sequences have crossed a boundary at a look so far.
#[derive(Clone, Debug)]
pub struct Crossing {
    crossed: Vec<bool>,
    count: usize,
}

impl Default for Crossing {
    fn default() -> Self {
        Crossing { crossed: vec![false; SEQUENCES], count: 0 }
    }
}

impl Crossing {
    /// Another look: the statistic of each sequence, the real one first. In all looks so far, this one among them, the
    /// chance of a crossing may be `spent`. Equal values cross together or not at all.
    pub fn look(&mut self, statistics: &[f32], spent: f64) {
        let allowed = ((spent * SEQUENCES as f64) as usize).saturating_sub(self.count);
        let crossed = self.crossed.iter().zip(statistics);
        let mut open: Vec<f32> = crossed.filter(|(out, _)| !**out).map(|(_, value)| *value).collect();
        if allowed == 0 || allowed >= open.len() {
            return;
        }
        // The largest value that may not cross any more.
        let boundary = *open.select_nth_unstable_by(allowed, |a, b| b.total_cmp(a)).1;
        for (out, value) in self.crossed.iter_mut().zip(statistics).filter(|(out, _)| !**out) {
            *out = *value > boundary;
            self.count += usize::from(*out);
        }
    }

    /// Whether the real sequence has crossed.
    pub fn real(&self) -> bool {
        self.crossed[0]
    }
}

/// The share of sequences that reach the real one's value, itself among them: a p-value, were there one look only.
pub fn chance(statistics: &[f32]) -> f64 {
    let reach = statistics.iter().filter(|value| **value >= statistics[0]).count();
    reach as f64 / statistics.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_the_signs_of_the_coins() {
        let lots = Lots::new(3);
        let sums = lots.sums(&[1.0, 2.0, 4.0], &[true, false, true]);
        assert_eq!((sums.len(), sums[0]), (SEQUENCES, 3.0));
        // Eight outcomes, equally likely.
        for want in [-7.0, -5.0, -3.0, -1.0, 1.0, 3.0, 5.0, 7.0] {
            let count = sums[1..].iter().filter(|sum| **sum == want).count();
            assert!(count.abs_diff(SEQUENCES / 8) < 100, "{want}: {count}");
        }
        assert!((chance(&lots.sums(&[1.0; 3], &[true; 3])) - 0.125).abs() < 0.02);
    }

    #[test]
    fn no_more_cross_than_was_allowed() {
        let mut crossing = Crossing::default();
        let rising =
            |real: f32| (0..SEQUENCES).map(|i| if i == 0 { real } else { i as f32 }).collect::<Vec<_>>();
        crossing.look(&rising(0.0), 0.0025);
        assert_eq!((crossing.count, crossing.real()), (10, false));
        crossing.look(&rising(1e9), 0.0025);
        assert_eq!((crossing.count, crossing.real()), (10, false), "nothing is left to be spent");
        // Those that crossed before are out: the next ten, and the real one is the first of them.
        crossing.look(&rising(3_989.5), 0.005);
        assert_eq!((crossing.count, crossing.real()), (20, true));
        let mut tied = Crossing::default();
        tied.look(&vec![1.0; SEQUENCES], 0.5);
        assert_eq!(tied.count, 0);
    }
}
