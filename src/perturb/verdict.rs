//! What the answer to a question means: does this VM depend on the one that was capped? Pure.
//!
//! **The statistic.** For each block `j` of the victim's code (`code`) and each lag `l` of 0, a quarter and half of a slot,
//! `d[j,l]` is by how much the other VM's score in the second slot exceeds that in the first (`response`), and
//! `s[j]` is 1 if the victim was capped in the first, -1 if in the second. `z[l] = sum_j s[j] d[j,l] / sqrt(sum_j d[j,l]^2)` is
//! positive if the VM uses less when the victim is capped. The statistic is the largest of `z[0]` and all `z[l]` if `z[0]`
//! is not negative, else the smallest. So what rises at once is taken for what rises, whatever follows.
//!
//! **Confirmed** if it crosses a boundary that all outcomes of the victim's coins cross with a chance of at most `alpha` at any
//! of the looks (`lots`): *of the pairs that are asked about and do not depend, at most the share `alpha` is confirmed*, for
//! whatever load, bursts, memory and company; victims that are capped at the same time have other coins.
//!
//! **Rising.** When a VM of an overloaded host is capped its neighbours get more CPU, and when it is freed and catches up they
//! get less: they rise in its capped slots. Such a VM does not depend on it; one that takes over its work does. We cannot tell
//! these apart, on other hosts neither (who works for a neighbour rises with it): what rises is never confirmed, and never
//! refuted, because a rise may hide a fall.
//!
//! **Refuted** means: it does not fall by a quarter of what the victim falls by, relatively (`dependent`), at any
//! of the lags. For each lag that fall is undone (capped slots are divided by `1 - dependent * victim's fall`);
//! if it were there, nothing would be left for the coins to show. If they show, with an error of `beta`, a rise, at every lag,
//! it is refuted. *Of those that fall so much or more at most the share `beta` is refuted* (the victim's fall is measured, and taken
//! for exact: it is many times its error). A test with little power refutes nothing: the pair stays undecided.
//!
//! **Cause**: the capped VM, since nobody but the coins decided when it was capped. Only *through whom* stays open.
//!
//! What is not seen: answers that come later than about a slot; those of a VM that does not depend on this one but this one on
//! it (one that only listens): the pair is refuted when both directions are.

use serde::{Deserialize, Serialize};

use super::code::Block;
use super::lots::{Crossing, Lots, chance};
use super::response::{Response, responses};
use super::series::Series;
pub use crate::dependencies::Finding;

/// The first look, in blocks: of fewer no outcome is rarer than a part of 0.5 %.
pub const FIRST_LOOK: usize = 12;

/// Looks follow each other after so many blocks.
pub const NEXT_LOOK: usize = 4;

/// A cap that takes less than this share of the victim's use is none.
const LEAST_FALL: f64 = 0.1;

/// The victim's own fall must be so many standard deviations.
const SURE_FALL: f32 = 2.3;

/// What may go wrong, and when we give up.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Params {
    /// The share of pairs that do not depend, and are confirmed all the same.
    alpha: f64,
    /// The share of pairs that depend, and are refuted all the same.
    beta: f64,
    /// A VM that depends on another falls by this share of the other's fall.
    dependent: f64,
    /// The most blocks.
    most: usize,
}

/// Parameters that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParamsError {
    /// The errors.
    #[error("an error is between 0.001 and 0.5: with less no number of blocks is enough")]
    Error,
    /// The dependent effect.
    #[error("the effect of a dependency is a share, above 0, up to 1")]
    Dependent,
    /// The blocks.
    #[error("a question takes {FIRST_LOOK} to 1000 blocks")]
    Blocks,
}

