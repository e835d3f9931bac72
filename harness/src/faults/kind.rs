//! What can go wrong: in the sinks, in the lines on their way to them, and in the world around the targets.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::units::{Offset, Span};

/// What goes wrong. Pushes that meet one of the first four are not stored.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An answer with this status: 401, 413, 429, 500, 503, 260 and others. No success: `tamper` is for that.
    Status(Status),
    /// No answer at all.
    Hang,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is closed for writing instead of an answer.
    HalfClose,
    /// Nobody listens, and open connections are cut.
    Outage,
    /// Answers come late, each after a time of its own.
    Slow(Slow),
    /// Answers with a text come byte by byte, with this pause before each.
    SlowBody(Span),
    /// `reject_old_samples_max_age` of all tenants is this meanwhile.
    Window(Span),
    /// Lines that are in time are refused as too old.
    Reject(Reject),
    /// The clock by which lines are timed is off by this: to the sink each line is so much newer (or, with a minus,
    /// older) than it is.
    ClockStep(Offset),
    /// Lines are withheld, doubled, altered or put out of order on their way, behind the shipper's back and with a
    /// good answer: what an audit must find.
    Tamper(Tamper),
    /// Every container is frozen (`docker pause`).
    Pause,
    /// Every container is frozen, and at the end, before it goes on, its log file is emptied in place, as by
    /// `truncate -s 0`. The time between is for the targets to read what stood there: nobody gets it back.
    Truncate,
    /// The file system of each target's state folder has not a byte left.
    DiskFull,
    /// The Docker Engine is stopped, and started again. The containers live on meanwhile (`live-restore`). The run
    /// has an engine of its own then.
    DockerRestart,
    /// Every target is killed (SIGKILL), and started again on its state folder.
    Kill,
}

/// Those of the faults that happen around the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// [`Fault::Pause`].
    Pause,
    /// [`Fault::Truncate`].
    Truncate,
    /// [`Fault::DiskFull`].
    DiskFull,
    /// [`Fault::DockerRestart`].
    DockerRestart,
    /// [`Fault::Kill`].
    Kill,
}

/// Answers with a status.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The status.
    pub code: u16,
    /// The header `Retry-After`, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
    /// Which part of the pushes meets it, 0 to 1.
    #[serde(default = "all")]
    pub share: f64,
}

/// Slow answers: a log-normal distribution of times.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// Half of the answers take at most this.
    pub p50: Span,
    /// 99 of 100 take at most this.
    pub p99: Span,
}

/// Lines that are refused.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which part, 0 to 1.
    pub share: f64,
    /// A part of what.
    pub of: Of,
}

/// What is refused together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Each line by itself.
    Entries,
    /// All lines of a stream.
    Streams,
    /// All lines of a push.
    Batches,
}

/// Lines that are tampered with.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tamper {
    /// Which part of the lines, 0 to 1.
    pub share: f64,
    /// What is done to them.
    pub how: How,
}

/// What is done to a line on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It does not arrive.
    Withhold,
    /// It arrives twice.
    Double,
    /// A letter of it is another one.
    Alter,
    /// It changes places with the next one of its stream.
    Reorder,
}

fn all() -> f64 {
    1.0
}

impl Fault {
    /// What happens around the targets, where it does not happen in their sinks.
    #[must_use]
    pub fn of_the_world(&self) -> Option<World> {
        match self {
            Self::Pause => Some(World::Pause),
            Self::Truncate => Some(World::Truncate),
            Self::DiskFull => Some(World::DiskFull),
            Self::DockerRestart => Some(World::DockerRestart),
            Self::Kill => Some(World::Kill),
            Self::Status(_)
            | Self::Hang
            | Self::Reset
            | Self::HalfClose
            | Self::Outage
            | Self::Slow(_)
            | Self::SlowBody(_)
            | Self::Window(_)
            | Self::Reject(_)
            | Self::ClockStep(_)
            | Self::Tamper(_) => None,
        }
    }

