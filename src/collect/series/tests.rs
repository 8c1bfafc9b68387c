//! By hand what series give, and that pieces of time give what the whole does.

use proptest::prelude::*;

use super::*;

const S: i64 = 1_000_000_000;

fn series(labels: &[(&str, &str)], readings: &[(i64, u64)]) -> Series {
    let labels = labels.iter().map(|(label, value)| (label.to_string(), value.to_string())).collect();
    Series { labels, readings: readings.iter().map(|(s, cpu_s)| (s * S, cpu_s * S as u64)).collect() }
}

fn vms(template: &str) -> Vms {
    Vms::new(Query::new(template), HostId::new("here"), Grid::new(10_000, 10_000))
}

/// Every sample that some answers give: the second at which it ends, `id name`, and percent of a core.
fn samples(vms: &mut Vms, answers: impl IntoIterator<Item = (i64, Vec<Series>)>) -> Vec<(i64, String, u32)> {
    let (mut frames, mut all) = (Frames::new(10_000), vec![]);
    for (now_s, series) in answers {
        vms.take(series, now_s * S, &mut frames);
    }
    vms.flush(&mut frames);
    frames.finish(|frame| {
        for row in &frame.rows {
            let first = frame.end - row.cpu_ppm.len() as i64 + 1;
            let named = |(at, ppm): (i64, &u32)| {
                ((first + at) * 10, format!("{} {}", row.vm, row.name), ppm / 10_000)
            };
            all.extend((0..).zip(row.cpu_ppm).map(named));
        }
    });
    all.sort();
    all
}

fn told(rows: &[(i64, &str, u32)]) -> Vec<(i64, String, u32)> {
    rows.iter().map(|(end_s, who, percent)| (*end_s, who.to_string(), *percent)).collect()
}

#[test]
fn samples_lie_on_the_grid_between_the_readings() {
    let web = [("domain", "web"), ("instance", "kvm1"), ("uuid", "u-1")];
    let db = [("domain", "db")];
    let answer = vec![
        series(&web, &[(13, 100), (23, 105), (33, 110)]),
        series(&db, &[(10, 7), (20, 8), (30, 7), (40, 9)]),
    ];
    // The counter of db went back at 30 s: what it used until then is not known.
    let expected = told(&[(20, "here/db db", 10), (30, "u-1 web", 50), (40, "here/db db", 20)]);
    assert_eq!(samples(&mut vms("libvirt"), [(40, answer)]), expected);
}

#[test]
fn parts_are_added_where_all_were_read() {
    let part = |cpu: &str, readings: &[(i64, u64)]| {
        series(&[("name", "c"), ("instance", "h"), ("cpu", cpu)], readings)
    };
    let mut read = vms("cadvisor");
    // At 30 s one of them was not read; cpu02 comes at 40 s, with what it had used.
    let answer = vec![
        part("cpu00", &[(10, 1), (20, 2), (30, 3), (40, 4), (50, 5)]),
        part("cpu01", &[(10, 5), (20, 9), (40, 13), (50, 17)]),
        part("cpu02", &[(40, 0), (50, 5)]),
    ];
    let expected = told(&[(20, "h/c c", 50), (30, "h/c c", 30), (40, "h/c c", 30), (50, "h/c c", 100)]);
    assert_eq!(samples(&mut read, [(50, answer)]), expected);
    let same = vec![part("cpu00", &[(60, 6)]), part("cpu00", &[(60, 6)])];
    assert_eq!(samples(&mut read, [(60, same)]), []);
    assert_eq!(read.take_unused().refused, [(Reason::Ambiguous, 1)].into());
}

