//! What grows, set against what happened to its target meanwhile: pure.

use crate::growth::follow::{Followed, follow};
use crate::growth::{Point, slope::Growth};
use crate::result::{EventGrowth, EventKind, Moment, Series};

/// Chance of error at each end of an interval: 90 %, as a judgement's.
const ALPHA: f64 = 0.05;
/// What is as near to one as this is "one per …", if its interval holds one.
const NEAR_ONE: f64 = 0.1;

/// A count's growth set against each event that was counted all the while, those that happened too seldom left out.
/// Each point comes with the target's sample at that moment.
#[must_use]
pub(super) fn growths(moments: &[(Point, Moment<'_>)]) -> Vec<EventGrowth> {
    let points: Vec<Point> = moments.iter().map(|(point, _)| *point).collect();
    let counted = |event: EventKind| {
        let counts = moments.iter().map(|(_, sample)| event.count(*sample).map(|count| count as f64));
        Some((event, counts.collect::<Option<Vec<f64>>>()?))
    };
    let (events, counts): (Vec<EventKind>, Vec<Vec<f64>>) =
        EventKind::ALL.into_iter().filter_map(counted).unzip();
    let found = follow(&points, &counts);
    events.into_iter().zip(found).filter_map(|(event, found)| Some(growth(event, found?))).collect()
}

fn growth(event: EventKind, Followed { events, per_event, follows }: Followed) -> EventGrowth {
    let per_1000 = Growth {
        per_min: per_event.per_min * 1000.0,
        error_per_min: per_event.error_per_min * 1000.0,
        ..per_event
    };
    let (ci_low, ci_high) = (per_1000.low(ALPHA), per_1000.high(ALPHA));
    EventGrowth {
        event,
        events: whole(events),
        per_1000: per_1000.per_min,
        ci_low,
        ci_high,
        significant: ci_low > 0.0 || ci_high < 0.0,
        follows,
    }
}

/// A count that was taken as a real number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was a whole number, and a cast of a float saturates"
)]
pub(super) fn whole(count: f64) -> u64 {
    count as u64
}

/// Each point with the last sample up to its moment; points before the first sample are left out.
#[must_use]
pub(super) fn beside<'a>(points: &[Point], samples: &'a Series) -> Vec<(Point, Moment<'a>)> {
    points.iter().filter_map(|point| Some((*point, samples.before(point.elapsed_s)?))).collect()
}

/// How many leak with the event that the leak follows: "0.98 per rejected push", "one per started container". `None`
/// where it follows none, or one that can't be told from others.
#[must_use]
pub(super) fn said(events: &[EventGrowth]) -> Option<String> {
    let mut followed = events.iter().filter(|found| found.follows && found.significant);
    let (found, None) = (followed.next()?, followed.next()) else { return None };
    let [low, per_event, high] =
        [found.ci_low, found.per_1000, found.ci_high].map(|per_1000| per_1000 / 1000.0);
    let is_one = low >= 1.0 - NEAR_ONE && high <= 1.0 + NEAR_ONE && low <= 1.0 && high >= 1.0;
    let number = if is_one { "one".to_owned() } else { digits(per_event) };
    Some(format!("{number} per {}", found.event.one()))
}

/// Two digits that count.
fn digits(value: f64) -> String {
    let places = (1.0 - value.abs().log10().floor()).max(0.0);
    let places = [1.0, 2.0, 3.0, 4.0].iter().filter(|place| places >= **place).count();
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Sample, Samples};

    fn against(event: EventKind, (per_1000, half): (f64, f64), follows: bool) -> EventGrowth {
        let (ci_low, ci_high) = (per_1000 - half, per_1000 + half);
        EventGrowth { event, events: 40, per_1000, ci_low, ci_high, significant: ci_low > 0.0, follows }
    }

    #[test]
    fn the_event_that_is_followed_is_said_with_its_number() {
        let of = |per_1000, half| said(&[against(EventKind::RejectedPushes, (per_1000, half), true)]);
        assert_eq!(of(980.0, 10.0).as_deref(), Some("0.98 per rejected push"), "the interval is below one");
        assert_eq!(of(980.0, 50.0).as_deref(), Some("one per rejected push"));
        assert_eq!(of(980.0, 200.0).as_deref(), Some("0.98 per rejected push"), "too wide to say so");
        assert_eq!(of(1_530.0, 50.0).as_deref(), Some("1.5 per rejected push"));
        assert_eq!(of(42.0, 5.0).as_deref(), Some("0.042 per rejected push"));
        assert_eq!(of(12_000.0, 5.0).as_deref(), Some("12 per rejected push"));
        assert_eq!(of(980.0, 990.0), None, "it may not grow at all");
    }

    #[test]
    fn nothing_is_said_of_several_or_of_none() {
        let one = against(EventKind::Starts, (1000.0, 10.0), true);
        let other = against(EventKind::Pushes, (100.0, 1.0), true);
        assert_eq!(said(&[one.clone(), other.clone()]), None);
        assert_eq!(said(&[EventGrowth { follows: false, ..one.clone() }]), None);
        assert_eq!(
            said(&[one, EventGrowth { follows: false, ..other }]).as_deref(),
            Some("one per started container")
        );
    }

    #[test]
    fn what_was_not_counted_is_no_event_and_each_listing_has_the_sample_before_it() {
        let samples: Samples = (0..60_u32)
            .map(|second| Sample {
                pushes: Some(u64::from(second * 3)),
                starts: (second != 30).then_some(u64::from(second)),
                ..Sample::unread(f64::from(second), "t")
            })
            .collect();
        let samples = samples.of("t").unwrap();
        let points: Vec<Point> = (0..60_u32)
            .map(|second| Point { elapsed_s: f64::from(second) + 0.5, count: f64::from(second) })
            .collect();
        let found = growths(&beside(&points, samples));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].event, found[0].events, found[0].follows), (EventKind::Pushes, 177, false));
        assert!((found[0].per_1000 - 1000.0 / 3.0).abs() < 1e-6, "{found:?}");
        let early = Point { elapsed_s: -1.0, count: 0.0 };
        assert_eq!(beside(&[early], samples).len(), 0);
    }
}
