//! Tenants: whatever Loki has against one of them, the lines of the others flow, and all go under their own
//! name. Real files, the hybrid source, and a Loki that judges by tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytesize::ByteSize;
use shipper::delivery::retry;
use shipper::tenants::Config as Choice;
use wiremock::ResponseTemplate;

use crate::support::disk::Disk;
use crate::support::loki::Loki;
use crate::support::reading::Reading;
use crate::support::rig::{NOW, Rig, SECOND, Settings, letters, metric, retry};

const LINES: usize = 2000;

/// What Loki has against the tenant red, until it changes its mind.
type Trouble = fn() -> ResponseTemplate;

/// What each tenant has stored, by the name in the push's header.
#[derive(Default)]
struct Stored(Mutex<BTreeMap<String, BTreeSet<String>>>);

struct World {
    loki: Loki,
    stored: Arc<Stored>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl World {
    async fn new(trouble: Trouble) -> Self {
        let (stored, trouble) = (Arc::new(Stored::default()), Arc::new(Mutex::new(Some(trouble))));
        let (of_rule, trouble_of_rule) = (stored.clone(), trouble.clone());
        let loki = Loki::by_rule(move |request, lines| {
            let tenant = request.headers.get("X-Scope-OrgID").unwrap().to_str().unwrap().to_owned();
            let refusal = trouble_of_rule.lock().unwrap().filter(|_| tenant == "red");
            if refusal.is_none() {
                of_rule.0.lock().unwrap().entry(tenant).or_default().extend(lines.iter().cloned());
            }
            refusal.map(|refusal| refusal())
        })
        .await;
        Self { loki, stored, trouble }
    }

    fn count(&self, tenant: &str) -> usize {
        self.stored.0.lock().unwrap().get(tenant).map_or(0, BTreeSet::len)
    }
}

fn choice() -> Choice {
    Choice { label: "team".to_owned(), allow: vec!["red".to_owned(), "blue".to_owned()] }
}

fn settings(retry: retry::Config) -> Settings {
    Settings { retry, tenants: Some(choice()), ..Settings::default() }
}

/// Five containers of the tenant red, one of blue, and one that names nobody.
fn disks() -> Vec<Disk> {
    let root = Arc::new(tempfile::tempdir().unwrap());
    let of = |number: u8| Disk::beneath(root.clone(), number);
    (0..5)
        .map(|number| of(number).labelled("team", "red"))
        .chain([of(5).labelled("team", "blue"), of(6)])
        .collect()
}

async fn while_red_is_in_trouble_the_others_flow(trouble: Trouble) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(trouble).await;
    let config = retry::Config { max_bytes: ByteSize::kib(512), ..retry() };
    let rig = Rig::with(dir.path(), &world.loki.url(), settings(config)).await;
    let disks = disks();
    let source =
        Reading::start(disks[0].root.path(), rig.inlet(), rig.allowance.clone(), rig.metrics.clone());
    for (number, disk) in disks.iter().enumerate() {
        disk.fill(&format!("c{number}"), LINES);
    }
    // Red first, until nothing of it is read any more.
    for disk in &disks[..5] {
        source.follow(&disk.container).await;
    }
    rig.until("red waits", |metrics| metrics.credit_waiting.get() == 5).await;
    assert!(rig.metrics.lines.in_flight() < 5 * i64::try_from(LINES).unwrap(), "all of it is in memory");

    for disk in &disks[5..] {
        source.follow(&disk.container).await;
    }
    rig.until("all of the others", |_| world.count("blue") == LINES && world.count("test") == LINES).await;
    assert_eq!(world.count("red"), 0);
    assert_eq!(rig.metrics.credit_waiting.get(), 5, "they wait, and nobody else");

