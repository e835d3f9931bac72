//! What is done with a run when it is over, besides its report: it is held against what is known, and added to a history.

use std::path::{Path, PathBuf};

use crate::record::baselines::{self, Baselines};
use crate::record::files::{self, RecordError};
use crate::record::history::{self, Added};
use crate::report;
use crate::result::RunResult;
use crate::result::contrast::{Contrast, Direction};
use crate::run::against::{self, Across, AgainstError, set_against};
use crate::trend::contrast::Matters;
use crate::trend::digest::digest;

/// What is to be done.
#[derive(Debug, Default)]
pub struct Afterwards {
    /// The known states, read before the run begins: what is wrong with a file is told then, and not after a night.
    baselines: Option<(PathBuf, Baselines)>,
    history: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// The run, with what it comes to beside what is known.
    pub result: RunResult,
    /// What a person should know.
    pub said: Vec<String>,
}

impl Done {
    /// Whether it is worse than what is known.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.result.against.as_ref().is_some_and(|against| against.direction == Direction::Worse)
    }
}

impl Afterwards {
    /// Reads what is needed of these files, and makes sure that what is to be written can be.
    ///
    /// # Errors
    /// [`RecordError`] where the baselines can't be read, or the history can't be written.
    pub fn new(baseline: Option<PathBuf>, history: Option<PathBuf>) -> Result<Self, RecordError> {
        let known = baseline.map(|path| baselines::read(&path).map(|known| (path, known))).transpose()?;
        history.as_ref().map_or(Ok(()), |path| history::begin(path))?;
        Ok(Self { baselines: known, history })
    }

    /// Does it, with a run that has its verdict; its report is drawn again where it has more to say.
    ///
    /// # Errors
    /// Where a file can't be read or written.
    pub fn carry_out(&self, out: &Path, result: RunResult) -> anyhow::Result<Done> {
        let mut done = Done { result, said: Vec::new() };
        if let Some((path, known)) = &self.baselines {
            match against_known(&done.result, known)? {
                Some(found) => {
                    files::write_json(&out.join(files::AGAINST), &found)?;
                    done.said.push(format!("against {}: {}: {}", path.display(), found.direction.words(), found.sentence));
                    done.result.against = Some(found);
                    report::write_all(out, &done.result)?;
                }
                None => done.said.push(format!(
                    "{} knows nothing of scenario {} on such a machine: `flatline baseline set {}` makes this run what is known",
                    path.display(),
                    done.result.manifest.scenario,
                    out.display()
                )),
            }
        }
        done.said.extend(self.note(out)?);
        Ok(done)
    }

    /// Adds a run to the history, also one that failed, as far as there is anything of it.
    ///
    /// # Errors
    /// Where a file can't be read or written.
    pub fn note(&self, out: &Path) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.history else { return Ok(None) };
        let night = against::read(out)?;
        Ok(Some(match history::add(path, &night)? {
            Added::Added => format!("added to {}", path.display()),
            Added::Known => format!("{} has this run already", path.display()),
        }))
    }
}

/// `None` where nothing is known for its ground. Another kernel or another version of the engine is told, and not refused.
fn against_known(result: &RunResult, known: &Baselines) -> anyhow::Result<Option<Contrast>> {
    let night = digest(result)?;
    let Some(known) = known.of(&night.ground) else { return Ok(None) };
    match set_against(&known.runs, &[night], &Matters::default(), Across::Told) {
        Ok(found) => Ok(Some(found)),
        Err(AgainstError::NothingInCommon { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