impl Params {
    /// `alpha` of what does not depend may be confirmed, `beta` of what does refuted, which means to fall by `dependent` of
    /// what the victim falls by; after `most` blocks it stays undecided.
    ///
    /// # Errors
    /// [`ParamsError`].
    pub fn new(alpha: f64, beta: f64, dependent: f64, most: usize) -> Result<Self, ParamsError> {
        let is_error = |error: f64| (0.001..=0.5).contains(&error);
        if !is_error(alpha) || !is_error(beta) {
            return Err(ParamsError::Error);
        }
        if !(dependent > 0.0 && dependent <= 1.0) {
            return Err(ParamsError::Dependent);
        }
        if !(FIRST_LOOK..=1000).contains(&most) {
            return Err(ParamsError::Blocks);
        }
        Ok(Params { alpha, beta, dependent, most })
    }

    /// The most blocks.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The share of pairs that do not depend, and are confirmed all the same.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// After how many blocks we look.
    fn looks(&self, blocks: usize) -> impl Iterator<Item = usize> + use<> {
        let most = self.most;
        (FIRST_LOOK..most).step_by(NEXT_LOOK).chain([most]).filter(move |look| *look <= blocks)
    }

    /// The share of an error that may be spent at a look, and before: in proportion to the blocks.
    fn spent(&self, look: usize) -> f64 {
        look as f64 / self.most as f64
    }
}

/// Why something stays undecided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// More blocks are needed.
    Blocks,
    /// All blocks that were allowed are over.
    Noise,
    /// The victim was not slowed down by its cap.
    NoBite,
    /// The VM does nothing, or always the same.
    Idle,
    /// It rises when the victim is capped: it takes what the victim leaves, CPU or work.
    Rises,
    /// The agent did not do it.
    NotDone,
}

/// What is known of a pair.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judgement {
    /// What was found.
    pub verdict: Finding,
    /// Why it is undecided, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// On how many blocks it stands.
    pub blocks: usize,
    /// The share of outcomes of the coins that show as large a fall: one of several looks.
    pub chance: f64,
    /// How much less the capped VM used when capped, relative to what it used when not.
    pub fall: f64,
    /// The same of the other VM, at the lag at which it is clearest.
    pub response: f64,
    /// That lag.
    pub lag_ms: u64,
}

impl Judgement {
    /// Of a pair about which nothing could be learned.
    pub fn open(why: Open) -> Self {
        let (verdict, open) = (Finding::Undecided, Some(why));
        Judgement { verdict, open, blocks: 0, chance: 1.0, fall: 0.0, response: 0.0, lag_ms: 0 }
    }

    /// How much the other VM falls, relatively, for each part that the capped VM falls by: 1 if in proportion.
    pub fn effect(&self) -> Option<f64> {
        (self.fall > 0.0).then(|| self.response / self.fall)
    }

    /// Whether more blocks can change it.
    pub fn goes_on(&self) -> bool {
        self.open == Some(Open::Blocks)
    }
}

/// What the use of `watched` says about `victim`, which was capped in these `blocks`: the first look at which
/// something is certain decides. `lots` must be for `params.most()` blocks or more.
pub fn judge(victim: &Series, watched: &Series, blocks: &[Block], params: &Params, lots: &Lots) -> Judgement {
    let (mut coins, of_vms) = responses(&[victim, watched], blocks);
    coins.truncate(params.most.min(lots.blocks()));
    let mut pair = Pair { params, lots, coins: &coins, victim: &of_vms[0], watched: &of_vms[1] };
    let mut trial = Trial::default();
    let mut found = Judgement::open(Open::Blocks);
    for look in params.looks(coins.len()) {
        pair.coins = &coins[..look];
        found = pair.look(&mut trial);
        if !found.goes_on() {
            return found;
        }
    }
    let over = coins.len() >= params.most;
    if over { Judgement { open: Some(Open::Noise), ..found } } else { found }
}

/// A pair, up to some look.
struct Pair<'a> {
    params: &'a Params,
    lots: &'a Lots,
    coins: &'a [bool],
    victim: &'a [Response],
    watched: &'a [Response],
}