    /// What makes no sense, with its field.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let mut mistakes = Vec::new();
        match self {
            Self::Status(status) => {
                if !(200..=599).contains(&status.code) {
                    mistakes.push(("fault.status.code", "200 to 599".to_owned()));
                }
                // 260 is how Loki tells that it has blocked a tenant; what is in a push is not stored then.
                if (200..=299).contains(&status.code) && status.code != 260 {
                    let instead = "it says that lines are stored which are not, and the shipper can't know; to lose \
                        lines behind its back write `tamper: {share: 1, how: withhold}`";
                    mistakes.push(("fault.status.code", instead.to_owned()));
                }
                if status.retry_after.is_some_and(|after| after.0.subsec_nanos() > 0 || after.0.is_zero()) {
                    let whole = "whole seconds, at least 1s: the header has no others".to_owned();
                    mistakes.push(("fault.status.retry_after", whole));
                }
                if !is_share(status.share) {
                    mistakes.push(("fault.status.share", "0 to 1".to_owned()));
                }
            }
            Self::Slow(slow) if slow.p50.0.is_zero() || slow.p99.0 < slow.p50.0 => {
                mistakes.push(("fault.slow", "p50 above zero, and p99 no less".to_owned()));
            }
            Self::Window(max_age) if max_age.0.is_zero() => {
                mistakes.push(("fault.window", "above zero".to_owned()));
            }
            Self::Reject(reject) if !is_share(reject.share) => {
                mistakes.push(("fault.reject.share", "0 to 1".to_owned()));
            }
            Self::Tamper(tamper) if !is_share(tamper.share) => {
                mistakes.push(("fault.tamper.share", "0 to 1".to_owned()));
            }
            Self::ClockStep(by) if by.0.unsigned_abs() > CLOCK_STEP_MAX => {
                mistakes.push(("fault.clock_step", format!("at most {} either way", Span(CLOCK_STEP_MAX))));
            }
            Self::Hang
            | Self::Reset
            | Self::HalfClose
            | Self::Outage
            | Self::Slow(_)
            | Self::SlowBody(_)
            | Self::Window(_)
            | Self::Reject(_)
            | Self::ClockStep(_)
            | Self::Tamper(_)
            | Self::Pause
            | Self::Truncate
            | Self::DiskFull
            | Self::DockerRestart
            | Self::Kill => {}
        }
        mistakes
    }

    /// In a few words, for events and plots.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Status(Status { code, retry_after, share }) => {
                let after = retry_after.map_or_else(String::new, |after| format!(", Retry-After {after}"));
                let part =
                    if *share < 1.0 { format!(" for {} of pushes", percent(*share)) } else { String::new() };
                format!("{code}{after}{part}")
            }
            Self::Hang => "no answer".to_owned(),
            Self::Reset => "connections reset".to_owned(),
            Self::HalfClose => "connections half closed".to_owned(),
            Self::Outage => "outage".to_owned(),
            Self::Slow(Slow { p50, p99 }) => format!("slow answers, p50 {p50}, p99 {p99}"),
            Self::SlowBody(every) => format!("slow bodies, a byte each {every}"),
            Self::Window(max_age) => format!("window of {max_age}"),
            Self::Reject(Reject { share, of }) => {
                let of = match of {
                    Of::Entries => "entries",
                    Of::Streams => "streams",
                    Of::Batches => "batches",
                };
                format!("{} of {of} refused as too old", percent(*share))
            }
            Self::ClockStep(by) => {
                let way = if by.0.is_negative() { "behind" } else { "ahead" };
                format!("clock {} {way}", Span(by.0.unsigned_abs()))
            }
            Self::Tamper(Tamper { share, how }) => {
                let how = match how {
                    How::Withhold => "withheld",
                    How::Double => "doubled",
                    How::Alter => "altered",
                    How::Reorder => "put out of order",
                };
                format!("{} of lines {how}", percent(*share))
            }
            Self::Pause => "containers paused".to_owned(),
            Self::Truncate => "logs emptied in place".to_owned(),
            Self::DiskFull => "no space for the targets' state".to_owned(),
            Self::DockerRestart => "Docker Engine down".to_owned(),
            Self::Kill => "targets killed".to_owned(),
        }
    }
}

/// Longer than any window of a Loki.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

impl Slow {
    /// The time at this quantile (0 to below 1).
    #[must_use]
    pub fn at(&self, quantile: f64) -> Duration {
        let normal = Normal::standard();
        let [p50, p99] = [self.p50, self.p99].map(|span| span.as_secs_f64().ln());
        let spread = (p99 - p50) / normal.inverse_cdf(0.99);
        let z = normal.inverse_cdf(quantile.clamp(1e-6, 1.0 - 1e-6));
        Duration::try_from_secs_f64((p50 + spread * z).exp()).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(yaml: &str) -> Vec<&'static str> {
        let fault: Fault = serde_saphyr::from_str(yaml).unwrap();
        fault.mistakes().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn a_success_that_stores_nothing_is_refused_with_what_to_write_instead() {
        for code in [200, 204, 206, 299] {
            let fault: Fault = serde_saphyr::from_str(&format!("{{status: {{code: {code}}}}}")).unwrap();
            let mistakes = fault.mistakes();
            assert!(mistakes[0].1.contains("tamper: {share: 1, how: withhold}"), "{mistakes:?}");
        }
        for code in [260, 301, 400, 429, 599] {
            assert_eq!(fields(&format!("{{status: {{code: {code}}}}}")), [""; 0], "{code}");
        }
        assert_eq!(fields("{status: {code: 199}}"), ["fault.status.code"]);
    }

    #[test]
    fn a_retry_after_that_the_header_can_not_say_is_refused() {
        for after in ["1ms", "0s", "1s 1ms"] {
            let yaml = format!("{{status: {{code: 429, retry_after: {after}}}}}");
            assert_eq!(fields(&yaml), ["fault.status.retry_after"], "{after}");
        }
        assert_eq!(fields("{status: {code: 429, retry_after: 2m}}"), [""; 0]);
    }

    #[test]
    fn slow_answers_have_the_quantiles_that_were_asked_for() {
        let slow = Slow { p50: Span(Duration::from_millis(100)), p99: Span::secs(2) };
        for (quantile, seconds) in [(0.5, 0.1), (0.99, 2.0)] {
            assert!((slow.at(quantile).as_secs_f64() - seconds).abs() < 1e-6);
        }
    }
}
