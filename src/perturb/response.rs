//! How a VM's use differs between the two slots of each block, at several lags. Pure.

use statrs::distribution::{ContinuousCDF, Normal};

use super::code::Block;
use super::series::Series;

/// An answer may come so much later than its cause, in quarters of a slot. Half a slot is the most: later, the release
/// of one slot could be taken for the cap of the next.
const LAGS: [u64; 3] = [0, 1, 2];

/// What a VM used in the first and in the second slot of each block, ppm of one core, at one lag.
#[derive(Clone, PartialEq, Debug)]
pub struct Response {
    /// By so much later than its cause.
    pub lag_ms: u64,
    /// Block by block.
    pub means: Vec<(f64, f64)>,
}

/// What there was in a block at each lag, if there are enough samples of all of it. The lags are whole periods.
fn means(series: &Series, block: &Block) -> Option<Vec<(u64, (f64, f64))>> {
    let slot_ms = block.slot_ms as i64;
    let mut lags = LAGS.map(|quarters| {
        let lag_ms = quarters * block.slot_ms / 4;
        lag_ms - lag_ms % series.period_ms()
    });
    lags.sort_unstable();
    let at = |lag_ms: u64| {
        let from_ms = block.start_ms.saturating_add(lag_ms as i64);
        let (turn_ms, to_ms) = (from_ms.saturating_add(slot_ms), from_ms.saturating_add(2 * slot_ms));
        Some((lag_ms, (series.mean(from_ms, turn_ms)?, series.mean(turn_ms, to_ms)?)))
    };
    lags.into_iter().map(at).collect()
}

/// The responses of several VMs, at each lag, in those blocks in which all of them have samples; and these blocks' coins.
pub fn responses(vms: &[&Series], blocks: &[Block]) -> (Vec<bool>, Vec<Vec<Response>>) {
    let (mut coins, mut of_vms) = (vec![], vec![vec![]; vms.len()]);
    for block in blocks {
        let Some(all) = vms.iter().map(|series| means(series, block)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        coins.push(block.first);
        for (responses, means) in of_vms.iter_mut().zip(all) {
            responses.resize(means.len(), Response { lag_ms: 0, means: vec![] });
            for (response, (lag_ms, pair)) in responses.iter_mut().zip(means) {
                response.lag_ms = lag_ms;
                response.means.push(pair);
            }
        }
    }
    (coins, of_vms)
}

impl Response {
    /// How much less was used in the capped slots than in the others, relative to these; negative if more, 0 if nothing was
    /// ever used.
    pub fn fall(&self, coins: &[bool]) -> f64 {
        let (capped, free) =
            self.means.iter().zip(coins).fold((0.0, 0.0), |(capped, free), (means, first)| {
                let (first, second) = if *first { *means } else { (means.1, means.0) };
                (capped + first, free + second)
            });
        if free > 0.0 { (free - capped) / free } else { -f64::from(u8::from(capped > 0.0)) }
    }

    /// For each block, how much more the second slot's score is than the first's, all divided by the root of the sum of their
    /// squares. Scores are normal scores of ranks among all slots, equal values sharing theirs: bursts do not decide
    /// everything. So the sum with the signs of the coins is positive if less is used when capped, and
    /// about standard normal if it makes no difference.
    ///
    /// What was used in capped slots is divided by `1 - undone` first: as it would have been without such a fall.
    /// None if all is equal.
    pub fn differences(&self, coins: &[bool], undone: f64) -> Option<Vec<f32>> {
        let raise = 1.0 / (1.0 - undone);
        let slots = self.means.iter().zip(coins).flat_map(|((first, second), coin)| {
            if *coin { [first * raise, *second] } else { [*first, second * raise] }
        });
        let scores = scores(&slots.collect::<Vec<_>>());
        let differences: Vec<f64> = scores.chunks_exact(2).map(|slots| slots[1] - slots[0]).collect();
        let norm = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
        (norm > 0.0).then(|| differences.iter().map(|d| (d / norm) as f32).collect())
    }
}

/// Normal scores of ranks: of the i-th of n, what a standard normal variable stays below with the chance (i - 1/2) / n.
fn scores(values: &[f64]) -> Vec<f64> {
    let (normal, n) = (Normal::standard(), values.len());
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut scores, mut first) = (vec![0.0; n], 0);
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + tied.len() as f64 / 2.0;
        let score = normal.inverse_cdf(rank / n as f64);
        tied.iter().for_each(|at| scores[*at] = score);
        first += tied.len();
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(coins: &[bool]) -> Vec<Block> {
        let block = |(i, first): (i64, &bool)| Block { start_ms: 4_000 * i, slot_ms: 2_000, first: *first };
        (0..).zip(coins).map(block).collect()
    }

    #[test]
    fn a_cap_is_a_fall() {
        let coins = [true, false, false, true];
        // 40 when capped, 100 when not; one period of 500 ms late.
        let mut series = Series::new(500);
        series.push(0, &[100]);
        for first in coins {
            let (capped, free) = ([40; 4], [100; 4]);
            series.push(series.end_ms() / 500, &if first { capped } else { free });
            series.push(series.end_ms() / 500, &if first { free } else { capped });
        }
        series.push(series.end_ms() / 500, &[100; 9]);
        let (there, of_vms) = responses(&[&series, &series], &blocks(&coins));
        assert_eq!((there, &of_vms[0]), (coins.to_vec(), &of_vms[1]));
        let lags: Vec<u64> = of_vms[0].iter().map(|response| response.lag_ms).collect();
        assert_eq!(lags, [0, 500, 1_000]);
        let falls: Vec<f64> = of_vms[0].iter().map(|response| response.fall(&coins)).collect();
        assert!((falls[1] - 0.6).abs() < 1e-9 && falls[0] < 0.6 && falls[2] < 0.6, "{falls:?}");
        let right = of_vms[0][1].differences(&coins, 0.0).unwrap();
        let sum: f32 = right.iter().zip(coins).map(|(d, first)| if first { *d } else { -d }).sum();
        assert!((sum - 2.0).abs() < 1e-6, "four blocks that all say the same: {sum}");
        assert_eq!(of_vms[0][1].differences(&coins, 0.6), None, "undone, nothing is left");
    }

    #[test]
    fn a_block_without_samples_is_left_out() {
        let mut series = Series::new(1_000);
        series.push(0, &[5; 4]);
        series.push(8, &[5; 10]);
        let (coins, of_vms) = responses(&[&series], &blocks(&[true, false, true, true]));
        assert_eq!((coins.len(), of_vms[0][0].means.len()), (2, 2));
        assert_eq!(responses(&[&Series::new(1_000)], &blocks(&[true])), (vec![], vec![vec![]]));
    }

    #[test]
    fn equal_values_share_their_score() {
        let scores = scores(&[3.0, 1.0, 3.0, 9.0]);
        assert_eq!(scores[0], scores[2]);
        assert!(scores[1] < scores[0] && scores[0] < scores[3]);
        assert!((scores[1] + scores[3]).abs() < 1e-9);
    }
}
