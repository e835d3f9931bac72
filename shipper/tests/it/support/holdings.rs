//! What a running shipper holds, and whether that stays the same.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::program::{Program, sum};

/// By name.
pub(crate) type Holdings = BTreeMap<&'static str, f64>;

/// What it holds now.
pub(crate) async fn holds(program: &Program) -> Holdings {
    let process = format!("/proc/{}", program.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let page = program.page("/metrics").await;
    BTreeMap::from([
        ("threads", field("Threads:")),
        ("resident KiB", field("VmRSS:")),
        ("descriptors", std::fs::read_dir(format!("{process}/fd")).unwrap().count() as f64),
        ("own tasks", sum(&page, "shipper_tasks_alive")),
        ("tasks", sum(&page, "tokio_alive_tasks")),
        ("lines read", sum(&page, "shipper_lines_read_total")),
        ("batches", sum(&page, "shipper_retry_queue_items") + sum(&page, "shipper_push_in_flight")),
    ])
}

/// None of these may vary by more than is said beside it.
pub(crate) fn assert_flat(samples: &[Holdings], may_vary: &[(&str, f64)]) {
    for (name, may_vary) in may_vary {
        let values: Vec<f64> = samples.iter().map(|sample| sample[name]).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        assert!(most - least <= *may_vary, "{name}: {values:?}");
    }
}

/// Descriptors, threads, tasks and all that the metrics count as held, each by its kind.
pub(crate) type ByKind = BTreeMap<String, usize>;

/// Gauges of what is held. Not the connections to the admin pages: this very look has one.
const HELD: [&str; 13] = [
    "shipper_containers ",
    "shipper_metadata_cache_entries ",
    "shipper_streams ",
    "shipper_window_streams ",
    "shipper_window_floors ",
    "shipper_open_files ",
    "shipper_inotify_watches ",
    "shipper_docker_connections_in_use ",
    "shipper_lines_in_flight ",
    "shipper_in_flight_bytes ",
    "shipper_retry_queue_items ",
    "shipper_tasks_alive{",
    "shipper_containers_without_credit ",
];

/// All that it holds now.
pub(crate) async fn by_kind(program: &Program) -> ByKind {
    let process = format!("/proc/{}", program.pid().as_raw_nonzero());
    let process = Path::new(&process);
    let page = program.page("/metrics").await;
    let targets: serde_json::Value = serde_json::from_str(&program.page("/debug/targets").await).unwrap();
    let series = page.lines().filter(|line| !line.starts_with('#'));
    let mut held = ByKind::from([
        ("series".to_owned(), series.clone().count()),
        ("targets".to_owned(), targets.as_array().unwrap().len()),
        ("threads".to_owned(), std::fs::read_dir(process.join("task")).unwrap().count()),
    ]);
    for line in series.filter(|line| HELD.iter().any(|name| line.starts_with(name))) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        if !name.contains("admin_connection") {
            held.insert(name.to_owned(), value.parse().unwrap());
        }
    }
    let info = std::fs::read_dir(process.join("fdinfo")).unwrap().filter_map(Result::ok);
    let info = info.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let watches = info.map(|info| info.lines().filter(|line| line.starts_with("inotify ")).count());
    held.insert("inotify watches".to_owned(), watches.sum());
    held.extend(descriptors(program));
    held
}

/// Connections to the sink and to the admin pages.
pub(crate) const TCP: &str = "descriptor: TCP socket";

/// Its open descriptors.
pub(crate) fn descriptors(program: &Program) -> ByKind {
    let process = format!("/proc/{}", program.pid().as_raw_nonzero());
    let process = Path::new(&process);
    let tcp = std::fs::read_to_string(process.join("net/tcp")).unwrap();
    let mut held = ByKind::new();
    // One that is closed meanwhile is not held.
    let entries = std::fs::read_dir(process.join("fd")).unwrap().filter_map(Result::ok);
    for target in entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()) {
        let target = target.to_str().unwrap();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let kind = match inode {
            Some(inode) if tcp.split_whitespace().any(|word| word == inode) => TCP.to_owned(),
            Some(_) => "descriptor: Unix socket".to_owned(),
            None if target.contains("-json.log") => "descriptor: log file".to_owned(),
            None => format!("descriptor: {target}"),
        };
        *held.entry(kind).or_default() += 1;
    }
    held
}
