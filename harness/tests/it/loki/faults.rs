//! What a client meets when something is planned to go wrong.

use std::time::Duration;

use flatline::clock;
use flatline::faults::{Fault, Plan, Timed};
use flatline::loki::server::{Sink, SinkConfig};
use flatline::units::Span;
use reqwest::{Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HOUR: Span = Span::secs(3600);

fn fault(yaml: &str) -> Fault {
    serde_saphyr::from_str(yaml).unwrap()
}

fn plan(seed: u64, faults: &[&str]) -> Plan {
    let timed = |yaml: &&str| Timed { at: Span::secs(0), lasts: HOUR, every: None, fault: fault(yaml) };
    Plan { seed, faults: faults.iter().map(timed).collect() }
}

fn sink(faults: Plan) -> Sink {
    let sink = Sink::start(None, SinkConfig { faults, ..SinkConfig::default() }).unwrap();
    sink.begin();
    sink
}

fn body(lines: &[String], age: Duration) -> String {
    let time_ns = clock::now_ns() - i64::try_from(age.as_nanos()).unwrap();
    let values: Vec<[String; 2]> = lines.iter().map(|line| [time_ns.to_string(), line.clone()]).collect();
    serde_json::json!({"streams": [{"stream": {"source": "a"}, "values": values}]}).to_string()
}

async fn push(client: &Client, sink: &Sink, body: String) -> reqwest::Result<Response> {
    let url = format!("{}/loki/api/v1/push", sink.url());
    client.post(url).header("Content-Type", "application/json").body(body).send().await
}

fn one_line() -> String {
    body(&["a line".to_owned()], Duration::ZERO)
}

#[tokio::test]
async fn a_status_comes_with_its_header_and_for_its_share_of_the_pushes() {
    let refusing = sink(plan(1, &["{status: {code: 429, retry_after: 3s}}"]));
    let answer = push(&Client::new(), &refusing, one_line()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["Retry-After"].to_str().unwrap()), (429, "3"));
    assert_eq!(refusing.counters().entries_accepted, 0);

    let drawn = async |seed| {
        let sink = sink(plan(seed, &["{status: {code: 503, share: 0.5}}"]));
        let (client, mut statuses) = (Client::new(), Vec::new());
        for _ in 0..40 {
            statuses.push(push(&client, &sink, one_line()).await.unwrap().status().as_u16());
        }
        statuses
    };
    let statuses = drawn(1).await;
    assert!(statuses.contains(&204) && statuses.contains(&503), "{statuses:?}");
    assert_eq!(drawn(1).await, statuses, "the same seed draws the same");
    assert_ne!(drawn(2).await, statuses);
}

#[tokio::test]
async fn a_260_has_the_words_that_loki_gives_it() {
    let sink = sink(plan(1, &["{status: {code: 260}}"]));
    let mut stream = TcpStream::connect(sink.url().strip_prefix("http://").unwrap()).await.unwrap();
    let body = one_line();
    let head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: sink\r\nConnection: close\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 260 status code 260\r\n"), "{answer}");
}

/// What a client sees of the end of a connection.
async fn end_of(fault: &str) -> String {
    let sink = sink(plan(1, &[fault]));
    let mut stream = TcpStream::connect(sink.url().strip_prefix("http://").unwrap()).await.unwrap();
    let request = "POST /loki/api/v1/push HTTP/1.1\r\nHost: sink\r\nContent-Length: 1\r\n\r\nx";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{fault}: {}", String::from_utf8_lossy(&answer));
    match read {
        Err(_elapsed) => "silence".to_owned(),
        Ok(Ok(_)) => "end".to_owned(),
        Ok(Err(error)) => error.kind().to_string(),
    }
}

#[tokio::test]
async fn connections_hang_are_reset_or_half_closed() {
    assert_eq!(end_of("hang").await, "silence");
    assert_eq!(end_of("reset").await, "connection reset");
    assert_eq!(end_of("half_close").await, "end");
}

