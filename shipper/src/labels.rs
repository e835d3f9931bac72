//! Which labels a line gets: few, and none that is new with each container start, because each set of
//! labels is a stream that Loki keeps open. The container's id is structured metadata for that reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::{Container, Stream};
use crate::window::shared::{Seat, Window};

pub mod streams;

/// Loki's `max_label_value_length`.
const VALUE_BYTES_MAX: usize = 2048;

/// Loki's `max_label_names_per_series`.
const LABELS_MAX: usize = 15;
/// What each stream has, as far as there is something to say.
const OWN: [&str; 5] = ["compose_project", "compose_service", "container", "job", "stream"];
const JOB: &str = "job";

/// `labels:` in the config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Labels of all streams: `{host: web-1}`. `job` is `docker`, unless it stands here.
    pub fixed: BTreeMap<String, String>,
    /// Container labels that become labels of streams, and under which name: `{com.example.team: team}`. With
    /// nothing behind it, the name is made from the key.
    pub from_containers: BTreeMap<String, Option<String>>,
    /// How many streams there may be at a time. What would be one more has the labels of a container named
    /// `other`.
    pub max_streams: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { fixed: BTreeMap::new(), from_containers: BTreeMap::new(), max_streams: 10_000 }
    }
}

impl Config {
    /// What the types can't say: names that Loki does not take, or that stand for two things.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let own = OWN.into_iter().filter(|name| *name != JOB || !self.fixed.contains_key(JOB));
        let mut origins: BTreeMap<String, String> =
            own.map(|name| (name.to_owned(), "a label of ours".to_owned())).collect();
        let fixed = self.fixed.keys().map(|name| ("labels.fixed", name, name.clone()));
        let taken = self.from_containers.iter().map(|(key, name)| {
            ("labels.from_containers", key, name.clone().unwrap_or_else(|| sanitised(key)))
        });
        for (section, key, name) in fixed.chain(taken) {
            if sanitised(&name) != name || name.is_empty() || name.starts_with("__") {
                mistakes.push(format!(
                    "{section}.{key} makes the label {name:?}: write letters, digits and _, no digit and no __ first"
                ));
            }
            if let Some(other) = origins.insert(name.clone(), format!("{section}.{key}")) {
                mistakes.push(format!(
                    "{section}.{key} makes the label {name:?}, and so does {other}: give it another name"
                ));
            }
        }
        if origins.len() > LABELS_MAX {
            let count = origins.len();
            mistakes.push(format!("labels makes {count} labels: Loki takes {LABELS_MAX} a stream"));
        }
        mistakes
    }
}

/// How streams are labelled.
#[derive(Clone, Debug, Default)]
pub struct Scheme {
    fixed: BTreeMap<String, String>,
    /// Keys of containers' labels, with the names that these get.
    taken: Vec<(String, String)>,
}

impl Scheme {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let name = |(key, name): (&String, &Option<String>)| {
            (key.clone(), name.clone().unwrap_or_else(|| sanitised(key)))
        };
        Self { fixed: config.fixed.clone(), taken: config.from_containers.iter().map(name).collect() }
    }

    /// The labels of the lines that `container` writes to `stream`.
    #[must_use]
    pub fn of(&self, container: &Container, stream: Stream) -> Labels {
        let label = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
        let own = OWN.into_iter().zip([
            label("com.docker.compose.project"),
            label("com.docker.compose.service"),
            container.name.as_str(),
            "docker",
            stream.as_str(),
        ]);
        let taken = self.taken.iter().map(|(key, name)| (name.as_str(), label(key)));
        self.with(own.chain(taken), container)
    }

    /// Those of a container whose own would be too many streams.
    #[must_use]
    pub fn of_other(&self, container: &Container, stream: Stream) -> Labels {
        let own = [("container", "other"), (JOB, "docker"), ("stream", stream.as_str())];
        self.with(own.into_iter(), container)
    }

    fn with<'a>(&self, pairs: impl Iterator<Item = (&'a str, &'a str)>, container: &Container) -> Labels {
        let mut labels: BTreeMap<&str, &str> = pairs.filter(|(_, value)| !value.is_empty()).collect();
        labels.extend(self.fixed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let owned = |(name, value): (&str, &str)| {
            let own = OWN.into_iter().find(|own| *own == name);
            (own.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed), cut(value).to_owned())
        };
        Labels::with(labels.into_iter().map(owned).collect(), container.id.short().to_owned())
    }
}

