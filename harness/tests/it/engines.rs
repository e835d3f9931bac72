//! The embedded engine is held against a real one: whatever a test observes is the same on both, and what it must be.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use serde_json::{Value, json};

use crate::engines::subject::{Subject, regex};
use crate::support::wait_for;

mod subject;

/// What `observe` sees, which is the same on both engines.
fn on_both<T: PartialEq + std::fmt::Debug>(observe: impl Fn(&Subject) -> T) -> T {
    let docker = observe(&Subject::docker());
    let embedded = observe(&Subject::embedded());
    assert_eq!(docker, embedded, "left is Docker, right is the embedded engine");
    embedded
}

/// The frames of a log stream: which output, and the text.
fn frames(mut body: &[u8]) -> Vec<(u8, String)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(8) {
        assert_eq!(&head[1..4], [0, 0, 0]);
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (text, rest) = rest.split_at(length);
        found.push((head[0], String::from_utf8_lossy(text).into_owned()));
        body = rest;
    }
    assert!(body.is_empty(), "half a frame");
    found
}

fn logs(subject: &Subject, id: &str, query: &str) -> Vec<(u8, String)> {
    let answer = subject.get(&format!("/containers/{id}/logs?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    frames(&answer.body)
}

/// Only these fields, of which those that are objects have only theirs.
fn only(value: &Value, wanted: &Value) -> Value {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            let fields = wanted
                .iter()
                .map(|(key, below)| (key.clone(), only(value.get(key).unwrap_or(&Value::Null), below)));
            Value::Object(fields.collect())
        }
        (value, _) => value.clone(),
    }
}

fn plain(subject: &Subject, value: &Value) -> Value {
    serde_json::from_str(&subject.plain(&value.to_string())).unwrap()
}

#[test]
fn a_container_is_shown_the_same_in_every_state() {
    let wanted = json!({
        "Id": 0, "Created": 0, "Path": 0, "Args": 0, "Name": 0, "RestartCount": 0,
        "State": { "Status": 0, "Running": 0, "Paused": 0, "Restarting": 0, "Dead": 0, "ExitCode": 0, "StartedAt": 0, "FinishedAt": 0 },
        "HostConfig": { "LogConfig": 0, "NetworkMode": 0, "RestartPolicy": 0 },
        "Config": { "Tty": 0, "Cmd": 0, "Image": 0, "Labels": 0, "StopSignal": 0 },
    });
    let listed = json!({ "Id": 0, "Names": 0, "Image": 0, "Labels": 0, "State": 0, "Ports": 0 });
    let seen = on_both(|subject| {
        let options = json!({ "HostConfig": { "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m", "max-file": "2" } } } });
        let id = subject.create("web", "sleep 1000", options);
        let mut seen = Vec::new();
        let mut look = |what: &str| {
            let inspected = subject.get(&format!("/containers/{id}/json")).json();
            let all = subject.get(&format!("/containers/json?all=1&filters={}", subject.mine())).json();
            let running = subject.get(&format!("/containers/json?filters={}", subject.mine())).json();
            let log_path = inspected["LogPath"].as_str().unwrap_or_default();
            seen.push(json!({
                "what": what,
                "inspected": plain(subject, &only(&inspected, &wanted)),
                "listed": plain(subject, &only(&all[0], &listed)),
                "runs": running.as_array().unwrap().len(),
                "has_pid": inspected["State"]["Pid"].as_u64().unwrap() > 0,
                "log": log_path.replace(&subject.containers.display().to_string(), "").replace(&id, "<id>"),
            }));
        };
        look("created");
        for step in ["start", "pause", "unpause", "stop?t=1", "start", "kill", "restart?t=1"] {
            assert_eq!(subject.post(&format!("/containers/{id}/{step}")).status, 204, "{step}");
            look(step);
        }
        seen
    });
    let states: Vec<&str> =
        seen.iter().map(|seen| seen["inspected"]["State"]["Status"].as_str().unwrap()).collect();
    assert_eq!(states, ["created", "running", "paused", "running", "exited", "running", "exited", "running"]);
    assert_eq!(seen[4]["inspected"]["State"]["ExitCode"], 137);
    assert_eq!(seen[1]["log"], "/<id>/<id>-json.log");
}

