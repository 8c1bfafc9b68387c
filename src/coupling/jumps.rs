//! How rare a product is that a few large coincidences make. A sum of many small terms has a normal tail; what two jobs that
//! start by the clock have in common is a handful of bursts, and that seven of them meet where one was to be expected is
//! some thousand times as likely as a normal tail says.

/// What the values of one series are, above and below 0: the sums of their squares, and of their absolute cubes.
#[derive(Clone, Copy, Default, Debug)]
struct Moments {
    squares: [f64; 2],
    cubes: [f64; 2],
}

impl Moments {
    fn of(values: &[i8]) -> Self {
        let side = |sign: i32| {
            let part = values.iter().map(|&x| (sign * i32::from(x)).max(0));
            let (square, cube) =
                part.fold((0, 0), |(square, cube), x| (square + x * x, cube + i64::from(x * x * x)));
            (f64::from(square), cube as f64)
        };
        let (above, below) = (side(1), side(-1));
        Moments { squares: [above.0, below.0], cubes: [above.1, below.1] }
    }
}

/// The inner product of two series that have nothing to do with each other, as what comes up and what goes down: two
/// compound Poisson processes, each with its variance and its third absolute moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct Jumps {
    variance: [f64; 2],
    cubes: [f64; 2],
}

impl Jumps {
    /// Adds the inner product of two series of the same length, of at most [`super::product::MAX_LEN`] values: as it would be if their
    /// values had met in any order.
    pub fn add(&mut self, a: &[i8], b: &[i8]) {
        let n = a.len().max(1) as f64;
        let (a, b) = (Moments::of(a), Moments::of(b));
        // A product is above 0 if both values are, or none.
        let meet = |a: [f64; 2], b: [f64; 2]| [a[0] * b[0] + a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
        for (side, (variance, cubes)) in
            meet(a.squares, b.squares).into_iter().zip(meet(a.cubes, b.cubes)).enumerate()
        {
            self.variance[side] += variance / n;
            self.cubes[side] += cubes / n;
        }
    }

    /// How many standard deviations of a normal distribution correspond to a sum that is `z` of its own from what is usual,
    /// each of which is `spread`: at most about as many. Every jump is `larger` than one series alone says.
    ///
    /// The signed root of the deviance: `sqrt(2 (t x - K(t)))` where `K'(t) = x`, with the cumulant generating function
    /// `K(t) = sum v/m^2 (exp(t m) - 1 - t m)` over both kinds of jumps, of variance `v` and size `m` (Daniels, *Saddlepoint
    /// approximations in statistics*, Ann. Math. Stat. 25, 1954).
    pub fn rarity(&self, z: f64, spread: f64, larger: f64) -> f64 {
        let own = larger * (self.variance[0] + self.variance[1]);
        if own <= 0.0 || z == 0.0 || spread <= 0.0 {
            return z;
        }
        // What spreads more than the jumps of this pair alone has more of them.
        let more = (spread * spread / own).max(1.0) * larger;
        let towards = usize::from(z < 0.0);
        let kinds = [(towards, 1.0), (1 - towards, -1.0)].map(|(side, sign)| {
            let size = larger * self.cubes[side] / self.variance[side].max(1.0);
            Kind { variance: more * self.variance[side], size: sign * size }
        });
        deviance(kinds, z.abs() * spread).sqrt().copysign(z)
    }
}

/// Jumps of one size, in units of the sum.
#[derive(Clone, Copy)]
struct Kind {
    variance: f64,
    size: f64,
}

/// Newton's steps until the saddlepoint is known to nine digits; a dozen is usual.
const STEPS: usize = 60;

/// `2 (t x - K(t))` at the `t` at which `K'(t) = x`, for `x` above 0.
fn deviance(kinds: [Kind; 2], x: f64) -> f64 {
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        kinds.iter().filter(|kind| kind.size != 0.0).map(|kind| of(kind.variance, kind.size)).sum()
    };
    // Nothing jumps further at once than the exponent of the larger kind grows by 1: so no step overflows.
    let furthest = 1.0 / kinds[0].size.abs().max(kinds[1].size.abs());
    let mut t = 0.0;
    for _ in 0..STEPS {
        let slope = sum(&|v, m| v / m * (t * m).exp_m1());
        let step = (x - slope) / sum(&|v, m| v * (t * m).exp());
        t += step.min(furthest);
        if step.abs() <= 1e-9 * t {
            break;
        }
    }
    let k = sum(&|v, m| v / (m * m) * ((t * m).exp_m1() - t * m));
    (2.0 * (t * x - k)).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, DiscreteCDF, Normal, Poisson};

    use super::*;

    fn jumps(a: &[i8], b: &[i8]) -> Jumps {
        let mut jumps = Jumps::default();
        jumps.add(a, b);
        jumps
    }

    fn spread(jumps: &Jumps) -> f64 {
        (jumps.variance[0] + jumps.variance[1]).sqrt()
    }

    /// Bursts in every 20th of 300 bins: how many meet by chance is Poisson's.
    #[test]
    fn bursts_that_meet_are_as_rare_as_poisson_says() {
        let bursts: Vec<i8> = (0..300).map(|t| if t % 20 == 0 { 100 } else { 0 }).collect();
        let jumps = jumps(&bursts, &bursts);
        let expected = 15.0 * 15.0 / 300.0;
        for met in [4u32, 6, 8] {
            let z = (f64::from(met) - expected) / f64::sqrt(expected);
            let rarity = jumps.rarity(z, spread(&jumps), 1.0);
            let (found, true_) =
                (Normal::standard().sf(rarity), Poisson::new(expected).unwrap().sf(u64::from(met) - 1));
            // A deviance bounds the chance from above, by a factor that grows slowly.
            assert!(
                found > 0.5 * true_ && found < 3.0 * true_,
                "{met}: z {z:.1} -> {rarity:.2}: {found:.1e}, {true_:.1e}"
            );
        }
    }

    /// The slow twin: series that meet in orders that are drawn.
    #[test]
    fn what_is_drawn_is_as_rare_as_it_says() {
        let mut state = 7u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % n
        };
        // Little happens, and now and then much.
        let series = |every: i32, much: i8, step: i32| -> Vec<i8> {
            (0..200)
                .map(|t| if t % every == 0 { much } else { (t * step % 11 - 5) as i8 - much / every as i8 })
                .collect()
        };
        let (a, b) = (series(20, 100, 7), series(25, 100, 3));
        let (jumps, mut drawn) = (jumps(&a, &b), b.clone());
        let mean = |x: &[i8]| x.iter().map(|&x| f64::from(x)).sum::<f64>();
        let centre = mean(&a) * mean(&b) / 200.0;
        let (draws, mut beyond) = (200_000, [[0u32; 3]; 2]);
        for _ in 0..draws {
            (1..drawn.len()).for_each(|i| drawn.swap(i, below(i + 1)));
            let sum: f64 = a.iter().zip(&drawn).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let z = (sum - centre) / spread(&jumps);
            let rarity = jumps.rarity(z, spread(&jumps), 1.0);
            for (i, at) in [2.0, 2.5, 3.0].into_iter().enumerate() {
                beyond[0][i] += u32::from(rarity > at);
                beyond[1][i] += u32::from(z > at);
            }
        }
        for (i, at) in [2.0, 2.5, 3.0].into_iter().enumerate() {
            let share = |side: usize| f64::from(beyond[side][i]) / f64::from(draws);
            let chance = Normal::standard().sf(at);
            assert!(share(0) < 1.5 * chance, "{at}: {} of {chance}", share(0));
            assert!(at < 2.5 || share(1) > 1.5 * chance, "without it {at}: {} of {chance}", share(1));
        }
    }

    #[test]
    fn many_small_terms_are_normal() {
        let noise = |seed: i32| -> Vec<i8> { (0..3000i32).map(|t| ((t * seed) % 61 - 30) as i8).collect() };
        let jumps = jumps(&noise(17), &noise(29));
        let rarity = jumps.rarity(6.0, spread(&jumps), 1.0);
        assert!(rarity > 5.95 && rarity < 6.01, "{rarity}");
        assert_eq!(Jumps::default().rarity(5.0, 1.0, 1.0), 5.0);
    }

    proptest! {
        #[test]
        fn it_keeps_sign_and_order_and_is_never_more_than_a_normal_tail_by_far(
            a in prop::collection::vec(-127i8..=127, 20..200), b in prop::collection::vec(-127i8..=127, 200), z in 0.1f64..60.0,
            wider in 1.0f64..5.0, larger in 1.0f64..3.0,
        ) {
            let jumps = jumps(&a, &b[..a.len()]);
            let spread = (spread(&jumps) * wider).max(1.0);
            let rarity = jumps.rarity(z, spread, larger);
            prop_assert!(rarity.is_finite() && rarity > 0.0);
            prop_assert!(jumps.rarity(-z, spread, larger) < 0.0);
            prop_assert!(jumps.rarity(z * 1.1, spread, larger) > rarity);
        }
    }
}
