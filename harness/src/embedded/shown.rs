//! What the API shows of a container, an image and the engine: Docker's fields, those that shippers and people read.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::container::{Container, State, Status};
use super::engine::{Engine, Image};
use super::entry;
use crate::world::engine::EMBEDDED;
use crate::{clock, environment};

/// The version of the API that is spoken, and the oldest.
pub(super) const API_VERSION: &str = "1.43";
pub(super) const API_VERSION_MIN: &str = "1.24";

/// `GET /version`.
pub(super) fn version() -> Value {
    let version = environment::VERSION;
    json!({
        "Platform": { "Name": EMBEDDED },
        "Components": [{ "Name": "Engine", "Version": version, "Details": {
            "ApiVersion": API_VERSION,
            "MinAPIVersion": API_VERSION_MIN,
            "GitCommit": environment::COMMIT,
            "Os": std::env::consts::OS,
            "Arch": arch(),
            "KernelVersion": environment::kernel(),
        } }],
        "Version": version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": API_VERSION_MIN,
        "GitCommit": environment::COMMIT,
        "Os": std::env::consts::OS,
        "Arch": arch(),
        "KernelVersion": environment::kernel(),
    })
}

/// As Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `GET /info`.
pub(super) fn info(engine: &Engine) -> Value {
    let all = engine.all();
    let count =
        |wanted: fn(&State) -> bool| all.iter().filter(|container| wanted(&container.state())).count();
    let unlogged = engine.unlogged.load(Ordering::Relaxed);
    let warnings: Vec<String> = (unlogged > 0)
        .then(|| format!("{unlogged} log entries could not be written: is the disk full?"))
        .into_iter()
        .collect();
    json!({
        "ID": "flatline",
        "Name": "flatline",
        "Containers": all.len(),
        "ContainersRunning": count(|state| state.status == Status::Running && !state.paused),
        "ContainersPaused": count(|state| state.paused),
        "ContainersStopped": count(|state| matches!(state.status, Status::Created | Status::Exited)),
        "Images": engine.images().len(),
        "Driver": "none",
        "LoggingDriver": "json-file",
        "DockerRootDir": engine.root.display().to_string(),
        "OperatingSystem": EMBEDDED,
        "OSType": std::env::consts::OS,
        "Architecture": std::env::consts::ARCH,
        "KernelVersion": environment::kernel(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "ServerVersion": environment::VERSION,
        "SystemTime": entry::short(clock::now()),
        "Warnings": warnings,
    })
}

/// A container as `docker ps` lists it.
pub(super) fn listed(container: &Container) -> Value {
    let (spec, state) = (&container.spec, container.state());
    json!({
        "Id": container.id,
        "Names": [format!("/{}", state.name)],
        "Image": spec.image,
        "ImageID": spec.image_id,
        "Command": spec.command.join(" "),
        "Created": container.created.as_second(),
        "Ports": [],
        "Labels": spec.labels,
        "State": word(&state),
        "Status": in_words(&state, clock::now()),
        "HostConfig": { "NetworkMode": spec.network_mode },
        "NetworkSettings": { "Networks": {} },
        "Mounts": mounts(container),
    })
}

/// A container as `docker inspect` shows it.
pub(super) fn inspected(container: &Container) -> Value {
    let (spec, state) = (&container.spec, container.state());
    let (program, arguments) =
        spec.command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    // Docker names none where its driver keeps none.
    let log_path = if spec.log_driver == "json-file" && state.started.is_some() {
        container.log.path.display().to_string()
    } else {
        String::new()
    };
    json!({
        "Id": container.id,
        "Created": entry::short(container.created),
        "Path": program,
        "Args": arguments,
        "State": {
            "Status": word(&state),
            "Running": state.status == Status::Running,
            "Paused": state.paused,
            "Restarting": state.status == Status::Restarting,
            "OOMKilled": false,
            "Dead": false,
            "Pid": state.pid.unwrap_or(0),
            "ExitCode": state.exit_code,
            "Error": "",
            "StartedAt": time(state.started),
            "FinishedAt": time(state.finished),
        },
        "Image": spec.image_id,
        "LogPath": log_path,
        "Name": format!("/{}", state.name),
        "RestartCount": state.restarts,
        "Driver": "none",
        "Platform": std::env::consts::OS,
        "HostConfig": {
            "LogConfig": { "Type": spec.log_driver, "Config": spec.log_options },
            "NetworkMode": spec.network_mode,
            "RestartPolicy": { "Name": spec.restarts.name, "MaximumRetryCount": spec.restarts.most },
        },
        "Mounts": mounts(container),
        "Config": {
            "Hostname": container.short_id(),
            "Tty": spec.tty,
            "Env": spec.env,
            "Cmd": spec.cmd,
            "Entrypoint": spec.entrypoint,
            "Image": spec.image,
            "Labels": spec.labels,
            "StopSignal": spec.stop_signal,
        },
        "NetworkSettings": { "Networks": {} },
    })
}

fn mounts(container: &Container) -> Vec<Value> {
    let one = |folder: &String| json!({ "Type": "bind", "Source": folder, "Destination": folder, "Mode": "", "RW": true });
    container.spec.mounts.iter().map(one).collect()
}

/// `GET /images/{name}/json`.
pub(super) fn image(image: &Image) -> Value {
    let created = Timestamp::from_second(image.created_s).unwrap_or_default();
    json!({
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": [],
        "Created": entry::short(created),
        "Os": std::env::consts::OS,
        "Architecture": arch(),
        "Size": 0,
        "Config": { "Labels": image.labels },
    })
}

/// An image as `docker images` lists it.
pub(super) fn listed_image(image: &Image) -> Value {
    json!({
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.tags,
        "RepoDigests": [],
        "Created": image.created_s,
        "Size": 0,
        "SharedSize": -1,
        "VirtualSize": 0,
        "Labels": image.labels,
        "Containers": -1,
    })
}

/// Docker's word for a state.
pub(super) fn word(state: &State) -> &'static str {
    match state.status {
        Status::Running if state.paused => "paused",
        Status::Running => "running",
        Status::Created => "created",
        Status::Restarting => "restarting",
        Status::Exited => "exited",
    }
}

/// Go's zero time, where there is none.
fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), entry::short)
}

fn in_words(state: &State, now: Timestamp) -> String {
    let ago = |since: Option<Timestamp>| {
        since.map_or_else(String::new, |since| human(now.as_second() - since.as_second()))
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running if state.paused => format!("Up {} (Paused)", ago(state.started)),
        Status::Running => format!("Up {}", ago(state.started)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, ago(state.finished)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, ago(state.finished)),
    }
}

/// As Docker says how long (go-units, `HumanDuration`).
fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 14 => format!("{} days", hours / 24),
        _ => format!("{} weeks", hours / 24 / 7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_said_as_docker_says_it() {
        let said = [0, 1, 59, 60, 125, 3700, 7200, 200_000].map(human);
        let expected = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "2 minutes",
            "About an hour",
            "2 hours",
            "2 days",
        ];
        assert_eq!(said, expected);
    }
}
