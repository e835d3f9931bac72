//! What of a watched process is judged: the columns of its samples, each with its limit, its growth so far, and when it
//! is called a leak. Pure.

use std::collections::BTreeMap;

use crate::growth::Point;
use crate::growth::thinned::Thinned;
use crate::growth::verdict::{Explained, LIMIT_PER_MIN, Settings, Watch};
use crate::result::{Resource, Sample};
use crate::run::analyze::Question;
use crate::run::judge;

/// Memory that stays: the kernel counts it in pages.
pub(super) const RSS: &str = "rss_bytes";
/// Inotify watches, counted where descriptors are listed: no column of the samples.
pub(super) const WATCHES: &str = "watches";
/// Processor time used so far.
const CPU: &str = "cpu_seconds";

/// A limit or a bound on something that is not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// No such column.
    #[error("there is no column `{0}`: tasks, threads, fds, {WATCHES}, {RSS} and {CPU} can be judged")]
    Unknown(String),
    /// Tasks are not seen from outside.
    #[error("tasks are counted by the process itself: say where with --metrics URL")]
    NoPage,
    /// A bound alone.
    #[error("`{0}` has a bound but no limit, so it is not judged: add --limit {0}=2")]
    NoLimit(String),
}

/// One count in a sample; `None` where it could not be read.
fn count(sample: &Sample, column: &str) -> Option<f64> {
    let resource = Resource::ALL.into_iter().find(|resource| resource.key() == column);
    match (resource, column) {
        (Some(resource), _) => judge::count(sample, resource),
        (None, RSS) => sample.rss_bytes.map(|bytes| bytes as f64),
        (None, CPU) => sample.cpu_seconds,
        (None, _) => None,
    }
}

/// The columns to judge with their limits: those that are asked for, or else what there is of threads, descriptors, tasks
/// and inotify watches, by the post-mortem's bar.
///
/// # Errors
/// [`ColumnError`] for a limit or a bound that can't be kept.
pub(super) fn limits(question: &Question, has_tasks: bool) -> Result<BTreeMap<String, f64>, ColumnError> {
    let known = |name: &&String| {
        Resource::ALL.map(Resource::key).contains(&name.as_str())
            || [WATCHES, RSS, CPU].contains(&name.as_str())
    };
    let tasks = Resource::Tasks.key();
    let mut asked = question.limits.keys().chain(question.bounds.keys());
    if let Some(unknown) = asked.clone().find(|name| !known(name)) {
        return Err(ColumnError::Unknown(unknown.clone()));
    }
    if !has_tasks && asked.any(|name| name == tasks) {
        return Err(ColumnError::NoPage);
    }
    let mut limits = question.limits.clone();
    if limits.is_empty() {
        let counted = Resource::ALL.map(Resource::key).into_iter().filter(|key| has_tasks || *key != tasks);
        limits = counted.chain([WATCHES]).map(|key| (key.to_owned(), LIMIT_PER_MIN)).collect();
    }
    match question.bounds.keys().find(|name| !limits.contains_key(*name)) {
        Some(unjudged) => Err(ColumnError::NoLimit(unjudged.clone())),
        None => Ok(limits),
    }
}

/// One of them as it grows.
#[derive(Debug)]
struct Column {
    name: String,
    limit_per_min: f64,
    bound: Option<f64>,
    shown: Thinned,
    now: Option<f64>,
    watch: Option<Watch>,
}

/// All of them, in bounded memory however long it goes on.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    /// Looks out for leaks in those that have a bound, if it is to.
    pub(super) fn new(limits: &BTreeMap<String, f64>, question: &Question, fail_fast: bool) -> Self {
        let column = |(name, limit): (&String, &f64)| {
            let bound = question.bounds.get(name).copied();
            let settings = |rise| Settings {
                warmup: question.warmup,
                explained: Explained::Declared(rise),
                ..Settings::by_limit(*limit)
            };
            let watch = bound.filter(|_| fail_fast).and_then(|rise| Watch::new(&settings(rise)));
            let shown = Thinned::new(judge::SHOWN_MAX);
            Column { name: name.clone(), limit_per_min: *limit, bound, shown, now: None, watch }
        };
        Self(limits.iter().filter(|(name, _)| *name != WATCHES).map(column).collect())
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|column| column.name.clone()).collect()
    }

    /// Those that can't end it early.
    pub(super) fn unwatched(&self) -> Vec<String> {
        let without = self.0.iter().filter(|column| column.watch.is_none());
        without.map(|column| column.name.clone()).collect()
    }

    /// Takes a sample. Answers which leak is called with it, if one is.
    pub(super) fn see(&mut self, sample: &Sample) -> Option<String> {
        let calls: Vec<String> = self.0.iter_mut().filter_map(|column| column.see(sample)).collect();
        (!calls.is_empty()).then(|| calls.join("; "))
    }

    /// The process was started again: its counts begin anew.
    pub(super) fn begin_again(&mut self) {
        for column in &mut self.0 {
            column.shown = Thinned::new(judge::SHOWN_MAX);
            column.watch.iter_mut().for_each(Watch::begin_again);
        }
    }

    /// Each in few words, in order: the count and its growth so far.
    pub(super) fn said(&self) -> Vec<String> {
        let said = |column: &Column| {
            let now = column.now.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}"));
            let growth = judge::live(column.shown.points(), column.limit_per_min);
            format!("{now:>10}   {}", growth.as_deref().unwrap_or("…"))
        };
        self.0.iter().map(said).collect()
    }
}

