//! Which centre is nearest to each point, asked of several: each has some of the points, and its answer is a function of
//! a point and the centres alone. So it does not matter who is asked, or how many are.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::nearest::{Columns, NONE, Query, Rows, nearest};
use super::points::Points;
use super::search::{Centre, rows};
use crate::simd::Simd;

/// Somebody who answers.
pub type Ask<'a> = dyn Fn(Question) -> Vec<u32> + 'a;

/// Who does the work.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// By which vectors it is done here.
    pub simd: Simd,
    /// Who is asked where it is much.
    pub ask: Option<&'a Ask<'a>>,
}

impl From<Simd> for Hands<'_> {
    fn from(simd: Simd) -> Self {
        Hands { simd, ask: None }
    }
}

/// Which centre is nearest to each of some points?
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The points, ascending.
    which: Vec<u32>,
    /// For each of them the centre that does not count.
    skip: Vec<u32>,
    centres: Arc<Vec<Centre>>,
}

impl Question {
    /// `skip` says of every point that there is which centre does not count.
    pub(super) fn new(which: &[u32], skip: &[u32], centres: &[Centre]) -> Self {
        let skip = which.iter().map(|&x| skip[x as usize]).collect();
        Question { which: which.to_vec(), skip, centres: Arc::new(centres.to_vec()) }
    }

    /// What of it is about the points `of`.
    pub fn about(&self, of: &Range<usize>) -> Self {
        let place = |end: usize| self.which.partition_point(|&x| (x as usize) < end);
        let some = place(of.start)..place(of.end);
        Question {
            which: self.which[some.clone()].to_vec(),
            skip: self.skip[some].to_vec(),
            centres: self.centres.clone(),
        }
    }
}

/// Some of the points, on the side of who is asked.
pub struct Share {
    first: u32,
    rows: Rows,
    columns: Columns,
    skip: Vec<u32>,
}

impl Share {
    /// These points; `first` is the number of the first of them.
    pub fn new(first: u32, points: &Points, simd: Simd) -> Self {
        let (rows, columns) = (rows(points), Columns::new(points.dims(), simd));
        Share { first, rows, columns, skip: vec![NONE; points.len()] }
    }

    /// The number of the nearest centre of each point asked about, all of which are here.
    pub fn answer(&mut self, question: &Question) -> Vec<u32> {
        let Question { which, skip, centres } = question;
        let which: Vec<u32> = which.iter().map(|&x| x - self.first).collect();
        which.iter().zip(skip).for_each(|(&x, &skip)| self.skip[x as usize] = skip);
        self.columns.pack(centres.iter().map(|(slot, weight, row)| (*slot, *weight, row.as_slice())));
        let mut found = Vec::new();
        nearest(&Query { rows: &self.rows, which: &which, skip: &self.skip }, &self.columns, &mut found);
        found
    }
}

/// The points of each of `workers` who share `n`.
pub fn ranges(n: usize, workers: usize) -> impl Iterator<Item = Range<usize>> {
    (0..workers).map(move |worker| worker * n / workers..(worker + 1) * n / workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_asked_says_the_same() {
        let row = |i: u32| (0..5).map(|j| f64::from((i * 31 + j * 17) % 23) * 0.1).collect::<Vec<f64>>();
        let points = Points::from_rows(&(0..40).map(row).collect::<Vec<_>>());
        let centres: Vec<Centre> =
            (0..7).map(|i| (i, 1.0, row(i * 5).iter().map(|&x| x as f32).collect())).collect();
        let skip: Vec<u32> = (0..40).map(|i| i % 8).collect();
        let which: Vec<u32> = (0..40).filter(|i| i % 3 > 0).collect();
        let question = Question::new(&which, &skip, &centres);
        let all = Share::new(0, &points, Simd::Portable).answer(&question);
        assert!(all.iter().zip(&which).all(|(&found, &x)| found < 7 && found != skip[x as usize]), "{all:?}");
        for (workers, simd) in
            (1..6).flat_map(|workers| Simd::available().into_iter().map(move |simd| (workers, simd)))
        {
            let answer = |part: Range<usize>| {
                Share::new(part.start as u32, &points.part(part.clone()), simd).answer(&question.about(&part))
            };
            assert_eq!(ranges(40, workers).flat_map(answer).collect::<Vec<_>>(), all, "{workers} {simd:?}");
        }
    }
}
