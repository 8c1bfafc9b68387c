//! The products of 8 rows and 48 columns at a time, in registers, and which of them are remarkable.
//!
//! `vpdpbusd` adds four products to a 32-bit lane: 24 sums of 16 lanes, 3 of columns and a row are 28 of the
//! 32 registers that AVX-512 has. All sums wrap: only the last, without what was added to it, has to fit.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Rows in a tile.
pub const ROWS: usize = 8;
/// Columns in a tile, and vectors in a panel.
pub const COLUMNS: usize = 48;

/// Four values of each of the columns, as value + 128.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Step(pub [[u8; 4]; COLUMNS]);

impl Step {
    /// All zeros.
    pub const ZERO: Step = Step([[0x80; 4]; COLUMNS]);
}

/// The same four values of each of the rows.
pub struct Rows<T>(pub [[T; 4]; ROWS]);

/// Four values as they are.
pub fn signed(packed: [u8; 4]) -> [i8; 4] {
    packed.map(|x| (x ^ 0x80) as i8)
}

/// Four values, first those of even place: AVX2 gets at every other byte of the columns by a mask and a shift.
pub fn paired(packed: [u8; 4]) -> [i16; 4] {
    let [a, b, c, d] = signed(packed).map(i16::from);
    [a, c, b, d]
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

/// What is looked for, so that one unsigned comparison says it: sums start at what is to be taken off, 128 *
/// sum(row) and the least that is not remarkable, and are remarkable when at least `width` in the end.
pub struct Wanted {
    /// Where the sums of each row start; `None` where they go on.
    pub start: Option<[i32; ROWS]>,
    /// How many values are not remarkable.
    pub width: u32,
}

/// In plain Rust.
pub fn portable(rows: &[Rows<i16>], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
    for i in 0..ROWS {
        let mut sums = wanted.start.map_or(to.sums[i], |start| [start[i]; COLUMNS]);
        for (row, step) in rows.iter().zip(columns) {
            let [a, c, b, d] = row.0[i].map(i32::from);
            for (sum, column) in sums.iter_mut().zip(&step.0) {
                let [e, f, g, h] = column.map(i32::from);
                *sum = sum.wrapping_add(a * e + b * f + c * g + d * h);
            }
        }
        to.hits[i] = (0..COLUMNS).map(|j| u64::from(sums[j] as u32 >= wanted.width) << j).sum();
        to.sums[i] = sums;
    }
}

/// With AVX2: 4 rows and 16 columns at a time, 8 of 16 registers; bytes widened to 16 bits, `vpmaddwd`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub fn avx2(rows: &[Rows<i16>], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
    to.hits = [0; ROWS];
    for i in (0..ROWS).step_by(4) {
        for j in (0..COLUMNS).step_by(16) {
            avx2_part(rows, columns, (i, j), wanted, to);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2_part(rows: &[Rows<i16>], columns: &[Step], at: (usize, usize), wanted: &Wanted, to: &mut Tile) {
    let even = _mm256_set1_epi16(0xff);
    let place = |i: usize, to: &mut Tile| to.sums[at.0 + i][at.1..][..16].as_mut_ptr().cast::<[__m256i; 2]>();
    let mut sums: [[__m256i; 2]; 4] = std::array::from_fn(|i| match wanted.start {
        Some(start) => [_mm256_set1_epi32(start[at.0 + i]); 2],
        // SAFETY: 16 sums of 4 bytes are 64 bytes, which need not be aligned.
        None => unsafe { place(i, to).read_unaligned() },
    });
    for (row, step) in rows.iter().zip(columns) {
        let from = step.0[at.1..][..16].as_ptr().cast::<__m256i>();
        // SAFETY: 16 columns of 4 bytes are 64 bytes.
        let b = unsafe { [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))] };
        let pairs = b.map(|b| [_mm256_and_si256(b, even), _mm256_srli_epi16(b, 8)]);
        for (sums, a) in sums.iter_mut().zip(&row.0[at.0..][..4]) {
            let a = [word(a[0], a[1]), word(a[2], a[3])].map(|x| _mm256_set1_epi32(x));
            for (sum, b) in sums.iter_mut().zip(pairs) {
                let both = _mm256_add_epi32(_mm256_madd_epi16(a[0], b[0]), _mm256_madd_epi16(a[1], b[1]));
                *sum = _mm256_add_epi32(*sum, both);
            }
        }
    }
    let width = _mm256_set1_epi32(wanted.width as i32);
    for (i, sums) in sums.into_iter().enumerate() {
        for (half, sum) in sums.into_iter().enumerate() {
            let hit = _mm256_cmpeq_epi32(_mm256_max_epu32(sum, width), sum);
            let hits = _mm256_movemask_ps(_mm256_castsi256_ps(hit)) as u64;
            to.hits[at.0 + i] |= hits << (at.1 + half * 8);
        }
        // SAFETY: as above.
        unsafe { place(i, to).write_unaligned(sums) };
    }
}

/// Two values as they lie in memory.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn word(a: i16, b: i16) -> i32 {
    i32::from(a as u16) | i32::from(b) << 16
}

/// With AVX-512 VNNI, all at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
pub fn vnni(rows: &[Rows<i8>], columns: &[Step], wanted: &Wanted, to: &mut Tile) {
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
