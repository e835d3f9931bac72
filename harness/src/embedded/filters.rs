//! The `filters` parameter of Docker's API: a JSON map from a filter's name to its values, which are a list or, as older
//! and newer clients write it, a map to `true`. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Map(BTreeMap<String, bool>),
}

/// What a client wants to see.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads them; everything passes where there are none.
    ///
    /// # Errors
    /// It is not such a map.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let read: BTreeMap<String, Values> =
            serde_json::from_str(text).map_err(|error| format!("invalid filter: {error}"))?;
        let values = |values| match values {
            Values::List(list) => list,
            Values::Map(map) => map.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect(),
        };
        Ok(Self(read.into_iter().map(|(name, given)| (name, values(given))).collect()))
    }

    /// The name of a filter that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.0.keys().map(String::as_str).find(|name| !known.contains(name))
    }

    /// Whether a filter is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|values| !values.is_empty())
    }

    /// Whether one of a filter's values is met; so it is where the filter is not set.
    pub(super) fn any_of(&self, name: &str, is_met: impl Fn(&str) -> bool) -> bool {
        self.0.get(name).is_none_or(|values| values.is_empty() || values.iter().any(|value| is_met(value)))
    }

    /// Whether every label that is asked for is there: `key`, or `key=value`.
    pub(super) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_there = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.0.get("label").is_none_or(|wanted| wanted.iter().all(is_there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nonsense_is_said() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        for form in [r#"{"label":["a","b=2"]}"#, r#"{"label":{"a":true,"b=2":true,"c":false}}"#] {
            assert!(Filters::parse(form).unwrap().labels(&labels), "{form}");
        }
        assert!(!Filters::parse(r#"{"label":["a","b=3"]}"#).unwrap().labels(&labels));
        assert!(Filters::parse("").unwrap().labels(&labels));
        assert!(Filters::parse("[1]").unwrap_err().contains("invalid filter"));
        assert_eq!(Filters::parse(r#"{"colour":["red"]}"#).unwrap().unknown(&["label"]), Some("colour"));
    }
}
