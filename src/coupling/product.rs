//! The work horse of the coupling engine: the dot products of all pairs of many vectors of `i8`, exact, and
//! of these only the remarkable ones. Integers: the same pairs in the same order at every vector level.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes, so the columns of a tile are kept as value + 128:
//! `sum(l * (r + 128)) = l.r + 128 * sum(l)`, and what is too much is taken off where a sum starts.

mod tile;
#[cfg(test)]
mod tests;

use crate::simd::Simd;
use tile::{COLUMNS, ROWS, Rows, Step, Tile, Wanted};

/// The most values in a vector: the largest sum, of -128 * -128, 2^14, at each place, is then below 2^31.
pub const MAX_LEN: usize = (1 << 17) - 1;

/// What the panels that stay in the second level cache may take while all rows pass by: half of 1 MiB (AMD
/// Zen 4; Intel's have 2), for the rows pass through it as well.
const BLOCK_BYTES: usize = 512 << 10;

/// Vectors of one length, packed for [`products`]: one byte a value, rounded up to 4 values and 48 vectors.
#[derive(Clone, Debug)]
pub struct Vectors {
    rows: usize,
    /// Four values of each vector of a panel; what is missing is 0.
    steps: usize,
    /// `[row / 48][value / 4]`, each with 48 rows of 4 values.
    panels: Vec<Step>,
}

impl Vectors {
    /// Packs vectors of `len` values, any `i8`. One that is shorter counts as filled up with zeros, of a
    /// longer one the first `len` values count.
    ///
    /// # Panics
    /// When `len` is more than [`MAX_LEN`].
    pub fn new(vectors: impl IntoIterator<Item: AsRef<[i8]>>, len: usize) -> Self {
        assert!(len <= MAX_LEN, "sums of {len} products may not fit 32 bits");
        let (mut rows, steps, mut panels) = (0, len.div_ceil(4), Vec::new());
        for vector in vectors {
            if rows % COLUMNS == 0 {
                panels.resize(panels.len() + steps, Step::ZERO);
            }
            let vector = vector.as_ref();
            let panel = &mut panels[rows / COLUMNS * steps..];
            for (step, values) in panel.iter_mut().zip(vector[..len.min(vector.len())].chunks(4)) {
                let places = step.0[rows % COLUMNS].iter_mut();
                places.zip(values).for_each(|(place, &value)| *place = value as u8 ^ 0x80);
            }
            rows += 1;
        }
        Vectors { rows, steps, panels }
    }

    /// How many there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The first `steps` steps of panel `p`.
    fn panel(&self, p: usize, steps: usize) -> &[Step] {
        &self.panels[p * self.steps..][..steps]
    }
}

/// Which pairs of a vector `i` on the left and a vector `j` on the right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairs {
    /// Those with `i < j`: each pair once where left and right are the same.
    Upper,
    /// All.
    All,
}

/// Which products are remarkable: those below `low` and those above `high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beyond {
    /// The least that is not.
    pub low: i32,
    /// The most that is not.
    pub high: i32,
}

/// Hands `emit(i, j, product)` each of `pairs` whose product is `beyond`.
///
/// The order is that of the tiles, the same on every machine but not sorted: blocks of panels of 48 right
/// vectors; in each, groups of 8 left vectors; in each, the block's panels; in each, `i`, then `j`. Vectors of
/// different lengths count as filled up with zeros.
///
/// To divide the work, cut the vectors into several [`Vectors`] and deal out the pairs of these: `Upper` for
/// one with itself, `All` for two. A pair that is not remarkable costs nothing but its product.
pub fn products(
    simd: Simd,
    (left, right): (&Vectors, &Vectors),
    pairs: Pairs,
    beyond: Beyond,
    emit: impl FnMut(usize, usize, i32),
) {
    let job = Job { left, right, pairs, beyond, steps: left.steps.min(right.steps) };
    match simd {
        // SAFETY: `Simd` names a level only where the machine has it.
        #[cfg(target_arch = "x86_64")]
        Simd::Vnni => job.run(tile::signed, |a, b, wanted, to| unsafe { tile::vnni(a, b, wanted, to) }, emit),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 | Simd::Avx512 => {
            job.run(tile::paired, |a, b, wanted, to| unsafe { tile::avx2(a, b, wanted, to) }, emit)
        }
        _ => job.run(tile::paired, tile::portable, emit),
    }
}

/// The product of two vectors of at most [`MAX_LEN`] values; the shorter counts as filled up with zeros.
pub fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
}

struct Job<'a> {
    left: &'a Vectors,
    right: &'a Vectors,
    pairs: Pairs,
    beyond: Beyond,
    steps: usize,
}

impl Job<'_> {
    /// Goes through the tiles. `unpack` makes of 4 packed values what `product` wants of its rows.
    fn run<T: Copy + Into<i32>>(
        &self,
        unpack: impl Fn([u8; 4]) -> [T; 4],
        product: impl Fn(&[Rows<T>], &[Step], &Wanted, &mut Tile),
        mut emit: impl FnMut(usize, usize, i32),
    ) {
        let (mut tile, mut rows) = (Tile::default(), Vec::new());
        let panels = self.right.rows.div_ceil(COLUMNS);
        let block = (BLOCK_BYTES / size_of::<Step>() / self.steps.max(1)).max(1);
        for first in (0..panels).step_by(block) {
            let last = panels.min(first + block);
            for i in (0..self.left.rows).step_by(ROWS).take_while(|&i| self.reaches(i, last - 1)) {
                if i % COLUMNS == 0 {
                    self.gather(i / COLUMNS, &unpack, &mut rows);
                }
                let rows = &rows[i % COLUMNS / ROWS * self.steps..][..self.steps];
                let wanted = Wanted::new(rows, self.beyond);
                for p in (first..last).filter(|&p| self.reaches(i, p)) {
                    product(rows, self.right.panel(p, self.steps), &wanted, &mut tile);
                    self.hand_over((i, p * COLUMNS), &tile, &mut emit);
                }
            }
        }
    }

    /// Whether the tile of the rows from `i` and panel `p` has a pair that counts.
    fn reaches(&self, i: usize, p: usize) -> bool {
        self.pairs == Pairs::All || i + 1 < (p + 1) * COLUMNS
    }

    /// Lays out the left panel `p` as the rows of six tiles, one tile after the other.
    fn gather<T>(&self, p: usize, unpack: impl Fn([u8; 4]) -> [T; 4], to: &mut Vec<Rows<T>>) {
        let panel = self.left.panel(p, self.steps);
        to.clear();
        for group in 0..COLUMNS / ROWS {
            to.extend(panel.iter().map(|s| Rows(std::array::from_fn(|i| unpack(s.0[group * ROWS + i])))));
        }
    }

    fn hand_over(&self, (i, j): (usize, usize), tile: &Tile, emit: &mut impl FnMut(usize, usize, i32)) {
        let real = !(u64::MAX << COLUMNS.min(self.right.rows - j));
        for (row, &hits) in tile.hits.iter().enumerate().take(self.left.rows - i) {
            let above = match self.pairs {
                Pairs::Upper => u64::MAX << (i + row + 1).saturating_sub(j),
                Pairs::All => u64::MAX,
            };
            let mut hits = hits & real & above;
            while hits != 0 {
                let column = hits.trailing_zeros() as usize;
                emit(i + row, j + column, tile.sums[row][column]);
                hits &= hits - 1;
            }
        }
    }
}
