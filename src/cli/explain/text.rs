//! An explanation for people, in a terminal of 100 columns.

use std::io::{self, Write};

use jiff::Timestamp;

use super::plot;
use super::{Explained, Then};
use crate::cli::output;
use crate::coupling::explain::{AtScale, Compared, Detail, Moment};

const WIDTH: usize = 72;
const BAR: usize = 40;
/// Windows that are listed: the last hours are what an operator asks for; `--format json` has all.
const WINDOWS: usize = 15;

/// Prints it.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(told: &Explained, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}\n", told.sentence)?;
    writeln!(out, "a  {}", told.a)?;
    writeln!(out, "b  {}", told.b)?;
    held(told, out)?;
    let (from, to) = (output::time(told.window_start_ms), output::time(told.window_end_ms));
    writeln!(out, "\nCPU use from {from} to {to}")?;
    told.cpu_ppm.iter().zip(["a", "b"]).try_for_each(|(cpu, name)| series(name, cpu, out))?;
    if let Some(detail) = &told.detail {
        let enough = told.history.last().and_then(|then| then.evidence).map_or(0.0, |known| known.threshold);
        scales(detail, told.period_ms, out)?;
        lags(detail, enough, out)?;
        finer(detail, out)?;
        moments(detail, told.window_start_ms, out)?;
    }
    history(&told.history, out)
}

fn held(told: &Explained, out: &mut impl Write) -> io::Result<()> {
    let Some(dependency) = &told.dependency else { return writeln!(out, "not held dependent") };
    let number = |x: Option<f64>| x.map_or("-".into(), |x| x.to_string());
    let direct = match dependency.direct {
        Some(true) => "directly",
        Some(false) => "through others",
        None => "directly or through others: not known",
    };
    let cause = match dependency.cause.as_deref() {
        Some(cause) => {
            format!("{cause} drives the other (confidence {})", number(dependency.cause_confidence))
        }
        None => "who drives whom: not known".into(),
    };
    let windows =
        if dependency.windows == 1 { "1 window".into() } else { format!("{} windows", dependency.windows) };
    writeln!(
        out,
        "held dependent for {windows}: strength {:.2}, confidence {}, q {:e}; {direct}; {cause}",
        dependency.strength.unwrap_or_default(),
        number(dependency.confidence),
        dependency.q.unwrap_or_default()
    )
}

fn series(name: &str, cpu_ppm: &[u32], out: &mut impl Write) -> io::Result<()> {
    let cores: Vec<f64> = cpu_ppm.iter().map(|&x| f64::from(x) / 1e6).collect();
    let most = plot::most(&cores, WIDTH);
    for (at, line) in plot::area(&cores, most, WIDTH, 3).into_iter().enumerate() {
        let label = match at {
            0 => format!("{most:.3}"),
            1 => String::new(),
            _ => "0 cores".into(),
        };
        let name = if at == 1 { name } else { "" };
        writeln!(out, "{}", format!("  {name:1} {label:>8} {line}").trim_end())?;
    }
    Ok(())
}

fn scales(detail: &Detail, period_ms: u64, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nWhat was not expected of them, at the same moment, by time scale")?;
    for (sampled_ms, name) in detail.sampled_ms.iter().zip(["a", "b"]).filter(|(ms, _)| **ms > period_ms) {
        let every = seconds(*sampled_ms as i64);
        writeln!(out, "  {name} is sampled every {every}: it takes part in the scales that this divides")?;
    }
    writeln!(out, "   scale  correlation   95 % of unrelated pairs       z  schedules taken off")?;
    for scale in &detail.scales {
        let schedules = scale.periods_ms.iter().zip(["a", "b"]).filter_map(|(period, name)| {
            period.map(|period| format!("{name} every {}", seconds(period as i64)))
        });
        let line = format!(
            "{:>8}  {:>+11.3}  {:>+11.3} .. {:<+9.3} {:>7.1}  {}",
            seconds(scale.bin_ms as i64),
            scale.correlation,
            scale.band[0],
            scale.band[1],
            scale.z,
            schedules.collect::<Vec<_>>().join(", ")
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out, "  With moments counted in full at which many move: {:.1}", detail.unweighted_z)
}

/// A line a lag, with the comparison that says most at it.
fn lags(detail: &Detail, enough: f64, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\nb after a, as it was judged (┊ {enough:.1} is enough; ▒ one rests while the other works)"
    )?;
    let mut shown: Vec<&Compared> = vec![];
    let mut sorted: Vec<&Compared> = detail.comparisons.iter().collect();
    sorted.sort_by(|x, y| {
        (x.lag_ms, !x.counts).cmp(&(y.lag_ms, !y.counts)).then(y.z.abs().total_cmp(&x.z.abs()))
    });
    for one in sorted {
        if shown.last().is_none_or(|last| last.lag_ms != one.lag_ms) {
            shown.push(one);
        }
    }
    let most = shown.iter().map(|one| one.z.abs()).fold(1.25 * enough, f64::max);
    for one in shown {
        let scale = one.bin_ms.map_or("all".into(), |ms| seconds(ms as i64));
        let bar = plot::bar(one.z, enough, most, BAR);
        let counts = if one.counts { " <- counts" } else { "" };
        writeln!(out, "{:>8}  scale {scale:>5} {:>7.1}  {bar}{counts}", signed(one.lag_ms), one.z)?;
    }
    Ok(())
}

