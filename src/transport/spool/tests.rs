//! Tests of the spool: order, restarts, damage, limits.

use super::*;
use proptest::prelude::*;

const LIMIT: u64 = 1 << 30;

fn append(spool: &mut Spool, n: u32) {
    spool.append(b"host", n.to_string().as_bytes()).unwrap();
}

fn next(spool: &mut Spool) -> Option<(u32, Position)> {
    let (message, position) = spool.hand_out().unwrap()?;
    assert_eq!(message.key, b"host");
    Some((String::from_utf8(message.value).unwrap().parse().unwrap(), position))
}

fn rest(spool: &mut Spool) -> Vec<u32> {
    std::iter::from_fn(|| next(spool)).map(|(n, _)| n).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
    all.sort();
    all
}

#[test]
fn what_was_not_delivered_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
    (0..10).for_each(|n| append(&mut spool, n));
    assert_eq!((next(&mut spool).unwrap().0, next(&mut spool).unwrap().0), (0, 1));
    let (_, third) = next(&mut spool).unwrap();
    spool.commit(third).unwrap();
    assert_eq!(next(&mut spool).unwrap().0, 3);
    drop(spool);
    let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
    assert_eq!(spool.len(), 7);
    append(&mut spool, 10);
    assert_eq!(rest(&mut spool), (3..=10).collect::<Vec<_>>());
    assert!(spool.is_empty() && !spool.is_delivered());
    let end = spool.end();
    spool.commit(end).unwrap();
    assert!(spool.is_delivered() && segments(folder.path()).is_empty());
    append(&mut spool, 11);
    drop(spool);
    assert_eq!(rest(&mut Spool::open(folder.path(), LIMIT).unwrap()), [11]);
}

#[test]
fn a_record_that_was_cut_off_or_damaged_ends_its_segment_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
    (0..3).for_each(|n| append(&mut spool, n));
    drop(spool);
    let path = segments(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let length = whole.len() / 3;
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
        append(&mut spool, 7);
        let mut want: Vec<u32> = (0..(cut / length) as u32).collect();
        want.push(7);
        assert_eq!(rest(&mut spool), want, "cut at {cut}");
        drop(spool);
        segments(folder.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
        assert_eq!(rest(&mut spool), (0..(at / length) as u32).collect::<Vec<_>>(), "damaged at {at}");
        drop(spool);
        segments(folder.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

#[test]
fn a_damaged_cursor_delivers_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
    (0..3).for_each(|n| append(&mut spool, n));
    let (_, first) = next(&mut spool).unwrap();
    spool.commit(first).unwrap();
    drop(spool);
    fs::write(folder.path().join("cursor"), b"rubbish").unwrap();
    assert_eq!(rest(&mut Spool::open(folder.path(), LIMIT).unwrap()), [0, 1, 2]);
}

#[test]
fn the_oldest_are_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let value = |n: u32| format!("{n:010000}").into_bytes();
    let mut handed = vec![];
    for n in 0..500 {
        spool.append(b"host", &value(n)).unwrap();
        if n == 50 {
            handed.extend((0..10).map(|_| spool.hand_out().unwrap().unwrap().1));
        }
        let used: u64 = segments(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(used <= 1 << 20, "{used}");
    }
    let kept = spool.len();
    assert_eq!(spool.take_dropped(), 500 - 10 - kept);
    assert!(kept > 90, "{kept}");
    // Delivered after it was dropped.
    spool.commit(handed[9]).unwrap();
    let first = spool.hand_out().unwrap().unwrap().0;
    assert_eq!(first.value, value(500 - kept as u32));
    drop(spool);
    assert_eq!(Spool::open(folder.path(), 1 << 20).unwrap().len(), kept);
}

#[test]
fn nobody_else_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let one = Spool::open(folder.path(), LIMIT).unwrap();
    let two = Spool::open(folder.path(), LIMIT).unwrap_err();
    assert!(two.to_string().contains("cannot lock it"), "{two}");
    drop(one);
    Spool::open(folder.path(), LIMIT).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Append(u16),
    Next,
    Commit,
    HandOver,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The obvious twin: three marks in a list.
    #[test]
    fn it_is_a_queue(steps in prop::collection::vec(prop_oneof![
        4 => (1u16..30_000).prop_map(Step::Append), 3 => Just(Step::Next), 1 => Just(Step::Commit),
        1 => Just(Step::HandOver), 1 => Just(Step::Restart),
    ], 1..80)) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), LIMIT).unwrap();
        let (mut all, mut handed, mut delivered, mut last) = (Vec::<u16>::new(), 0, 0, Position::default());
        for step in steps {
            match step {
                Step::Append(length) => {
                    spool.append(&length.to_le_bytes(), &vec![7; usize::from(length)]).unwrap();
                    all.push(length);
                }
                Step::Next => {
                    let got = spool.hand_out().unwrap();
                    let want = all.get(handed).map(|n| (n.to_le_bytes().to_vec(), usize::from(*n)));
                    prop_assert_eq!(got.as_ref().map(|(m, _)| (m.key.clone(), m.value.len())), want);
                    if let Some((_, position)) = got {
                        (handed, last) = (handed + 1, position);
                    }
                }
                Step::Commit => {
                    spool.commit(last).unwrap();
                    delivered = handed;
                }
                Step::HandOver => {
                    spool.hand_over();
                    (handed, last) = (all.len(), spool.end());
                }
                Step::Restart => {
                    drop(spool);
                    spool = Spool::open(folder.path(), LIMIT).unwrap();
                    handed = delivered;
                    last = spool.delivered;
                }
            }
            prop_assert_eq!(spool.len(), (all.len() - handed) as u64);
        }
    }
}
