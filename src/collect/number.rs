//! Numbers and times as text -> integers, exactly: decimals never pass through floating point. Pure.

use crate::types::{MAX_CPU_PPM, Reason};

/// The first moment after the year 2200, in nanoseconds since the Unix epoch; fits an `i64` (9.2e18).
pub const END_NS: i64 = 7_289_654_400_000_000_000;

/// 10^19 is the largest power of ten in a `u64`: 19 digits never overflow it.
const DIGITS_KEPT: i64 = 19;

/// Percent of one core as text -> parts per million of one core (1 % = 10,000 ppm), to the nearest.
///
/// # Errors
/// `NotANumber` (also empty, `NaN`, infinity), `Negative`, `Implausible` above [`MAX_CPU_PPM`].
pub fn percent_ppm(text: &[u8]) -> Result<u32, Reason> {
    let ppm = decimal(text, 4)?;
    u32::try_from(ppm).ok().filter(|&ppm| ppm <= MAX_CPU_PPM).ok_or(Reason::Implausible)
}

/// A cumulative counter of CPU time as text, in nanoseconds.
///
/// # Errors
/// `NotANumber`, `Negative`, `Implausible` from 10^19 on (317 years of CPU time; more digits are not exact).
pub fn counter_ns(text: &[u8]) -> Result<u64, Reason> {
    decimal(text, 0).and_then(|ns| if ns < 10u64.pow(19) { Ok(ns) } else { Err(Reason::Implausible) })
}

/// The same of a counter that counts seconds.
///
/// # Errors
/// As [`counter_ns`].
pub fn seconds_ns(text: &[u8]) -> Result<u64, Reason> {
    decimal(text, 9).and_then(|ns| if ns < 10u64.pow(19) { Ok(ns) } else { Err(Reason::Implausible) })
}

/// A time as text, in seconds since the Unix epoch or RFC 3339, -> nanoseconds since the epoch.
///
/// # Errors
/// `BadTime` if it is neither, or not in 1970 to 2200.
pub fn time_ns(text: &[u8]) -> Result<i64, Reason> {
    let ns = match decimal(text, 9) {
        Ok(ns) => i64::try_from(ns).ok(),
        Err(Reason::NotANumber) => rfc3339_ns(text.trim_ascii()),
        Err(_) => None,
    };
    ns.filter(|ns| (0..END_NS).contains(ns)).ok_or(Reason::BadTime)
}

fn rfc3339_ns(text: &[u8]) -> Option<i64> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    time.as_nanosecond().try_into().ok()
}

/// `text` times 10^`shift`, rounded half up. Digits behind the 19th significant one count as zeros.
fn decimal(text: &[u8], shift: i64) -> Result<u64, Reason> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mut value, mut scale, mut seen, mut point) = (0u64, shift, false, false);
    let (mut kept, mut exponent) = (0, None);
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if kept < DIGITS_KEPT {
                    value = value * 10 + u64::from(byte - b'0');
                    kept += i64::from(value > 0);
                    scale -= i64::from(point);
                } else {
                    scale += i64::from(!point);
                }
            }
            b'.' if !point => point = true,
            b'e' | b'E' if seen => {
                exponent = Some(&digits[at + 1..]);
                break;
            }
            _ => return Err(Reason::NotANumber),
        }
    }
    if !seen {
        return Err(Reason::NotANumber);
    }
    if let Some(text) = exponent {
        let text = std::str::from_utf8(text).map_err(|_| Reason::NotANumber)?;
        scale += i64::from(text.parse::<i16>().map_err(|_| Reason::NotANumber)?);
    }
    match (negative, value) {
        (_, 0) => Ok(0),
        (true, _) => Err(Reason::Negative),
        (false, _) => scaled(value, scale),
    }
}

/// `value` times 10^`scale`, rounded half up; `value` has at most 19 digits.
fn scaled(value: u64, scale: i64) -> Result<u64, Reason> {
    let power = |n: i64| u32::try_from(n).ok().and_then(|n| 10u64.checked_pow(n));
    if scale >= 0 {
        return power(scale).and_then(|by| value.checked_mul(by)).ok_or(Reason::Implausible);
    }
    // Beyond 10^19 the quotient of a u64 is below one half only from 10^20 on; 19 digits are below 10^19.
    Ok(match power(-scale) {
        Some(by) => value / by + u64::from(value % by >= by.div_ceil(2)),
        None => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent() {
        let rows: [(&str, Result<u32, Reason>); 19] = [
            ("0", Ok(0)),
            ("0.0", Ok(0)),
            ("-0.0", Ok(0)),
            ("12.3", Ok(123_000)),
            (" 12.3 ", Ok(123_000)),
            ("+1", Ok(10_000)),
            (".5", Ok(5_000)),
            ("0.00005", Ok(1)),
            ("0.00004999999999999999999999999999", Ok(0)),
            ("1.2e1", Ok(120_000)),
            ("53687.0911", Ok(MAX_CPU_PPM)),
            ("53687.0912", Err(Reason::Implausible)),
            ("999999999999999999999999999999", Err(Reason::Implausible)),
            ("-1", Err(Reason::Negative)),
            ("", Err(Reason::NotANumber)),
            ("NaN", Err(Reason::NotANumber)),
            ("inf", Err(Reason::NotANumber)),
            ("1.2.3", Err(Reason::NotANumber)),
            (".", Err(Reason::NotANumber)),
        ];
        for (text, want) in rows {
            assert_eq!(percent_ppm(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn times() {
        let rows: [(&str, Result<i64, Reason>); 9] = [
            ("1795399826.0492", Ok(1_795_399_826_049_200_000)),
            ("1795399826", Ok(1_795_399_826_000_000_000)),
            ("0", Ok(0)),
            ("2026-11-23T10:00:00Z", Ok(1_795_428_000_000_000_000)),
            ("2026-11-23T11:00:00.5+01:00", Ok(1_795_428_000_500_000_000)),
            ("-1", Err(Reason::BadTime)),
            ("7289654400", Err(Reason::BadTime)),
            ("1969-12-31T23:59:59Z", Err(Reason::BadTime)),
            ("noon", Err(Reason::BadTime)),
        ];
        for (text, want) in rows {
            assert_eq!(time_ns(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_counter_survives(value: u64) {
            let want = if value < 10u64.pow(19) { Ok(value) } else { Err(Reason::Implausible) };
            prop_assert_eq!(counter_ns(value.to_string().as_bytes()), want);
        }

        #[test]
        fn every_ppm_survives(ppm in 0..=MAX_CPU_PPM) {
            let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
            prop_assert_eq!(percent_ppm(text.as_bytes()), Ok(ppm));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,30}") {
            let _ = (percent_ppm(text.as_bytes()), counter_ns(text.as_bytes()), time_ns(text.as_bytes()));
        }
    }
}
