//! The recordings' places for times: filled in a request, compared in an answer.

use jiff::{SignedDuration, Timestamp};

/// Printed seconds are cut off, and the server's now is later than the client's.
const TOLERANCE_S: i64 = 2;

fn aged(now: Timestamp, age_s: &str) -> Timestamp {
    now.checked_sub(SignedDuration::from_secs_f64(age_s.parse().unwrap())).unwrap()
}

/// The first `{{…}}` of a template: what stands before it, inside it and behind it.
fn place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("{{")?;
    let (inside, behind) = rest.split_once("}}")?;
    Some((before, inside, behind))
}

fn age_of(inside: &str) -> &str {
    inside.split_once("age_s=").unwrap().1.split(' ').next().unwrap()
}

/// Fills `{{ns age_s=X}}`.
pub(crate) fn expand(template: &str, now: Timestamp) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, inside, behind)) = place(rest) {
        out.push_str(before);
        out.push_str(&aged(now, age_of(inside)).as_nanosecond().to_string());
        rest = behind;
    }
    out + rest
}

/// Moves the times that a recording wrote out: nanoseconds in quotes, and the RFC 3339 time of the old
/// JSON form, so that the newest is ten seconds old.
pub(crate) fn shift(text: &str, now: Timestamp) -> String {
    let nanoseconds = |part: &&str| part.len() == 19 && part.bytes().all(|byte| byte.is_ascii_digit());
    let newest = text.split('"').filter(nanoseconds).map(|part| part.parse::<i128>().unwrap()).max();
    let by = aged(now, "10").as_nanosecond() - newest.unwrap_or_default();
    let move_part = |part: &str| {
        if nanoseconds(&part) {
            return (part.parse::<i128>().unwrap() + by).to_string();
        }
        if part.len() == 20 && part.ends_with('Z') && part.parse::<Timestamp>().is_ok() {
            return aged(now, "10").strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        }
        part.to_owned()
    };
    text.split('"').map(move_part).collect::<Vec<_>>().join("\"")
}

/// Whether a text is what the template says, times within the tolerance.
pub(crate) fn matches(template: &str, text: &str, now: Timestamp) -> bool {
    let Some((before, inside, behind)) = place(template) else { return template == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let (shown, rest) = if inside.starts_with("rfc3339") {
        let zone = inside.split_once("tz=").unwrap().1;
        let Some((shown, rest)) = rest.split_at_checked("2026-11-24T12:31:51".len() + zone.len()) else {
            return false;
        };
        (shown.parse().ok().filter(|_| shown.ends_with(zone)), rest)
    } else if inside.starts_with("gotime") {
        let Some((shown, rest)) = rest.split_once(" +0000 UTC") else { return false };
        (format!("{}Z", shown.replace(' ', "T")).parse().ok(), rest)
    } else {
        let end = rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len());
        let (shown, rest) = rest.split_at(end);
        (shown.parse().ok().and_then(|ns| Timestamp::from_nanosecond(ns).ok()), rest)
    };
    let near = |shown: Timestamp| {
        shown.duration_since(aged(now, age_of(inside))).abs() <= SignedDuration::from_secs(TOLERANCE_S)
    };
    shown.is_some_and(near) && matches(behind, rest, now)
}
