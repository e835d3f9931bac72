//! The books: what the sink was given ([`ledger`]), and whether every line that was written is
//! accounted for ([`reconcile`]), and how long lines took ([`latency`]).

pub mod intervals;
pub mod latency;
pub mod ledger;
pub mod reconcile;
