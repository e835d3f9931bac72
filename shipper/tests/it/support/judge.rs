//! A Loki that keeps Loki's rules about times, in its words: too old and too new against its clock, too far
//! behind the newest line of the stream, and the refusal of a stream that is hidden by the next one's.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;
use shipper::clock::Clock;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// What it refuses; may be changed while it runs. Nanoseconds.
#[derive(Clone, Copy)]
pub struct Rules {
    pub max_age: i64,
    pub max_future: i64,
    pub max_behind: i64,
    /// Answers this many pushes with 503 first, storing nothing.
    pub away: u32,
}

pub const SECOND: i64 = 1_000_000_000;
pub const HOUR: i64 = 3600 * SECOND;

impl Default for Rules {
    fn default() -> Self {
        Self { max_age: 7 * 24 * HOUR, max_future: HOUR / 6, max_behind: HOUR, away: 0 }
    }
}

/// What became of one push.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    pub status: u16,
    pub lines: usize,
    pub refused: usize,
}

#[derive(Default)]
struct Books {
    rules: Rules,
    newest: BTreeMap<String, i64>,
    stored: Vec<String>,
    known: HashSet<(String, i64, String)>,
    pushes: Vec<Judged>,
}

#[derive(Clone)]
struct Desk {
    clock: Clock,
    books: Arc<Mutex<Books>>,
}

pub struct JudgingLoki {
    server: MockServer,
    desk: Desk,
}

impl JudgingLoki {
    /// Its answers take a while, so that pushes overlap.
    pub async fn start(clock: Clock, rules: Rules) -> Self {
        let server = MockServer::start().await;
        let desk = Desk { clock, books: Arc::new(Mutex::new(Books { rules, ..Books::default() })) };
        Mock::given(any()).respond_with(desk.clone()).mount(&server).await;
        Self { server, desk }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.desk.books.lock().unwrap().rules);
    }

    /// As if somebody had written to this container's standard output before us.
    pub fn knows(&self, container: &str, newest_ns: i64) {
        let labels = BTreeMap::from([
            ("container".to_owned(), container.to_owned()),
            ("job".to_owned(), "docker".to_owned()),
            ("stream".to_owned(), "stdout".to_owned()),
        ]);
        self.desk.books.lock().unwrap().newest.insert(text(&labels), newest_ns);
    }

    /// Texts of the lines stored, each once, in order.
    pub fn stored(&self) -> Vec<String> {
        let mut stored = self.desk.books.lock().unwrap().stored.clone();
        stored.sort();
        stored
    }

    pub fn pushes(&self) -> Vec<Judged> {
        self.desk.books.lock().unwrap().pushes.clone()
    }

    /// How many pushes it has refused, in part or whole, with a 400.
    pub fn refusals(&self) -> usize {
        self.pushes().iter().filter(|push| push.status == 400).count()
    }

    /// How many lines it has dropped and not said so.
    pub fn hidden(&self) -> usize {
        self.pushes().iter().filter(|push| push.status == 204).map(|push| push.refused).sum()
    }
}

impl Respond for Desk {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut books = self.books.lock().unwrap();
        let push: Value = serde_json::from_slice(&request.body).unwrap();
        let (judged, words) = books.judge(&push, self.clock.now_ns());
        let now = jiff::Timestamp::from_nanosecond(self.clock.now_ns().into()).unwrap();
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let answer = ResponseTemplate::new(judged.status).set_delay(Duration::from_millis(20));
        let answer = answer.insert_header("Date", date);
        books.pushes.push(judged);
        if words.is_empty() { answer } else { answer.set_body_string(words) }
    }
}

impl Books {
    fn judge(&mut self, push: &Value, now: i64) -> (Judged, String) {
        let mut judged = Judged { status: 204, ..Judged::default() };
        if self.rules.away > 0 {
            self.rules.away -= 1;
            return (Judged { status: 503, ..judged }, "busy\n".to_owned());
        }
        let (mut of_distributor, mut of_ingester) = (Vec::new(), String::new());
        for stream in push["streams"].as_array().unwrap() {
            let labels: BTreeMap<String, String> = serde_json::from_value(stream["stream"].clone()).unwrap();
            let labels = text(&labels);
            let mut good = Vec::new();
            for value in stream["values"].as_array().unwrap() {
                let time: i64 = value[0].as_str().unwrap().parse().unwrap();
                judged.lines += 1;
                match self.too_old_or_new(time, now, &labels) {
                    Some(fault) => of_distributor.push(fault),
                    None => good.push((time, value[1].as_str().unwrap().to_owned(), value[2].to_string())),
                }
            }
            if !good.is_empty() {
                let (refused, words) = self.ingest(&labels, good);
                judged.refused += refused;
                of_ingester = words;
            }
        }
        judged.refused += of_distributor.len();
        let words = if of_ingester.is_empty() { of_distributor.join("; ") } else { of_ingester };
        if !words.is_empty() {
            judged.status = 400;
        }
        (judged, if words.is_empty() { words } else { words + "\n" })
    }

    fn too_old_or_new(&self, time: i64, now: i64, labels: &str) -> Option<String> {
        let oldest = now - self.rules.max_age;
        if time < oldest {
            let (time, oldest) = (seconds(time), seconds(oldest));
            return Some(format!(
                "1 errors like: entry for stream '{labels}' has timestamp too old: {time}, oldest acceptable timestamp is: {oldest}"
            ));
        }
        (time > now + self.rules.max_future).then(|| {
            format!("1 errors like: entry for stream '{labels}' has timestamp too new: {}", seconds(time))
        })
    }

    fn ingest(&mut self, labels: &str, lines: Vec<(i64, String, String)>) -> (usize, String) {
        let (mut refused, mut words, reached) = (0, String::new(), lines.len());
        for (time, line, metadata) in lines {
            let newest = self.newest.get(labels).copied();
            if let Some(oldest) = newest.map(|newest| newest - self.rules.max_behind).filter(|it| time < *it)
            {
                refused += 1;
                let (time, oldest) = (seconds(time), seconds(oldest));
                writeln!(words, "entry with timestamp {time} ignored, reason: 'entry too far behind, entry timestamp is: {time}, oldest acceptable timestamp is: {oldest}',").unwrap();
                continue;
            }
            self.newest.insert(labels.to_owned(), newest.map_or(time, |newest| newest.max(time)));
            if self.known.insert((labels.to_owned(), time, format!("{line}{metadata}"))) {
                self.stored.push(line);
            }
        }
        if refused > 0 {
            write!(words, "user 'fake', total ignored: {refused} out of {reached} for stream: {labels}")
                .unwrap();
        }
        (refused, words)
    }
}

/// Loki adds a label, and names the stream with it.
fn text(labels: &BTreeMap<String, String>) -> String {
    let mut labels = labels.clone();
    let name = labels.get("container").cloned().unwrap_or("unknown_service".to_owned());
    labels.insert("service_name".to_owned(), name);
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// As Loki prints times: whole seconds, cut.
fn seconds(time_ns: i64) -> String {
    Timestamp::from_second(time_ns.div_euclid(SECOND)).unwrap().to_string()
}
