//! Which stretches of a run are looked at: a run that was killed and went on has several of each phase.

use super::Case;
use crate::result::{Event, FittedLine};
use crate::run::attribution::Span;

impl Case<'_> {
    /// When it was started again: as planned, and with each segment of the run.
    pub(in crate::run) fn starts_s(&self, target: &str) -> Vec<f64> {
        let starts =
            self.events.iter().filter(|event| event.target == target && event.event == Event::RESTART);
        let segments = self.segments.iter().skip(1).map(|segment| segment.from_s);
        let mut starts: Vec<f64> = starts.map(|event| event.elapsed_s).chain(segments).collect();
        starts.sort_by(f64::total_cmp);
        starts
    }

    /// The stretches of a phase: one for each segment that has come to it.
    pub(super) fn stretches(&self, name: &str) -> impl DoubleEndedIterator<Item = Span> {
        let named = self.phases.iter().filter(move |phase| phase.name == name);
        named.map(|phase| (phase.from_s, phase.to_s))
    }

    /// The last drain and the warm-up before it: of the same processes.
    pub(super) fn around_the_load(&self) -> (Option<Span>, Option<Span>) {
        let drain = self.stretches("drain").next_back();
        let before = drain.map_or(f64::INFINITY, |(from, _)| from);
        (self.stretches("warmup").rev().find(|(from, _)| *from < before), drain)
    }

    pub(super) fn longest_load(&self) -> Option<Span> {
        self.stretches("load").max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)))
    }

    /// From the beginning of a segment to the end of its load: of the one whose load was the longest, as counters begin
    /// anew with each.
    pub(super) fn until_the_load_ends(&self) -> Span {
        let Some((load, end)) = self.longest_load() else { return (0.0, f64::INFINITY) };
        let begun = self.segments.iter().map(|segment| segment.from_s).filter(|from_s| *from_s <= load);
        (begun.fold(0.0, f64::max), end)
    }

    /// The load that was judged.
    pub(super) fn load_of(&self, line: Option<FittedLine>) -> Option<Span> {
        let judged = line
            .and_then(|line| self.stretches("load").find(|(from, to)| (*from..*to).contains(&line.from_s)));
        judged.or_else(|| self.longest_load())
    }
}
