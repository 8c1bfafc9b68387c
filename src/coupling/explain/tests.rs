//! A park of 20 VMs, with one scale, that is taken apart: `a` and `b` have shocks in common, `late` has them 2 s later.

use super::super::compare::Which;
use super::super::moments::{Moments, Sums};
use super::super::vector;
use super::reason::{Facts, Reason, of_pair};
use super::*;
use crate::types::HostId;
use crate::window::{self, Shape};

const SHOCKS: [usize; 12] = [40, 61, 77, 90, 115, 131, 152, 170, 199, 221, 250, 283];

/// Noise that is the same for the same numbers.
fn noise(vm: usize, t: usize) -> u32 {
    let mut x = (vm as u64 * 1_000_003 + t as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x >> 33) % 40_000) as u32
}

/// The windows of 20 VMs: 0, 1 and 2 are a, b and late.
fn park(params: &Params) -> Vec<Side> {
    let shape = Shape { scales: params.scale_ticks(), ..Shape::new(300, 3, ORDER) };
    let window = window::Params::new(shape).unwrap();
    let late = [Some(0), Some(0), Some(2)];
    let use_ppm = |vm: usize, t: usize| {
        let shock =
            late.get(vm).copied().flatten().is_some_and(|late| SHOCKS.contains(&(t.wrapping_sub(late))));
        100_000 + noise(vm, t) + if shock { 300_000 } else { 0 }
    };
    let side = |vm| {
        let mut one = VmWindow::new(-1);
        let cpu: Vec<u32> = (0..300).map(|t| use_ppm(vm, t)).collect();
        one.push(&window, &HostId::new("h"), 0, &cpu);
        let status = one.close(&window, 99, Simd::Portable);
        Side::new(&one, status, params, Simd::Portable)
    };
    (0..20).map(side).collect()
}

fn judge(sides: &[Side], (i, j): (usize, usize), params: &Params) -> (Pair, Detail) {
    let mut sums = Sums::default();
    sides.iter().for_each(|side| sums.add(side.seen(&side.scores), 1, params));
    let moments = Moments::new(sums, params);
    let vectors: Vec<Arc<[i8]>> =
        sides.iter().map(|side| vector::vector((&side.scores, 1), &moments, None, params).into()).collect();
    let seen: Vec<Seen<'_>> = sides.iter().zip(&vectors).map(|(side, vector)| side.seen(vector)).collect();
    let nulls = Nulls::new(&seen, sides.len(), params, Simd::Portable);
    let judged = nulls.judge(seen[i], seen[j], false, params);
    let pair = Pair {
        vectors: [vectors[i].clone(), vectors[j].clone()],
        sample: sides.iter().zip(&vectors).map(|(side, vector)| (vector.clone(), side.grain)).collect(),
        nulls,
        skewed: false,
        judged,
        recorded_z: 0.0,
        z: judged.z,
        by: judged.by,
    };
    let detail = explain([&sides[i], &sides[j]], &pair, params);
    (pair, detail)
}

#[test]
fn what_two_have_in_common_is_found_by_scale_and_moment() {
    let params = Params::new(1000, 300, 3, 0.01).unwrap();
    let sides = park(&params);
    let (pair, detail) = judge(&sides, (0, 1), &params);
    let single = &detail.scales[0];
    assert!(single.correlation > single.band[1] && single.z > 5.0, "{single:?}");
    assert!(single.band[0] < 0.0 && single.lags.len() == 11 && single.lags[5].z == single.z);
    let shocks: Vec<u64> = detail.moments.iter().map(|moment| moment.start_ms[0] / 1000).collect();
    assert!(shocks.len() == MOMENTS && shocks.iter().all(|s| SHOCKS.contains(&(*s as usize))), "{shocks:?}");
    for moment in &detail.moments {
        let news = moment.unexpected_ppm;
        assert!(moment.start_ms[0] == moment.start_ms[1] && news.iter().all(|ppm| *ppm > 200_000));
    }
    assert!(detail.moments.is_sorted_by(|x, y| x.share >= y.share));
    let counting: Vec<&Compared> = detail.comparisons.iter().filter(|one| one.counts).collect();
    assert!(counting.len() == 1 && (counting[0].z - pair.judged.z).abs() < 1e-3, "{counting:?}");
    let facts = Facts::new([&sides[0], &sides[1]], &pair, &detail);
    assert_eq!(of_pair(&facts, true, true), Reason::SameMoment);
}

#[test]
fn one_follows_the_other() {
    let params = Params::new(1000, 300, 3, 0.01).unwrap();
    let sides = park(&params);
    let (pair, detail) = judge(&sides, (0, 2), &params);
    assert_eq!(pair.lag_ms(), 2000);
    let strongest = detail.scales[0].lags.iter().max_by(|x, y| x.z.total_cmp(&y.z)).unwrap();
    assert_eq!(strongest.lag_ms, 2000);
    assert!(detail.moments.iter().all(|moment| moment.start_ms[0] + 2000 == moment.start_ms[1]));
    let facts = Facts::new([&sides[0], &sides[2]], &pair, &detail);
    assert_eq!(of_pair(&facts, true, true), Reason::Follows { first: Which::A, lag_ms: 2000 });
}

#[test]
fn strangers_have_nothing_in_common() {
    let params = Params::new(1000, 300, 3, 0.01).unwrap();
    let sides = park(&params);
    let (pair, detail) = judge(&sides, (7, 12), &params);
    assert!(detail.scales.iter().all(|scale| scale.z.abs() < 4.0), "{:?}", detail.scales);
    let facts = Facts::new([&sides[7], &sides[12]], &pair, &detail);
    assert_eq!(of_pair(&facts, false, false), Reason::Nothing);
}

#[test]
fn shares_are_of_all_that_speaks_for_it() {
    let params = Params::new(1000, 300, 3, 0.01).unwrap();
    let sides = park(&params);
    let (pair, detail) = judge(&sides, (0, 1), &params);
    let [a, b] = [&pair.vectors[0], &pair.vectors[1]];
    let products = || a.iter().zip(b.iter()).map(|(x, y)| f64::from(*x) * f64::from(*y));
    let (for_it, most) = (products().filter(|p| *p > 0.0).sum::<f64>(), products().fold(0.0, f64::max));
    assert_eq!(pair.by, 0, "all scales, the same moment");
    assert!((detail.moments[0].share - most / for_it).abs() < 1e-3);
}
