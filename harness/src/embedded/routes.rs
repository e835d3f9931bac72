//! The subset of Docker's API that shippers, the harness and the `docker` command use: from requests to answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::{Method, StatusCode};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::container::Container;
use super::engine::{Change, Engine, Refusal};
use super::events::Event;
use super::filters::Filters;
use super::lives::gone;
use super::log_reader::{self, Wanted};
use super::shown;

/// Docker's own, unless the client says another.
const GRACE: Duration = Duration::from_secs(10);
/// Frames that wait for a client.
const FRAMES_MAX: usize = 64;

/// What a client is told.
pub(super) enum Answer {
    Json(StatusCode, Value),
    /// Plain text, as `/_ping` says it.
    Text(&'static str),
    Empty(StatusCode),
    Stream(&'static str, std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let (status, message) = match refusal {
            Refusal::Bad(message) => (StatusCode::BAD_REQUEST, message),
            Refusal::Missing(message) => (StatusCode::NOT_FOUND, message),
            Refusal::Conflict(message) => (StatusCode::CONFLICT, message),
            Refusal::Unfit(message) => (StatusCode::NOT_IMPLEMENTED, message),
            Refusal::Failed(message) => (StatusCode::INTERNAL_SERVER_ERROR, message),
        };
        Self::Json(status, json!({ "message": message }))
    }
}

impl From<Change> for Answer {
    fn from(change: Change) -> Self {
        Self::Empty(match change {
            Change::Done => StatusCode::NO_CONTENT,
            Change::None => StatusCode::NOT_MODIFIED,
        })
    }
}

type Answered = Result<Answer, Refusal>;

/// A request as far as it matters.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Bytes,
}

