//! The words of a 429: whether time alone lets the push pass. Pure.

use bytesize::ByteSize;

/// A limit that waiting may never get a push below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The push, or its part of one stream, is more than Loki takes in a second. A burst may still let it
    /// pass, and halves of it may.
    Rate,
    /// The tenant has all the streams that it may have.
    Streams {
        /// The labels of the one that could not begin, as we write them; `None` if they can't be told.
        labels: Option<String>,
    },
}

/// Reads the body of a 429; `None` when the same push passes once there is less to do.
#[must_use]
pub fn limit(body: &str) -> Option<Limit> {
    if body.contains("maximum active stream limit exceeded") {
        let labels = body.split_once("when trying to create stream ").and_then(|(_, labels)| as_ours(labels));
        return Some(Limit::Streams { labels });
    }
    let (_, words) = body.split_once("rate limit exceeded ")?;
    let (limit, words) = words.split_once("(limit: ")?.1.split_once("/sec)")?;
    let (_, total) = words.rsplit_once(" totaling ")?;
    (bytes(total)? > bytes(limit)?).then_some(Limit::Rate)
}

/// `'4096' bytes`, `4096 bytes` (the tenant's rate), `3MB` (a stream's).
fn bytes(words: &str) -> Option<u64> {
    let number = words.trim_start_matches('\'');
    let end = number.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(number.len());
    number.get(..end)?.parse().ok().map(|size: ByteSize| size.as_u64())
}

/// Loki adds the label `service_name`; without it, its text is ours.
pub(super) fn as_ours(words: &str) -> Option<String> {
    let mut rest = words.strip_prefix('{')?;
    let mut pairs = Vec::new();
    loop {
        let value = rest.find("=\"")? + 2;
        let end = value + closing_quote(rest.get(value..)?)? + 1;
        let (pair, behind) = rest.split_at_checked(end)?;
        if !pair.starts_with("service_name=") {
            pairs.push(pair);
        }
        match behind.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return behind.starts_with('}').then(|| format!("{{{}}}", pairs.join(", "))),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_push_above_the_rate_itself_can_not_simply_wait() {
        let words = |limit: &str, total: &str| {
            format!(
                "ingestion rate limit exceeded for user team-a (limit: {limit} bytes/sec) while attempting to ingest '7' lines totaling '{total}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased\n"
            )
        };
        assert_eq!(limit(&words("4194304", "4194305")), Some(Limit::Rate));
        assert_eq!(limit(&words("4194304", "4194304")), None);
        assert_eq!(limit("slow down\n"), None);
    }

    #[test]
    fn a_stream_has_a_rate_of_its_own() {
        let words = |total: &str| {
            format!(
                "entry with timestamp 2026-11-24 12:31:51 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: 1KB/sec) while attempting to ingest for stream '{{container=\"web\"}}' totaling {total}, consider splitting a stream via additional labels',\nuser 'fake', total ignored: 1 out of 2 for stream: {{container=\"web\"}}\n"
            )
        };
        assert_eq!(limit(&words("3MB")), Some(Limit::Rate));
        assert_eq!(limit(&words("300B")), None);
    }

    #[test]
    fn the_stream_that_could_not_begin_is_told_in_our_words() {
        let words = |labels: &str| {
            format!(
                "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of active streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be increased, user: 'fake'\n"
            )
        };
        let ours = r#"{compose_service="a\"}, b=\\", job="docker", stream="stdout"}"#;
        let lokis = r#"{compose_service="a\"}, b=\\", job="docker", service_name="a, b", stream="stdout"}"#;
        assert_eq!(limit(&words(lokis)), Some(Limit::Streams { labels: Some(ours.to_owned()) }));
        assert_eq!(limit(&words("?")), Some(Limit::Streams { labels: None }));
    }

    proptest! {
        #[test]
        fn any_words_are_survived(
            head in "(maximum active stream limit exceeded when trying to create stream |rate limit exceeded .limit: )",
            body in "[{}\"=\\\\, a-c1-9'/sectotaling()]{0,80}",
        ) {
            prop_assert_ne!(limit(&(head + &body)), Some(Limit::Streams { labels: Some(String::new()) }));
        }
    }
}
