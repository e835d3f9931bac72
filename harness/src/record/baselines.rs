//! Baselines: the known state of each scenario on each class of machine, in one file.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::files::{self, KEEP_KNOWN, READ_KNOWN, RecordError};
use crate::result::{Digest, Ground, SCHEMA};

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baselines {
    /// [`SCHEMA`].
    pub schema: u32,
    /// A known state for each load on each class of machine.
    pub known: Vec<Known>,
}

/// A known state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// Its runs, of one load on one class of machine.
    pub runs: Vec<Digest>,
}

impl Default for Baselines {
    fn default() -> Self {
        Self { schema: SCHEMA, known: Vec::new() }
    }
}

impl Known {
    /// Whether a run of this ground can be held against it.
    #[must_use]
    pub fn is_for(&self, ground: &Ground) -> bool {
        self.runs.first().is_some_and(|run| {
            run.ground.is_same_load(ground) && run.ground.machine_class() == ground.machine_class()
        })
    }
}

impl Baselines {
    /// The known state for a run of this ground.
    #[must_use]
    pub fn of(&self, ground: &Ground) -> Option<&Known> {
        self.known.iter().find(|known| known.is_for(ground))
    }

    /// Sets the known states that these runs are, each for its ground, and forgets what was known for that.
    pub fn set(&mut self, runs: Vec<Digest>) {
        let mut fresh: Vec<Known> = Vec::new();
        for run in runs {
            match fresh.iter_mut().find(|known| known.is_for(&run.ground)) {
                Some(known) => known.runs.push(run),
                None => fresh.push(Known { runs: vec![run] }),
            }
        }
        self.known.retain(|known| {
            known.runs.first().is_some_and(|run| !fresh.iter().any(|fresh| fresh.is_for(&run.ground)))
        });
        self.known.extend(fresh);
    }
}

/// Reads the file.
///
/// # Errors
/// [`RecordError`] where it can't be read.
pub fn read(path: &Path) -> Result<Baselines, RecordError> {
    files::read_versioned(path).map_err(|error| about(READ_KNOWN, error))
}

/// Writes it, whole or not at all.
///
/// # Errors
/// [`RecordError::Io`].
pub fn write(path: &Path, baselines: &Baselines) -> Result<(), RecordError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(RecordError::io(KEEP_KNOWN, path))?;
    }
    files::write_json(path, baselines).map_err(|error| about(KEEP_KNOWN, error))
}

/// The same error, told of known states: who has no run has no `--out`.
fn about(what: &'static str, error: RecordError) -> RecordError {
    match error {
        RecordError::Io { path, source, .. } => RecordError::Io { what, path, source },
        other @ (RecordError::NotJudged { .. } | RecordError::Damaged { .. }) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trend::simulated::{Noise, Plan, history};

    #[test]
    fn what_can_not_be_used_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let none = read(&at("none.json")).unwrap_err().to_string();
        assert!(
            none.contains("can't read known states from ") && none.contains("`flatline baseline set RUN_DIR"),
            "{none}"
        );
        write(&at("file"), &Baselines::default()).unwrap();
        for path in ["file/b.json", "file/deeper/b.json"] {
            let below = write(&at(path), &Baselines::default()).unwrap_err().to_string();
            assert!(
                below.ends_with("Part of the path is a file; choose another place with --file FILE."),
                "{below}"
            );
        }
    }

    #[test]
    fn each_load_and_machine_has_a_state_of_its_own_and_the_latest_counts() {
        let nights = |new_machine| {
            let plan =
                Plan { nights: 4, noise: Noise::Normal, planted: Vec::new(), missing: false, new_machine };
            history(1, &plan)
        };
        let mixed = nights(Some(2));
        let mut baselines = Baselines::default();
        baselines.set(mixed.clone());
        assert_eq!(baselines.known.len(), 2);
        let runs = |ground: &Ground| baselines.of(ground).map(|known| known.runs.len());
        assert_eq!((runs(&mixed[0].ground), runs(&mixed[3].ground)), (Some(2), Some(2)));
        let mut other = mixed[0].ground.clone();
        other.settings.insert("phases.load".to_owned(), "1m".to_owned());
        assert_eq!(runs(&other), None);
        baselines.set(vec![nights(None)[3].clone()]);
        let ids: Vec<usize> = baselines.known.iter().map(|known| known.runs.len()).collect();
        assert_eq!(ids, [2, 1], "the first machine's is replaced");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/baselines.json");
        write(&path, &baselines).unwrap();
        assert_eq!(read(&path).unwrap(), baselines);
    }
}
