//! `detected_level`: the metadata that Loki adds to every entry, guessed as its distributor guesses. Pure.
//!
//! Order: labels, metadata, `OpenTelemetry`'s number, then the line as JSON, as logfmt, as words.

use serde_json::Value;

use super::labels::Labels;
use super::metadata::LEVEL;
use super::push::Entry;

/// Loki's `log_level_fields`.
const FIELDS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];
/// Loki's `log_level_from_json_max_depth`.
const JSON_DEPTH_MAX: usize = 2;
/// What is looked for in a line that is neither JSON nor logfmt, in this order.
const WORDS: [(&str, &[&str]); 5] = [
    ("info", &["info", "INFO"]),
    ("error", &["err:", "ERR:", "[err]", "[ERR]", "[error]", "[ERROR]"]),
    ("warn", &["warn:", "WARN:", "[warn]", "[WARN]", "warning", "WARNING"]),
    ("critical", &["critical:", "CRITICAL:", "[critical]", "[CRITICAL]"]),
    ("debug", &["debug", "DEBUG"]),
];
/// The last numbers of `OpenTelemetry`'s levels.
const NUMBERS: [(i64, &str); 6] =
    [(4, "trace"), (8, "debug"), (12, "info"), (16, "warn"), (20, "error"), (24, "fatal")];

/// The level of an entry whose metadata was normalised. `None` where it carries one of its own.
#[must_use]
pub fn detect(labels: &Labels, entry: &Entry) -> Option<String> {
    let of_metadata = |wanted: &str| {
        let pair = entry.metadata.iter().find(|(name, _)| name == wanted);
        pair.map(|(_, value)| value.as_str())
    };
    if of_metadata(LEVEL).is_some() {
        return None;
    }
    if let Some(level) = of_labels(labels).or_else(|| FIELDS.iter().find_map(|name| of_metadata(name))) {
        return Some(known(level).unwrap_or(level).to_owned());
    }
    let level = match of_metadata("severity_number") {
        Some(number) => of_number(number),
        None => of_line(&String::from_utf8_lossy(&entry.line)),
    };
    Some(level.to_owned())
}

/// The label that says it.
#[must_use]
pub fn of_labels(labels: &Labels) -> Option<&str> {
    FIELDS.iter().find_map(|name| labels.get(name))
}

/// The usual name of a level that is known by this one.
#[must_use]
pub fn known(level: &str) -> Option<&'static str> {
    const NAMES: [(&str, &[&str]); 7] = [
        ("trace", &["trace", "trc"]),
        ("debug", &["debug", "dbg"]),
        ("info", &["info", "inf", "information"]),
        ("warn", &["warn", "wrn", "warning"]),
        ("error", &["error", "err"]),
        ("critical", &["critical"]),
        ("fatal", &["fatal"]),
    ];
    let is = |names: &[&str]| names.iter().any(|name| level.eq_ignore_ascii_case(name));
    NAMES.into_iter().find(|(_, names)| is(names)).map(|(usual, _)| usual)
}

fn of_number(text: &str) -> &'static str {
    match text.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => "unknown",
        Ok(number) => NUMBERS.iter().find(|(last, _)| number <= *last).map_or("unknown", |(_, name)| name),
    }
}

fn of_line(line: &str) -> &'static str {
    let trimmed = line.trim();
    let named = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        // Loki's parser takes what it can get; a line that is no JSON has no level of that kind.
        serde_json::from_str(trimmed).ok().and_then(|value| of_json(&value, 0).and_then(known))
    } else if line.contains('=') {
        of_logfmt(line)
    } else {
        None
    };
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let of_words = || WORDS.into_iter().find(|(_, words)| has(words)).map(|(level, _)| level);
    named.or_else(of_words).unwrap_or("unknown")
}

/// The first text under a name of a level, depth first.
fn of_json(value: &Value, depth: usize) -> Option<&str> {
    if depth >= JSON_DEPTH_MAX {
        return None;
    }
    value.as_object()?.iter().find_map(|(name, value)| match value {
        Value::String(text) if FIELDS.contains(&name.as_str()) => Some(text.as_str()),
        Value::Object(_) => of_json(value, depth + 1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    })
}

/// Of several fields the one that stands first in the list of names.
fn of_logfmt(line: &str) -> Option<&'static str> {
    let mut best: Option<(usize, &str)> = None;
    let mut rest = line;
    while let Some((before, behind)) = rest.split_once('=') {
        let name = before.rsplit([' ', '\t', '\n', '"']).next().unwrap_or_default();
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_once(' ').unwrap_or((behind, "")),
        };
        let place = FIELDS.iter().position(|field| field.eq_ignore_ascii_case(name));
        if let Some(place) = place.filter(|place| best.is_none_or(|(at, _)| *place < at)) {
            best = Some((place, value));
        }
        rest = next;
    }
    best.and_then(|(_, value)| known(value))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::loki::labels::parse;

    fn level(labels: &str, line: &'static str, metadata: &[(&str, &str)]) -> Option<String> {
        let mut entry = Entry::plain(Timestamp::UNIX_EPOCH, Bytes::from_static(line.as_bytes()));
        entry.metadata = metadata.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        detect(&parse(labels).unwrap(), &entry)
    }

    #[test]
    fn lines_are_read_as_json_as_logfmt_and_as_words() {
        for (line, expected) in [
            ("hello", "unknown"),
            ("", "unknown"),
            ("an info here", "info"),
            ("[error] no", "error"),
            ("error", "unknown"),
            ("WARNING: x", "warn"),
            (r#"{"msg":"x","level":"ERR"}"#, "error"),
            (r#"{"a":{"Severity":"wrn"}}"#, "warn"),
            (r#"{"a":{"b":{"level":"wrn"}}}"#, "unknown"),
            (r#"{"level":7}"#, "unknown"),
            (r#"ts=1 level=warn msg="no info=here""#, "warn"),
            ("lvl=debug level=trace", "trace"),
            ("a=b [err]", "error"),
        ] {
            assert_eq!(level("{}", line, &[]).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn labels_and_metadata_come_before_the_line() {
        assert_eq!(level(r#"{level="Warning"}"#, "info", &[]).as_deref(), Some("warn"));
        assert_eq!(level(r#"{level="odd"}"#, "info", &[]).as_deref(), Some("odd"));
        assert_eq!(level("{}", "info", &[("severity", "FATAL")]).as_deref(), Some("fatal"));
        assert_eq!(level("{}", "info", &[("severity_number", "17")]).as_deref(), Some("error"));
        assert_eq!(level("{}", "info", &[(LEVEL, "x")]), None, "its own stays");
    }
}
