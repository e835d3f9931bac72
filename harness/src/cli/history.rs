//! `flatline history`: nights in a row.

use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::matters::MattersArgs;
use crate::cli::printing::{Forms, PrintingArgs};
use crate::cli::told::{Told, code_of_direction};
use crate::cli::{UsageError, exit};
use crate::record::history::{self, Added, History};
use crate::result::trend::{Ack, ChangeSeen, Series, Trend};
use crate::result::{Digest, Measure, SCHEMA};
use crate::run::against::{self, AgainstError};
use crate::trend::contrast::Matters;
use crate::trend::history::{Question, trend};
use crate::units::{InvalidSpan, Span};
use crate::{clock, report};

pub(super) const HISTORY_HELP: &str = "\
Examples:
  flatline run scenarios/nightly.yaml --history reports/history.jsonl   adds each night as it ends
  flatline history --every 1d                                         what changed, and which nights did not run
  flatline history --every 1d --out reports/trend                     page, pictures, Markdown and JSON
  flatline history add reports/2026*-nightly                          adds runs that there are
  flatline history ack 20261129t123508z-28786 --because 'the cache is meant to be larger'

A change is suspected with the first night that stands apart from those before it, and confirmed when the next one does so
too; it is named with the commits that may have brought it. A change for the worse stands until a later one takes it back or
somebody acknowledges it. docs/history.md says how changes are found, and how often that errs.

Exit codes:
  0  no change for the worse stands
  1  one does
  2  bad usage
  3  one is suspected, the last night is overdue (--every), or there is no night at all
  4  a file can't be read or written";

/// Where histories are kept.
const FILE: &str = "reports/history.jsonl";

/// Options of `flatline history`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct HistoryArgs {
    /// What is done with it, if not to show it.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// How it is read and shown.
    #[command(flatten)]
    pub shown: ShownArgs,
}

/// How a history is read and shown.
#[derive(Args, Debug)]
pub struct ShownArgs {
    /// The history, a run on each line
    #[arg(long, value_name = "FILE", default_value = FILE)]
    pub file: PathBuf,
    /// Only this scenario
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// How far apart nights are expected: those that did not run are gaps, and the next one may be overdue
    #[arg(long, value_name = "DURATION", value_parser = every)]
    pub every: Option<Span>,
    /// Up to when nights are expected, such as 2026-11-29T06:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// What matters
    #[command(flatten)]
    pub matters: MattersArgs,
    /// How it is shown
    #[command(flatten)]
    pub printing: PrintingArgs,
}

/// What is done with a history.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Adds runs that there are, each once
    Add {
        /// The run directories
        #[arg(required = true)]
        run_dirs: Vec<PathBuf>,
        /// The history
        #[arg(long, value_name = "FILE", default_value = FILE)]
        file: PathBuf,
    },
    /// Acknowledges a change: it is known, and raises no alarm
    Ack {
        /// The first run of the change, as the history names it
        run: String,
        /// Why it is well
        #[arg(long, value_name = "WORDS", value_parser = NonEmptyStringValueParser::new())]
        because: String,
        /// Only this target's
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
        /// Only this measure's, e.g. fds_growth
        #[arg(long, value_name = "MEASURE", value_parser = measure)]
        measure: Option<Measure>,
        /// The history
        #[arg(long, value_name = "FILE", default_value = FILE)]
        file: PathBuf,
    },
}

impl HistoryArgs {
    /// Does it.
    ///
    /// # Errors
    /// Where a file can't be read or written, or what is to be acknowledged is not there.
    pub fn carry_out(self) -> anyhow::Result<Told> {
        match self.action {
            None => show(&self.shown),
            Some(Action::Add { run_dirs, file }) => add(&run_dirs, &file),
            Some(Action::Ack { run, because, target, measure, file }) => {
                let ack = Ack { schema: SCHEMA, run_id: run, target, measure, because, at: clock::now() };
                acknowledge(&file, &ack)
            }
        }
    }
}

const FORMS: Forms<Trend> = Forms {
    text: report::trend::terminal,
    markdown: report::trend::markdown,
    page: report::trend::page,
    files: report::trend::write_all,
};

