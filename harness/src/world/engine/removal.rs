//! What a run has on an engine goes: the containers and images of its load and of its targets, found by label.

use std::collections::{BTreeSet, HashMap};

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures_util::future::join_all;

use super::{Engine, EngineError, RUN_LABEL, TARGET_LABEL, labelled, request, unless_gone};

const LABELS: [&str; 2] = [RUN_LABEL, TARGET_LABEL];

impl Engine {
    /// Removes every container of this run's load, with its logs. Answers with how many there were.
    ///
    /// # Errors
    /// [`EngineError::Request`] for the first that could not be removed; the others are removed.
    pub async fn remove_containers(&self) -> Result<usize, EngineError> {
        remove_containers(&self.docker, &self.label()).await
    }

    /// Removes every container and image of this run, also those of its targets. Answers with how many containers there
    /// were.
    ///
    /// # Errors
    /// As [`Engine::remove_containers`].
    pub async fn remove_all(&self) -> Result<usize, EngineError> {
        remove_run(&self.docker, &self.run_id).await
    }

    /// Removes what runs have left of which `is_over` says so. Answers with how many containers there
    /// were.
    ///
    /// # Errors
    /// As [`Engine::remove_containers`].
    pub async fn remove_runs(&self, is_over: impl Fn(&str) -> bool) -> Result<usize, EngineError> {
        let mut runs = BTreeSet::new();
        for label in LABELS {
            runs.extend(runs_with(&self.docker, label).await?);
        }
        let mut count = 0;
        for run_id in runs.into_iter().filter(|run_id| is_over(run_id)) {
            count += remove_run(&self.docker, &run_id).await?;
        }
        Ok(count)
    }

    /// Removes a container, running or not, with its logs.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        remove_container(&self.docker, id).await
    }
}

/// The ids of the runs that have a container or an image with this label.
async fn runs_with(docker: &Docker, label: &str) -> Result<BTreeSet<String>, EngineError> {
    let filter = HashMap::from([("label", vec![label])]);
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    let containers = docker.list_containers(Some(containers)).await.map_err(request("list containers"))?;
    let images = ListImagesOptionsBuilder::new().all(true).filters(&filter).build();
    let images = docker.list_images(Some(images)).await.map_err(request("list images"))?;
    let of_containers = containers.into_iter().filter_map(|container| container.labels?.remove(label));
    let of_images = images.into_iter().filter_map(|mut image| image.labels.remove(label));
    Ok(of_containers.chain(of_images).collect())
}

/// All of it, whatever of it can't be removed; the first failure is told.
async fn remove_run(docker: &Docker, run_id: &str) -> Result<usize, EngineError> {
    let (mut count, mut failed) = (0, None);
    for label in LABELS.map(|label| format!("{label}={run_id}")) {
        match remove_containers(docker, &label).await {
            Ok(removed) => count += removed,
            Err(error) => failed = failed.or(Some(error)),
        }
        failed = failed.or(remove_images(docker, &label).await.err());
    }
    failed.map_or(Ok(count), Err)
}

async fn remove_containers(docker: &Docker, label: &str) -> Result<usize, EngineError> {
    let ids = labelled(docker, label).await?;
    let removals = join_all(ids.iter().map(|id| remove_container(docker, id))).await;
    removals.into_iter().collect::<Result<(), _>>().map(|()| ids.len())
}

async fn remove_container(docker: &Docker, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    unless_gone(docker.remove_container(id, Some(options)).await, &format!("remove the container {id}"))
}

async fn remove_images(docker: &Docker, label: &str) -> Result<(), EngineError> {
    let filter = HashMap::from([("label", vec![label])]);
    let options = ListImagesOptionsBuilder::new().all(true).filters(&filter).build();
    for image in docker.list_images(Some(options)).await.map_err(request("list images"))? {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let removed = docker.remove_image(&image.id, Some(options), None).await;
        unless_gone(removed.map(drop), &format!("remove the image {}", image.id))?;
    }
    Ok(())
}
