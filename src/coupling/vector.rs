//! One VM's vector: its scores at all scales, weighed, as small integers.

use super::moments::{Moments, Sums};
use super::params::Params;

/// The vector of a VM with these scores and that vote, on a host with those sums. The square root of a moment's weight
/// and that of what a bin counts for are folded in, so that a product of two vectors has both; rounded to
/// -127 ..= 127.
pub fn vector(
    (scores, vote): (&[i8], u32),
    moments: &Moments,
    host: Option<&Sums>,
    params: &Params,
) -> Vec<i8> {
    let factors = params.scales().iter().flat_map(|scale| std::iter::repeat_n(scale.factor, scale.values()));
    let weights = moments.weights((scores, vote), host, params);
    let weigh = |((&score, weight), factor): ((&i8, f64), f64)| {
        (f64::from(score) * factor * weight.sqrt()).round() as i8
    };
    scores.iter().zip(weights).zip(factors).map(weigh).collect()
}
