//! Parks in which nothing depends on anything, and hosts sample differently.

use super::*;

/// Vectors of noise, those of the first `coarse` VMs of samples of 10 ticks.
fn park(vms: usize, coarse: usize, params: &Params) -> Vec<(Vec<i8>, usize)> {
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut vm = |at: usize| {
        let grain = if at < coarse { 10 } else { 1 };
        let mut values = vec![0; params.values()];
        for scale in params.scales().iter().filter(|scale| scale.ticks.is_multiple_of(grain)) {
            let mut noise = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let of_scale = values[scale.range()].iter_mut();
            of_scale.for_each(|value| *value = (32.0 * scale.factor * noise()).round() as i8);
        }
        (values, grain)
    };
    (0..vms).map(&mut vm).collect()
}

/// The root mean square of the z of all pairs for which `which` holds, by the comparison with this index.
fn spread(
    seen: &[Seen<'_>],
    by: usize,
    params: &Params,
    which: impl Fn(&Seen<'_>, &Seen<'_>) -> bool,
) -> f64 {
    let nulls = Nulls::new(seen, seen.len(), params, Simd::Portable);
    let (comparison, usual) = &nulls.comparisons[by];
    let of = pairs(seen).filter(|(a, b)| which(a, b));
    let squares: Vec<f64> = of.map(|two| usual.z(comparison, two, params, Simd::Portable).powi(2)).collect();
    assert!(squares.len() > 100);
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn pairs_of_all_kinds_spread_alike_whoever_is_the_majority() {
    let params = Params::new(100, 1200, 600, 0.01).unwrap();
    let (fine, coarse) = (|one: &Seen<'_>| one.grain == 1, |one: &Seen<'_>| one.grain == 10);
    for of_coarse in [20, 40, 60] {
        let park = park(80, of_coarse, &params);
        let seen: Vec<Seen<'_>> = park.iter().map(|(values, grain)| Seen { values, grain: *grain }).collect();
        let near = |spread: f64, what: &str| {
            assert!((spread - 1.0).abs() < 0.15, "{of_coarse} coarse, {what}: {spread}");
        };
        near(spread(&seen, 0, &params, |a, b| fine(a) && fine(b)), "both fine");
        near(spread(&seen, 0, &params, |a, b| fine(a) != fine(b)), "one of each");
        near(spread(&seen, 0, &params, |a, b| coarse(a) && coarse(b)), "both coarse");
        // One scale alone, in which all take part.
        near(spread(&seen, 1, &params, |_, _| true), "one scale");
    }
}

#[test]
fn those_who_take_no_part_in_a_scale_say_nothing_of_it() {
    let params = Params::new(1000, 300, 60, 0.01).unwrap();
    let mut park = park(60, 0, &params);
    for (values, grain) in &mut park[20..] {
        *grain = 5;
        values[..params.scales()[2].start].fill(0);
    }
    let seen: Vec<Seen<'_>> = park.iter().map(|(values, grain)| Seen { values, grain: *grain }).collect();
    // One second alone: 20 of 60 have it, and their pairs spread as ever; the others have no evidence at all.
    let alone = spread(&seen, 1, &params, |a, b| a.grain == 1 && b.grain == 1);
    assert!((alone - 1.0).abs() < 0.2, "{alone}");
    assert_eq!(spread(&seen, 1, &params, |a, _| a.grain == 5), 0.0);
}

#[test]
fn strength_is_of_the_scales_in_common() {
    let params = Params::new(100, 3000, 600, 0.01).unwrap();
    let park = park(1, 0, &params);
    let whole = &park[0].0;
    let mut part = whole.clone();
    part[..params.scales()[3].start].fill(0);
    let (fine, coarse) = (Seen::fine(whole), Seen { values: &part, grain: 10 });
    assert_eq!(strength(fine, coarse, 9.0, &params, Simd::Portable), 1.0);
    assert!(strength(fine, Seen::fine(&part), -9.0, &params, Simd::Portable) > -0.95);
    // Samples of 2 s and of 5 s have no scale in common.
    let (two, five) = (Seen { grain: 20, ..coarse }, Seen { grain: 50, ..coarse });
    assert_eq!((two.enlarged(&five, &params), correlation(two, five, &params, Simd::Portable)), (0.0, 0.0));
}
