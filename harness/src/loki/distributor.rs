//! What Loki's distributor refuses, in its order and its words, and what it alters. Pure.
//!
//! Order (Loki's `distributor.go` and `validator.go`): for a stream its lines are cut, then its labels are
//! looked at, then whether the tenant is blocked; then for each entry the first check that fails, and only
//! that: too old, too new, too long, structured metadata. What is left goes on.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::discard;
use super::forms::{rfc3339, rfc3339_in};
use super::labels::{Labels, SERVICE_NAME};
use super::limits::Limits;
use super::metadata::{self, EmptyName};
use super::push::{Entry, Stream};
use super::weather::Weather;
use crate::audit::ledger::Fate;

/// What holds for one push.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The tenant's limits.
    pub limits: &'a Limits,
    /// Whose push it is.
    pub tenant: &'a str,
    /// The server's time.
    pub now: Timestamp,
    /// The server's zone.
    pub zone: &'a TimeZone,
    /// The zone of the entries' times where Loki prints them.
    pub entry_zone: &'a TimeZone,
    /// What is planned to go wrong.
    pub weather: &'a Weather<'a>,
}

/// What was found wrong with a push so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Faults of streams and entries.
    pub faults: Faults,
    /// Whether something was dropped because the tenant is blocked.
    pub is_blocked: bool,
}

/// A fate and the words that go with it.
type Fault = (Fate, String);

/// Checks one stream: for each entry whether it goes on to the ingester, or why not. What goes on is as it is
/// stored.
///
/// # Errors
/// [`EmptyName`], with which the whole push ends.
pub fn check(terms: Terms<'_>, stream: &mut Stream, findings: &mut Findings) -> Result<Vec<Fate>, EmptyName> {
    let limits = terms.limits;
    if limits.max_line_size_truncate {
        cut_lines(limits, &mut stream.entries);
    }
    let Stream { labels, entries } = stream;
    // Loki passes over a stream without entries, whatever its labels are.
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    if let Some((fate, text)) = label_fault(limits, labels).or_else(|| missing_labels(terms, labels)) {
        findings.faults.add(text);
        return Ok(vec![fate; entries.len()]);
    }
    if limits.block_ingestion_until.is_some_and(|until| terms.now < until) {
        findings.is_blocked = true;
        return Ok(vec![discard::BLOCKED; entries.len()]);
    }
    let window = Window::of(terms, labels);
    let mut fates = Vec::with_capacity(entries.len());
    for entry in entries.iter_mut() {
        fates.push(match entry_fault(terms, window, entry, labels) {
            Some((fate, text)) => {
                findings.faults.add(text);
                fate
            }
            None => {
                metadata::normalize(&mut entry.metadata)?;
                Fate::Accepted
            }
        });
    }
    if limits.increment_duplicate_timestamp {
        move_doubled_times(entries, &fates);
    }
    Ok(fates)
}

fn cut_lines(limits: &Limits, entries: &mut [Entry]) {
    let (max, mark) = (limits.max_line_size, limits.max_line_size_truncate_identifier.as_bytes());
    for entry in entries.iter_mut().filter(|entry| max != 0 && entry.line.len() > max) {
        let cut = entry.line.get(..max.saturating_sub(mark.len())).unwrap_or_default();
        entry.line = Bytes::from([cut, mark].concat());
    }
}

/// An entry at the time of the one before it, but with another line, comes a nanosecond behind it.
fn move_doubled_times(entries: &mut [Entry], fates: &[Fate]) {
    let mut before: Option<(Timestamp, Timestamp, Bytes)> = None;
    for (entry, _) in entries.iter_mut().zip(fates).filter(|(_, fate)| **fate == Fate::Accepted) {
        let mut sent = entry.time;
        if let Some((sent_before, time_before, line_before)) = &before {
            let doubled = entry.time == *sent_before || entry.time == *time_before;
            if doubled && entry.line != line_before {
                entry.time =
                    Timestamp::from_nanosecond(time_before.as_nanosecond() + 1).unwrap_or(entry.time);
                sent = *sent_before;
            }
        }
        before = Some((sent, entry.time, entry.line.clone()));
    }
}

fn label_fault(limits: &Limits, labels: &Labels) -> Option<Fault> {
    if labels.is_empty() {
        let text = "error at least one label pair is required per stream";
        return Some((discard::MISSING_LABELS, text.to_owned()));
    }
    if labels.is_internal() {
        return None;
    }
    let count = labels.iter().filter(|(name, _)| *name != SERVICE_NAME).count();
    if count > limits.max_label_names_per_series {
        let limit = limits.max_label_names_per_series;
        let text = format!("entry for stream '{labels}' has {count} label names; limit {limit}");
        return Some((discard::TOO_MANY_LABELS, text));
    }
    let mut before = "";
    for (name, value) in labels.iter() {
        if name.len() > limits.max_label_name_length {
            return Some((
                discard::LABEL_NAME_TOO_LONG,
                format!("stream '{labels}' has label name too long: '{name}'"),
            ));
        }
        if value.len() > limits.max_label_value_length {
            return Some((
                discard::LABEL_VALUE_TOO_LONG,
                format!("stream '{labels}' has label value too long: '{value}'"),
            ));
        }
        if name == before {
            return Some((
                discard::DUPLICATE_LABELS,
                format!("stream '{labels}' has duplicate label name: '{name}'"),
            ));
        }
        before = name;
    }
    None
}

