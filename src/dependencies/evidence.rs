//! What stands behind a dependent pair, as integers: it is part of a fact, and facts are compared, hashed
//! and added up. What is published of it changes only when it changed materially.

use serde::{Deserialize, Serialize};

use crate::transport::records::{Answer, Dependency};

/// Why a pair of VMs, `a` before `b` bytewise, is held dependent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// How closely they move together, in millionths: -1,000,000 to 1,000,000, negative if one rests while
    /// the other works.
    pub strength_ppm: i32,
    /// The false discovery rate at which the pair would just be reported.
    pub q: Probability,
    /// 1 - local false discovery rate, in millionths: 0 to [`Evidence::SUREST_PPM`].
    pub confidence_ppm: u32,
    /// By how much `b` follows `a`.
    pub lag_ms: i32,
    /// Whether they work with each other, not only through others; `None` where the data cannot tell.
    pub direct: Option<bool>,
    /// Who drives whom; `None` where the data cannot tell.
    pub cause: Option<Cause>,
    /// How many seconds of samples all this stands on.
    pub evidence_s: u32,
    /// What was found when one of the two was capped, if somebody asked.
    pub asked: Option<Asked>,
}

/// What was found when one VM of a pair was capped and the other watched (`perturb`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Whether the other one depends on it.
    pub finding: Finding,
    /// Which of the two was capped.
    pub capped: Driver,
    /// How much the other one falls for each part that the capped one falls by, in millionths, at most
    /// [`Asked::MOST_PPM`] up or down.
    pub effect_ppm: i32,
}

/// What a verdict says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The watched VM depends on the capped one.
    Confirmed,
    /// It does not.
    Refuted,
    /// We do not know.
    Undecided,
}

/// Who drives whom, and how sure that is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// The driver.
    pub driver: Driver,
    /// 1 - the probability that it is not so, in millionths: 0 to [`Evidence::SUREST_PPM`].
    pub confidence_ppm: u32,
}

/// Which VM of a pair drives the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Driver {
    /// The first, the smaller bytewise.
    A,
    /// The second.
    B,
}

/// A probability of at least 1e-30: less is not known of any model of chance. Kept as the bits of the number;
/// those of numbers above zero stand in the order of the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Probability(u64);

impl Probability {
    const LEAST: f64 = 1e-30;

    /// The probability `p`, the nearest possible one if `p` is none; 1 if it is not a number.
    pub fn new(p: f64) -> Self {
        Probability(if p.is_nan() { 1.0_f64 } else { p.clamp(Self::LEAST, 1.0) }.to_bits())
    }

    /// Its value.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// Its value in two significant digits, as published.
    pub fn rounded(self) -> f64 {
        // By way of decimals: 10 to a power is not the same bits on every machine, reading a number is.
        format!("{:.1e}", self.get()).parse().unwrap_or(self.get())
    }
}

impl Evidence {
    /// The most that is said of any confidence: certain is nothing.
    pub const SUREST_PPM: u32 = 999_999;

    /// `share` (-1 to 1) in millionths, the nearest possible if it is out of range; 0 if it is not a number.
    pub fn strength_ppm(share: f64) -> i32 {
        // A float that is not a number becomes 0.
        (share.clamp(-1.0, 1.0) * 1e6).round() as i32
    }

    /// 1 - `error` in millionths, at most [`Evidence::SUREST_PPM`]; 0 if `error` is not a number.
    pub fn confidence_ppm(error: f64) -> u32 {
        (((1.0 - error) * 1e6).round().max(0.0) as u32).min(Self::SUREST_PPM)
    }

