//! Structured metadata: what it weighs, and the names that Loki gives it. Pure.

use super::push::Entry;

/// The pair that Loki adds itself, and for which nobody is charged.
pub const LEVEL: &str = "detected_level";

/// A name that Loki can make nothing of: it answers the whole push with 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label name is empty")]
pub struct EmptyName;

/// Bytes of an entry that count for limits.
#[must_use]
pub fn entry_bytes(entry: &Entry) -> usize {
    entry.line.len() + bytes(&entry.metadata)
}

/// Bytes of structured metadata that count for limits.
#[must_use]
pub fn bytes(metadata: &[(String, String)]) -> usize {
    let counted = metadata.iter().filter(|(name, _)| name != LEVEL);
    counted.map(|(name, value)| name.len() + value.len()).sum()
}

/// Brings names and values into Loki's form, in order of the names: `trace.id` becomes `trace_id`, values
/// lose what is no UTF-8, and pairs without a value go.
///
/// # Errors
/// [`EmptyName`].
pub fn normalize(metadata: &mut Vec<(String, String)>) -> Result<(), EmptyName> {
    if metadata.is_empty() {
        return Ok(());
    }
    for (name, value) in metadata.iter_mut() {
        *name = normal_name(name)?;
        value.retain(|sign| sign != char::REPLACEMENT_CHARACTER);
    }
    metadata.retain(|(_, value)| !value.is_empty());
    metadata.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(())
}

/// The name that OpenTelemetry's rules for Prometheus make of it.
fn normal_name(name: &str) -> Result<String, EmptyName> {
    let first = name.chars().next().ok_or(EmptyName)?;
    if name.len() > 4 && name.starts_with("__") && name.ends_with("__") && is_plain(name) {
        return Ok(name.to_owned());
    }
    let mut normal = String::with_capacity(name.len());
    if first.is_ascii_digit() {
        normal.push_str("key_");
    }
    for sign in name.chars() {
        let sign = if sign.is_ascii_alphanumeric() { sign } else { '_' };
        if sign != '_' || !normal.ends_with('_') || normal == "key_" {
            normal.push(sign);
        }
    }
    Ok(normal)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_into_the_form_of_labels() {
        for (name, normal) in [
            ("trace.id", "trace_id"),
            ("a-b", "a_b"),
            ("a..b", "a_b"),
            ("1st", "key_1st"),
            ("é", "_"),
            ("__x__", "__x__"),
            ("trace_id", "trace_id"),
        ] {
            assert_eq!(normal_name(name).unwrap(), normal, "{name}");
        }
        assert_eq!(normal_name(""), Err(EmptyName));
    }

    #[test]
    fn what_is_no_text_goes_and_the_rest_is_sorted() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut metadata = vec![pair("b", "x\u{fffd}y"), pair("a.a", "1"), pair("c", "")];
        normalize(&mut metadata).unwrap();
        assert_eq!(metadata, [pair("a_a", "1"), pair("b", "xy")]);
    }

    #[test]
    fn the_level_weighs_nothing() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(bytes(&[pair(LEVEL, "info"), pair("ab", "cde")]), 5);
    }
}
