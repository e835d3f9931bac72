//! A shipper of Docker container logs to Grafana Loki.
//!
//! The modules stand in the order in which data flows; each uses only those above it.

pub mod units;
pub mod files;
pub mod clock;
pub mod complaint;
pub mod stamp;
pub mod metrics;
pub mod pace;
pub mod credit;
pub mod record;
pub mod tenants;
pub mod targets;
pub mod shutdown;
pub mod docker;
pub mod source;
pub mod window;
pub mod labels;
pub mod filter;
pub mod ledger;
pub mod batch;
pub mod loki;
pub mod delivery;
pub mod pipeline;
pub mod admin;
pub mod config;
pub mod operator;
pub mod app;
