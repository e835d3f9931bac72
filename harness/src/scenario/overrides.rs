//! What the command line changes in a scenario.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::yaml::plain;
use super::{Scenario, ScenarioError, Source};
use crate::result::Shard;
use crate::target::spec::Entry;
use crate::units::Factor;

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--targets`; all where empty.
    pub targets: Vec<String>,
    /// `--shard`: of the targets that are left.
    pub shard: Option<Shard>,
    /// `--compress`: what all of it is compressed by in the end, whatever the scenario says.
    pub compress: Option<Factor>,
}

impl Overrides {
    /// The scenario with these changes.
    pub(super) fn applied(
        &self,
        mut scenario: Scenario,
        source: &Source,
        path: &Path,
    ) -> Result<Scenario, ScenarioError> {
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        for setting in &self.set {
            scenario = set(&scenario, setting)?;
        }
        select(&mut scenario, (source, path), &self.targets)?;
        if let Some(shard) = self.shard {
            share(&mut scenario, path, shard)?;
        }
        Ok(scenario)
    }
}

/// Sets one value by its dotted path. The result must still be what it was: a scenario, a bench.
pub(super) fn set<T: Serialize + DeserializeOwned>(scenario: &T, setting: &str) -> Result<T, ScenarioError> {
    let wrong = |why: String| ScenarioError::Set { setting: setting.to_owned(), why };
    let (key, text) =
        setting.split_once('=').ok_or_else(|| wrong("write KEY=VALUE, e.g. phases.load=10m".into()))?;
    let value: Value = serde_saphyr::from_str(text).map_err(|error| wrong(plain(&error)))?;
    let mut whole = serde_json::to_value(scenario).map_err(|error| wrong(error.to_string()))?;
    let mut place = &mut whole;
    let mut above = "";
    for part in key.split('.') {
        // What a scenario leaves out may be named here for the first time: whether there is such a field is found out
        // when all is read again. But a target's name that is not there is a slip.
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let known = keys(place);
        let why = if place.is_array() { "; a list is set whole: KEY=[...]" } else { "" };
        let fields = place
            .as_object_mut()
            .ok_or_else(|| wrong(format!("there is nothing beneath it at {part:?}{why}")))?;
        if above == "targets" && !fields.contains_key(part) {
            return Err(wrong(format!("no target {part:?}; there are: {known}")));
        }
        place = fields.entry(part).or_insert(Value::Null);
        above = part;
    }
    *place = value;
    serde_json::from_value(whole).map_err(|error| wrong(error.to_string()))
}

fn keys(value: &Value) -> String {
    let keys = value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    keys.unwrap_or_default().join(", ")
}

/// Only these. Who is not in the scenario but has a file beside the others' must stay flat.
fn select(
    scenario: &mut Scenario,
    (source, path): (&Source, &Path),
    names: &[String],
) -> Result<(), ScenarioError> {
    for name in names {
        if !scenario.targets.contains_key(name) {
            let files = scenario.targets.iter().map(|(name, entry)| (name, &entry.file));
            let file = source.unnamed(path, files, name)?;
            scenario.targets.insert(name.clone(), Entry::flat(file));
        }
    }
    if !names.is_empty() {
        scenario.targets.retain(|name, _| names.contains(name));
    }
    Ok(())
}

fn share(scenario: &mut Scenario, path: &Path, shard: Shard) -> Result<(), ScenarioError> {
    let count = scenario.targets.len();
    let mut index = 0..;
    scenario.targets.retain(|_, _| index.next().is_some_and(|index| shard.holds(index)));
    if scenario.targets.is_empty() {
        return Err(ScenarioError::EmptyShard { shard, path: path.to_owned(), count });
    }
    Ok(())
}
