//! `lwt decide`: people say what they know better than CPU use does, and take it back.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};

use super::output::time;
use super::{Clock, check, input};
use crate::config::{Config, RawConfig, Wrong};
use crate::decisions::book::{Decisions, MOST};
use crate::decisions::record::{About, Decision, Entry, Unfit, What};
use crate::serve::board::Desk;
use crate::transport::kafka::client::{Client, ClientError};
use crate::transport::kafka::state;
use crate::transport::kafka::tell::Teller;
use crate::types::VmId;

/// Says what people know better: that two VMs depend on each other, or do not; whom to ignore; what an ensemble is called.
///
/// A running pipeline (lwt run) heeds it from the first window on that ends 10 s or more later, until it is undone.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  lwt decide dc.toml confirm web1 db1 --why 'in the runbook'      held, whether it is found or not
  lwt decide dc.toml reject web1 cron7 --why 'both at midnight'   not held, whatever is found
  lwt decide dc.toml ignore backup1                               takes part in nothing
  lwt decide dc.toml name e7 'web shop'
  lwt decide dc.toml undo web1 db1
  lwt decide --brokers kafka1:9092 list
  lwt decide dc.toml list --format json > decisions.ndjson        for lwt analyze --decisions")]
pub struct Args {
    /// The pipeline file that says where Kafka is, and what the topics are called.
    pipeline: Option<PathBuf>,
    /// Where Kafka is: host:port,... [default: what kafka.brokers says]
    #[arg(long, value_name = "HOST:PORT", global = true)]
    brokers: Option<String>,
    /// Set a key of the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    what: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Two VMs depend on each other, whether that is found or not.
    #[command(after_help = "Example:\n  lwt decide confirm web1 db1 --why 'in the runbook'")]
    Confirm(Pair),
    /// Two VMs do not depend on each other, whatever is found.
    #[command(after_help = "Example:\n  lwt decide reject web1 cron7 --why 'both at midnight'")]
    Reject(Pair),
    /// A VM takes part in nothing: backup or monitoring, which touch everything.
    #[command(after_help = "Example:\n  lwt decide ignore backup1")]
    Ignore {
        /// The VM: its identity, or its name if it is the only one of that name.
        vm: String,
        #[command(flatten)]
        by: By,
    },
    /// An ensemble gets a name.
    #[command(after_help = "Example:\n  lwt decide name e7 'web shop'")]
    Name {
        /// The ensemble, as it is called now.
        ensemble: String,
        /// The name that it gets.
        name: String,
        #[command(flatten)]
        by: By,
    },
    /// What was decided about a VM, two VMs or an ensemble does not count any more.
    #[command(after_help = "Examples:
  lwt decide undo web1 db1
  lwt decide undo backup1
  lwt decide undo --ensemble 'web shop'")]
    Undo {
        /// One VM, or two.
        #[arg(num_args = 1..=2, required_unless_present = "ensemble", conflicts_with = "ensemble")]
        vms: Vec<String>,
        /// An ensemble, as it is called now.
        #[arg(long, value_name = "ENSEMBLE")]
        ensemble: Option<String>,
    },
    /// Prints what is decided.
    #[command(after_help = "Examples:
  lwt decide list
  lwt decide list --format json > decisions.ndjson")]
    List {
        /// How to print.
        #[arg(long, default_value = "table")]
        format: Format,
    },
}

#[derive(clap::Args)]
struct Pair {
    /// One VM: its identity, or its name if it is the only one of that name.
    a: String,
    /// The other.
    b: String,
    #[command(flatten)]
    by: By,
}

/// Who decides, and why.
#[derive(clap::Args)]
struct By {
    /// Why: it is shown beside the decision.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who decides [default: the user's name].
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// A record a line.
    Json,
}

/// Runs the command.
///
/// # Errors
/// Wrong use, a cluster that cannot be reached or refuses, a closed pipe.
pub fn run(args: &Args, environment: RawConfig, now_ms: Clock, out: &mut impl Write) -> anyhow::Result<()> {
    let mut raw = check::raw(args.pipeline.as_deref(), environment, &args.set)?;
    input::set_flags(&mut raw, &[("kafka.brokers", "--brokers", &args.brokers)])?;
    let config = raw.prove()?;
    // What is wrong by itself is said before anybody is asked.
    let said = args.what.said(&raw, now_ms())?;
    let client = Client::new(&config.kafka)?;
    client.connect()?;
    let book = stands(&client, &config)?;
    let entry = match said {
        Said::List(Format::Json) => return Ok(out.write_all(book.lines().as_bytes())?),
        Said::List(Format::Table) if book.is_empty() => return Ok(writeln!(out, "nothing is decided")?),
        Said::List(Format::Table) => return Ok(writeln!(out, "{}", table(&book))?),
        Said::Decided(decision) => Entry::made(Meant::new(&client, &config, &book)?.decision(decision)?),
        Said::Undone(about) => {
            let about = Meant::new(&client, &config, &book)?.about(about)?;
            anyhow::ensure!(book.about(&about).is_some(), "nothing is decided about {}", spelled(&about));
            Entry::undone(about)
        }
    };
    let fits = entry.decision.is_none() || book.has_room(&entry.about);
    anyhow::ensure!(fits, "{MOST} decisions stand already: undo some first");
    tell(&client, &config.topics.decisions, &entry)?;
    match &entry.decision {
        Some(decision) => writeln!(out, "{}", decision.what.told())?,
        None => writeln!(out, "{}: undone", spelled(&entry.about))?,
    }
    Ok(())
}

