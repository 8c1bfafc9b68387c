//! The work horse of the coupling engine: the dot products of all pairs of many vectors, and of these only the
//! remarkable ones. Integers: the same pairs in the same order at every vector level.
//!
//! To find the remarkable pairs among all the values are taken in steps of [`COARSE`]: of such small ones AVX2 multiplies
//! twice as many as of 8 bits, and what is rounded off is 1 % of the variance of values that spread 17. What is found is
//! then judged by [`dot`], which is exact.
//!
//! `vpdpbusd` and `vpmaddubsw` multiply unsigned by signed bytes, so the columns of a tile are kept as value + 21:
//! `sum(l * (r + 21)) = l.r + 21 * sum(l)`, and what is too much is taken off where a sum starts.

mod pair;
mod tile;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::simd::Simd;
pub use pair::{dot, upper};
use tile::{COLUMNS, OFFSET, ROWS, Rows, Step, Tile, Wanted};

/// The most values in a vector: the largest sum, of -128 * -128, 2^14, at each place, is then below 2^31.
pub const MAX_LEN: usize = (1 << 17) - 1;

/// [`products`] takes values in steps of this.
pub const COARSE: i32 = 6;

/// Steps that are done before the next tile is: 18 KiB of a panel, which stay in the first level cache (32 KiB
/// or more) for the eight tiles of a left panel.
const CHUNK: usize = 96;
/// Panels that a left panel meets together. Their chunks and tiles stay in the second level cache (1 MiB or
/// more): 360 KiB and 190 KiB.
const BLOCK: usize = 20;

/// Vectors of one length, in steps of [`COARSE`], packed for [`products`]: one byte a value, rounded up to 4 values and 48 vectors,
/// and 4 bytes a vector.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Four values of each vector of a panel; what is missing is 0.
    steps: usize,
    /// `[row / 48][value / 4]`, each with 48 rows of 4 values.
    panels: Vec<Step>,
    /// The sum of each vector.
    sums: Vec<i32>,
}

impl Vectors {
    /// Packs vectors of `len` values, any `i8`. One that is shorter counts as filled up with zeros, of a
    /// longer one the first `len` values count.
    ///
    /// # Panics
    /// When `len` is more than [`MAX_LEN`].
    pub fn new(vectors: impl IntoIterator<Item: AsRef<[i8]>>, len: usize) -> Self {
        assert!(len <= MAX_LEN, "sums of {len} products may not fit 32 bits");
        // At least one, so that vectors without values have their products, 0, as others do.
        let (steps, mut panels, mut sums) = (len.div_ceil(4).max(1), Vec::new(), Vec::new());
        let mut values = Vec::with_capacity(len + 3);
        let vectors = vectors.into_iter();
        panels.reserve_exact(vectors.size_hint().0.div_ceil(COLUMNS) * steps);
        for vector in vectors {
            let (row, vector) = (sums.len(), vector.as_ref());
            let vector = &vector[..len.min(vector.len())];
            if row % COLUMNS == 0 {
                panels.resize(panels.len() + steps, Step::ZERO);
            }
            let (panel, column) = (&mut panels[row / COLUMNS * steps..], row % COLUMNS);
            values.clear();
            values.extend(vector.iter().copied().map(coarse));
            // Up to 1,024 values of 21 are an `i16`.
            let parts = values.chunks(1024).map(|part| part.iter().map(|&v| i16::from(v)).sum::<i16>());
            sums.push(parts.map(i32::from).sum());
            values.resize(len.next_multiple_of(4), 0);
            for (step, values) in panel.iter_mut().zip(values.as_chunks::<4>().0) {
                step.0[column] = values.map(|value| (value + OFFSET) as u8);
            }
        }
        Vectors { steps, panels, sums }
    }

    /// How many there are.
    pub fn rows(&self) -> usize {
        self.sums.len()
    }

    /// The panel of row `i`.
    fn panel(&self, i: usize) -> &[Step] {
        &self.panels[i / COLUMNS * self.steps..][..self.steps]
    }
}

/// A value in steps of [`COARSE`], rounded: at most `MOST`, whatever its sign.
pub fn coarse(value: i8) -> i8 {
    let (value, half) = (i16::from(value), COARSE as i16 / 2);
    ((value + half * value.signum()) / COARSE as i16) as i8
}

/// Which pairs of a vector `i` on the left and a vector `j` on the right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairs {
    /// Those with `i < j`: each pair once where left and right are the same.
    Upper,
    /// All.
    All,
}

/// Which products, of values in steps of [`COARSE`], are remarkable: those below `low` and those above `high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beyond {
    /// The least that is not.
    pub low: i32,
    /// The most that is not.
    pub high: i32,
}