/// A line a scale: its lags from the longest before to the longest after.
fn finer(detail: &Detail, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nb after a, each scale by itself")?;
    detail.scales.iter().try_for_each(|scale| finer_scale(scale, out))
}

fn finer_scale(scale: &AtScale, out: &mut impl Write) -> io::Result<()> {
    let sizes: Vec<f64> = scale.lags.iter().map(|lag| lag.z.abs()).collect();
    let most = sizes.iter().copied().fold(3.0, f64::max);
    let line = plot::area(&sizes, most, WIDTH, 1).concat();
    let (first, last) = (scale.lags.first(), scale.lags.last());
    let end =
        |lag: Option<&crate::coupling::explain::AtLag>| lag.map_or(String::new(), |lag| signed(lag.lag_ms));
    let strongest = scale.lags.iter().max_by(|x, y| x.z.abs().total_cmp(&y.z.abs()));
    let strongest = strongest.map_or(String::new(), |lag| format!("{:.1} at {}", lag.z, signed(lag.lag_ms)));
    let bin = seconds(scale.bin_ms as i64);
    writeln!(out, "{bin:>8}  {:>6} [{line}] {:<6} most: {strongest}", end(first), end(last))
}

fn moments(detail: &Detail, start_ms: i64, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nThe moments that say most: CPU use in cores, and how much more than expected")?;
    writeln!(out, "  when          for       a                   b                   share")?;
    for moment in &detail.moments {
        let Moment { start_ms: starts, length_ms, cpu_ppm, unexpected_ppm, share } = moment;
        let what = |which: usize| {
            format!("{:.3} ({:+.3})", f64::from(cpu_ppm[which]) / 1e6, unexpected_ppm[which] as f64 / 1e6)
        };
        let apart = starts[1] as i64 - starts[0] as i64;
        let apart = if apart == 0 { String::new() } else { format!("  b {} later", signed(apart)) };
        writeln!(
            out,
            "  {:<12}  {:<8}  {:<18}  {:<18} {:>5.1} %{apart}",
            clock(start_ms + starts[0] as i64),
            seconds(*length_ms as i64),
            what(0),
            what(1),
            share * 100.0
        )?;
    }
    Ok(())
}

fn history(history: &[Then], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nEvidence, window by window")?;
    writeln!(out, "  window ends            this window   recorded   enough     lag")?;
    for Then { window_end_ms, evidence, held } in &history[history.len().saturating_sub(WINDOWS)..] {
        let held = if *held { "  held" } else { "" };
        let known = evidence.map_or("  cannot be judged".to_string(), |known| {
            let (z, recorded) = (known.window_z, known.recorded_z);
            format!("{z:>11.1} {recorded:>10.1} {:>8.1} {:>7}", known.threshold, seconds(known.lag_ms))
        });
        writeln!(out, "  {:<22} {known}{held}", output::time(*window_end_ms))?;
    }
    Ok(())
}

fn seconds(ms: i64) -> String {
    format!("{} s", ms as f64 / 1000.0)
}

fn signed(ms: i64) -> String {
    if ms > 0 { format!("+{}", seconds(ms)) } else { seconds(ms) }
}

/// The time of day, UTC.
fn clock(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map_or(String::new(), |time| time.strftime("%H:%M:%S%.3f").to_string())
}