/// What the command line says.
enum Said {
    Decided(Decision),
    Undone(About),
    List(Format),
}

impl Word {
    fn said(&self, raw: &RawConfig, now_ms: i64) -> anyhow::Result<Said> {
        let decided = |what, by: &By| by.decision(what, raw, now_ms).map(Said::Decided);
        match self {
            Word::Confirm(Pair { a, b, by }) => {
                decided(What::Confirmed { a: VmId::new(a), b: VmId::new(b) }, by)
            }
            Word::Reject(Pair { a, b, by }) => {
                decided(What::Rejected { a: VmId::new(a), b: VmId::new(b) }, by)
            }
            Word::Ignore { vm, by } => decided(What::Ignored { vm: VmId::new(vm) }, by),
            Word::Name { ensemble, name, by } => {
                decided(What::Named { ensemble: ensemble.clone(), name: name.clone() }, by)
            }
            Word::Undo { vms, ensemble } => {
                let about = match (&vms[..], ensemble) {
                    ([a, b], _) => About::pair(VmId::new(a), VmId::new(b)),
                    ([vm], _) => About::Vm(VmId::new(vm)),
                    (_, ensemble) => About::Ensemble(ensemble.clone().unwrap_or_default()),
                };
                Ok(Said::Undone(about))
            }
            Word::List { format } => Ok(Said::List(*format)),
        }
    }
}

impl By {
    fn decision(&self, what: What, raw: &RawConfig, now_ms: i64) -> anyhow::Result<Decision> {
        let user = self.who.as_deref().or_else(|| raw.variable("USER")).or_else(|| raw.variable("LOGNAME"));
        let wrong = |what: String| Wrong { place: "lwt decide".into(), what };
        let who = user.ok_or_else(|| wrong("say who decides: --who NAME".into()))?;
        let decision = Decision::new(what, who, self.why.as_deref(), now_ms);
        Ok(decision.map_err(|unfit: Unfit| wrong(unfit.to_string()))?)
    }
}

/// Who is meant: VMs may be called by their names if those are clear, ensembles are by what they are called now.
struct Meant<'a> {
    vms: Vec<VmId>,
    book: &'a Decisions,
}

impl<'a> Meant<'a> {
    fn new(client: &Client, config: &Config, book: &'a Decisions) -> anyhow::Result<Self> {
        let vms = state::load(client, &config.topics.assignments)?;
        Ok(Meant { vms: vms.into_keys().map(|vm| VmId::new(&vm)).collect(), book })
    }

    fn decision(&self, decision: Decision) -> anyhow::Result<Decision> {
        let Decision { what, who, why, at_ms, .. } = decision;
        let what = match what {
            What::Confirmed { a, b } => What::Confirmed { a: self.vm(a)?, b: self.vm(b)? },
            What::Rejected { a, b } => What::Rejected { a: self.vm(a)?, b: self.vm(b)? },
            What::Ignored { vm } => What::Ignored { vm: self.vm(vm)? },
            What::Named { ensemble, name } => What::Named { ensemble: self.ensemble(&ensemble), name },
        };
        Ok(Decision::new(what, &who, why.as_deref(), at_ms)?)
    }

    fn about(&self, about: About) -> anyhow::Result<About> {
        // A VM that is gone may have been decided about.
        if self.book.about(&about).is_some() {
            return Ok(about);
        }
        Ok(match about {
            About::Pair(a, b) => About::pair(self.vm(a)?, self.vm(b)?),
            About::Vm(vm) => About::Vm(self.vm(vm)?),
            About::Ensemble(shown) => About::Ensemble(self.ensemble(&shown)),
        })
    }

    fn vm(&self, said: VmId) -> anyhow::Result<VmId> {
        if self.vms.contains(&said) {
            return Ok(said);
        }
        let called: Vec<&VmId> = self.vms.iter().filter(|vm| vm.name() == said.as_str()).collect();
        match called[..] {
            [vm] => Ok(vm.clone()),
            [] => {
                eprintln!("lwt: there is no VM {said} now: what is decided counts once there is");
                Ok(said)
            }
            [one, other, ..] => {
                let n = called.len();
                anyhow::bail!("{n} VMs are called {said}: say which, as in {one} and {other}")
            }
        }
    }