#[test]
fn of_two_series_of_one_vm_one_is_read() {
    let of = |replica: &str, readings: &[(i64, u64)]| {
        series(&[("domain", "web"), ("instance", "kvm1"), ("replica", replica)], readings)
    };
    let mut read = vms("libvirt");
    // The other counts from another beginning; it takes over 20 s after the last word of the first.
    let answer = vec![
        of("b", &[(10, 900), (20, 901), (30, 902), (40, 903), (50, 904), (60, 905)]),
        of("a", &[(10, 1), (20, 3), (30, 5)]),
    ];
    let who = "kvm1/web web";
    assert_eq!(samples(&mut read, [(60, answer)]), told(&[(20, who, 20), (30, who, 20)]));
    assert_eq!(read.take_unused().refused, [(Reason::Ambiguous, 2)].into());
    let answer = vec![of("b", &[(50, 904), (60, 905), (70, 906), (80, 907)])];
    assert_eq!(samples(&mut read, [(80, answer)]), told(&[(70, who, 10), (80, who, 10)]));
}

#[test]
fn what_cannot_be_used_is_counted() {
    let mut read = vms("libvirt");
    let long = "x".repeat(300);
    let answer = vec![
        series(&[("domain", "")], &[(10, 1)]),
        series(&[("domain", &long)], &[(10, 1), (20, 2)]),
        series(&[("domain", "rare")], &[(10, 1), (60, 2)]),
        series(&[("domain", "wild")], &[(10, 1), (20, 10_000)]),
    ];
    assert_eq!(samples(&mut read, [(60, answer)]), []);
    let unused = read.take_unused();
    assert_eq!((unused.refused, unused.pauses), ([(Reason::BadName, 3), (Reason::Implausible, 1)].into(), 1));
    // Who says nothing for long is forgotten.
    assert_eq!(read.len(), 2);
    assert_eq!(read.known_until_ns(60 * S), 60 * S);
    read.take(vec![], 200 * S, &mut Frames::new(10_000));
    assert!(read.is_empty());
}

#[test]
fn how_often_is_scraped() {
    let every = |s: i64| series(&[], &[(s, 1), (2 * s, 2), (3 * s, 3), (9 * s, 4)]);
    assert_eq!(spacing_ns(&[series(&[], &[(5, 1)]), series(&[], &[])]), None);
    let all: Vec<Series> = (0..20).map(|at| every(if at < 19 { 15 } else { 600 })).collect();
    assert_eq!(spacing_ns(&all), Some(15 * S));
    assert_eq!(spacing_ns(&[every(15), every(60)]), Some(60 * S));
    for (spacing_ms, period) in
        [(1, 1000), (1040, 1000), (14_990, 15_000), (16_000, 20_000), (9_000_000, 3_600_000)]
    {
        assert_eq!(period_ms(spacing_ms * 1_000_000), period, "{spacing_ms}");
    }
}

proptest! {
    /// Answers that overlap, cut anywhere, give what one long answer gives.
    #[test]
    fn pieces_are_the_whole(
        gains in proptest::collection::vec((1i64..14, 0u64..30), 2..60),
        cuts in proptest::collection::vec((0i64..500, 0i64..60), 0..8),
    ) {
        let (mut at, mut used, mut readings) = (0, 0, vec![]);
        for (pause_s, gain_s) in gains {
            (at, used) = (at + pause_s, used + gain_s);
            readings.push((at, used));
        }
        let web = [("domain", "web"), ("instance", "kvm1")];
        let whole = samples(&mut vms("libvirt"), [(at, vec![series(&web, &readings)])]);
        let mut ends: Vec<(i64, i64)> = cuts.into_iter().filter(|(end_s, _)| *end_s < at).collect();
        ends.sort();
        ends.push((at, 60));
        let mut from = 0;
        let pieces: Vec<_> = ends.into_iter().map(|(end_s, overlap_s)| {
            let part: Vec<_> = readings.iter().copied().filter(|(s, _)| (from..=end_s).contains(s)).collect();
            from = (end_s - overlap_s).min(end_s);
            (end_s, vec![series(&web, &part)])
        }).collect();
        prop_assert_eq!(samples(&mut vms("libvirt"), pieces), whole);
    }
}
