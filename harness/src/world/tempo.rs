//! How fast generators write: a rate, and a number in a file by which it is multiplied while they run.
//!
//! The file lies beside their counters. It is replaced whole, so whoever reads it sees one number or another, and none
//! that is half written. Where it is not there, nothing is multiplied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name: no source's, which begin with a letter.
const NAME: &str = ".tempo";
const NEW: &str = ".tempo.new";

/// By how much a rate is multiplied, in millionths: what is due is then counted in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo(u32);

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't use the generators' tempo in {path}: {source}")]
pub struct TempoError {
    path: PathBuf,
    source: io::Error,
}

impl Tempo {
    /// As ever.
    pub const ONE: Self = Self(1_000_000);

    /// So many times, which is at least 0 and at most some thousands.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates"
    )]
    pub fn times(times: f64) -> Self {
        Self((times * 1e6).round() as u32)
    }

    /// Where it is kept in the folder of the counters.
    #[must_use]
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Makes it the one that holds from now on.
    ///
    /// # Errors
    /// [`TempoError`] where the folder can't be written.
    pub fn set(self, folder: &Path) -> Result<(), TempoError> {
        let (new, path) = (folder.join(NEW), Self::file(folder));
        let written = fs::write(&new, self.0.to_string()).and_then(|()| fs::rename(&new, &path));
        written.map_err(|source| TempoError { path, source })
    }

    /// Reads which one holds.
    ///
    /// # Errors
    /// [`TempoError`] where there is one that can't be read, or that is none.
    pub fn read(path: &Path) -> Result<Self, TempoError> {
        let failed = |source| TempoError { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) => text.parse().map(Self).map_err(|why| failed(io::Error::other(why))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::ONE),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Lines in 10^12ths: microseconds by millionths.
const LINE: u128 = 1_000_000_000_000;

/// How many lines are due: pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Lines a second.
    rate: u32,
    tempo: Tempo,
    /// Since when it holds.
    since: Duration,
    /// What was due then.
    before: u128,
}

impl Pace {
    pub(super) fn new(rate: u32, tempo: Tempo) -> Self {
        Self { rate, tempo, since: Duration::ZERO, before: 0 }
    }

    /// Another tempo from that moment on; what is due by then stays due.
    pub(super) fn change(&mut self, elapsed: Duration, tempo: Tempo) {
        if tempo != self.tempo {
            *self = Self { before: self.parts(elapsed), since: elapsed, tempo, ..*self };
        }
    }

    /// How many lines are due.
    pub(super) fn due(&self, elapsed: Duration) -> u64 {
        u64::try_from(self.parts(elapsed) / LINE).unwrap_or(u64::MAX)
    }

    /// When so many are due; `None` for never at this tempo.
    pub(super) fn when(&self, lines: u64) -> Option<Duration> {
        let left = (u128::from(lines) * LINE).saturating_sub(self.before);
        let speed = self.speed();
        if left == 0 {
            return Some(self.since);
        }
        let micros = (speed > 0).then(|| left.div_ceil(speed))?;
        Some(self.since.saturating_add(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))))
    }

    fn parts(&self, elapsed: Duration) -> u128 {
        self.before + elapsed.saturating_sub(self.since).as_micros() * self.speed()
    }

    fn speed(&self) -> u128 {
        u128::from(self.rate) * u128::from(self.tempo.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_due_follows_the_rate_and_stays_due_when_it_changes() {
        let mut pace = Pace::new(10, Tempo::ONE);
        assert_eq!([0, 99, 100, 1000, 3_600_000].map(|at| pace.due(millis(at))), [0, 0, 1, 10, 36_000]);
        assert_eq!(pace.when(1), Some(millis(100)));
        pace.change(millis(1050), Tempo::times(0.0));
        assert_eq!((pace.due(millis(9000)), pace.when(10)), (10, Some(millis(1050))), "due, and late");
        assert_eq!(pace.when(11), None, "never while it is idle");
        pace.change(millis(2050), Tempo::times(2.0));
        assert_eq!(pace.when(11), Some(millis(2075)), "half a line was due before");
        assert_eq!([2074, 2075, 3075].map(|at| pace.due(millis(at))), [10, 11, 31]);
        pace.change(millis(3075), Tempo::times(0.001));
        assert_eq!(pace.when(32), Some(millis(103_075)));
        assert_eq!(pace.due(millis(103_075)), 32);
    }

    #[test]
    fn the_times_of_what_is_due_are_those_at_which_it_is() {
        for (rate, times) in [(1, 1.0), (7, 0.3), (333, 1.7), (1_000_000, 1000.0)] {
            let mut pace = Pace::new(rate, Tempo::times(times));
            pace.change(millis(777), Tempo::times(times / 3.0));
            for lines in [1, 5, 1000, 123_456] {
                let when = pace.when(lines).unwrap().max(millis(777));
                assert!(pace.due(when) >= lines, "{rate} {times} {lines}");
                let before = when.saturating_sub(Duration::from_micros(1));
                assert!(when == millis(777) || pace.due(before) < lines, "{rate} {times} {lines}");
            }
        }
    }

    #[test]
    fn a_tempo_reads_as_it_was_set_and_without_one_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = Tempo::file(folder.path());
        assert_eq!(Tempo::read(&path).unwrap(), Tempo::ONE);
        for times in [0.0, 0.2, 1000.0] {
            Tempo::times(times).set(folder.path()).unwrap();
            assert_eq!(Tempo::read(&path).unwrap(), Tempo::times(times));
        }
        fs::write(&path, "fast").unwrap();
        let message = Tempo::read(&path).unwrap_err().to_string();
        assert!(message.contains(".tempo") && message.contains("invalid digit"), "{message}");
        assert!(Tempo::ONE.set(Path::new("/nowhere")).is_err());
    }
}
