//! What to do after Loki's answer. Pure: a status and the head of a body in, an [`Outcome`] out.
//!
//! Statuses and words are those of Loki 3.x as its source has them and as it was seen to answer.

use std::time::Duration;

use jiff::Timestamp;

use super::limit::{Limit, as_ours, limit};
use crate::batch::Entry;
use crate::window::shared::Lesson;

/// What to do with a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Delivered,
    /// Send the same again, not before this long.
    Retry {
        /// What `Retry-After` says.
        after: Option<Duration>,
    },
    /// Send the same again; but if it is refused time and again, time alone does not help.
    Limited {
        /// What stands in its way.
        limit: Limit,
        /// What `Retry-After` says.
        after: Option<Duration>,
    },
    /// Stored but for the lines that the refusal fits.
    Partial(Refusal),
    /// Nothing of it can ever pass, as far as the words tell.
    Refused,
    /// Too large: send it in halves.
    Split,
    /// Our configuration is wrong: keep everything and say so.
    Hold,
}

/// Which lines a 400 names. Loki prints times in whole seconds, so the lines of the second at the edge
/// may have been stored; they count as refused all the same, because a duplicate in the dead letters
/// does no harm and a loss does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Lines before this time are too old.
    pub before_ns: Option<i64>,
    /// Lines from this time on are too new.
    pub from_ns: Option<i64>,
    /// Lines longer than this are refused.
    pub longer_than: Option<usize>,
    /// Lines of one stream are too far behind. This error takes the place of all others, those above and
    /// those of other streams: what it does not name may have been refused too.
    pub behind: Option<Behind>,
}

/// One stream's part of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The stream's labels, as we write them.
    pub labels: String,
    /// Its lines before this time are refused.
    pub before_ns: i64,
}

impl Refusal {
    /// What it says of Loki's limits.
    #[must_use]
    pub fn lesson(&self) -> Lesson<'_> {
        Lesson {
            too_old_before_ns: self.before_ns,
            too_new_from_ns: self.from_ns,
            behind: self.behind.as_ref().map(|behind| (behind.labels.as_str(), behind.before_ns)),
        }
    }

    /// Whether it refuses lines for their times against now.
    #[must_use]
    pub fn is_for_time(&self) -> bool {
        self.before_ns.is_some() || self.from_ns.is_some()
    }

    /// Whether a line of the stream with these labels is one of those refused.
    #[must_use]
    pub fn fits(&self, labels: &str, entry: &Entry) -> bool {
        self.before_ns.is_some_and(|time| entry.time_ns < time)
            || self.from_ns.is_some_and(|time| entry.time_ns >= time)
            || self.longer_than.is_some_and(|bytes| entry.line.len() > bytes)
            || self
                .behind
                .as_ref()
                .is_some_and(|behind| labels == behind.labels && entry.time_ns < behind.before_ns)
    }
}

/// What is kept of Loki's words with a line that it refuses.
const WORDS_BYTES_MAX: usize = 1024;

/// The beginning of a body, as it is kept.
#[must_use]
pub fn words_kept(body: &str) -> &str {
    let words = body.trim_end();
    words.get(..words.floor_char_boundary(WORDS_BYTES_MAX)).unwrap_or(words)
}

