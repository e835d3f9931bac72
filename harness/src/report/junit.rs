//! `junit.xml`: a suite for each target, a case for each check, for whatever shows the results of tests.
//!
//! Failed is `failure`, not decided is `skipped`, not to be trusted is `error`. There is no one standard; this keeps to
//! what the schemas of Jenkins (xUnit plugin, `junit-10.xsd`), Ant and Maven Surefire have in common.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::checks::{self, Check, Status};
use super::scene::legal;
use super::view;
use crate::result::RunResult;

/// Letters of a message that a list shows in one line; the whole stands in the body.
const MESSAGE: usize = 600;

/// Properties of a suite: names and values.
type About = Vec<(&'static str, String)>;

/// Renders it.
pub(super) fn render(result: &RunResult) -> io::Result<String> {
    let checks = checks::all(result);
    let mut suites: Vec<(String, About, Vec<&Check>)> =
        vec![("run".to_owned(), about_run(result), of(&checks, ""))];
    for (_, name, target) in view::targets(result) {
        let expected = view::expected(target).to_owned();
        let about = vec![
            ("design", target.design.clone()),
            ("expected", expected),
            ("reason", target.reason.clone()),
        ];
        suites.push((format!("target {name}"), about, of(&checks, name)));
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let name = legal(&result.manifest.scenario).into_owned();
    let counts = counts(checks.iter());
    let time = seconds(checks::seconds(result, None));
    let all = writer.create_element("testsuites").with_attribute(("name", name.as_str()));
    // Of all suites together, no schema counts what was skipped.
    let counts = counts.iter().filter(|(key, _)| *key != "skipped");
    all.with_attributes(counts.map(|(key, count)| (*key, count.as_str())))
        .with_attribute(("time", time.as_str()))
        .write_inner_content(|writer| {
            suites.iter().try_for_each(|(name, about, checks)| suite(writer, result, name, (about, checks)))
        })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn of<'a>(checks: &'a [Check], target: &str) -> Vec<&'a Check> {
    checks.iter().filter(|check| check.target == target).collect()
}

fn about_run(result: &RunResult) -> About {
    let manifest = &result.manifest;
    let mut about = vec![
        ("outcome", view::outcome(result.verdict.outcome).word.to_owned()),
        ("reason", result.verdict.reason.clone()),
        ("run", manifest.run_id.clone()),
        ("seed", manifest.seed.to_string()),
        ("flatline", format!("{} at commit {}", manifest.version, manifest.commit)),
        ("engine", manifest.engine.clone()),
        ("kernel", manifest.kernel.clone()),
        ("command", view::command(result)),
    ];
    about.extend(view::compressed(result).map(|said| ("compressed", said)));
    about
}

fn counts<'a>(checks: impl Iterator<Item = &'a Check> + Clone) -> [(&'static str, String); 4] {
    let with = |status| checks.clone().filter(|check| check.status == status).count().to_string();
    [
        ("tests", checks.clone().count().to_string()),
        ("failures", with(Status::Failed)),
        ("errors", with(Status::Broken)),
        ("skipped", with(Status::Open)),
    ]
}

/// As XML Schema's `decimal`, to the millisecond.
fn seconds(seconds: f64) -> String {
    format!("{seconds:.3}")
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    result: &RunResult,
    name: &str,
    (about, checks): (&About, &[&Check]),
) -> io::Result<()> {
    let name = legal(name);
    let counts = counts(checks.iter().copied());
    // Cases overlap: their times add up to nothing.
    let time = seconds(checks::seconds(result, None));
    // Without a zone, as the schemas have it; it is UTC.
    let began = legal(result.manifest.started_at.trim_end_matches('Z')).into_owned();
    let class = legal(&result.manifest.scenario).into_owned();
    let suite = writer.create_element("testsuite").with_attribute(("name", name.as_ref()));
    suite
        .with_attributes(counts.iter().map(|(key, count)| (*key, count.as_str())))
        .with_attribute(("time", time.as_str()))
        .with_attribute(("timestamp", began.as_str()))
        .write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                about.iter().try_for_each(|(key, value)| {
                    let value = legal(value);
                    let property = writer.create_element("property").with_attribute(("name", *key));
                    property.with_attribute(("value", value.as_ref())).write_empty().map(drop)
                })
            })?;
            checks.iter().try_for_each(|check| case(writer, &class, check))
        })
        .map(drop)
}

fn case(writer: &mut Writer<Vec<u8>>, scenario: &str, check: &Check) -> io::Result<()> {
    let class = match check.target.as_str() {
        "" => format!("flatline.{scenario}"),
        target => format!("flatline.{scenario}.{}", legal(target)),
    };
    let time = seconds(check.seconds);
    let lines: Vec<&str> = std::iter::once(&check.said).chain(&check.figures).map(String::as_str).collect();
    let body = lines.join("\n");
    let body = legal(&body);
    let message: String = legal(&check.said).chars().take(MESSAGE).collect();
    // Not every schema lets `skipped` have a type.
    let (element, kind) = match check.status {
        Status::Passed => ("system-out", None),
        Status::Failed => ("failure", Some("missed")),
        Status::Open => ("skipped", None),
        Status::Broken => ("error", Some("invalid")),
    };
    writer
        .create_element("testcase")
        .with_attribute(("name", check.name.as_str()))
        .with_attribute(("classname", class.as_str()))
        .with_attribute(("time", time.as_str()))
        .write_inner_content(|writer| {
            let mut outcome = writer.create_element(element);
            if check.status != Status::Passed {
                outcome = outcome.with_attribute(("message", message.as_str()));
            }
            if let Some(kind) = kind {
                outcome = outcome.with_attribute(("type", kind));
            }
            outcome.write_text_content(BytesText::new(&body)).map(drop)
        })
        .map(drop)
}
