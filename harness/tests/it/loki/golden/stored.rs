//! What a query shows after a recorded push, against what it showed at a real Loki.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Client;
use serde_json::Value;

/// Times that a recording wrote out, or that an earlier push of a sequence sent, are not those of this one.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(120);

/// One entry: its labels, its time, its line.
#[derive(Clone, Debug)]
struct Shown {
    labels: BTreeMap<String, String>,
    time: Timestamp,
    line: String,
}

/// What a sink shows for a selector.
async fn shown(
    client: &Client,
    url: &str,
    tenant: Option<&str>,
    selector: &str,
    now: Timestamp,
) -> Vec<Shown> {
    let mut query = reqwest::Url::parse(&format!("{url}/loki/api/v1/query_range")).unwrap();
    let (start, end) = (now - Duration::from_hours(24 * 9), now + Duration::from_hours(1));
    query
        .query_pairs_mut()
        .append_pair("query", selector)
        .append_pair("start", &start.as_nanosecond().to_string())
        .append_pair("end", &end.as_nanosecond().to_string())
        .append_pair("direction", "forward");
    let mut request = client.get(query);
    if let Some(tenant) = tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{selector}");
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let mut entries = Vec::new();
    for stream in answer["data"]["result"].as_array().unwrap() {
        let labels: BTreeMap<String, String> = serde_json::from_value(stream["stream"].clone()).unwrap();
        for value in stream["values"].as_array().unwrap() {
            let nanoseconds: i128 = value[0].as_str().unwrap().parse().unwrap();
            let time = Timestamp::from_nanosecond(nanoseconds).unwrap();
            entries.push(Shown { labels: labels.clone(), time, line: value[1].as_str().unwrap().to_owned() });
        }
    }
    entries
}

/// Compares all that a recording says was stored; `Err` says what differs.
pub(super) async fn compare(
    client: &Client,
    url: &str,
    tenant: Option<&str>,
    recorded: &Value,
    now: Timestamp,
) -> Result<(), String> {
    let Some(selector) = recorded["query"].as_str() else { return Ok(()) };
    let mut shown = shown(client, url, tenant, selector, now).await;
    let recorded = recorded["entries"].as_array().unwrap();
    if shown.len() != recorded.len() {
        return Err(format!("{} entries are recorded and {} stored: {shown:?}", recorded.len(), shown.len()));
    }
    for entry in recorded {
        let Some(found) = shown.iter().position(|shown| is(entry, shown, now)) else {
            return Err(format!("recorded {entry}\n  stored {shown:?}"));
        };
        shown.swap_remove(found);
    }
    Ok(())
}

fn is(recorded: &Value, shown: &Shown, now: Timestamp) -> bool {
    let labels: BTreeMap<String, String> = serde_json::from_value(recorded["labels"].clone()).unwrap();
    let offset = recorded["ns_offset"].as_i64().unwrap();
    let difference = shown.time.as_nanosecond() - now.as_nanosecond() - i128::from(offset);
    // The recordings' own ages are whole milliseconds, and what was added to them a few nanoseconds.
    let is_exact = (offset + 1000).rem_euclid(1_000_000) < 2000;
    let is_near = difference.abs() < TOLERANCE.as_nanos();
    labels == shown.labels
        && is_line(recorded["line"].as_str().unwrap(), &shown.line)
        && if is_exact { difference == 0 } else { is_near }
}

/// Long lines were recorded by their beginning and their length.
fn is_line(recorded: &str, line: &str) -> bool {
    let cut = recorded.strip_suffix(" bytes]").and_then(|rest| rest.rsplit_once("...["));
    match cut {
        Some((beginning, length)) => line.starts_with(beginning) && line.len().to_string() == length,
        None => recorded == line,
    }
}