fn show(shown: &ShownArgs) -> anyhow::Result<Told> {
    let trend = trend_of(read(&shown.file)?, shown)?;
    let told = shown.printing.told(&trend, FORMS, code_of_direction(trend.direction))?;
    let skipped = report::trend::skipped(&trend).into_iter().map(|line| format!("flatline: {line}"));
    Ok(Told { said: skipped.chain(told.said).collect(), ..told })
}

fn read(file: &Path) -> anyhow::Result<History> {
    if !file.exists() {
        let file = file.display();
        return Err(UsageError(format!(
            "there is no history {file}\n  \
             `flatline history add RUN_DIR… --file {file}` begins one, and so does `flatline run … --history {file}`."
        ))
        .into());
    }
    Ok(history::read(file)?)
}

fn trend_of(found: History, shown: &ShownArgs) -> anyhow::Result<Trend> {
    let matters = shown.matters.chosen()?;
    let mut nights = found.nights;
    if let Some(name) = &shown.scenario {
        let mut names: Vec<String> = nights.iter().map(|night| night.ground.scenario.clone()).collect();
        nights.retain(|night| night.ground.scenario == *name);
        if nights.is_empty() {
            names.sort();
            names.dedup();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(UsageError(format!("the history has no scenario {name:?}; it has {names}")).into());
        }
    }
    let question = Question {
        matters,
        every: shown.every.map(|every| every.0),
        until: shown.until.unwrap_or_else(clock::now),
    };
    Ok(trend(&nights, &found.acks, found.skipped, &question))
}

fn add(run_dirs: &[PathBuf], file: &Path) -> anyhow::Result<Told> {
    // All are read before anything is written: what is wrong with the third changes nothing.
    let digests: Vec<Digest> =
        run_dirs.iter().map(|run| against::read_ended(run)).collect::<Result<_, AgainstError>>()?;
    let mut printed = Vec::new();
    for (run, digest) in run_dirs.iter().zip(digests) {
        printed.push(match history::add(file, &digest)? {
            Added::Added => format!("added {}: {}", run.display(), digest.run_id),
            Added::Known => format!("{} stands in {} already", run.display(), file.display()),
        });
    }
    Ok(Told { printed: printed.join("\n"), said: Vec::new(), code: exit::MET })
}

fn acknowledge(file: &Path, ack: &Ack) -> anyhow::Result<Told> {
    let found = read(file)?;
    let question = Question { matters: Matters::default(), every: None, until: clock::now() };
    let trend = trend(&found.nights, &found.acks, Vec::new(), &question);
    let all = trend.scenarios.iter().flat_map(|scenario| &scenario.series);
    let all = all.flat_map(|series| series.changes.iter().map(move |change| (series, change)));
    let all: Vec<_> = all.collect();
    let is_meant = |(series, change): &&(&Series, &ChangeSeen)| {
        change.run_id == ack.run_id
            && ack.target.as_ref().is_none_or(|target| *target == series.target)
            && ack.measure.is_none_or(|measure| measure == series.measure)
    };
    let meant: Vec<String> = all
        .iter()
        .filter(is_meant)
        .map(|(series, _)| format!("acknowledged: {}, {}", series.target, series.measure.key()))
        .collect();
    if meant.is_empty() {
        let known: Vec<String> = all
            .iter()
            .map(|(series, change)| {
                format!("\n    {} {} {}", change.run_id, series.target, series.measure.key())
            })
            .collect();
        let known = if known.is_empty() { " none".to_owned() } else { known.concat() };
        return Err(UsageError(format!(
            "no such change begins with run {}\n  Changes in {}:{known}",
            ack.run_id,
            file.display()
        ))
        .into());
    }
    history::acknowledge(file, ack)?;
    Ok(Told { printed: meant.join("\n"), said: Vec::new(), code: exit::MET })
}

fn every(text: &str) -> Result<Span, String> {
    let every: Span = text.parse().map_err(|error: InvalidSpan| error.to_string())?;
    if every.0.is_zero() {
        Err("nights lie apart: it must be above zero, such as 1d".to_owned())
    } else {
        Ok(every)
    }
}

fn measure(text: &str) -> Result<Measure, String> {
    let names = || Measure::ALL.map(Measure::key).join(", ");
    Measure::ALL
        .into_iter()
        .find(|measure| measure.key() == text)
        .ok_or_else(|| format!("it is none of {}", names()))
}
