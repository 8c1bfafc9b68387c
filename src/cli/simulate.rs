//! `lwt simulate`: writes the trace of a simulated datacenter.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::progress::Progress;
use crate::config;
use crate::simulate::{Format, Params, Simulator, Writer, edges_csv, truth_csv};

/// Write the trace of a simulated datacenter, and the truth about it
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt simulate --vms 31 --seconds 1500 --seed 1 --truth truth.csv --output trace.csv
  lwt analyze trace.csv --truth truth.csv
  lwt simulate --vms 1000 --seconds 600 --seed 7 --period 100ms --churn 2 --format ndjson --output park.ndjson

VMs that migrate keep their identity in ndjson (which has ids) and in wide form (which then names no hosts);
in long form a VM is `host/name`, and a migration looks like one VM that goes and another that comes.")]
pub struct Args {
    /// How many VMs
    #[arg(long, value_name = "N")]
    vms: usize,
    /// How long
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// What everything random follows from: the same seed writes the same bytes
    #[arg(long, value_name = "X", default_value_t = 1)]
    seed: u64,
    /// How often CPU use is read, such as 100ms, 1s, 5m
    #[arg(long, default_value = "1s", value_parser = period_ms)]
    period: u32,
    /// When it begins, in seconds since the Unix epoch; rounded down to a whole period
    #[arg(long, value_name = "T", default_value_t = 1_700_000_000)]
    start: i64,
    /// How often a VM is stopped for some minutes or migrates, per hour
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    churn: f64,
    /// wide: a column a VM; long: a line a VM and period (both CSV, per cent of a core); ndjson: sample messages
    #[arg(long, value_enum, default_value = "wide")]
    format: FormatArg,
    /// Where the trace goes; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Also write which VMs work together: vm,ensemble,app,role,host
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Also write who calls whom: caller,callee
    #[arg(long, value_name = "FILE")]
    edges: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatArg {
    Wide,
    Long,
    Ndjson,
}

/// Writes the trace to `out`, or to the file that `args` name.
pub fn run(args: Args, out: &mut impl Write) -> anyhow::Result<()> {
    let start_ms = args.start.saturating_mul(1000);
    let params = Params {
        vms: args.vms,
        seed: args.seed,
        period_ms: args.period,
        start_ms,
        churn_per_hour: args.churn,
    };
    let simulator = Simulator::new(params).context("cannot simulate this datacenter")?;
    let ticks = (args.seconds.saturating_mul(1000) / u64::from(args.period)).max(1);
    if let Some(path) = &args.truth {
        write_file(path, &truth_csv(&simulator))?;
    }
    if let Some(path) = &args.edges {
        write_file(path, &edges_csv(&simulator))?;
    }
    let format = match args.format {
        FormatArg::Wide => Format::Wide,
        FormatArg::Long => Format::Long,
        FormatArg::Ndjson => Format::Ndjson,
    };
    if args.output.as_os_str() == "-" {
        return write_trace(simulator, format, ticks, out)
            .context("cannot write the trace to standard output");
    }
    let path = &args.output;
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    write_trace(simulator, format, ticks, &mut BufWriter::new(file))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn write_trace(
    mut simulator: Simulator,
    format: Format,
    ticks: u64,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let mut writer = Writer::new(&simulator, format);
    let (mut readings, mut bytes) = (Vec::new(), Vec::new());
    let progress = Progress::of_periods(ticks);
    writer.header(&simulator, &mut bytes);
    for tick in 0..ticks {
        let end_ms = simulator.tick(&mut readings);
        writer.tick(end_ms, &readings, &mut bytes);
        out.write_all(&bytes)?;
        bytes.clear();
        progress.at(tick + 1);
    }
    writer.finish(&mut bytes);
    out.write_all(&bytes)?;
    progress.done();
    out.flush()
}

fn period_ms(text: &str) -> Result<u32, String> {
    let period = config::duration(text)?;
    u32::try_from(period.as_millis()).map_err(|_| "must be at most 1h".into())
}
