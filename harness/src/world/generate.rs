//! `flatline generate`: what runs in a container. Writes numbered, checksummed lines at a set pace to
//! its outputs, and notes in the truth file what it has written.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::world::line::{self, Fields, Stream};
use crate::world::truth::{TruthError, TruthFile, Written};

/// The shortest pause between two batches of lines.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Lines of one batch, so that SIGTERM is heard between them.
const LINES_PER_BEAT_MAX: u64 = 10_000;
/// The most lines a second that make sense: one process can't write more.
pub const RATE_MAX: u32 = 1_000_000;
/// The longest line: Loki's default `max_line_size`.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// What to write.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this source, unique in the run.
    pub source: String,
    /// Lines a second.
    pub rate: u32,
    /// Bytes of each line, newline left out.
    pub line_bytes: usize,
    /// How many of them are written one right after the other, before a pause that keeps the pace; at least one.
    pub burst: u32,
    /// How many lines of a hundred go to standard error.
    pub stderr_percent: u32,
    /// Seed of the padding.
    pub seed: u64,
    /// The counter file.
    pub truth: PathBuf,
    /// How many lines in all; until SIGTERM where it is left out.
    pub lines: Option<u64>,
}

/// Why generating ended early.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The counter file.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// An output is closed, or the signal handler could not be set.
    #[error("can't write lines: {0}")]
    Output(#[from] io::Error),
}

/// Where lines go.
pub struct Outputs {
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
}

/// Writes lines to this process's own outputs until SIGTERM, SIGINT, or the last line asked for.
///
/// # Errors
/// [`GenerateError`]: an output or the counter file can't be written.
pub async fn run(config: Config) -> Result<(), GenerateError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outputs = Outputs { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    tokio::select! {
        biased;
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        written = lines(config, outputs) => written,
    }
}

/// Writes lines until the last one asked for. Whoever drops it ends it between two lines.
///
/// # Errors
/// As [`run`].
pub async fn lines(config: Config, outputs: Outputs) -> Result<(), GenerateError> {
    let (truth, written) = TruthFile::open(&config.truth)?;
    let mut writer =
        Writer { truth, written, first: written.total(), buffer: String::new(), outputs, config };
    let started = Instant::now();
    while !writer.catch_up(started.elapsed())? {
        let next = started + writer.next_due();
        sleep_until(next.max(Instant::now() + PAUSE_MIN)).await;
    }
    Ok(())
}

struct Writer {
    truth: TruthFile,
    written: Written,
    /// Lines that earlier lives of the container had written.
    first: u64,
    buffer: String,
    outputs: Outputs,
    config: Config,
}

impl Writer {
    /// After how long the next burst is due. Whoever writes seldom is woken seldom.
    fn next_due(&self) -> Duration {
        let line = self.written.total() - self.first + u64::from(self.config.burst.max(1));
        let line = line.min(self.config.lines.unwrap_or(u64::MAX));
        let millis = (u128::from(line) * 1000).div_ceil(u128::from(self.config.rate.max(1)));
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Writes what is due after `elapsed`. Answers whether the last line is written.
    fn catch_up(&mut self, elapsed: Duration) -> Result<bool, GenerateError> {
        let per_second = u128::from(self.config.rate);
        let due = u64::try_from(elapsed.as_millis() * per_second / 1000).unwrap_or(u64::MAX);
        let due = due - due % u64::from(self.config.burst.max(1));
        let due = due.min(self.config.lines.unwrap_or(u64::MAX));
        // A signal is heard between two beats: one that has fallen far behind must not outlast it.
        let due = due.min(self.written.total() - self.first + LINES_PER_BEAT_MAX);
        while self.written.total() - self.first < due {
            self.write_line()?;
        }
        Ok(self.config.lines.is_some_and(|lines| self.written.total() - self.first >= lines))
    }

    /// The counter is written after each line: whatever ends this process, the truth is never ahead of
    /// the outputs, and at most one line behind.
    fn write_line(&mut self) -> Result<(), GenerateError> {
        let (stream, counter) = if is_for_stderr(self.written.total(), self.config.stderr_percent) {
            (Stream::Err, &mut self.written.stderr)
        } else {
            (Stream::Out, &mut self.written.stdout)
        };
        let fields =
            Fields { source: &self.config.source, stream, number: *counter + 1, written_ns: clock::now_ns() };
        self.buffer.clear();
        line::write(&mut self.buffer, &fields, self.config.seed, self.config.line_bytes);
        self.buffer.push('\n');
        match stream {
            Stream::Out => self.outputs.stdout.write_all(self.buffer.as_bytes())?,
            Stream::Err => self.outputs.stderr.write_all(self.buffer.as_bytes())?,
        }
        *counter += 1;
        Ok(self.truth.note(self.written)?)
    }
}

/// So many of each hundred lines, spread evenly: what goes to both outputs at once is what a shipper may mix up.
fn is_for_stderr(before: u64, percent: u32) -> bool {
    let percent = u64::from(percent);
    (before % 100) * percent % 100 < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hundred_lines_have_their_share_on_standard_error_and_it_is_spread() {
        for percent in 0..=100 {
            let chosen: Vec<u64> = (300..400).filter(|before| is_for_stderr(*before, percent)).collect();
            assert_eq!(chosen.len(), usize::try_from(percent).unwrap());
            let widest = chosen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            assert!(widest <= 100_u64.div_ceil(u64::from(percent).max(1)), "{percent}: {chosen:?}");
        }
    }
}
