//! The containers of a run: how many, how fast they write, how their logs rotate, how they come and go.
//!
//! Every container writes under a source name that no other container of the run ever gets (`c01`,
//! `c02` …). A restarted container keeps its name and goes on counting; a replacement gets the next one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::units::{self, Span};
use crate::world::container::ContainerSpec;
use crate::world::engine::{Engine, EngineError};
use crate::world::happened::Happened;

/// What the containers do.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Containers")]
pub struct Config {
    /// How many run at a time, at least one.
    pub count: usize,
    /// Lines a second of each.
    pub lines_per_second: u32,
    /// How many of them are written one right after the other.
    #[serde(default = "one")]
    pub burst: u32,
    /// Bytes of each line, newline left out.
    pub line_bytes: usize,
    /// How many lines of a hundred go to standard error.
    #[serde(default)]
    pub stderr_percent: u32,
    /// Rotation by Docker's json-file driver.
    pub rotate: Rotate,
    /// A folder of logs of Docker's json-file driver, whose lines' texts are written instead of padding, over and over, to
    /// the outputs that they were written to. From where flatline runs, or beside the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<PathBuf>,
    /// Who comes and goes; nobody where it is left out.
    #[serde(default)]
    pub churn: Option<Churn>,
}

/// The embedded engine restarts a container in some milliseconds.
pub const SHORTEST_CHURN: Duration = Duration::from_millis(10);

fn one() -> u32 {
    1
}

/// Docker's own options of the json-file driver.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// `max-size`.
    #[schemars(schema_with = "units::byte_size_schema")]
    pub max_size: ByteSize,
    /// `max-file`.
    pub max_files: u32,
}

/// How containers come and go.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// One step this often on average. Each pause is drawn between a quarter of it and seven quarters, by the scenario's
    /// seed: so what follows the containers can be told from what follows a clock.
    pub every: Span,
    /// The steps, taken in turn, each on the next container.
    pub steps: Vec<Step>,
    /// How long a replaced container stays, stopped, until it is removed.
    pub linger: Span,
}

/// One way to come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ChurnStep")]
pub enum Step {
    /// Stop it and start it again: same id, same log file.
    Restart,
    /// Stop it, start a new one in its place, remove it later.
    Replace,
}

/// What the containers need to know of their run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The run's id.
    pub run_id: String,
    /// What a container's command begins with.
    pub entrypoint: Vec<String>,
    /// The folder of the counter files, absolute.
    pub truth: PathBuf,
    /// The file of what the lines' rate is multiplied by, where that changes.
    pub tempo: Option<PathBuf>,
    /// The logs to replay, made ready, which the containers take in turn; padding where there are none.
    pub replay: Vec<PathBuf>,
    /// Seed of the lines' padding.
    pub seed: u64,
    /// Where to keep count of starts and restarts.
    pub happened: Arc<Happened>,
}

#[derive(Debug)]
struct Running {
    id: String,
    source: String,
}

/// The containers of a run.
#[derive(Debug)]
pub struct Load {
    engine: Engine,
    config: Config,
    setting: Setting,
    running: Vec<Running>,
    leaving: Vec<(Instant, Running)>,
    started: u64,
    steps: usize,
}

impl Load {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(engine: Engine, config: Config, setting: Setting) -> Self {
        Self { engine, config, setting, running: Vec::new(), leaving: Vec::new(), started: 0, steps: 0 }
    }

