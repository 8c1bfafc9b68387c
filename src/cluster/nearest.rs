//! The work horse: half squared distances between many rows and many columns by blocked products, in
//! registers, and what is wanted of them. The rows are points and the columns centres, or the reverse.
//!
//! `|x - c|^2 / 2 = (|x|^2 / 2 + |c|^2 / 2) - x.c` in f32. Each product `x.c` is added up in the order of the
//! coordinates, multiplication then addition, whatever the tile: every level gives the same bits.

use crate::simd::Simd;

/// Rows that are compared, as f32, with half of their squared lengths.
pub(super) struct Rows {
    dims: usize,
    values: Vec<f32>,
    half: Vec<f32>,
}

impl Rows {
    /// Rows of `dims` coordinates each, one after the other.
    pub fn new(dims: usize, values: Vec<f32>) -> Self {
        let half = values.chunks_exact(dims).map(half_square).collect();
        Rows { dims, values, half }
    }

    /// The coordinates of row `i`.
    pub fn row(&self, i: u32) -> &[f32] {
        &self.values[i as usize * self.dims..][..self.dims]
    }

    /// Coordinates a row.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.half.len()
    }
}

/// Half of the squared length, added up in order.
pub(super) fn half_square(row: &[f32]) -> f32 {
    row.iter().fold(0.0, |sum, x| sum + x * x) * 0.5
}

/// Columns, `[column / width][coordinate][width]`, the last tile filled up with columns infinitely far away.
pub(super) struct Columns {
    simd: Simd,
    dims: usize,
    values: Vec<f32>,
    half: Vec<f32>,
    weight: Vec<f32>,
    id: Vec<u32>,
}

/// Columns in a tile.
fn width(simd: Simd) -> usize {
    match simd {
        Simd::Portable => 8,
        Simd::Avx2 => 16,
        Simd::Avx512 | Simd::Vnni => 64,
    }
}

/// No column.
pub(super) const NONE: u32 = u32::MAX;

impl Columns {
    /// No columns yet.
    pub fn new(dims: usize, simd: Simd) -> Self {
        Columns { simd, dims, values: Vec::new(), half: Vec::new(), weight: Vec::new(), id: Vec::new() }
    }

    /// Packs `rows`: their ids, which ascend, the weights of their distances, their coordinates.
    pub fn pack<'a>(&mut self, rows: impl Iterator<Item = (u32, f32, &'a [f32])>) {
        let width = width(self.simd);
        let Columns { dims, values, half, weight, id, .. } = self;
        [&mut *values, half, weight].into_iter().for_each(Vec::clear);
        id.clear();
        for (j, (name, scale, row)) in rows.enumerate() {
            if j % width == 0 {
                values.resize(values.len() + *dims * width, 0.0);
                half.resize(half.len() + width, f32::INFINITY);
                weight.resize(weight.len() + width, 1.0);
                id.resize(id.len() + width, NONE);
            }
            (half[j], weight[j], id[j]) = (half_square(row), scale, name);
            let tile = &mut values[j / width * *dims * width..];
            row.iter().enumerate().for_each(|(d, &x)| tile[d * width + j % width] = x);
        }
    }
}

/// The nearest column of each row.
pub(super) struct Query<'a> {
    pub rows: &'a Rows,
    /// Which rows.
    pub which: &'a [u32],
    /// For every row (not only those asked for) the column that does not count, or `NONE`.
    pub skip: &'a [u32],
}