    /// Puts what is known into the record of the pair.
    pub fn fill(&self, record: &mut Dependency) {
        let share = |ppm: u32| f64::from(ppm) / 1e6;
        record.strength = Some(f64::from(self.strength_ppm) / 1e6);
        record.q = Some(self.q.rounded());
        record.confidence = Some(share(self.confidence_ppm));
        record.lag_ms = Some(self.lag_ms.into());
        record.direct = self.direct;
        record.cause = self.cause.map(|cause| cause.driver.as_str().to_string());
        record.cause_confidence = self.cause.map(|cause| share(cause.confidence_ppm));
        record.evidence_s = Some(self.evidence_s);
        record.asked = self.asked.map(|asked| Answer {
            verdict: asked.finding.as_str().to_string(),
            capped: asked.capped.as_str().to_string(),
            effect: f64::from(asked.effect_ppm) / 1e6,
        });
    }
}

impl Asked {
    /// A fall that is a hundred times the other's is as good as any.
    pub const MOST_PPM: i32 = 100_000_000;

    /// `effect` in millionths, the nearest possible; 0 if it is not a number.
    pub fn effect_ppm(effect: f64) -> i32 {
        let most = f64::from(Self::MOST_PPM);
        (effect * 1e6).round().clamp(-most, most) as i32
    }
}

impl Finding {
    /// Its name, as published.
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Confirmed => "confirmed",
            Finding::Refuted => "refuted",
            Finding::Undecided => "undecided",
        }
    }
}

impl Driver {
    /// `a` or `b`.
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::A => "a",
            Driver::B => "b",
        }
    }
}

/// Whether who acts on `held` would want to hear of `now`. Any of:
/// - the strength moved by 0.1 or changed its sign, the confidence moved by 0.05;
/// - the lag moved by more than a quarter, and by more than 250 ms in any case (clocks of hosts differ by as
///   much), or by more than 1 s;
/// - what is known of `direct` or of the cause changed (of the cause's confidence: by 0.05);
/// - `q` changed by a factor of 100, above one in a million: below, it is small enough for everybody;
/// - it stands on twice or half as much time, so the time that is said is right to a factor of two.
///
/// Each is measured from what was published, so nothing drifts away unsaid.
pub fn materially_different(held: &Evidence, now: &Evidence) -> bool {
    let confidence = |a: u32, b: u32| a.abs_diff(b) >= 50_000;
    let strength = held.strength_ppm.abs_diff(now.strength_ppm) >= 100_000
        || held.strength_ppm.signum() != now.strength_ppm.signum();
    let quarter = held.lag_ms.unsigned_abs().max(now.lag_ms.unsigned_abs()) / 4;
    let lag = held.lag_ms.abs_diff(now.lag_ms) > quarter.clamp(250, 1000);
    let cause = match (held.cause, now.cause) {
        (Some(a), Some(b)) => a.driver != b.driver || confidence(a.confidence_ppm, b.confidence_ppm),
        (a, b) => a != b,
    };
    strength
        || confidence(held.confidence_ppm, now.confidence_ppm)
        || lag
        || held.direct != now.direct
        || cause
        || apart(held.q.get().max(1e-6), now.q.get().max(1e-6), 100.0)
        || apart(f64::from(held.evidence_s), f64::from(now.evidence_s), 2.0)
}

