//! `shipper dead-letters list`: what there is.

use std::io::{self, Write};
use std::path::Path;

use bytesize::ByteSize;

use super::{Error, letters_of, printable, time};
use crate::delivery::dead_letters::letter::Letter;
use crate::delivery::dead_letters::survey::{Kind, Survey, survey};

/// Prints the first `lines` letters as they are read, and then what there is in all.
///
/// # Errors
/// When the folder can't be read, or the output is closed.
pub fn list(state_dir: &Path, lines: usize, json: bool, out: &mut impl Write) -> Result<(), Error> {
    let dir = letters_of(state_dir)?;
    let (mut shown, mut output) = (0, Ok(()));
    if json {
        write!(out, "{{\"lines\":[")?;
    }
    let found = survey(&dir, |letter| {
        if shown < lines && output.is_ok() {
            let text = if json { letter.to_line()?.trim_end().to_owned() } else { for_people(letter) };
            let before = if json && shown > 0 { "," } else { "" };
            output = writeln!(out, "{before}{text}");
            shown += 1;
        }
        Ok(())
    });
    let found = found.map_err(|source| Error::Read { path: dir.clone(), source })?;
    output?;
    if json {
        let text = serde_json::to_string_pretty(&found).map_err(io::Error::from)?;
        return Ok(writeln!(out, "],{}", text.trim_start_matches('{'))?);
    }
    if shown > 0 {
        writeln!(out)?;
    }
    Ok(write!(out, "{}", summary(&dir, &found))?)
}

fn for_people(letter: &Letter) -> String {
    let words = letter.status.map(|status| {
        let words = letter.answer.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        format!("\n    Loki, after {} attempts: {status} {}", letter.attempts, printable(words))
    });
    format!(
        "{} {} {} {}{}",
        time(letter.time_ns),
        printable(&letter.reason),
        printable(&letter.stream()),
        printable(&letter.line),
        words.unwrap_or_default()
    )
}

fn summary(dir: &Path, survey: &Survey) -> String {
    let mut text = format!(
        "{}: {} lines, {} in {} segments\n",
        dir.display(),
        survey.letters,
        ByteSize::b(survey.bytes),
        survey.segments
    );
    let notes = [
        (survey.segments_in_use, "segments are open in a shipper that runs"),
        (survey.replayed, "lines were delivered by a replay that has not ended; the next one removes them"),
        (survey.torn, "lines were not finished when a shipper died; its next start reads them again"),
        (survey.other_versions, "lines were written by another version of the shipper"),
        (survey.unreadable, "lines are damaged"),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    if !survey.kinds.is_empty() {
        text +=
            &format!("{:>9} {:>10}  {:24}  {:24}  REASON AND STREAM\n", "LINES", "BYTES", "OLDEST", "NEWEST");
    }
    survey.kinds.iter().for_each(|kind| text += &row(kind));
    text
}

fn row(kind: &Kind) -> String {
    let tenant = kind.tenant.as_ref().map(|tenant| format!(" of tenant {}", printable(tenant)));
    format!(
        "{:>9} {:>10}  {:24}  {:24}  {} {}{}\n",
        kind.letters,
        ByteSize::b(kind.bytes).to_string(),
        time(kind.oldest_ns),
        time(kind.newest_ns),
        printable(&kind.reason),
        printable(&kind.stream),
        tenant.unwrap_or_default()
    )
}
