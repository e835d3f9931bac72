//! The wire to Loki: what a push looks like, what its answer means, and the one client that sends it.

pub mod push;
mod protobuf;
pub mod encode;
pub mod auth;
pub mod tls;
pub mod limit;
pub mod answer;
pub mod date;
pub mod retry_after;
pub mod client;
