//! What one container may take of what all share: real files, and nobody who settles its lines.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytesize::ByteSize;
use shipper::delivery::retry;
use shipper::metrics::Metrics;
use wiremock::ResponseTemplate;

use crate::support::allowance::allowance;
use crate::support::disk::Disk;
use crate::support::items::{Item, Record, items};
use crate::support::loki::Loki;
use crate::support::reading::Reading;
use crate::support::rig::{PATIENCE, Rig, retry};

const CONTAINER_BYTES: usize = 256 << 10;

#[tokio::test]
async fn while_loki_refuses_one_containers_lines_the_others_flow_and_memory_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(AtomicBool::new(true));
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let of_loki = (refuses.clone(), seen.clone());
    let loki = Loki::by_rule(move |_, lines| {
        let (refuses, seen) = &of_loki;
        let noisy: Vec<&String> = lines.iter().filter(|line| line.starts_with("noisy")).collect();
        let refused = !noisy.is_empty() && refuses.load(Ordering::SeqCst);
        seen.lock().unwrap().extend(noisy.into_iter().cloned());
        refused.then(|| ResponseTemplate::new(503))
    })
    .await;
    // Room for what one container may have on its way, and not for all that it writes.
    let config = retry::Config { max_items: 1000, max_bytes: ByteSize::mib(2), ..retry() };
    let rig = Rig::start(dir.path(), &loki.url(), config).await;
    let noisy = Disk::new();
    let quiet = Disk::beneath(noisy.root.clone(), 1);
    let allowance = allowance(CONTAINER_BYTES, &rig.metrics);
    let source = Reading::start(noisy.root.path(), rig.inlet(), allowance, rig.metrics.clone());

    noisy.fill("noisy", 6000);
    source.follow(&noisy.container).await;
    // None of its lines waits in a batch any more that others could get into.
    let all_tried = |lines: i64| seen.lock().unwrap().len() == usize::try_from(lines).unwrap();
    rig.until("out of credit, and all tried", |metrics| {
        metrics.credit_waiting.get() == 1 && all_tried(metrics.lines.in_flight())
    })
    .await;
    quiet.fill("quiet", 1000);
    source.follow(&quiet.container).await;
    let bound = 2 * i64::try_from(CONTAINER_BYTES + (512 << 10)).unwrap();
    rig.until("the quiet one's lines", |metrics| {
        assert!(metrics.in_flight_bytes.get() < bound);
        loki.stored().len() == 1000
    })
    .await;
    assert!(loki.stored().iter().all(|line| line.starts_with("quiet")));
    assert_eq!(rig.metrics.credit_waiting.get(), 1);

    refuses.store(false, Ordering::SeqCst);
    rig.until("all lines", |metrics| loki.stored().len() == 7000 && metrics.lines.in_flight() == 0).await;
    source.end().await;
    let metrics = rig.metrics.clone();
    assert_eq!(rig.end().await.lines, 0);
    assert_eq!((metrics.in_flight_bytes.get(), metrics.credit_waiting.get()), (0, 0));
}

#[tokio::test]
async fn who_may_not_read_his_archive_on_lends_his_place_and_goes_on_later_where_he_was() {
    const LINES: usize = 1000;
    let first = Disk::new();
    let root = first.root.clone();
    let others = (1..20).map(|number| Disk::beneath(root.clone(), number));
    let disks: Vec<Disk> = others.chain([first]).collect();
    let (out, mut items) = items(16);
    let metrics = Metrics::new();
    let source = Reading::start(root.path(), out, allowance(CONTAINER_BYTES, &metrics), metrics.clone());
    for disk in &disks {
        disk.fill("line", LINES);
        disk.rotate_and_compress(3);
        source.follow(&disk.container).await;
    }
    let mut next = async || loop {
        match tokio::time::timeout(PATIENCE, items.recv()).await.expect("nobody has a place").unwrap() {
            Item::Line(record) => break record,
            Item::Passed { .. } | Item::Gone(_) => {}
        }
    };
    // Nobody settles: in the end each one has used up his credit.
    let mut unsettled = Vec::new();
    let mut all = HashSet::new();
    while all.len() < disks.len() {
        let record = next().await;
        all.insert(record.container.id.clone());
        unsettled.push(record);
    }
    let mut counts = HashMap::new();
    let mut settle = |record: Record| {
        let count: &mut usize = counts.entry(record.container.id.clone()).or_default();
        assert!(record.line.starts_with(&format!("line {count} ")), "{}", record.line.get(..20).unwrap());
        *count += 1;
    };
    let rest = disks.len() * LINES - unsettled.len();
    unsettled.into_iter().for_each(&mut settle);
    for _ in 0..rest {
        settle(next().await);
    }
    source.end().await;
    assert_eq!((metrics.resume_lost.get(), metrics.in_flight_bytes.get()), (0, 0));
}
