//! Small graphs with known answers, and properties of all of them.

use proptest::prelude::*;

use super::{Link, ensembles, naive};

const THRESHOLD: f64 = 4.4;

/// VMs are letters; `abc` is a clique, `a-c` a missing link in it. Each link has a z of its own, so that
/// there are no ties.
fn graph(text: &str) -> Vec<Link> {
    let mut links = vec![];
    let index = |c: u8| u32::from(c - b'a');
    let (missing, cliques): (Vec<_>, Vec<_>) = text.split(' ').partition(|part| part.contains('-'));
    for clique in cliques {
        for (i, &b) in clique.as_bytes().iter().enumerate() {
            for &a in &clique.as_bytes()[..i] {
                let z = 6.0 + 0.37 * f64::from(index(a)) + 0.059 * f64::from(index(b));
                links.push(Link { a: index(a), b: index(b), z, significant: true });
            }
        }
    }
    let missing: Vec<_> =
        missing.iter().map(|part| part.as_bytes()).map(|p| (index(p[0]), index(p[2]))).collect();
    links.retain(|link| !missing.contains(&(link.a, link.b)));
    links
}

fn written(found: &[Vec<u32>]) -> String {
    let letters = |set: &Vec<u32>| set.iter().map(|&v| char::from(b'a' + v as u8)).collect();
    found.iter().map(letters).collect::<Vec<String>>().join(" ")
}

#[test]
fn small_graphs() {
    for (links, expected, what) in [
        ("a", "", "no link"),
        ("ab", "ab", "a pair"),
        ("abc def", "abc def", "two applications"),
        ("abc def cd", "abc def", "two, and a wrong link"),
        ("abcd efgh ah", "abcd efgh", "two, and a wrong link that is the weakest"),
        ("abcd efgh ae bf", "abcd efgh", "two, and two wrong links"),
        ("abc cd", "abcd", "a VM with one link, to one of three"),
        ("abcd de", "abcd de", "to one of four: it has that one for itself"),
        ("abcde a-b", "abcde", "a missing link"),
        ("abcdef a-b c-d e-f", "abcdef", "each lacks one"),
        ("ab bc cd", "abcd", "a chain"),
        ("ab ac ad", "abcd", "a star"),
        ("ab ac ad ae af", "ab acdef", "a star of six: all but one of its rays"),
        ("abc cde", "abc cde", "a hub of two"),
        ("abch defh", "abch defh", "a hub of two applications of three tiers"),
        ("abz cdz efz", "abz cdz efz", "a hub of three of two"),
        (
            "abcdz efghz ijklz mnopz qrstz uvwxz",
            "abcdz efghz ijklz mnopz qrstz uvwxz",
            "a hub of six of four",
        ),
        ("abcz dez", "abcz dez", "a hub of applications of unlike size"),
        ("abcz dz ez", "abcz dez", "a hub that alone holds the second together"),
        ("ab bc cd de ef fg gh", "abcd efgh", "a chain of eight"),
    ] {
        assert_eq!(written(&ensembles(26, &graph(links), THRESHOLD)), expected, "{what}");
    }
}

/// Two cliques of four with one significant link between them; the fifteen others hold z = 2 to 4, as under common load.
#[test]
fn what_is_nearly_significant_joins_nothing() {
    let mut links = graph("abcd efgh");
    for pair in 0..16 {
        let z = if pair == 0 { 4.5 } else { 2.0 + f64::from(pair) / 8.0 };
        links.push(Link { a: pair / 4, b: 4 + pair % 4, z, significant: pair == 0 });
    }
    assert_eq!(written(&ensembles(8, &links, THRESHOLD)), "abcd efgh");
}

#[test]
fn nothing_that_links_hold_is_a_panic() {
    let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0];
    let link = |a, b, z| Link { a, b, z, significant: true };
    let links: Vec<_> = odd.iter().flat_map(|&z| [link(0, 1, z), link(1, 1, z), link(1, 7, z)]).collect();
    for vms in [0, 1, 2, 7] {
        for threshold in odd {
            let expected: &[Vec<u32>] = if vms < 2 { &[] } else { &[vec![0, 1]] };
            assert_eq!(ensembles(vms, &links, threshold), expected);
        }
    }
}