fn missing_labels(terms: Terms<'_>, labels: &Labels) -> Option<Fault> {
    if labels.is_internal() {
        return None;
    }
    let mut missing: Vec<&str> = Vec::new();
    for name in &terms.limits.enforced_labels {
        if labels.get(name).is_none() && !missing.contains(&name.as_str()) {
            missing.push(name);
        }
    }
    let (missing, tenant) = (missing.join(","), terms.tenant);
    (!missing.is_empty()).then(|| {
        let text = format!(
            "missing required labels '{missing}' for user '{tenant}' for stream '{labels}' (policy: '')"
        );
        (discard::MISSING_LABELS, text)
    })
}

/// The times that are accepted, both ends inside.
#[derive(Clone, Copy)]
struct Window {
    oldest: Timestamp,
    /// Whether old ones are accepted all the same.
    is_open: bool,
    newest: Timestamp,
}

impl Window {
    fn of(Terms { limits, now, weather, .. }: Terms<'_>, labels: &Labels) -> Self {
        let now = weather.by_their_clock(now);
        Self {
            oldest: earlier(now, weather.max_age(limits.reject_old_samples_max_age)),
            is_open: !limits.reject_old_samples || labels.is_backfill(),
            newest: now.saturating_add(limits.creation_grace_period).unwrap_or(Timestamp::MAX),
        }
    }

    fn is_too_old(&self, time: Timestamp) -> bool {
        !self.is_open && time < self.oldest
    }
}

/// `time` less `by`; the earliest time there is where there is no such time.
pub(super) fn earlier(time: Timestamp, by: std::time::Duration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

fn entry_fault(terms: Terms<'_>, window: Window, entry: &Entry, labels: &Labels) -> Option<Fault> {
    let is_too_old = window.is_too_old(entry.time);
    if is_too_old || terms.weather.refuses(labels, &entry.line) {
        let time = rfc3339_in(entry.time, terms.entry_zone);
        let oldest = rfc3339_in(window.oldest, terms.zone);
        let text = format!(
            "entry for stream '{labels}' has timestamp too old: {time}, oldest acceptable timestamp is: {oldest}"
        );
        return Some((if is_too_old { discard::TOO_OLD } else { discard::PLANNED }, text));
    }
    if entry.time > window.newest {
        let time = rfc3339_in(entry.time, terms.entry_zone);
        return Some((
            discard::TOO_NEW,
            format!("entry for stream '{labels}' has timestamp too new: {time}"),
        ));
    }
    let (length, limit) = (entry.line.len(), terms.limits.max_line_size);
    if limit != 0 && length > limit {
        let text = format!(
            "max entry size '{limit}' bytes exceeded for stream '{labels}' while adding an entry with length '{length}' bytes"
        );
        return Some((discard::TOO_LONG, text));
    }
    if entry.metadata.is_empty() { None } else { metadata_fault(terms.limits, &entry.metadata, labels) }
}

fn metadata_fault(limits: &Limits, metadata: &[(String, String)], labels: &Labels) -> Option<Fault> {
    if !limits.allow_structured_metadata {
        let text = format!(
            "stream '{labels}' includes structured metadata, but this feature is disallowed. Please see \
             `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
        );
        return Some((discard::METADATA_DISALLOWED, text));
    }
    let (size, size_max) = (metadata::bytes(metadata), limits.max_structured_metadata_size);
    if size_max != 0 && size > size_max {
        let text = format!(
            "stream '{labels}' has structured metadata too large: '{size}' bytes, limit: '{size_max}' bytes. \
             Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to \
             increase it"
        );
        return Some((discard::METADATA_TOO_LARGE, text));
    }
    let (count, count_max) = (metadata.len(), limits.max_structured_metadata_entries_count);
    (count_max != 0 && count > count_max).then(|| {
        let text = format!(
            "stream '{labels}' has too many structured metadata labels: '{count}', limit: '{count_max}'. \
             Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki \
             administrator to increase it"
        );
        (discard::METADATA_TOO_MANY, text)
    })
}

/// What a blocked tenant is told; `None` where it is to think that all was stored.
#[must_use]
pub fn blocked(limits: &Limits, tenant: &str) -> Option<(u16, String)> {
    let (until, code) = (limits.block_ingestion_until?, limits.block_ingestion_status_code);
    let until = rfc3339(until);
    let text = format!("ingestion blocked for user '{tenant}' until '{until}' with status code '{code}'");
    (code != 200).then_some((code, text))
}

/// How many different texts one answer lists, and how many bytes of them. Loki lists all; a push of
/// 100 MiB could make that hundreds of megabytes, and this mock's memory has a bound.
const FAULTS_MAX: usize = 16_384;
const FAULTS_BYTES_MAX: usize = 16 << 20;

/// The distributor's faults of one push, grouped by their text as Loki groups them: ages are printed in
/// whole seconds, so entries of one second share a text.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    groups: Vec<(String, u64)>,
    index: HashMap<String, usize>,
    bytes: usize,
}

impl Faults {
    /// Adds one fault.
    pub fn add(&mut self, text: String) {
        if let Some(group) = self.index.get(&text).and_then(|&at| self.groups.get_mut(at)) {
            group.1 += 1;
        } else if self.groups.len() < FAULTS_MAX && self.bytes < FAULTS_BYTES_MAX {
            self.bytes += text.len();
            self.index.insert(text.clone(), self.groups.len());
            self.groups.push((text, 1));
        }
    }

    /// The body of the answer: `None` without a fault, the bare text of a single one, else
    /// `<n> errors like: <text>` for each text. Loki's order is random; here it is that of the push.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self.groups.as_slice() {
            [] => None,
            [(text, 1)] => Some(text.clone()),
            groups => {
                let lines: Vec<String> =
                    groups.iter().map(|(text, count)| format!("{count} errors like: {text}")).collect();
                Some(lines.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests;
