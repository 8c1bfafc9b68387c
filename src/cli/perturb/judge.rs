//! `lwt perturb judge`: verdicts from files: what VMs used, and what was done to some of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Errors, Format, print, read_records, two};
use crate::perturb::Lots;
use crate::perturb::command::Command;
use crate::perturb::record::{Record, Verdict, blocks};
use crate::perturb::report::Report;
use crate::perturb::series::Series;
use crate::perturb::verdict::judge;
use crate::transport::file::{Batch, Options, Progress, Trace};
use crate::types::VmId;

/// A trace is read from so long before the first cap to so long after the last one.
const AROUND_MS: i64 = 120_000;

/// Says, from a recording of CPU use and from what was done meanwhile, which VMs depend on those that were capped.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt perturb history --format json > reports.ndjson
  lwt perturb judge --trace trace.csv.gz --reports reports.ndjson
  lwt perturb judge --trace t.csv --reports r.ndjson --ask web1,db1 --format json > verdicts.ndjson
  lwt analyze t.csv --verdicts verdicts.ndjson")]
pub struct Args {
    /// The recording; - is standard input.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// The commands and reports of the topic, a JSON object a line.
    #[arg(long, value_name = "FILE")]
    reports: PathBuf,
    /// Only whether B depends on A, which was capped [default: every other VM].
    #[arg(long, value_name = "A,B", value_parser = two)]
    ask: Vec<(String, String)>,
    #[command(flatten)]
    errors: Errors,
    /// How to print.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, errors that cannot be.
pub fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let params = args.errors.params()?;
    let (mut commands, mut reports) = (BTreeMap::<VmId, Vec<Command>>::new(), Vec::<Report>::new());
    for record in read_records(&args.reports)? {
        match record {
            Record::Command(command) => commands.entry(command.vm.clone()).or_default().push(command),
            Record::Report(report) => reports.push(report),
            Record::Verdict(_) => {}
        }
    }
    let all = || commands.values().flatten();
    let from_ms = all().map(|command| command.start_ms).min().unwrap_or(0).saturating_sub(AROUND_MS);
    let to_ms = all().map(Command::end_ms).max().unwrap_or(0).saturating_add(AROUND_MS);
    let series = read(&args.trace, (from_ms, to_ms))?;
    let lots = Lots::new(params.most());
    for (victim, commands) in &commands {
        let blocks = blocks(commands, &reports);
        let at_ms = blocks.last().map_or(0, |block| block.end_ms());
        let Some(own) = series.get(victim) else { continue };
        let asked = |vm: &&VmId| {
            let is = |vm: &VmId, name: &str| vm.as_str() == name || vm.name() == name;
            *vm != victim && (args.ask.is_empty() || args.ask.iter().any(|(a, b)| is(victim, a) && is(vm, b)))
        };
        for vm in series.keys().filter(asked) {
            let judgement = judge(own, &series[vm], &blocks, &params, &lots);
            print(
                &Verdict::new(victim.clone(), vm.clone(), args.errors.alpha, judgement, at_ms),
                args.format,
                out,
            )?;
        }
    }
    Ok(())
}

/// What each VM of a trace used from one time to another.
fn read(path: &Path, (from_ms, to_ms): (i64, i64)) -> anyhow::Result<BTreeMap<VmId, Series>> {
    let mut trace = Trace::open(path, Options::default())?;
    trace.notes().iter().for_each(|note| eprintln!("lwt: {note}"));
    let (period_ms, mut batch, mut series) = (trace.period_ms(), Batch::default(), BTreeMap::new());
    let within = from_ms / period_ms as i64..=to_ms / period_ms as i64;
    loop {
        let progress = trace.read(&mut batch)?;
        for samples in batch.samples.drain(..).filter(|samples| within.contains(&samples.first)) {
            let of_vm = series.entry(samples.vm).or_insert_with(|| Series::new(period_ms));
            of_vm.push(samples.first, &samples.cpu_ppm);
        }
        batch.dead.clear();
        if progress == Progress::End {
            return Ok(series);
        }
    }
}
