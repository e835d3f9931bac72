//! How far Loki's clock is from ours, by the dates of its answers. Pure: moments are arguments.
//!
//! A window against now is a window against Loki's now. Where the clocks differ by more than a window, one who does
//! not know it sees fresh lines refused, and can only guess at a limit that there is not. The date of an answer says
//! it; it is believed only when Loki has refused lines for their times, so that a gateway with a wrong clock, before
//! a Loki with a right one, changes nothing.

use std::time::Duration;

use crate::clock::{Moment, duration_ns};

/// No slow machine or slow network explains more.
const TOLERATED: Duration = Duration::from_secs(5);
/// Dates are whole seconds.
const RESOLUTION: Duration = Duration::from_secs(1);
/// While the clocks differ, a line that is refused by Loki's clock alone is sent all the same this often: or nobody
/// would hear of it when they agree again.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How far Loki's clock is ahead of ours.
#[derive(Debug, Default)]
pub struct Skew {
    ahead_ns: i64,
    asked: Option<tokio::time::Instant>,
}

impl Skew {
    /// Nanoseconds; negative where it is behind, 0 where the clocks agree well enough.
    #[must_use]
    pub fn ahead_ns(&self) -> i64 {
        self.ahead_ns
    }

    /// The same moment by Loki's clock.
    #[must_use]
    pub fn by_loki(&self, moment: Moment) -> Moment {
        Moment { ns: moment.ns.saturating_add(self.ahead_ns), ..moment }
    }

    /// An answer of this date came between these two moments; `refused` says whether it refused lines for their
    /// times. Whether something new was learned.
    pub fn heard(&mut self, date_ns: i64, (sent, answered): (Moment, Moment), refused: bool) -> bool {
        let tolerated_ns = duration_ns(TOLERATED);
        let latest_ns = date_ns.saturating_add(duration_ns(RESOLUTION));
        let ahead_ns = if date_ns > answered.ns.saturating_add(tolerated_ns) {
            date_ns.saturating_sub(answered.ns)
        } else if latest_ns < sent.ns.saturating_sub(tolerated_ns) {
            latest_ns.saturating_sub(sent.ns)
        } else {
            0
        };
        let is_believed = refused || ahead_ns == 0 || self.ahead_ns != 0;
        let is_new = is_believed && ahead_ns.abs_diff(self.ahead_ns) > tolerated_ns.unsigned_abs();
        if is_believed {
            self.ahead_ns = ahead_ns;
            self.asked = Some(answered.at);
        }
        is_new
    }

    /// Whether a line that only the difference of the clocks keeps back goes out all the same, to ask.
    pub fn take_probe(&mut self, now: Moment) -> bool {
        let due = self.asked.is_none_or(|asked| now.at.duration_since(asked) >= ASK_EVERY);
        if due {
            self.asked = Some(now.at);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn moments(sent_s: i64, answered_s: i64) -> (Moment, Moment) {
        let moment = |second| Moment { ns: second * SECOND, at: Instant::now() };
        (moment(sent_s), moment(answered_s))
    }

    #[test]
    fn a_date_is_believed_once_lines_are_refused_and_followed_from_then_on() {
        let mut skew = Skew::default();
        assert!(!skew.heard(8200 * SECOND, moments(1000, 1000), false), "a gateway may be wrong");
        assert_eq!(skew.ahead_ns(), 0);
        assert!(skew.heard(8200 * SECOND, moments(1000, 1000), true));
        assert_eq!(skew.ahead_ns(), 7200 * SECOND);
        assert!(!skew.heard(8202 * SECOND, moments(1000, 1002), false), "the same");
        assert!(skew.heard(1003 * SECOND, moments(1003, 1003), false), "the clock was set right");
        assert_eq!(skew.ahead_ns(), 0);
    }

    #[test]
    fn an_answer_that_takes_long_shows_no_difference() {
        let mut skew = Skew::default();
        assert!(!skew.heard(1000 * SECOND, moments(1000, 1030), true));
        assert!(!skew.heard(1030 * SECOND, moments(1000, 1030), true));
        assert_eq!(skew.ahead_ns(), 0);
    }

    #[test]
    fn it_asks_now_and_then() {
        let (mut skew, start) = (Skew::default(), Instant::now());
        let asked = (0..100).filter(|tenth: &u32| {
            skew.take_probe(Moment { ns: 0, at: start + Duration::from_millis(100) * *tenth })
        });
        assert_eq!(asked.count(), 5);
    }

    proptest! {
        #[test]
        fn what_is_learned_is_within_the_answers_time_of_the_truth(
            truth_s in -100_000i64..100_000, took_s in 0i64..40, at in 0i64..40,
        ) {
            let mut skew = Skew::default();
            let (sent, answered) = moments(200_000, 200_000 + took_s);
            skew.heard((200_000 + at.min(took_s) + truth_s) * SECOND, (sent, answered), true);
            let error = (skew.ahead_ns() - truth_s * SECOND).abs();
            prop_assert!(error <= took_s * SECOND + SECOND + duration_ns(TOLERATED));
        }
    }
}
