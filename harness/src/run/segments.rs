//! A run that was killed and goes on, on one axis of time: pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::result::{Event, Manifest, Phase, Segment, Unaccounted};

/// How a segment ended of which nobody has written down an end.
const KILLED: &str = "killed";
/// The same where the machine was started again since.
const RESTARTED: &str = "machine restarted";

/// The moment at which a run begins or goes on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Now {
    /// By the wall clock.
    pub(super) wall: Timestamp,
    /// Which life of the machine.
    pub(super) boot_id: String,
    /// Since that began.
    pub(super) boot_s: f64,
}

impl Now {
    /// A segment that begins at this moment.
    pub(super) fn segment(&self, run_id: &str, from_s: f64) -> Segment {
        Segment {
            run_id: run_id.to_owned(),
            started_at: Timestamp::from_second(self.wall.as_second()).unwrap_or(self.wall),
            boot_id: self.boot_id.clone(),
            boot_s: self.boot_s,
            from_s,
            to_s: from_s,
            ended: Manifest::RUNNING.to_owned(),
        }
    }
}

/// How long nobody has looked, after the last row at `last_s`. By the machine's own clock as long as it was not started
/// again, else by the wall clock; none where that runs backwards.
pub(super) fn gap_s(segment: &Segment, last_s: f64, now: &Now) -> f64 {
    let since_start_s = if segment.boot_id == now.boot_id {
        now.boot_s - segment.boot_s
    } else {
        now.wall.duration_since(segment.started_at).as_secs_f64()
    };
    (since_start_s - (last_s - segment.from_s).max(0.0)).max(0.0)
}

/// How the last segment of a run ended that is over.
pub(super) fn ended(manifest: &Manifest, boot_id: &str) -> String {
    let is_restarted = manifest.segments.last().is_some_and(|segment| segment.boot_id != boot_id);
    match manifest.ended.as_str() {
        Manifest::RUNNING if is_restarted => RESTARTED.to_owned(),
        Manifest::RUNNING => KILLED.to_owned(),
        ended => ended.to_owned(),
    }
}

/// The phases of a run: those that were written down, and those of its last segment by their events, up to `now_s`.
pub(super) fn phases(manifest: &Manifest, events: &[Event], now_s: f64) -> Vec<Phase> {
    let from_s = manifest.segments.last().map_or(0.0, |segment| segment.from_s);
    let mut phases = manifest.phases.clone();
    if phases.iter().any(|phase| phase.from_s >= from_s) {
        return phases;
    }
    let begun: Vec<&Event> =
        events.iter().filter(|event| event.event == "phase" && event.elapsed_s >= from_s).collect();
    let ends = begun.iter().skip(1).map(|next| next.elapsed_s).chain([now_s]);
    phases.extend(begun.iter().zip(ends).map(|(event, to_s)| Phase {
        name: event.detail.clone(),
        from_s: event.elapsed_s,
        to_s: to_s.max(event.elapsed_s),
    }));
    phases
}

/// How much of a load of this length is over after these phases: all of it once it has drained.
pub(super) fn load_done(phases: &[Phase], load: Duration) -> Duration {
    if phases.iter().any(|phase| phase.name == "drain") {
        return load;
    }
    let loads = phases.iter().filter(|phase| phase.name == "load");
    let done_s: f64 = loads.map(|phase| phase.to_s - phase.from_s).sum();
    Duration::try_from_secs_f64(done_s).unwrap_or_default().min(load)
}

/// Whose lines no audit covers: those of all segments but the last, whose sinks and counters ended with them.
pub(super) fn unaccounted(segments: &[Segment]) -> Vec<Unaccounted> {
    let dead = segments.split_last().map_or(&[][..], |(_, dead)| dead);
    let of = |segment: &Segment| Unaccounted {
        from_s: segment.from_s,
        to_s: segment.to_s,
        why: format!("the run was {}", in_words(&segment.ended)),
    };
    dead.iter().map(of).collect()
}

fn in_words(ended: &str) -> String {
    match ended {
        RESTARTED => "cut off: the machine was started again".to_owned(),
        KILLED | "interrupted" => ended.to_owned(),
        ended => format!("ended ({})", ended.lines().next().unwrap_or_default()),
    }
}

/// The same as the end of a sentence.
pub(super) fn said(unaccounted: &[Unaccounted]) -> Option<String> {
    let (first, rest) = unaccounted.split_first()?;
    let of = |one: &Unaccounted| format!("of {:.0}\u{2013}{:.0} s ({})", one.from_s, one.to_s, one.why);
    let rest: String = rest.iter().map(|one| format!(", {}", of(one))).collect();
    Some(format!("lines {}{rest} are not accounted for", of(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall_s: i64, boot_id: &str, boot_s: f64) -> Now {
        Now { wall: Timestamp::from_second(wall_s).unwrap(), boot_id: boot_id.to_owned(), boot_s }
    }

    fn phase(name: &str, from_s: f64, to_s: f64) -> Phase {
        Phase { name: name.to_owned(), from_s, to_s }
    }

    #[test]
    fn a_gap_is_measured_by_the_clock_that_has_run_on() {
        let segment = now(1_000, "a", 50.0).segment("r-1", 100.0);
        // 40 s of samples, then 25 s of nothing; the wall clock was set meanwhile.
        assert!((gap_s(&segment, 140.0, &now(9_999, "a", 115.0)) - 25.0).abs() < 1e-9);
        // The machine was started again: 200 s by the wall clock.
        assert!((gap_s(&segment, 140.0, &now(1_200, "b", 7.0)) - 160.0).abs() < 1e-9);
        // It has lost its time.
        assert!(gap_s(&segment, 140.0, &now(3, "b", 7.0)).abs() < 1e-9);
        // It was killed before its first row.
        assert!((gap_s(&segment, 60.0, &now(1_010, "a", 60.0)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_load_that_is_over_is_added_up_and_a_drain_says_that_it_is_complete() {
        let load = Duration::from_secs(60);
        let mut phases = vec![phase("warmup", 5.0, 10.0), phase("load", 10.0, 22.0)];
        assert_eq!(load_done(&[], load), Duration::ZERO);
        assert_eq!(load_done(&phases, load), Duration::from_secs(12));
        phases.extend([phase(Phase::GAP, 22.0, 30.0), phase("load", 40.0, 45.5)]);
        assert_eq!(load_done(&phases, load), Duration::from_millis(17_500));
        assert_eq!(load_done(&phases, Duration::from_secs(15)), Duration::from_secs(15));
        phases.push(phase("drain", 45.5, 46.0));
        assert_eq!(load_done(&phases, load), load);
    }

    #[test]
    fn whose_lines_are_not_accounted_for_is_said() {
        let segment = |from_s: f64, to_s: f64, ended: &str| Segment {
            to_s,
            ended: ended.to_owned(),
            ..now(0, "a", 0.0).segment("r-1", from_s)
        };
        assert_eq!(said(&unaccounted(&[])), None);
        assert_eq!(said(&unaccounted(&[segment(0.0, 60.0, "finished")])), None);
        let segments = [
            segment(0.0, 812.4, KILLED),
            segment(900.0, 950.0, "failed: can't write /x: no storage space\n  Free some."),
            segment(960.0, 970.0, RESTARTED),
            segment(980.0, 999.0, "finished"),
        ];
        assert_eq!(
            said(&unaccounted(&segments)).unwrap(),
            "lines of 0–812 s (the run was killed), of 900–950 s (the run was ended (failed: can't write /x: no storage \
             space)), of 960–970 s (the run was cut off: the machine was started again) are not accounted for"
        );
    }
}
