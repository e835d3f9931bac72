//! `shipper dead-letters replay`: sends them to Loki again.

use std::io::{IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use super::{Error, letters_of};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::dead_letters::replay::{self, Settings, Tally};
use crate::shutdown::Signals;

/// Replays, or only says what would be replayed.
///
/// # Errors
/// When Loki or the folder can't be had.
pub async fn run(
    config: &Config,
    reason: Option<String>,
    rehearse: bool,
    out: &mut impl Write,
) -> Result<Tally, Error> {
    let settings = Settings {
        dir: letters_of(&config.state_dir)?,
        loki: config.loki.clone(),
        push_bytes_max: usize::try_from(config.batch.max_bytes.as_u64()).unwrap_or(usize::MAX),
        retry: config.retry.clone(),
        clock: Clock::system(),
        reason,
    };
    let asked_for = settings.reason.clone();
    let tally = if rehearse { replay::rehearse(&settings)? } else { send(&settings).await? };
    write!(out, "{}", summary(&tally, rehearse))?;
    if let Some(reason) = asked_for.filter(|_| tally.found == 0) {
        writeln!(
            out,
            "no line is kept for the reason {reason:?}: `dead-letters list` shows which there are"
        )?;
    }
    Ok(tally)
}

async fn send(settings: &Settings) -> Result<Tally, Error> {
    let mut signals = Signals::install()?;
    let stop = CancellationToken::new();
    let watched = std::io::stderr().is_terminal();
    let told = |tally: &Tally| {
        if watched {
            let done = tally.accepted + tally.refused;
            // A terminal that is gone is no reason to stop.
            drop(write!(
                std::io::stderr(),
                "\r{done} of {} lines, {} refused again",
                tally.found,
                tally.refused
            ));
        }
    };
    let mut work = std::pin::pin!(replay::replay(settings, &stop, told));
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = signals.end() => {
            stop.cancel();
            work.await
        }
    };
    if watched {
        drop(writeln!(std::io::stderr()));
    }
    Ok(ended?)
}

fn summary(tally: &Tally, rehearsed: bool) -> String {
    if rehearsed {
        return format!("{} lines would be sent\n{}", tally.found, notes(tally));
    }
    let mut text = format!("{} of {} lines delivered\n", tally.accepted, tally.found);
    if tally.stopped {
        text += &format!("stopped: {} lines are left; run the replay again to go on\n", tally.left());
    }
    text + &notes(tally)
}

fn notes(tally: &Tally) -> String {
    let notes = [
        (
            tally.refused,
            "lines were refused again and stay, with Loki's new words: see `dead-letters list --lines 10`",
        ),
        (tally.gone, "lines were removed meanwhile by the shipper to make room"),
        (tally.in_use, "segments are open in a shipper that runs, and were left to it"),
        (tally.torn, "lines were not finished when a shipper died; its next start reads them again"),
        (tally.unreadable, "lines can't be read and stay: they are damaged or of another version"),
    ];
    let notes = notes.into_iter().filter(|(count, _)| *count > 0);
    notes.map(|(count, what)| format!("{count} {what}\n")).collect()
}
