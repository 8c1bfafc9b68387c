//! `lwt explain`: why two VMs of a recording are held dependent, or not.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use super::input::{self, Input};
use super::output;
use super::session::{self, Happened};
use crate::config::{Config, RawConfig, Wrong};
use crate::coupling::Params;
use crate::coupling::explain::reason::{self, Facts, Reason};
use crate::coupling::explain::{self, Detail, Pair, Side};
use crate::dependencies::{Fact, State};
use crate::pipeline::watch::{self, Sight, Sights, Watch};
use crate::pipeline::{Feed, Method, Plan, Window};
use crate::simd::Simd;
use crate::transport::file::ReadError;
use crate::transport::records::{Dependency, Membership};
use crate::types::VmId;

mod plot;
mod text;

/// Shows why two VMs are held dependent, or not.
///
/// Follows the recording window by window, as lwt analyze does, and takes apart what the last window (or the
/// chosen one) says of the pair.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Args {
    /// The recording; - is standard input.
    trace: PathBuf,
    /// One VM: its identity, or its name if only one is called so.
    #[arg(value_name = "A")]
    one: String,
    /// The other.
    #[arg(value_name = "B")]
    other: String,
    /// The window that ends then: RFC 3339, or seconds since the Unix epoch [default: the last one].
    #[arg(long, value_name = "WINDOW_END", value_parser = time_ms, help_heading = "Windows")]
    at: Option<i64>,
    #[command(flatten)]
    input: Input,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  lwt explain trace.csv web1 db1
  lwt explain trace.csv h0003/web1 h0007/db1 --at 2026-03-01T12:05:00Z
  lwt explain trace.csv.gz web1 db1 --window 10m --format json | jq .sentence";

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object with all numbers.
    Json,
}

fn time_ms(text: &str) -> Result<i64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| s.abs() < 1e11).map(|s| (s * 1000.0).round() as i64);
    let time = || text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    seconds
        .or_else(time)
        .ok_or_else(|| "neither a time such as 2026-03-01T12:05:00Z nor a number of seconds".into())
}

