//! One dead letter: a line of JSON that says all that is needed to send the log line again, and why it
//! is here. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Reason;
use crate::batch::{Entry, Group};
use crate::labels::Labels;
use crate::loki::answer::words_kept;
use crate::loki::push::{CLAMPED_FROM, CONTAINER_ID};
use crate::record::ContainerId;
use crate::source::LINE_BYTES_MAX;

/// The format that is written. A reader takes no other: what it does not know it must not lose.
pub const VERSION: u32 = 1;
/// The longest letter: each byte of a log line takes at most six in JSON, and labels and words are short.
pub const LETTER_BYTES_MAX: usize = 8 << 20;
const _: () = assert!(6 * LINE_BYTES_MAX + (1 << 20) <= LETTER_BYTES_MAX, "what is written can be read");

/// A line that could not be delivered, as it stands on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Letter {
    v: u32,
    /// The time that Loki was told, or would have been.
    pub time_ns: i64,
    /// The line's own time, if it was clamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_time_ns: Option<i64>,
    /// Whose it is, for a Loki with tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its stream.
    pub labels: BTreeMap<String, String>,
    /// Structured metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The text.
    pub line: String,
    /// A word: `too_old`, `refused`, `retry_queue_full` …
    pub reason: String,
    /// Loki's status, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of Loki's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How often it was sent.
    #[serde(default)]
    pub attempts: u32,
    /// When the first of these attempts had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure_ns: Option<i64>,
    /// Whose log it stood in …
    pub container_id: ContainerId,
    /// … and where; for people, since a source may know other positions tomorrow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Box<RawValue>>,
}