/// Judges an answer. A body that was cut ends in no error that could be understood, so it is refused whole.
#[must_use]
pub fn judge(status: u16, retry_after: Option<Duration>, body: &str) -> Outcome {
    match status {
        // "Ingestion blocked" looks like success; nothing is stored.
        260 => Outcome::Refused,
        204 => Outcome::Delivered,
        200..=299 if body.trim().is_empty() => Outcome::Delivered,
        // Loki says nothing when it has stored a push: this is somebody else, a login page perhaps.
        200..=299 => Outcome::Hold,
        // A server that speaks TLS and was spoken to in plain HTTP, as Go's and nginx's say it: not Loki's words.
        400 if body.contains("HTTPS server") || body.contains("HTTPS port") => Outcome::Hold,
        400 => refusal(body).map_or(Outcome::Refused, Outcome::Partial),
        408 | 425 | 499 => Outcome::Retry { after: retry_after },
        429 => match limit(body) {
            Some(limit) => Outcome::Limited { limit, after: retry_after },
            None => Outcome::Retry { after: retry_after },
        },
        413 => Outcome::Split,
        422 => Outcome::Refused,
        // Loki's limit of 4 MiB for a push inside of it: the same bytes would fail for ever.
        500 if body.contains("ResourceExhausted") && body.contains("larger than max") => Outcome::Split,
        501 | 505 => Outcome::Hold,
        500.. => Outcome::Retry { after: retry_after },
        // 401, 403, 404, 405, 407, a redirect: nothing is wrong with the lines.
        _ => Outcome::Hold,
    }
}

/// Understands a 400 only if it understands each error in it; what Loki stored of the push is not known
/// otherwise.
fn refusal(body: &str) -> Option<Refusal> {
    let mut refusal = Refusal::default();
    if body.contains("total ignored:") {
        refusal.behind = Some(ingester_errors(body)?);
    } else {
        body.trim_end().split("; ").try_for_each(|error| distributor_error(error, &mut refusal))?;
    }
    Some(refusal)
}

fn distributor_error(error: &str, refusal: &mut Refusal) -> Option<()> {
    if let Some((_, oldest)) = error.split_once("has timestamp too old: ") {
        let (_, oldest) = oldest.split_once("oldest acceptable timestamp is: ")?;
        later(&mut refusal.before_ns, next_second_ns(oldest.trim())?);
    } else if let Some((_, newest)) = error.split_once("has timestamp too new: ") {
        earlier(&mut refusal.from_ns, second_ns(newest.trim())?);
    } else {
        let (_, limit) = error.split_once("max entry size '")?;
        let (limit, _) = limit.split_once('\'')?;
        refusal.longer_than = Some(limit.trim_end_matches(" bytes").parse().ok()?);
    }
    Some(())
}

/// `entry with timestamp … ignored, reason: 'entry too far behind, entry timestamp is: …, oldest
/// acceptable timestamp is: …',` a line each, and a summary: `user '…', total ignored: … for stream: {…}`.
fn ingester_errors(body: &str) -> Option<Behind> {
    let mut before_ns = None;
    for error in body.lines().filter(|line| line.contains("ignored, reason: '")) {
        let (_, oldest) =
            error.split_once("entry too far behind, ")?.1.split_once("oldest acceptable timestamp is: ")?;
        later(&mut before_ns, next_second_ns(oldest.split('\'').next()?)?);
    }
    let (_, labels) = body.trim_end().rsplit_once(" for stream: ")?;
    Some(Behind { labels: as_ours(labels)?, before_ns: before_ns? })
}

fn later(slot: &mut Option<i64>, time_ns: i64) {
    *slot = Some(slot.map_or(time_ns, |before| before.max(time_ns)));
}

fn earlier(slot: &mut Option<i64>, time_ns: i64) {
    *slot = Some(slot.map_or(time_ns, |before| before.min(time_ns)));
}

