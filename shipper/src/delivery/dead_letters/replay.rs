//! Sends dead letters to Loki again, one push after the other, and takes those that Loki has accepted out
//! of the folder.
//!
//! Each push is in the journal before the next begins: a replay that is killed repeats at most the one that
//! was under way. What is refused again stays, with Loki's new words, until the next replay: each letter is
//! tried once in a run. A shipper may run on the same folder: the segment that it writes is left to it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::folder;
use super::index::Round;
use super::journal::{self, Journal, Pushed, Verdicts};
use super::letter::Letter;
use super::parcels::{Parcel, Parcels};
use super::settle::settle;
use crate::batch::Entry;
use crate::clock::Clock;
use crate::delivery::backoff::Backoff;
use crate::delivery::retry;
use crate::files;
use crate::loki::answer::{Outcome, judge, words_kept};
use crate::loki::client::{self, Answer, Client};
use crate::loki::limit::Limit;

const LOCK: &str = "replay.lock";
/// Somebody waits at a terminal: after so many attempts in a row Loki is away.
const ATTEMPTS_MAX: u32 = 8;
/// A push above the rate may pass in a burst, or in halves; a line alone, or a stream too many, may never.
const RATE_REFUSALS_MAX: u32 = 3;
const LIMIT_REFUSALS_MAX: u32 = 5;
/// What a push that is under way may still take when the replay is stopped.
const LAST_PUSH: Duration = Duration::from_secs(5);

/// What a replay works with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder.
    pub dir: PathBuf,
    /// Where to.
    pub loki: client::Config,
    /// How large a push may be.
    pub push_bytes_max: usize,
    /// The delays between attempts.
    pub retry: retry::Config,
    /// For the time of a refusal.
    pub clock: Clock,
    /// Only letters with this reason.
    pub reason: Option<String>,
}

/// What was done; while it runs, what was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Letters found to send.
    pub found: u64,
    /// Loki has these.
    pub accepted: u64,
    /// Loki has refused these again.
    pub refused: u64,
    /// Last lines of a segment without their end.
    pub torn: u64,
    /// Other lines that can't be read; they stay.
    pub unreadable: u64,
    /// Removed by the shipper to make room, before they were sent.
    pub gone: u64,
    /// Segments that a shipper has open.
    pub in_use: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Why a replay has ended early. What was accepted until then is taken out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one runs.
    #[error("another replay works in {0}: wait for its end")]
    Busy(PathBuf),
    /// The folder.
    #[error("the dead letters in {path} can't be replayed: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No answer that would help, time and again.
    #[error("Loki takes nothing ({0}): nothing is lost, run the replay again when it does")]
    Away(String),
    /// The config.
    #[error("Loki refuses us ({0}): look at loki.url and loki.tenant")]
    Held(String),
    /// The client.
    #[error(transparent)]
    Client(#[from] client::ConfigError),
}

/// What there is to replay. Changes nothing.
///
/// # Errors
/// When the folder can't be read.
pub fn rehearse(settings: &Settings) -> Result<Tally, Error> {
    let failed = failed(&settings.dir);
    let done = journal::read(&settings.dir).map_err(&failed)?.unwrap_or_default();
    let mut segments = folder::list(&settings.dir).map_err(&failed)?.into_iter();
    let mut tally = Tally::default();
    while !segments.as_slice().is_empty() {
        let round = Round::next(&settings.dir, &mut segments, &done, |letter| wanted(settings, letter));
        tally.found(&round.map_err(&failed)?);
    }
    Ok(tally)
}

