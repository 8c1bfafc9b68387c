//! The command line: one subcommand a file. Translates between arguments and the library, and prints.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{ConfigError, RawConfig, Wrong};
use crate::simulate::ParamsError;

mod analyze;
mod check;
mod collect;
mod dashboard;
mod decide;
mod demo;
mod evaluate;
mod explain;
mod input;
mod logs;
mod output;
mod perturb;
mod progress;
mod run;
mod serve;
mod session;
mod simulate;
mod stop;
mod supervise;
mod topics;
mod watch;

/// Finds out which virtual machines depend on each other, from nothing but how much CPU each of them uses.
#[derive(Parser)]
#[command(name = "lwt", version, arg_required_else_help = true, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  lwt demo                                   a simulated datacenter, analysed live
  xentop -b -f -d 1 -i 900 | lwt analyze -   15 minutes of this Xen host
  lwt analyze trace.csv --format svg > map.svg";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Analyze(Box<analyze::Args>),
    Run(run::Args),
    Supervise(supervise::Args),
    Collect(Box<collect::Args>),
    Serve(Box<serve::Args>),
    Explain(explain::Args),
    Evaluate(evaluate::Args),
    Simulate(simulate::Args),
    Check(check::Args),
    Topics(topics::Args),
    Watch(watch::Args),
    Decide(decide::Args),
    Perturb(perturb::Args),
    /// Prints a script that completes lwt's arguments in a shell.
    #[command(after_help = "Example:\n  lwt completions bash > /etc/bash_completion.d/lwt")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes manual pages, one for each command.
    #[command(after_help = "Example:\n  lwt man /usr/local/share/man/man1")]
    Man {
        /// Where they go; made if it is not there.
        directory: PathBuf,
    },
}

/// The clock, Unix milliseconds: it decides for how long a silent log is waited for. Or nanoseconds, where
/// samples are taken: 1 ms is a tenth of the shortest period. Or milliseconds since this machine started, where nobody
/// may have set it.
pub type Clock = fn() -> i64;

/// Parses `args`, runs what they ask for, and says how it went: 0 done, 1 failed, 2 wrong use.
pub fn main(
    args: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (String, String)>,
    now_ms: Clock,
    now_ns: Clock,
    boot_ms: Clock,
) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed so too, and are no failure.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let mut raw = RawConfig::default();
    let done = raw
        .set_environment(environment)
        .map_err(anyhow::Error::from)
        .and_then(|()| dispatch(cli.command, raw, (now_ms, now_ns, boot_ms)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            format!("{error:#}").lines().for_each(|line| eprintln!("lwt: {line}"));
            ExitCode::from(if is_wrong_use(&error) { 2 } else { 1 })
        }
    }
}

fn dispatch(
    command: Command,
    raw: RawConfig,
    (now_ms, now_ns, boot_ms): (Clock, Clock, Clock),
) -> anyhow::Result<()> {
    // Not locked: timely, too, prints there, while it waits for the other processes.
    let mut out = io::BufWriter::new(io::stdout());
    match command {
        Command::Demo(args) => demo::run(&args, raw, now_ms, &mut out)?,
        Command::Analyze(args) => analyze::run(&args, raw, &mut out)?,
        Command::Run(args) => run::run(&args, raw, now_ms, &mut out)?,
        Command::Supervise(args) => supervise::run(&args)?,
        Command::Collect(args) => collect::run(&args, raw, (now_ms, now_ns), &mut out)?,
        Command::Serve(args) => serve::run(&args, raw, now_ms, &mut out)?,
        Command::Explain(args) => explain::run(&args, raw, &mut out)?,
        Command::Evaluate(args) => evaluate::run(args, &mut out)?,
        Command::Simulate(args) => simulate::run(args, &mut out)?,
        Command::Check(args) => check::run(&args, raw, &mut out)?,
        Command::Topics(args) => topics::run(&args, raw, &mut out)?,
        Command::Watch(args) => watch::run(&args, raw, &mut out)?,
        Command::Decide(args) => decide::run(&args, raw, now_ms, &mut out)?,
        Command::Perturb(args) => perturb::run(&args, raw, (now_ms, boot_ms), &mut out)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lwt", &mut out)
        }
        Command::Man { directory } => std::fs::create_dir_all(&directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &directory))
            .with_context(|| format!("cannot write manual pages into {}", directory.display()))?,
    }
    Ok(out.flush()?)
}

/// What was typed is wrong by itself, whatever the files hold.
fn is_wrong_use(error: &anyhow::Error) -> bool {
    error.is::<ConfigError>() || error.is::<Wrong>() || error.is::<ParamsError>()
}

/// Whoever read our output has seen enough (`lwt ... | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}
