//! Which stretches of a run are looked at: a run that was killed and went on has several of each phase.

use super::Case;
use crate::result::{Event, FittedLine};
use crate::run::attribution::Span;

impl Case<'_> {
    /// When it was started again: as planned, and with each segment of the run. A machine that slept ends what was before
    /// as well: connections are gone by then, and much that waited is due at once.
    pub(in crate::run) fn starts_s(&self, target: &str) -> Vec<f64> {
        let starts = self.events.iter().filter(|event| {
            (event.target == target && event.event == Event::RESTART) || event.event == Event::SLEEP
        });
        let segments = self.segments.iter().skip(1).map(|segment| segment.from_s);
        let mut starts: Vec<f64> = starts.map(|event| event.elapsed_s).chain(segments).collect();
        starts.sort_by(f64::total_cmp);
        starts
    }

    /// The stretches of a phase: one for each segment that has come to it.
    pub(in crate::run) fn stretches(&self, name: &str) -> impl DoubleEndedIterator<Item = Span> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::result::{Listings, Manifest, Phase, Samples, Segment};

    fn phase(name: &str, from_s: f64, to_s: f64) -> Phase {
        Phase { name: name.to_owned(), from_s, to_s }
    }

    fn event(elapsed_s: f64, target: &str, event: &str) -> Event {
        Event { elapsed_s, target: target.to_owned(), event: event.to_owned(), detail: String::new() }
    }

    fn segment(from_s: f64) -> Segment {
        Segment {
            run_id: String::new(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            boot_id: String::new(),
            boot_s: 0.0,
            from_s,
            to_s: from_s,
            ended: Manifest::RUNNING.to_owned(),
        }
    }

    #[test]
    fn of_a_run_that_was_killed_what_belongs_together_is_looked_at_together() {
        let phases = [
            phase("warmup", 5.0, 10.0),
            phase("load", 10.0, 30.0),
            phase(Phase::GAP, 30.0, 50.0),
            phase("warmup", 55.0, 60.0),
            phase("load", 60.0, 160.0),
            phase("drain", 160.0, 162.0),
            phase(Phase::GAP, 162.0, 170.0),
            phase("warmup", 175.0, 180.0),
            phase("drain", 180.0, 188.0),
        ];
        let segments = [segment(0.0), segment(50.0), segment(170.0)];
        let events = [
            event(70.0, "a", Event::RESTART),
            event(80.0, "b", Event::RESTART),
            event(90.0, "", Event::SLEEP),
        ];
        let (samples, kinds, limits) = (Samples::default(), Listings::default(), BTreeMap::new());
        let case = Case {
            samples: &samples,
            events: &events,
            kinds: &kinds,
            phases: &phases,
            segments: &segments,
            limits: &limits,
            cut_short: false,
            stopped_early: None,
            missing: &[],
        };
        assert_eq!(case.starts_s("a"), [50.0, 70.0, 90.0, 170.0]);
        assert_eq!(case.around_the_load(), (Some((175.0, 180.0)), Some((180.0, 188.0))));
        assert_eq!(case.longest_load(), Some((60.0, 160.0)));
        assert_eq!(case.until_the_load_ends(), (50.0, 160.0));
        let line = |from_s| Some(FittedLine { from_s, to_s: 29.0, from_count: 0.0, to_count: 0.0 });
        assert_eq!(case.load_of(line(12.0)), Some((10.0, 30.0)));
        assert_eq!(
            (case.load_of(line(99.0)), case.load_of(None)),
            (Some((60.0, 160.0)), Some((60.0, 160.0)))
        );
        let cut = Case { phases: &phases[..7], ..case };
        assert_eq!(cut.around_the_load(), (Some((55.0, 60.0)), Some((160.0, 162.0))));
    }
}