/// As Prometheus and Loki take names: what they do not take becomes `_`.
fn sanitised(name: &str) -> String {
    let known = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let first = name.starts_with(|c: char| c.is_ascii_digit()).then_some('_');
    first.into_iter().chain(name.chars().map(known)).collect()
}

/// The labels of one stream, and the metadata that all of its lines share. Made once per container and
/// stream, never per line.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Sorted by name.
    pub pairs: Vec<(Cow<'static, str>, String)>,
    /// The same as Loki writes them: `{container="web", job="docker"}`.
    pub text: String,
    /// `container_id`, as `docker ps` prints it.
    pub container_id: String,
    /// Whoever has these labels, and so every line on its way, keeps what the window knows of the stream.
    _seat: Option<Arc<Seat>>,
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        (&self.pairs, &self.container_id) == (&other.pairs, &other.container_id)
    }
}

impl Labels {
    /// As without any `labels:` in the config.
    #[must_use]
    pub fn of(container: &Container, stream: Stream) -> Arc<Self> {
        Arc::new(Scheme::default().of(container, stream))
    }

    /// With a seat in the window.
    #[must_use]
    pub fn seated(self, window: &Window) -> Arc<Self> {
        Arc::new(Self { _seat: Some(Arc::new(window.join(&self.text))), ..self })
    }

    /// As they were written down.
    #[must_use]
    pub fn restored(pairs: BTreeMap<String, String>, container_id: String) -> Arc<Self> {
        let pairs = pairs.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect();
        Arc::new(Self::with(pairs, container_id))
    }

    fn with(pairs: Vec<(Cow<'static, str>, String)>, container_id: String) -> Self {
        let text = text(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_str())));
        Self { pairs, text, container_id, _seat: None }
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
            log_max_bytes: None,
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
    fn the_config_adds_labels_and_takes_those_of_containers_that_it_names() {
        let config = Config {
            fixed: [("host", "web-1"), ("job", "logs")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            from_containers: [("com.example.team", Some("team")), ("1st/app", None), ("none", None)]
                .map(|(k, v)| (k.to_owned(), v.map(str::to_owned)))
                .into(),
            ..Config::default()
        };
        assert_eq!(config.mistakes(), Vec::<String>::new());
        let container = container("web", &[("com.example.team", "red"), ("1st/app", "x"), ("secret", "y")]);
        let scheme = Scheme::new(&config);
        assert_eq!(
            scheme.of(&container, Stream::Stdout).text,
            r#"{_1st_app="x", container="web", host="web-1", job="logs", stream="stdout", team="red"}"#
        );
        assert_eq!(
            scheme.of_other(&container, Stream::Stderr).text,
            r#"{container="other", host="web-1", job="logs", stream="stderr"}"#
        );
    }

    #[test]
    fn names_that_stand_for_two_things_or_that_loki_does_not_take_are_told() {
        let of = |fixed: &[&str], taken: &[(&str, Option<&str>)]| {
            let fixed = fixed.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            let taken = taken.iter().map(|(key, name)| ((*key).to_owned(), name.map(str::to_owned)));
            Config { fixed, from_containers: taken.collect(), ..Config::default() }.mistakes().join("\n")
        };
        let twice = of(&["container"], &[("a.b", None), ("a/b", None), ("c", Some("stream"))]);
        for words in [
            "labels.fixed.container makes the label \"container\", and so does a label of ours",
            "labels.from_containers.a/b makes the label \"a_b\", and so does labels.from_containers.a.b",
            "labels.from_containers.c makes the label \"stream\", and so does a label of ours",
        ] {
            assert!(twice.contains(words), "{twice}");
        }
        assert!(of(&["a-b"], &[]).starts_with("labels.fixed.a-b makes the label \"a-b\": write letters"));
        assert!(of(&["__a"], &[("é", Some(""))]).lines().count() == 2);
        let many: Vec<String> = (0..11).map(|number| format!("l{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many[..10], &[]), "");
        assert_eq!(of(&many, &[]), "labels makes 16 labels: Loki takes 15 a stream");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let labels = Labels::of(&container(&"é".repeat(1500), &[]), Stream::Stdout);
        assert_eq!(labels.pairs[0].1, "é".repeat(1024));
    }
}
