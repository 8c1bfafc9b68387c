//! How often verdicts are wrong, and how often they come: thousands of drawn parks, of which we know the truth.

use lwt::perturb::Lots;
use lwt::perturb::code::{Block, blocks, code};
use lwt::perturb::command::Command;
use lwt::perturb::series::Series;
use lwt::perturb::verdict::{Finding, Judgement, Open, Params, judge};
use lwt::types::{HostId, VmId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TICK_MS: u64 = 500;
const SLOT_MS: u64 = 2_000;
const MOST: usize = 40;
const ALPHA: f64 = 0.01;
const BETA: f64 = 0.05;
const DEPENDENT: f64 = 0.25;
/// The share of what it used that a victim is left.
const SHARE: f64 = 0.5;
const TICKS: usize = (2 * MOST + 2) * (SLOT_MS / TICK_MS) as usize;

/// What a VM that was not asked does by itself, per tick, about 1 on average.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Independent, with this coefficient of variation.
    White(f64),
    /// Wanders, with a memory of 10 s.
    Wanders,
    /// Rests, and works in bursts that last as long as they like (Pareto).
    Bursts,
    /// Works every 4 s: as long as a block.
    Cron,
    /// Follows the victim's own load before its cap.
    Common,
}

struct Draw {
    rng: ChaCha8Rng,
}

impl Draw {
    fn uniform(&mut self) -> f64 {
        self.rng.random()
    }

    /// About normal: twelve uniform ones.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Mean 1.
    fn noise(&mut self, variation: f64) -> f64 {
        let sigma = (1.0 + variation * variation).ln().sqrt();
        (sigma * self.normal() - sigma * sigma / 2.0).exp()
    }

    fn wander(&mut self) -> Vec<f64> {
        let (keep, mut x) = (0.95_f64, 0.0);
        let mut step = || {
            x = keep * x + 0.6 * (1.0 - keep * keep).sqrt() * self.normal();
            x.exp()
        };
        (0..TICKS).map(|_| step()).collect()
    }

    fn load(&mut self, load: Load, victim: &[f64]) -> Vec<f64> {
        let (mut left, mut works, phase) = (0.0, false, (self.uniform() * 8.0) as usize);
        let wanders = self.wander();
        let each = |t: usize| match load {
            Load::White(variation) => self.noise(variation),
            Load::Wanders => wanders[t] * self.noise(0.3),
            Load::Common => victim[t] * self.noise(0.3),
            Load::Cron => {
                if (t + phase) % 8 < 2 {
                    3.0
                } else {
                    0.2 * self.noise(0.5)
                }
            }
            Load::Bursts => {
                if left < 1.0 {
                    works = !works;
                    left = 2.0 * self.uniform().max(1e-3).powf(-0.8);
                }
                left -= 1.0;
                if works { 2.0 * self.noise(0.4) } else { 0.02 }
            }
        };
        (0..TICKS).map(each).collect()
    }
}

/// The blocks of a victim, and for each tick whether it is capped.
fn codes(serial: u64, vm: &str) -> (Vec<Block>, Vec<bool>) {
    let (start_ms, code) = (SLOT_MS as i64, code(serial, &VmId::new(vm), MOST));
    let command = Command {
        v: 1,
        serial,
        host: HostId::new("h"),
        vm: VmId::new(vm),
        start_ms,
        slot_ms: SLOT_MS,
        code,
        share: SHARE,
        issued_ms: 0,
        expires_ms: 1_000_000,
    };
    let capped = (0..TICKS as u64).map(|t| command.is_on((t * TICK_MS) as i64)).collect();
    (blocks(&command), capped)
}

/// What a victim that wants `wants` gets: while it is capped no more than a share of what it used lately, and the rest
/// after.
fn capped(wants: &[f64], capped: &[bool]) -> Vec<f64> {
    let (mut backlog, mut lately) = (0.0, wants[0]);
    let each = |(want, capped): (&f64, &bool)| {
        lately += 0.05 * (want - lately);
        let wanted = want + backlog;
        let got = wanted.min(if *capped { SHARE * lately } else { 2.0 * want });
        // Who waits too long gives up.
        backlog = (wanted - got).min(2.0 * want);
        got
    };
    wants.iter().zip(capped).map(each).collect()
}

fn series(values: &[f64]) -> Series {
    let mut series = Series::new(TICK_MS);
    series.push(0, &values.iter().map(|x| (x * 100_000.0).round() as u32).collect::<Vec<_>>());
    series
}

/// A park: what the other VM does by itself, and whether it depends on a second victim with coins of its own, too.
#[derive(Clone, Copy, Debug)]
struct Park {
    load: Load,
    second: bool,
}

