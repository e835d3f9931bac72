//! `flatline generate`: what runs in a container. Writes numbered, checksummed lines at a set pace to
//! its outputs, and notes in the truth file what it has written.

use std::future::pending;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::clock;
pub use crate::world::line::LINE_BYTES_MAX;
use crate::world::line::{self, Fields, Stream};
use crate::world::replay::Replay;
use crate::world::tempo::{Pace, Tempo, TempoError};
use crate::world::truth::{TruthError, TruthFile, Written};

/// The shortest pause between two batches of lines.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// The tempo is read anew this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Lines of one batch, so that SIGTERM is heard between them.
const LINES_PER_BEAT_MAX: u64 = 10_000;
/// The most lines a second that make sense: one process can't write more.
pub const RATE_MAX: u32 = 1_000_000;

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
    /// The file of what the rate is multiplied by; nothing where it is left out.
    pub tempo: Option<PathBuf>,
    /// The texts to write, made ready: then it is they that say how long a line is and where it goes.
    pub replay: Option<PathBuf>,
}

/// Why generating ended early.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The counter file.
    #[error(transparent)]
    Truth(#[from] TruthError),
    /// The tempo.
    #[error(transparent)]
    Tempo(#[from] TempoError),
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
    let pace = Pace::new(config.rate, config.tempo()?);
    let replay = config.replay.as_deref().map(Replay::open).transpose()?;
    let (first, buffer) = (written.total(), String::new());
    let mut writer = Writer { truth, written, first, pace, buffer, outputs, replay, config };
    let started = Instant::now();
    let mut look = writer.config.tempo.as_ref().map(|_| LOOK_EVERY);
    while !writer.catch_up(started.elapsed())? {
        let due = [writer.next_due(), look].into_iter().flatten().min();
        let pause_min = Instant::now() + PAUSE_MIN;
        match due.and_then(|due| started.checked_add(due)) {
            Some(next) => sleep_until(next.max(pause_min)).await,
            None => pending().await,
        }
        let elapsed = started.elapsed();
        if look.is_some_and(|look| look <= elapsed) {
            writer.pace.change(elapsed, writer.config.tempo()?);
            look = Some(elapsed + LOOK_EVERY);
        }
    }
    Ok(())
}

impl Config {
    fn tempo(&self) -> Result<Tempo, TempoError> {
        self.tempo.as_deref().map_or(Ok(Tempo::ONE), Tempo::read)
    }
}

struct Writer {
    truth: TruthFile,
    written: Written,
    /// Lines that earlier lives of the container had written.
    first: u64,
    /// What is due since this life began.
    pace: Pace,
    buffer: String,
    outputs: Outputs,
    replay: Option<Replay>,
    config: Config,
}

impl Writer {
    /// After how long the next burst is due, if ever. Whoever writes seldom is woken seldom.
    fn next_due(&self) -> Option<Duration> {
        let line = self.written.total() - self.first + u64::from(self.config.burst.max(1));
        self.pace.when(line.min(self.config.lines.unwrap_or(u64::MAX)))
    }

    /// Writes what is due after `elapsed`. Answers whether the last line is written.
    fn catch_up(&mut self, elapsed: Duration) -> Result<bool, GenerateError> {
        let due = self.pace.due(elapsed);
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
        let replayed = self.replay.as_mut().map(Replay::line).transpose()?;
        let drawn = is_for_stderr(self.written.total(), self.config.stderr_percent);
        let drawn = if drawn { Stream::Err } else { Stream::Out };
        let stream = replayed.map_or(drawn, |(stream, _)| stream);
        let counter = match stream {
            Stream::Err => &mut self.written.stderr,
            Stream::Out => &mut self.written.stdout,
        };
        let fields =
            Fields { source: &self.config.source, stream, number: *counter + 1, written_ns: clock::now_ns() };
        self.buffer.clear();
        match replayed {
            Some((_, text)) => line::write_about(&mut self.buffer, &fields, text),
            None => line::write(&mut self.buffer, &fields, self.config.seed, self.config.line_bytes),
        }
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
    use std::pin::pin;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::world::truth::read_all;

    #[test]
    fn each_hundred_lines_have_their_share_on_standard_error_and_it_is_spread() {
        for percent in 0..=100 {
            let chosen: Vec<u64> = (300..400).filter(|before| is_for_stderr(*before, percent)).collect();
            assert_eq!(chosen.len(), usize::try_from(percent).unwrap());
            let widest = chosen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            assert!(widest <= 100_u64.div_ceil(u64::from(percent).max(1)), "{percent}: {chosen:?}");
        }
    }

    /// What goes to an output, shared with who looks at it.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        fn lines(&self) -> Vec<String> {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_generator_that_runs_follows_the_tempo_and_its_lines_stay_numbered_without_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let (truth, stdout, stderr) = (folder.path().join("c01"), Output::default(), Output::default());
        let config = Config {
            source: "c01".to_owned(),
            rate: 100,
            line_bytes: 100,
            burst: 1,
            stderr_percent: 0,
            seed: 1,
            truth,
            lines: None,
            tempo: Some(Tempo::file(folder.path())),
            replay: None,
        };
        let outputs = Outputs { stdout: Box::new(stdout.clone()), stderr: Box::new(stderr) };
        let written = || read_all(folder.path()).unwrap()["c01"].stdout;
        let set = |times| Tempo::times(times).set(folder.path()).unwrap();
        let lines = lines(config, outputs);
        let mut lines = pin!(lines);
        let mut count = 0;
        // How many lines come in ten seconds, once a second to look has passed.
        for (times, least, most) in
            [(1.0, 999, 1001), (0.0, 0, 0), (0.2, 199, 201), (3.0, 2999, 3001), (0.0, 0, 0)]
        {
            set(times);
            for seconds in [2, 10] {
                let end = sleep_until(Instant::now() + Duration::from_secs(seconds));
                tokio::select! { () = end => {}, ended = &mut lines => panic!("{ended:?}") }
                if seconds == 10 {
                    assert!((least..=most).contains(&(written() - count)), "{times}: {}", written() - count);
                }
                count = written();
            }
        }
        let numbers: Vec<u64> = stdout.lines().iter().map(|text| line::parse(text).unwrap().number).collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        std::fs::write(Tempo::file(folder.path()), "fast").unwrap();
        let message = lines.await.unwrap_err().to_string();
        assert!(message.contains("tempo"), "{message}");
    }
}
