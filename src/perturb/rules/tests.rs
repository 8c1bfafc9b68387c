//! Tests of the judgement: each rule has a row that breaks it alone; and whatever was granted is within all rules.

use super::*;
use proptest::prelude::*;

const NOON_MS: i64 = 20_000 * DAY_MS + 12 * 3_600_000;

fn rules() -> Rules {
    Rules {
        on: true,
        allow: Names::parse("h1/*").unwrap(),
        deny: Names::parse("*prod*,slice/x").unwrap(),
        floor: 0.5,
        lease_ms: 6_000,
        at_once: 2,
        groups: vec![Names::parse("h1/web,h1/db").unwrap()],
        budget_ms: 60_000,
        quiet: Quiet::parse("22:00-06:00,13:00-14:00").unwrap(),
    }
}

fn command() -> Command {
    Command {
        v: 1,
        serial: 7,
        host: HostId::new("h1"),
        vm: VmId::new("h1/web"),
        start_ms: NOON_MS + 1_000,
        slot_ms: 1_000,
        code: "0110100".into(),
        share: 0.5,
        issued_ms: NOON_MS,
        expires_ms: NOON_MS + 10_000,
    }
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| name.to_string()).collect()
}

/// What becomes of a command, in a situation, after some changes.
fn judged(
    change: impl Fn(&mut Rules, &mut Command, &mut Situation<'_>),
    called: &[&str],
) -> Result<Grant, Refusal> {
    let (mut rules, mut command, host, called) = (rules(), command(), HostId::new("h1"), names(called));
    let mut here = Situation {
        now_ms: NOON_MS,
        host: &host,
        stopped: None,
        names: &called,
        used_ppm: Some(400_001),
        past: Past { since_ms: 0, serial: 6, day: 20_000, used_ms: 57_000 },
        busy: &[],
    };
    change(&mut rules, &mut command, &mut here);
    rules.judge(&command, &here)
}

#[test]
fn what_is_within_the_rules_is_granted() {
    let past = Past { since_ms: 0, serial: 7, day: 20_000, used_ms: 60_000 };
    let grant = Grant { used_ppm: 400_001, cap_ppm: 200_001, past };
    assert_eq!(judged(|_, _, _| (), &["h1/web", "web"]), Ok(grant));
    // The next day has a budget of its own, a clock that is set back has not.
    let next = judged(|_, _, here| here.past.day = 19_999, &["h1/web"]).unwrap().past;
    assert_eq!((next.day, next.used_ms), (20_000, 3_000));
    let back = judged(|_, _, here| here.past.day = 20_001, &["h1/web"]).unwrap().past;
    assert_eq!((back.day, back.used_ms), (20_001, 60_000));
}

#[test]
fn each_rule_refuses() {
    type Change = fn(&mut Rules, &mut Command, &mut Situation<'_>);
    let rows: [(Change, &str); 22] = [
        (|r, _, _| r.on = false, "perturbation is off"),
        (|_, _, h| h.stopped = Some("the stop switch is on"), "the stop switch is on"),
        (|_, c, _| c.host = HostId::new("h2"), "it is for the host h2"),
        (|_, _, h| h.past.serial = 7, "its serial is not above 7"),
        (|_, _, h| h.past.since_ms = NOON_MS + 1, "before this host began"),
        (|_, _, h| h.now_ms = NOON_MS + 10_000, "expired"),
        (|_, _, h| h.now_ms = NOON_MS + 8_000, "expired"),
        (|_, _, h| h.now_ms = NOON_MS - 2_001, "in the future"),
        (|_, _, h| h.names = &[], "no such VM"),
        (|r, _, _| r.deny = Names::parse("w?b").unwrap(), "must not be capped"),
        (|r, _, _| r.allow = Names::default(), "not on the list"),
        (|_, c, _| c.share = 0.499, "below the floor of 0.5"),
        (|_, c, _| c.share = f64::NAN, "below the floor"),
        (|_, c, _| c.code = "0111110".into(), "5000 ms without a break, the lease of 6000 ms allows 4000"),
        (|_, c, _| c.start_ms += 3_600_000 - 3_000, "quiet hours"),
        (|r, _, _| r.quiet = Quiet::parse("12:00-12:01").unwrap(), "quiet hours"),
        (|r, _, _| r.at_once = 0, "0 VMs are perturbed already"),
        (|_, _, h| h.past.used_ms = 57_001, "57001 ms of 60000"),
        (|_, _, h| h.used_ppm = None, "not known yet"),
        (|_, _, h| h.used_ppm = Some(19_998), "9999 ppm of a core"),
        (|_, c, _| c.vm = VmId::new("h1/db"), ""),
        (|_, _, h| h.now_ms += 1, ""),
    ];
    for (change, want) in rows {
        match judged(change, &["h1/web", "web"]) {
            Err(refusal) => assert!(!want.is_empty() && refusal.to_string().contains(want), "{refusal}"),
            Ok(_) => assert_eq!(want, ""),
        }
    }
}

#[test]
fn the_deny_list_wins_by_any_name() {
    for called in [&["h1/web", "webprod"][..], &["h1/web", "web", "slice/x"]] {
        assert_eq!(judged(|_, _, _| (), called), Err(Refusal::Denied));
    }
    assert_eq!(judged(|_, _, _| (), &["h2/web", "web"]), Err(Refusal::NotAllowed));
}

#[test]
fn others_are_counted() {
    let check = |busy: &[&str], want: &str| {
        let vms: Vec<(VmId, Vec<String>)> =
            busy.iter().map(|name| (VmId::new(name), names(&[name]))).collect();
        let busy: Vec<(&VmId, &[String])> = vms.iter().map(|(vm, names)| (vm, &names[..])).collect();
        let (rules, command, host, called) = (rules(), command(), HostId::new("h1"), names(&["h1/web"]));
        let here = Situation {
            now_ms: NOON_MS,
            host: &host,
            stopped: None,
            names: &called,
            used_ppm: Some(400_000),
            past: Past::default(),
            busy: &busy,
        };
        let said = rules.judge(&command, &here).map_or_else(|refusal| refusal.to_string(), |_| String::new());
        assert!(said.contains(want) && said.is_empty() == want.is_empty(), "{said}");
    };
    check(&["h1/a"], "");
    check(&["h1/web"], "under way");
    check(&["h1/db"], "same group");
    check(&["h1/a", "h1/b"], "2 VMs are perturbed already");
}

#[test]
fn quiet_hours() {
    let quiet = Quiet::parse("22:00-06:30, 12:00-12:01").unwrap();
    let at = |hour: i64, minute: i64| (hour * 60 + minute) * MINUTE_MS;
    for (from, to, want) in [
        (at(21, 0), at(21, 59) + 59_999, false),
        (at(21, 59), at(22, 0), true),
        (at(23, 59), at(24, 1), true),
        (at(6, 29), at(6, 40), true),
        (at(6, 30), at(7, 0), false),
        (at(11, 59), at(12, 5), true),
        (at(12, 1), at(12, 5), false),
        (at(11, 30), i64::MAX, true),
        (at(-2, 0), at(-2, 0), true),
    ] {
        assert_eq!(quiet.touches(from, to), want, "{from} {to}");
    }
    for wrong in ["", "22-06", "24:00-01:00", "1:00-2:00", "+1:00-02:00", "12:60-13:00", "12:00"] {
        assert!(Quiet::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Names::parse("").is_err() && Names::parse("a,,b").is_err() && Names::parse("[").is_err());
}

proptest! {
    /// Said once more, in other words: what is granted is within every rule.
    #[test]
    fn nothing_is_granted_beyond_the_rules(
        code in "[01]{1,40}", slot_ms in 500u64..5_000, share in 0.01f64..0.999, used_ppm in 0u32..8_000_000,
        late_ms in -5_000i64..60_000, used_ms in 0u64..80_000, serial in 0u64..10,
    ) {
        let granted = judged(|_, c, h| {
            (c.code, c.slot_ms, c.share, c.serial) = (code.clone(), slot_ms, share, serial);
            c.expires_ms = c.end_ms() + 1_000;
            (h.now_ms, h.used_ppm, h.past.used_ms) = (NOON_MS + late_ms, Some(used_ppm), used_ms);
        }, &["h1/web"]);
        let ones = code.matches('1').count() as u64 * slot_ms;
        let longest = code.split('0').map(|run| run.len() as u64 * slot_ms).max().unwrap_or(0);
        let end_ms = NOON_MS + 1_000 + code.len() as i64 * slot_ms as i64;
        let now_ms = NOON_MS + late_ms;
        let cap_ppm = (f64::from(used_ppm) * share).ceil();
        let hour = |ms: i64| (ms % DAY_MS) / 3_600_000;
        let within = serial > 6 && now_ms < end_ms && late_ms >= -2_000 && share >= 0.5 && longest <= 4_000
            && used_ms + ones <= 60_000 && cap_ppm >= 10_000.0 && hour(end_ms) < 13;
        prop_assert_eq!(granted.is_ok(), within, "{:?}", granted);
        if let Ok(grant) = granted {
            prop_assert!(grant.cap_ppm <= used_ppm && f64::from(grant.cap_ppm) >= 0.5 * f64::from(used_ppm));
            prop_assert_eq!(grant.past, Past { since_ms: 0, serial, day: 20_000, used_ms: used_ms + ones });
        }
    }
}