/// Whether one of two numbers is `times` the other or more.
fn apart(a: f64, b: f64, times: f64) -> bool {
    a != b && a.max(b) >= times * a.min(b)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::types::VmId;

    /// Some evidence.
    pub fn some() -> Evidence {
        Evidence {
            strength_ppm: 500_000,
            q: Probability::new(1e-3),
            confidence_ppm: 990_000,
            lag_ms: 200,
            direct: None,
            cause: None,
            evidence_s: 300,
            asked: None,
        }
    }

    #[test]
    fn only_what_matters_is_said_again() {
        let cause = |driver, confidence_ppm| Some(Cause { driver, confidence_ppm });
        type Row = (&'static str, bool, fn(&mut Evidence), Evidence);
        let rows: [Row; 17] = [
            ("nothing", false, |_| (), some()),
            ("strength, a little", false, |e| e.strength_ppm = 590_000, some()),
            ("strength", true, |e| e.strength_ppm = 400_000, some()),
            ("sign", true, |e| e.strength_ppm = -1, Evidence { strength_ppm: 1, ..some() }),
            ("confidence, a little", false, |e| e.confidence_ppm = 950_000, some()),
            ("confidence", true, |e| e.confidence_ppm = 940_000, some()),
            ("lag within the clocks", false, |e| e.lag_ms = -50, some()),
            ("lag", true, |e| e.lag_ms = 451, some()),
            ("a quarter of it", false, |e| e.lag_ms = 2500, Evidence { lag_ms: 2000, ..some() }),
            ("a second", true, |e| e.lag_ms = 9001, Evidence { lag_ms: 8000, ..some() }),
            ("direct", true, |e| e.direct = Some(false), some()),
            ("q, a little", false, |e| e.q = Probability::new(1.1e-5), some()),
            ("q", true, |e| e.q = Probability::new(1e-5), some()),
            (
                "q, tiny",
                false,
                |e| e.q = Probability::new(1e-20),
                Evidence { q: Probability::new(1e-6), ..some() },
            ),
            ("time, twice", true, |e| e.evidence_s = 600, some()),
            ("time, less than twice", false, |e| e.evidence_s = 599, some()),
            ("no time at all", false, |e| e.evidence_s = 0, Evidence { evidence_s: 0, ..some() }),
        ];
        for (what, differs, change, held) in rows {
            let mut now = held;
            change(&mut now);
            assert_eq!(materially_different(&held, &now), differs, "{what}");
            assert_eq!(materially_different(&now, &held), differs, "{what}, backwards");
        }
        let driven = Evidence { cause: cause(Driver::A, 900_000), ..some() };
        for (other, differs) in [
            (cause(Driver::A, 900_000), false),
            (cause(Driver::A, 860_000), false),
            (cause(Driver::A, 850_000), true),
            (cause(Driver::B, 900_000), true),
            (None, true),
        ] {
            assert_eq!(
                materially_different(&driven, &Evidence { cause: other, ..driven }),
                differs,
                "{other:?}"
            );
        }
    }

    #[test]
    fn numbers_out_of_range_become_the_nearest() {
        assert_eq!([0.93, -1.5, f64::NAN].map(Evidence::strength_ppm), [930_000, -1_000_000, 0]);
        assert_eq!([0.1, 0.0, 2.0, f64::NAN].map(Evidence::confidence_ppm), [900_000, 999_999, 0, 0]);
        let effects = [0.5, -1e9, f64::INFINITY, f64::NAN].map(Asked::effect_ppm);
        assert_eq!(effects, [500_000, -Asked::MOST_PPM, Asked::MOST_PPM, 0]);
        let q = [1e-40, 0.0, 3.0, f64::NAN, 0.001_24].map(|p| Probability::new(p).rounded());
        assert_eq!(q, [1e-30, 1e-30, 1.0, 1.0, 0.0012]);
    }

    #[test]
    fn the_record_says_all_of_it() {
        let mut record = Dependency::bare(VmId::new("a"), VmId::new("b"), 3);
        let cause = Some(Cause { driver: Driver::B, confidence_ppm: 970_000 });
        let asked = Some(Asked {
            finding: Finding::Confirmed,
            capped: Driver::B,
            effect_ppm: Asked::effect_ppm(0.75),
        });
        Evidence { direct: Some(true), cause, strength_ppm: -930_000, asked, ..some() }.fill(&mut record);
        let expected = Dependency {
            strength: Some(-0.93),
            q: Some(0.001),
            confidence: Some(0.99),
            lag_ms: Some(200),
            direct: Some(true),
            cause: Some("b".into()),
            cause_confidence: Some(0.97),
            evidence_s: Some(300),
            asked: Some(Answer { verdict: "confirmed".into(), capped: "b".into(), effect: 0.75 }),
            ..Dependency::bare(VmId::new("a"), VmId::new("b"), 3)
        };
        assert_eq!(record, expected);
    }
}