/// What is found in a park in which the other VM uses what `answers` makes of what it would do by itself, of what the
/// victim would do and of what the victim does, tick by tick.
fn ask(seed: u64, park: Park, lots: &Lots, answers: impl Fn(f64, f64, f64) -> f64) -> Judgement {
    let mut draw = Draw { rng: ChaCha8Rng::seed_from_u64(seed) };
    let wants: Vec<f64> = draw.wander().iter().map(|x| x * draw.noise(0.3)).collect();
    let (blocks, on) = codes(seed, "victim");
    let does = capped(&wants, &on);
    let own = draw.load(park.load, &wants);
    let second = if park.second { capped(&[1.0; TICKS], &codes(seed, "second").1) } else { vec![1.0; TICKS] };
    let watched: Vec<f64> = (0..TICKS).map(|t| answers(own[t], wants[t], does[t]) * second[t]).collect();
    let params = Params::new(ALPHA, BETA, DEPENDENT, MOST).unwrap();
    judge(&series(&does), &series(&watched), &blocks, &params, lots)
}

fn count(found: &[Judgement], finding: Finding) -> usize {
    found.iter().filter(|judgement| judgement.verdict == finding).count()
}

/// So many of `n` with the chance `p` are exceeded with a chance below 1 in 30,000.
fn most(n: usize, p: f64) -> usize {
    (n as f64 * p + 4.0 * (n as f64 * p).sqrt() + 1.0) as usize
}

const LOADS: [Load; 5] = [Load::White(1.0), Load::Wanders, Load::Bursts, Load::Cron, Load::Common];

#[test]
fn what_does_not_depend_is_not_confirmed() {
    const DRAWS: u64 = 600;
    let lots = Lots::new(MOST);
    let mut all = (0, 0);
    for load in LOADS {
        let found: Vec<_> = (0..DRAWS)
            .map(|seed| ask(seed, Park { load, second: seed % 2 == 0 }, &lots, |own, _, _| own))
            .collect();
        let [confirmed, refuted] =
            [Finding::Confirmed, Finding::Refuted].map(|finding| count(&found, finding));
        println!("{load:?}: of {DRAWS} independent pairs {confirmed} confirmed, {refuted} refuted");
        assert!(confirmed <= most(found.len(), ALPHA), "{load:?}: {confirmed}");
        all = (all.0 + confirmed, all.1 + found.len());
    }
    println!("{} of {} independent pairs confirmed", all.0, all.1);
    assert!(all.0 <= most(all.1, ALPHA), "{all:?}");
}

/// The neighbour gets what the victim leaves, and loses what the victim takes when it catches up.
#[test]
fn who_takes_what_the_victim_leaves_is_not_confirmed() {
    let lots = Lots::new(MOST);
    let park = Park { load: Load::White(0.3), second: false };
    let found: Vec<_> = (0..500)
        .map(|seed| ask(seed, park, &lots, |own, wants, does| (own + 0.5 * (wants - does)).max(0.0)))
        .collect();
    let (confirmed, refuted) = (count(&found, Finding::Confirmed), count(&found, Finding::Refuted));
    let rises = found.iter().filter(|judgement| judgement.open == Some(Open::Rises)).count();
    println!("of 500 neighbours {rises} rise, {confirmed} confirmed, {refuted} refuted");
    assert!(confirmed <= most(500, ALPHA) && rises > 450);
}

/// Who falls by a quarter of what the victim falls by is refuted rarely, and who falls with it is confirmed.
#[test]
fn what_depends_is_confirmed() {
    const DRAWS: u64 = 150;
    let lots = Lots::new(MOST);
    println!("park, effect: confirmed, refuted of {DRAWS}, blocks of 50 % and 95 % of the confirmed");
    let parks = [Load::White(0.3), Load::White(1.0), Load::Wanders, Load::Bursts]
        .map(|load| Park { load, second: false });
    for park in parks.into_iter().chain([Park { load: Load::White(0.3), second: true }]) {
        for effect in [1.0, 0.5, DEPENDENT] {
            let depends =
                |own: f64, wants: f64, does: f64| own * (1.0 - effect * (1.0 - does / wants)).max(0.0);
            let found: Vec<_> = (0..DRAWS).map(|seed| ask(seed, park, &lots, depends)).collect();
            let (confirmed, refuted) = (count(&found, Finding::Confirmed), count(&found, Finding::Refuted));
            let mut blocks: Vec<usize> = found
                .iter()
                .filter(|judgement| judgement.verdict == Finding::Confirmed)
                .map(|judgement| judgement.blocks)
                .collect();
            blocks.sort_unstable();
            let quantile = |share: usize| blocks.get(blocks.len() * share / 100);
            println!("{park:?}, {effect}: {confirmed}, {refuted}, {:?} {:?}", quantile(50), quantile(95));
            assert!(refuted <= most(found.len(), BETA), "{park:?} {effect}: {refuted}");
            let steady = matches!(park, Park { load: Load::White(_) | Load::Wanders, second: false });
            assert!(effect < 1.0 || !steady || confirmed as u64 * 100 >= DRAWS * 95, "{park:?}: {confirmed}");
        }
    }
}