#[test]
fn what_is_refused_is_refused_in_the_same_words() {
    let seen = on_both(|subject| {
        let id = subject.create("one", "sleep 1000", Value::Null);
        let mut seen = BTreeMap::new();
        let mut ask = |what: &str, method: &str, path: &str, body: Value| {
            let answer = subject.ask(method, path, &body);
            let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            seen.insert(
                what.to_owned(),
                (answer.status, subject.plain(&message).trim_end_matches('.').to_owned()),
            );
        };
        ask("nobody", "GET", "/containers/nobody/json", Value::Null);
        ask("nobody's log", "GET", "/containers/nobody/logs?stdout=1", Value::Null);
        ask("no output", "GET", &format!("/containers/{id}/logs"), Value::Null);
        ask("stop who is stopped", "POST", &format!("/containers/{id}/stop"), Value::Null);
        ask("kill who is stopped", "POST", &format!("/containers/{id}/kill"), Value::Null);
        ask("pause who is stopped", "POST", &format!("/containers/{id}/pause"), Value::Null);
        let name = subject.name("one");
        let body = json!({ "Image": subject.image(), "Cmd": ["/bin/true"] });
        ask("a name that is taken", "POST", &format!("/containers/create?name={name}"), body);
        ask("no image", "POST", "/containers/create", json!({ "Image": "nothing:1", "Cmd": ["/bin/true"] }));
        ask("start", "POST", &format!("/containers/{id}/start"), Value::Null);
        ask("start again", "POST", &format!("/containers/{id}/start"), Value::Null);
        ask("unpause who runs", "POST", &format!("/containers/{id}/unpause"), Value::Null);
        ask("remove who runs", "DELETE", &format!("/containers/{id}"), Value::Null);
        ask("rename to itself taken", "POST", &format!("/containers/{id}/rename?name={name}2"), Value::Null);
        ask("by its new name", "GET", &format!("/containers/{name}2/logs?stdout=1"), Value::Null);
        ask("remove", "DELETE", &format!("/containers/{id}?force=1"), Value::Null);
        ask("remove again", "DELETE", &format!("/containers/{id}?force=1"), Value::Null);
        ask(
            "a filter that is none",
            "GET",
            "/containers/json?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D",
            Value::Null,
        );
        seen
    });
    assert_eq!(seen["nobody"], (404, "No such container: nobody".to_owned()));
    assert_eq!(seen["stop who is stopped"].0, 304);
    assert_eq!(seen["remove who runs"].0, 409);
}

