//! The mock Loki: one for each target, so that what a target delivers is known line by line.
//!
//! It answers as a real Loki does, recorded answer by recorded answer (`tests/golden/loki-golden.jsonl`),
//! and it decodes with its own code: a mistake in a shipper's encoding can't cancel out.
//!
//! ```text
//! HTTP ─ connection ─ desk ─ tenant ─ push (encoding, protobuf | json, labels) ─ judge (distributor, ingester) ─ answer
//!                       ├──── every entry's fate to the audit's ledger
//!                       └──── the last ones stored to `kept`, which queries read
//! ```

pub mod forms;
pub mod labels;
pub mod limits;
pub mod config;
pub mod push;
pub mod answer;
pub mod tenant;
pub mod metadata;
pub mod level;
mod discard;
pub mod grpc;
pub mod weather;
pub mod distributor;
pub mod rate;
pub mod ingester;
pub mod tenants;
pub mod judge;
pub mod query;
pub mod kept;
mod life;
mod tally;
mod reply;
mod desk;
mod connection;
pub mod server;
