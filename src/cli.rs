//! The command line, one subcommand a file. (For the time being: only those that stand alone.)

mod evaluate;
mod simulate;

use clap::Parser;

/// Finds out which virtual machines depend on each other.
#[derive(Parser)]
#[command(name = "lwt", version)]
enum Command {
    Simulate(simulate::Args),
    Evaluate(evaluate::Args),
}

/// Runs what was typed.
pub fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match Command::parse() {
        Command::Simulate(args) => simulate::run(args, &mut out),
        Command::Evaluate(args) => evaluate::run(args, &mut out),
    }
}
