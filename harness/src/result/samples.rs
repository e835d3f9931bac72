//! The samples of a run as they are read back: by target, and of each target by column, a number in as few bytes as it
//! needs. Two days of them fit into memory beside what judges and draws them.

use super::{Resource, Sample};

/// A column of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As in [`Sample`], and so are the others.
    Threads,
    /// Asynchronous tasks.
    Tasks,
    /// Descriptors.
    Fds,
    /// Resident memory.
    RssBytes,
    /// Memory of its control group that can't be given back.
    AnonBytes,
    /// Pushes answered.
    Pushes,
    /// Entries accepted.
    Accepted,
    /// Entries refused.
    Rejected,
    /// Pushes refused.
    RejectedPushes,
    /// Pushes that came again.
    RepeatedPushes,
    /// Connections taken.
    Connections,
    /// Connections open.
    OpenConnections,
    /// Starts of containers.
    Starts,
    /// Restarts of containers.
    Restarts,
    /// Rotations of logs.
    Rotations,
    /// Items in the retry queue.
    Queue,
    /// Requests to the engine.
    DockerRequests,
    /// Lines read.
    LinesRead,
}

impl Count {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Threads,
        Self::Tasks,
        Self::Fds,
        Self::RssBytes,
        Self::AnonBytes,
        Self::Pushes,
        Self::Accepted,
        Self::Rejected,
        Self::RejectedPushes,
        Self::RepeatedPushes,
        Self::Connections,
        Self::OpenConnections,
        Self::Starts,
        Self::Restarts,
        Self::Rotations,
        Self::Queue,
        Self::DockerRequests,
        Self::LinesRead,
    ];

    /// The same column of a sample.
    #[must_use]
    pub fn of(self, sample: &Sample) -> Option<u64> {
        match self {
            Self::Threads => sample.threads,
            Self::Tasks => sample.tasks,
            Self::Fds => sample.fds,
            Self::RssBytes => sample.rss_bytes,
            Self::AnonBytes => sample.anon_bytes,
            Self::Pushes => sample.pushes,
            Self::Accepted => sample.accepted,
            Self::Rejected => sample.rejected,
            Self::RejectedPushes => sample.rejected_pushes,
            Self::RepeatedPushes => sample.repeated_pushes,
            Self::Connections => sample.connections,
            Self::OpenConnections => sample.open_connections,
            Self::Starts => sample.starts,
            Self::Restarts => sample.restarts,
            Self::Rotations => sample.rotations,
            Self::Queue => sample.queue,
            Self::DockerRequests => sample.docker_requests,
            Self::LinesRead => sample.lines_read,
        }
    }
}

impl Resource {
    /// Its column of the samples.
    #[must_use]
    pub fn count(self) -> Count {
        match self {
            Self::Tasks => Count::Tasks,
            Self::Threads => Count::Threads,
            Self::Fds => Count::Fds,
        }
    }
}

/// All samples of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// By name, in the order in which they came.
    series: Vec<(String, Series)>,
    last_s: f64,
}

/// Those of one target, in order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    elapsed_s: Vec<f64>,
    /// As bits, so that they are a column like the others.
    cpu_seconds: Column,
    counts: [Column; Count::ALL.len()],
}

/// One sample of a series.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    series: &'a Series,
    at: usize,
}

/// A column as far as it has numbers: one that nobody fills takes no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Column {
    /// While all of them are small; [`u32::MAX`] where there is none.
    small: Vec<u32>,
    /// From the first large one on, and then all; [`u64::MAX`] where there is none.
    large: Vec<u64>,
}

impl Samples {
    /// Takes one more.
    pub fn push(&mut self, sample: &Sample) {
        self.last_s = sample.elapsed_s;
        let known = self.series.iter().position(|(name, _)| *name == sample.target);
        let place = known.unwrap_or_else(|| {
            self.series.push((sample.target.clone(), Series::default()));
            self.series.len() - 1
        });
        if let Some((_, series)) = self.series.get_mut(place) {
            series.push(sample);
        }
    }

    /// Those of one target; `None` where there are none.
    #[must_use]
    pub fn of(&self, target: &str) -> Option<&Series> {
        self.series.iter().find(|(name, _)| name == target).map(|(_, series)| series)
    }

    /// Those of one target, one by one.
    pub fn moments(&self, target: &str) -> impl Iterator<Item = Moment<'_>> + Clone {
        self.of(target).into_iter().flat_map(Series::moments)
    }

    /// Whether any has such a count.
    #[must_use]
    pub fn any(&self, count: Count) -> bool {
        self.series.iter().any(|(_, series)| {
            series.counts.iter().zip(Count::ALL).any(|(column, of)| of == count && !column.is_empty())
        })
    }

    /// When the last of all was taken; 0 where there is none.
    #[must_use]
    pub fn last_s(&self) -> f64 {
        self.last_s
    }
}