#[test]
fn lines_of_both_outputs_come_in_frames_with_their_times() {
    let seen = on_both(|subject| {
        let long = "head -c 40000 /dev/zero | tr '\\0' x; echo end";
        let id = subject.ran(
            "lines",
            &format!("echo one; sleep 0.1; echo two >&2; sleep 0.1; {long}; printf rest"),
            Value::Null,
        );
        let all = logs(subject, &id, "stdout=1&stderr=1");
        let mut seen = vec![("all", all)];
        for (what, query) in [
            ("stderr", "stderr=1"),
            ("the last two", "stdout=1&stderr=1&tail=2"),
            ("none of them", "stdout=1&stderr=1&tail=0"),
            ("until long ago", "stdout=1&stderr=1&until=1"),
            ("since tomorrow", "stdout=1&stderr=1&since=99999999999"),
        ] {
            seen.push((what, logs(subject, &id, query)));
        }
        let timed = logs(subject, &id, "stdout=1&stderr=1&timestamps=1");
        let time = regex(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ");
        assert!(timed.iter().all(|(_, text)| time.is_match(text)), "{timed:?}");
        // To the nanosecond: what is read since a line's own time begins with that line.
        let second = timed[1].1.split(' ').next().unwrap();
        let moment: jiff::Timestamp = second.parse().unwrap();
        let (seconds, nanos) = (moment.as_second(), moment.subsec_nanosecond());
        seen.push((
            "since two",
            logs(subject, &id, &format!("stdout=1&stderr=1&since={seconds}.{nanos:09}")),
        ));
        seen.push((
            "until two",
            logs(subject, &id, &format!("stdout=1&stderr=1&until={seconds}.{nanos:09}")),
        ));
        seen
    });
    let count = |what: &str| seen.iter().find(|(name, _)| *name == what).unwrap().1.len();
    assert_eq!([count("all"), count("stderr"), count("the last two"), count("until two")], [6, 1, 2, 2]);
    let lengths: Vec<usize> = seen[0].1.iter().map(|(_, text)| text.len()).collect();
    assert_eq!(lengths, [4, 4, 16384, 16384, 7236, 4]);
}

#[test]
fn a_terminal_has_one_output_without_frames() {
    let seen = on_both(|subject| {
        let id = subject.ran(
            "tty",
            "echo one; echo two >&2; tty > /dev/null && echo terminal",
            json!({ "Tty": true }),
        );
        let text = subject.get(&format!("/containers/{id}/logs?stdout=1&stderr=1")).text();
        let file = subject.log_files(&id).into_values().next().unwrap();
        (text, subject.plain(&String::from_utf8(file).unwrap()))
    });
    assert_eq!(seen.0, "one\r\ntwo\r\nterminal\r\n");
    assert_eq!(seen.1.matches("\"stream\":\"stdout\"").count(), 3);
}

#[test]
fn the_file_is_the_same_byte_for_byte() {
    let seen = on_both(|subject| {
        // Every byte, in lines; what is no character; a line of spaces; an empty one; none at the end.
        let all: String = (1..=255).map(|byte| format!("\\{byte:03o}")).collect();
        let script = format!(
            "printf '{all}\\n'; printf 'ä €  \\342\\200\\250 \\360\\237\\220\\263\\n\\n   \\n'; printf '\\303'; exec sleep 0.1"
        );
        let id = subject.ran("bytes", &script, Value::Null);
        let folder = std::fs::metadata(subject.containers.join(&id)).unwrap();
        let mode = |metadata: &std::fs::Metadata| {
            std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
        };
        let file = std::fs::metadata(subject.containers.join(&id).join(format!("{id}-json.log"))).unwrap();
        let files = subject.log_files(&id).into_iter();
        let files: Vec<_> =
            files.map(|(name, text)| (name, subject.plain(&String::from_utf8(text).unwrap()))).collect();
        (mode(&folder), mode(&file), files)
    });
    assert_eq!((seen.0, seen.1), (0o710, 0o640));
    assert_eq!(seen.2.len(), 1);
}

/// Of a log that was rotated: for each file, how many entries and from which line to which.
fn rotated(subject: &Subject, id: &str) -> Vec<(String, bool)> {
    let mut next = None;
    let mut files: Vec<_> = subject.log_files(id).into_iter().collect();
    // The oldest first: `.2` before `.1` before the one that is written to.
    files.sort_by(|a, b| b.0.cmp(&a.0));
    files
        .into_iter()
        .map(|(name, bytes)| {
            let mut text = String::new();
            if name.ends_with(".gz") {
                flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
                let extra = flate2::read::GzDecoder::new(bytes.as_slice());
                let extra =
                    extra.header().unwrap().extra().map(|extra| String::from_utf8_lossy(extra).into_owned());
                assert!(subject.plain(&extra.unwrap()).contains("{\"lastTime\":\"<time>\"}"));
            } else {
                text = String::from_utf8(bytes).unwrap();
            }
            let numbers = text.lines().map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["log"].as_str().unwrap().trim_start_matches("line ").trim_end().parse::<u32>().unwrap()
            });
            for number in numbers {
                assert!(next.is_none_or(|next| next == number), "{next:?} {number}");
                next = Some(number + 1);
            }
            let is_full = text.len() >= 1000;
            // Not a line more than the one that filled it.
            assert!(
                text.lines().last().is_none_or(|last| text.len() - last.len() - 1 < 1000),
                "{name}: {}",
                text.len()
            );
            (name, is_full)
        })
        .collect()
}

#[test]
fn logs_are_rotated_alike() {
    for (files, compress) in [("1", "false"), ("3", "false"), ("3", "true")] {
        let seen = on_both(|subject| {
            let config = json!({ "max-size": "1k", "max-file": files, "compress": compress });
            let config =
                if compress == "true" { config } else { json!({ "max-size": "1k", "max-file": files }) };
            let options = json!({ "HostConfig": { "LogConfig": { "Type": "json-file", "Config": config } } });
            // Slowly: Docker packs one file while the next is written.
            let script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; [ $((i % 10)) = 0 ] && sleep 0.2; done";
            let id = subject.ran("rotated", script, options);
            let mut found = Vec::new();
            wait_for("all files packed", || {
                let names: Vec<String> = subject.log_files(&id).into_keys().collect();
                let plain = names.iter().filter(|name| !name.ends_with(".gz")).count();
                compress == "false" || plain == 1
            });
            for (name, is_full) in rotated(subject, &id) {
                found.push((name.clone(), is_full || name.ends_with(".log")));
            }
            // And they are read back as one.
            let all = logs(subject, &id, "stdout=1");
            let last = all.last().unwrap().1.clone();
            let first: u32 = all[0].1.trim().trim_start_matches("line ").parse().unwrap();
            assert_eq!(u32::try_from(all.len()).unwrap(), 60 - first + 1, "none is missing");
            (found, last)
        });
        assert!(seen.0.iter().all(|(_, is_full)| *is_full), "{seen:?}");
        assert_eq!(seen.1, "line 60\n");
        // Docker 20.10 keeps the last one also where only one is to be kept.
        assert_eq!(seen.0.len(), files.parse::<usize>().unwrap().max(2));
    }
}