/// Runs the command.
///
/// # Errors
/// Wrong use, input that cannot be read, or no such VM or window in it.
pub fn run(args: &Args, raw: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let config = configure(args, raw)?;
    let mut trace = input::open(&config)?;
    trace.notes().iter().for_each(|note| eprintln!("lwt: {note}"));
    let period_ms = trace.period_ms();
    let mut plan = session::plan(&config, period_ms, false, Simd::detect())?;
    let Method::Coupling(params) = plan.method.clone() else {
        anyhow::bail!("only coupling can be explained")
    };
    let feed = Box::new(move |batch: &mut _| trace.read(batch));
    let asked = Asked { names: [&args.one, &args.other], at_ms: args.at };
    let (explained, refused, failed) = follow(&mut plan, &params, feed, period_ms, asked)?;
    if refused > 0 {
        eprintln!("lwt: {refused} times input was refused; lwt analyze says why");
    }
    match args.format {
        Format::Json => {
            serde_json::to_writer(&mut *out, &explained)?;
            writeln!(out)?;
        }
        Format::Text => text::print(&explained, out)?,
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Which pair is asked for.
pub(super) struct Asked<'a> {
    /// Identities, or names.
    pub names: [&'a str; 2],
    /// The end of the window; the last one if none is said.
    pub at_ms: Option<i64>,
}

/// Explains a pair from what `feed` gives, and says how often input was refused, and why the rest could not be read, if so.
///
/// # Errors
/// No whole window, no such VM, whatever stops the flow.
pub(super) fn follow(
    plan: &mut Plan,
    params: &Params,
    feed: Feed,
    period_ms: u64,
    asked: Asked<'_>,
) -> anyhow::Result<(Explained, usize, Option<ReadError>)> {
    let (watch, sights) = Watch::new(asked.names.map(str::to_string));
    plan.watch = Some(watch);
    let (mut follower, mut refused) = (Follower::new(asked, sights), 0);
    let (state, failed) = session::follow(plan, feed, period_ms, |happened| {
        match happened {
            Happened::Window { window, state, end_ms } => follower.take(window, state, end_ms),
            Happened::Refused(dead) => refused += dead.len(),
            Happened::Read { .. } => (),
        }
        Ok(())
    })?;
    anyhow::ensure!(state.windows > 0, "the recording has no whole window: give a shorter --window");
    follower.check_names()?;
    let length_ms = plan.window.length() as i64 * period_ms as i64;
    Ok((follower.explain(params, length_ms, period_ms)?, refused, failed))
}

fn configure(args: &Args, mut raw: RawConfig) -> anyhow::Result<Config> {
    args.input.set(&mut raw)?;
    raw.set("engine.kind", "coupling", "lwt explain")?;
    raw.set("engine.workers", "1", "lwt explain")?;
    raw.set("source.path", &args.trace.to_string_lossy(), "TRACE")?;
    if args.one == args.other {
        let what = format!("{} depends on itself: name two VMs", args.one);
        return Err(Wrong { place: "A and B".into(), what }.into());
    }
    Ok(raw.prove()?)
}

/// Why a pair is held dependent, or not: what is printed.
#[derive(Serialize)]
pub(super) struct Explained {
    /// The smaller of the two, bytewise.
    a: VmId,
    b: VmId,
    window_start_ms: i64,
    window_end_ms: i64,
    period_ms: u64,
    sentence: String,
    reason: Reason,
    /// The dependency, if it is held.
    dependency: Option<Dependency>,
    ensembles: [Membership; 2],
    /// One value a period, oldest first; none if the VM has no sample in the window.
    cpu_ppm: [Vec<u32>; 2],
    /// `null` if one of the two cannot be judged in this window.
    detail: Option<Detail>,
    /// Each window up to this one.
    history: Vec<Then>,
}

/// The evidence that one window and what was recorded before gave.
#[derive(Clone, Serialize)]
struct Then {
    window_end_ms: i64,
    /// `null` if one of the two could not be judged.
    evidence: Option<Known>,
    /// Whether it was held after the window.
    held: bool,
}

/// Standard deviations beyond what unrelated pairs show.
#[derive(Clone, Copy, Serialize)]
struct Known {
    window_z: f64,
    /// 0 while there is too little recorded.
    recorded_z: f64,
    /// So much is enough.
    threshold: f64,
    lag_ms: i64,
}

/// The window that is explained.
struct Chosen {
    end_ms: i64,
    vms: [VmId; 2],
    sides: [Side; 2],
    pair: Option<Pair>,
    proposed: bool,
    dependency: Option<Dependency>,
    ensembles: [Membership; 2],
}

/// Follows the pair from window to window.
struct Follower<'a> {
    names: [&'a str; 2],
    at_ms: Option<i64>,
    sights: Sights,
    /// All VMs that were ever there.
    vms: BTreeSet<VmId>,
    history: Vec<Then>,
    chosen: Option<Chosen>,
    /// The end of a window that is nearest to the one asked for.
    nearest_ms: i64,
}

impl<'a> Follower<'a> {
    fn new(Asked { names, at_ms }: Asked<'a>, sights: Sights) -> Self {
        let (vms, history) = (BTreeSet::new(), vec![]);
        Follower { names, at_ms, sights, vms, history, chosen: None, nearest_ms: i64::MIN }
    }

    fn take(&mut self, window: &Window, state: &State, end_ms: i64) {
        let sights = self.sights.of(window.end);
        self.vms.extend(window.changes.iter().filter_map(|(fact, _)| match fact {
            Fact::Alive(vm) => Some(vm.clone()),
            _ => None,
        }));
        let off = |end: i64| self.at_ms.map_or(0, |at| end.abs_diff(at));
        if off(end_ms) <= off(self.nearest_ms) {
            self.nearest_ms = end_ms;
        }
        let over = self.at_ms.is_some_and(|at| end_ms > at);
        if let Some(vms) = self.pair().filter(|_| !over) {
            let seen = Chosen::new(vms, sights, state, end_ms);
            self.history.push(seen.then());
            self.chosen = Some(seen);
        }
    }

    /// The two VMs, the smaller first, once both were there.
    fn pair(&self) -> Option<[VmId; 2]> {
        let of = |name| self.vms.iter().nth(watch::find(self.vms.iter(), name)?).cloned();
        let mut pair = [of(self.names[0])?, of(self.names[1])?];
        pair.sort();
        Some(pair)
    }

    fn check_names(&self) -> anyhow::Result<()> {
        for name in self.names {
            let called: Vec<&VmId> = self.vms.iter().filter(|vm| watch::is_called(vm, name)).collect();
            let exact = called.iter().any(|vm| vm.as_str() == name);
            match called[..] {
                [] => anyhow::bail!("there is no VM {name} in the recording{}", self.nearest(name)),
                [one, other, ..] if !exact => {
                    anyhow::bail!("several VMs are called {name}: say {one} or {other}")
                }
                _ => (),
            }
        }
        let [a, b] = self.names;
        anyhow::ensure!(self.pair().is_some_and(|[one, other]| one != other), "{a} and {b} are the same VM");
        Ok(())
    }

    fn nearest(&self, name: &str) -> String {
        let likeness =
            |vm: &&VmId| strsim::jaro_winkler(name, vm.as_str()).max(strsim::jaro_winkler(name, vm.name()));
        let nearest = self.vms.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        nearest.map_or(String::new(), |vm| format!("; the nearest is {vm}"))
    }

    fn explain(self, params: &Params, length_ms: i64, period_ms: u64) -> anyhow::Result<Explained> {
        let found = self.chosen.filter(|chosen| self.at_ms.is_none_or(|at| at == chosen.end_ms));
        let Some(chosen) = found else {
            let asked = self.at_ms.map_or(String::new(), output::time);
            let whole = self.at_ms == Some(self.nearest_ms);
            anyhow::ensure!(
                !whole,
                "one of the two VMs has not been seen yet in the window that ends at {asked}"
            );
            anyhow::bail!(
                "no window ends at {asked}; the nearest one ends at {}",
                output::time(self.nearest_ms)
            );
        };
        let Chosen { end_ms, vms: [a, b], sides, pair, proposed, dependency, ensembles } = chosen;
        let [side_a, side_b] = &sides;
        let detail = pair.as_ref().map(|pair| explain::explain([side_a, side_b], pair, params));
        let facts = pair.as_ref().zip(detail.as_ref());
        let facts = facts.map(|(pair, detail)| Facts::new([side_a, side_b], pair, detail));
        let of_pair = facts.map(|facts| reason::of_pair(&facts, dependency.is_some(), proposed));
        let reason =
            reason::of_windows([side_a.status, side_b.status]).or(of_pair).unwrap_or(Reason::Nothing);
        let cpu_ppm = sides.map(|side| side.samples.into_iter().next().unwrap_or_default());
        Ok(Explained {
            sentence: reason::sentence(reason, [a.as_str(), b.as_str()], facts.as_ref()),
            a,
            b,
            window_start_ms: end_ms - length_ms,
            window_end_ms: end_ms,
            period_ms,
            reason,
            dependency,
            ensembles,
            cpu_ppm,
            detail,
            history: self.history,
        })
    }
}

impl Chosen {
    fn new(vms: [VmId; 2], sights: Vec<Sight>, state: &State, end_ms: i64) -> Self {
        let (mut sides, mut found, mut proposed) = ([Side::gone(), Side::gone()], None, false);
        for sight in sights {
            match sight {
                Sight::Vm(vm, side) => {
                    vms.iter().position(|one| *one == vm).into_iter().for_each(|at| sides[at] = side.clone())
                }
                Sight::Pair(a, b, pair) if [&a, &b] == vms.each_ref() => found = Some(pair),
                Sight::Proposed(a, b) => proposed |= [&a, &b] == vms.each_ref(),
                Sight::Pair(..) => (),
            }
        }
        let dependency = state.dependency(&vms[0], &vms[1]);
        let ensembles = vms.each_ref().map(|vm| state.assignment(vm).ensemble);
        Chosen { end_ms, vms, sides, pair: found, proposed, dependency, ensembles }
    }

    fn then(&self) -> Then {
        let evidence = self.pair.as_ref().map(|pair| Known {
            window_z: pair.judged.z,
            recorded_z: pair.recorded_z,
            threshold: pair.nulls.significance().threshold(),
            lag_ms: pair.lag_ms(),
        });
        Then { window_end_ms: self.end_ms, evidence, held: self.dependency.is_some() }
    }
}