impl FromIterator<Sample> for Samples {
    fn from_iter<T: IntoIterator<Item = Sample>>(samples: T) -> Self {
        let mut all = Self::default();
        samples.into_iter().for_each(|sample| all.push(&sample));
        all
    }
}

impl Series {
    fn push(&mut self, sample: &Sample) {
        let at = self.elapsed_s.len();
        self.elapsed_s.push(sample.elapsed_s);
        self.cpu_seconds.set(at, sample.cpu_seconds.map(f64::to_bits));
        for (column, count) in self.counts.iter_mut().zip(Count::ALL) {
            column.set(at, count.of(sample));
        }
    }

    /// One by one.
    pub fn moments(&self) -> impl Iterator<Item = Moment<'_>> + Clone {
        (0..self.elapsed_s.len()).map(|at| Moment { series: self, at })
    }

    /// The last one up to this time.
    #[must_use]
    pub fn before(&self, elapsed_s: f64) -> Option<Moment<'_>> {
        let place = self.elapsed_s.partition_point(|at| *at <= elapsed_s);
        Some(Moment { series: self, at: place.checked_sub(1)? })
    }
}

impl Moment<'_> {
    /// Seconds since the run's start.
    #[must_use]
    pub fn elapsed_s(self) -> f64 {
        self.series.elapsed_s.get(self.at).copied().unwrap_or_default()
    }

    /// CPU time used, seconds.
    #[must_use]
    pub fn cpu_seconds(self) -> Option<f64> {
        self.series.cpu_seconds.get(self.at).map(f64::from_bits)
    }

    /// A count.
    #[must_use]
    pub fn count(self, count: Count) -> Option<u64> {
        self.series.counts.get(count as usize)?.get(self.at)
    }
}

impl Column {
    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    fn get(&self, at: usize) -> Option<u64> {
        match self.small.get(at) {
            Some(value) => Some(u64::from(*value)).filter(|_| *value != u32::MAX),
            None => self.large.get(at).copied().filter(|value| *value != u64::MAX),
        }
    }

    fn set(&mut self, at: usize, value: Option<u64>) {
        let Some(value) = value else { return };
        match u32::try_from(value) {
            Ok(value) if value < u32::MAX && self.large.is_empty() => {
                self.small.resize(at, u32::MAX);
                self.small.push(value);
            }
            _ => {
                let widened = |small: u32| if small == u32::MAX { u64::MAX } else { u64::from(small) };
                self.large.extend(std::mem::take(&mut self.small).into_iter().map(widened));
                self.large.resize(at, u64::MAX);
                self.large.push(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_back_small_large_or_none() {
        let counts = [
            Some(3),
            None,
            Some(u64::from(u32::MAX) - 1),
            None,
            Some(u64::from(u32::MAX)),
            Some(0),
            Some(1 << 40),
            None,
        ];
        let row = |(second, count): (u32, Option<u64>)| Sample {
            fds: count,
            rss_bytes: count.map(|count| count * 7),
            cpu_seconds: count.map(|count| count as f64 / 100.0),
            ..Sample::unread(f64::from(second), "a")
        };
        let samples: Samples = (0..).zip(counts).map(row).collect();
        let back: Vec<_> = samples.moments("a").map(|moment| moment.count(Count::Fds)).collect();
        assert_eq!(back, counts);
        for (moment, count) in samples.moments("a").zip(counts) {
            assert_eq!(moment.count(Count::RssBytes), count.map(|count| count * 7));
            assert_eq!(moment.cpu_seconds(), count.map(|count| count as f64 / 100.0));
            assert_eq!(moment.count(Count::Tasks), None);
        }
        assert!(samples.any(Count::Fds) && !samples.any(Count::Tasks));
        assert_eq!(samples.of("a").unwrap().counts[Count::Tasks as usize], Column::default());
    }

    #[test]
    fn each_target_has_its_own_and_the_last_moment_is_that_of_all() {
        let rows = [(0.0, "a"), (0.0, "b"), (1.0, "a"), (1.5, "b")];
        let samples: Samples = rows.into_iter().map(|(at, name)| Sample::unread(at, name)).collect();
        let moments = |name| samples.moments(name).map(Moment::elapsed_s).collect::<Vec<_>>();
        assert_eq!((moments("a"), moments("b"), moments("c")), (vec![0.0, 1.0], vec![0.0, 1.5], vec![]));
        assert!((samples.last_s() - 1.5).abs() < 1e-9);
        let a = samples.of("a").unwrap();
        assert_eq!(a.before(0.9).map(Moment::elapsed_s), Some(0.0));
        assert!(a.before(-0.1).is_none());
    }

    #[test]
    fn the_columns_stand_in_the_order_in_which_they_are_numbered() {
        assert!(Count::ALL.into_iter().enumerate().all(|(place, count)| place == count as usize));
    }
}