#[tokio::test]
async fn in_an_outage_nobody_listens_and_then_the_address_is_the_same() {
    let timed = Timed {
        at: Span(Duration::from_millis(500)),
        lasts: Span(Duration::from_millis(500)),
        every: None,
        fault: Fault::Outage,
    };
    let sink = sink(Plan { seed: 1, faults: vec![timed] });
    let client = Client::new();
    let (mut refused, mut before, mut after) = (0, 0, 0);
    while after < 3 {
        match push(&client, &sink, one_line()).await {
            Ok(_) if refused == 0 => before += 1,
            Ok(_) => after += 1,
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(before > 0 && refused > 0, "{before} before, {refused} refused");
    // What is cut may have been stored just before.
    assert!(sink.counters().entries_accepted >= before + after);
}

#[tokio::test]
async fn a_narrower_window_and_a_share_of_lines_are_refused_in_lokis_words() {
    let narrow = sink(plan(1, &["{window: 1m}"]));
    let client = Client::new();
    let old = push(&client, &narrow, body(&["a".to_owned()], Duration::from_secs(120))).await.unwrap();
    assert_eq!(old.status().as_u16(), 400);
    assert!(old.text().await.unwrap().contains("has timestamp too old"));
    assert_eq!(push(&client, &narrow, one_line()).await.unwrap().status().as_u16(), 204);

    let lines: Vec<String> = (0..2000).map(|number| format!("line {number}")).collect();
    let refused = async |fault: &str, batch: usize| {
        let sink = sink(plan(7, &[fault]));
        for lines in lines.chunks(batch) {
            push(&client, &sink, body(lines, Duration::ZERO)).await.unwrap();
        }
        sink.counters().entries_refused
    };
    let share = refused("{reject: {share: 0.1, of: entries}}", 100).await;
    assert!((120..280).contains(&share), "{share} of 2000 lines");
    assert_eq!(refused("{reject: {share: 0.1, of: entries}}", 7).await, share, "however they are batched");
    let batches = refused("{reject: {share: 0.5, of: batches}}", 100).await;
    assert!(batches > 0 && batches < 2000 && batches % 100 == 0, "{batches}");
    assert_eq!(refused("{reject: {share: 1.0, of: streams}}", 100).await, 2000);
}

#[tokio::test]
async fn answers_are_late_or_come_byte_by_byte_and_are_whole_in_the_end() {
    assert_eq!(end_of("{slow: {p50: 1h, p99: 2h}}").await, "silence");
    let late = sink(plan(1, &["{slow: {p50: 1ms, p99: 2ms}}"]));
    assert_eq!(push(&Client::new(), &late, one_line()).await.unwrap().status().as_u16(), 204);

    let slow = sink(plan(1, &["{slow_body: 5ms}", "{window: 1m}"]));
    let old = body(&["a".to_owned()], Duration::from_secs(120));
    let mut answer = push(&Client::new(), &slow, old).await.unwrap();
    let (mut pieces, mut text) = (0, Vec::new());
    while let Some(piece) = answer.chunk().await.unwrap() {
        pieces += 1;
        text.extend_from_slice(&piece);
    }
    assert!(pieces > 10 && text.ends_with(b"\n"), "{pieces} pieces");
}

#[tokio::test]
async fn every_answer_bears_the_date_of_a_clock_that_is_off() {
    let sink = sink(plan(1, &["{clock_step: -1d}"]));
    let client = Client::new();
    let pushed = push(&client, &sink, one_line()).await.unwrap();
    let got = async |path: &str| client.get(format!("{}{path}", sink.url())).send().await.unwrap();
    for answer in [pushed, got("/ready").await, got("/loki/api/v1/push").await, got("/nowhere").await] {
        let date = answer.headers()["date"].to_str().unwrap();
        let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
        let ahead_s = date.as_second() - clock::now().as_second();
        assert!((ahead_s - 24 * 3600).abs() < 60, "{} {ahead_s}", answer.url());
    }
}

#[tokio::test]
async fn what_faults_did_to_pushes_and_lines_is_told_as_far_as_it_came_to_something() {
    let cut = sink(plan(1, &["reset"]));
    push(&Client::new(), &cut, one_line()).await.unwrap_err();
    let counters = cut.summary().counters;
    assert_eq!((counters.pushes, counters.pushes_unanswered), (0, 1));

    let lines: Vec<String> = (0..10).map(|number| format!("line {number} and what it says")).collect();
    for (how, figure) in [("withhold", 0), ("double", 1), ("alter", 2), ("reorder", 3)] {
        let tamper = format!("{{tamper: {{share: 1, how: {how}}}}}");
        let sink = sink(plan(1, &[&tamper, "{window: 1m}"]));
        let figures = |sink: &Sink| {
            let tampered = sink.summary().tampered;
            [tampered.withheld, tampered.doubled, tampered.altered, tampered.reordered]
        };
        if how != "withhold" {
            let refused = push(&Client::new(), &sink, body(&lines, Duration::from_secs(120))).await.unwrap();
            assert_eq!((refused.status().as_u16(), figures(&sink)), (400, [0; 4]), "{how}");
        }
        push(&Client::new(), &sink, body(&lines, Duration::ZERO)).await.unwrap();
        let mut expected = [0; 4];
        expected[figure] = if how == "reorder" { 5 } else { 10 };
        assert_eq!(figures(&sink), expected, "{how}");
    }
}