/// Replays until all is done, `stop` is cancelled, or Loki can't be had. `told` hears of each push.
///
/// Works with files as it goes: it is meant for a process of its own.
///
/// # Errors
/// Why it could not go on.
pub async fn replay(
    settings: &Settings,
    stop: &CancellationToken,
    told: impl Fn(&Tally),
) -> Result<Tally, Error> {
    let (dir, failed) = (&settings.dir, failed(&settings.dir));
    if !dir.try_exists().map_err(&failed)? {
        return Ok(Tally::default());
    }
    let Some(_lock) = files::lock(&dir.join(LOCK)).map_err(&failed)? else {
        return Err(Error::Busy(dir.clone()));
    };
    settle_unfinished(dir).map_err(&failed)?;
    let mut segments = folder::list(dir).map_err(&failed)?.into_iter();
    let client = Client::new(&settings.loki)?;
    let mut run = Run { settings, client, tally: Tally::default(), stop };
    while !segments.as_slice().is_empty() && !run.tally.stopped {
        let none = Verdicts::default();
        let round = Round::next(dir, &mut segments, &none, |letter| wanted(settings, letter));
        let round = round.map_err(&failed)?;
        run.tally.found(&round);
        let mut journal = Journal::begin(dir, round.segments.clone()).map_err(&failed)?;
        let sent = run.send(&round, &mut journal, &told).await;
        let settled = settle_unfinished(dir).map_err(&failed);
        sent.and(settled)?;
    }
    Ok(run.tally)
}

fn wanted(settings: &Settings, letter: &Letter) -> bool {
    settings.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
}

fn failed(dir: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = dir.to_owned();
    move |source| Error::Folder { path: path.clone(), source }
}

fn settle_unfinished(dir: &Path) -> io::Result<()> {
    if let Some(verdicts) = journal::read(dir)? {
        settle(dir, &verdicts)?;
        journal::remove(dir)?;
    }
    Ok(())
}

impl Tally {
    fn found(&mut self, round: &Round) {
        self.found += round.letters.len() as u64;
        self.torn += round.torn;
        self.unreadable += round.unreadable;
        self.in_use += round.in_use;
    }

    /// Letters that were found and are still there though nobody has refused them.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.found.saturating_sub(self.accepted + self.refused + self.gone)
    }
}

struct Run<'a> {
    settings: &'a Settings,
    client: Client,
    tally: Tally,
    stop: &'a CancellationToken,
}

/// How one push ended.
enum Ended {
    Pushed(Pushed),
    Halve(Parcel),
    Stopped,
}