    *world.trouble.lock().unwrap() = None;
    rig.until("all of red", |metrics| world.count("red") == 5 * LINES && metrics.lines.in_flight() == 0)
        .await;
    source.end().await;
    let metrics = rig.metrics.clone();
    assert_eq!(rig.end().await.lines, 0);
    assert_eq!(metric(&metrics, "shipper_tenant_bytes{"), 0.0);
    assert_eq!((metrics.dead_letters.get(), metrics.loki_held.get()), (0, 0));
}

#[tokio::test]
async fn a_tenant_that_loki_does_not_let_in_holds_up_no_other() {
    while_red_is_in_trouble_the_others_flow(|| ResponseTemplate::new(401).set_body_string("no org id\n"))
        .await;
}

#[tokio::test]
async fn a_tenant_over_its_limit_that_is_asked_to_wait_holds_up_no_other() {
    while_red_is_in_trouble_the_others_flow(|| {
        ResponseTemplate::new(429).insert_header("Retry-After", "1").set_body_string("ingestion rate limit\n")
    })
    .await;
}

#[tokio::test]
async fn a_tenant_whose_pushes_fail_holds_up_no_other() {
    while_red_is_in_trouble_the_others_flow(|| ResponseTemplate::new(503)).await;
}

#[tokio::test]
async fn a_tenant_whose_pushes_are_not_answered_holds_up_no_other() {
    while_red_is_in_trouble_the_others_flow(|| ResponseTemplate::new(503).set_delay(Duration::from_secs(3)))
        .await;
}

/// Loki's words for a line of two hours ago, where it takes one hour.
const TOO_OLD: &str = r#"entry for stream '{container="one", job="docker", stream="stdout"}' has timestamp too old: 2027-01-15T06:00:00Z, oldest acceptable timestamp is: 2027-01-15T07:00:00Z"#;

#[tokio::test]
async fn dead_letters_bear_the_tenant_and_what_one_learns_of_the_window_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(|| {
        let answer = ResponseTemplate::new(400).set_body_string(TOO_OLD);
        answer.insert_header("Date", "Fri, 15 Jan 2027 08:00:00 GMT")
    })
    .await;
    let mut rig = Rig::with(dir.path(), &world.loki.url(), settings(retry())).await;
    let (red, blue) =
        (Disk::new().labelled("team", "red"), Disk::beneath(Arc::new(tempfile::tempdir().unwrap()), 1));
    let blue = blue.labelled("team", "blue");
    let old = NOW - 2 * 3600 * SECOND;
    for text in ["first", "second"] {
        rig.line_of(&red.container, old, text).await;
        rig.line_of(&blue.container, old, text).await;
        rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    }
    let max_age =
        |tenant| metric(&rig.metrics, &format!("shipper_window_max_age_seconds{{tenant=\"{tenant}\"}}"));
    assert!(max_age("red") <= 3600.0 && max_age("red") > 3500.0, "{}", max_age("red"));
    assert_eq!(max_age("blue"), 7.0 * 86_400.0);
    rig.end().await;
    let letters = letters(dir.path());
    let of = |key: &str| letters.iter().map(|letter| letter[key].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((of("tenant"), of("line")), (vec!["red", "red"], vec!["first", "second"]));
    assert_eq!(of("reason"), ["refused", "too_old"], "the second was not even sent");
    assert_eq!((world.count("red"), world.count("blue")), (0, 2));
}

#[tokio::test]
async fn a_name_that_is_not_allowed_is_counted_and_its_lines_go_to_the_own_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(|| ResponseTemplate::new(503)).await;
    let rig = Rig::with(dir.path(), &world.loki.url(), settings(retry())).await;
    let disk = Disk::new().labelled("team", "../admin");
    disk.fill("c", 10);
    let source = Reading::start(disk.root.path(), rig.inlet(), rig.allowance.clone(), rig.metrics.clone());
    source.follow(&disk.container).await;
    rig.until("all stored", |_| world.count("test") == 10).await;
    assert_eq!(rig.metrics.tenants_not_allowed.get(), 1);
    source.end().await;
    rig.end().await;
}