/// Forty lines, one each twentieth of a second or so.
const SLOWLY: &str = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.02; done";

fn forty_lines() -> Vec<String> {
    (1..=40).map(|number| format!("line {number}\n")).collect()
}

#[test]
fn a_log_is_followed_to_the_end_of_the_life() {
    let seen = on_both(|subject| {
        let id = subject.run("followed", SLOWLY, Value::Null);
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&follow=1");
        let all = frames(&subject.get(&path).body);
        // Of one that has ended there is nothing to wait for, and a second life goes on in the same file.
        let again = frames(&subject.get(&format!("{path}&tail=1")).body);
        assert_eq!(subject.post(&format!("/containers/{id}/start")).status, 204);
        let second = frames(&subject.get(&format!("{path}&tail=0")).body);
        (all, again, second.len() >= 30)
    });
    let lines: Vec<String> = seen.0.into_iter().map(|(_, text)| text).collect();
    assert_eq!(lines, forty_lines());
    assert_eq!(seen.1.len(), 1);
    assert!(seen.2);
}

/// Not held against Docker: the follower of 20.10 repeats and loses lines when a log is rotated.
#[test]
fn a_log_is_followed_across_rotations() {
    let subject = Subject::embedded();
    for compress in [false, true] {
        let config = json!({ "max-size": "300", "max-file": "4", "compress": compress.to_string() });
        let options = json!({ "HostConfig": { "LogConfig": { "Type": "json-file", "Config": config } } });
        let id = subject.run(&format!("rotated-{compress}"), SLOWLY, options);
        let followed = frames(&subject.get(&format!("/containers/{id}/logs?stdout=1&follow=1")).body);
        let lines: Vec<String> = followed.into_iter().map(|(_, text)| text).collect();
        assert_eq!(lines, forty_lines(), "packed: {compress}");
        assert!(subject.log_files(&id).len() > 1);
    }
}

/// On a busy machine Docker tells some of it in another way: it wakes whoever asked for a stop before it tells of the end,
/// so that "stop" comes first now and then; and where containerd says late that a pause began and ended, it may tell of both
/// once more. The embedded engine must not.
fn in_order(mut events: Vec<Value>) -> Vec<Value> {
    let mut told = std::collections::BTreeSet::new();
    events.retain(|event| {
        let action = event["Action"].to_string();
        !action.contains("pause") || told.insert(action)
    });
    if let Some(stop) =
        events.windows(2).position(|two| two[0]["Action"] == "stop" && two[1]["Action"] == "die")
    {
        events.swap(stop, stop + 1);
    }
    events
}

/// The events of a container's life in which everything is done to it once, without their times.
fn told(subject: &Subject) -> Vec<Value> {
    let path = format!(
        "/events?filters={}&since=1",
        subject.mine().replace("%7D", "%2C%22type%22%3A%5B%22container%22%5D%7D")
    );
    let mut stream = BufReader::new(subject.send("GET", &path, &Value::Null));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let id = subject.run("told", "trap '' TERM; echo deaf; sleep 1000", json!({ "StopSignal": "SIGTERM" }));
    // One that is asked to end before it is deaf to that need not be killed.
    wait_for("it to be deaf", || !logs(subject, &id, "stdout=1").is_empty());
    for step in ["pause", "unpause", "stop?t=0", "start", "kill", "rename?name="] {
        let name = if step.ends_with('=') { subject.name("new") } else { String::new() };
        assert_eq!(subject.post(&format!("/containers/{id}/{step}{name}")).status, 204, "{step}");
    }
    assert_eq!(subject.ask("DELETE", &format!("/containers/{id}"), &Value::Null).status, 204);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last: &Value| last["Action"] != "destroy") {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let mut event: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert_eq!(event["time"], event["timeNano"].as_i64().unwrap() / 1_000_000_000);
        for key in ["time", "timeNano"] {
            event.as_object_mut().unwrap().remove(key);
        }
        seen.push(plain(subject, &event));
    }
    // Whoever comes late gets the same ones.
    let late = subject.get(
        &format!("{path}&until=99999999999")
            .replace("until=99999999999", &format!("until={}", jiff::Timestamp::now().as_second() + 1)),
    );
    assert!(late.text().lines().count() >= seen.len(), "{}", late.text());
    seen
}

