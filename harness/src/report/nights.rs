//! Nights made up for tests, in few figures: what is drawn of several runs is drawn from these.

use std::collections::BTreeMap;

use crate::result::{
    Digest, Error, Expect, Ground, Machine, Measure, Measured, Outcome, SCHEMA, TargetDigest,
};
use crate::units::Factor;

/// A night in 2026: its run is named by the day, its revision is made of it.
pub(super) fn night(month: u8, day: u8, targets: &[(&str, TargetDigest)]) -> Digest {
    Digest {
        schema: SCHEMA,
        run_id: format!("run-{month:02}-{day:02}"),
        started_at: format!("2026-{month:02}-{day:02}T02:00:00Z").parse().unwrap(),
        ended: "finished".to_owned(),
        outcome: Outcome::Met,
        reason: "as it must be".to_owned(),
        revision: Some(format!("{month:02}{day:02}c0ffee0123456789")),
        ground: Ground {
            scenario: "nightly".to_owned(),
            settings: BTreeMap::from([("phases.load".to_owned(), "2h".to_owned())]),
            compression: Factor::ONE,
            engine: "docker 24.0.7 (API 1.43)".to_owned(),
            kernel: "6.1.0".to_owned(),
            machine: Machine { cpu: "Example CPU".to_owned(), cores: 2, memory_bytes: 8 << 30 },
        },
        targets: targets.iter().map(|(name, target)| ((*name).to_owned(), target.clone())).collect(),
    }
}

/// A target of it.
pub(super) fn target(expect: Expect, figures: &[(Measure, f64, Option<f64>)]) -> TargetDigest {
    let measured = figures.iter().map(|(measure, value, error)| {
        let error = error.map(|standard| Error { standard, degrees: 15.0 });
        (*measure, Measured { value: *value, error })
    });
    TargetDigest {
        design: "hybrid".to_owned(),
        expect,
        met: true,
        verdicts: BTreeMap::new(),
        figures: measured.collect(),
        lines_sent: Some(1_000_000),
    }
}
