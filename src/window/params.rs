//! What a window looks like, checked once, so that an impossible one cannot exist.

use thiserror::Error;

use crate::types::Tick;

/// The longest window, in ticks: 12 days at 1 s. Its sums then fit `i128` even as the model scales them: samples
/// are below 2^29, their total below 2^49, a sum of products below 2^78, times the length twice below 2^118.
pub const MAX_LENGTH_TICKS: usize = 1 << 20;

/// The most scales of a window: each holds samples and sums of its own.
pub const MAX_SCALES: usize = 16;

/// The shape of every VM's window. Made by [`Params::new`].
#[derive(Clone, PartialEq, Debug)]
pub struct Params {
    length: usize,
    hop: usize,
    max_lag: usize,
    origin: Tick,
    scales: Vec<usize>,
    max_missing_ticks: usize,
}

/// What a window shall look like, before it was checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    /// Ticks in a window, at most [`MAX_LENGTH_TICKS`].
    pub length: usize,
    /// Ticks in a pane, by which the window slides; divides `length`.
    pub hop: usize,
    /// The largest lag whose products are summed, in bins of each scale; a scale with too few bins has fewer.
    pub max_lag: usize,
    /// The tick at which pane 0 begins.
    pub origin: Tick,
    /// Ticks to a bin, ascending, 1 first; each divides `hop`. At most [`MAX_SCALES`].
    pub scales: Vec<usize>,
    /// The share of a window's ticks that may be missing for it to be judged, 0 to 1.
    pub max_missing: f64,
}

/// A window that cannot be.
#[derive(Clone, PartialEq, Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ParamsError {
    #[error("a window of {length} ticks: must be 2 to {MAX_LENGTH_TICKS}")]
    Length { length: usize },
    #[error("a hop of {hop} ticks does not divide a window of {length}")]
    Hop { hop: usize, length: usize },
    #[error("scales {scales:?}: must be 1 to {MAX_SCALES}, ascending, the first 1")]
    Scales { scales: Vec<usize> },
    #[error("a scale of {scale} ticks does not divide the hop of {hop}")]
    Scale { scale: usize, hop: usize },
    #[error("a missing share of {share}: must be 0 to 1")]
    MaxMissing { share: f64 },
}

impl Shape {
    /// `length` ticks sliding by `hop`, sums up to `max_lag`, single ticks only, a tenth may be missing.
    pub fn new(length: usize, hop: usize, max_lag: usize) -> Self {
        Shape { length, hop, max_lag, origin: 0, scales: vec![1], max_missing: 0.1 }
    }
}

