//! A Loki that answers what the test's script says, and remembers the lines that it took.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// One answer, and whether the lines of that push count as stored.
#[derive(Clone)]
pub struct Scripted {
    pub answer: ResponseTemplate,
    pub stores: fn(&str) -> bool,
}

/// Stores nothing.
pub fn refuse(status: u16, body: &str) -> Scripted {
    Scripted { answer: ResponseTemplate::new(status).set_body_string(body), stores: |_| false }
}

/// Judges the texts of a push; `None` takes it.
type Rule = Arc<dyn Fn(&Request, &[String]) -> Option<ResponseTemplate> + Send + Sync>;

#[derive(Clone, Default)]
struct Script {
    rule: Option<Rule>,
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    stored: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

pub struct Loki {
    server: MockServer,
    script: Script,
}

impl Loki {
    /// Gives `answers` in turn, then 204 for ever. Reads JSON pushes with a tenant.
    pub async fn start(answers: impl IntoIterator<Item = Scripted>) -> Self {
        let server = MockServer::start().await;
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers);
        Mock::given(method("POST"))
            .and(path("/loki/api/v1/push"))
            .and(header("Content-Type", "application/json"))
            .and(header("X-Scope-OrgID", "test"))
            .respond_with(script.clone())
            .mount(&server)
            .await;
        Self { server, script }
    }

    /// Judges each push by `rule`. Reads JSON pushes of any tenant.
    pub async fn by_rule(
        rule: impl Fn(&Request, &[String]) -> Option<ResponseTemplate> + Send + Sync + 'static,
    ) -> Self {
        let server = MockServer::start().await;
        let script = Script { rule: Some(Arc::new(rule)), ..Script::default() };
        Mock::given(method("POST")).respond_with(script.clone()).mount(&server).await;
        Self { server, script }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// Texts of the lines stored, in the order of their arrival.
    pub fn stored(&self) -> Vec<String> {
        self.script.stored.lock().unwrap().clone()
    }

    /// Bodies of all pushes.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.script.bodies.lock().unwrap().clone()
    }
}

impl Respond for Script {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.bodies.lock().unwrap().push(request.body.clone());
        if let Some(rule) = &self.rule {
            let lines = lines(&request.body);
            return rule(request, &lines).unwrap_or_else(|| {
                self.stored.lock().unwrap().extend(lines);
                ResponseTemplate::new(204)
            });
        }
        let good = Scripted { answer: ResponseTemplate::new(204), stores: |_| true };
        let scripted = self.answers.lock().unwrap().pop_front().unwrap_or(good);
        let lines = lines(&request.body).into_iter().filter(|line| (scripted.stores)(line));
        self.stored.lock().unwrap().extend(lines);
        scripted.answer
    }
}

fn lines(body: &[u8]) -> Vec<String> {
    let push: Value = serde_json::from_slice(body).unwrap();
    let streams = push["streams"].as_array().unwrap();
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().unwrap());
    values.map(|value| value[1].as_str().unwrap().to_owned()).collect()
}
