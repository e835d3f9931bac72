//! What a sink has stored, who sent it, and whether that sender was told.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use shipper::clock::{Clock, duration_ns};

use crate::support::sink::Act;

/// One time that a line came and was stored.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// What its sender has put before the path.
    pub(crate) sender: String,
    /// Whether the answer that told so was sent.
    pub(crate) acknowledged: bool,
}

/// A line that was stored at least once.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its labels and its time: what else Loki tells a repetition by.
    pub(crate) key: String,
    pub(crate) arrivals: Vec<Arrival>,
    /// Whether a later arrival had another key.
    pub(crate) altered: bool,
}

/// All that was stored.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) lines: HashMap<String, Stored>,
    /// The same lines in the order in which they came first.
    pub(crate) order: Vec<String>,
    /// Lines that were refused for their age, each time that they were.
    pub(crate) too_old: usize,
    /// How many pushes each act has met, by its name.
    pub(crate) acts: HashMap<&'static str, usize>,
}

/// A line with what Loki stores beside it.
pub(crate) struct Pushed {
    line: String,
    labels: String,
    time_ns: i64,
}

/// The lines of a JSON push.
pub(crate) fn lines(body: &[u8]) -> Vec<Pushed> {
    let push: Value = serde_json::from_slice(body).unwrap();
    let streams = push["streams"].as_array().unwrap().iter();
    let of_stream = |stream: &Value| {
        let labels = stream["stream"].to_string();
        let pushed = |value: &Value| Pushed {
            line: value[1].as_str().unwrap().to_owned(),
            labels: labels.clone(),
            time_ns: value[0].as_str().unwrap().parse().unwrap(),
        };
        stream["values"].as_array().unwrap().iter().map(pushed).collect::<Vec<_>>()
    };
    streams.flat_map(of_stream).collect()
}

impl Book {
    /// Writes down what is stored of a push; leaves only that in `pushed`. Loki's words for the rest.
    pub(crate) fn enter(&mut self, act: &Act, pushed: &mut Vec<Pushed>, sender: &str) -> Option<String> {
        *self.acts.entry(act.name()).or_default() += 1;
        let mut refusal = None;
        match act {
            Act::Refuse(..) | Act::RefuseLarge(..) | Act::Hang | Act::HalfClose | Act::Endless(..) => {
                pushed.clear()
            }
            Act::StoreYounger(age) => {
                refusal = self.refuse_old(pushed, Clock::system().now_ns() - duration_ns(*age));
            }
            Act::StoreFrom(oldest_ns) => refusal = self.refuse_old(pushed, *oldest_ns),
            Act::Store | Act::StoreLate(_) | Act::Reset | Act::StoreThenReset => {}
        }
        for line in pushed.iter() {
            let key = format!("{} {}", line.labels, line.time_ns);
            let stored = self.lines.entry(line.line.clone()).or_insert_with(|| {
                self.order.push(line.line.clone());
                Stored { key: key.clone(), arrivals: Vec::new(), altered: false }
            });
            stored.altered |= stored.key != key;
            stored.arrivals.push(Arrival { sender: sender.to_owned(), acknowledged: false });
        }
        refusal
    }

    fn refuse_old(&mut self, pushed: &mut Vec<Pushed>, oldest_ns: i64) -> Option<String> {
        let (old, young): (Vec<_>, Vec<_>) =
            std::mem::take(pushed).into_iter().partition(|line| line.time_ns < oldest_ns);
        *pushed = young;
        self.too_old += old.len();
        let second = |time_ns: i64| Timestamp::from_second(time_ns.div_euclid(1_000_000_000)).unwrap();
        let first = old.first()?;
        Some(format!(
            "{} errors like: entry for stream '{{}}' has timestamp too old: {}, oldest acceptable timestamp is: {}\n",
            old.len(),
            second(first.time_ns),
            second(oldest_ns),
        ))
    }

    /// The sender of these was told.
    pub(crate) fn acknowledged(&mut self, pushed: &[Pushed], sender: &str) {
        for line in pushed {
            let Some(stored) = self.lines.get_mut(&line.line) else { continue };
            let own = stored.arrivals.iter_mut().filter(|arrival| arrival.sender == sender);
            if let Some(arrival) = own.last() {
                arrival.acknowledged = true;
            }
        }
    }
}
