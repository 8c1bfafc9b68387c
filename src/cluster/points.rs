//! The points that are clustered, as integers, so that sums of them are exact in any order.

use serde::{Deserialize, Serialize};

/// Coordinates count in units of `1 / UNIT`.
///
/// 2^20: an AR coefficient lies within ±2^7 in any model worth the name, and is estimated to two or three
/// digits from a window; a millionth is far below that, and ±2^11 fit an `i32`.
pub const UNIT: f64 = (1 << 20) as f64;

/// Row-major points in fixed point: coordinate = value * 2^20, rounded, saturated at ±2^11.
///
/// At most 2^31 points can be summed: 2^31 * 2^31 < 2^63.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Points {
    dims: usize,
    coords: Vec<i32>,
}

impl Points {
    /// No points yet, of `dims` coordinates each (none is made one: a row must have a place).
    pub fn new(dims: usize) -> Self {
        Points { dims: dims.max(1), coords: Vec::new() }
    }

    /// One point a row, as many coordinates as the longest row has.
    pub fn from_rows<R: AsRef<[f64]>>(rows: &[R]) -> Self {
        let dims = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(1);
        let mut points = Points::new(dims);
        rows.iter().for_each(|row| points.push(row.as_ref()));
        points
    }

    /// Adds a point. A shorter row is continued with zeros (an AR model of lower order has no further
    /// coefficients), a longer one is cut; NaN counts as zero.
    pub fn push(&mut self, row: &[f64]) {
        let padded = row.iter().copied().chain(std::iter::repeat(0.0)).take(self.dims);
        self.coords.extend(padded.map(|value| (value * UNIT).round() as i32));
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.coords.len() / self.dims
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.coords.is_empty()
    }

    /// Coordinates a point.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The coordinates of point `i`, in units of `1 / UNIT`. Panics when there is none such.
    pub fn row(&self, i: usize) -> &[i32] {
        &self.coords[i * self.dims..][..self.dims]
    }

    /// All points, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[i32]> {
        self.coords.chunks_exact(self.dims)
    }

    /// The points with these indices, in this order.
    pub(super) fn select(&self, which: &[u32]) -> Points {
        let mut coords = Vec::with_capacity(which.len() * self.dims);
        which.iter().for_each(|&i| coords.extend_from_slice(self.row(i as usize)));
        Points { dims: self.dims, coords }
    }

    /// The points with these numbers, in one piece.
    pub fn part(&self, which: std::ops::Range<usize>) -> Points {
        let coords = self.coords[which.start * self.dims..which.end * self.dims].to_vec();
        Points { dims: self.dims, coords }
    }

    /// How many different points there are.
    pub(super) fn distinct(&self) -> usize {
        let mut rows: Vec<&[i32]> = self.rows().collect();
        rows.sort_unstable();
        rows.dedup();
        rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_rounded_and_saturated() {
        let points = Points::from_rows(&[vec![1.0, -0.5], vec![1e9], vec![f64::NAN, -1e9]]);
        assert_eq!((points.len(), points.dims()), (3, 2));
        assert_eq!(points.row(0), [1 << 20, -(1 << 19)]);
        assert_eq!(points.row(1), [i32::MAX, 0]);
        assert_eq!(points.row(2), [0, i32::MIN]);
        assert_eq!(points.select(&[2, 0]).row(1), points.row(0));
    }

    #[test]
    fn distinct_counts_each_point_once() {
        let none: [[f64; 1]; 0] = [];
        assert_eq!(Points::from_rows(&none).distinct(), 0);
        assert_eq!(Points::from_rows(&[[1.0], [2.0], [1.0]]).distinct(), 2);
    }
}
