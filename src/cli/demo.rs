//! `lwt demo`: a simulated datacenter, analysed live, in the terminal and in the browser.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::output::{self, Outcome};
use super::run::paced;
use super::session::{self, Happened};
use super::{Clock, dashboard, input};
use crate::config::{Config, RawConfig, spell};
use crate::dependencies::Fact;
use crate::evaluate::{self, Truth};
use crate::pipeline::{Feed, Plan, Summary};
use crate::serve::board::{Board, Desk};
use crate::simd::Simd;
use crate::simulate::{Params, Reading, Simulator, truth_csv};
use crate::transport::file::{Batch, Progress};

/// Shows what lwt does: simulates a datacenter and finds out, live, which of its VMs work together.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt demo                                       in a terminal: with a dashboard, until Ctrl-C
  lwt demo --vms 200 --minutes 60 --speed 600    200 VMs, an hour of theirs in six seconds
  lwt demo --listen off | head")]
pub struct Args {
    /// How many VMs.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    vms: u32,
    /// How many minutes are simulated [default: 15, with a dashboard for ever].
    #[arg(long, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    minutes: Option<u32>,
    /// How many times faster than in reality the time passes, or max.
    #[arg(long, default_value = "60")]
    speed: String,
    /// Another seed is another datacenter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the dashboard is, or off [default: 127.0.0.1:7890, or another port if that is taken; off unless this is a
    /// terminal].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// How much is simulated if nothing is said.
const MINUTES: u32 = 15;

/// Where the dashboard is, if it is to be shown, and whether another port would do.
fn dashboard_at(args: &Args, config: &Config) -> Option<(SocketAddr, bool)> {
    let asked = args.listen.is_some() || io::stdout().is_terminal();
    config.listen.filter(|_| asked).map(|address| (address, args.listen.is_none()))
}

/// A sample a second, as xentop gives.
const PERIOD_MS: u64 = 1000;

/// Runs the command.
///
/// # Errors
/// A speed that makes no sense, or a terminal that is gone.
pub fn run(args: &Args, mut raw: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    raw.set("source.speed", &args.speed, "--speed")?;
    input::set_flags(&mut raw, &[("serve.listen", "--listen", &args.listen)])?;
    let config = raw.prove()?;
    let at = dashboard_at(args, &config);
    let minutes = args.minutes.or_else(|| at.is_none().then_some(MINUTES));
    let params = Params {
        vms: args.vms as usize,
        seed: args.seed,
        period_ms: PERIOD_MS as u32,
        start_ms: START_MS,
        churn_per_hour: 0.2,
    };
    let simulator = Simulator::new(params)?;
    let truth = Truth::parse(&truth_csv(&simulator)).context("the simulator's truth")?;
    let mut plan = session::plan(&config, PERIOD_MS, false, Simd::detect())?;
    plan.listens = at.is_some();
    let speed = introduce(args, &config, &plan, out)?;
    let (desk, decided) = dashboard::desk(now_ms);
    let note = format!("a simulated datacenter, {speed}: nothing here is real");
    let board = at.map(|at| open(&config, at, (note, desk), out)).transpose()?;
    out.flush()?;
    let mut feed = simulated(simulator, minutes.map_or(u64::MAX, |minutes| u64::from(minutes) * 60));
    if let Some(board) = &board {
        feed = dashboard::heard(dashboard::tapped(feed, board.clone()), decided);
    }
    if let Some(speed) = config.speed {
        feed = paced(feed, PERIOD_MS, speed);
    }
    let (mut last, mut samples) = (Summary::default(), 0);
    let (state, _) = session::follow(&plan, feed, PERIOD_MS, |happened| {
        match happened {
            Happened::Window { window, state, end_ms } => {
                if let Some(board) = &board {
                    dashboard::show(board, window, end_ms);
                }
                let f1 = truth.score(&output::found(state)).score.f1();
                let minute = (end_ms - START_MS) / 60_000;
                writeln!(
                    out,
                    "minute {minute:>3}: {} ensembles, F1 {}; {}",
                    state.ensembles().len(),
                    evaluate::share(f1),
                    news(&window.changes)
                )?;
                out.flush()?;
                last = window.summary.clone();
            }
            Happened::Read { samples: n, .. } => samples = n,
            Happened::Refused(_) => (),
        }
        Ok(())
    })?;
    writeln!(out)?;
    output::table(&Outcome { state: &state, plan: &plan, period_ms: PERIOD_MS, last: &last, samples }, out)?;
    writeln!(out, "\nHow right that is (all pairs of VMs, as in the paper's Table 1):")?;
    let score = truth.score(&output::found(&state)).score;
    writeln!(out, "{}", evaluate::table(&[("at the end".into(), score.measures())]))?;
    Ok(writeln!(out, "Next: lwt analyze YOUR-TRACE (lwt help analyze says which formats it reads)")?)
}

/// Says what there will be to see; gives the speed, in words.
fn introduce(args: &Args, config: &Config, plan: &Plan, out: &mut impl Write) -> anyhow::Result<String> {
    writeln!(
        out,
        "A simulated datacenter of {} VMs. lwt sees how much CPU each of them uses, and nothing else.",
        args.vms
    )?;
    let speed = config.speed.map_or("as fast as it can".into(), |speed| format!("{speed} times as fast"));
    let length = Duration::from_millis(plan.window.length() as u64 * PERIOD_MS);
    let minute = length.as_secs() / 60;
    writeln!(
        out,
        "Time runs {speed}; windows of {}, every {}: the first is complete at minute {minute}.\n",
        spell(length),
        spell(config.hop)
    )?;
    Ok(speed)
}

/// Opens the dashboard, and says where.
fn open(
    config: &Config,
    (address, or_any): (SocketAddr, bool),
    (note, desk): (String, Desk),
    out: &mut impl Write,
) -> anyhow::Result<Arc<Board>> {
    let board = dashboard::board(config, PERIOD_MS, Some(note), Some(desk))?;
    let address = dashboard::open(board.clone(), address, or_any, config)?;
    writeln!(out, "dashboard: http://{address}\n")?;
    Ok(board)
}

/// When the simulation begins: 2023-11-14 22:13:20.
const START_MS: i64 = 1_700_000_000_000;

/// A second of the simulation at a time.
fn simulated(mut simulator: Simulator, seconds: u64) -> Feed {
    let (mut readings, mut left): (Vec<Reading>, u64) = (vec![], seconds);
    Box::new(move |batch: &mut Batch| {
        if left == 0 {
            return Ok(Progress::End);
        }
        left -= 1;
        let end_ms = simulator.tick(&mut readings);
        batch.samples.extend(readings.iter().map(|reading| simulator.sample(*reading, end_ms)));
        batch.watermark = Some(end_ms / PERIOD_MS as i64);
        Ok(Progress::More)
    })
}

/// What changed, in a line: the first three changes by name.
fn news(changes: &[(Fact, isize)]) -> String {
    const NAMED: usize = 3;
    let said: Vec<String> = changes.iter().filter_map(|(fact, diff)| said(fact, *diff > 0)).collect();
    match said.len() {
        0 => "nothing changed".into(),
        n if n > NAMED => format!("{}, and {} more changes", said[..NAMED].join(", "), n - NAMED),
        _ => said.join(", "),
    }
}

fn said(fact: &Fact, begins: bool) -> Option<String> {
    match (fact, begins) {
        (Fact::Alive(vm), false) => Some(format!("{vm} is gone")),
        (Fact::Idle(vm), true) => Some(format!("{vm} is idle")),
        (Fact::Member(vm, ensemble), true) => Some(format!("{vm} joined {ensemble}")),
        (Fact::Member(vm, ensemble), false) => Some(format!("{vm} left {ensemble}")),
        _ => None,
    }
}