/// What has crossed which boundary.
#[derive(Default)]
struct Trial {
    falls: Crossing,
    rises: Crossing,
    /// At each lag: that it does not fall as one that depends does.
    little: [Crossing; 3],
}

impl Pair<'_> {
    fn look(&self, trial: &mut Trial) -> Judgement {
        let (blocks, share) = (self.coins.len(), self.params.spent(self.coins.len()));
        let fall = self.cut(&self.victim[0]).fall(self.coins);
        let open = |open| Judgement { blocks, fall, ..Judgement::open(open) };
        if fall < LEAST_FALL || !self.is_sure_to_fall() {
            return open(if self.is_last() { Open::NoBite } else { Open::Blocks });
        }
        let Some(by_lag) = self.sums(0.0) else {
            return open(if self.is_last() { Open::Idle } else { Open::Blocks });
        };
        let (statistics, at) = combined(&by_lag);
        let (lag_ms, response) = (self.watched[at].lag_ms, self.cut(&self.watched[at]).fall(self.coins));
        let found = Judgement { chance: chance(&statistics), response, lag_ms, ..open(Open::Blocks) };
        trial.falls.look(&statistics, self.params.alpha * share);
        let negative: Vec<f32> = statistics.iter().map(|z| -z).collect();
        trial.rises.look(&negative, self.params.beta * share);
        if trial.falls.real() {
            return Judgement { verdict: Finding::Confirmed, open: None, ..found };
        }
        if trial.rises.real() {
            return Judgement { open: Some(Open::Rises), ..found };
        }
        if self.is_little(trial, self.params.dependent * fall, self.params.beta * share) {
            return Judgement { verdict: Finding::Refuted, open: None, ..found };
        }
        found
    }

    fn is_last(&self) -> bool {
        self.coins.len() >= self.params.most
    }

    fn cut(&self, response: &Response) -> Response {
        Response { lag_ms: response.lag_ms, means: response.means[..self.coins.len()].to_vec() }
    }

    /// Of the victim its own series says so.
    fn is_sure_to_fall(&self) -> bool {
        let differences = self.cut(&self.victim[0]).differences(self.coins, 0.0);
        let sum = |differences: Vec<f32>| -> f32 {
            let signs = differences.iter().zip(self.coins);
            signs.map(|(difference, first)| if *first { *difference } else { -difference }).sum()
        };
        differences.is_some_and(|differences| sum(differences) > SURE_FALL)
    }

    /// The sums of the watched VM at each lag, for each sequence of coins, with a fall undone.
    fn sums(&self, undone: f64) -> Option<Vec<Vec<f32>>> {
        let sums = |response| {
            let differences = self.cut(response).differences(self.coins, undone)?;
            Some(self.lots.sums(&differences, self.coins))
        };
        self.watched.iter().map(sums).collect()
    }

    /// Whether it falls by less than `fall` at every lag.
    fn is_little(&self, trial: &mut Trial, fall: f64, spent: f64) -> bool {
        let Some(by_lag) = self.sums(fall) else { return false };
        for (crossing, sums) in trial.little.iter_mut().zip(by_lag) {
            let rises: Vec<f32> = sums.iter().map(|z| -z).collect();
            crossing.look(&rises, spent);
        }
        trial.little.iter().all(Crossing::real)
    }
}

/// For each sequence of coins the sum that counts: of the lags the largest, or, if the first is negative, the smallest;
/// and at which lag the real one has it.
fn combined(by_lag: &[Vec<f32>]) -> (Vec<f32>, usize) {
    let at = |i: usize| {
        let rises = by_lag[0][i] < 0.0;
        let better = |a: &usize, b: &usize| {
            let order = by_lag[*a][i].total_cmp(&by_lag[*b][i]);
            if rises { order.reverse() } else { order }
        };
        (0..by_lag.len()).max_by(better).unwrap_or(0)
    };
    ((0..by_lag[0].len()).map(|i| by_lag[at(i)][i]).collect(), at(0))
}