fn actions(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["Action"].as_str().unwrap()).collect()
}

#[test]
fn events_tell_what_happens() {
    let (docker, embedded) = (in_order(told(&Subject::docker())), told(&Subject::embedded()));
    let expected = [
        "create", "start", "pause", "unpause", "kill", "kill", "die", "stop", "start", "kill", "die",
        "rename", "destroy",
    ];
    assert_eq!(actions(&embedded), expected, "the embedded engine");
    assert_eq!(actions(&docker), expected, "Docker");
    for (docker, embedded) in docker.iter().zip(&embedded) {
        assert_eq!(docker, embedded, "left is Docker, right is the embedded engine");
    }
}

#[test]
fn a_container_is_started_again_as_its_policy_says() {
    let seen = on_both(|subject| {
        let policy = |name: &str, most: u32| json!({ "HostConfig": { "RestartPolicy": { "Name": name, "MaximumRetryCount": most } } });
        let twice = subject.run("twice", "echo life; exit 3", policy("on-failure", 2));
        let state = |id: &str| subject.get(&format!("/containers/{id}/json")).json();
        wait_for("its last life", || {
            let now = state(&twice);
            now["RestartCount"] == 2 && now["State"]["Status"] == "exited"
        });
        let always = subject.run("always", "echo life", policy("always", 0));
        wait_for("three lives", || state(&always)["RestartCount"].as_u64() >= Some(2));
        assert!(subject.post(&format!("/containers/{always}/stop?t=0")).status < 400);
        wait_for("its end", || state(&always)["State"]["Status"] == "exited");
        (logs(subject, &twice, "stdout=1"), state(&twice)["State"]["ExitCode"].clone())
    });
    assert_eq!(seen.0.len(), 3);
    assert_eq!(seen.1, 3);
}

#[test]
fn nothing_is_left_of_what_is_removed() {
    on_both(|subject| {
        let id = subject.run("gone", "echo one; sleep 1000", Value::Null);
        wait_for("its line", || !logs(subject, &id, "stdout=1").is_empty());
        let mut following =
            subject.send("GET", &format!("/containers/{id}/logs?stdout=1&follow=1"), &Value::Null);
        let pid = subject.get(&format!("/containers/{id}/json")).json()["State"]["Pid"].as_u64().unwrap();
        assert_eq!(subject.ask("DELETE", &format!("/containers/{id}?force=1"), &Value::Null).status, 204);
        // Who followed it is told that it has ended.
        following.read_to_end(&mut Vec::new()).unwrap();
        wait_for("its process to end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
        (subject.containers.join(&id).exists(), subject.get(&format!("/containers/{id}/json")).status)
    });
}

#[test]
fn the_docker_command_lists_inspects_and_follows() {
    let seen = on_both(|subject| {
        let id = subject.run("cli", "echo one; echo two >&2; sleep 0.5; echo three", Value::Null);
        let docker = |arguments: &[&str]| {
            let output =
                Command::new("docker").args(["-H", &subject.host()]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            text.map(|text| subject.plain(&text))
        };
        let followed = docker(&["logs", "-f", &id]);
        let timed = docker(&["logs", "--timestamps", "--tail", "1", &id]);
        let label = format!("label=flatline.engines={}", subject.name("").trim_end_matches('-'));
        let listed =
            docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}} {{.State}} {{.Labels}}"]);
        let inspected =
            docker(&["inspect", "-f", "{{.Name}} {{.State.ExitCode}} {{.HostConfig.LogConfig.Type}}", &id]);
        docker(&["start", &id]);
        docker(&["rm", "-f", &id]);
        (followed, timed, listed, inspected)
    });
    assert_eq!(seen.0, ["one\nthree\n", "two\n"]);
    assert_eq!(seen.3[0], "/<tag>-cli 0 json-file\n");
}
