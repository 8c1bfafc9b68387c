//! Any text as a number or a time, against a twin that moves digits about in text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lwt::collect::number::{END_NS, counter_ns, percent_ppm, time_ns};
use lwt::types::{MAX_CPU_PPM, Reason};

/// The number in `text` times 10^`shift`, to the nearest, if it is below 10^30.
fn twin(text: &str, shift: i64) -> Result<u128, Reason> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().map_err(|_| Reason::NotANumber)?),
        None => (text, 0),
    };
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::NotANumber);
    }
    // All is 0.ALL times 10^point; leading zeros go, and what is behind 19 digits.
    let significant = all.trim_start_matches('0');
    let point = whole.len() as i64 - (all.len() - significant.len()) as i64 + i64::from(exponent) + shift;
    if significant.is_empty() {
        return Ok(0);
    }
    if mantissa.starts_with('-') {
        return Err(Reason::Negative);
    }
    if point > 30 {
        return Err(Reason::Implausible);
    }
    let places = usize::try_from(point.max(0)).expect("not negative");
    let digit =
        |at: usize| if at < 19 { significant.as_bytes().get(at).map_or(0, |byte| byte - b'0') } else { 0 };
    let below = (0..places).fold(0, |value, at| value * 10 + u128::from(digit(at)));
    Ok(below + u128::from(point >= 0 && digit(places) >= 5))
}

fn held<T: TryFrom<u128>>(number: Result<u128, Reason>, below: u128) -> Result<T, Reason> {
    let held = number?;
    if held >= below { Err(Reason::Implausible) } else { T::try_from(held).map_err(|_| Reason::Implausible) }
}

fuzz_target!(|bytes: &[u8]| {
    let time = time_ns(bytes);
    if let Ok(ns) = time {
        assert!((0..END_NS).contains(&ns));
        let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
        assert_eq!(time_ns(text.as_bytes()), time);
    }
    let (percent, counter) = (percent_ppm(bytes), counter_ns(bytes));
    let Ok(text) = str::from_utf8(bytes) else {
        assert_eq!(
            (percent, counter, time),
            (Err(Reason::NotANumber), Err(Reason::NotANumber), Err(Reason::BadTime))
        );
        return;
    };
    assert_eq!(percent, held(twin(text, 4), u128::from(MAX_CPU_PPM) + 1));
    assert_eq!(counter, held(twin(text, 0), 10u128.pow(19)));
    match twin(text, 9) {
        Err(Reason::NotANumber) => {}
        seconds => assert_eq!(time, held(seconds, END_NS as u128).map_err(|_| Reason::BadTime)),
    }
});
