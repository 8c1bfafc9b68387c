//! `lwt perturb history`: what was asked, done and learned, as the topic has it.

use std::io::Write;

use super::{Format, Place};
use crate::config::RawConfig;
use crate::perturb::record::Record;
use crate::perturb::report::{Done, Report};
use crate::transport::kafka::client::Client;
use crate::transport::kafka::state;
use crate::types::VmId;

use super::super::output::time;

/// Prints what was asked, what the agents did, and what was learned.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt perturb history --brokers kafka1:9092 --vm web1
  lwt perturb history --format json | jq 'select(.verdict == \"confirmed\")'")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Only what concerns this VM, by its identity or its name.
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// How to print.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// A wrong configuration, a cluster that cannot be reached or refuses, a closed pipe.
pub fn run(args: &Args, environment: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let config = args.place.config(environment)?;
    let client = Client::new(&config.kafka)?;
    client.connect()?;
    let topic = &config.topics.perturbations;
    for (_, bytes) in state::all(&client, topic)? {
        let record = match Record::read(&bytes) {
            Ok(record) => record,
            Err(error) => {
                eprintln!("lwt: {topic} holds something that is no record: {error}");
                continue;
            }
        };
        if !args.concerns(&record) {
            continue;
        }
        match args.format {
            Format::Text => writeln!(out, "{}", told(&record))?,
            Format::Json => {
                out.write_all(&bytes)?;
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

impl Args {
    fn concerns(&self, record: &Record) -> bool {
        let is = |vm: &VmId| self.vm.as_ref().is_none_or(|asked| vm.as_str() == asked || vm.name() == asked);
        match record {
            Record::Command(command) => is(&command.vm),
            Record::Report(report) => is(&report.vm),
            Record::Verdict(verdict) => is(&verdict.vm) || is(&verdict.cause),
        }
    }
}

/// A record, in words.
fn told(record: &Record) -> String {
    match record {
        Record::Command(command) => format!(
            "{} asked {} to cap {} to {:.0} % of its use, in slots of {} ms: {}",
            time(command.start_ms),
            command.host.as_str(),
            command.vm,
            100.0 * command.share,
            command.slot_ms,
            command.code
        ),
        Record::Report(Report { at_ms, host, vm, done, .. }) => {
            format!("{} {}: {vm} {}", time(*at_ms), host.as_str(), done_in_words(done))
        }
        Record::Verdict(verdict) => format!("{} {}", time(verdict.at_ms), verdict.told()),
    }
}

fn done_in_words(done: &Done) -> String {
    match done {
        Done::Accepted => "will be capped as asked".into(),
        Done::Refused { why } => format!("is left alone: {why}"),
        Done::Applied { cap_ppm, used_ppm } => {
            format!("capped to {cap_ppm} ppm of a core, it used {used_ppm}")
        }
        Done::Lifted => "is as before".into(),
        Done::Foreign { found } => format!("was capped by somebody else ({found}), and left alone"),
        Done::Failed { why } => format!("cannot be capped or freed: {why}"),
        Done::Ended => "is done with".into(),
    }
}