/// Hands `emit(i, j, product)` each of `pairs` whose product is `beyond`.
///
/// The order is that of the tiles, the same on every machine but not sorted: blocks of 960 right vectors; in
/// each, panels of 48 left vectors; with each, the block's panels of 48; of these, groups of 8 left vectors;
/// in each, `i`, then `j`.
///
/// To divide the work, cut the vectors into several [`Vectors`] and deal out the pairs of these: `Upper` for
/// one with itself, `All` for two. A pair that is not remarkable costs nothing but its product.
///
/// # Panics
/// When left and right are not of one length.
pub fn products(
    simd: Simd,
    (left, right): (&Vectors, &Vectors),
    pairs: Pairs,
    beyond: Beyond,
    emit: impl FnMut(usize, usize, i32),
) {
    assert_eq!(left.steps, right.steps, "vectors of one length");
    let job = Job { left, right, pairs, beyond };
    match simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Vnni => {
            // SAFETY: `Simd` names a level only where the machine has it.
            job.run(|rows, columns, wanted, to| unsafe { tile::vnni(rows, columns, wanted, to) }, emit)
        }
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 | Simd::Avx512 => {
            // SAFETY: as above.
            job.run(|rows, columns, wanted, to| unsafe { tile::avx2(rows, columns, wanted, to) }, emit)
        }
        _ => job.run(tile::portable, emit),
    }
}

struct Job<'a> {
    left: &'a Vectors,
    right: &'a Vectors,
    pairs: Pairs,
    beyond: Beyond,
}

impl Job<'_> {
    /// Goes through the tiles: blocks of right panels, left panels, chunks, right panels, groups of rows.
    fn run(
        &self,
        product: impl Fn(&[Rows], &[Step], &Wanted, &mut Tile),
        mut emit: impl FnMut(usize, usize, i32),
    ) {
        let (mut tiles, mut rows) = (Vec::new(), Vec::new());
        let steps = self.left.steps;
        let chunk = steps.div_ceil(steps.div_ceil(CHUNK));
        for block in (0..self.right.rows()).step_by(BLOCK * COLUMNS) {
            for first in (0..self.left.rows()).step_by(COLUMNS) {
                let places = self.places(first, block);
                if places.is_empty() {
                    break;
                }
                tiles.resize(places.len(), Tile::default());
                for start in (0..steps).step_by(chunk) {
                    let part = start..steps.min(start + chunk);
                    self.gather(first, part.clone(), &mut rows);
                    for (&(i, j), tile) in places.iter().zip(&mut tiles) {
                        let rows = &rows[(i - first) / ROWS * part.len()..][..part.len()];
                        let wanted = self.wanted(i, start == 0);
                        product(rows, &self.right.panel(j)[part.clone()], &wanted, tile);
                    }
                }
                for (&at, tile) in places.iter().zip(&tiles) {
                    self.hand_over(at, tile, &mut emit);
                }
            }
        }
    }

    /// The first row and column of each tile, of a left panel with a block of right panels, that counts.
    fn places(&self, first: usize, block: usize) -> Vec<(usize, usize)> {
        let columns = (block..self.right.rows().min(block + BLOCK * COLUMNS)).step_by(COLUMNS);
        let rows = (first..self.left.rows().min(first + COLUMNS)).step_by(ROWS);
        let all = columns.flat_map(|j| rows.clone().map(move |i| (i, j)));
        all.filter(|&(i, j)| self.pairs == Pairs::All || i + 1 < j + COLUMNS).collect()
    }

    /// What is looked for in the rows from `i`, in the first or a later chunk.
    fn wanted(&self, i: usize, first: bool) -> Wanted {
        let Beyond { low, high } = self.beyond;
        let sum = |i: usize| self.left.sums.get(i).copied().unwrap_or(0);
        let start = || std::array::from_fn(|row| (-i32::from(OFFSET) * sum(i + row)).wrapping_sub(low));
        // Every i32 would be 2^32 wide; that i32::MAX then counts as remarkable is no harm: no product is.
        let width = (i64::from(high) - i64::from(low) + 1).clamp(0, i64::from(u32::MAX)) as u32;
        Wanted { start: first.then(start), width }
    }

    fn hand_over(&self, (i, j): (usize, usize), tile: &Tile, emit: &mut impl FnMut(usize, usize, i32)) {
        let real = !(u64::MAX << COLUMNS.min(self.right.rows() - j));
        for (row, &hits) in tile.hits.iter().enumerate().take(self.left.rows() - i) {
            let above = match self.pairs {
                Pairs::Upper => u64::MAX << (i + row + 1).saturating_sub(j),
                Pairs::All => u64::MAX,
            };
            let mut hits = hits & real & above;
            while hits != 0 {
                let column = hits.trailing_zeros() as usize;
                emit(i + row, j + column, tile.sums[row][column].wrapping_add(self.beyond.low));
                hits &= hits - 1;
            }
        }
    }

    /// Lays out a part of the left rows from `first` as the rows of tiles, one tile after the other.
    fn gather(&self, first: usize, part: Range<usize>, to: &mut Vec<Rows>) {
        to.clear();
        for tile in 0..(self.left.rows() - first).min(COLUMNS).div_ceil(ROWS) {
            let steps = self.left.panel(first)[part.clone()].iter();
            to.extend(steps.map(|step| Rows(step.0.as_chunks::<ROWS>().0[tile].map(tile::signed))));
        }
    }
}
