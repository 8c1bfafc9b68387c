//! Which reason applies, and what is said of each.

use super::*;

const FACTS: Facts = Facts {
    z: 1.0,
    recorded_z: 0.0,
    threshold: 4.8,
    unconfirmed: false,
    lag_ms: 0,
    unweighted_z: 1.0,
    power: [0.8, 0.7],
    schedule_ms: None,
    comparable: true,
};

#[test]
fn pairs() {
    let strong = Facts { z: 8.0, ..FACTS };
    let lagged = |lag_ms| Facts { lag_ms, ..strong };
    let follows = |first, lag_ms| Reason::Follows { first, lag_ms };
    let job = Facts { schedule_ms: Some(20_000), unweighted_z: 9.0, ..FACTS };
    let capped = Facts { power: [0.8, 0.01], schedule_ms: Some(5000), ..FACTS };
    for (facts, held, proposed, reason) in [
        (strong, true, true, Reason::SameMoment),
        (lagged(2000), true, true, follows(Which::A, 2000)),
        (lagged(-500), true, true, follows(Which::B, 500)),
        (lagged(-200), true, true, Reason::Clocks { lag_ms: 200 }),
        (Facts { z: -8.0, ..FACTS }, true, true, Reason::Opposite),
        (Facts { z: 3.0, recorded_z: -6.0, ..FACTS }, true, true, Reason::Opposite),
        (Facts { recorded_z: 6.0, ..FACTS }, true, true, Reason::Lasting),
        (FACTS, true, false, Reason::Resting),
        (strong, true, false, Reason::Resting),
        (strong, false, true, Reason::NotYet),
        (strong, false, false, Reason::Outvoted),
        (Facts { unconfirmed: true, ..strong }, false, false, Reason::Unconfirmed),
        (Facts { recorded_z: -6.0, ..FACTS }, false, false, Reason::Outvoted),
        (capped, false, false, Reason::Steady { vm: Which::B }),
        (job, false, false, Reason::Schedule { period_ms: 20_000 }),
        (Facts { unweighted_z: 9.0, ..FACTS }, false, false, Reason::Everybody),
        (Facts { recorded_z: 4.0, ..FACTS }, false, false, Reason::Nearly),
        (FACTS, false, false, Reason::Nothing),
        (Facts { comparable: false, ..capped }, false, false, Reason::NoScale),
    ] {
        assert_eq!(of_pair(&facts, held, proposed), reason, "{facts:?} {held} {proposed}");
    }
}

#[test]
fn windows_that_cannot_be_judged() {
    let partial = Status::Partial { missing_ticks: 40 };
    for (statuses, reason) in [
        ([Status::Whole; 2], None),
        ([Status::Whole, Status::Gone], Some(Reason::Gone { vm: Which::B })),
        ([partial, Status::Idle], Some(Reason::TooFew { vm: Which::A, missing_ticks: 40 })),
        ([Status::Idle, Status::Whole], Some(Reason::Idle { vm: Which::A })),
    ] {
        assert_eq!(of_windows(statuses), reason);
    }
}

#[test]
fn sentences_on_the_dependent() {
    let says = |reason, z| sentence(reason, ["db", "web"], Some(&Facts { z, ..FACTS }));
    let beyond = "standard deviations beyond what unrelated pairs show, where 4.8 are enough.";
    for (reason, z, said) in [
        (
            Reason::SameMoment,
            8.0,
            "db and web depend on each other: both do what was not expected of them at the same moments, 8.0 ",
        ),
        (
            Reason::Follows { first: Which::B, lag_ms: 2000 },
            -8.0,
            "db and web depend on each other: db follows what web does 2 s later, 8.0 ",
        ),
        (
            Reason::Clocks { lag_ms: 200 },
            8.0,
            "db and web depend on each other: both do what was not expected of them 0.2 s apart, by which the clocks of their hosts may differ, 8.0 ",
        ),
        (Reason::Opposite, -8.0, "db and web depend on each other: one rests while the other works, 8.0 "),
        (
            Reason::Lasting,
            5.0,
            "db and web depend on each other: this window alone does not show it, but it lasts, and adds up to 5.0 ",
        ),
    ] {
        assert_eq!(says(reason, z), format!("{said}{beyond}"));
    }
}

#[test]
fn sentences_on_others() {
    let says = |reason, z| sentence(reason, ["db", "web"], Some(&Facts { z, ..FACTS }));
    for (reason, said) in [
        (
            Reason::Resting,
            "are still held dependent: the windows before showed it, and it takes more than this one, which shows 4.2, to end it.",
        ),
        (
            Reason::NotYet,
            "are not held dependent yet: by now they show 4.2 standard deviations beyond what unrelated pairs show, where 4.8 are enough, but too few of the windows before did.",
        ),
        (
            Reason::Outvoted,
            "are not held dependent: they show 4.2 standard deviations beyond what unrelated pairs show, where 4.8 are enough, but the VMs that each of them works with do not, so they share no ensemble.",
        ),
        (Reason::Gone { vm: Which::B }, "cannot be judged: web has no sample in this window."),
        (
            Reason::TooFew { vm: Which::A, missing_ticks: 40 },
            "cannot be judged: db misses 40 samples of this window, which are too many.",
        ),
        (Reason::Idle { vm: Which::A }, "are not held dependent: db is idle."),
        (
            Reason::Steady { vm: Which::B },
            "are not held dependent: web hardly varies, by less than the sampler and its neighbours disturb it (it may run at its CPU cap).",
        ),
        (
            Reason::Schedule { period_ms: 20_000 },
            "are not held dependent: both run by the clock, every 20 s, and beyond that have no more in common than unrelated pairs.",
        ),
        (Reason::Everybody, "are not held dependent: they move together only when many others move too."),
        (
            Reason::Nearly,
            "are not held dependent: they show 4.20 standard deviations beyond what unrelated pairs show, not 4.80; if it lasts, it will add up.",
        ),
        (
            Reason::Nothing,
            "are not held dependent: they have no more in common than unrelated pairs (4.2 standard deviations, where 4.8 are enough).",
        ),
    ] {
        assert_eq!(says(reason, 4.2), format!("db and web {said}"));
    }
}
