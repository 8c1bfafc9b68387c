//! The products beside the naive loop, at every level.

use super::*;
use proptest::prelude::*;

type Found = Vec<(usize, usize, i32)>;

fn found(simd: Simd, sides: (&[Vec<i8>], &[Vec<i8>]), len: usize, pairs: Pairs, beyond: Beyond) -> Found {
    let (left, right) = (Vectors::new(sides.0, len), Vectors::new(sides.1, len));
    let mut found = vec![];
    products(simd, (&left, &right), pairs, beyond, |i, j, sum| found.push((i, j, sum)));
    found
}

fn naive((left, right): (&[Vec<i8>], &[Vec<i8>]), pairs: Pairs, beyond: Beyond) -> Found {
    let mut found = vec![];
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate().filter(|&(j, _)| pairs == Pairs::All || i < j) {
            let sum: i64 = a.iter().zip(b).map(|(&a, &b)| i64::from(coarse(a)) * i64::from(coarse(b))).sum();
            if sum < beyond.low.into() || sum > beyond.high.into() {
                found.push((i, j, i32::try_from(sum).unwrap()));
            }
        }
    }
    found
}

/// Compares every level with the naive loop, and the levels' orders with each other. How many were found.
fn check(sides: (&[Vec<i8>], &[Vec<i8>]), len: usize, pairs: Pairs, beyond: Beyond) -> usize {
    let first = found(Simd::Portable, sides, len, pairs, beyond);
    for simd in Simd::available() {
        assert_eq!(first, found(simd, sides, len, pairs, beyond), "{simd:?}");
    }
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, naive(sides, pairs, beyond), "{pairs:?}, {beyond:?}");
    sorted.len()
}

const ALL: Beyond = Beyond { low: 0, high: -1 };

fn rows(most: usize, len: usize) -> impl Strategy<Value = Vec<Vec<i8>>> {
    let value = prop_oneof![8 => any::<i8>(), 1 => Just(-128), 1 => Just(127), 1 => Just(0)];
    prop::collection::vec(prop::collection::vec(value, len), 0..most)
}

fn two_sets() -> impl Strategy<Value = (usize, Vec<Vec<i8>>, Vec<Vec<i8>>)> {
    (0usize..300).prop_flat_map(|len| (Just(len), rows(150, len), rows(150, len)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn every_level_gives_what_the_naive_loop_gives(
        (len, left, right) in two_sets(),
        low in prop_oneof![-9_000i32..9_000, Just(i32::MIN), Just(i32::MAX)],
        high in prop_oneof![-9_000i32..9_000, Just(i32::MIN), Just(i32::MAX)],
    ) {
        for pairs in [Pairs::All, Pairs::Upper] {
            check((&left, &right), len, pairs, Beyond { low, high });
            check((&left, &left), len, pairs, ALL);
        }
    }
}

#[test]
fn upper_is_all_without_the_rest() {
    for rows in [0usize, 1, 7, 8, 9, 47, 48, 49, 96, 200] {
        let x: Vec<Vec<i8>> = (0..rows).map(|i| vec![i as i8; 5]).collect();
        let all = found(Simd::detect(), (&x, &x), 5, Pairs::All, ALL);
        let upper = found(Simd::detect(), (&x, &x), 5, Pairs::Upper, ALL);
        assert_eq!(upper.len(), rows * rows.saturating_sub(1) / 2);
        assert_eq!(upper, all.into_iter().filter(|(i, j, _)| i < j).collect::<Vec<_>>());
    }
}

#[test]
fn several_blocks_and_chunks() {
    // A block has 960 rows, a chunk 384 values.
    let len = 773;
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3] as i8
    };
    let x: Vec<Vec<i8>> = (0..1_100).map(|_| (0..len).map(|_| draw()).collect()).collect();
    let some = |found: usize, of: usize| assert!((of / 1_000..of / 2).contains(&found), "{found} of {of}");
    some(check((&x[..100], &x), len, Pairs::All, Beyond { low: -5_500, high: 5_500 }), 110_000);
    some(check((&x, &x), len, Pairs::Upper, Beyond { low: -5_500, high: 5_500 }), 604_450);
}

#[test]
fn the_longest_vectors_fit() {
    for (a, b) in [(-128, -128), (-128, 127), (127, 127)] {
        let x = [vec![a; MAX_LEN], vec![b; MAX_LEN]];
        check((&x, &x), MAX_LEN, Pairs::Upper, ALL);
        // The least that is not remarkable is the smallest i32, the most the largest: none is.
        check((&x, &x), MAX_LEN, Pairs::All, Beyond { low: i32::MIN, high: i32::MAX });
        assert_eq!(
            i64::from(dot(Simd::detect(), &x[0], &x[1])),
            i64::from(a) * i64::from(b) * MAX_LEN as i64
        );
    }
}

#[test]
#[should_panic(expected = "may not fit")]
fn longer_ones_are_refused() {
    Vectors::new([[0i8]], MAX_LEN + 1);
}

#[test]
fn a_threshold_is_not_beyond_itself() {
    let x = [vec![18i8], vec![30i8]];
    for (low, high, some) in [(15, 15, false), (16, 20, true), (0, 14, true), (-15, 15, false)] {
        check((&x, &x), 1, Pairs::Upper, Beyond { low, high });
        let found = found(Simd::detect(), (&x, &x), 1, Pairs::Upper, Beyond { low, high });
        assert_eq!(!found.is_empty(), some, "{low} {high}");
    }
}

#[test]
fn what_is_missing_is_zero() {
    let (short, long) = (vec![vec![12i8; 3]], vec![vec![30i8; 9]]);
    for (len, sum) in [(0, 0), (2, 20), (3, 30), (9, 30)] {
        let (left, right) = (Vectors::new(&short, len), Vectors::new(&long, len));
        for simd in Simd::available() {
            products(simd, (&left, &right), Pairs::All, ALL, |i, j, s| assert_eq!((i, j, s), (0, 0, sum)));
        }
    }
    assert_eq!(dot(Simd::detect(), &short[0], &long[0]), 1080);
}

#[test]
#[should_panic(expected = "of one length")]
fn different_lengths_are_refused() {
    let (left, right) = (Vectors::new([[0i8]], 4), Vectors::new([[0i8]], 5));
    products(Simd::Portable, (&left, &right), Pairs::All, ALL, |_, _, _| {});
}

#[test]
fn values_are_rounded_and_fit() {
    for value in i8::MIN..=i8::MAX {
        assert_eq!(f64::from(coarse(value)), (f64::from(value) / f64::from(COARSE)).round(), "{value}");
        assert!(coarse(value).abs() <= tile::MOST);
    }
}

proptest! {
    #[test]
    fn pairs_are_those_of_the_loop(
        (_, left, right) in two_sets(),
    ) {
        let mut all = vec![];
        upper(Simd::detect(), (&left, &right), |i, j, product| all.push((i, j, product)));
        let expected = (0..left.len()).flat_map(|i| (i + 1..right.len()).map(move |j| (i, j)));
        let expected = expected.map(|(i, j)| (i, j, dot(Simd::Portable, &left[i], &right[j])));
        prop_assert_eq!(all, expected.collect::<Vec<_>>());
    }
}
