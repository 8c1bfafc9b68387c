//! `lwt supervise`: runs a pipeline, and starts it again whenever it ends. What a pipeline that is started again goes
//! on with, it finds in the log: nothing is lost, nothing is said twice.

use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use std::{env, fs, io, thread};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::stop::Stop;

/// Runs a pipeline as `lwt run` does, and starts it again whenever it ends.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt supervise pipelines/datacenter.toml -w 2
  lwt supervise --local 2 pipelines/datacenter.toml          two processes on this machine
  lwt supervise pipelines/datacenter.toml -n 2 -p 0 -H hosts.txt   the first of two; the same with -p 1 elsewhere")]
pub struct Args {
    /// So many processes on this machine work together.
    #[arg(long, value_name = "N", default_value_t = 1)]
    local: usize,
    /// The pipeline file and what else `lwt run` takes.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PIPELINE [ARGS]..."
    )]
    run: Vec<String>,
}

/// How often it looks whether they all run.
const LOOK: Duration = Duration::from_millis(50);

/// The first pause before a new start; each one that follows is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Who ran for so long may start again as fast as at first: what is wrong at the start shows in less.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// How long those who are told to end, or whose peer has ended, may take. They take a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command.
///
/// # Errors
/// Wrong use of `lwt run`, and a system that starts no process.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let stop = Stop::on_signals(2 * PATIENCE, || ())?;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut group = Group::start(args).context("cannot start lwt run")?;
        let (ended, ran) = group.wait(&stop)?;
        group.end()?;
        if stop.is_told() {
            return Ok(());
        }
        let Some((process, status)) = ended else { continue };
        match status.code() {
            // It was asked to end, or its source has.
            Some(0) => return Ok(()),
            // What was typed does not become right by itself.
            Some(2) => anyhow::bail!("lwt run does not take these arguments"),
            _ => {}
        }
        pause = next_pause(pause, ran);
        eprintln!("lwt: process {process} ended ({status}); starting again in {pause:?}");
        (0..pause.as_millis() / LOOK.as_millis())
            .take_while(|_| !stop.is_told())
            .for_each(|_| thread::sleep(LOOK));
        if stop.is_told() {
            return Ok(());
        }
    }
}

/// How long to wait before the next start, after the pause before and a run of some length.
fn next_pause(before: Duration, ran: Duration) -> Duration {
    if ran >= GOOD_RUN { FIRST_PAUSE } else { (2 * before).min(LONGEST_PAUSE) }
}

/// The processes that work together.
struct Group(Vec<Child>);

impl Group {
    fn start(args: &Args) -> io::Result<Group> {
        let program = env::current_exe()?;
        let one = |more: &[String]| Command::new(&program).arg("run").args(&args.run).args(more).spawn();
        if args.local < 2 {
            return Ok(Group(vec![one(&[])?]));
        }
        let hosts = env::temp_dir().join(format!("lwt-hosts-{}", std::process::id()));
        fs::write(&hosts, free_addresses(args.local)?.join("\n"))?;
        let more = |process: usize| {
            let (hosts, n, p) = (hosts.display().to_string(), args.local.to_string(), process.to_string());
            ["-n".into(), n, "-p".into(), p, "-H".into(), hosts]
        };
        let mut group = Group(vec![]);
        for process in 0..args.local {
            group.0.push(one(&more(process))?);
        }
        Ok(group)
    }

    /// Until one ends: which, how, and after how long; or until it is time to stop.
    fn wait(&mut self, stop: &Stop) -> io::Result<(Option<(usize, ExitStatus)>, Duration)> {
        let mut ran = Duration::ZERO;
        while !stop.is_told() {
            for (process, child) in self.0.iter_mut().enumerate() {
                if let Some(status) = child.try_wait()? {
                    return Ok((Some((process, status)), ran));
                }
            }
            thread::sleep(LOOK);
            ran += LOOK;
        }
        Ok((None, ran))
    }

    /// Ends those that still run: asks them to, and does not ask for ever.
    fn end(&mut self) -> io::Result<()> {
        for child in &mut self.0 {
            if child.try_wait()?.is_none() {
                // Whoever ends in this moment needs no signal.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
        }
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if self.0.iter_mut().all(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        self.0.iter_mut().try_for_each(|child| child.kill().and_then(|()| child.wait().map(drop)))
    }
}

/// Free ports of the loopback interface. Whoever takes one in between makes the start fail, and there is another.
fn free_addresses(n: usize) -> io::Result<Vec<String>> {
    let free = (0..n).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>()?;
    free.iter().map(|one| Ok(one.local_addr()?.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_run_is_good() {
        let seconds = |s: f64| Duration::from_secs_f64(s);
        for (before, ran, next) in [(0.1, 0.0, 0.2), (0.2, 9.0, 0.4), (20.0, 5.0, 30.0), (30.0, 10.0, 0.1)] {
            assert_eq!(next_pause(seconds(before), seconds(ran)), seconds(next), "{before} {ran}");
        }
    }
}
