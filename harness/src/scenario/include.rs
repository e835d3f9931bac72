//! Scenarios that build on others: `include: base.yaml`, or a list. What a file says wins over what it includes, a later
//! include over an earlier one; maps are merged, all else is replaced.

use std::fmt;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::Spanned;

use super::yaml::{mistake, parse};
use super::{Scenario, ScenarioError, Source};

/// Who includes more has included itself by another name.
const FILES_MAX: usize = 50;
const KEY: &str = "include";

/// Reads a scenario with all that it includes.
pub(super) fn read(source: &Source, path: &Path) -> Result<Scenario, ScenarioError> {
    let text = source.read(path).map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
    let file = tree(path, &text)?;
    if !matches!(&file.what, What::Map(fields) if fields.contains_key(KEY)) {
        return parse(path, &text);
    }
    let mut gathered = Gathered { source, files: Vec::new() };
    let whole = gathered.gather(file, (path, Path::new("")), &mut Vec::new())?;
    gathered.scenario(&whole)
}

/// Line and column of the value at this path of keys in a file; none where there is no such value.
pub(super) fn place(text: &str, keys: &[&str]) -> Option<(u64, u64)> {
    let file: Node = serde_saphyr::from_str(text).ok()?;
    let found = keys.iter().try_fold(&file, |node, key| node.step(Step::Key(key)))?;
    Some((found.line, found.column))
}

/// A value and where it stands.
#[derive(Debug)]
struct Node {
    /// Its file's place in the list of all.
    file: usize,
    line: u64,
    column: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Map(IndexMap<String, Node>),
    List(Vec<Node>),
    Leaf(Value),
}

/// The files that were read.
struct Gathered<'a> {
    source: &'a Source,
    files: Vec<PathBuf>,
}

impl Gathered<'_> {
    /// A file that was read, with all that it includes. `folder` is its own, seen from the scenario's; `above` are those
    /// that include it.
    fn gather(
        &mut self,
        mut file: Node,
        (path, folder): (&Path, &Path),
        above: &mut Vec<PathBuf>,
    ) -> Result<Node, ScenarioError> {
        file.is_of(self.files.len());
        self.files.push(path.to_owned());
        above.push(identity(path));
        let include = match &mut file.what {
            What::Map(fields) => fields.shift_remove(KEY),
            // Nothing stands in it, or comments alone.
            What::Leaf(Value::Null) => {
                file.what = What::Map(IndexMap::new());
                None
            }
            What::List(_) | What::Leaf(_) => {
                return Err(self.wrong(&file, "part of a scenario has fields, such as `name: night`"));
            }
        };
        let mut whole: Option<Node> = None;
        for (name, place) in include.iter().flat_map(Node::listed) {
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                return Err(self.wrong(place, "include: name a file, or a list of them"));
            };
            let beneath = self.included(name, place, (path, folder), above)?;
            whole = Some(match whole {
                Some(earlier) => earlier.under(beneath),
                None => beneath,
            });
        }
        above.pop();
        file.find_files(folder);
        Ok(match whole {
            Some(whole) => whole.under(file),
            None => file,
        })
    }

    fn included(
        &mut self,
        name: &str,
        place: &Node,
        (path, folder): (&Path, &Path),
        above: &mut Vec<PathBuf>,
    ) -> Result<Node, ScenarioError> {
        let file = path.parent().unwrap_or(Path::new("")).join(name);
        if above.contains(&identity(&file)) {
            return Err(self.wrong(place, &format!("include: {name} includes this file again")));
        }
        if self.files.len() >= FILES_MAX {
            return Err(self.wrong(place, &format!("include: more than {FILES_MAX} files in all")));
        }
        let folder = folder.join(Path::new(name).parent().unwrap_or(Path::new("")));
        let text = self.source.read(&file).map_err(|error| {
            self.wrong(place, &format!("include: can't read {}: {error}", file.display()))
        })?;
        self.gather(tree(&file, &text)?, (&file, &folder), above)
    }

    fn wrong(&self, place: &Node, why: &str) -> ScenarioError {
        let path = self.files.get(place.file).cloned().unwrap_or_default();
        ScenarioError::Parse { path, why: format!("{}:{}: {why}", place.line, place.column) }
    }

    fn scenario(&self, whole: &Node) -> Result<Scenario, ScenarioError> {
        serde_path_to_error::deserialize(whole.value()).map_err(|error| {
            let (path, why) = (error.path().clone(), error.into_inner().to_string());
            let unknown = why.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let mut place = whole;
            let steps = path.iter().filter_map(|segment| match segment {
                Segment::Seq { index } => Some(Step::Index(*index)),
                Segment::Map { key } => Some(Step::Key(key)),
                Segment::Enum { .. } | Segment::Unknown => None,
            });
            for step in steps.chain(unknown.map(Step::Key)) {
                place = place.step(step).unwrap_or(place);
            }
            let field = if path.iter().next().is_some() { format!("{path}: ") } else { String::new() };
            self.wrong(place, &format!("{field}{why}"))
        })
    }
}

