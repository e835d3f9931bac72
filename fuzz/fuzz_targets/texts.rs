//! Texts that come from outside the harness: a target's metrics page, a line at the sink.
#![no_main]

use flatline::audit::ledger::{Fate, Ledger};
use flatline::sample::metrics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, name) = input;
    metrics::count(text, name);
    let mut ledger = Ledger::default();
    ledger.record(text, Fate::Accepted, 0);
});