impl Column {
    fn see(&mut self, sample: &Sample) -> Option<String> {
        self.now = count(sample, &self.name);
        let point = Point { elapsed_s: sample.elapsed_s, count: self.now? };
        self.shown.push(point);
        let is_called = self.watch.as_mut()?.push(point);
        is_called.then(|| {
            format!(
                "{} grow faster than {} per minute, up to {:.0}, and the bound explains {}",
                self.name,
                self.limit_per_min,
                point.count,
                self.bound.unwrap_or_default()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::warmup::Warmup;
    use crate::run::analyze::Known;

    fn question(limits: &[(&str, f64)], bounds: &[(&str, f64)]) -> Question {
        let map = |pairs: &[(&str, f64)]| pairs.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
        let warmup = Warmup::AtLeast { seconds: 0.0 };
        Question { limits: map(limits), bounds: map(bounds), warmup, known: Known::default() }
    }

    fn sample(second: u32, fds: Option<u64>) -> Sample {
        Sample {
            threads: Some(4),
            fds,
            rss_bytes: Some(8192),
            cpu_seconds: Some(0.5),
            ..Sample::unread(f64::from(second), "t")
        }
    }

    fn columns(question: &Question, fail_fast: bool) -> Columns {
        Columns::new(&limits(question, false).unwrap(), question, fail_fast)
    }

    #[test]
    fn what_is_there_is_judged_unless_something_is_asked_for() {
        let names = |question: &Question, has_tasks| -> Vec<String> {
            limits(question, has_tasks).unwrap().into_keys().collect()
        };
        assert_eq!(names(&question(&[], &[]), false), ["fds", "threads", "watches"]);
        assert_eq!(names(&question(&[], &[("fds", 9.0)]), true), ["fds", "tasks", "threads", "watches"]);
        assert_eq!(names(&question(&[("rss_bytes", 1e6)], &[]), false), ["rss_bytes"]);
    }

    #[test]
    fn what_can_not_be_judged_is_refused_with_what_to_do() {
        let refused = |limits_of, bounds_of| limits(&question(limits_of, bounds_of), false).unwrap_err();
        assert_eq!(refused(&[("disk", 2.0)], &[]), ColumnError::Unknown("disk".into()));
        assert_eq!(refused(&[], &[("disk", 2.0)]), ColumnError::Unknown("disk".into()));
        assert_eq!(refused(&[("tasks", 2.0)], &[]), ColumnError::NoPage);
        assert_eq!(refused(&[("threads", 2.0)], &[("fds", 5.0)]), ColumnError::NoLimit("fds".into()));
    }

    #[test]
    fn a_leak_is_called_once_it_is_past_its_bound_and_not_without_one() {
        let leak = |columns: &mut Columns| {
            (0..600).find_map(|second| columns.see(&sample(second, Some(20 + u64::from(second) * 43 / 60))))
        };
        let bounded = question(&[], &[("fds", 24.0)]);
        let mut called = columns(&bounded, true);
        assert_eq!(called.unwatched(), ["threads"]);
        let because = leak(&mut called).unwrap();
        assert!(because.starts_with("fds grow faster than 2 per minute, up to "), "{because}");
        assert_eq!(leak(&mut columns(&bounded, false)), None, "nobody asked");
        assert_eq!(leak(&mut columns(&question(&[], &[]), true)), None, "no bound");
    }

    #[test]
    fn each_life_is_called_by_itself() {
        let called = |again_every: u64| {
            let mut columns = columns(&question(&[], &[("fds", 24.0)]), true);
            (0..600).find(|second| {
                if second % again_every == 0 {
                    columns.begin_again();
                }
                let at = u32::try_from(*second).unwrap();
                columns.see(&sample(at, Some(20 + second * 10 / 60))).is_some()
            })
        };
        assert_eq!(called(120), None, "in no life it rises by more than its bound");
        assert!(called(600).is_some(), "as one it does");
    }

    #[test]
    fn what_is_seen_is_said_and_what_is_not_is_not() {
        let mut columns = columns(&question(&[("fds", 2.0), ("rss_bytes", 1e6)], &[]), false);
        columns.see(&sample(0, None));
        assert_eq!(columns.said(), ["         –   …", "      8192   …"]);
        for second in 1..60 {
            columns.see(&sample(second, Some(20 + u64::from(second))));
        }
        let said = columns.said();
        assert!(said[0].contains("79   ✗ +60.0/min") && said[1].contains("8192   ✓ +0.0/min"), "{said:?}");
    }
}