/// Writes to `found[i]` the id of the column with the least `weight * |x - c|^2` for the row `which[i]`, the
/// lowest of equals; `NONE` if there is no column but the skipped.
pub(super) fn nearest(query: &Query, columns: &Columns, found: &mut Vec<u32>) {
    found.clear();
    found.resize(query.which.len(), NONE);
    match columns.simd {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Simd::available` gives a level only when the processor has it.
        Simd::Avx512 | Simd::Vnni => unsafe { nearest_avx512(query, columns, found) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Simd::Avx2 => unsafe { nearest_avx2(query, columns, found) },
        _ => nearest_tiled::<4, 8>(query, columns, found, (products, scan)),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn nearest_avx2(query: &Query, columns: &Columns, found: &mut [u32]) {
    nearest_tiled::<4, 16>(
        query,
        columns,
        found,
        (|r, c, to| products_avx2(r, c, to), |r, d, c| scan_avx2(r, d, c)),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn nearest_avx512(query: &Query, columns: &Columns, found: &mut [u32]) {
    nearest_tiled::<6, 64>(
        query,
        columns,
        found,
        (|r, c, to| products_avx512(r, c, to), |r, d, c| scan_avx512(r, d, c)),
    );
}

#[inline(always)]
fn nearest_tiled<const M: usize, const N: usize>(
    query: &Query,
    columns: &Columns,
    found: &mut [u32],
    kernels: (
        impl Fn(&[[f32; M]], &[f32], &mut [[f32; N]; M]),
        impl Fn(Row, &[[[f32; N]; M]], &Columns) -> u32,
    ),
) {
    let mut block = vec![[0.0; M]; columns.dims];
    let mut dots = vec![[[0.0; N]; M]; columns.id.len() / N];
    for (which, found) in query.which.chunks(M).zip(found.chunks_mut(M)) {
        let half = gather(query.rows, which, &mut block);
        for (dot, values) in dots.iter_mut().zip(columns.values.chunks_exact(columns.dims * N)) {
            kernels.0(&block, values, dot);
        }
        for (i, (&x, found)) in which.iter().zip(found).enumerate() {
            *found = kernels.1((i, half[i], query.skip[x as usize]), &dots, columns);
        }
    }
}

/// A row's place in its block, its half square, the column that does not count.
type Row = (usize, f32, u32);

/// The column with the least score, from the products of a block and all tiles.
#[inline(always)]
fn scan<const M: usize, const N: usize>(
    (i, half, skip): Row,
    dots: &[[[f32; N]; M]],
    columns: &Columns,
) -> u32 {
    let (mut best, mut arg) = ([f32::INFINITY; N], [NONE; N]);
    let (halves, weights) = (columns.half.as_chunks::<N>().0, columns.weight.as_chunks::<N>().0);
    for ((dot, id), (h, w)) in dots.iter().zip(columns.id.as_chunks::<N>().0).zip(halves.iter().zip(weights))
    {
        let dot = &dot[i];
        for j in 0..N {
            let score = w[j] * ((half + h[j]) - dot[j]);
            let score = if id[j] == skip { f32::INFINITY } else { score };
            arg[j] = if score < best[j] { id[j] } else { arg[j] };
            best[j] = if score < best[j] { score } else { best[j] };
        }
    }
    least(&best, &arg)
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn scan_avx2(row: Row, dots: &[[[f32; 16]; 4]], columns: &Columns) -> u32 {
    scan(row, dots, columns)
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn scan_avx512(row: Row, dots: &[[[f32; 64]; 6]], columns: &Columns) -> u32 {
    scan(row, dots, columns)
}

/// Writes to `found[i * stride..]` half of the squared distance of the row `which[i]` and each column, where
/// the stride, which is given back, is the number of columns rounded up.
pub(super) fn halves(rows: &Rows, which: &[u32], columns: &Columns, found: &mut Vec<f32>) -> usize {
    found.clear();
    found.resize(which.len() * columns.id.len(), 0.0);
    match columns.simd {
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Vnni => {
            halves_tiled::<6, 64>(rows, which, (columns, found), |rows, columns, to| {
                // SAFETY: `Simd::available` gives a level only when the processor has it.
                unsafe { products_avx512(rows, columns, to) }
            })
        }
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => halves_tiled::<4, 16>(rows, which, (columns, found), |rows, columns, to| {
            // SAFETY: as above.
            unsafe { products_avx2(rows, columns, to) }
        }),
        _ => halves_tiled::<4, 8>(rows, which, (columns, found), products),
    }
    columns.id.len()
}

fn halves_tiled<const M: usize, const N: usize>(
    rows: &Rows,
    which: &[u32],
    (columns, found): (&Columns, &mut [f32]),
    products: impl Fn(&[[f32; M]], &[f32], &mut [[f32; N]; M]),
) {
    let (mut block, mut dot) = (vec![[0.0; M]; columns.dims], [[0.0; N]; M]);
    let stride = columns.id.len();
    for (which, found) in which.chunks(M).zip(found.chunks_mut(M * stride)) {
        let half = gather(rows, which, &mut block);
        for (t, values) in columns.values.chunks_exact(columns.dims * N).enumerate() {
            products(&block, values, &mut dot);
            for i in 0..which.len() {
                let places = found[i * stride + t * N..][..N].iter_mut();
                let pairs = places.zip(dot[i]).zip(&columns.half[t * N..]);
                pairs.for_each(|((found, dot), h)| *found = ((half[i] + h) - dot).max(0.0));
            }
        }
    }
}

/// Lays out the rows `which` as `[coordinate][M]` and gives their half squares; what is missing of M is zero.
#[inline(always)]
fn gather<const M: usize>(rows: &Rows, which: &[u32], block: &mut [[f32; M]]) -> [f32; M] {
    let mut half = [0.0; M];
    for (i, &x) in which.iter().enumerate() {
        half[i] = rows.half[x as usize];
        block.iter_mut().zip(rows.row(x)).for_each(|(b, &x)| b[i] = x);
    }
    half
}

/// The products of M rows and N columns. Compiled by itself for each level: amid other loops the compiler
/// no longer keeps the tile in registers.
#[inline(always)]
fn products<const M: usize, const N: usize>(rows: &[[f32; M]], columns: &[f32], to: &mut [[f32; N]; M]) {
    let mut dot = [[0.0; N]; M];
    for (a, b) in rows.iter().zip(columns.as_chunks::<N>().0) {
        for i in 0..M {
            for j in 0..N {
                dot[i][j] += a[i] * b[j];
            }
        }
    }
    *to = dot;
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
fn products_avx2(rows: &[[f32; 4]], columns: &[f32], to: &mut [[f32; 16]; 4]) {
    products(rows, columns, to);
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn products_avx512(rows: &[[f32; 6]], columns: &[f32], to: &mut [[f32; 64]; 6]) {
    products(rows, columns, to);
}

/// The id with the least score, the lowest of equals.
#[inline(always)]
fn least<const N: usize>(score: &[f32; N], id: &[u32; N]) -> u32 {
    let lowest = score.iter().fold(f32::INFINITY, |low, &s| if s < low { s } else { low });
    let ids = score.iter().zip(id).map(|(&s, &id)| if s == lowest { id } else { NONE });
    ids.fold(NONE, u32::min)
}
