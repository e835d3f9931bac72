//! `tests/golden/loki-golden.jsonl`: what a real Loki was asked, what it answered, and what it had stored
//! then. Its first line explains the fields.

#![allow(clippy::cast_possible_truncation, reason = "the figures are those of the recordings")]

use flatline::clock;
use flatline::faults::Plan;
use flatline::loki::config::Config;
use flatline::loki::server::{Sink, SinkConfig};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::bodies::body;
use self::times::matches;

mod bodies;
mod stored;
mod times;

/// Cases that are replayed otherwise than they were recorded, and why. None is left out.
const OTHERWISE: [(&str, &str); 3] = [
    (
        "content_length_over_100MiB_pb",
        "the announced bytes are sent: wiremock reads a body before it answers",
    ),
    (
        "behind_flush",
        "Loki's next look at flushed streams, up to 30 s later, comes at once: flush_check_period 0s",
    ),
    ("max_inflight_503", "a sink of its own, with the switch that the recording's server was started with"),
];

/// What the server `tenants` was recorded with.
const TENANTS: &str = r#"
auth_enabled: true
limits_config: {reject_old_samples_max_age: 1h}
overrides:
  rate-low:
    ingestion_rate_mb: 0.001
    ingestion_burst_size_mb: 0.002
  stream-rate-low:
    per_stream_rate_limit: 1KB
    per_stream_rate_limit_burst: 2KB
  stream-rate-low-noshard:
    per_stream_rate_limit: 1KB
    per_stream_rate_limit_burst: 2KB
    shard_streams:
      enabled: false
  few-streams:
    max_global_streams_per_user: 2
  truncate:
    max_line_size: 100B
    max_line_size_truncate: true
    max_line_size_truncate_identifier: "...[cut]"
  short-lines:
    max_line_size: 100B
  no-sm:
    allow_structured_metadata: false
  sm-small:
    max_structured_metadata_entries_count: 2
    max_structured_metadata_size: 40B
  old-ok:
    reject_old_samples: false
  blocked:
    block_ingestion_until: "2099-01-01T00:00:00Z"
  blocked200:
    block_ingestion_until: "2099-01-01T00:00:00Z"
    block_ingestion_status_code: 200
  enforced:
    enforced_labels: [team, env]
  no-service-name:
    discover_service_name: []
  incdup:
    increment_duplicate_timestamp: true
"#;

/// One recorded request.
struct Case {
    id: String,
    name: String,
    request: Value,
    response: Value,
    stored: Value,
}