/// What a file holds, whatever it means.
fn tree(path: &Path, text: &str) -> Result<Node, ScenarioError> {
    serde_saphyr::from_str(text).map_err(|error| mistake(path, "", &error))
}

/// The same file by whichever name.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Node {
    /// Notes whose it is.
    fn is_of(&mut self, file: usize) {
        self.file = file;
        match &mut self.what {
            What::Map(fields) => fields.values_mut().for_each(|node| node.is_of(file)),
            What::List(nodes) => nodes.iter_mut().for_each(|node| node.is_of(file)),
            What::Leaf(_) => {}
        }
    }

    /// The texts that it lists, or the one that it is, each with its place; `None` for what is no text.
    fn listed(&self) -> Vec<(Option<&str>, &Self)> {
        match &self.what {
            What::List(nodes) if nodes.is_empty() => vec![(None, self)],
            What::List(nodes) => nodes.iter().map(|node| (node.text(), node)).collect(),
            What::Map(_) | What::Leaf(_) => vec![(self.text(), self)],
        }
    }

    fn text(&self) -> Option<&str> {
        match &self.what {
            What::Leaf(value) => value.as_str(),
            What::Map(_) | What::List(_) => None,
        }
    }

    /// Files of targets, and logs to replay, lie beside the file that names them.
    fn find_files(&mut self, folder: &Path) {
        let found = |place: Option<&mut Self>| {
            if let Some(Self { what: What::Leaf(Value::String(file)), .. }) = place {
                *file = folder.join(&*file).display().to_string();
            }
        };
        found(self.field("containers").and_then(|containers| containers.field("replay")));
        let Some(Self { what: What::Map(targets), .. }) = self.field("targets") else { return };
        targets.values_mut().for_each(|target| found(target.field("file")));
    }

    fn field(&mut self, name: &str) -> Option<&mut Self> {
        match &mut self.what {
            What::Map(fields) => fields.get_mut(name),
            What::List(_) | What::Leaf(_) => None,
        }
    }

    /// This one with another over it.
    fn under(self, over: Self) -> Self {
        match (self.what, over.what) {
            (What::Map(mut fields), What::Map(over_fields)) => {
                for (key, node) in over_fields {
                    let merged = match fields.shift_remove(&key) {
                        Some(beneath) => beneath.under(node),
                        None => node,
                    };
                    fields.insert(key, merged);
                }
                Self { what: What::Map(fields), ..over }
            }
            (_, what) => Self { what, ..over },
        }
    }

    fn step(&self, step: Step<'_>) -> Option<&Self> {
        match (&self.what, step) {
            (What::Map(fields), Step::Key(key)) => fields.get(key),
            (What::List(nodes), Step::Index(index)) => nodes.get(index),
            _ => None,
        }
    }

    fn value(&self) -> Value {
        match &self.what {
            What::Map(fields) => {
                Value::Object(fields.iter().map(|(key, node)| (key.clone(), node.value())).collect())
            }
            What::List(nodes) => Value::Array(nodes.iter().map(Self::value).collect()),
            What::Leaf(value) => value.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<What>::deserialize(deserializer)?;
        Ok(Self { file: 0, line: referenced.line(), column: referenced.column(), what: value })
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = What;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<What, A::Error> {
                let mut fields = IndexMap::new();
                while let Some((key, node)) = map.next_entry()? {
                    fields.insert(key, node);
                }
                Ok(What::Map(fields))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<What, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = sequence.next_element()? {
                    nodes.push(node);
                }
                Ok(What::List(nodes))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<What, E> {
                leaf(value)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<What, E> {
                leaf(value)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<What, E> {
                leaf(value)
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<What, E> {
                leaf(value)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<What, E> {
                leaf(value)
            }
            fn visit_unit<E: de::Error>(self) -> Result<What, E> {
                Ok(What::Leaf(Value::Null))
            }
            fn visit_none<E: de::Error>(self) -> Result<What, E> {
                Ok(What::Leaf(Value::Null))
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<What, D::Error> {
                What::deserialize(deserializer)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn leaf<E: de::Error>(value: impl Serialize) -> Result<What, E> {
    serde_json::to_value(value).map(What::Leaf).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Loaded, Overrides, load};
    use super::*;
    use crate::result::Resource;

    /// A folder with these files, and with the targets that ship in `base/targets`.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let targets = folder.path().join("base/targets");
        fs::create_dir_all(&targets).unwrap();
        for name in ["pool.yaml", "hybrid.yaml"] {
            fs::copy(Path::new("../scenarios/targets").join(name), targets.join(name)).unwrap();
        }
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn loaded(folder: &tempfile::TempDir, set: &[&str]) -> Result<Loaded, String> {
        let set = set.iter().map(|set| (*set).to_owned()).collect();
        let overrides = Overrides { set, ..Overrides::default() };
        load(Some(&folder.path().join("main.yaml")), &overrides).map_err(|error| error.to_string())
    }

    const BASE: &str = "\
name: base
window: 1h
phases: { history: 1s, warmup: 2s, load: 60s, drain: 3s }
containers: &containers
  count: 4
  lines_per_second: 10
  line_bytes: 100
  rotate: { max_size: 1MiB, max_files: 3 }
  churn: { every: 4s, steps: [restart, replace], linger: 10s }
limits: { tasks: 2, fds: 2 }
faults: [ {at: 1s, for: 1s, fault: hang} ]
targets:
  pool: { file: targets/pool.yaml, expect: flat, settings: { max_age: 50m, encoding: json } }
";

    #[test]
    fn what_a_file_says_wins_maps_are_merged_and_lists_are_replaced() {
        let main = "\
include: [base/base.yaml, load.yaml]
name: mine
phases: { load: 2m }
containers: { churn: { steps: [replace] } }
faults: [ {at: 3s, for: 1s, fault: {window: 10s}}, {at: 5s, for: 1s, fault: reset} ]
targets:
  pool: { settings: { encoding: protobuf } }
  hybrid: { file: base/targets/hybrid.yaml, expect: flat }
";
        let load = "containers: { count: 9 }\nlimits: { fds: 5 }\nname: load\n";
        let folder = folder(&[("main.yaml", main), ("base/base.yaml", BASE), ("load.yaml", load)]);
        let scenario = loaded(&folder, &[]).unwrap().scenario;
        assert_eq!(scenario.name, "mine");
        assert_eq!(
            (scenario.phases.load.to_string(), scenario.phases.drain.to_string()),
            ("2m".into(), "3s".into())
        );
        let containers = &scenario.containers;
        assert_eq!((containers.count, containers.lines_per_second), (9, 10));
        let churn = containers.churn.as_ref().unwrap();
        assert_eq!((churn.steps.len(), churn.every.to_string()), (1, "4s".to_owned()));
        assert_eq!((scenario.limits[&Resource::Fds], scenario.limits[&Resource::Tasks]), (5.0, 2.0));
        assert_eq!(scenario.faults.len(), 2);
        let set =
            ["containers.count=3", "containers.churn=null", "targets.pool.settings.too_old=dead_letter"];
        let loaded = loaded(&folder, &set).unwrap();
        assert_eq!((loaded.scenario.containers.count, loaded.scenario.containers.churn.is_none()), (3, true));
        let names: Vec<&str> = loaded.targets.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["pool", "hybrid"]);
        let pool = &loaded.targets[0].kind.settings;
        assert_eq!(
            [&pool["max_age"], &pool["encoding"], &pool["too_old"]],
            ["50m", "protobuf", "dead_letter"]
        );
        assert!(!loaded.yaml.contains("include"), "what ran needs no other file: {}", loaded.yaml);
    }

    #[test]
    fn a_mistake_is_named_with_the_file_in_which_it_stands_and_its_line() {
        for (main, base, place, words) in [
            (
                "name: x\ninclude: base/base.yaml\nphases:\n  laod: 2m\n",
                "",
                "main.yaml:4:",
                "unknown field `laod`",
            ),
            ("include: base/base.yaml\n", "fautls: []\n", "base/base.yaml:14:", "unknown field `fautls`"),
            (
                "include: base/base.yaml\nwindow: soon\n",
                "",
                "main.yaml:2:",
                "window: \"soon\" is no duration",
            ),
            (
                "include: base/base.yaml\nfaults:\n - {at: 1s, for: 1s, fault: hang}\n - {at: 1s, fault: hang}\n",
                "",
                "main.yaml:4:",
                "faults[1]: missing field `for`",
            ),
            ("include: base/none.yaml\n", "", "main.yaml:1:", "base/none.yaml"),
            ("name: x\ninclude:\n  - base/base.yaml\n  - 7\n", "", "main.yaml:4:", "include: name a file"),
            ("name: x\ninclude: []\n", "", "main.yaml:2:", "include: name a file"),
            ("include: ''\n", "", "main.yaml:1:", "include: name a file"),
            ("include: [list.yaml, base/base.yaml]\n", "", "list.yaml:1:", "part of a scenario has fields"),
            ("include: [base/base.yaml, text.yaml]\n", "", "text.yaml:1:", "part of a scenario has fields"),
            (
                "include: base/base.yaml\ncontainers: {replay: none}\n",
                "",
                "main.yaml: 1 to mend",
                "containers.replay: none is",
            ),
            (
                "include: base/base.yaml\n",
                "include: ../main.yaml\n",
                "base/base.yaml:14:",
                "../main.yaml includes this",
            ),
            ("include: ./main.yaml\n", "", "main.yaml:1:", "./main.yaml includes this file again"),
            ("include: base/base.yaml\n", "include: [\n", "base/base.yaml:", ""),
            ("include: base/base.yaml\nname: x\n name: y\n", "", "main.yaml:3:", ""),
        ] {
            let base = format!("{BASE}{base}");
            let folder = folder(&[
                ("main.yaml", main),
                ("base/base.yaml", &base),
                ("list.yaml", "- name: x\n"),
                ("text.yaml", "name\n"),
            ]);
            let message = loaded(&folder, &[]).unwrap_err();
            let place = folder.path().join(place).display().to_string();
            assert!(message.starts_with(&place) && message.contains(words), "{place} {words}: {message}");
        }
    }

    #[test]
    fn logs_to_replay_lie_beside_the_file_that_names_them() {
        let base = BASE.replace("  count: 4\n", "  count: 4\n  replay: targets\n");
        let main = "include: [base/base.yaml, comment.yaml]\n";
        let folder =
            folder(&[("main.yaml", main), ("base/base.yaml", &base), ("comment.yaml", "# nothing yet\n")]);
        let replay = loaded(&folder, &[]).unwrap().scenario.containers.replay.unwrap();
        assert_eq!(replay, folder.path().join("base/targets"));
    }

    #[test]
    fn files_that_multiply_are_refused() {
        let twice = |name: &str| format!("include: [{name}, {name}]\n");
        let names: Vec<String> = (0..12).map(|number| format!("part{number}.yaml")).collect();
        let mut files = vec![("main.yaml", twice("part0.yaml")), ("part12.yaml", BASE.to_owned())];
        files.extend(
            names.iter().zip(1..).map(|(name, next)| (name.as_str(), twice(&format!("part{next}.yaml")))),
        );
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let message = loaded(&folder(&files), &[]).unwrap_err();
        assert!(message.contains("more than 50 files"), "{message}");
    }
}
