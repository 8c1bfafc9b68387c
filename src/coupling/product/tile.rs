//! The products of 6 rows and 48 columns at a time, in registers, and which of them are remarkable.
//!
//! `vpdpbusd` adds four products to a 32-bit lane: 18 sums of 16 lanes, 3 of columns and a row are 22 of the
//! 32 registers that AVX-512 has. AVX2's `vpmaddubsw` adds two to a 16-bit lane: of values of up to 21 it
//! holds 36, so only every eighteenth time they are widened. All sums wrap: only the last, without what was added to it, has to fit.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Rows in a tile.
pub const ROWS: usize = 6;
/// Columns in a tile, and vectors in a panel.
pub const COLUMNS: usize = 48;
/// The largest value, and the smallest but for its sign.
pub const MOST: i8 = 21;
/// Added to the values of columns, which are then unsigned.
pub const OFFSET: i8 = MOST;
/// Steps whose products a 16-bit lane holds, two of each.
#[cfg(target_arch = "x86_64")]
const NARROW: usize = i16::MAX as usize / (2 * 2 * MOST as usize * MOST as usize);

/// Four values of each of the columns, as value + [`OFFSET`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Step(pub [[u8; 4]; COLUMNS]);

impl Step {
    /// All zeros.
    pub const ZERO: Step = Step([[OFFSET as u8; 4]; COLUMNS]);
}

/// The same four values of each of the rows.
pub struct Rows(pub [[i8; 4]; ROWS]);

/// Four values as they are.
pub fn signed(packed: [u8; 4]) -> [i8; 4] {
    packed.map(|x| x as i8 - OFFSET)
}

/// What is found.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Tile {
    /// The products, less the least that is not remarkable.
    pub sums: [[i32; COLUMNS]; ROWS],
    /// For each row a bit for each remarkable column, of the values until now.
    pub hits: [u64; ROWS],
}

impl Default for Tile {
    fn default() -> Self {
        Tile { sums: [[0; COLUMNS]; ROWS], hits: [0; ROWS] }
    }
}

/// What is looked for, so that one unsigned comparison says it: sums start at what is to be taken off, `OFFSET` *
/// sum(row) and the least that is not remarkable, and are remarkable when at least `width` in the end.
pub struct Wanted {
    /// Where the sums of each row start; `None` where they go on.
    pub start: Option<[i32; ROWS]>,
    /// How many values are not remarkable.
    pub width: u32,
}

/// In plain Rust.
pub fn portable(rows: &[Rows], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
    for i in 0..ROWS {
        let mut sums = wanted.start.map_or(to.sums[i], |start| [start[i]; COLUMNS]);
        for (row, step) in rows.iter().zip(columns) {
            let [a, b, c, d] = row.0[i].map(i32::from);
            for (sum, column) in sums.iter_mut().zip(&step.0) {
                let [e, f, g, h] = column.map(i32::from);
                *sum = sum.wrapping_add(a * e + b * f + c * g + d * h);
            }
        }
        to.hits[i] = (0..COLUMNS).map(|j| u64::from(sums[j] as u32 >= wanted.width) << j).sum();
        to.sums[i] = sums;
    }
}

/// With AVX2: 16 columns at a time. 12 sums, 2 of columns, a row and a product are its 16 registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub fn avx2(rows: &[Rows], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
    if let Some(start) = wanted.start {
        to.sums.iter_mut().zip(start).for_each(|(sums, start)| sums.fill(start));
    }
    to.hits = [0; ROWS];
    for j in (0..COLUMNS).step_by(16) {
        rows.chunks(NARROW).zip(columns.chunks(NARROW)).for_each(|part| avx2_part(part, j, to));
    }
    let width = _mm256_set1_epi32(wanted.width as i32);
    for (sums, hits) in to.sums.iter().zip(&mut to.hits) {
        for (j, sums) in sums.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: 8 sums of 4 bytes are 32 bytes, which need not be aligned.
            let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) };
            let hit = _mm256_cmpeq_epi32(_mm256_max_epu32(sums, width), sums);
            *hits |= (_mm256_movemask_ps(_mm256_castsi256_ps(hit)) as u64) << (8 * j);
        }
    }
}

/// Adds the products of at most `NARROW` steps, of the columns from `j` on.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn avx2_part((rows, columns): (&[Rows], &[Step]), j: usize, to: &mut Tile) {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for (row, step) in rows.iter().zip(columns) {
        let from = step.0[j..][..16].as_ptr().cast::<__m256i>();
        // SAFETY: 16 columns of 4 bytes are twice 32 bytes.
        let b: [__m256i; 2] = std::array::from_fn(|j| unsafe { _mm256_loadu_si256(from.add(j)) });
        for (sums, a) in sums.iter_mut().zip(&row.0) {
            let a = _mm256_set1_epi32(i32::from_ne_bytes(a.map(|x| x as u8)));
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(b, a));
            }
        }
    }
    for (row, sums) in to.sums.iter_mut().zip(sums) {
        for (to, sum) in row[j..][..16].as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            let sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
            let to = to.as_mut_ptr().cast::<__m256i>();
            // SAFETY: 8 sums of 4 bytes are 32 bytes, which need not be aligned.
            unsafe { _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), sum)) };
        }
    }
}

/// With AVX-512 VNNI, all at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
pub fn vnni(rows: &[Rows], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
    // 48 sums of 4 bytes are 3 times 64 bytes.
    let place = to.sums.as_mut_ptr().cast::<[__m512i; 3]>();
    let mut sums: [[__m512i; 3]; ROWS] = std::array::from_fn(|i| match wanted.start {
        Some(start) => [_mm512_set1_epi32(start[i]); 3],
        // SAFETY: there are `ROWS` of these, and tiles are aligned to 64.
        None => unsafe { place.add(i).read() },
    });
    for (row, step) in rows.iter().zip(columns) {
        let from = step.0.as_ptr().cast::<__m512i>();
        // SAFETY: 48 columns of 4 bytes are 3 times 64 bytes, and aligned to 64.
        let b: [__m512i; 3] = std::array::from_fn(|j| unsafe { _mm512_load_si512(from.add(j)) });
        for (sums, a) in sums.iter_mut().zip(row.0) {
            let a = _mm512_set1_epi32(i32::from_ne_bytes(a.map(|x| x as u8)));
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_dpbusd_epi32(*sum, b, a);
            }
        }
    }
    let width = _mm512_set1_epi32(wanted.width as i32);
    for (i, sums) in sums.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { place.add(i).write(sums) };
        let hits = sums.map(|sum| u64::from(_mm512_cmpge_epu32_mask(sum, width)));
        to.hits[i] = hits[0] | hits[1] << 16 | hits[2] << 32;
    }
}
