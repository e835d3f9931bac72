//! What the types of the config can't say: bounds, and what does not fit together.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::{Config, Discovery, Start};
use crate::delivery::dead_letters::letter::LETTER_BYTES_MAX;
use crate::docker::api::Host;
use crate::filter;
use crate::tenants;
use crate::{admin, batch};

/// The most of anything that is counted. A queue that long has no use, and beyond what a queue can be made
/// of the program would end.
const COUNT_MAX: usize = 1_000_000;
/// Each has pushes under way and a queue of its own.
const TENANTS_MAX: usize = 1000;
/// 100 years: times of day are counted in nanoseconds, of which 292 years fit in.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Config {
    /// What the types can't say.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mistakes = [
            self.client_mistake(),
            count("docker.max_connections", self.docker.max_connections),
            count("retry.max_items", self.retry.max_items),
            count("dead_letters.max_segments", self.dead_letters.max_segments),
            count("limits.queue_lines", self.limits.queue_lines),
            count("metadata.max_entries", self.metadata.max_entries),
            self.start_mistake(),
            time("batch.max_wait", self.batch.max_wait),
            time("window.max_age", self.window.max_age),
            time("window.max_behind", self.window.max_behind),
            time("window.probe_every", self.window.probe_every),
            count("labels.max_streams", self.labels.max_streams),
            time("retry.initial", self.retry.initial),
            time("retry.max", self.retry.max),
            self.retry.budget.and_then(|budget| time("retry.budget", budget)),
            self.window_mistake(),
            time("hybrid.deleted_hold_max", self.hybrid.deleted_hold_max),
            time("metadata.ttl", self.metadata.ttl),
            time("shutdown_deadline", self.shutdown_deadline),
            self.host_mistake(),
            self.tenants_mistake(),
            self.state_dir.as_os_str().is_empty().then(|| "state_dir is empty: write a folder".to_owned()),
            self.listen_mistake(),
            self.label_mistake(),
            self.user_mistake(),
        ];
        let of_lines = filter::Filter::new(&self.lines).err().unwrap_or_default();
        let others = self.size_mistakes().into_iter().chain(self.labels.mistakes()).chain(of_lines);
        mistakes.into_iter().flatten().chain(others).collect()
    }

    fn user_mistake(&self) -> Option<String> {
        let basic = self.loki.basic_auth.as_ref().filter(|basic| basic.username.contains(':'));
        basic.map(|_| "loki.basic_auth.username has a colon, which ends it (RFC 7617)".to_owned())
    }

    fn client_mistake(&self) -> Option<String> {
        let clients = self.loki.clients();
        clients.err().map(|error| error.to_string())
    }

    fn host_mistake(&self) -> Option<String> {
        Host::parse(&self.docker.host).err().map(|error| error.to_string())
    }

    fn start_mistake(&self) -> Option<String> {
        match self.start {
            Start::Since(since) => time("start.since", since),
            Start::End | Start::Beginning => None,
        }
    }

    /// May be 0: no line from the future then.
    fn window_mistake(&self) -> Option<String> {
        (self.window.max_future > TIME_MAX).then(|| too_long("window.max_future"))
    }

    fn listen_mistake(&self) -> Option<String> {
        let admin::Config { listen, allow_remote } = self.admin;
        let advice =
            "whoever reaches it sees all containers' names: write 127.0.0.1, or admin.allow_remote: true";
        (!listen.ip().is_loopback() && !allow_remote)
            .then(|| format!("admin.listen {listen} is no loopback address; {advice}"))
    }

    fn tenants_mistake(&self) -> Option<String> {
        let tenants::Config { label, allow } = self.loki.tenants.as_ref()?;
        if label.is_empty() {
            return Some(
                "loki.tenants.label is empty: write the container label that names the tenant".to_owned(),
            );
        }
        if allow.is_empty() || allow.len() > TENANTS_MAX {
            let count = allow.len();
            return Some(format!("loki.tenants.allow has {count} names: write 1 to {TENANTS_MAX}"));
        }
        let own = self.loki.tenant.iter();
        let mut seen: HashSet<&String> = own.collect();
        let twice = allow.iter().find(|name| !seen.insert(name))?;
        Some(format!("loki.tenants.allow names {twice:?}, which stands there twice or in loki.tenant too"))
    }

    fn label_mistake(&self) -> Option<String> {
        let Discovery { labels, exclude } = &self.discovery;
        let wrong = |labels: &[String]| {
            labels.iter().find(|label| label.is_empty() || label.starts_with('=')).cloned()
        };
        let told = |name: &str, wrong: String| format!("discovery.{name} has {wrong:?}: write key=value");
        let of_labels = wrong(labels).map(|wrong| told("labels", wrong));
        of_labels.or_else(|| wrong(exclude).map(|wrong| told("exclude", wrong)))
    }

    fn size_mistakes(&self) -> Vec<String> {
        let (batch_max, line_max) = (self.batch.max_bytes, self.limits.max_line);
        let limit = batch::Config::MAX_BYTES;
        let segment = bytesize::ByteSize::mib(1);
        let letter = bytesize::ByteSize::b(LETTER_BYTES_MAX as u64);
        let rules = [
            (
                batch_max > limit,
                format!("batch.max_bytes {batch_max} is over {limit}: Loki takes 4 MiB in all"),
            ),
            (batch_max.as_u64() < 1024, format!("batch.max_bytes {batch_max} is under 1 KiB")),
            (
                line_max > limit,
                format!("limits.max_line {line_max} is over {limit}: Loki takes 4 MiB in all"),
            ),
            (
                self.limits.container_bytes.as_u64() / 2 < batch_max.as_u64(),
                format!(
                    "limits.container_bytes {} is less than two batches (batch.max_bytes is {batch_max}): a container could not fill one while another is under way",
                    self.limits.container_bytes
                ),
            ),
            (
                self.limits.container_bytes_per_s.is_some_and(|rate| rate.as_u64() == 0),
                "limits.container_bytes_per_s is 0: nothing would be read (for no limit write null)"
                    .to_owned(),
            ),
            (line_max.as_u64() == 0, "limits.max_line is 0: no line could pass".to_owned()),
            (self.retry.initial > self.retry.max, "retry.initial is longer than retry.max".to_owned()),
            (
                self.retry.max_bytes < batch_max,
                format!("retry.max_bytes {} is less than one batch ({batch_max})", self.retry.max_bytes),
            ),
            (
                self.hybrid.deleted_hold_max_bytes < segment,
                format!(
                    "hybrid.deleted_hold_max_bytes {} is under {segment}",
                    self.hybrid.deleted_hold_max_bytes
                ),
            ),
            (
                self.dead_letters.max_bytes < letter,
                format!("dead_letters.max_bytes {} is under {letter}", self.dead_letters.max_bytes),
            ),
            (
                self.dead_letters.max_segments == 1,
                "dead_letters.max_segments is 1: it must be at least 2, one to write and one to keep"
                    .to_owned(),
            ),
        ];
        rules.into_iter().filter_map(|(broken, mistake)| broken.then_some(mistake)).collect()
    }
}

fn count(name: &str, value: usize) -> Option<String> {
    match value {
        0 => Some(format!("{name} is 0: it must be at least 1")),
        1..=COUNT_MAX => None,
        _ => Some(format!("{name} is {value}: it must be at most {COUNT_MAX}")),
    }
}

fn time(name: &str, time: Duration) -> Option<String> {
    if time.is_zero() {
        return Some(format!("{name} is 0s: it must be longer"));
    }
    (time > TIME_MAX).then(|| too_long(name))
}

fn too_long(name: &str) -> String {
    format!("{name} is longer than 100 years")
}
