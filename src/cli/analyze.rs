//! `lwt analyze`: a recording in, ensembles out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::decide::read_decisions;
use super::input::{self, Input};
use super::output::{self, Outcome};
use super::perturb::read_verdicts;
use super::progress::Progress;
use super::session::{self, Happened};
use crate::config::{Config, RawConfig, Wrong, spell};
use crate::decisions::amend;
use crate::dependencies::State;
use crate::evaluate::{self, Measures, Score, Truth};
use crate::perturb::merge;
use crate::perturb::record::Verdict;
use crate::pipeline::{Plan, Summary};
use crate::report::{Graph, dot, png, svg};
use crate::simd::Simd;
use crate::transport::wire;
use crate::types::{DeadLetter, Reason};

mod auto;
mod report;

/// Finds out, from a recording of CPU use, which VMs work together.
///
/// Reads xentop -b output, CSV (t,vm,cpu or a column a VM) and sample messages, plain, gzip or zstd; which it
/// is, is recognised.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Args {
    /// The recording; - is standard input.
    trace: PathBuf,
    /// How dependencies are found: coupling, from what happens in both VMs at the same time and was not to be
    /// expected of either; or kmeans, as in the paper [default: coupling].
    #[arg(long, value_name = "coupling|kmeans", help_heading = "Method")]
    engine: Option<String>,
    /// Share of the dependencies found that may be false [default: 0.01].
    #[arg(long, value_name = "SHARE", help_heading = "Method (coupling)")]
    fdr: Option<String>,
    /// How many clusters [default: auto].
    #[arg(long, value_name = "K|auto", help_heading = "Method (kmeans)")]
    clusters: Option<String>,
    /// Order of the AR models; auto is by AICc [default: 45].
    #[arg(long, value_name = "P|auto", help_heading = "Method (kmeans)")]
    order: Option<String>,
    /// How the AR models are fitted [default: yule-walker].
    #[arg(long, value_name = "yule-walker|least-squares", help_heading = "Method (kmeans)")]
    fit: Option<String>,
    /// A change counts when M of the last N windows say so [default: 2/3].
    #[arg(long, value_name = "M/N", help_heading = "Method")]
    hysteresis: Option<String>,
    /// Seed of the starts [default: 1].
    #[arg(long, help_heading = "Method (kmeans)")]
    seed: Option<String>,
    #[command(flatten)]
    input: Input,
    /// Write what was refused, and why, to this file (a JSON object a line).
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    dead_letter: Option<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Table, help_heading = "Output")]
    format: Format,
    /// With json: a line for every window, before the last one for the end.
    #[arg(long, help_heading = "Output")]
    each_window: bool,
    /// Score what was found against this truth (CSV: vm,ensemble).
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    truth: Option<PathBuf>,
    /// Write a page with figures to this file: it needs nothing else to be looked at.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    report: Option<PathBuf>,
    /// Verdicts of lwt perturb, a JSON object a line: they stand above what correlation says.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    verdicts: Option<PathBuf>,
    /// What people decided, a JSON object a line (lwt decide list --format json): it stands above all that is found.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    decisions: Option<PathBuf>,
    /// Worker threads [default: 1].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Any other key of a pipeline file (lwt check --keys lists them).
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Vector instructions to use, for tests.
    #[arg(long, value_parser = simd, hide = true)]
    simd: Option<Simd>,
}

const EXAMPLES: &str = "Examples:
  lwt analyze xentop.log --period 1s
  lwt analyze trace.csv.gz --truth truth.csv
  lwt analyze trace.csv --window auto
  lwt analyze trace.csv --format json --each-window > result.json
  lwt analyze trace.csv --engine kmeans --order 45 --clusters 14
  lwt analyze trace.csv --decisions decisions.ndjson
  lwt analyze trace.csv --format svg > map.svg
  lwt analyze trace.csv --truth truth.csv --report report.html";

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object a line; the last one is the final state.
    Json,
    /// The graph, for Graphviz.
    Dot,
    /// The graph, drawn.
    Svg,
    /// The graph, drawn in pixels.
    Png,
}

/// In the usual windows of 5 minutes rarer samples are fewer than the 30 that are needed (scrapes of a monitoring
/// system): if nothing else is said, windows are then of so many samples.
const RARE_MS: u64 = 10_000;
const RARE_SAMPLES: u64 = 120;

