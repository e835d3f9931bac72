//! What of a target is set against another run's: growth, throughput, latency, cost, lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Resource;

/// A figure that two runs, or a hundred nights, have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Growth of tasks, per minute.
    TasksGrowth,
    /// Growth of threads, per minute.
    ThreadsGrowth,
    /// Growth of file descriptors, per minute.
    FdsGrowth,
    /// Lines that the sink accepted under load, per second.
    LinesPerSecond,
    /// Half of the lines took no longer, seconds.
    LatencyP50,
    /// 99 of 100 lines took no longer, seconds.
    LatencyP99,
    /// CPU seconds under load for a million lines that the sink accepted.
    CpuPerMillionLines,
    /// The most resident memory, bytes.
    RssMax,
    /// Lines that nobody accounts for.
    Lost,
    /// Lines stored not as they were written.
    Altered,
    /// Lines stored again.
    Duplicated,
    /// Ends of the process that nobody asked for.
    Crashes,
}

/// What measures have in common: how they are said, and what of a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Counts per minute.
    Growth,
    /// Lines per second.
    Throughput,
    /// Seconds.
    Latency,
    /// CPU seconds per million lines.
    Cpu,
    /// Bytes.
    Memory,
    /// Lines that must not be: each of them counts.
    Lines,
    /// Lines that are there twice.
    Duplicates,
    /// Crashes: each of them counts.
    Crashes,
}

impl Measure {
    /// All of them, in the order in which reports show them.
    pub const ALL: [Self; 12] = [
        Self::TasksGrowth,
        Self::ThreadsGrowth,
        Self::FdsGrowth,
        Self::LinesPerSecond,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::CpuPerMillionLines,
        Self::RssMax,
        Self::Lost,
        Self::Altered,
        Self::Duplicated,
        Self::Crashes,
    ];

    /// The growth of a resource.
    #[must_use]
    pub fn growth(resource: Resource) -> Self {
        match resource {
            Resource::Tasks => Self::TasksGrowth,
            Resource::Threads => Self::ThreadsGrowth,
            Resource::Fds => Self::FdsGrowth,
        }
    }

    /// Its key in files and on the command line.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::TasksGrowth => "tasks_growth",
            Self::ThreadsGrowth => "threads_growth",
            Self::FdsGrowth => "fds_growth",
            Self::LinesPerSecond => "lines_per_second",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP99 => "latency_p99",
            Self::CpuPerMillionLines => "cpu_per_million_lines",
            Self::RssMax => "rss_max",
            Self::Lost => "lost",
            Self::Altered => "altered",
            Self::Duplicated => "duplicated",
            Self::Crashes => "crashes",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::TasksGrowth => "Growth of tasks",
            Self::ThreadsGrowth => "Growth of threads",
            Self::FdsGrowth => "Growth of file descriptors",
            Self::LinesPerSecond => "Lines delivered",
            Self::LatencyP50 => "Latency, half of the lines",
            Self::LatencyP99 => "Latency, 99 % of the lines",
            Self::CpuPerMillionLines => "CPU for a million lines",
            Self::RssMax => "Memory at most",
            Self::Lost => "Lines lost",
            Self::Altered => "Lines altered",
            Self::Duplicated => "Lines duplicated",
            Self::Crashes => "Crashes",
        }
    }

    /// Its sort.
    #[must_use]
    pub fn sort(self) -> Sort {
        match self {
            Self::TasksGrowth | Self::ThreadsGrowth | Self::FdsGrowth => Sort::Growth,
            Self::LinesPerSecond => Sort::Throughput,
            Self::LatencyP50 | Self::LatencyP99 => Sort::Latency,
            Self::CpuPerMillionLines => Sort::Cpu,
            Self::RssMax => Sort::Memory,
            Self::Lost | Self::Altered => Sort::Lines,
            Self::Duplicated => Sort::Duplicates,
            Self::Crashes => Sort::Crashes,
        }
    }

    /// Whether less of it is worse.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        self == Self::LinesPerSecond
    }

    /// Whether it depends on how fast the machine is, and not on the program and its load alone.
    #[must_use]
    pub fn is_of_the_machine(self) -> bool {
        matches!(self.sort(), Sort::Latency | Sort::Cpu | Sort::Memory | Sort::Throughput)
    }
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Growth,
        Self::Throughput,
        Self::Latency,
        Self::Cpu,
        Self::Memory,
        Self::Lines,
        Self::Duplicates,
        Self::Crashes,
    ];

    /// Its key in files and on the command line.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Growth => "growth",
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Lines => "lines",
            Self::Duplicates => "duplicates",
            Self::Crashes => "crashes",
        }
    }

    /// Whether each one counts: there is no difference in it that is too small to matter.
    #[must_use]
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Lines | Self::Crashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_files_have() {
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.key());
        }
        for sort in Sort::ALL {
            assert_eq!(serde_json::to_value(sort).unwrap(), sort.key());
        }
    }
}