fn second_ns(rfc3339: &str) -> Option<i64> {
    let time: Timestamp = rfc3339.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

fn next_second_ns(rfc3339: &str) -> Option<i64> {
    second_ns(rfc3339)?.checked_add(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;
    use proptest::prelude::*;

    const RETRY: Outcome = Outcome::Retry { after: None };
    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_success_with_words_is_not_lokis() {
        assert_eq!(judge(200, None, "\n"), Outcome::Delivered);
        assert_eq!(judge(200, None, "<html>Log in</html>"), Outcome::Hold);
    }

    #[test]
    fn each_status_has_its_outcome() {
        let table = [
            (204, Outcome::Delivered),
            (260, Outcome::Refused),
            (302, Outcome::Hold),
            (400, Outcome::Refused),
            (401, Outcome::Hold),
            (403, Outcome::Hold),
            (404, Outcome::Hold),
            (408, RETRY),
            (413, Outcome::Split),
            (422, Outcome::Refused),
            (429, RETRY),
            (500, RETRY),
            (503, RETRY),
        ];
        for (status, outcome) in table {
            assert_eq!(judge(status, None, "words\n"), outcome, "{status}");
        }
    }

    #[test]
    fn a_server_that_wanted_tls_has_refused_no_line() {
        let go = "Client sent an HTTP request to an HTTPS server.\n";
        let nginx = "<center>The plain HTTP request was sent to HTTPS port</center>";
        assert_eq!([judge(400, None, go), judge(400, None, nginx)], [Outcome::Hold, Outcome::Hold]);
    }

    #[test]
    fn a_message_above_four_mebibytes_is_split_not_repeated() {
        let body = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (4302194 vs. 4194304)\n";
        assert_eq!(judge(500, None, body), Outcome::Split);
    }

    #[test]
    fn a_400_for_age_names_the_old_lines_only() {
        let body = "2 errors like: entry for stream '{a=\"b\"}' has timestamp too old: 2026-11-24T10:00:00Z, oldest acceptable timestamp is: 1970-01-01T01:01:40+01:00; 1 errors like: entry for stream '{a=\"b\"}' has timestamp too new: 1970-01-01T00:03:20Z\n";
        let Outcome::Partial(refusal) = judge(400, None, body) else { panic!("not partial") };
        let lines =
            group(&[(99 * SECOND, "a"), (101 * SECOND, "b"), (199 * SECOND, "c"), (200 * SECOND, "d")]);
        let refused: Vec<bool> = lines.entries.iter().map(|entry| refusal.fits("{}", entry)).collect();
        assert_eq!(refused, [true, false, false, true]);
    }

    #[test]
    fn a_400_for_lines_too_far_behind_names_them_and_their_stream() {
        let body = "entry with timestamp 2026-11-24 12:31:51.123456789 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-24T12:31:51Z, oldest acceptable timestamp is: 2026-11-24T12:40:00Z',\nuser 'fake', total ignored: 1 out of 2 for stream: {a=\"b, \\\"service_name=\", service_name=\"b\", z=\"\"}\n";
        let Outcome::Partial(refusal) = judge(400, None, body) else { panic!("not partial") };
        let before_ns = next_second_ns("2026-11-24T12:40:00Z").unwrap();
        let labels = "{a=\"b, \\\"service_name=\", z=\"\"}".to_owned();
        assert_eq!(refusal, Refusal { behind: Some(Behind { labels, before_ns }), ..Refusal::default() });
        let lines = group(&[(before_ns - 1, "a"), (before_ns, "b")]);
        let fits = |labels| lines.entries.iter().map(|entry| refusal.fits(labels, entry)).collect::<Vec<_>>();
        assert_eq!(fits("{a=\"b, \\\"service_name=\", z=\"\"}"), [true, false]);
        assert_eq!(fits("{other=\"stream\"}"), [false, false]);
    }

    #[test]
    fn a_400_for_length_names_the_long_lines() {
        let body = "max entry size '100' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '200' bytes\n";
        let Outcome::Partial(refusal) = judge(400, None, body) else { panic!("not partial") };
        assert_eq!(refusal, Refusal { longer_than: Some(100), ..Refusal::default() });
    }

    #[test]
    fn one_error_that_is_not_understood_makes_the_whole_push_refused() {
        let body = "1 errors like: entry for stream '{}' has timestamp too new: 1970-01-01T00:03:20Z; 1 errors like: stream '{}' has duplicate label name: 'x'\n";
        assert_eq!(judge(400, None, body), Outcome::Refused);
    }

    proptest! {
        #[test]
        fn any_words_are_survived(status in 100..700_u16, body in ".{0,200}") {
            prop_assert_ne!(judge(status, None, &body), Outcome::Partial(Refusal::default()));
        }
    }
}
