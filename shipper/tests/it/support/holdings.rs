//! What a running shipper holds, and whether that stays the same.

use std::collections::BTreeMap;

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