impl Params {
    /// Checks a shape.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(shape: Shape) -> Result<Self, ParamsError> {
        let Shape { length, hop, max_lag, origin, scales, max_missing } = shape;
        if !(2..=MAX_LENGTH_TICKS).contains(&length) {
            return Err(ParamsError::Length { length });
        }
        if hop == 0 || !length.is_multiple_of(hop) {
            return Err(ParamsError::Hop { hop, length });
        }
        let ascending = scales.is_sorted_by(|a, b| a < b);
        if scales.first() != Some(&1) || scales.len() > MAX_SCALES || !ascending {
            return Err(ParamsError::Scales { scales });
        }
        if let Some(&scale) = scales.iter().find(|&&scale| !hop.is_multiple_of(scale)) {
            return Err(ParamsError::Scale { scale, hop });
        }
        if !(0.0..=1.0).contains(&max_missing) {
            return Err(ParamsError::MaxMissing { share: max_missing });
        }
        let max_missing_ticks = (max_missing * length as f64).floor() as usize;
        Ok(Params { length, hop, max_lag, origin, scales, max_missing_ticks })
    }

    /// Ticks in a window.
    pub fn length(&self) -> usize {
        self.length
    }
    /// Ticks in a pane.
    pub fn hop(&self) -> usize {
        self.hop
    }
    /// Panes in a window.
    pub fn panes(&self) -> usize {
        self.length / self.hop
    }
    /// Ticks to a bin, for each scale.
    pub fn scales(&self) -> &[usize] {
        &self.scales
    }
    /// The largest lag at a scale of `scale` ticks, in bins: less than the bins of a window.
    pub fn max_lag(&self, scale: usize) -> usize {
        self.max_lag.min(self.length / scale - 1)
    }
    /// The most ticks that a window which is judged may miss.
    pub fn max_missing_ticks(&self) -> usize {
        self.max_missing_ticks
    }
    /// Whether samples of `grain` ticks each are of use: whole ones make a bin of some scale. Then no pane cuts one.
    pub fn takes(&self, grain: usize) -> bool {
        self.scales.iter().any(|scale| scale.is_multiple_of(grain))
    }
    /// The pane that `tick` belongs to.
    pub fn pane_of(&self, tick: Tick) -> i64 {
        tick.saturating_sub(self.origin).div_euclid(self.hop as i64)
    }
    /// The first tick of `pane`.
    pub fn pane_start(&self, pane: i64) -> Tick {
        self.origin.saturating_add(pane.saturating_mul(self.hop as i64))
    }
    /// The first tick of the window that closes with `pane`; its last is `pane_start(pane + 1) - 1`.
    pub fn window_start(&self, pane: i64) -> Tick {
        self.pane_start(pane.saturating_sub(self.panes() as i64 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_windows_are_refused() {
        let good = Shape { scales: vec![1, 2, 5], ..Shape::new(300, 60, 50) };
        assert!(Params::new(good.clone()).is_ok());
        let rows: [(Shape, &str); 9] = [
            (Shape { length: 1, hop: 1, ..good.clone() }, "a window of 1 ticks: must be 2 to 1048576"),
            (Shape { length: 1 << 21, ..good.clone() }, "a window of 2097152 ticks: must be 2 to 1048576"),
            (Shape { hop: 0, ..good.clone() }, "a hop of 0 ticks does not divide a window of 300"),
            (Shape { hop: 70, ..good.clone() }, "a hop of 70 ticks does not divide a window of 300"),
            (Shape { scales: vec![], ..good.clone() }, "scales []: must be 1 to 16, ascending, the first 1"),
            (
                Shape { scales: vec![1, 5, 2], ..good.clone() },
                "scales [1, 5, 2]: must be 1 to 16, ascending, the first 1",
            ),
            (
                Shape { scales: vec![0, 1], ..good.clone() },
                "scales [0, 1]: must be 1 to 16, ascending, the first 1",
            ),
            (
                Shape { scales: vec![1, 7], ..good.clone() },
                "a scale of 7 ticks does not divide the hop of 60",
            ),
            (Shape { max_missing: f64::NAN, ..good }, "a missing share of NaN: must be 0 to 1"),
        ];
        for (shape, message) in rows {
            assert_eq!(Params::new(shape).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn panes_count_from_the_origin() {
        let params = Params::new(Shape { origin: 7, ..Shape::new(30, 10, 50) }).unwrap();
        for (tick, pane) in [(7, 0), (16, 0), (17, 1), (6, -1), (-3, -1), (-4, -2)] {
            assert_eq!(params.pane_of(tick), pane, "tick {tick}");
        }
        assert_eq!((params.pane_start(2), params.window_start(2), params.max_lag(10)), (27, 7, 2));
        assert_eq!(params.pane_of(i64::MIN).signum(), -1);
    }

    #[test]
    fn samples_must_fit_a_scale() {
        let params = Params::new(Shape { scales: vec![1, 2, 5, 20], ..Shape::new(300, 60, 5) }).unwrap();
        let taken: Vec<usize> = (1..60).filter(|grain| params.takes(*grain)).collect();
        assert_eq!(taken, [1, 2, 4, 5, 10, 20]);
    }
}