/// Runs the command.
///
/// # Errors
/// Wrong use, input that cannot be read, or less of it than one window.
pub fn run(args: &Args, raw: RawConfig, out: &mut impl Write) -> anyhow::Result<()> {
    let ((mut config, raw), simd) = (configure(args, raw)?, args.simd.unwrap_or_else(Simd::detect));
    let usual = !raw.says("window.length") && !raw.says("window.hop");
    let truth = args.truth.as_ref().map(|path| read_truth(path)).transpose()?;
    let verdicts = args.verdicts.as_ref().map(|path| read_verdicts(path)).transpose()?.unwrap_or_default();
    let mut trace = input::open(&config)?;
    trace.notes().iter().for_each(|note| eprintln!("lwt: {note}"));
    let period_ms = trace.period_ms();
    if usual && period_ms > RARE_MS {
        let of = |samples: u64| Duration::from_millis(samples * period_ms);
        (config.length, config.hop) = (Some(of(RARE_SAMPLES)), of(RARE_SAMPLES / 5));
        let (length, hop) = (spell(of(RARE_SAMPLES)), spell(config.hop));
        eprintln!("lwt: a sample every {}: windows of {length} every {hop}", spell(of(1)));
    }
    if config.length.is_none() {
        config.length = Some(auto::length(&config, period_ms, simd)?);
    }
    let decisions = args.decisions.as_ref().map(|path| read_decisions(path)).transpose()?.unwrap_or_default();
    let plan = Plan { decisions, ..session::plan(&config, period_ms, false, simd)? };
    let mut analysis = Analysis::new(args, (truth, verdicts), &plan, period_ms)?;
    let feed = Box::new(move |batch: &mut _| trace.read(batch));
    let (state, failed) = session::follow(&plan, feed, period_ms, |happened| analysis.take(happened, out))?;
    let finished = analysis.finish(&state, (&config, &raw), out);
    // That less than a window was read then follows from the failure, which says more.
    failed.map_or(finished, |error| Err(error.into()))
}

fn simd(name: &str) -> Result<Simd, String> {
    let available = Simd::available();
    let found = available.iter().find(|level| format!("{level:?}").eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| format!("this machine has {available:?}"))
}

/// What was asked for, and as it was said.
fn configure(args: &Args, mut raw: RawConfig) -> anyhow::Result<(Config, RawConfig)> {
    let flags = [
        ("engine.kind", "--engine", &args.engine),
        ("engine.fdr", "--fdr", &args.fdr),
        ("engine.clusters", "--clusters", &args.clusters),
        ("engine.order", "--order", &args.order),
        ("engine.fit", "--fit", &args.fit),
        ("engine.hysteresis", "--hysteresis", &args.hysteresis),
        ("engine.seed", "--seed", &args.seed),
        ("engine.workers", "--workers", &args.workers),
    ];
    raw.set_pairs(&args.set)?;
    input::set_flags(&mut raw, &flags)?;
    args.input.set(&mut raw)?;
    raw.set("source.path", &args.trace.to_string_lossy(), "TRACE")?;
    let config = raw.prove()?;
    let again = [("--window auto", config.length.is_none()), ("--report", args.report.is_some())];
    if let Some((flag, _)) = again.iter().find(|(_, asked)| *asked && args.trace.as_os_str() == "-") {
        let what = "the recording is read several times: give a file instead of standard input".into();
        return Err(Wrong { place: flag.to_string(), what }.into());
    }
    Ok((config, raw))
}

fn read_truth(path: &std::path::Path) -> anyhow::Result<Truth> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Truth::parse(&text).with_context(|| format!("{} is no truth file", path.display()))
}

/// What is gathered while the flow runs.
struct Analysis<'a> {
    args: &'a Args,
    plan: &'a Plan,
    period_ms: u64,
    truth: Option<Truth>,
    verdicts: Vec<Verdict>,
    scores: Vec<(String, Score)>,
    progress: Progress,
    /// How often, and where first.
    refused: BTreeMap<Reason, (u64, String)>,
    dead_letters: Option<BufWriter<File>>,
    last: Summary,
    /// The end of the last window.
    end_ms: i64,
    samples: u64,
}

impl<'a> Analysis<'a> {
    fn new(
        args: &'a Args,
        (truth, verdicts): (Option<Truth>, Vec<Verdict>),
        plan: &'a Plan,
        period_ms: u64,
    ) -> anyhow::Result<Self> {
        let bytes = std::fs::metadata(&args.trace).ok().filter(|file| file.is_file()).map(|file| file.len());
        let create =
            |path: &PathBuf| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let dead_letters = args.dead_letter.as_ref().map(create).transpose()?.map(BufWriter::new);
        let progress = Progress::of_bytes(bytes);
        Ok(Analysis {
            args,
            plan,
            period_ms,
            truth,
            verdicts,
            scores: vec![],
            progress,
            refused: BTreeMap::new(),
            dead_letters,
            last: Summary::default(),
            end_ms: 0,
            samples: 0,
        })
    }

