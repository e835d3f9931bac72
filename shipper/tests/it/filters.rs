//! What lines are called, which go nowhere, and what of them nobody sees.

use std::sync::Arc;

use serde_json::Value;
use shipper::filter::{self, Redaction};
use shipper::labels;
use shipper::record::Item;
use shipper::window::{self, Policy};

use crate::support::loki::{Loki, refuse};
use crate::support::rig::{NOW, Rig, SECOND, Settings, committed, dead, letters, metric, named};

#[tokio::test]
async fn a_secret_is_in_neither_loki_nor_the_dead_letters_and_what_nobody_wants_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([refuse(400, "what is this\n")]).await;
    let redact =
        vec![Redaction { pattern: "password=\\S+".to_owned(), replacement: "password=***".to_owned() }];
    let lines = filter::Config { drop: vec!["^noise".to_owned()], redact };
    let window = window::Config { too_new: Policy::DeadLetter, ..window::Config::default() };
    let mut rig = Rig::with(dir.path(), &loki.url(), Settings { lines, window, ..Settings::default() }).await;
    rig.line(NOW, "refused password=hunter2").await;
    rig.until("refused", |metrics| metrics.dead_letters.get() == 1).await;
    rig.line(NOW, "stored password=hunter2 and more").await;
    rig.line(NOW, "noise password=hunter2").await;
    rig.line(NOW + 3600 * SECOND, "from the future password=hunter2").await;
    rig.line(NOW, &format!("too long password=hunter2 {}", "x".repeat(300 << 10))).await;
    rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    let metrics = rig.metrics.clone();
    assert_eq!(metric(&metrics, "shipper_lines_dropped_total{reason=\"pattern\"}"), 1.0);
    rig.end().await;
    assert_eq!(committed(dir.path()).await, 5, "what is dropped is settled");
    assert_eq!(loki.stored(), ["stored password=*** and more"]);
    let reasons: Vec<String> = dead(dir.path()).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["refused", "too_new", "line_too_long"]);
    let bodies = loki.bodies().concat();
    let kept: Vec<u8> =
        letters(dir.path()).iter().flat_map(|letter| letter.to_string().into_bytes()).collect();
    for bytes in [bodies, kept] {
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}

#[tokio::test]
async fn one_stream_too_many_joins_the_others_and_loses_nothing_and_who_goes_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let loki = Loki::start([]).await;
    let labels = labels::Config {
        fixed: [("host".to_owned(), "h".to_owned())].into(),
        from_containers: [("com.example.team".to_owned(), None)].into(),
        max_streams: 2,
    };
    let mut rig = Rig::with(dir.path(), &loki.url(), Settings { labels, ..Settings::default() }).await;
    let containers = ['1', '2', '3', '4'].map(|digit| {
        let mut container = named(digit, &format!("c{digit}"));
        Arc::make_mut(&mut container).labels.insert("com.example.team".to_owned(), "red".to_owned());
        container
    });
    for container in &containers[..3] {
        rig.line_of(container, NOW, &container.name).await;
    }
    rig.until("two streams of three", |metrics| metrics.streams_over_capacity.get() == 1).await;
    assert_eq!((rig.metrics.streams.get(), rig.metrics.streams_capacity.get()), (2, 2));
    rig.item(Item::Gone(containers[0].id.clone())).await;
    rig.line_of(&containers[3], NOW, "c4").await;
    rig.until("settled", |metrics| loki.stored().len() == 4 && metrics.lines.in_flight() == 0).await;
    assert_eq!((rig.metrics.streams.get(), rig.metrics.streams_over_capacity.get()), (2, 1));
    rig.end().await;
    let mut names = Vec::new();
    for body in loki.bodies() {
        let push: Value = serde_json::from_slice(&body).unwrap();
        for stream in push["streams"].as_array().unwrap() {
            let (labels, lines) = (&stream["stream"], stream["values"].as_array().unwrap());
            let team = labels["com_example_team"].as_str().unwrap_or("-");
            assert_eq!(labels["host"], "h");
            names.extend(lines.iter().map(|line| format!("{} {} {team}", line[1], labels["container"])));
        }
    }
    names.sort();
    assert_eq!(names, ["\"c1\" \"c1\" red", "\"c2\" \"c2\" red", "\"c3\" \"other\" -", "\"c4\" \"c4\" red"]);
}