impl Case {
    /// What its parts have in common: `#1`, `#2` or `_a`, `_b`.
    fn sequence(&self) -> &str {
        let name = self.name.split('#').next().unwrap();
        name.strip_suffix("_a").or_else(|| name.strip_suffix("_b")).unwrap_or(name)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.request["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
        found.map(|header| header[1].as_str().unwrap())
    }
}

fn rows() -> Vec<Value> {
    let text = include_str!("../../golden/loki-golden.jsonl");
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

fn cases(server: &str) -> Vec<Case> {
    let of_server = rows().into_iter().filter(|row| row["server"] == server);
    of_server
        .map(|row| {
            let id = row["id"].as_str().unwrap().to_owned();
            Case {
                name: id.split_once('/').unwrap().1.to_owned(),
                id,
                request: row["request"].clone(),
                response: row["response"].clone(),
                stored: row["stored_afterwards"].clone(),
            }
        })
        .collect()
}

/// A sink with this config, ready at once, in the zone of the recording's server.
async fn sink(config: &str, zone: TimeZone) -> Sink {
    let mut loki = Config::parse(config).unwrap();
    loki.ingester.lifecycler.min_ready_duration = std::time::Duration::ZERO;
    Sink::start(None, SinkConfig { loki, keep: 10_000, zone, faults: Plan::default() }).unwrap()
}

async fn replay(server: &str, config: &str, zone: TimeZone) {
    let usual = sink(config, zone).await;
    let flushed = sink("ingester: {flush_check_period: 0s}", TimeZone::UTC).await;
    let loaded = sink("distributor: {max_inflight_bytes: 10}", TimeZone::UTC).await;
    let client = Client::new();
    let cases = cases(server);
    let (mut wrong, mut sequence) = (Vec::new(), (String::new(), Timestamp::default()));
    for case in &cases {
        let url = match case.name.as_str() {
            name if name.starts_with("behind_flush") => flushed.url(),
            "max_inflight_503" => loaded.url(),
            _ => usual.url(),
        };
        let before = Timestamp::from_nanosecond(i128::from(clock::now_ns())).unwrap();
        // A push that is sent again has the same times in it.
        if sequence.0 != case.sequence() {
            sequence = (case.sequence().to_owned(), before);
        }
        let (status, answer) = send(&client, &url, case, body(case, before, sequence.1)).await;
        if let Err(why) = compare(&case.response, status, &answer, before) {
            wrong.push(format!("{}: {why}", case.id));
        }
        if case.name == "behind_flush_a" {
            assert_eq!(client.post(format!("{url}/flush")).send().await.unwrap().status(), 204);
        }
        let tenant = case.header("X-Scope-OrgID");
        if let Err(why) = stored::compare(&client, &url, tenant, &case.stored, before).await {
            wrong.push(format!("{}: {why}", case.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{server}: {} of {} recorded cases", cases.len(), cases.len());
}

async fn send(client: &Client, url: &str, case: &Case, body: Vec<u8>) -> (u16, String) {
    if case.request["body"]["transfer_encoding"] == "chunked" {
        return send_chunked(url, case, &body).await;
    }
    let method: Method = case.request["method"].as_str().unwrap().parse().unwrap();
    let path = case.request["path"].as_str().unwrap();
    let mut builder = client.request(method, format!("{url}{path}")).body(body);
    for header in case.request["headers"].as_array().unwrap() {
        builder = builder.header(header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    let response = builder.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let recorded = case.response["headers"].as_array().unwrap();
    for name in ["Content-Type", "X-Content-Type-Options", "Connection", "Retry-After", "Allow"] {
        let recorded = recorded.iter().find(|header| header[0] == name).map(|header| &header[1]);
        let sent = headers.get(name).map(|value| Value::from(value.to_str().unwrap()));
        // In some starts it is a 404 with a text.
        assert!(recorded == sent.as_ref() || status == 405, "{}: {name}: {recorded:?}, {sent:?}", case.id);
    }
    (status, text)
}

/// In two chunks, written by hand.
async fn send_chunked(url: &str, case: &Case, body: &[u8]) -> (u16, String) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let content_type = case.header("Content-Type").unwrap();
    let path = case.request["path"].as_str().unwrap();
    let (first, second) = body.split_at(body.len() / 2);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let mut request = head.into_bytes();
    for chunk in [first, second, &[]] {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn compare(recorded: &Value, status: u16, body: &str, sent_at: Timestamp) -> Result<(), String> {
    let expected_status = recorded["status"].as_u64().unwrap() as u16;
    let expected = recorded["body"].as_str().unwrap();
    // In some starts a real Loki has no route for GET and DELETE on the push path, in others it has.
    if expected == "404 page not found\n" && status == 405 {
        return Ok(());
    }
    // A decoder's answer quotes the request, and with it the time that the request was filled with.
    let is_quoting = |text: &str| text.contains("error found in");
    let blurred = |text: &str| {
        if is_quoting(text) {
            let quoted = text.replace("{{rfc3339 age_s=2.83014e+07 tz=Z}}", "2026-01-01T00:00:00Z");
            quoted.replace(|c: char| c.is_ascii_digit(), "0")
        } else {
            text.to_owned()
        }
    };
    // The order of the groups is random there.
    let groups = |text: &str| blurred(text).trim_end().split("; ").map(str::to_owned).collect::<Vec<_>>();
    let (left, mut right) = (groups(expected), groups(body));
    let is_said = |template: &String| {
        let found = right.iter().position(|text| matches(template, text, sent_at));
        found.map(|at| right.swap_remove(at)).is_some()
    };
    let fits = left.iter().all(is_said) && right.is_empty();
    if status == expected_status && fits && body.ends_with('\n') == expected.ends_with('\n') {
        return Ok(());
    }
    Err(format!("\n  recorded {expected_status} {expected:?}\n  got      {status} {body:?}"))
}

#[tokio::test]
async fn the_sink_answers_and_stores_as_loki_with_a_window_of_one_hour_was_recorded() {
    replay("one_hour", "limits_config: {reject_old_samples_max_age: 1h}", TimeZone::UTC).await;
}

#[tokio::test]
async fn the_sink_answers_and_stores_as_loki_with_its_defaults_was_recorded() {
    replay("defaults", "", TimeZone::UTC).await;
}

/// Recorded in Amsterdam in winter.
#[tokio::test]
async fn the_sink_answers_and_stores_as_loki_with_tenants_was_recorded() {
    replay("tenants", TENANTS, TimeZone::fixed(Offset::constant(1))).await;
}

#[test]
fn every_recorded_case_is_of_a_server_that_is_replayed() {
    let counts = ["one_hour", "defaults", "tenants"].map(|server| cases(server).len());
    assert_eq!(counts, [92, 96, 21]);
    assert_eq!(counts.iter().sum::<usize>() + 1, rows().len(), "the first row explains the others");
    for (name, why) in OTHERWISE {
        println!("replayed otherwise: {name}: {why}");
        let is_there = cases("defaults").iter().any(|case| case.name.starts_with(name));
        assert!(is_there, "{name} is no recorded case: take it from the list");
    }
}