    /// How many containers were started, restarts left out.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The ids of those that run.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        self.running.iter().map(|running| running.id.clone()).collect()
    }

    /// Starts one of the first containers. Answers whether more are wanted.
    ///
    /// # Errors
    /// [`EngineError`] where it would not start.
    pub async fn start_one(&mut self) -> Result<bool, EngineError> {
        let new = self.start_next().await?;
        self.running.push(new);
        Ok(self.running.len() < self.config.count)
    }

    /// Takes the next step of the churn and removes whoever has lingered long enough. Answers with what
    /// it did, in words.
    ///
    /// # Errors
    /// [`EngineError`] where the engine would not.
    pub async fn churn(&mut self) -> Result<String, EngineError> {
        let Some(churn) = self.config.churn.clone() else { return Ok("nobody comes or goes".to_owned()) };
        self.remove_lingering().await?;
        let (step, index) = next_step(self.steps, &churn.steps, self.running.len());
        self.steps += 1;
        match step {
            Step::Restart => self.restart(index).await,
            Step::Replace => self.replace(index, churn.linger.0).await,
        }
    }

    async fn restart(&mut self, index: usize) -> Result<String, EngineError> {
        let Some(running) = self.running.get(index) else { return Ok("no container to restart".to_owned()) };
        self.engine.stop(&running.id).await?;
        self.engine.start(&running.id).await?;
        self.setting.happened.restarted();
        Ok(format!("restart {}", running.source))
    }

    async fn replace(&mut self, index: usize, linger: Duration) -> Result<String, EngineError> {
        let Some(id) = self.running.get(index).map(|running| running.id.clone()) else {
            return Ok("no container to replace".to_owned());
        };
        self.engine.stop(&id).await?;
        self.setting.happened.ended(&id);
        let new = self.start_next().await?;
        let said = new.source.clone();
        let Some(slot) = self.running.get_mut(index) else { return Ok(format!("start {said}")) };
        let old = std::mem::replace(slot, new);
        let said = format!("replace {} by {said}", old.source);
        self.leaving.push((Instant::now() + linger, old));
        Ok(said)
    }

    async fn remove_lingering(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        while let Some(due) = self.leaving.iter().position(|(when, _)| *when <= now) {
            let (_, running) = self.leaving.swap_remove(due);
            self.engine.remove(&running.id).await?;
        }
        Ok(())
    }

    async fn start_next(&mut self) -> Result<Running, EngineError> {
        self.started += 1;
        let source = format!("c{:02}", self.started);
        let id = self.engine.start_new(self.spec(&source)).await?;
        self.setting.happened.started(&id);
        Ok(Running { id, source })
    }

    fn spec(&self, source: &str) -> ContainerSpec {
        let truth = self.setting.truth.join(source);
        let arguments = [
            "generate".to_owned(),
            format!("--source={source}"),
            format!("--rate={}", self.config.lines_per_second),
            format!("--burst={}", self.config.burst),
            format!("--line-bytes={}", self.config.line_bytes),
            format!("--stderr-percent={}", self.config.stderr_percent),
            format!("--seed={}", self.setting.seed),
            format!("--truth={}", truth.display()),
        ];
        let turn = usize::try_from(self.started.saturating_sub(1)).unwrap_or_default();
        let replay = self.setting.replay.iter().cycle().nth(turn % self.setting.replay.len().max(1));
        let replay = replay.map(|file| format!("--replay={}", file.display()));
        let tempo = self.setting.tempo.iter().map(|tempo| format!("--tempo={}", tempo.display()));
        ContainerSpec {
            name: format!("flatline-{}-{source}", self.setting.run_id),
            command: self
                .setting
                .entrypoint
                .iter()
                .cloned()
                .chain(arguments)
                .chain(tempo)
                .chain(replay)
                .collect(),
            mount: self.setting.truth.display().to_string(),
            log_max_bytes: self.config.rotate.max_size.as_u64(),
            log_max_files: self.config.rotate.max_files,
        }
    }
}

/// Which step comes next, and on which of `count` containers: steps and containers in turn. The
/// container moves on only after a full round of steps where the two numbers share a divisor, so that
/// each container meets each step.
fn next_step(taken: usize, steps: &[Step], count: usize) -> (Step, usize) {
    let step = steps.get(taken % steps.len().max(1)).copied().unwrap_or(Step::Restart);
    let round = taken / (steps.len().max(1) * count.max(1));
    (step, (taken + round) % count.max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_container_meets_every_step() {
        let steps = [Step::Restart, Step::Replace];
        let met: BTreeSet<(String, usize)> = (0..32)
            .map(|taken| next_step(taken, &steps, 8))
            .map(|(step, index)| (format!("{step:?}"), index))
            .collect();
        assert_eq!(met.len(), 16);
    }

    #[test]
    fn steps_are_taken_in_turn() {
        let steps = [Step::Restart, Step::Replace];
        let taken: Vec<Step> = (0..4).map(|taken| next_step(taken, &steps, 3).0).collect();
        assert_eq!(taken, [Step::Restart, Step::Replace, Step::Restart, Step::Replace]);
    }
}