/// Links of `vms` VMs in applications with common hubs, some missing, some wrong, each of another z.
fn park(vms: u32) -> impl Strategy<Value = Vec<Link>> {
    let apps = prop::collection::vec(prop::collection::vec(0..vms, 2..6), 1..6);
    let wrong = prop::collection::vec((0..vms, 0..vms), 0..6);
    (apps, wrong, prop::collection::vec((0.0..9.0f64, any::<prop::sample::Index>()), 1..9), any::<u32>())
        .prop_map(move |(apps, wrong, weak, salt)| {
            let mut pairs: Vec<(u32, u32)> = wrong;
            for app in apps {
                pairs.extend(app.iter().flat_map(|&a| app.iter().map(move |&b| (a, b))));
            }
            pairs.retain(|(a, b)| a < b);
            pairs.sort_unstable();
            pairs.dedup();
            // Of no simple relation to each other, or means of them would be equal.
            let link = |(i, &(a, b)): (usize, &(u32, u32))| {
                let mixed = (i as f64 * 12.9898 + f64::from(salt)).sin() * 43_758.545_3;
                let z = 1.0 + 9.0 * (mixed - mixed.floor());
                Link { a, b, z, significant: z > THRESHOLD }
            };
            let mut links: Vec<Link> = pairs.iter().enumerate().map(link).collect();
            for (z, at) in weak.into_iter().filter(|_| !pairs.is_empty()) {
                links[at.index(pairs.len())].z = z;
                links[at.index(pairs.len())].significant = z > THRESHOLD;
            }
            links
        })
}

proptest! {
    #[test]
    fn as_the_slow_twin_says(links in park(14)) {
        let found = ensembles(14, &links, THRESHOLD);
        prop_assert_eq!(&found, &naive::ensembles(14, &links, THRESHOLD));
        for (i, set) in found.iter().enumerate() {
            prop_assert!(set.len() > 1 && set.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(i == 0 || found[i - 1] < *set);
        }
    }

    #[test]
    fn other_numbers_same_ensembles(
        links in park(14),
        number in Just((0..14).collect::<Vec<u32>>()).prop_shuffle(),
    ) {
        let renamed = |link: &Link| {
            let (a, b) = (number[link.a as usize], number[link.b as usize]);
            Link { a: a.min(b), b: a.max(b), ..*link }
        };
        let other: Vec<Link> = links.iter().rev().map(renamed).collect();
        let mut found = ensembles(14, &links, THRESHOLD);
        for set in &mut found {
            set.iter_mut().for_each(|v| *v = number[*v as usize]);
            set.sort_unstable();
        }
        found.sort_unstable();
        prop_assert_eq!(found, ensembles(14, &other, THRESHOLD));
    }

    /// However strong it is.
    #[test]
    fn one_wrong_link_changes_nothing(
        (m, n) in (3u32..9, 3u32..9),
        (a, b) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        z in prop::collection::vec(4.5..30.0f64, 80),
        wrong in 4.5..60.0f64,
    ) {
        let clique = |from: u32, to: u32| (from..to).flat_map(move |b| (from..b).map(move |a| (a, b)));
        let pairs = clique(0, m).chain(clique(m, m + n));
        let mut links: Vec<Link> =
            pairs.zip(&z).map(|((a, b), &z)| Link { a, b, z, significant: true }).collect();
        let (a, b) = (a.index(m as usize) as u32, m + b.index(n as usize) as u32);
        links.push(Link { a, b, z: wrong, significant: true });
        let expected = [(0..m).collect::<Vec<_>>(), (m..m + n).collect()];
        prop_assert_eq!(ensembles((m + n) as usize, &links, THRESHOLD), expected);
    }
}
