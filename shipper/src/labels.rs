//! Which labels a line gets: few, and none that is new with each container start, because each set of
//! labels is a stream that Loki keeps open. The container's id is structured metadata for that reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::record::{Container, Stream};

/// Loki's `max_label_value_length`.
const VALUE_BYTES_MAX: usize = 2048;

/// The labels of one stream, and the metadata that all of its lines share. Made once per container and
/// stream, never per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Sorted by name.
    pub pairs: Vec<(Cow<'static, str>, String)>,
    /// The same as Loki writes them: `{container="web", job="docker"}`.
    pub text: String,
    /// `container_id`, as `docker ps` prints it.
    pub container_id: String,
}

impl Labels {
    /// Of the lines that `container` writes to `stream`.
    #[must_use]
    pub fn of(container: &Container, stream: Stream) -> Arc<Self> {
        let compose = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
        let pairs = [
            ("compose_project", compose("com.docker.compose.project")),
            ("compose_service", compose("com.docker.compose.service")),
            ("container", container.name.as_str()),
            ("job", "docker"),
            ("stream", stream.as_str()),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (Cow::Borrowed(name), cut(value).to_owned()))
        .collect();
        Self::with(pairs, container.id.short().to_owned())
    }

    /// As they were written down.
    #[must_use]
    pub fn restored(pairs: BTreeMap<String, String>, container_id: String) -> Arc<Self> {
        Self::with(pairs.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect(), container_id)
    }

    fn with(pairs: Vec<(Cow<'static, str>, String)>, container_id: String) -> Arc<Self> {
        let text = text(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_str())));
        Arc::new(Self { pairs, text, container_id })
    }
}

fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or(value)
}

/// As Loki writes labels.
pub(crate) fn text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from("{");
    for (place, (name, value)) in pairs.enumerate() {
        text.push_str(if place == 0 { "" } else { ", " });
        text.push_str(name);
        text.push_str("=\"");
        value.chars().for_each(|c| push_quoted(&mut text, c));
        text.push('"');
    }
    text.push('}');
    text
}

/// Loki reads label values as Go string literals.
fn push_quoted(text: &mut String, c: char) {
    match c {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_ascii_control() => {
            // Writing to a string does not fail.
            write!(text, "\\x{:02x}", u32::from(c)).unwrap_or_default();
        }
        c => text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ContainerId;

    fn container(name: &str, labels: &[(&str, &str)]) -> Container {
        Container {
            id: ContainerId::parse(&"0a".repeat(32)).unwrap(),
            name: name.to_owned(),
            image: "generator".to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            log_driver: "json-file".to_owned(),
            log_path: None,
            tty: false,
        }
    }

    #[test]
    fn a_plain_container_has_three_labels() {
        let labels = Labels::of(&container("web", &[]), Stream::Stdout);
        assert_eq!(labels.text, r#"{container="web", job="docker", stream="stdout"}"#);
        assert_eq!(labels.container_id, "0a0a0a0a0a0a");
    }

    #[test]
    fn compose_is_named_and_other_labels_stay_out() {
        let container = container(
            "web-1",
            &[
                ("com.docker.compose.project", "shop"),
                ("com.docker.compose.service", "we\"b\n\r\t\u{1}"),
                ("secret", "x"),
            ],
        );
        insta::assert_snapshot!(Labels::of(&container, Stream::Stderr).text, @r#"{compose_project="shop", compose_service="we\"b\n\r\t\x01", container="web-1", job="docker", stream="stderr"}"#);
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let labels = Labels::of(&container(&"é".repeat(1500), &[]), Stream::Stdout);
        assert_eq!(labels.pairs[0].1, "é".repeat(1024));
    }
}