/// Why there is no letter in a line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The last line, without its end: the shipper died while it wrote it. It had not committed that
    /// position, and reads the log line again.
    #[error("its end is missing")]
    Torn,
    /// No letter is that long.
    #[error("it is longer than {LETTER_BYTES_MAX} bytes")]
    TooLong,
    /// Another shipper's format.
    #[error("it has version {0}, and this shipper reads {VERSION}")]
    Version(u32),
    /// Anything else.
    #[error("{0}")]
    Corrupt(String),
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Letter {
    /// Of a line that is given up.
    ///
    /// # Errors
    /// Not in practice: a position can be written as JSON.
    pub fn of(
        group: &Group,
        entry: &Entry,
        tenant: Option<&str>,
        why: Reason<'_>,
    ) -> Result<Self, serde_json::Error> {
        let pairs = group.labels.pairs.iter();
        let mut letter = Self {
            v: VERSION,
            time_ns: entry.time_ns,
            original_time_ns: entry.clamped_from_ns,
            tenant: tenant.map(str::to_owned),
            labels: pairs.map(|(name, value)| (name.clone().into_owned(), value.clone())).collect(),
            metadata: BTreeMap::from([(CONTAINER_ID.to_owned(), group.labels.container_id.clone())]),
            line: entry.line.to_string(),
            reason: why.reason.to_owned(),
            status: why.answer.map(|(status, _)| status),
            answer: why.answer.map(|(_, words)| words_kept(words).to_owned()),
            attempts: group.tried.attempts,
            first_failure_ns: group.tried.first_failure_ns,
            container_id: group.container.id.clone(),
            position: Some(serde_json::value::to_raw_value(&entry.line.position())?),
        };
        let own_time = entry.clamped_from_ns.map(|own| (CLAMPED_FROM.to_owned(), own.to_string()));
        letter.metadata.extend(own_time);
        Ok(letter)
    }

    /// Reads a line of a segment, without its newline. Survives any bytes.
    ///
    /// # Errors
    /// When it is no letter of this version.
    pub fn parse(line: &[u8]) -> Result<Self, Unreadable> {
        if line.len() > LETTER_BYTES_MAX {
            return Err(Unreadable::TooLong);
        }
        match serde_json::from_slice::<Self>(line) {
            Ok(letter) if letter.v == VERSION => Ok(letter),
            Ok(letter) => Err(Unreadable::Version(letter.v)),
            Err(error) => match serde_json::from_slice::<Versioned>(line) {
                Ok(Versioned { v }) if v != VERSION => Err(Unreadable::Version(v)),
                _ => Err(Unreadable::Corrupt(error.to_string())),
            },
        }
    }

    /// As a line of a segment, with its newline.
    ///
    /// # Errors
    /// Not in practice.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|line| line + "\n")
    }

    /// Its stream as Loki writes it.
    #[must_use]
    pub fn stream(&self) -> String {
        crate::labels::text(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Its stream's labels, and the metadata that the stream's lines share.
    #[must_use]
    pub fn restored_labels(&self) -> std::sync::Arc<Labels> {
        let container_id = self.metadata.get(CONTAINER_ID).map_or(self.container_id.short(), String::as_str);
        Labels::restored(self.labels.clone(), container_id.to_owned())
    }

    /// Notes that Loki has refused it once more.
    pub fn refused_again(&mut self, why: Reason<'_>, (attempts, now_ns): (u32, i64)) {
        self.reason = why.reason.to_owned();
        self.status = why.answer.map(|(status, _)| status);
        self.answer = why.answer.map(|(_, words)| words_kept(words).to_owned());
        self.attempts = self.attempts.saturating_add(attempts);
        self.first_failure_ns.get_or_insert(now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Tried;
    use crate::batch::tests::group;
    use proptest::prelude::*;

    const WHY: Reason<'static> = Reason { reason: "refused", answer: Some((400, "too old\n")) };

    #[test]
    fn a_letter_says_all_that_is_known_of_its_line() {
        let mut group = group(&[(7, "a\nb")]);
        group.tried = Tried { attempts: 3, first_failure_ns: Some(9) };
        group.entries[0].clamped_from_ns = Some(5);
        let letter = Letter::of(&group, &group.entries[0], Some("shop"), WHY).unwrap();
        insta::assert_snapshot!(letter.to_line().unwrap().trim_end(), @r#"{"v":1,"time_ns":7,"original_time_ns":5,"tenant":"shop","labels":{"container":"web","job":"docker","stream":"stdout"},"metadata":{"container_id":"cccccccccccc","original_timestamp":"5"},"line":"a\nb","reason":"refused","status":400,"answer":"too old","attempts":3,"first_failure_ns":9,"container_id":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","position":{"api":{"time_ns":7,"seen":1}}}"#);
        assert_eq!(letter.restored_labels(), group.labels);
        assert_eq!(letter.stream(), group.labels.text);
    }

    #[test]
    fn another_version_is_told_from_damage() {
        assert_eq!(Letter::parse(br#"{"v":2,"line":7}"#).unwrap_err(), Unreadable::Version(2));
        let damaged = Letter::parse(br#"{"v":1,"line":7}"#).unwrap_err();
        assert!(matches!(damaged, Unreadable::Corrupt(_)), "{damaged}");
        assert!(matches!(Letter::parse(b"\0\0\xff").unwrap_err(), Unreadable::Corrupt(_)));
    }

    #[test]
    fn the_longest_line_in_its_longest_form_can_be_read_again() {
        let text = "\u{1}".repeat(LINE_BYTES_MAX);
        let group = group(&[(7, &text)]);
        let words = "\u{1}".repeat(1 << 20);
        let why = Reason { reason: "refused", answer: Some((400, &words)) };
        let line = Letter::of(&group, &group.entries[0], None, why).unwrap().to_line().unwrap();
        assert_eq!(Letter::parse(line.trim_end().as_bytes()).unwrap().line, text);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in any::<String>(), time_ns: i64, status: u16, words in any::<String>()) {
            let group = group(&[(time_ns, &text)]);
            let why = Reason { reason: "refused", answer: Some((status, &words)) };
            let letter = Letter::of(&group, &group.entries[0], None, why).unwrap();
            let line = letter.to_line().unwrap();
            let read = Letter::parse(line.strip_suffix('\n').unwrap().as_bytes()).unwrap();
            prop_assert_eq!((read.time_ns, &read.line), (time_ns, &text));
            prop_assert_eq!(read.to_line().unwrap(), line);
        }
    }
}