    fn ensemble(&self, shown: &str) -> String {
        self.book.original(shown).to_string()
    }
}

fn spelled(about: &About) -> String {
    match about {
        About::Pair(a, b) => format!("{a} and {b}"),
        About::Vm(vm) => vm.to_string(),
        About::Ensemble(ensemble) => format!("ensemble {ensemble}"),
    }
}

/// What stands.
fn stands(client: &Client, config: &Config) -> anyhow::Result<Decisions> {
    let topic = &config.topics.decisions;
    let mut book = Decisions::default();
    for (key, value) in state::load(client, topic)? {
        match Entry::read(key.as_bytes(), &value) {
            Ok(entry) => drop(book.hear(entry)),
            Err(unfit) => eprintln!("lwt: {topic} holds something that is no decision: {unfit}"),
        }
    }
    Ok(book)
}

fn table(book: &Decisions) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["decided", "by", "when", "why"]);
    for Decision { what, who, at_ms, why, .. } in book.iter() {
        table.add_row([what.told(), who.clone(), time(*at_ms), why.clone().unwrap_or_default()]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_string()).collect();
    lines.join("\n")
}

/// Writes a record, with a connection of its own: it is done seldom, and tokens of logins grow old.
fn tell(client: &Client, topic: &str, entry: &Entry) -> Result<(), ClientError> {
    Teller::new(client, topic)?.tell(entry.about.key().as_bytes(), entry.value().as_deref())
}

/// A desk whose decisions go to Kafka.
pub fn desk(client: Arc<Client>, config: &Config, now_ms: Clock) -> Desk {
    let topic = config.topics.decisions.clone();
    let tell = move |entry: &Entry| {
        tell(&client, &topic, entry).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    };
    Desk::new(tell, now_ms)
}

/// Reads decisions from a file, a record's value a line.
///
/// # Errors
/// A file that cannot be read, or is not of decisions.
pub fn read_decisions(path: &Path) -> anyhow::Result<Decisions> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut book = Decisions::default();
    for (i, line) in lines {
        let place = || format!("{}:{}", path.display(), i + 1);
        let decision = Decision::read(line.as_bytes()).with_context(place)?;
        anyhow::ensure!(book.hear(Entry::made(decision)), "{}: too many decisions", place());
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(what: What) -> Decision {
        Decision::new(what, "eve", Some("a, b"), 1_700_000_000_000).unwrap()
    }

    #[test]
    fn who_is_meant_is_clear_or_asked_for() {
        let book = [made(What::Named { ensemble: "e1".into(), name: "shop".into() })].into_iter().collect();
        let vms = ["h1/web", "h1/db", "h2/db", "uuid"].map(VmId::new).to_vec();
        let meant = Meant { vms, book: &book };
        let confirmed = |a: &str, b: &str| made(What::Confirmed { a: VmId::new(a), b: VmId::new(b) });
        let told = |decision| meant.decision(decision).map(|decision| decision.what.told());
        assert_eq!(told(confirmed("web", "h2/db")).unwrap(), "h1/web and h2/db: confirmed");
        assert_eq!(told(confirmed("uuid", "not there")).unwrap(), "not there and uuid: confirmed");
        let error = told(confirmed("web", "db")).unwrap_err().to_string();
        assert_eq!(error, "2 VMs are called db: say which, as in h1/db and h2/db");
        let error = told(confirmed("web", "h1/web")).unwrap_err().to_string();
        assert_eq!(error, "nobody depends on himself");
        let named = made(What::Named { ensemble: "shop".into(), name: "web shop".into() });
        assert_eq!(told(named).unwrap(), "ensemble e1: named web shop");
        let about = |about| spelled(&meant.about(about).unwrap());
        assert_eq!(about(About::Ensemble("shop".into())), "ensemble e1");
        assert_eq!(about(About::Vm(VmId::new("web"))), "h1/web");
    }

    #[test]
    fn a_list_is_for_people_or_is_read_again() {
        let book: Decisions = [
            made(What::Rejected { a: VmId::new("a"), b: VmId::new("b") }),
            made(What::Named { ensemble: "e1".into(), name: "shop".into() }),
        ]
        .into_iter()
        .collect();
        let table = table(&book);
        let mut words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(words.next().unwrap(), "decided by when why");
        assert_eq!(words.next().unwrap(), "a and b: rejected eve 2023-11-14T22:13:20Z a, b");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), book.lines() + "\n").unwrap();
        assert_eq!(read_decisions(file.path()).unwrap(), book);
        std::fs::write(file.path(), book.lines() + "{}").unwrap();
        let error = format!("{:#}", read_decisions(file.path()).unwrap_err());
        assert!(error.ends_with(":3: no decision: missing field `v` at line 1 column 2"), "{error}");
    }
}