impl Asked {
    fn value(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Docker's reading: everything but nothing, `0`, `no`, `false` and `none`.
    fn is_set(&self, name: &str) -> bool {
        let value = self.value(name).unwrap_or_default().trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    fn filters(&self, known: &[&str]) -> Result<Filters, Refusal> {
        let filters = Filters::parse(&self.value("filters").unwrap_or_default()).map_err(Refusal::Bad)?;
        match filters.unknown(known) {
            Some(name) => Err(Refusal::Bad(format!("Invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    /// A time as the API writes it: seconds since the epoch, with or without a fraction, or RFC 3339. 0 is none.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.value(name).filter(|text| !text.is_empty() && text != "0") else {
            return Ok(None);
        };
        time(&text).map(Some).ok_or_else(|| Refusal::Bad(format!("invalid value for \"{name}\": {text}")))
    }
}

fn time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let Ok(seconds) = seconds.parse::<i64>() else { return text.parse().ok() };
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Timestamp::new(seconds, digits.parse().ok()?).ok()
}

/// Answers one request.
pub(super) async fn answer(engine: &Arc<Engine>, asked: Asked) -> Answer {
    let path = asked.url.path().to_owned();
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // `/v1.43/…`: every version that we admit to means the same.
    if parts.first().is_some_and(|first| first.starts_with('v') && first.contains('.')) {
        parts.remove(0);
    }
    let method = if asked.method == Method::HEAD { "GET" } else { asked.method.as_str() };
    let answered = match (method, parts.as_slice()) {
        ("GET", ["_ping"]) => Ok(Answer::Text("OK")),
        ("GET", ["version"]) => Ok(Answer::Json(StatusCode::OK, shown::version())),
        ("GET", ["info"]) => Ok(Answer::Json(StatusCode::OK, shown::info(engine))),
        ("GET", ["events"]) => events(engine, &asked),
        ("GET", ["containers", "json"]) => list(engine, &asked),
        ("POST", ["containers", "create"]) => create(engine, &asked),
        (_, ["containers", id, rest @ ..]) => of_container(engine, method, (id, rest), &asked).await,
        ("POST", ["images", "create"]) => import(engine, &asked),
        ("GET", ["images", "json"]) => images(engine, &asked),
        ("GET", ["images", name @ .., "json"]) => image(engine, &name.join("/")),
        ("DELETE", ["images", name @ ..]) => remove_image(engine, &name.join("/")),
        _ => Err(unknown(method, &path)),
    };
    answered.unwrap_or_else(Answer::from)
}

fn unknown(method: &str, path: &str) -> Refusal {
    Refusal::Unfit(format!(
        "the embedded engine does not know {method} {path}: it speaks the part of Docker's API that log shippers use"
    ))
}

async fn of_container(
    engine: &Arc<Engine>,
    method: &str,
    (id, rest): (&str, &[&str]),
    asked: &Asked,
) -> Answered {
    let found = engine.find(id);
    match (method, rest) {
        ("GET", ["json"]) => Ok(Answer::Json(StatusCode::OK, shown::inspected(&*found?))),
        ("GET", ["logs"]) => logs(&found?, asked),
        ("POST", ["start"]) => Ok(engine.start(&found?)?.into()),
        ("POST", ["stop"]) => Ok(engine.stop(&*found?, grace(asked)).await?.into()),
        ("POST", ["restart"]) => {
            let container = found?;
            engine.stop(&container, grace(asked)).await?;
            engine.start(&container)?;
            Ok(Answer::Empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["kill"]) => {
            let name =
                asked.value("signal").filter(|name| !name.is_empty()).unwrap_or_else(|| "KILL".to_owned());
            engine.kill(&*found?, &name).await?;
            Ok(Answer::Empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["pause" | "unpause"]) => {
            engine.pause(&*found?, rest == ["pause"])?;
            Ok(Answer::Empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["rename"]) => {
            engine.rename(&*found?, &asked.value("name").unwrap_or_default())?;
            Ok(Answer::Empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["wait"]) => Ok(wait(found?, &asked.value("condition").unwrap_or_default()).await),
        ("DELETE", []) => {
            engine.remove(&*found?, asked.is_set("force")).await?;
            Ok(Answer::Empty(StatusCode::NO_CONTENT))
        }
        _ => Err(unknown(method, asked.url.path())),
    }
}

fn grace(asked: &Asked) -> Duration {
    let seconds = asked.value("t").and_then(|text| text.parse::<i64>().ok());
    match seconds {
        Some(seconds) => {
            u64::try_from(seconds).map_or(Duration::from_secs(u64::from(u32::MAX)), Duration::from_secs)
        }
        None => GRACE,
    }
}

async fn wait(container: Arc<Container>, condition: &str) -> Answer {
    match condition {
        "removed" => container.removed.cancelled().await,
        "next-exit" => {
            let mut alive = container.alive.subscribe();
            alive.mark_unchanged();
            // The container holds the sender: it can't be gone before.
            drop(alive.changed().await);
            gone(&container).await;
        }
        _ => gone(&container).await,
    }
    let exit_code = container.state().exit_code;
    Answer::Json(StatusCode::OK, json!({ "StatusCode": exit_code }))
}

fn list(engine: &Engine, asked: &Asked) -> Answered {
    let filters = asked.filters(&["label", "id", "name", "status", "ancestor", "exited"])?;
    let all = asked.is_set("all") || asked.value("limit").is_some() || filters.has("status");
    let wanted = |container: &Arc<Container>| {
        let state = container.state();
        let word = shown::word(&state);
        (all || !matches!(word, "created" | "exited"))
            && filters.any_of("status", |status| status == word)
            && filters.any_of("id", |id| container.id.starts_with(id))
            && filters.any_of("name", |name| state.name.contains(name.trim_start_matches('/')))
            && filters.any_of("ancestor", |image| image == container.spec.image)
            && filters.any_of("exited", |code| word == "exited" && code == state.exit_code.to_string())
            && filters.labels(&container.spec.labels)
    };
    let limit = asked.value("limit").and_then(|text| text.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let found = engine.all().into_iter().filter(wanted).take(limit.unwrap_or(usize::MAX));
    Ok(Answer::Json(StatusCode::OK, found.map(|container| shown::listed(&container)).collect()))
}

fn create(engine: &Engine, asked: &Asked) -> Answered {
    let body: ContainerCreateBody = serde_json::from_slice(&asked.body)
        .map_err(|error| Refusal::Bad(format!("invalid JSON: {error}")))?;
    let name = asked.value("name").filter(|name| !name.is_empty());
    let made = engine.create(name.map(|name| name.trim_start_matches('/').to_owned()), body)?;
    let warning = |limit| format!("the embedded engine sets no limits: {limit} is ignored");
    let warnings: Vec<String> = made.spec.ignored.iter().map(warning).collect();
    Ok(Answer::Json(StatusCode::CREATED, json!({ "Id": made.id, "Warnings": warnings })))
}

fn logs(container: &Arc<Container>, asked: &Asked) -> Answered {
    if container.spec.log_driver == "none" {
        return Err(Refusal::Unfit("configured logging driver does not support reading".to_owned()));
    }
    let tail = asked.value("tail").filter(|tail| tail != "all").and_then(|tail| tail.parse().ok());
    let wanted = Wanted {
        stdout: asked.is_set("stdout"),
        stderr: asked.is_set("stderr"),
        since: asked.time("since")?,
        until: asked.time("until")?,
        tail,
        timestamps: asked.is_set("timestamps"),
        follow: asked.is_set("follow"),
        tty: container.spec.tty,
    };
    if !wanted.stdout && !wanted.stderr {
        return Err(Refusal::Bad("Bad parameters: you must choose at least one stream".to_owned()));
    }
    let kind = if wanted.tty {
        "application/vnd.docker.raw-stream"
    } else {
        "application/vnd.docker.multiplexed-stream"
    };
    let (out, frames) = mpsc::channel(FRAMES_MAX);
    // Driven by whoever reads the answer: when the client goes, so does the reading.
    let sending = log_reader::send(Arc::clone(&container.log), container.alive.subscribe(), wanted, out);
    Ok(Answer::Stream(kind, Box::pin(beside(sending, frames))))
}

/// What arrives at `frames` while `work` goes on, and no longer than that.
fn beside<T: Send>(
    work: impl Future<Output = T> + Send,
    frames: mpsc::Receiver<Bytes>,
) -> impl Stream<Item = Bytes> + Send {
    let frames = stream::unfold(frames, |mut frames| async move { Some((frames.recv().await?, frames)) });
    // The channel closes with the work, which drops its sender; an error ends the stream, as it does Docker's.
    let work = stream::once(work).filter_map(|_done| std::future::ready(None));
    stream::select(frames, work)
}

fn events(engine: &Arc<Engine>, asked: &Asked) -> Answered {
    let filters = asked.filters(&[
        "type",
        "event",
        "image",
        "container",
        "label",
        "scope",
        "daemon",
        "network",
        "volume",
        "plugin",
        "service",
        "node",
        "secret",
        "config",
    ])?;
    let (since, until) = (asked.time("since")?, asked.time("until")?);
    let (kept, live) = engine.events.listen(since.or(until.map(|_| Timestamp::UNIX_EPOCH)));
    let is_wanted =
        move |event: &Event| event.is_wanted(&filters) && until.is_none_or(|until| event.time <= until);
    let is_kept = is_wanted.clone();
    let kept: Vec<Bytes> =
        kept.iter().filter(|event| is_kept(event)).map(|event| event.json().into()).collect();
    let live = stream::unfold(live, move |mut live| {
        let is_wanted = is_wanted.clone();
        async move {
            loop {
                match live.recv().await {
                    Ok(event) if is_wanted(&event) => return Some((Bytes::from(event.json()), live)),
                    Ok(_) => {}
                    // Who has fallen behind asks again since the last that it saw.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                }
            }
        }
    });
    let left = until.map(|until| Duration::try_from(until - crate::clock::now()).unwrap_or_default());
    let over = async move {
        match left {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    let all = stream::iter(kept).chain(live).take_until(over);
    Ok(Answer::Stream("application/json", Box::pin(all)))
}

fn import(engine: &Engine, asked: &Asked) -> Answered {
    if asked.value("fromSrc").is_none() {
        return Err(Refusal::Unfit(
            "the embedded engine pulls no images: it runs programs of this machine".to_owned(),
        ));
    }
    let (repository, tag) = (asked.value("repo").unwrap_or_default(), asked.value("tag"));
    let tag =
        format!("{repository}:{}", tag.filter(|tag| !tag.is_empty()).unwrap_or_else(|| "latest".to_owned()));
    let changes = asked.url.query_pairs().filter(|(key, _)| key == "changes");
    let labels = changes.filter_map(|(_, change)| {
        let (key, value) = change.strip_prefix("LABEL ")?.split_once('=')?;
        Some((key.to_owned(), value.trim_matches('"').to_owned()))
    });
    let id = engine.import(tag, labels.collect::<BTreeMap<_, _>>());
    Ok(Answer::Json(StatusCode::OK, json!({ "status": id })))
}

fn images(engine: &Engine, asked: &Asked) -> Answered {
    let filters = asked.filters(&["label", "reference", "dangling", "before", "since"])?;
    let images = engine.images();
    let found = images.values().filter(|image| {
        filters.labels(&image.labels)
            && filters.any_of("reference", |name| {
                image.tags.iter().any(|tag| tag == name || tag.starts_with(&format!("{name}:")))
            })
    });
    Ok(Answer::Json(StatusCode::OK, found.map(shown::listed_image).collect()))
}

fn image(engine: &Engine, name: &str) -> Answered {
    let found = engine.image(name).ok_or_else(|| Refusal::Missing(format!("No such image: {name}")))?;
    Ok(Answer::Json(StatusCode::OK, shown::image(&found)))
}

fn remove_image(engine: &Engine, name: &str) -> Answered {
    let found = engine.image(name).ok_or_else(|| Refusal::Missing(format!("No such image: {name}")))?;
    engine.images().remove(&found.id);
    let untagged = found.tags.iter().map(|tag| HashMap::from([("Untagged", tag.clone())]));
    let all: Vec<_> = untagged.chain([HashMap::from([("Deleted", found.id)])]).collect();
    Ok(Answer::Json(StatusCode::OK, json!(all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_nanosecond() {
        let nanos = |text: &str| time(text).map(|time| time.as_nanosecond());
        assert_eq!(nanos("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(nanos("1700000000.000000001"), Some(1_700_000_000_000_000_001));
        assert_eq!(nanos("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(nanos("2023-11-14T22:13:20.5Z"), Some(1_700_000_000_500_000_000));
        assert_eq!(nanos("yesterday"), None);
    }

    #[test]
    fn switches_are_read_as_docker_reads_them() {
        let asked = |query: &str| Asked {
            method: Method::GET,
            url: Url::parse(&format!("http://d/x?{query}")).unwrap(),
            body: Bytes::new(),
        };
        for (query, expected) in
            [("", false), ("all=1", true), ("all=false", false), ("all=0", false), ("all=yes", true)]
        {
            assert_eq!(asked(query).is_set("all"), expected, "{query}");
        }
    }
}
