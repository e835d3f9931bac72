//! The mock Loki: one for each target, so that what a target delivers is known line by line.
//!
//! It answers as a real Loki does, recorded answer by recorded answer (`tests/golden/loki-golden.jsonl`),
//! and it decodes with its own code: a mistake in a shipper's encoding can't cancel out.
//!
//! ```text
//! HTTP ─ server ─ push (encoding, protobuf | json, labels) ─ judge (limits, ingester) ─ answer
//!           └──── every entry's fate to the audit's ledger
//! ```

pub mod forms;
pub mod labels;
pub mod push;
pub mod limits;
pub mod ingester;
pub mod judge;
pub mod answer;
mod forget;
pub mod server;
