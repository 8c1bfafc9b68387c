//! How products of VMs that have nothing to do with each other spread. Taken from the bulk of all products, as Efron
//! (*Large-scale simultaneous hypothesis testing*, JASA 99, 2004) does: load, clocks and contention that all share are
//! in it, and shifting series against each other would not show them.

/// Centre and spread of what is independent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Null {
    /// Its mode.
    pub centre: f64,
    /// Its standard deviation.
    pub spread: f64,
}

/// From the median of the absolute deviations to a standard deviation, for a normal distribution.
pub const NORMAL: f64 = 1.482_602_218_505_602;

/// A tenth of a normal distribution is this many standard deviations below the mean.
const TENTH: f64 = 1.281_551_565_544_6;

/// A thousandth of it this many.
const THOUSANDTH: f64 = 3.090_232_306_167_8;

impl Null {
    /// From the bulk of `values`, which are sorted: mode and left half, so that a minority of larger ones (the
    /// dependent) does not count.
    pub fn left(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let (mut centre, mut spread) = (middle(values), 0.0);
        for _ in 0..20 {
            let left = &values[..values.partition_point(|z| *z < centre)];
            spread = NORMAL * (centre - middle(left).min(centre));
            let bulk = &values[..values.partition_point(|z| *z < centre + 1.5 * spread)];
            centre = middle(bulk);
        }
        // What is heavier than normal further out counts too: the tenth of all that is furthest to the left.
        let left = &values[..values.partition_point(|z| *z < centre)];
        let tenth = left.get(left.len() / 5).copied().unwrap_or(centre);
        spread = spread.max((centre - tenth) / TENTH);
        Null { centre, spread }
    }

    /// From the bulk of `values`, which are sorted, on both sides: where hardly any are dependent.
    pub fn both(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let centre = middle(values);
        let mut deviations: Vec<f64> = values.iter().map(|z| (z - centre).abs()).collect();
        Null { centre, spread: NORMAL * median(&mut deviations) }
    }

    /// How many times as far from the centre as in a normal distribution that one of a thousand of the sorted `values` is which the
    /// others exceed; at least 1. VMs differ in how much they do, so products have heavier tails than a normal one.
    pub fn tail(&self, sorted: &[f64]) -> f64 {
        let thousandth = sorted.get(sorted.len() / 1000).copied().unwrap_or(self.centre);
        (-self.z(thousandth) / THOUSANDTH).max(1.0)
    }

    /// How many standard deviations `value` is from the centre; 0 if nothing spreads.
    pub fn z(&self, value: f64) -> f64 {
        if self.spread > 0.0 { (value - self.centre) / self.spread } else { 0.0 }
    }
}

/// The median of `values`, whose order changes: of an even number the upper one of the middle, of none 0.
pub fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(half, f64::total_cmp).1 }
}

fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn the_dependent_do_not_widen_it() {
        let normal = Normal::standard();
        let mut values: Vec<f64> =
            (0..1000).map(|i| 3.0 + 2.0 * normal.inverse_cdf((f64::from(i) + 0.5) / 1000.0)).collect();
        values.extend((0..150).map(|i| 20.0 + f64::from(i)));
        let null = Null::left(&mut values);
        assert!((null.centre - 3.0).abs() < 0.3 && (null.spread - 2.0).abs() < 0.2, "{null:?}");
        assert!((null.z(13.0) - 5.0).abs() < 0.7);
        assert!((null.tail(&values) - 1.0).abs() < 0.2, "{}", null.tail(&values));
        let mut heavy: Vec<f64> = values[..1000].iter().map(|x| (x - 3.0).powi(3)).collect();
        assert!(Null::both(&mut heavy).tail(&heavy) > 2.0);
        let null = Null::both(&mut values[..1000]);
        assert!((null.centre - 3.0).abs() < 0.1 && (null.spread - 2.0).abs() < 0.1, "{null:?}");
    }

    #[test]
    fn of_nothing_nothing() {
        assert_eq!([median(&mut []), median(&mut [2.0, 1.0]), median(&mut [3.0, 1.0, 2.0])], [0.0, 2.0, 2.0]);
        assert_eq!(Null::left(&mut []).z(5.0), 0.0);
        assert_eq!(Null::both(&mut [1.0; 9]).z(5.0), 0.0);
        assert_eq!([Null::left(&mut []).tail(&[]), Null::both(&mut [1.0; 9]).tail(&[1.0; 9])], [1.0, 1.0]);
    }
}