impl Run<'_> {
    async fn send(
        &mut self,
        round: &Round,
        journal: &mut Journal,
        told: &impl Fn(&Tally),
    ) -> Result<(), Error> {
        let failed = failed(&self.settings.dir);
        let mut parcels = Parcels::new(&self.settings.dir, &round.letters, self.settings.push_bytes_max);
        let mut next = VecDeque::new();
        let gone_before = self.tally.gone;
        loop {
            if next.is_empty() {
                next.extend(parcels.read_next().map_err(&failed)?);
                self.tally.gone = gone_before + parcels.gone;
            }
            let Some(parcel) = next.pop_front() else { return Ok(()) };
            match self.push(parcel).await? {
                Ended::Pushed(pushed) => {
                    journal.note(&pushed).map_err(&failed)?;
                    self.tally.accepted += pushed.accepted.len() as u64;
                    self.tally.refused += pushed.refused.len() as u64;
                    told(&self.tally);
                }
                Ended::Halve(parcel) => {
                    let (first, second) = parcel.halves();
                    second.into_iter().for_each(|second| next.push_front(second));
                    next.push_front(first);
                }
                Ended::Stopped => {
                    self.tally.stopped = true;
                    return Ok(());
                }
            }
        }
    }

    async fn push(&mut self, parcel: Parcel) -> Result<Ended, Error> {
        let mut backoff = Backoff::new(self.settings.retry.initial, self.settings.retry.max);
        let mut attempts = 0;
        let body = match self.settings.loki.encoding.encode(std::slice::from_ref(&parcel.group)) {
            Ok(body) => body,
            Err(error) => return Ok(self.refused(&parcel, ("unencodable", None, &error.to_string()), 0)),
        };
        let client = match self.client_for(&parcel) {
            Ok(client) => client,
            Err(error) => return Ok(self.refused(&parcel, ("unencodable", None, &error.to_string()), 0)),
        };
        loop {
            if self.stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            attempts += 1;
            let Some(answer) = self.within_stop(client.push(body.clone())).await else {
                return Ok(Ended::Stopped);
            };
            let (after, words) = match answer {
                Ok(answer) => match self.follow(&parcel, &answer, attempts)? {
                    Next::Ended(pushed) => return Ok(Ended::Pushed(pushed)),
                    Next::Halve => return Ok(Ended::Halve(parcel)),
                    Next::Again(after) => (after, shown(&answer)),
                },
                Err(error) => (None, error.to_string()),
            };
            if attempts >= ATTEMPTS_MAX {
                return Err(Error::Away(words));
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay(after)) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    fn follow(&self, parcel: &Parcel, answer: &Answer, attempts: u32) -> Result<Next, Error> {
        let all_refused = |reason| Next::Ended(self.pushed(parcel, |_| true, (reason, answer), attempts));
        let next = match judge(answer.status, answer.retry_after, &answer.body) {
            Outcome::Delivered => Next::Ended(self.pushed(parcel, |_| false, ("", answer), attempts)),
            Outcome::Retry { after } => Next::Again(after),
            Outcome::Limited { limit: Limit::Rate, .. }
                if attempts >= RATE_REFUSALS_MAX && parcel.refs.len() > 1 =>
            {
                Next::Halve
            }
            Outcome::Limited { limit, .. } if attempts >= LIMIT_REFUSALS_MAX => all_refused(match limit {
                Limit::Rate => "rate_limit",
                Limit::Streams { .. } => "stream_limit",
            }),
            Outcome::Limited { after, .. } => Next::Again(after),
            Outcome::Hold => return Err(Error::Held(shown(answer))),
            // If none of ours fits the words, we do not know which Loki meant.
            Outcome::Partial(refusal) => {
                let fits = |entry: &Entry| refusal.fits(&parcel.group.labels.text, entry);
                if !parcel.group.entries.iter().any(fits) {
                    return Ok(all_refused("refused"));
                }
                Next::Ended(self.pushed(parcel, fits, ("refused", answer), attempts))
            }
            Outcome::Refused => all_refused("refused"),
            Outcome::Split if parcel.refs.len() > 1 => Next::Halve,
            Outcome::Split => all_refused("too_large"),
        };
        Ok(next)
    }

    fn pushed(
        &self,
        parcel: &Parcel,
        is_refused: impl Fn(&Entry) -> bool,
        (reason, answer): (&str, &Answer),
        attempts: u32,
    ) -> Pushed {
        let letters = parcel.refs.iter().zip(&parcel.group.entries);
        let (refused, accepted): (Vec<_>, Vec<_>) = letters.partition(|(_, entry)| is_refused(entry));
        let refs = |letters: Vec<(&journal::Ref, _)>| letters.into_iter().map(|(from, _)| *from).collect();
        let answer = (!refused.is_empty()).then_some(answer);
        Pushed {
            accepted: refs(accepted),
            refused: refs(refused),
            reason: reason.to_owned(),
            status: answer.map(|answer| answer.status),
            answer: answer.map(|answer| words_kept(&answer.body).to_owned()),
            attempts,
            now_ns: self.settings.clock.now_ns(),
        }
    }

    /// Nothing was sent.
    fn refused(
        &self,
        parcel: &Parcel,
        (reason, status, words): (&str, Option<u16>, &str),
        attempts: u32,
    ) -> Ended {
        let (reason, answer) = (reason.to_owned(), Some(words_kept(words).to_owned()));
        let (refused, now_ns) = (parcel.refs.clone(), self.settings.clock.now_ns());
        Ended::Pushed(Pushed { accepted: Vec::new(), refused, reason, status, answer, attempts, now_ns })
    }

    /// A letter without a tenant goes to the one of the config.
    fn client_for(&self, parcel: &Parcel) -> Result<Client, client::ConfigError> {
        match &parcel.tenant {
            Some(tenant) => self.client.clone().for_tenant(tenant),
            None => Ok(self.client.clone()),
        }
    }

    /// `None` if the replay is stopped and the answer does not come soon.
    async fn within_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = async {
                self.stop.cancelled().await;
                tokio::time::sleep(LAST_PUSH).await;
            } => None,
        }
    }
}

enum Next {
    Ended(Pushed),
    Halve,
    Again(Option<Duration>),
}

fn shown(answer: &Answer) -> String {
    format!("{}: {}", answer.status, answer.head())
}