    fn take(&mut self, happened: Happened<'_>, out: &mut impl Write) -> anyhow::Result<()> {
        match happened {
            Happened::Read { bytes, samples } => {
                self.samples = samples;
                self.progress.at(bytes);
            }
            Happened::Refused(dead) => self.refuse(dead)?,
            Happened::Window { window, state, end_ms } => {
                let state = &self.amended(state);
                let of = |truth: &Truth| (output::time(end_ms), truth.score(&output::found(state)).score);
                self.scores.extend(self.truth.as_ref().map(of));
                (self.last, self.end_ms) = (window.summary.clone(), end_ms);
                if self.args.each_window && self.args.format == Format::Json {
                    output::json(&self.outcome(state), Some(end_ms), out)?;
                    out.flush()?;
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, dead: &[DeadLetter]) -> anyhow::Result<()> {
        for letter in dead {
            self.refused.entry(letter.reason).or_insert_with(|| (0, letter.origin.clone())).0 += 1;
            if let Some(file) = &mut self.dead_letters {
                file.write_all(&wire::write_dead_letter(letter))?;
                file.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    fn outcome<'b>(&'b self, state: &'b State) -> Outcome<'b> {
        let Analysis { plan, period_ms, last, samples, .. } = self;
        Outcome { state, plan, period_ms: *period_ms, last, samples: *samples }
    }

    /// What holds, with what the verdicts say, and above that what people decided.
    fn amended<'s>(&self, state: &'s State) -> Cow<'s, State> {
        let decisions = &self.plan.decisions;
        if self.verdicts.is_empty() && decisions.is_empty() {
            return Cow::Borrowed(state);
        }
        let mut amended = state.clone();
        amended.amend(&merge::changes(state, &self.verdicts));
        let decided = amend::changes(&amended, decisions);
        amended.amend(&decided);
        Cow::Owned(amended)
    }

    fn finish(
        mut self,
        state: &State,
        asked: (&Config, &RawConfig),
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let state = &self.amended(state);
        self.progress.done();
        self.dead_letters.as_mut().map_or(Ok(()), BufWriter::flush)?;
        let outcome = self.outcome(state);
        if state.windows == 0 {
            self.say_refused(&mut std::io::stderr())?;
            anyhow::ensure!(self.samples > 0, "there is no sample in the recording that can be used");
            anyhow::bail!(
                "the recording is shorter than one window ({}): give a shorter --window",
                outcome.window_length()
            );
        }
        match self.args.format {
            Format::Json => output::json(&outcome, None, out)?,
            Format::Dot => out.write_all(dot(&Graph::of(state)).as_bytes())?,
            Format::Svg => out.write_all(svg(&Graph::of(state)).as_bytes())?,
            Format::Png => out.write_all(&png(&Graph::of(state))?)?,
            Format::Table => output::table(&outcome, out)?,
        }
        if let Some(path) = &self.args.report {
            report::write(&self, &outcome, asked, path)?;
        }
        if self.args.format == Format::Table {
            self.say_refused(out)?;
            self.say_scores(state, out)
        } else {
            self.say_refused(&mut std::io::stderr())?;
            self.say_scores(state, &mut std::io::stderr())
        }
    }

    fn say_refused(&self, out: &mut impl Write) -> anyhow::Result<()> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> =
            self.refused.iter().map(|(reason, (n, _))| format!("{n} {}", reason.as_str())).collect();
        let hint = if self.dead_letters.is_none() { " (--dead-letter FILE keeps them)" } else { "" };
        Ok(writeln!(out, "refused: {}{hint}", counts.join(", "))?)
    }

    /// A row for each window, and one for the end; none without truth.
    fn score_rows(&self, state: &State) -> Vec<(String, Measures)> {
        let Some(truth) = &self.truth else { return vec![] };
        let windows: Vec<Score> = self.scores.iter().map(|(_, score)| *score).collect();
        let mut rows: Vec<_> =
            self.scores.iter().map(|(time, score)| (time.clone(), score.measures())).collect();
        rows.push((format!("mean of {} windows", windows.len()), evaluate::mean(&windows)));
        rows.push(("at the end".into(), truth.score(&output::found(state)).score.measures()));
        rows
    }

    fn say_scores(&self, state: &State, out: &mut impl Write) -> anyhow::Result<()> {
        let rows = self.score_rows(state);
        if rows.is_empty() { Ok(()) } else { Ok(write!(out, "\n{}", evaluate::table(&rows))?) }
    }
}
