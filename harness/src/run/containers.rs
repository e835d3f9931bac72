//! The containers that targets run in: before anything runs their images are made, and the engine makes one of each, so
//! that what can't be had is told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::result::RunIn;
use crate::target::container::Means;
use crate::target::packed::{self, PackError, Packed};
use crate::target::process::{Place, ProcessError, path_of};
use crate::target::spec::{Filled, Spec};
use crate::world::engine::program::ProgramImage;
use crate::world::engine::{Access, Engine, EngineError};

/// Why a target can't run in a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainersError {
    /// There is no such program.
    #[error(
        "can't find the program of the target {target}: {program}\n  \
         It is looked for beside flatline itself, then in PATH; `cargo build --release` builds both."
    )]
    NoProgram {
        /// Whose.
        target: String,
        /// Which.
        program: String,
    },
    /// It can't be made an image of.
    #[error("can't pack the program of the target {target} into an image: {why}")]
    Pack {
        /// Whose.
        target: String,
        /// Why not.
        why: PackError,
    },
    /// What is to be mounted is not there.
    #[error("the target {target}: mounts: {path} {why}")]
    Mount {
        /// Whose.
        target: String,
        /// What.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The image can't be imported.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine will not make the container.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A program's image, and how it is started there.
#[derive(Clone, Debug)]
struct Image {
    image: ProgramImage,
    program: PathBuf,
    environment: Vec<String>,
}

/// What of this machine every target may need in its container.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// The engine's socket, or the folder in which it makes it; none where it listens elsewhere.
    pub(super) socket: Option<PathBuf>,
    /// Where the engine keeps the containers' logs.
    pub(super) containers_root: PathBuf,
}

/// Where a target's files go and what is in them, until it is attached.
pub(super) type Files = (Place, Filled);

/// The images of a run's programs, each made once.
#[derive(Debug)]
pub(super) struct Containers<'a> {
    engine: &'a Engine,
    surroundings: Surroundings,
    by_program: BTreeMap<PathBuf, Image>,
}

impl<'a> Containers<'a> {
    /// There are none yet.
    pub(super) fn new(engine: &'a Engine, surroundings: Surroundings) -> Self {
        Self { engine, surroundings, by_program: BTreeMap::new() }
    }

    /// What it takes to run a target in containers; none for one that runs as a process.
    ///
    /// # Errors
    /// [`ContainersError`].
    pub(super) async fn means(
        &mut self,
        spec: &Spec,
        (place, filled): &Files,
    ) -> Result<Option<Means>, ContainersError> {
        if spec.kind.run_in == RunIn::Process {
            return Ok(None);
        }
        let Image { image, program, environment } = self.image(&spec.name, filled).await?;
        let means = Means {
            engine: self.engine.clone(),
            image,
            program,
            environment,
            mounts: mounts(&spec.name, place, filled, &self.surroundings)?,
            allowed: spec.kind.resources.clone(),
        };
        means.prove(&spec.name, filled, place).await?;
        Ok(Some(means))
    }

    async fn image(&mut self, target: &str, filled: &Filled) -> Result<Image, ContainersError> {
        let program = filled.command.first().map_or("", String::as_str);
        let no_program =
            || ContainersError::NoProgram { target: target.to_owned(), program: program.to_owned() };
        let path = path_of(program).ok_or_else(no_program)?;
        if let Some(image) = self.by_program.get(&path) {
            return Ok(image.clone());
        }
        let program = path.clone();
        let packed = tokio::task::spawn_blocking(move || packed::pack(&program)).await;
        let packed = packed.unwrap_or_else(|join| std::panic::resume_unwind(join.into_panic()));
        let packed = packed.map_err(|why| ContainersError::Pack { target: target.to_owned(), why })?;
        let environment = environment(&packed);
        let Packed { tar, program, .. } = packed;
        let image = self.engine.import_program(tar, self.by_program.len()).await?;
        let image = Image { image, program, environment };
        self.by_program.insert(path, image.clone());
        Ok(image)
    }
}

/// The loader looks there first (ld.so(8)): its own list of folders is not in the image.
fn environment(packed: &Packed) -> Vec<String> {
    let folders: Vec<String> =
        packed.loader_folders.iter().map(|folder| folder.display().to_string()).collect();
    if folders.is_empty() { Vec::new() } else { vec![format!("LD_LIBRARY_PATH={}", folders.join(":"))] }
}

/// Each path once: what the target's file names may be among the others.
fn mounts(
    target: &str,
    place: &Place,
    filled: &Filled,
    surroundings: &Surroundings,
) -> Result<Vec<(PathBuf, Access)>, ContainersError> {
    let wrong = |path: &str, why| {
        let (target, path) = (target.to_owned(), path.to_owned());
        Err(ContainersError::Mount { target, path, why })
    };
    let mut mounts =
        BTreeMap::from([(place.config.clone(), Access::Read), (place.state_dir.clone(), Access::Write)]);
    mounts.extend(surroundings.socket.iter().map(|socket| (socket.clone(), Access::Write)));
    if surroundings.containers_root.is_dir() {
        mounts.insert(surroundings.containers_root.clone(), Access::Read);
    }
    for named in &filled.mounts {
        let path = Path::new(named);
        if !path.is_absolute() || path.parent().is_none() {
            return wrong(named, "is no absolute path of a file or a folder");
        }
        if !path.exists() {
            return wrong(named, "is not there");
        }
        mounts.insert(path.to_owned(), Access::Write);
    }
    Ok(mounts.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::spec::Ready;

    fn mounts_with(named: &[&str]) -> Result<Vec<(PathBuf, Access)>, String> {
        let place = Place {
            config: "/run/a.config".into(),
            log: "/run/a.log".into(),
            state_dir: "/run/state/a".into(),
            run_id: "test".into(),
        };
        let filled = Filled {
            command: vec![],
            config: String::new(),
            ready: Ready::Started,
            metrics_url: None,
            dead_letters: None,
            mounts: named.iter().map(|named| (*named).to_owned()).collect(),
        };
        let surroundings =
            Surroundings { socket: Some("/var/run/docker.sock".into()), containers_root: "/nowhere".into() };
        mounts("a", &place, &filled, &surroundings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_target_has_its_own_files_the_engine_and_what_its_file_names() {
        let mounts = mounts_with(&["/etc", "/etc/"]).unwrap();
        let told: Vec<(&str, Access)> =
            mounts.iter().map(|(path, access)| (path.to_str().unwrap(), *access)).collect();
        let expected = [
            ("/etc", Access::Write),
            ("/run/a.config", Access::Read),
            ("/run/state/a", Access::Write),
            ("/var/run/docker.sock", Access::Write),
        ];
        assert_eq!(told, expected, "what is not there is not mounted, and nothing twice");
    }

    #[test]
    fn what_can_not_be_mounted_is_named() {
        for (named, why) in
            [("etc", "is no absolute path"), ("/", "is no absolute path"), ("/no/such", "is not there")]
        {
            let error = mounts_with(&[named]).unwrap_err();
            assert!(error.contains(&format!("the target a: mounts: {named} {why}")), "{error}");
        }
    }
}
